//! Rejections as `application/problem+json` (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Rejection of a WHEP or WHIP request.
#[derive(Debug, Clone)]
pub struct SdpProblem {
    status: StatusCode,
    detail: String,
    retry_after: bool,
}

impl SdpProblem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            retry_after: false,
        }
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Retry after a second.
    pub fn for_now(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            retry_after: true,
            ..Self::new(status, detail)
        }
    }
}

impl IntoResponse for SdpProblem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
