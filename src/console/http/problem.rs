use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use watchtower_record::store::{StoreError, WriteRefusal};

pub(crate) const PROBLEM: &str = "application/problem+json";

/// An error as `application/problem+json` (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    r#type: &'static str,
    /// Title of the status.
    title: &'static str,
    #[serde(serialize_with = "number")]
    #[schema(value_type = u16)]
    status: StatusCode,
    /// Explanation of what is wrong, and what was expected.
    detail: String,
}

fn number<S: serde::Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(status.as_u16())
}

/// Errors of the handlers that read the record.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "a description")]
pub(crate) enum Failed {
    /// Invalid request
    #[response(status = 400, content_type = "application/problem+json")]
    Request(Problem),
    /// Database unavailable
    #[response(status = 503, content_type = "application/problem+json")]
    Store(Problem),
}

/// Errors of the handlers that change an incident.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "a description")]
pub(crate) enum NotDone {
    /// Not found
    #[response(status = 404, content_type = "application/problem+json")]
    Missing(Problem),
    /// Changed meanwhile, or already in that state
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
    /// The body is too large
    #[response(status = 413, content_type = "application/problem+json")]
    Large(Problem),
    /// Content-Type is not JSON
    #[response(status = 415, content_type = "application/problem+json")]
    Kind(Problem),
    /// The body does not match the schema
    #[response(status = 422, content_type = "application/problem+json")]
    Shape(Problem),
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status,
            detail: detail.into(),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn is_unauthorized(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
    }

    /// A retry may succeed after a second.
    pub(crate) fn is_for_now(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl From<WriteRefusal> for Problem {
    fn from(refusal: WriteRefusal) -> Self {
        let status = match refusal {
            WriteRefusal::NoIncident(_)
            | WriteRefusal::NoLesson(_)
            | WriteRefusal::NoShare(_)
            | WriteRefusal::NoHandover(_) => StatusCode::NOT_FOUND,
            WriteRefusal::Stale { .. }
            | WriteRefusal::Already { .. }
            | WriteRefusal::TooManyLessons(_)
            | WriteRefusal::ClosedForSnooze
            | WriteRefusal::TakenOver { .. }
            | WriteRefusal::NothingToUndo => StatusCode::CONFLICT,
            WriteRefusal::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, refusal.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_string(&self).unwrap_or_default();
        let kind = HeaderValue::from_static(PROBLEM);
        (self.status, [(header::CONTENT_TYPE, kind)], body).into_response()
    }
}
