//! The page of the pools: as text, as JSON, and as HTML in a browser.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use support::client_with;
use tollgate::debug::Pools;
use tollgate::{Body, Client, LongLived};
use tollgate_testing::io::{Dial, Plan};
use tollgate_testing::{Connector, Gate, Recorder, Refused, Reply, Upstream, skip};
use tower::ServiceExt;

/// A client with one origin that is full and has a queue, one at rest, and one that refuses.
struct Site {
    client: Client,
    full: Upstream,
    quiet: Upstream,
    refused: Refused,
    gate: Gate,
}

async fn site() -> Site {
    let gate = Gate::new();
    let held = gate.clone();
    let full = Upstream::start(move |_| Reply::ok("ok").when(&held)).await;
    let quiet = Upstream::start(|_| Reply::ok("ok")).await;
    let refused = Refused::start([127, 0, 0, 1]);
    let client = client_with(|b| {
        b.max_connections_per_origin(2)
            .leak_after(Duration::from_secs(60))
            .acquire_timeout(Duration::from_secs(60))
    });
    for _ in 0..5 {
        tokio::spawn(client.get(full.uri("/secret/path?token=1")));
    }
    let origin = format!("http://{}", full.addr());
    while client.stats(&origin).is_none_or(|stats| stats.queued < 3) {
        tokio::task::yield_now().await;
    }
    let body = client.get(quiet.uri("/")).await.unwrap().into_body();
    body.collect_within(9).await.unwrap();
    client
        .get(format!("http://{}/", refused.addr()))
        .await
        .unwrap_err();
    Site {
        client,
        full,
        quiet,
        refused,
        gate,
    }
}

async fn page(pools: &Pools, query: &str, accept: &str) -> (String, String) {
    let request =
        Request::get(format!("http://localhost/debug/pools{query}")).header("accept", accept);
    let response = pools
        .clone()
        .oneshot(request.body(Body::default()).unwrap())
        .await
        .unwrap();
    let kind = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (kind, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn curl_gets_text_with_the_fullest_origin_first() {
    let site = site().await;
    let (kind, text) = page(&Pools::new(site.client.clone()), "", "*/*").await;
    assert!(kind.starts_with("text/plain"), "{kind}");
    let at = |text_of: &str| {
        text.find(text_of)
            .unwrap_or_else(|| panic!("{text_of}: {text}"))
    };
    assert!(
        at(&site.full.addr().to_string()) < at(&site.quiet.addr().to_string()),
        "{text}"
    );
    assert!(text.contains("connection refused"), "{text}");
    assert!(text.contains(&site.refused.addr().to_string()), "{text}");
    assert!(!text.contains("secret"), "{text}");
    site.gate.open();
}

#[tokio::test]
async fn debug_json_has_queue_limit_addresses_and_failures() {
    let site = site().await;
    let pools = Pools::new(site.client.clone());
    for (query, accept) in [("?format=json", "*/*"), ("", "application/json")] {
        let (kind, json) = page(&pools, query, accept).await;
        assert_eq!(kind, "application/json");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let first = &json["origins"][0];
        assert_eq!(first["stats"]["queued"], 3, "{json}");
        assert_eq!(first["stats"]["limit"], 2, "{json}");
        assert_eq!(first["addresses"][0][1], 2, "{json}");
        assert!(!json["failures"].as_array().unwrap().is_empty(), "{json}");
    }
    site.gate.open();
}

#[tokio::test]
async fn browser_gets_one_html_page_of_origins() {
    let site = site().await;
    let (kind, html) = page(&Pools::new(site.client.clone()), "", "text/html,*/*").await;
    assert!(kind.starts_with("text/html"), "{kind}");
    assert!(
        html.contains("2 of 2 in use") && html.contains("class=\"bad\""),
        "{html}"
    );
    assert!(html.contains(&site.quiet.addr().to_string()), "{html}");
    // The full one and the one that is down, which no call waits for.
    assert_eq!(html.matches("class=\"bad\"").count(), 2, "{html}");
    assert_eq!(html.matches("class=\"good\"").count(), 1, "{html}");
    site.gate.open();
}

/// One call that is over and two exchanges that last, of which three fit.
#[tokio::test(start_paused = true)]
async fn long_lived_exchanges_have_their_own_row() {
    let upstream = Upstream::start(|request| match &*request.target {
        "/watch" => Reply::chunked().chunk("one").hold(),
        _ => Reply::ok("ok"),
    })
    .await;
    let connector = Connector::memory(&upstream);
    let client = client_with(|b| {
        b.connector(connector)
            .max_connections_per_origin(8)
            .max_long_lived_per_origin(3)
            .leak_after(Duration::from_secs(3_600))
            .long_lived_observer(Recorder::new(|_| None::<()>))
    });
    let origin = "http://billing.internal";
    client.get(origin).await.unwrap();
    let watch = || {
        let request = Request::get(format!("{origin}/watch")).extension(LongLived);
        client.request(request.body(Body::default()).unwrap())
    };
    let held = (watch().await.unwrap(), watch().await.unwrap());
    let pools = Pools::new(client.clone());
    // It samples at once.
    tokio::task::yield_now().await;
    tokio::time::advance(Duration::from_secs(90)).await;

    let (_, json) = page(&pools, "?format=json", "*/*").await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let rows = json["origins"].as_array().unwrap();
    let in_flight = |row: &serde_json::Value| row["history"][0]["in_flight"].as_u64();
    assert_eq!(in_flight(&rows[0]), Some(2), "{json}");
    assert_eq!(in_flight(&rows[1]), Some(0), "{json}");
    let of = |row: &serde_json::Value| {
        let stats = &row["stats"];
        let numbers = ["active", "idle", "limit"].map(|key| stats[key].as_u64().unwrap());
        (row["long_lived"].as_bool().unwrap(), numbers)
    };
    // The fullest first.
    assert_eq!(rows.len(), 2, "{json}");
    assert_eq!(of(&rows[0]), (true, [2, 0, 3]), "{json}");
    assert_eq!(of(&rows[1]), (false, [0, 1, 8]), "{json}");
    assert_eq!(rows[0]["oldest_exchange"]["secs"], 90, "{json}");
    assert!(rows[1]["oldest_exchange"].is_null(), "of the calls: {json}");

    let (_, text) = page(&pools, "", "*/*").await;
    let (calls, lasting) = text.split_once("long-lived exchanges").unwrap();
    assert!(calls.contains(origin) && lasting.contains(origin), "{text}");
    assert_eq!(text.matches("oldest exchange of").count(), 1, "{text}");
    let (_, html) = page(&pools, "?format=html", "*/*").await;
    for part in [
        "<small>long-lived</small>",
        "in flight, 3 min, up to 2<",
        "2 of 3 in use",
        "0 of 8 in use",
    ] {
        assert_eq!(html.matches(part).count(), 1, "{part}: {html}");
    }
    drop(held);
}

/// The flag of the task that samples stayed up, and the lines ended.
#[test]
fn history_goes_on_after_its_runtime_ended() {
    let paused = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    let (first, second) = (paused(), paused());
    let upstream = second.block_on(Upstream::start(|_| Reply::ok("ok")));
    let client = client_with(|b| b.connector(Connector::memory(&upstream)));
    let pools = first.block_on(async {
        let pools = Pools::new(client.clone());
        tokio::task::yield_now().await;
        pools
    });
    drop(first);
    let json = second.block_on(async {
        client.get("http://billing.internal").await.unwrap();
        page(&pools, "?format=json", "*/*").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        page(&pools, "?format=json", "*/*").await.1
    });
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let history = json["origins"][0]["history"].as_array().unwrap();
    assert_eq!(history.len(), 3, "{json}");
}

/// With an observer of their own, too.
#[tokio::test(start_paused = true)]
async fn failures_of_exchanges_that_last_are_shown() {
    let refuse = |_: &Dial| Plan::fail(std::io::ErrorKind::ConnectionRefused);
    let upstream = Upstream::start(|_| Reply::ok("ok")).await;
    let connector = Connector::memory(&upstream).script(refuse);
    let client = client_with(|b| {
        b.connector(connector)
            .max_long_lived_per_origin(1)
            .long_lived_observer(Recorder::new(|_| None::<()>))
    });
    let watch = Request::get("http://billing.internal/").extension(LongLived);
    let failed = client.request(watch.body(Body::default()).unwrap()).await;
    failed.unwrap_err();
    let (_, text) = page(&Pools::new(client), "", "*/*").await;
    let failures = text.split_once("last failures").unwrap().1;
    assert!(failures.contains("http://billing.internal"), "{text}");
}

/// Chromium renders the page on a phone and on a desk; set `TOLLGATE_SHOTS` to keep the pictures.
#[tokio::test]
async fn chromium_renders_the_page_at_two_widths() {
    let found = Command::new("chromium").arg("--version").output();
    if !found.is_ok_and(|output| output.status.success()) {
        skip("chromium", "chromium");
        return;
    }
    let site = site().await;
    let app = axum::Router::new().route_service("/debug/pools", Pools::new(site.client.clone()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/debug/pools", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let folder = std::env::temp_dir().join(format!("tollgate-debug-{}", std::process::id()));
    let shots = std::env::var_os("TOLLGATE_SHOTS").map(std::path::PathBuf::from);
    for (name, size) in [("phone", "400,900"), ("desk", "1100,700")] {
        let shot = shots
            .as_ref()
            .unwrap_or(&folder)
            .join(format!("{name}.png"));
        std::fs::create_dir_all(shot.parent().unwrap()).unwrap();
        let (profile, url, to) = (folder.join(name), url.clone(), shot.clone());
        let dom = tokio::task::spawn_blocking(move || chromium(&profile, size, &to, &url));
        let dom = dom.await.unwrap();
        assert!(dom.contains("2 of 2 in use"), "{dom}");
        assert!(
            std::fs::metadata(&shot).unwrap().len() > 5_000,
            "{}",
            shot.display()
        );
    }
    std::fs::remove_dir_all(&folder).ok();
    server.abort();
    site.gate.open();
}

/// Takes a picture of the page, and returns the document as the browser has it.
fn chromium(profile: &Path, size: &str, shot: &Path, url: &str) -> String {
    let run = |what: String| {
        let mut command = Command::new("chromium");
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ]);
        command.arg(format!("--user-data-dir={}", profile.display()));
        command.arg(format!("--window-size={size}"));
        let output = command.arg(what).arg(url).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    run(format!("--screenshot={}", shot.display()));
    run("--dump-dom".to_owned())
}
