//! A process with its own loopback, `resolv.conf`, hosts file and `nsswitch.conf`.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::cell::LABEL;
use crate::confs::Conf;

/// `$1` to `$3` are put over the files in /etc; the rest is the command. The link-local address is
/// there for a name server with a scope.
const ENTER: &str = "ip link set lo up && ip -6 addr add fe80::53/64 dev lo nodad; \
     mount --bind \"$1\" /etc/resolv.conf && mount --bind \"$2\" /etc/hosts && \
     mount --bind \"$3\" /etc/nsswitch.conf && shift 3 && exec \"$@\"";

const FILES: [&str; 3] = ["resolv.conf", "hosts", "nsswitch.conf"];

pub(crate) fn is_permitted() -> bool {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "ip", "link", "set", "lo", "up"]);
    let status = command.stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

pub(crate) struct Cell {
    child: Child,
    folder: PathBuf,
}

impl Cell {
    pub(crate) fn start(conf: &Conf) -> Self {
        let name = format!("tollgate-glibc-{}-{}", std::process::id(), conf.label);
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let texts = [conf.servers, conf.hosts, "hosts: files dns\n"];
        for (file, text) in FILES.into_iter().zip(texts) {
            std::fs::write(folder.join(file), text).unwrap();
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "sh", "-c", ENTER, "sh"]);
        command.args(FILES.map(|file| folder.join(file)));
        command.arg(std::env::current_exe().unwrap());
        command.args(["cell", "--exact", "--ignored", "--nocapture"]);
        command.env(LABEL, conf.label).env_remove("LOCALDOMAIN");
        command.env_remove("RES_OPTIONS");
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.spawn().unwrap();
        Self { child, folder }
    }

    pub(crate) fn output(self) -> String {
        let output = self.child.wait_with_output().unwrap();
        std::fs::remove_dir_all(&self.folder).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        text
    }
}
