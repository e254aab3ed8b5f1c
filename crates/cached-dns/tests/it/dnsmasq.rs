//! Against a real name server: Debian's dnsmasq, if it is installed.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tokio::time::{sleep, timeout};
use tollgate_cached_dns::{CachedDns, CachedDnsLayer, Hickory};
use tollgate_testing::{HeldPort, skip};

use crate::common::*;

/// A running dnsmasq and its files; both are gone with the value.
struct Dnsmasq {
    process: Child,
    dir: PathBuf,
    port: HeldPort,
}

impl Dnsmasq {
    /// `None` if there is no such program.
    fn start() -> Option<Self> {
        let dir = std::env::temp_dir().join(format!("tollgate-dnsmasq-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let port = HeldPort::start(Ipv4Addr::LOCALHOST);
        std::fs::write(dir.join("hosts"), "127.0.0.7 moving.test\n").unwrap();
        let conf = format!(
            "port={}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\n\
             no-daemon\nuser=\nlocal=/test/\naddn-hosts={}\n\
             host-record=both.test,127.0.0.5,::1,77\ncname=alias.test,both.test,33\n",
            port.addr().port(),
            dir.join("hosts").display(),
        );
        std::fs::write(dir.join("conf"), conf).unwrap();
        let mut command = Command::new("dnsmasq");
        command
            .arg("-C")
            .arg(dir.join("conf"))
            .arg(format!("--pid-file={}/pid", dir.display()));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        match command.spawn() {
            Ok(process) => Some(Self { process, dir, port }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                skip("dnsmasq", "dnsmasq-base");
                None
            }
            Err(error) => panic!("dnsmasq does not start: {error}"),
        }
    }

    /// Changes what `moving.test` is, and tells dnsmasq so.
    fn move_to(&self, ip: &str) {
        std::fs::write(self.dir.join("hosts"), format!("{ip} moving.test\n")).unwrap();
        let pid = self.process.id().to_string();
        let signalled = Command::new("kill").args(["-HUP", &pid]).status().unwrap();
        assert!(signalled.success());
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

async fn is_up(dns: &CachedDns<Hickory>) {
    let up = timeout(secs(10), async {
        while lookup(dns, "both.test").await.is_err() {
            dns.handle().invalidate("both.test");
            sleep(millis(20)).await;
        }
    });
    up.await.expect("dnsmasq answers");
}

#[tokio::test]
async fn dnsmasq_is_understood() {
    let Some(server) = Dnsmasq::start() else {
        return;
    };
    let backend = Hickory::builder()
        .nameservers([server.port.addr()])
        .hosts_file(None);
    let dns = CachedDnsLayer::new()
        .jitter(false)
        .cached(backend.build().unwrap());
    is_up(&dns).await;
    assert_eq!(addrs(&dns, "both.test").await, ["127.0.0.5", "::1"]);
    assert_eq!(addrs(&dns, "alias.test").await, ["127.0.0.5", "::1"]);
    let ttl_of = |name: &str| {
        let names = dns.handle().snapshot();
        names.into_iter().find(|n| &*n.name == name).unwrap().ttl
    };
    assert_eq!(ttl_of("both.test"), secs(77));
    assert_eq!(ttl_of("alias.test"), secs(33));
    // NXDOMAIN, and without an SOA record.
    assert!(lookup(&dns, "none.test").await.unwrap_err().is_not_found());
    assert_eq!(ttl_of("none.test"), secs(5));
    // dnsmasq gives these a TTL of 0.
    assert_eq!(addrs(&dns, "moving.test").await, ["127.0.0.7"]);
    assert_eq!(ttl_of("moving.test"), secs(1));

    let mut changes = dns.handle().subscribe();
    server.move_to("127.0.0.8");
    let moved = timeout(secs(10), async {
        while addrs(&dns, "moving.test").await != ["127.0.0.8"] {
            sleep(millis(50)).await;
        }
    });
    moved.await.expect("the cache follows");
    let change = timeout(secs(1), changes.recv()).await.unwrap().unwrap();
    assert_eq!(
        (&*change.added, &*change.removed),
        (&[addr("127.0.0.8")][..], &[addr("127.0.0.7")][..])
    );
}
