//! Fake HTTP receiver that validates every request, and fails on demand.

use std::collections::VecDeque;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

pub(crate) struct CapturedDelivery {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// Decompressed body.
    pub(crate) body: Vec<u8>,
}

impl CapturedDelivery {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub(crate) type CannedResponse = (u16, Vec<(&'static str, String)>, Vec<u8>);

#[expect(clippy::needless_pass_by_value, reason = "it is made for it alone")]
pub(crate) fn reply(status: u16, body: Value) -> CannedResponse {
    (
        status,
        vec![("content-type", "application/json".to_owned())],
        body.to_string().into_bytes(),
    )
}

type RequestJudge = Box<dyn Fn(&CapturedDelivery) -> CannedResponse + Send + Sync>;

struct Inside {
    judge: RequestJudge,
    faults: Mutex<VecDeque<CannedResponse>>,
    seen: Mutex<Vec<CapturedDelivery>>,
}

/// Starts the receiver; `judge` computes the response unless a fault is queued.
/// A panic in it fails the test by the missing events.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    inside: Arc<Inside>,
}

impl Fake {
    pub(crate) async fn start(
        judge: impl Fn(&CapturedDelivery) -> CannedResponse + Send + Sync + 'static,
    ) -> Self {
        Self::at(0, judge).await
    }

    pub(crate) async fn at(
        port: u16,
        judge: impl Fn(&CapturedDelivery) -> CannedResponse + Send + Sync + 'static,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port));
        let listener = listener.await.unwrap();
        let address = listener.local_addr().unwrap();
        Self::on(listener, address, judge)
    }

    /// Serves connections accepted elsewhere.
    pub(crate) fn on<L: axum::serve::Listener<Addr = SocketAddr>>(
        listener: L,
        address: SocketAddr,
        judge: impl Fn(&CapturedDelivery) -> CannedResponse + Send + Sync + 'static,
    ) -> Self {
        let inside = Arc::new(Inside {
            judge: Box::new(judge),
            faults: Mutex::default(),
            seen: Mutex::default(),
        });
        let router = Router::new()
            .fallback(answer)
            .layer(axum::extract::DefaultBodyLimit::max(64 << 20))
            .with_state(Arc::clone(&inside));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, inside }
    }

    /// Queues responses that precede the judge's.
    pub(crate) fn faults(&self, faults: impl IntoIterator<Item = CannedResponse>) {
        self.inside.faults.lock().unwrap().extend(faults);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests the judge has received.
    pub(crate) fn seen<T>(&self, read: impl FnMut(&CapturedDelivery) -> T) -> Vec<T> {
        self.inside.seen.lock().unwrap().iter().map(read).collect()
    }
}

async fn answer(
    State(inside): State<Arc<Inside>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let fault = inside.faults.lock().unwrap().pop_front();
    let (status, headers, body) = match fault {
        Some(fault) => fault,
        None => {
            let zipped = headers
                .get("content-encoding")
                .is_some_and(|kind| kind == "gzip");
            let body = if zipped {
                let mut plain = Vec::new();
                flate2::read::GzDecoder::new(&body[..])
                    .read_to_end(&mut plain)
                    .unwrap();
                plain
            } else {
                body.to_vec()
            };
            let request = CapturedDelivery {
                path: uri.to_string(),
                headers,
                body,
            };
            let reply = (inside.judge)(&request);
            inside.seen.lock().unwrap().push(request);
            reply
        }
    };
    let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// Rate limit response with a Retry-After of a second.
pub(crate) fn throttled(status: u16) -> CannedResponse {
    let mut reply = reply(status, json!({ "text": "slow down" }));
    reply.1.push(("retry-after", "1".to_owned()));
    reply
}

pub(crate) fn redirect(to: &str) -> CannedResponse {
    (307, vec![("location", to.to_owned())], Vec::new())
}

pub(crate) fn rubbish() -> CannedResponse {
    (200, vec![], b"<html>\xff\x00 it works!".to_vec())
}
