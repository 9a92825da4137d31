//! Fake Gemini server with scripted responses. It validates requests as
//! strictly as Google's: an unknown field is a 400, a missing key a 403.
//! Requests and their faults are recorded.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod reply;
mod request;
mod validation;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use axum::serve::ListenerExt as _;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use reply::FakeReplyMode;
pub use reply::{CannedReply, bad_key, fixture};
pub use request::{CapturedRequest, jpeg_size};
use validation::judge;

/// Response by the request; `None` leaves it to the queues.
type Answerer = Box<dyn Fn(&CapturedRequest) -> Option<CannedReply> + Send>;

#[derive(Default)]
struct GeminiScript {
    /// Queues by a text that occurs in the system instruction or the path.
    queues: HashMap<String, VecDeque<CannedReply>>,
    /// Queues for panel cases.
    cases: HashMap<String, VecDeque<CannedReply>>,
    answerer: Option<Answerer>,
    otherwise: Option<CannedReply>,
    requests: Vec<CapturedRequest>,
    faults: Vec<String>,
    /// The only key accepted, if set.
    key: Option<String>,
}

/// Fake server on a port of its own, until dropped.
pub struct FakeGemini {
    pub address: SocketAddr,
    script: Arc<Mutex<GeminiScript>>,
    task: JoinHandle<()>,
}

impl Drop for FakeGemini {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeGemini {
    /// Starts the server; it reports no findings until configured otherwise.
    pub async fn start() -> Self {
        let script = Arc::new(Mutex::new(GeminiScript::default()));
        let app = Router::new()
            .fallback(handle)
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&script));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // A connection dropped by the server is reset, not closed.
        let listener = listener.tap_io(|stream| stream.set_zero_linger().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            script,
            task,
        }
    }

    /// For `GOOGLE_GEMINI_BASE_URL`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Queues replies to requests whose system instruction or path contains
    /// `matching`: a persona's or a model's name. An empty one matches all.
    pub fn script(&self, matching: &str, replies: impl IntoIterator<Item = CannedReply>) {
        let mut script = self.script.lock().unwrap();
        script
            .queues
            .entry(matching.to_owned())
            .or_default()
            .extend(replies);
    }

    /// Queues replies to panel cases; without one the response has no opinion.
    pub fn script_case(&self, matching: &str, replies: impl IntoIterator<Item = CannedReply>) {
        let mut script = self.script.lock().unwrap();
        script
            .cases
            .entry(matching.to_owned())
            .or_default()
            .extend(replies);
    }

    /// Computes each response from the request.
    pub fn answer_by(
        &self,
        answerer: impl Fn(&CapturedRequest) -> Option<CannedReply> + Send + 'static,
    ) {
        self.script.lock().unwrap().answerer = Some(Box::new(answerer));
    }

    /// Sets the reply to requests that have none queued.
    pub fn otherwise(&self, reply: CannedReply) {
        self.script.lock().unwrap().otherwise = Some(reply);
    }

    /// Rejects every other key from now on.
    pub fn let_in_only(&self, key: &str) {
        self.script.lock().unwrap().key = Some(key.to_owned());
    }

    pub fn requests(&self) -> Vec<CapturedRequest> {
        self.script.lock().unwrap().requests.clone()
    }

    /// Requests since the last call.
    pub fn take_requests(&self) -> Vec<CapturedRequest> {
        std::mem::take(&mut self.script.lock().unwrap().requests)
    }

    /// Faults of the requests, including everything that would expose the key.
    /// Must be empty at the end of a test.
    pub fn faults(&self) -> Vec<String> {
        self.script.lock().unwrap().faults.clone()
    }
}

async fn handle(
    State(script): State<Arc<Mutex<GeminiScript>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let reply = answer(&mut script.lock().unwrap(), &method, &uri, &headers, &body);
    match reply.mode {
        FakeReplyMode::Plain => {}
        // Ends the connection's task silently (without a panic message).
        FakeReplyMode::Reset => std::panic::resume_unwind(Box::new("reset")),
        FakeReplyMode::Slow(delay) => tokio::time::sleep(delay).await,
    }
    let mut response = Response::builder().status(StatusCode::from_u16(reply.status).unwrap());
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(reply.body)).unwrap()
}

fn answer(
    script: &mut GeminiScript,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> CannedReply {
    let headers = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    let request = CapturedRequest {
        at: Instant::now(),
        method: method.to_string(),
        path: uri.to_string(),
        headers: headers.collect(),
        body: serde_json::from_slice(body).unwrap_or_default(),
    };
    script.requests.push(request.clone());
    let Some(key) = request
        .headers
        .get("x-goog-api-key")
        .filter(|key| !key.is_empty())
    else {
        let fault = "the key's header is missing";
        script.faults.push(fault.to_owned());
        return error(403, "PERMISSION_DENIED", fault);
    };
    let elsewhere = request
        .headers
        .iter()
        .filter(|(name, _)| *name != "x-goog-api-key");
    let elsewhere = elsewhere.map(|(_, value)| value.clone());
    let body = String::from_utf8_lossy(body).into_owned();
    if elsewhere
        .chain([request.path.clone(), body])
        .any(|text| text.contains(key))
    {
        script.faults.push(format!(
            "the key stands elsewhere than in its header: {}",
            request.path
        ));
    }
    if script.key.as_ref().is_some_and(|only| only != key) {
        return bad_key();
    }
    let reply = if method == Method::GET {
        describe(&request)
    } else {
        if let Err(fault) = judge(&request) {
            script.faults.push(fault.clone());
            return error(400, "INVALID_ARGUMENT", &fault);
        }
        CannedReply::nothing()
    };
    let scripted = lined_up(script, &request);
    if request.is_case() {
        return scripted
            .unwrap_or_else(|| CannedReply::view("no_view", "info", "Not my field.", ""));
    }
    scripted
        .or_else(|| script.answerer.as_ref()?(&request))
        .or_else(|| script.otherwise.clone())
        .unwrap_or(reply)
}

fn lined_up(script: &mut GeminiScript, request: &CapturedRequest) -> Option<CannedReply> {
    let system = request.system();
    let holds = |matching: &str| request.path.contains(matching) || system.contains(matching);
    // A specific queue takes precedence over the general one.
    let queues = if request.is_case() {
        &mut script.cases
    } else {
        &mut script.queues
    };
    let mut queues: Vec<_> = queues
        .iter_mut()
        .filter(|(matching, queue)| !queue.is_empty() && holds(matching))
        .collect();
    queues.sort_by_key(|(matching, _)| std::cmp::Reverse(matching.len()));
    queues.into_iter().next()?.1.pop_front()
}

/// Response to `GET models/{model}`.
fn describe(request: &CapturedRequest) -> CannedReply {
    let model = request.path.rsplit('/').next().unwrap_or_default();
    CannedReply::json(
        200,
        &json!({
            "name": format!("models/{model}"),
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        }),
    )
}

fn error(code: u16, status: &str, message: &str) -> CannedReply {
    let error = json!({"error": {"code": code, "message": message, "status": status}});
    CannedReply::json(code, &error)
}
