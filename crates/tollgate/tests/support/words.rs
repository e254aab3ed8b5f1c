//! What the message of every error has to say.

use tollgate::{Error, ErrorKind};

/// What, to where, after how long, and what to change.
pub(crate) fn says_all(error: &Error) {
    let text = error.to_string();
    let (timed, advice) = expected(error);
    assert!(text.contains(advice), "{text}");
    if let Some(origin) = error.origin() {
        assert!(text.contains(&origin.to_string()), "{text}");
    }
    // Not dialled for, so nothing took any time.
    if timed && !error.is_backing_off() {
        let mut words = text.split([' ', ':', ',', ';']);
        assert!(words.any(is_time), "{text}");
    }
}

/// Whether it took time, and what to change.
fn expected(error: &Error) -> (bool, &'static str) {
    match error.kind() {
        ErrorKind::InvalidRequest => (false, "absolute"),
        ErrorKind::QueueFull => (false, "raise the connection cap or max_waiting"),
        ErrorKind::QueueTimeout => (true, "raise the connection cap or acquire_timeout"),
        ErrorKind::ConnectTimeout { .. } => (true, "_timeout"),
        ErrorKind::Dns => (true, "check the name"),
        ErrorKind::ConnectRefused => (true, "check that something listens"),
        ErrorKind::Unreachable => (true, "check routes"),
        ErrorKind::PortsExhausted => (true, "keep connections alive"),
        ErrorKind::TooManyOpenFiles => (true, "ulimit -n"),
        ErrorKind::Tls if error.is_connect() => (true, "its cause says what to change"),
        ErrorKind::Tls => (true, "TlsOptions::identity_pem"),
        ErrorKind::Blocked => (true, "AddrPolicy::allow"),
        ErrorKind::Connect => (true, "its cause says why"),
        ErrorKind::ClosedBeforeSent => (true, "lower idle_timeout"),
        ErrorKind::ClosedAfterSent => (true, "only if that is harmless"),
        ErrorKind::Exchange => (true, "its cause says"),
        ErrorKind::ResponseTimeout | ErrorKind::Timeout if error.nothing_sent() => {
            (true, "raise the connection cap")
        }
        ErrorKind::ResponseTimeout => (true, "raise response_timeout"),
        ErrorKind::Timeout => (true, "raise timeout"),
        ErrorKind::Body => (true, "look why"),
        ErrorKind::BodyTimeout => (true, "raise body_idle_timeout"),
        ErrorKind::Deadlock => (true, "raise the connection cap"),
        ErrorKind::BodyTooLarge => (false, "raise that limit"),
        ErrorKind::Decode => (false, "look what"),
        ErrorKind::Closed => (false, "through another client"),
        ErrorKind::NoRuntime => (false, "make it inside one"),
        other => panic!("{other:?} has no line here: {error}"),
    }
}

fn is_time(word: &str) -> bool {
    let unit = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    unit.len() < word.len() && ["ns", "µs", "ms", "s"].contains(&unit)
}
