//! Tests that need a network, ports or a resolver of their own.

use std::process::Command;

use crate::skip;

/// Set for the second run of a test, the one inside, to the case that it is for.
const CASE: &str = "TOLLGATE_TEST_NAMESPACE";

/// The shell's part: loopback works only once it is up.
const ENTER: &str = "ip link set lo up && exec \"$@\"";

/// Runs the test `name` of this program once more, in network, mount and user namespaces of its own.
///
/// Returns true in that second run, for the test to do its work; false in the first, which then has
/// nothing to do. Inside, loopback is up and empty, and the settings of the network can be changed
/// without a trace outside.
///
/// ```no_run
/// # use tollgate_testing::namespace;
/// // #[test]
/// fn ports_run_out() {
///     if !namespace::enter("ports_run_out") {
///         return;
///     }
///     namespace::set("net/ipv4/ip_local_port_range", "40000 40009");
/// }
/// ```
///
/// # Panics
///
/// If the second run fails, or cannot be had where nothing may be [skipped](skip()).
pub fn enter(name: &str) -> bool {
    let inside = case().is_some();
    if !inside && is_possible() {
        run(name, "");
    }
    inside
}

/// The case that this run is for; `None` outside.
pub fn case() -> Option<String> {
    std::env::var(CASE).ok()
}

/// Returns true if namespaces can be made here. Where they cannot, the test is [skipped](skip()).
///
/// # Panics
///
/// Where nothing may be skipped.
pub fn is_possible() -> bool {
    let probe = Command::new("unshare")
        .args(["--map-root-user", "--net", "--mount", "ip", "link", "show"])
        .output();
    let possible = probe.is_ok_and(|output| output.status.success());
    if !possible {
        skip("unshare of namespaces", "iproute2 util-linux");
    }
    possible
}

/// Runs the test `name` once more, inside, for one `case` of it.
///
/// # Panics
///
/// If it fails, with what it printed.
pub fn run(name: &str, case: &str) {
    let program = std::env::current_exe().expect("a test is a program");
    let output = Command::new("unshare")
        .args([
            "--map-root-user",
            "--net",
            "--mount",
            "sh",
            "-c",
            ENTER,
            "sh",
        ])
        .arg(program)
        // Also a test that is ignored outside, where it could not run.
        .args([name, "--exact", "--nocapture", "--include-ignored"])
        .env(CASE, case)
        .output()
        .expect("unshare can be run");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    // A name that fits no test succeeds as well: one has to have run.
    let passed = output.status.success() && out.contains("1 passed");
    assert!(passed, "inside the namespace, {name} {case}:\n{out}{err}");
}

/// Changes a setting under `/proc/sys`, inside.
///
/// # Panics
///
/// If it cannot be changed.
pub fn set(setting: &str, value: &str) {
    let path = format!("/proc/sys/{setting}");
    std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
}
