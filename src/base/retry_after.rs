//! `Retry-After`: wait requested by a server (RFC 9110, section 10.2.3).

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// Wait requested by the headers of a response, from now on.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    parse(headers.get(RETRY_AFTER)?.to_str().ok()?, Timestamp::now())
}

/// Parses the value of the header: seconds, or a date from which `now` is
/// subtracted. `None` if it is neither, and for a date in the past; the two
/// obsolete date formats are not parsed.
pub fn parse(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    value.parse().ok().map(Duration::from_secs).or_else(|| {
        let until = rfc2822::parse(value).ok()?.timestamp();
        Duration::try_from(until.duration_since(now)).ok()
    })
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn seconds_and_dates_are_parsed() {
        let now = "1994-11-06T08:49:07Z".parse().expect("a time");
        let s = Duration::from_secs;
        for (value, expected) in [
            ("7", Some(s(7))),
            (" 0 ", Some(s(0))),
            ("999999", Some(s(999_999))),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(s(30))),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(s(0))),
            ("Sun, 06 Nov 1994 08:00:00 GMT", None),
            ("-3", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(parse(value, now), expected, "{value:?}");
        }
    }

    #[test]
    fn missing_header_is_no_wait() {
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        headers.insert(RETRY_AFTER, HeaderValue::from_static("60"));
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(60)));
        let date = HeaderValue::from_static("Tue, 31 Dec 2999 23:59:59 GMT");
        headers.insert(RETRY_AFTER, date);
        assert!(retry_after(&headers) > Some(Duration::from_secs(3600)));
    }
}
