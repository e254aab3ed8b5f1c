//! The files that say whom to ask.

use std::path::PathBuf;

use futures_util::future::join_all;
use tokio::task::yield_now;
use tokio::time::advance;
use tollgate_testing::hold_clock;
use tower_service::Service;

use super::*;
use crate::common::*;

/// A file of this name that is gone with the value.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new(name: &str, content: &str) -> Self {
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
async fn the_hosts_file_answers_and_is_reloaded() {
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
async fn resolv_conf_is_reloaded_and_kept_when_broken() {
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

// Issue: a hosts file that was not read yet let names through to DNS.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pinned_hosts_never_reach_dns_at_start() {
    let server = DnsServer::start().await;
    server.script_all(|_| both(&["127.0.0.9", "::9"]));
    let lines = (0..8).map(|n| format!("10.1.1.{n} pinned{n}.test\n"));
    let hosts = Scratch::new("start", &lines.collect::<String>());
    for _ in 0..20 {
        let dns = cached(hickory([&server]).hosts_file(Some(hosts.0.clone())));
        let lookups = (0..8).map(|n| {
            let dns = dns.clone();
            tokio::spawn(async move { addrs(&dns, &format!("pinned{n}.test")).await })
        });
        for (n, found) in join_all(lookups.collect::<Vec<_>>())
            .await
            .iter()
            .enumerate()
        {
            assert_eq!(found.as_ref().unwrap(), &[format!("10.1.1.{n}")]);
        }
    }
    assert_eq!(server.total(), 0);
}

// The same, with a first lookup that is dropped after one poll.
#[tokio::test]
async fn a_dropped_first_lookup_keeps_the_hosts_file() {
    let server = DnsServer::start().await;
    server.script_all(|_| both(&["127.0.0.9", "::9"]));
    let hosts = Scratch::new("dropped", "10.1.1.1 pinned.test\n");
    let backend = hickory([&server]).hosts_file(Some(hosts.0.clone()));
    let mut backend = backend.build().unwrap();
    let mut first = backend.call("other.test".parse().unwrap());
    assert!(futures_util::poll!(&mut first).is_pending());
    drop(first);
    let answer = backend.call("pinned.test".parse().unwrap()).await.unwrap();
    assert_eq!(answer.addrs, [addr("10.1.1.1")]);
}

// The same length and the same modification time: only the inode tells.
#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_hosts_file_of_new_inode_is_reread() {
    let server = DnsServer::start().await;
    let hosts = Scratch::new("twin", "10.1.1.1 pinned.test\n");
    let modified = std::fs::metadata(&hosts.0).unwrap().modified().unwrap();
    let dns = cached(hickory([&server]).hosts_file(Some(hosts.0.clone())));
    // Twice, so that the file counts as settled.
    for _ in 0..2 {
        assert_eq!(addrs(&dns, "pinned.test").await, ["10.1.1.1"]);
        advance(secs(20)).await;
    }
    let twin = Scratch::new("twin2", "10.1.1.2 pinned.test\n");
    let file = std::fs::File::options().write(true).open(&twin.0).unwrap();
    file.set_modified(modified).unwrap();
    std::fs::rename(&twin.0, &hosts.0).unwrap();
    assert_eq!(addrs(&dns, "pinned.test").await, ["10.1.1.2"]);
}

// A negative answer and a back-off from the old name servers.
#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn resolv_conf_changes_end_negatives_and_back_off() {
    let _clock = hold_clock();
    let server = DnsServer::start().await;
    server.set("found.two.test", both(&["127.0.0.1", "::1"]));
    server.set("fails.one.test", Answer::servfail());
    server.set("fails", Answer::servfail());
    server.set("fails.two.test", both(&["127.0.0.2", "::2"]));
    let conf = |search: &str| format!("nameserver 127.0.0.1\nsearch {search}\n");
    let file = Scratch::new("backoff", &conf("one.test"));
    let backend = Hickory::builder().resolv_conf(&file.0).hosts_file(None);
    let backend = backend.system_port(server.addr().port());
    let layer = CachedDnsLayer::new().jitter(false);
    let layer = layer
        .negative_ttl(secs(3600))
        .negative_ttl_bounds(secs(3600), secs(3600));
    let layer = layer
        .unwrap()
        .failure_backoff(secs(3600), secs(3600))
        .unwrap();
    let dns = layer.cached(backend.build().unwrap());
    assert!(lookup(&dns, "found").await.unwrap_err().is_not_found());
    lookup(&dns, "fails").await.unwrap_err();
    advance(secs(6)).await;
    lookup(&dns, "fails").await.unwrap_err();
    file.write(&conf("two.test"));
    advance(secs(6)).await;
    // The first of these has the file looked at, and is answered from the cache if that takes longer.
    while lookup(&dns, "found").await.is_err() || lookup(&dns, "fails").await.is_err() {
        yield_now().await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn an_invalid_search_domain_is_merely_skipped() {
    let server = DnsServer::start().await;
    server.set("a.one.test", both(&["127.0.0.1", "::1"]));
    let bad = "x".repeat(64);
    let conf = format!("nameserver 127.0.0.1\nsearch {bad}.test one.test\n");
    let file = Scratch::new("bad-search", &conf);
    let backend = Hickory::builder().resolv_conf(&file.0).hosts_file(None);
    let dns = cached(backend.system_port(server.addr().port()));
    assert_eq!(addrs(&dns, "a").await, ["127.0.0.1", "::1"]);
}

// As in the C library: the server of this machine, until the file names another.
#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn a_missing_resolv_conf_means_a_watched_localhost() {
    let server = DnsServer::start().await;
    server.script_all(|_| both(&["127.0.0.1", "::1"]));
    for text in [None, Some("# nothing yet\n")] {
        let file = Scratch::new("boot", "");
        match text {
            Some(text) => file.write(text),
            None => std::fs::remove_file(&file.0).unwrap(),
        }
        let backend = Hickory::builder().resolv_conf(&file.0).hosts_file(None);
        let dns = cached(backend.system_port(server.addr().port()));
        assert_eq!(addrs(&dns, "a").await.len(), 2);
        server.script_all(|_| Answer::nxdomain());
        server.set("a.one.test", both(&["127.0.0.1", "::1"]));
        file.write("nameserver 127.0.0.1\nsearch one.test\n");
        advance(secs(400)).await;
        dns.handle().invalidate("a");
        assert_eq!(addrs(&dns, "a").await.len(), 2);
        server.script_all(|_| both(&["127.0.0.1", "::1"]));
    }
}

#[test]
fn no_nameservers_is_an_error_without_public_fallback() {
    let error = Hickory::with_nameservers([]).unwrap_err();
    assert_eq!(error.to_string(), "there is no nameserver to ask");
}
