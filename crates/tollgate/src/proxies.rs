//! The proxies that the environment names, which this client does not know.

use std::ffi::OsString;
use std::sync::Once;

/// The variables that curl and reqwest read.
const VARIABLES: [&str; 6] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Warns once in the life of the process, if one is set: its value may hold a password and is not
/// shown.
pub(crate) fn warn_of_ignored() {
    static WARNED: Once = Once::new();
    if let Some(variable) = ignored(|name| std::env::var_os(name)) {
        WARNED.call_once(|| {
            tracing::warn!(
                target: "tollgate::connect",
                variable,
                "a proxy is named by the environment and is not used: this client connects directly; \
                 ClientBuilder::connector is the place for a tunnel"
            );
        });
    }
}

fn ignored(get: impl Fn(&str) -> Option<OsString>) -> Option<&'static str> {
    let mut set = VARIABLES.into_iter();
    // Set to nothing, a variable turns a proxy off.
    set.find(|name| get(name).is_some_and(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_set_proxy_variable_is_found() {
        let only = |set: &'static str, value: &'static str| {
            move |name: &str| (name == set).then(|| OsString::from(value))
        };
        assert_eq!(
            ignored(only("http_proxy", "http://p:3128")),
            Some("http_proxy")
        );
        assert_eq!(ignored(only("HTTP_PROXY", "")), None);
        assert_eq!(ignored(only("NO_PROXY", "a")), None);
    }
}
