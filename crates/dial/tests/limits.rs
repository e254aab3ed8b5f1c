//! Limits of the machine: local ports, file descriptors and IPv6 switched off, for real.
//!
//! Each test runs itself again as a process of its own, with a limit that no other test can feel.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
#![allow(clippy::print_stderr, reason = "a test that does not run says so")]

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::Answers;
use http::Uri;
use tokio::net::TcpListener;
use tollgate_core::ConnectErrorKind;
use tollgate_core::error::find;
use tollgate_dial::{DialError, DialFailure, DialLayer, DialStream};
use tollgate_testing::{DEADLINE, within};
use tower::{Layer, ServiceExt};

const INSIDE: &str = "TOLLGATE_DIAL_INSIDE";
/// The exit status of the test harness if a test failed.
const FAILED: i32 = 101;

/// Returns `true` in the process inside of the limit; else runs the test there, by `command`.
fn is_inside(test: &str, mut command: Command) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    command.arg(std::env::current_exe().unwrap());
    command
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1");
    let output = command.stdin(Stdio::null()).output();
    let output = output.expect("the command can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => {}
        Some(FAILED) => panic!("inside: {}{said}", String::from_utf8_lossy(&output.stdout)),
        code => eprintln!("skipped: the limit cannot be set here ({code:?}): {said}"),
    }
    false
}

async fn listen(port: u16) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

async fn dial(layer: &DialLayer, addr: SocketAddr) -> Result<DialStream, DialError> {
    let dial = layer.layer(Answers(vec![addr]));
    within(
        DEADLINE,
        dial.oneshot(Uri::from_static("http://billing.test")),
    )
    .await
}

/// Dials until it fails; the connections, and why.
async fn dial_out(layer: &DialLayer, addr: SocketAddr) -> (Vec<DialStream>, DialError) {
    let mut open = Vec::new();
    loop {
        match dial(layer, addr).await {
            Ok(stream) => open.push(stream),
            Err(error) => return (open, error),
        }
        assert!(open.len() < 64, "no limit was met");
    }
}

/// Closes them so that no port waits in `TIME_WAIT`.
fn reset(streams: Vec<DialStream>) {
    for stream in streams {
        let socket = socket2::SockRef::from(stream.get_ref().unwrap().inner());
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

fn is(error: &DialError, kind: ConnectErrorKind, os_error: i32) {
    assert_eq!(
        (error.failure(), error.kind()),
        (DialFailure::AllFailed, kind)
    );
    assert_eq!(ConnectErrorKind::of(error), kind);
    let io = find::<std::io::Error>(error).unwrap();
    assert_eq!(io.raw_os_error(), Some(os_error));
}

#[test]
fn exhausted_ports_fail_only_their_destination() {
    let mut unshare = Command::new("unshare");
    // Two lines, so that a namespace that cannot be set up is told from a test that fails.
    let enter = "ip link set lo up && echo 40000 40003 > /proc/sys/net/ipv4/ip_local_port_range \
                 || exit 77; exec \"$0\" \"$@\"";
    unshare.args(["--map-root-user", "--net", "sh", "-c", enter]);
    let test = "exhausted_ports_fail_only_their_destination";
    if !is_inside(test, unshare) {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (_one, to_one) = listen(9001).await;
        let (_two, to_two) = listen(9002).await;
        // By the system's choice of address and by ours, which must not take ports from others.
        let from = DialLayer::new().local_address(Ipv4Addr::LOCALHOST.into());
        for layer in [DialLayer::new(), from] {
            let (open, error) = dial_out(&layer, to_one).await;
            assert_eq!(open.len(), 4, "as many as there are ports");
            is(&error, ConnectErrorKind::PortsExhausted, 99);
            assert!(
                error.to_string().contains("local ports exhausted"),
                "{error}"
            );
            dial(&layer, to_two).await.unwrap();
            reset(open);
            reset(vec![dial(&layer, to_one).await.unwrap()]);
        }
    });
}

/// IPv6 off was told as ports that ran out, with advice that led nowhere.
#[test]
fn with_ipv6_off_the_ipv4_refusal_is_reported() {
    let mut unshare = Command::new("unshare");
    let enter = "ip link set lo up && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 && \
                 echo 1 > /proc/sys/net/ipv6/conf/lo/disable_ipv6 || exit 77; exec \"$0\" \"$@\"";
    unshare.args(["--map-root-user", "--net", "sh", "-c", enter]);
    let test = "with_ipv6_off_the_ipv4_refusal_is_reported";
    if !is_inside(test, unshare) {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let nothing_there = ["[::1]:9", "127.0.0.1:9"].map(|addr| addr.parse().unwrap());
        let dial = DialLayer::new().layer(Answers(nothing_there.to_vec()));
        let error = dial.oneshot(Uri::from_static("http://localhost")).await;
        let error = error.unwrap_err();
        is(&error, ConnectErrorKind::Refused, 111);
        let [v6, v4] = error.attempts() else {
            panic!("{error}")
        };
        let failed = tollgate_core::AttemptOutcome::Failed;
        assert_eq!(v6.outcome, failed(ConnectErrorKind::Unreachable));
        assert_eq!(v4.outcome, failed(ConnectErrorKind::Refused));
        let alone = DialLayer::new().layer(Answers(nothing_there[..1].to_vec()));
        let error = alone.oneshot(Uri::from_static("http://localhost")).await;
        assert_eq!(error.unwrap_err().kind(), ConnectErrorKind::Unreachable);
    });
}

#[test]
fn too_many_open_files_is_its_own_error() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 40 || exit 77; exec \"$0\" \"$@\""]);
    let test = "too_many_open_files_is_its_own_error";
    if !is_inside(test, shell) {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (_listener, good) = listen(0).await;
        let (mut open, error) = dial_out(&DialLayer::new(), good).await;
        is(&error, ConnectErrorKind::TooManyOpenFiles, 24);
        assert!(error.to_string().contains("ulimit -n"), "{error}");
        drop(open.pop());
        dial(&DialLayer::new(), good).await.unwrap();
    });
}
