//! Counts of a run in a process of its own, and the upstream beside it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Requests in the shorter run; the longer one has twice as many, and the difference is what counts.
const REQUESTS: u32 = 2_000;

/// Allocations per request, counted in a run of its own.
pub(crate) fn allocations(client: &str, addr: &str) -> f64 {
    let count = |requests: u32| {
        let out = this(&["run", client, addr, &requests.to_string()])
            .output()
            .expect("runs");
        assert!(
            out.status.success(),
            "{client}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8_lossy(&out.stdout)
            .trim()
            .parse::<f64>()
            .expect("prints a number")
    };
    (count(2 * REQUESTS) - count(REQUESTS)) / f64::from(REQUESTS)
}

/// Instructions per request in user space.
pub(crate) fn instructions(client: &str, addr: &str) -> f64 {
    let count = |requests| collected(client, addr, requests);
    (count(2 * REQUESTS) - count(REQUESTS)) / f64::from(REQUESTS)
}

/// Instructions of a whole run in user space.
pub(crate) fn collected(client: &str, addr: &str, requests: u32) -> f64 {
    let exe = std::env::current_exe().expect("has a path");
    let out = many_files("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(["--toggle-collect=*uncounted*", "--collect-atstart=yes"])
        .arg(exe)
        .args(["run", client, addr, &requests.to_string()])
        .output()
        .expect("valgrind is installed");
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{client}: {text}");
    let line = text.lines().find(|line| line.contains("Collected"));
    let collected = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    collected.unwrap_or_else(|| panic!("{client}: callgrind counted nothing: {text}"))
}

/// A command that may have a file for each of thousands of connections, which is more than the default.
fn many_files(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 8192; exec \"$0\" \"$@\""]);
    command.arg(program);
    command
}

fn this(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("has a path"));
    command.args(args);
    command
}

/// The upstream, in a process of its own so that its instructions are not counted.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: String,
}

impl Server {
    pub(crate) fn start(which: &str) -> Self {
        let exe = std::env::current_exe().expect("has a path");
        let mut child = many_files(exe)
            .arg(which)
            .stdout(Stdio::piped())
            .spawn()
            .expect("spawns");
        let mut addr = String::new();
        let stdout = child.stdout.take().expect("is piped");
        BufReader::new(stdout)
            .read_line(&mut addr)
            .expect("prints its address");
        Self {
            child,
            addr: addr.trim().to_owned(),
        }
    }

    pub(crate) fn stop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
