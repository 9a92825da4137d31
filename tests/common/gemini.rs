//! A Gemini that answers by script and judges what it is asked as strictly as
//! Google would: an unknown field is a 400, a missing key a 403. What it saw
//! and what it held against it stays readable.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use axum::serve::ListenerExt as _;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The fields each message of the API knows (camelCase; snake_case will do).
const REQUEST: [&str; 8] = [
    "contents",
    "systemInstruction",
    "generationConfig",
    "safetySettings",
    "store",
    "continuationToken",
    "tools",
    "cachedContent",
];
const GENERATION_CONFIG: [&str; 6] = [
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "maxOutputTokens",
    "thinkingConfig",
    "mediaResolution",
];
const SCHEMA: [&str; 10] = [
    "type",
    "format",
    "description",
    "enum",
    "items",
    "maxItems",
    "minItems",
    "properties",
    "required",
    "propertyOrdering",
];

/// Scripted answer.
#[derive(Debug, Clone)]
pub struct CannedReply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    mode: FakeReplyMode,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum FakeReplyMode {
    Plain,
    /// The connection is reset instead.
    Reset,
    /// The answer comes after this long.
    Slow(Duration),
}

impl CannedReply {
    pub fn json(status: u16, body: &Value) -> Self {
        Self::raw(status, "application/json", body.to_string())
    }

    pub fn raw(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: body.into(),
            mode: FakeReplyMode::Plain,
        }
    }

    /// The model said this, and finished.
    pub fn text(text: &str) -> Self {
        Self::json(
            200,
            &json!({
                "candidates": [{
                    "content": {"role": "model", "parts": [{"text": text}]},
                    "finishReason": "STOP", "index": 0
                }],
                "usageMetadata": {"promptTokenCount": 1391, "candidatesTokenCount": 88},
                "modelVersion": "gemini-3.8-flash-001",
            }),
        )
    }

    /// An answer with these findings, in the shape of the answer schema.
    pub fn findings(findings: &Value) -> Self {
        Self::text(&json!({ "findings": findings }).to_string())
    }

    /// Opinion of an analyst on a case, in the shape of that answer's schema.
    pub fn view(stance: &str, severity: &str, text: &str, quote: &str) -> Self {
        let view = json!({
            "evidence": quote, "box_2d": [], "text": text, "stance": stance,
            "severity": severity, "confidence": 0.8
        });
        Self::text(&view.to_string())
    }

    /// It looked, and there is nothing.
    pub fn nothing() -> Self {
        Self::findings(&json!([]))
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn slow(mut self, delay: Duration) -> Self {
        self.mode = FakeReplyMode::Slow(delay);
        self
    }

    /// A `resp-*` file of `tests/fixtures/gemini`: the answers to one request
    /// after another.
    pub fn fixture(name: &str) -> Vec<Self> {
        match fixture(name) {
            Value::Array(replies) => replies.iter().map(Self::of_fixture).collect(),
            stream => vec![Self::stream(&stream)],
        }
    }

    fn of_fixture(reply: &Value) -> Self {
        let body = match &reply["body"] {
            Value::String(text) => Bytes::from(text.clone()),
            body => Bytes::from(body.to_string()),
        };
        let headers = reply["headers"].as_object().into_iter().flatten();
        let mut made = Self {
            status: u16::try_from(reply["status"].as_u64().unwrap()).unwrap(),
            headers: headers
                .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
                .collect(),
            body,
            mode: match reply["mode"].as_str() {
                None => FakeReplyMode::Plain,
                Some("reset") => FakeReplyMode::Reset,
                Some("slow") => FakeReplyMode::Slow(Duration::from_secs(5)),
                Some(mode) => panic!("a fixture of the unknown mode {mode}"),
            },
        };
        if !made
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            made = made.header("content-type", "application/json; charset=UTF-8");
        }
        made
    }

    /// Server-sent events, as `streamGenerateContent` answers.
    fn stream(stream: &Value) -> Self {
        let events = stream["events"].as_array().unwrap().iter();
        let body: String = events
            .map(|event| format!("data: {event}\r\n\r\n"))
            .collect();
        Self::raw(200, stream["content_type"].as_str().unwrap(), body)
    }
}

/// A file of `tests/fixtures/gemini`.
pub fn fixture(name: &str) -> Value {
    let path = format!(
        "{}/tests/fixtures/gemini/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap()
}

/// Request as it arrived.
#[derive(Debug, Clone)]
pub struct CapturedRequest {
    pub at: Instant,
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Lower-case names.
    pub headers: BTreeMap<String, String>,
    /// Null when there was none.
    pub body: Value,
}

impl CapturedRequest {
    /// The system instruction: who the model was told to be.
    pub fn system(&self) -> String {
        texts(&self.body["systemInstruction"]).concat()
    }

    /// Text of the request beside the frame.
    pub fn text(&self) -> String {
        texts(&self.body["contents"][0]).concat()
    }

    /// True if it asks for an opinion on somebody's report, and not for
    /// findings on the screen.
    pub fn is_case(&self) -> bool {
        let schema = &self.body["generationConfig"]["responseSchema"];
        !schema["properties"]["stance"].is_null()
    }

    /// The picture, out of its base64.
    pub fn jpeg(&self) -> Vec<u8> {
        self.jpegs().swap_remove(0)
    }

    /// The picture and its closeups.
    pub fn jpegs(&self) -> Vec<Vec<u8>> {
        let parts = self.body["contents"][0]["parts"].as_array().unwrap();
        let data = parts
            .iter()
            .filter_map(|part| part["inlineData"]["data"].as_str());
        data.map(|data| decoded(data).expect("base64")).collect()
    }
}

fn texts(content: &Value) -> Vec<&str> {
    let parts = content["parts"].as_array().into_iter().flatten();
    parts.filter_map(|part| part["text"].as_str()).collect()
}

fn decoded(data: &str) -> Option<Vec<u8>> {
    STANDARD
        .decode(data)
        .or_else(|_| URL_SAFE.decode(data))
        .ok()
}

/// Width and height as a JPEG's frame header says (ITU-T T.81, B.2.2); `None`
/// when it isn't a whole JPEG.
pub fn jpeg_size(jpeg: &[u8]) -> Option<(u16, u16)> {
    let mut rest = jpeg.strip_prefix(&[0xff, 0xd8])?;
    if !jpeg.ends_with(&[0xff, 0xd9]) {
        return None;
    }
    loop {
        let [0xff, marker, high, low, ..] = *rest else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if matches!(marker, 0xc0..=0xc2) {
            let size = rest.get(5..9)?;
            let side = |at| u16::from_be_bytes([size[at], size[at + 1]]);
            return Some((side(2), side(0)));
        }
        rest = rest.get(2 + length..)?;
    }
}

/// Answers by what it is asked; `None` leaves it to the queues.
type Answerer = Box<dyn Fn(&CapturedRequest) -> Option<CannedReply> + Send>;

#[derive(Default)]
struct GeminiScript {
    /// By a text that stands in the system instruction or the path.
    queues: HashMap<String, VecDeque<CannedReply>>,
    /// The same for cases.
    cases: HashMap<String, VecDeque<CannedReply>>,
    answerer: Option<Answerer>,
    otherwise: Option<CannedReply>,
    requests: Vec<CapturedRequest>,
    faults: Vec<String>,
    /// The only key that is let in, when set.
    key: Option<String>,
}

/// Listens on a port of its own until dropped.
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
    /// Answers "nothing" to everybody until told otherwise.
    pub async fn start() -> Self {
        let script = Arc::new(Mutex::new(GeminiScript::default()));
        let app = Router::new()
            .fallback(handle)
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&script));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // A connection dropped by the server is a reset, not a clean end.
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

    /// Lines up replies for requests whose system instruction or path holds
    /// `who`: a persona's name, a model's. An empty `who` is everybody.
    pub fn script(&self, who: &str, replies: impl IntoIterator<Item = CannedReply>) {
        let mut script = self.script.lock().unwrap();
        script
            .queues
            .entry(who.to_owned())
            .or_default()
            .extend(replies);
    }

    /// The same for requests that put a case; without one lined up nobody has
    /// a view.
    pub fn script_case(&self, who: &str, replies: impl IntoIterator<Item = CannedReply>) {
        let mut script = self.script.lock().unwrap();
        script
            .cases
            .entry(who.to_owned())
            .or_default()
            .extend(replies);
    }

    /// Answers each look by what it shows.
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

    /// Refuses every other key from now on.
    pub fn let_in_only(&self, key: &str) {
        self.script.lock().unwrap().key = Some(key.to_owned());
    }

    pub fn requests(&self) -> Vec<CapturedRequest> {
        self.script.lock().unwrap().requests.clone()
    }

    /// The requests since the last time this was asked.
    pub fn take_requests(&self) -> Vec<CapturedRequest> {
        std::mem::take(&mut self.script.lock().unwrap().requests)
    }

    /// Faults of the requests, among them everything that would show the key
    /// to others. To be empty at the end of a test.
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
        // Ends the connection's task without a word (and without a panic's).
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
    let holds = |who: &str| request.path.contains(who) || system.contains(who);
    // Somebody's own queue goes before everybody's.
    let queues = if request.is_case() {
        &mut script.cases
    } else {
        &mut script.queues
    };
    let mut queues: Vec<_> = queues
        .iter_mut()
        .filter(|(who, queue)| !queue.is_empty() && holds(who))
        .collect();
    queues.sort_by_key(|(who, _)| std::cmp::Reverse(who.len()));
    queues.into_iter().next()?.1.pop_front()
}

/// Answer to `GET models/{model}`.
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

/// As the real one, which answers a bad key with a 400.
pub fn bad_key() -> CannedReply {
    CannedReply::fixture("resp-err-400-api-key").remove(0)
}

/// Checks a request; the error is what the real server would object to.
fn judge(request: &CapturedRequest) -> Result<(), String> {
    let path = request.path.as_str();
    let known = ["/v1beta/models/", "/v1/models/"]
        .iter()
        .any(|p| path.contains(p));
    if !known || !path.ends_with(":generateContent") {
        return Err(format!("no such method: {path}"));
    }
    let body = camel(&request.body);
    fields("request", &body, &REQUEST)?;
    for content in body["contents"]
        .as_array()
        .ok_or("contents must be a list")?
    {
        judge_content(content)?;
    }
    fields(
        "systemInstruction",
        &body["systemInstruction"],
        &["role", "parts"],
    )?;
    let config = &body["generationConfig"];
    fields("generationConfig", config, &GENERATION_CONFIG)?;
    fields(
        "thinkingConfig",
        &config["thinkingConfig"],
        &["thinkingLevel", "thinkingBudget", "includeThoughts"],
    )?;
    if !config["responseSchema"].is_null() {
        judge_schema(&config["responseSchema"])?;
    }
    for setting in body["safetySettings"].as_array().into_iter().flatten() {
        fields("safetySettings", setting, &["category", "threshold"])?;
    }
    let number = |value: &Value| value.is_null() || value.is_u64();
    let right = number(&config["maxOutputTokens"])
        && (body["store"].is_null() || body["store"].is_boolean());
    right
        .then_some(())
        .ok_or_else(|| "a value is of the wrong type".to_owned())
}

fn judge_content(content: &Value) -> Result<(), String> {
    fields("contents", content, &["role", "parts"])?;
    for part in content["parts"].as_array().ok_or("parts must be a list")? {
        fields("parts", part, &["text", "inlineData", "mediaResolution"])?;
        let data = &part["inlineData"];
        fields("inlineData", data, &["mimeType", "data"])?;
        if data.is_null() {
            continue;
        }
        let jpeg = data["data"]
            .as_str()
            .and_then(decoded)
            .ok_or("base64 decoding failed")?;
        if data["mimeType"] != "image/jpeg" || jpeg_size(&jpeg).is_none() {
            return Err("unable to process input image".to_owned());
        }
    }
    Ok(())
}

fn judge_schema(schema: &Value) -> Result<(), String> {
    fields("responseSchema", schema, &SCHEMA)?;
    if !schema["items"].is_null() {
        judge_schema(&schema["items"])?;
    }
    for (_, property) in schema["properties"].as_object().into_iter().flatten() {
        judge_schema(property)?;
    }
    Ok(())
}

fn fields(of: &str, message: &Value, known: &[&str]) -> Result<(), String> {
    let fields = message.as_object().into_iter().flatten();
    for (name, _) in fields {
        if !known.contains(&name.as_str()) {
            return Err(format!(
                "Invalid JSON payload received. Unknown name \"{name}\" at '{of}': Cannot find field."
            ));
        }
    }
    Ok(())
}

/// The same with all names in camelCase. Names of a schema's own properties
/// come through unharmed, as far as `judge_schema` looks at them.
fn camel(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(camel).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (camel_name(name), camel(value)))
            .collect(),
        value => value.clone(),
    }
}

fn camel_name(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        match letters.next() {
            Some(letter) => format!("{name}{}{}", letter.to_ascii_uppercase(), letters.as_str()),
            None => name,
        }
    })
}
