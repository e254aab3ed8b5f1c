//! Tests that need a program that may not be there.

/// The variable with which a test that cannot run fails: CI installs all that tests need.
const NO_SKIP: &str = "TOLLGATE_NO_SKIP";

/// Prints that a test did not run, for want of a program from `package`.
///
/// # Panics
///
/// Where `TOLLGATE_NO_SKIP` is set: a skip that goes unnoticed is no test.
#[expect(clippy::print_stderr, reason = "a test that did not run must say so")]
pub fn skip(program: &str, package: &str) {
    let why = format!("there is no {program} here (apt-get install {package})");
    assert!(std::env::var_os(NO_SKIP).is_none(), "{why}");
    eprintln!("skipped: {why}");
}
