//! What options are written as.

use std::time::Duration;

use http::Uri;

pub(crate) fn url(text: &str) -> Result<Uri, String> {
    const FORM: &str = "expected http://host[:port][/path]";
    let uri: Uri = text.parse().map_err(|error| format!("{error}; {FORM}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(host)) if !host.is_empty() => Ok(uri),
        (Some("https"), _) => Err(format!("load does not speak TLS; {FORM}")),
        _ => Err(FORM.to_owned()),
    }
}

pub(crate) fn delay(text: &str) -> Result<Duration, String> {
    const MOST: Duration = Duration::from_secs(10);
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number
        .parse()
        .map_err(|_| "expected a time such as 5ms, 200us or 1s".to_owned())?;
    let delay = match unit {
        "" | "ms" => Duration::from_millis(number),
        "us" => Duration::from_micros(number),
        "s" => Duration::from_secs(number),
        _ => return Err(format!("unknown unit {unit:?}: us, ms and s are known")),
    };
    if delay > MOST {
        return Err(format!("at most {MOST:?}"));
    }
    Ok(delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_in_milliseconds_unless_they_say_otherwise() {
        assert_eq!(delay("5"), Ok(Duration::from_millis(5)));
        assert_eq!(delay("5ms"), Ok(Duration::from_millis(5)));
        assert_eq!(delay("200us"), Ok(Duration::from_micros(200)));
        assert_eq!(delay("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(delay("0"), Ok(Duration::ZERO));
        for bad in ["", "ms", "-1", "5h", "1e3", "11s"] {
            assert!(delay(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_whole_http_urls_are_taken() {
        for good in [
            "http://127.0.0.1:8080/",
            "http://billing.internal",
            "http://[::1]:80/x",
        ] {
            assert!(url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "billing.internal",
            "/v1",
            "ftp://a/",
            "https://a/",
            "http://",
            "http:// a",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }
}
