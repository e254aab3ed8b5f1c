//! The command as people run it: `top` over a real client's snapshot and over a process, `doctor` with
//! the load of a pool.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::process::Output;

use tokio::process::Command;
use tollgate::Client;
use tollgate_testing::{Reply, Upstream};

async fn tollgate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(arguments).output().await.unwrap()
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}

#[tokio::test]
async fn top_shows_the_snapshot_of_a_client() {
    let slow = Upstream::start(|_| Reply::never()).await;
    let quick = Upstream::start(|_| Reply::ok("ok")).await;
    let client = Client::builder()
        .max_connections_per_origin(4)
        .build()
        .unwrap();
    // One body that is not read, and seven calls that are not answered.
    let _held = client.get(quick.uri("/")).await.unwrap();
    let calls = (0..7).map(|_| tokio::spawn(client.get(slow.uri("/"))));
    let calls: Vec<_> = calls.collect();
    slow.settled(|stats| stats.requests == 4).await;
    let app = client.clone();
    let snapshot = move |_: &_| Reply::ok(serde_json::to_vec(&app.snapshot()).unwrap());
    let stats = Upstream::start(snapshot).await;
    let url = stats.uri("/stats").to_string();
    let output = tollgate(&["top", &url, "--once", "--interval", "0.05"]).await;
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].ends_with("2 origin(s), 3 queued"), "{text}");
    for (line, upstream, share) in [(lines[3], &slow, "100 %"), (lines[4], &quick, "25 %")] {
        assert!(
            line.starts_with(&format!("http://{}", upstream.addr())),
            "{text}"
        );
        assert!(line.contains(share), "{text}");
    }
    let address = slow.addr().to_string();
    let sockets = lines.iter().find(|line| line.starts_with(&address));
    let mut words = sockets.expect(&text).split_whitespace();
    assert_eq!(words.nth(1), Some("4"), "{text}");
    for call in calls {
        call.abort();
    }
}

#[tokio::test]
async fn top_shows_a_process_by_its_sockets() {
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let held = tokio::net::TcpStream::connect(upstream.addr())
        .await
        .unwrap();
    let pid = std::process::id().to_string();
    let output = tollgate(&["top", &pid, "--once", "--interval", "0"]).await;
    let text = text(&output);
    assert!(
        output.status.success() && text.contains(&format!("pid {pid} (")),
        "{text}"
    );
    let address = upstream.addr().to_string();
    assert!(
        text.lines().any(|line| line.starts_with(&address)),
        "{text}"
    );
    drop(held);
}

#[tokio::test]
async fn what_cannot_be_carried_out_exits_with_three() {
    for arguments in [
        &["top", "4294967295", "--once"][..],
        &["top", "http://127.0.0.1:1/stats", "--once"],
        &["doctor", "ftp://billing.internal/"],
        &["doctor", "http://billing.internal/", "--ca", "/nonexistent"],
    ] {
        let output = tollgate(arguments).await;
        let text = text(&output);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {text}");
        assert!(text.starts_with("tollgate: "), "{text}");
    }
}

#[tokio::test]
async fn doctor_advises_on_a_limit_from_the_load() {
    let origin = Upstream::start(|_| Reply::ok("ok")).await;
    // Five of five in use, 4,000 requests a second.
    let stats = Upstream::start(|request| {
        let granted = 1_000 * request.arrival;
        Reply::ok(format!(
            r#"{{"origins": [{{"origin": "http://billing", "limit": 5, "in_flight": 5, "queued": 3,
                "requests": {granted}, "granted": {granted}}}]}}"#
        ))
    })
    .await;
    let (url, stats) = (origin.uri("/").to_string(), stats.uri("/stats").to_string());
    let arguments = [
        "doctor",
        &url,
        "--json",
        "--idle",
        "0",
        "--connections",
        "1",
        "--stats",
        &stats,
    ];
    let output = tollgate(&arguments).await;
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = json["findings"].as_array().unwrap();
    let limit = findings
        .iter()
        .find(|one| one["id"] == "limit")
        .expect("a finding");
    assert_eq!(limit["summary"], "http://billing: limit 5, advice 12");
    assert!(
        limit["option"]
            .as_str()
            .unwrap()
            .contains("max_connections_per_origin(12)")
    );
}
