//! Keep-alive of the origin: as announced, and as measured.

use std::net::SocketAddr;
use std::time::Duration;

use http::Version;
use http::header::{CONNECTION, HeaderMap};
use http::response::Parts;

use super::report::Check;
use super::wire::Target;
use super::words::{chain, time};

/// The pool's default `idle_timeout`: a later close does no harm.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A close so soon after an answer is part of it.
const AT_ONCE: Duration = Duration::from_millis(250);

/// A hint is in whole seconds, and a timer may be late.
const SLACK: Duration = Duration::from_millis(1_500);

/// The pool closes this much before the server does.
const MARGIN: Duration = Duration::from_secs(1);

/// The outcome: `keeps` is false where each exchange has a connection of its own.
pub(crate) struct KeepAlive {
    pub(crate) keeps: bool,
    pub(crate) checks: Vec<Check>,
}

/// Sends two requests on one connection, and watches it idle for `longest`.
pub(crate) async fn examine(target: &Target, addr: SocketAddr, longest: Duration) -> KeepAlive {
    let first = async {
        let mut exchange = target.open(addr).await?;
        let head = exchange.get().await?;
        Ok::<_, tollgate_core::BoxError>((exchange, head))
    };
    let (mut exchange, head) = match first.await {
        Ok(first) => first,
        Err(error) => {
            let check = Check::critical("http", "the request fails")
                .evidence(format!("{addr}: {}", chain(&*error)))
                .option("the server: it accepts connections and does not speak HTTP/1.1 on them");
            return KeepAlive {
                keeps: false,
                checks: vec![check],
            };
        }
    };
    let mut checks = vec![http(&head)];
    let at_once = exchange.closes_within(AT_ONCE).await;
    if let Some(check) = closes_each(&head, at_once) {
        checks.push(check);
        return KeepAlive {
            keeps: false,
            checks,
        };
    }
    // Some servers keep the first and not the second.
    let again = exchange.get().await;
    // Of the later answer: `max` counts down from one to the next.
    let hint = Hint::of(&again.as_ref().unwrap_or(&head).headers);
    let closed = match again {
        Ok(_) => exchange.closes_within(longest).await,
        // It was open when it was looked at, and closed by the second request.
        Err(_) => Some(at_once.unwrap_or(AT_ONCE)),
    };
    checks.push(Check::ok("keep-alive", "connections are kept"));
    checks.push(hint_check(hint, closed));
    checks.push(idle(hint, closed, longest));
    KeepAlive {
        keeps: true,
        checks,
    }
}

fn http(head: &Parts) -> Check {
    let version = head.version;
    match head.status.as_u16() {
        // A 4xx is an answer like any other: the connection is what is examined.
        500.. => Check::warning("http", format!("the answer is {}", head.status))
            .evidence(format!("{version:?} {}", head.status))
            .option("the server, or a URL that it can serve"),
        _ => Check::ok("http", format!("{version:?} {}", head.status)),
    }
}

/// The finding that no connection is used twice.
fn closes_each(head: &Parts, at_once: Option<Duration>) -> Option<Check> {
    let says_close = head.headers.get_all(CONNECTION).iter().any(|value| {
        let text = value.to_str().unwrap_or_default();
        text.split(',')
            .any(|word| word.trim().eq_ignore_ascii_case("close"))
    });
    let why = if says_close {
        "it answers with Connection: close".to_owned()
    } else if head.version < Version::HTTP_11 {
        format!("it answers with {:?}", head.version)
    } else {
        format!(
            "it closed {} after its answer and announced nothing",
            time(at_once?)
        )
    };
    let check = Check::warning("keep-alive", "no connection is used twice")
        .evidence(format!(
            "{why}: each call costs a connect, and the side that closes first holds a port for 60 s"
        ))
        .option("keep-alive on the server or the proxy before it; no option of a client helps");
    Some(check)
}

/// A `Keep-Alive` header: seconds, and how many requests more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hint {
    timeout: Option<u64>,
    max: Option<u64>,
}

impl Hint {
    fn of(headers: &HeaderMap) -> Self {
        let mut hint = Self::default();
        let values = headers.get_all("keep-alive").iter();
        for part in values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(','))
        {
            let Some((name, value)) = part.split_once('=') else {
                continue;
            };
            let value = value.trim().trim_matches('"').parse().ok();
            match name.trim() {
                name if name.eq_ignore_ascii_case("timeout") => hint.timeout = value,
                name if name.eq_ignore_ascii_case("max") => hint.max = value,
                _ => {}
            }
        }
        hint
    }
}

fn hint_check(hint: Hint, closed: Option<Duration>) -> Check {
    let id = "keep-alive-hint";
    let Some(secs) = hint.timeout else {
        return Check::ok(id, "no Keep-Alive header");
    };
    let said = Duration::from_secs(secs);
    match closed {
        Some(closed) if closed + SLACK < said => Check::warning(
            id,
            format!("announces {secs} s and closes after {}", time(closed)),
        )
        .evidence(format!(
            "Keep-Alive: timeout={secs}, and the connection was closed after {} idle",
            time(closed)
        ))
        .option(before(closed)),
        _ => {
            let max = hint
                .max
                .map_or_else(String::new, |max| format!(", max={max}"));
            Check::ok(id, format!("Keep-Alive: timeout={secs}{max}"))
        }
    }
}

/// A server that closes before the pool does races with requests. A hint shortens the pool's
/// own timeout, or is a finding itself.
fn idle(hint: Hint, closed: Option<Duration>, longest: Duration) -> Check {
    let id = "idle-close";
    let Some(closed) = closed else {
        return Check::ok(id, format!("open after {} idle", time(longest)));
    };
    if closed >= IDLE_TIMEOUT || hint.timeout.is_some() {
        return Check::ok(id, format!("closes after {} idle", time(closed)));
    }
    Check::warning(id, format!("closes after {} idle", time(closed)))
        .evidence(format!(
            "measured; the pool keeps an idle connection for {}, so requests may meet the close",
            time(IDLE_TIMEOUT),
        ))
        .option(before(closed))
}

fn before(closed: Duration) -> String {
    let secs = closed.saturating_sub(MARGIN).as_secs();
    match secs {
        // Below the margin half of it, as a timeout of 0 is refused.
        0 => format!(
            "idle_timeout(Duration::from_millis({}))",
            closed.as_millis() / 2
        ),
        secs => format!("idle_timeout(Duration::from_secs({secs}))"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Status;

    const fn hint(timeout: Option<u64>) -> Hint {
        Hint { timeout, max: None }
    }

    #[test]
    fn a_hint_is_compared_with_the_measured_close() {
        let at = |secs| Some(Duration::from_secs(secs));
        for (hint_secs, closed, status) in [
            (None, at(2), Status::Ok),
            (Some(60), at(2), Status::Warning),
            (Some(5), at(5), Status::Ok),
            (Some(5), at(4), Status::Ok),
            (Some(60), None, Status::Ok),
        ] {
            let check = hint_check(hint(hint_secs), closed);
            assert_eq!(check.status, status, "{hint_secs:?} {closed:?}");
        }
    }

    #[test]
    fn unannounced_idle_close_suggests_a_shorter_idle_timeout() {
        let longest = Duration::from_secs(35);
        let of = |hint_secs, millis: Option<u64>| {
            idle(hint(hint_secs), millis.map(Duration::from_millis), longest)
        };
        assert_eq!(of(None, None).status, Status::Ok);
        assert_eq!(of(None, Some(31_000)).status, Status::Ok);
        assert_eq!(of(Some(5), Some(5_000)).status, Status::Ok);
        let five = of(None, Some(5_000));
        assert_eq!(five.status, Status::Warning);
        assert_eq!(five.option.unwrap(), "idle_timeout(Duration::from_secs(4))");
        assert_eq!(
            of(Some(60), Some(1_000)).status,
            Status::Ok,
            "the hint is the finding"
        );
        let one = of(None, Some(1_000)).option.unwrap();
        assert_eq!(one, "idle_timeout(Duration::from_millis(500))");
    }

    #[test]
    fn keep_alive_header_parses_as_in_the_pool() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("keep-alive", http::HeaderValue::from_static(text));
            Hint::of(&headers)
        };
        assert_eq!(
            (
                of("timeout=5, max=100").timeout,
                of("timeout=5, max=100").max
            ),
            (Some(5), Some(100))
        );
        assert_eq!(of("Timeout = \"2\"").timeout, Some(2));
        assert_eq!(of("soon"), Hint::default());
    }
}
