//! Meaning of a response with another status than 200, and its remedy. No I/O.
//!
//! The texts name the remedy. They never contain the key, and of the server's
//! message only a short, printable piece.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use watchtower_base::retry_after;
use watchtower_domain::finding::printable;

use super::wire::RpcStatus;
use crate::answer::shortened;
use crate::http::LONGEST_ADVICE;
use crate::model::{Failure, Fatal};

/// Maximum length of the quoted server message in characters.
const MAX_SERVER_TEXT: usize = 200;

/// Reason of a failed request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum GeminiFailure {
    /// The picture is too large.
    TooBig,
    /// The server rejects the answer schema.
    SchemaRefused,
    Failed(Failure),
}

/// Response with a status other than 200.
#[derive(Debug)]
pub(super) struct ErrorResponse<'a> {
    pub status: u16,
    /// Value of the `Retry-After` header.
    pub retry_after: Option<&'a str>,
    pub body: &'a [u8],
    /// Name of the model, for the text.
    pub model: &'a str,
    /// Key to be cut out of the server's message.
    pub key: &'a str,
    pub now: Timestamp,
}

impl ErrorResponse<'_> {
    pub(super) fn read(&self) -> GeminiFailure {
        let error = status_of(self.body);
        let message = error.message.as_deref().unwrap_or_default();
        let message_suffix = self.message_suffix(message);
        let failure = match self.status {
            413 => return GeminiFailure::TooBig,
            400 if message.to_lowercase().contains("too many states") => {
                return GeminiFailure::SchemaRefused;
            }
            400 if has_reason(&error, "API_KEY_INVALID") => {
                key_refused(self.status, &message_suffix)
            }
            400 if error.status.as_deref() == Some("FAILED_PRECONDITION") => Failure::fatal(
                Fatal::Key,
                format!(
                    "not served here (400){message_suffix}: the free tier is not offered in every region, enable billing for the key's project"
                ),
            ),
            401 | 403 => key_refused(self.status, &message_suffix),
            404 => Failure::fatal(
                Fatal::Model,
                format!(
                    "model {} not found (404){message_suffix}: check its name and api_version in agents.toml",
                    self.model
                ),
            ),
            429 => self.rate_limited(&error, message, &message_suffix),
            300..=399 => Failure::Transient {
                reason: format!(
                    "redirected ({}), redirects are not followed: check the base URL, or a captive portal is in between",
                    self.status
                ),
            },
            408 | 500..=599 => Failure::Transient {
                reason: format!("server error ({}){message_suffix}", self.status),
            },
            status => Failure::fatal(
                Fatal::Request,
                format!("request rejected ({status}){message_suffix}"),
            ),
        };
        GeminiFailure::Failed(failure)
    }

    fn rate_limited(&self, error: &RpcStatus, message: &str, message_suffix: &str) -> Failure {
        let quotas = error.details.iter().flatten();
        let mut quotas = quotas.flat_map(|detail| detail.violations.iter().flatten());
        let per_day = quotas.any(|v| {
            v.quota_id
                .as_deref()
                .is_some_and(|id| id.contains("PerDay"))
        });
        let none = has_limit_zero(message);
        let reason = if none {
            format!(
                "the key's tier has no quota for {} (limit: 0): enable billing or choose another model",
                self.model
            )
        } else if per_day {
            "daily quota exhausted: resets at midnight Pacific time".to_owned()
        } else {
            format!("quota exceeded (429){message_suffix}")
        };
        Failure::RateLimited {
            reason,
            retry_after: self.retry_after(error),
            exhausted: none || per_day,
        }
    }

    /// Retry delay: the longer one of body and header.
    fn retry_after(&self, error: &RpcStatus) -> Option<Duration> {
        let details = error.details.iter().flatten();
        let advised = details.filter_map(|detail| seconds(detail.retry_delay.as_deref()?));
        let header = self
            .retry_after
            .and_then(|text| retry_after::parse(text, self.now));
        advised
            .chain(header)
            .max()
            .map(|advice| advice.min(LONGEST_ADVICE))
    }

    /// Server message as a suffix: `: "..."`, or nothing.
    fn message_suffix(&self, message: &str) -> String {
        let mut message = message.to_owned();
        if !self.key.is_empty() {
            message = message.replace(self.key, "<key>");
        }
        match shortened(&printable(&message), MAX_SERVER_TEXT) {
            text if text.is_empty() => String::new(),
            text => format!(", message: \"{text}\""),
        }
    }
}

fn key_refused(status: u16, message_suffix: &str) -> Failure {
    let reason = format!("key refused ({status}){message_suffix}: set a valid GOOGLE_API_KEY");
    Failure::fatal(Fatal::Key, reason)
}

/// `error` of the body, also within an array; empty without one.
fn status_of(body: &[u8]) -> RpcStatus {
    let read = || -> Option<RpcStatus> {
        let mut body: Value = serde_json::from_slice(body).ok()?;
        if let Some(first) = body.get_mut(0) {
            body = first.take();
        }
        serde_json::from_value(body.get_mut("error")?.take()).ok()
    };
    read().unwrap_or_default()
}

fn has_reason(error: &RpcStatus, reason: &str) -> bool {
    let mut details = error.details.iter().flatten();
    details.any(|detail| detail.reason.as_deref() == Some(reason))
}

/// True if the message names a limit of 0, and not of 0.5 or 05.
fn has_limit_zero(message: &str) -> bool {
    message.match_indices("limit: 0").any(|(at, found)| {
        let mut rest = message[at + found.len()..].chars();
        match rest.next() {
            Some('.') => !rest.next().is_some_and(|c| c.is_ascii_digit()),
            next => !next.is_some_and(|c| c.is_ascii_digit()),
        }
    })
}

/// Parses a protobuf duration: `2.5s`.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn refusal<'a>(status: u16, body: &'a [u8], retry_after: Option<&'a str>) -> ErrorResponse<'a> {
        ErrorResponse {
            status,
            retry_after,
            body,
            model: "gemini-3.8-flash",
            key: "AQ.secret",
            now: "1994-11-06T08:49:07Z".parse().unwrap(),
        }
    }

    fn failure(status: u16, body: &Value) -> Failure {
        match refusal(status, body.to_string().as_bytes(), None).read() {
            GeminiFailure::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    fn limited(body: &Value, header: Option<&str>) -> (Option<Duration>, bool) {
        match refusal(429, body.to_string().as_bytes(), header).read() {
            GeminiFailure::Failed(Failure::RateLimited {
                retry_after,
                exhausted,
                ..
            }) => (retry_after, exhausted),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_text_says_what_to_do() {
        let failure_of = |status, message: &str, code: &str| {
            let body = json!({"error": {"message": message, "status": code}});
            failure(status, &body).to_string()
        };
        let texts = [
            failure_of(400, "Invalid JSON payload received.", "INVALID_ARGUMENT"),
            failure_of(
                400,
                "User location is not supported.",
                "FAILED_PRECONDITION",
            ),
            failure_of(401, "", "UNAUTHENTICATED"),
            failure_of(403, "Reported as leaked.", "PERMISSION_DENIED"),
            failure_of(404, "models/x is not found.", "NOT_FOUND"),
            failure_of(418, "", ""),
            failure_of(429, "Slow down.", "RESOURCE_EXHAUSTED"),
            failure_of(
                429,
                "Quota exceeded, limit: 0, model: x",
                "RESOURCE_EXHAUSTED",
            ),
            failure_of(503, "Overloaded.", "UNAVAILABLE"),
            failure_of(302, "", ""),
        ];
        insta::assert_snapshot!(texts.join("\n"));
    }

    #[test]
    fn server_message_is_bounded_and_without_the_key() {
        let message = format!("key AQ.secret\u{1b}[31m {}", "x".repeat(5000));
        for status in [400, 401, 403, 404, 429, 500] {
            let text = failure(status, &json!({"error": {"message": message}})).to_string();
            assert!(!text.contains("AQ.secret"), "{text}");
            assert!(!text.contains('\u{1b}'), "{text}");
            assert!(text.chars().count() < MAX_SERVER_TEXT + 150, "{text}");
        }
    }

    #[test]
    fn longest_retry_delay_counts() {
        let body = |delay: &str| json!({"error": {"details": [{"retryDelay": delay}]}});
        let s = Duration::from_secs_f64;
        for (body, header, expected) in [
            (body("45.837906927s"), None, Some(s(45.837_906_927))),
            (body("0s"), None, Some(s(0.0))),
            (body("2.5s"), Some("7"), Some(s(7.0))),
            (body("2.5s"), Some("1"), Some(s(2.5))),
            (json!({}), Some(" 2 "), Some(s(2.0))),
            (
                json!({}),
                Some("Sun, 06 Nov 1994 08:49:37 GMT"),
                Some(s(30.0)),
            ),
            (json!({}), Some("Sun, 06 Nov 1994 08:00:00 GMT"), None),
            (json!({}), Some("soon"), None),
            (body("1e300s"), None, None),
            (body("-3s"), None, None),
            (body("NaNs"), None, None),
            (body("99999999s"), None, Some(LONGEST_ADVICE)),
        ] {
            assert_eq!(
                limited(&body, header),
                (expected, false),
                "{body} {header:?}"
            );
        }
    }

    #[test]
    fn exhausted_quota_is_recognised() {
        let quota = |id: &str| json!([{"error": {"details": [{"violations": [{"quotaId": id}]}]}}]);
        assert!(
            limited(
                &quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
                None
            )
            .1
        );
        assert!(!limited(&quota("GenerateRequestsPerMinutePerProjectPerModel"), None).1);
        for (message, exhausted) in [
            ("limit: 0", true),
            ("limit: 0, model: x", true),
            ("limit: 0. Please", true),
            ("limit: 0.5 per second", false),
            ("limit: 05", false),
            ("limit: 10", false),
        ] {
            let body = json!({"error": {"message": message}});
            assert_eq!(limited(&body, None).1, exhausted, "{message}");
        }
    }

    #[test]
    fn schema_rejection_is_no_invalid_request() {
        let body = br#"{"error":{"message":"The specified schema produces a constraint that has too many states for serving."}}"#;
        assert_eq!(
            refusal(400, body, None).read(),
            GeminiFailure::SchemaRefused
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(status: u16, bytes: Vec<u8>, header: Option<String>) {
            let _ = refusal(status, &bytes, header.as_deref()).read();
        }
    }
}
