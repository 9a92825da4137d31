//! What a client has already is not sent again (RFC 9110, section 13.1.2), and
//! what may be kept at all.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

/// With an entity tag it may be kept, and is asked for again each time; all
/// else is never written down.
pub(super) async fn answer(request: Request, next: Next) -> Response {
    let asked = matches!(*request.method(), Method::GET | Method::HEAD)
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
    let known = asked
        .zip(tag)
        .is_some_and(|(asked, tag)| names(&asked, &tag));
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

/// By the weak comparison: whether it is weak does not matter.
fn names(asked: &HeaderValue, tag: &HeaderValue) -> bool {
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let (Ok(asked), Ok(tag)) = (asked.to_str(), tag.to_str()) else {
        return false;
    };
    let tag = strong(tag);
    asked
        .split(',')
        .any(|one| one.trim() == "*" || strong(one) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly() {
        let value = HeaderValue::from_static;
        assert!(names(&value("\"a\""), &value("\"a\"")));
        assert!(names(&value("\"b\", W/\"a\""), &value("\"a\"")));
        assert!(names(&value("*"), &value("\"a\"")));
        assert!(!names(&value("\"b\""), &value("\"a\"")));
        assert!(!names(&value("a"), &value("\"a\"")));
    }
}
