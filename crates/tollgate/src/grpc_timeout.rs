//! The `grpc-timeout` of a call, as text (gRPC over HTTP/2, "Requests").

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

/// The most digits that it may have.
const DIGITS: usize = 8;
const MOST: u128 = 99_999_999;

/// Returns the `grpc-timeout` of a call, if it has one in the form of gRPC.
pub(crate) fn read(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.len() > DIGITS || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse().ok()?;
    // Of eight digits no product overflows.
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// Writes a time in the finest unit that it fits into, rounded down.
pub(crate) fn write(left: Duration) -> HeaderValue {
    let (number, unit) = match left {
        // Never up: the next service would work longer than this one waits.
        left if left.as_micros() <= MOST => (left.as_micros(), 'u'),
        left if left.as_millis() <= MOST => (left.as_millis(), 'm'),
        left => (u128::from(left.as_secs()).min(MOST), 'S'),
    };
    let text = format!("{number}{unit}");
    HeaderValue::try_from(text).expect("digits and a letter are a header's value")
}

/// Returns true if a request is a gRPC call (its content type has so).
pub(crate) fn is_call(headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE);
    // Its message format may follow, as in `application/grpc+proto`.
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: HeaderValue) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static("grpc-timeout"), value)])
    }

    #[test]
    fn grpc_timeout_parses_each_unit_and_nothing_else() {
        for (value, expected) in [
            ("2H", Some(Duration::from_secs(7200))),
            ("3M", Some(Duration::from_secs(180))),
            ("4S", Some(Duration::from_secs(4))),
            ("250m", Some(Duration::from_millis(250))),
            ("99999999u", Some(Duration::from_micros(99_999_999))),
            ("0n", Some(Duration::ZERO)),
            ("", None),
            ("S", None),
            ("5", None),
            ("5s", None),
            ("+5S", None),
            ("-5S", None),
            ("123456789S", None),
        ] {
            let headers = headers(HeaderValue::from_static(value));
            assert_eq!(read(&headers), expected, "{value:?}");
        }
        assert_eq!(read(&HeaderMap::new()), None);
    }

    #[test]
    fn a_grpc_timeout_is_never_rounded_up() {
        for left in [
            Duration::ZERO,
            Duration::from_micros(1),
            Duration::from_millis(300),
            Duration::from_secs(100),
            Duration::from_millis(123_456_789),
        ] {
            let read = read(&headers(write(left))).unwrap();
            assert!(
                read <= left && left.saturating_sub(read) < Duration::from_secs(1),
                "{left:?}"
            );
        }
        let most = read(&headers(write(Duration::MAX))).unwrap();
        assert_eq!(most, Duration::from_secs(99_999_999));
    }
}
