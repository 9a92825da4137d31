//! Conditional requests: a body that the client has cached is not sent again
//! (RFC 9110, section 13.1.2); and cache control of responses.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

/// Separators of list items, including empty ones (RFC 9110, section 5.6.1).
const BETWEEN: [char; 3] = [' ', '\t', ','];

/// Sets cache control: `no-cache` (revalidate) with an entity tag, else
/// `no-store`.
pub(crate) async fn answer(request: Request, next: Next) -> Response {
    let if_none_match = matches!(*request.method(), Method::GET | Method::HEAD)
        .then(|| request.headers().get(header::IF_NONE_MATCH).cloned())
        .flatten();
    let mut response = next.run(request).await;
    let tag = response.headers().get(header::ETAG).cloned();
    let keeping = match &tag {
        Some(_) => "private, no-cache",
        None => "no-store",
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keeping));
    let known = if_none_match
        .zip(tag)
        .is_some_and(|(if_none_match, tag)| contains_tag(&if_none_match, &tag));
    if known && response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        forget_body(response.headers_mut());
        *response.body_mut() = Body::empty();
    }
    response
}

fn forget_body(headers: &mut HeaderMap) {
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::CONTENT_TYPE);
}

/// True if the header contains the tag, by weak comparison (RFC 9110, section
/// 8.8.3.2).
fn contains_tag(if_none_match: &HeaderValue, tag: &HeaderValue) -> bool {
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let (Ok(if_none_match), Ok(tag)) = (if_none_match.to_str(), tag.to_str()) else {
        return false;
    };
    let tag = strong(tag);
    if_none_match
        .split(',')
        .any(|one| one.trim() == "*" || strong(one) == tag)
}

/// Precondition of `If-Match` (RFC 9110, section 13.1.1).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// No header, or `*`.
    Anything,
    /// Strong entity tags; weak ones never match here.
    Tags(Vec<String>),
}

impl IfMatch {
    /// Parses the header; `None` if it is no list of entity tags.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let values: Vec<_> = headers.get_all(header::IF_MATCH).iter().collect();
        if values.is_empty() || matches!(values[..], [one] if one == "*") {
            return Some(Self::Anything);
        }
        // A version without quotes has always been accepted.
        if let [one] = values[..]
            && let Ok(bare) = one.to_str()
            && bare.parse::<u64>().is_ok()
        {
            return Some(Self::Tags(vec![bare.to_owned()]));
        }
        let mut tags = Vec::new();
        let mut any = false;
        for value in values {
            let mut rest = value.to_str().ok()?.trim_start_matches(BETWEEN);
            while !rest.is_empty() {
                let strong = !rest.starts_with("W/");
                let quoted = rest.strip_prefix("W/").unwrap_or(rest);
                let (tag, after) = quoted.strip_prefix('"')?.split_once('"')?;
                if tag.contains([' ', '\t']) {
                    return None;
                }
                any = true;
                if strong {
                    tags.push(tag.to_owned());
                }
                rest = after.trim_start_matches(BETWEEN);
                // Separated by a comma, not by spaces or nothing.
                let between = &after[..after.len() - rest.len()];
                if !rest.is_empty() && !between.contains(',') {
                    return None;
                }
            }
        }
        any.then_some(Self::Tags(tags))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_takes_strong_tags_of_all_headers() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::IF_MATCH, HeaderValue::from_static(value));
            }
            IfMatch::of(&headers)
        };
        let tags = |tags: &[&str]| {
            let tags = tags.iter().map(|tag| (*tag).to_owned());
            Some(IfMatch::Tags(tags.collect()))
        };
        assert_eq!(of(&[]), Some(IfMatch::Anything));
        assert_eq!(of(&["*"]), Some(IfMatch::Anything));
        assert_eq!(of(&["\"1-ab\""]), tags(&["1-ab"]));
        assert_eq!(of(&["\"1\" ,\"2\",, \"a,b\""]), tags(&["1", "2", "a,b"]));
        assert_eq!(of(&["\"1\"", "W/\"2\", \"3\""]), tags(&["1", "3"]));
        assert_eq!(of(&["W/\"2\""]), tags(&[]));
        assert_eq!(of(&["7"]), tags(&["7"]));
        for malformed in [
            "",
            "1-ab",
            "\"1",
            "1\"",
            "\"1\"\"2\"",
            "\"1\" \"2\"",
            "\"a b\"",
            "*, \"1\"",
            "w/\"1\"",
        ] {
            assert_eq!(of(&[malformed]), None, "{malformed}");
        }
        assert_eq!(of(&["*", "\"1\""]), None);
    }

    #[test]
    fn if_none_match_is_compared_weakly() {
        let value = HeaderValue::from_static;
        assert!(contains_tag(&value("\"a\""), &value("\"a\"")));
        assert!(contains_tag(&value("\"b\", W/\"a\""), &value("\"a\"")));
        assert!(contains_tag(&value("*"), &value("\"a\"")));
        assert!(!contains_tag(&value("\"b\""), &value("\"a\"")));
        assert!(!contains_tag(&value("a"), &value("\"a\"")));
    }
}
