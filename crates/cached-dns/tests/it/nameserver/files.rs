//! The files that say whom to ask.

use std::path::PathBuf;

use tokio::time::advance;

use super::*;
use crate::common::*;

/// A file of this name that is gone with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: &str) -> Self {
        let name = format!("tollgate-cached-dns-{}-{name}", std::process::id());
        let this = Self(std::env::temp_dir().join(name));
        this.write(content);
        this
    }

    fn write(&self, content: &str) {
        std::fs::write(&self.0, content).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

// Fault 18.
#[tokio::test(start_paused = true)]
async fn a_name_in_the_hosts_file_is_not_asked_for_and_changes_with_the_file() {
    let server = DnsServer::start().await;
    server.script_all(|_| both(&["127.0.0.9", "::9"]));
    let hosts = Scratch::new("hosts", "10.1.1.1 pinned.test\n");
    let dns = cached(hickory([&server]).hosts_file(Some(hosts.0.clone())));
    assert_eq!(addrs(&dns, "pinned.test").await, ["10.1.1.1"]);
    hosts.write("10.1.1.2 pinned.test other.test\n");
    advance(secs(20)).await;
    assert_eq!(addrs(&dns, "pinned.test").await, ["10.1.1.2"]);
    assert_eq!(server.total(), 0);
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn resolv_conf_is_read_again_when_it_changes_and_kept_when_it_breaks() {
    let server = DnsServer::start().await;
    server.set("a.one.test", both(&["127.0.0.1", "::1"]));
    server.set("a.two.test", both(&["127.0.0.2", "::2"]));
    let conf = |search: &str| format!("nameserver 127.0.0.1\nsearch {search}\n");
    let file = Scratch::new("resolv", &conf("one.test"));
    let backend = Hickory::builder()
        .resolv_conf(&file.0)
        .system_port(server.addr().port())
        .hosts_file(None);
    let dns = cached(backend);
    let looked = |expected: &'static [&'static str]| {
        let dns = &dns;
        async move {
            dns.handle().invalidate("a");
            assert_eq!(addrs(dns, "a").await, expected);
        }
    };
    looked(&["127.0.0.1", "::1"]).await;
    file.write(&conf("two.test and.more.test"));
    advance(secs(5)).await;
    looked(&["127.0.0.2", "::2"]).await;
    file.write("# nothing at all, for now\n");
    advance(secs(5)).await;
    looked(&["127.0.0.2", "::2"]).await;
}

#[test]
fn without_a_nameserver_there_is_no_resolver_and_no_public_one_instead() {
    let error = Hickory::with_nameservers([]).unwrap_err();
    assert_eq!(error.to_string(), "there is no nameserver to ask");
    let missing = Hickory::builder()
        .resolv_conf("/nowhere/resolv.conf")
        .build();
    #[cfg(target_os = "linux")]
    assert_eq!(
        missing.unwrap_err().to_string(),
        "resolv.conf cannot be read"
    );
    #[cfg(not(target_os = "linux"))]
    drop(missing);
}
