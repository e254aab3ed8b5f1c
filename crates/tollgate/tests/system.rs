//! Errors that the operating system makes: a child process in which it has nothing left to give.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::fs::File;
use std::process::Command;
use std::time::Duration;

use support::{client_with, text};
use tokio::task::JoinSet;
use tollgate::ErrorKind;
use tollgate_testing::{Gate, Reply, Upstream};

/// Runs one of the ignored tests below in a process of its own, behind this shell script.
fn in_child(prepare: &[&str], test: &str) {
    let me = std::env::current_exe().unwrap();
    let output = Command::new(prepare[0])
        .args(&prepare[1..])
        .arg(me)
        .args(["--ignored", "--exact", test])
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("1 passed"), "{out}");
}

#[test]
fn exhausted_file_descriptors_are_named_and_recovered_from() {
    let prepare = ["sh", "-c", "ulimit -n 64 && exec \"$0\" \"$@\""];
    in_child(&prepare, "child_out_of_files");
}

#[test]
fn exhausted_local_ports_are_named_and_recovered_from() {
    // In a network of its own, whose loopback has ten ports, and the upstream has one of them.
    let script = "ip link set lo up && echo 50000 50009 > /proc/sys/net/ipv4/ip_local_port_range \
                  && exec \"$0\" \"$@\"";
    let own_network = ["unshare", "-rn", "sh", "-c", script];
    let allowed = Command::new("unshare").args(["-rn", "ip", "link"]).output();
    if allowed.is_ok_and(|output| output.status.success()) {
        in_child(&own_network, "child_out_of_ports");
    }
}

#[tokio::test]
#[ignore = "run by exhausted_file_descriptors_are_named_and_recovered_from"]
async fn child_out_of_files() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let client = client_with(|b| b);
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    let error = client.get(upstream.uri("/")).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::TooManyOpenFiles);
    assert!(error.is_retryable() && error.is_connect());
    assert!(error.to_string().contains("ulimit -n"), "{error}");
    drop(files);
    text(client.get(upstream.uri("/")).await.unwrap()).await;
}

#[tokio::test]
#[ignore = "run by exhausted_local_ports_are_named_and_recovered_from"]
async fn child_out_of_ports() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("ok").when(&held)).await;
    let client = client_with(|b| b.max_connections_per_origin(64));
    let mut calls = JoinSet::new();
    for _ in 0..60 {
        calls.spawn(client.get(upstream.uri("/")));
    }
    // By then every port is taken, and all wait for those that have one.
    gate.reached(9).await;
    gate.open();
    while let Some(done) = calls.join_next().await {
        text(done.unwrap().unwrap()).await;
    }
    let stats = client.stats(&upstream.uri("/").to_string()).unwrap();
    assert_eq!(stats.opened, 9);

    // The first client keeps its nine. The second has nothing open to wait for.
    let second = client_with(|b| b.acquire_timeout(Duration::from_millis(300)));
    let error = second.get(upstream.uri("/")).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::PortsExhausted, "{error:?}");
    assert!(error.is_retryable() && error.is_connect());
    assert!(error.to_string().contains("no local port left"), "{error}");
    text(client.get(upstream.uri("/")).await.unwrap()).await;
}
