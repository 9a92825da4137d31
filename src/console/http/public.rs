//! Protection of the routes outside the guard against unauthenticated clients.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use crate::LARGEST_BODY;
use crate::auth::guard::as_it_is;

/// Time limit from the header to the end of the body: with one per chunk, a
/// byte every few seconds could hold a connection for hours.
const ARRIVAL: Duration = Duration::from_secs(10);

/// Passes a request on once it is complete, and adds the common headers to the
/// response.
pub(crate) async fn arrived(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let mut response = match collected(body).await {
        Ok(body) => next.run(Request::from_parts(parts, body.into())).await,
        Err(problem) => problem.into_response(),
    };
    as_it_is(response.headers_mut());
    response
}

async fn collected(body: Body) -> Result<Bytes, Problem> {
    // The routes' own limits are lower.
    match tokio::time::timeout(ARRIVAL, to_bytes(body, LARGEST_BODY)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("body longer than {LARGEST_BODY} bytes, or cut off: {error}"),
        )),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("body not received within {ARRIVAL:?}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures_util::stream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn slow_body_times_out() {
        let began = tokio::time::Instant::now();
        let drops = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            Some((Ok::<_, io::Error>(Bytes::from_static(b"x")), ()))
        });
        let refused = collected(Body::from_stream(drops)).await.err();
        let status = refused.expect("refused").into_response().status();
        assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
        assert!(began.elapsed() < ARRIVAL + Duration::from_secs(1));
        let whole = collected(Body::from("token=x")).await.ok();
        assert_eq!(whole.as_deref(), Some(&b"token=x"[..]));
        let large = collected(Body::from(vec![0; LARGEST_BODY + 1])).await;
        let status = large.expect_err("refused").into_response().status();
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
