//! A proxy that the environment names is not used, and the log says so.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::process::Command;

use support::client_with;
use support::log::Log;

/// Set for the process that builds clients, since a test cannot change its own environment.
const INSIDE: &str = "TOLLGATE_TEST_PROXIES";

#[test]
fn ignored_proxy_is_logged_once_without_value() {
    let log = Log::default();
    if std::env::var_os(INSIDE).is_some() {
        tracing::subscriber::with_default(log.clone(), || {
            for _ in 0..3 {
                drop(client_with(|b| b));
            }
        });
        let warnings = log.with("proxy");
        assert_eq!(warnings.len(), 1, "{warnings:#?}");
        assert!(warnings[0].contains("HTTP_PROXY"), "{warnings:#?}");
        assert!(!warnings[0].contains("secret"), "{warnings:#?}");
        return;
    }
    let inside = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ignored_proxy_is_logged_once_without_value"])
        .envs([
            (INSIDE, "yes"),
            ("HTTP_PROXY", "http://user:secret@proxy.internal:3128"),
        ])
        .env_remove("HTTPS_PROXY")
        .env_remove("https_proxy")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&inside.stdout);
    assert!(inside.status.success(), "{printed}");
    assert!(printed.contains("1 passed"), "{printed}");
}
