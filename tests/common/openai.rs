//! Fake server of OpenAI's chat completions that validates requests: an unknown
//! field, a schema that strict mode rejects or an invalid picture is a 400.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::gemini::jpeg_size;

const FIELDS: [&str; 7] = [
    "model",
    "messages",
    "max_tokens",
    "stream",
    "response_format",
    "max_completion_tokens",
    "reasoning_effort",
];
pub const MODEL: &str = "llava:13b";

#[derive(Default)]
struct OpenAiScript {
    /// Queued statuses and bodies, which come first.
    replies: VecDeque<(u16, String)>,
    /// Reply of the model otherwise.
    default_reply: String,
    /// Response formats it rejects.
    refuses: Vec<String>,
    key: Option<String>,
    /// Entry of the model in the list of models.
    capabilities: Option<Value>,
    chats: Vec<Value>,
    faults: Vec<String>,
}

/// Fake server on a port of its own, until dropped.
pub struct FakeOpenAi {
    address: SocketAddr,
    script: Arc<Mutex<OpenAiScript>>,
    task: JoinHandle<()>,
}

impl Drop for FakeOpenAi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeOpenAi {
    pub async fn start() -> Self {
        let script = OpenAiScript {
            default_reply: "{\"findings\": []}".to_owned(),
            ..OpenAiScript::default()
        };
        let script = Arc::new(Mutex::new(script));
        let app = Router::new()
            .fallback(handle)
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&script));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            script,
            task,
        }
    }

    /// Base URL without the version, which the client adds.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn default_reply(&self, text: &str) {
        text.clone_into(&mut self.script.lock().unwrap().default_reply);
    }

    /// Queues replies to the next requests.
    pub fn script(&self, replies: impl IntoIterator<Item = (u16, String)>) {
        self.script.lock().unwrap().replies.extend(replies);
    }

    /// Rejects that kind of `response_format`.
    pub fn refuse_format(&self, kind: &str) {
        self.script.lock().unwrap().refuses.push(kind.to_owned());
    }

    /// Sets the model's capabilities in the list of models.
    pub fn set_capabilities(&self, capabilities: Value) {
        self.script.lock().unwrap().capabilities = Some(capabilities);
    }

    pub fn let_in_only(&self, key: &str) {
        self.script.lock().unwrap().key = Some(key.to_owned());
    }

    /// Chat requests received so far.
    pub fn chats(&self) -> Vec<Value> {
        self.script.lock().unwrap().chats.clone()
    }

    pub fn faults(&self) -> Vec<String> {
        self.script.lock().unwrap().faults.clone()
    }
}

/// Response of the model in the format of such servers.
pub fn completion(text: &str, finish: &str) -> String {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_795_000_000,
        "model": MODEL, "system_fingerprint": "fp_ollama",
        "choices": [{
            "index": 0, "finish_reason": finish,
            "message": {"role": "assistant", "content": text}
        }],
        "usage": {"prompt_tokens": 2700, "completion_tokens": 90, "total_tokens": 2790}
    })
    .to_string()
}

fn error(status: StatusCode, message: &str) -> Response {
    let body = json!({"error": {
        "message": message, "type": "invalid_request_error", "param": null, "code": null
    }});
    (status, Json(body)).into_response()
}

async fn handle(
    State(script): State<Arc<Mutex<OpenAiScript>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut script = script.lock().unwrap();
    let key = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    if let Some(wanted) = &script.key
        && key != Some(&format!("Bearer {wanted}"))
    {
        return error(StatusCode::UNAUTHORIZED, "Incorrect API key provided");
    }
    match (method.as_str(), uri.path()) {
        ("GET", "/v1/models") => {
            let mut entry = json!({"id": MODEL, "object": "model"});
            if let Some(capabilities) = &script.capabilities {
                entry["capabilities"] = capabilities.clone();
            }
            let models = json!({"object": "list", "data": [entry]});
            Json(models).into_response()
        }
        ("POST", "/v1/chat/completions") => chat(&mut script, &body),
        (method, path) => {
            let fault = format!("{method} {path}: there is no such thing");
            script.faults.push(fault.clone());
            error(StatusCode::NOT_FOUND, &fault)
        }
    }
}

fn chat(script: &mut OpenAiScript, body: &[u8]) -> Response {
    let chat: Value = serde_json::from_slice(body).unwrap_or_default();
    script.chats.push(chat.clone());
    if let Err(fault) = check(&chat) {
        script.faults.push(fault.clone());
        return error(StatusCode::BAD_REQUEST, &fault);
    }
    if chat["model"] != MODEL {
        return error(
            StatusCode::NOT_FOUND,
            "model not found, try pulling it first",
        );
    }
    let format = chat["response_format"]["type"].as_str().unwrap_or_default();
    if script.refuses.iter().any(|refused| refused == format) {
        return error(
            StatusCode::BAD_REQUEST,
            &format!("response_format.type '{format}' is not supported"),
        );
    }
    let (status, body) = script
        .replies
        .pop_front()
        .unwrap_or_else(|| (200, completion(&script.default_reply, "stop")));
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Body::from(body))
        .unwrap()
}

fn check(chat: &Value) -> Result<(), String> {
    let fields = chat.as_object().ok_or("not an object")?;
    if let Some(field) = fields
        .keys()
        .find(|field| !FIELDS.contains(&field.as_str()))
    {
        return Err(format!("unknown field {field}"));
    }
    let messages = chat["messages"].as_array().ok_or("no messages")?;
    let roles: Vec<_> = messages.iter().map(|message| &message["role"]).collect();
    if roles != ["system", "user"] {
        return Err(format!("roles {roles:?}"));
    }
    let mut pictures = 0;
    for part in messages[1]["content"].as_array().ok_or("no parts")? {
        match part["type"].as_str() {
            Some("text") if part["text"].is_string() => {}
            Some("image_url") => {
                let url = part["image_url"]["url"].as_str().ok_or("no url")?;
                let data = url.strip_prefix("data:image/jpeg;base64,");
                let jpeg = STANDARD.decode(data.ok_or("not a data URL")?);
                jpeg_size(&jpeg.map_err(|error| error.to_string())?).ok_or("not a JPEG")?;
                pictures += 1;
            }
            other => return Err(format!("a part of type {other:?}")),
        }
    }
    if pictures == 0 {
        return Err("no picture".to_owned());
    }
    if chat["response_format"]["type"] == "json_schema" {
        let format = &chat["response_format"]["json_schema"];
        if format["strict"] != true || !format["name"].is_string() {
            return Err("a schema without name, or not strict".to_owned());
        }
        strict(&format["schema"])?;
    }
    Ok(())
}

/// Checks a schema by the rules of strict mode: every object closed, every
/// property required, types of JSON Schema.
fn strict(schema: &Value) -> Result<(), String> {
    const TYPES: [&str; 7] = [
        "object", "array", "string", "number", "integer", "boolean", "null",
    ];
    const KEYS: [&str; 8] = [
        "type",
        "properties",
        "items",
        "enum",
        "description",
        "required",
        "additionalProperties",
        "maxItems",
    ];
    let fields = schema
        .as_object()
        .ok_or_else(|| format!("no schema: {schema}"))?;
    if let Some(key) = fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("{key} is not permitted in a schema"));
    }
    let kind = schema["type"].as_str().unwrap_or_default();
    if !TYPES.contains(&kind) {
        return Err(format!("type {kind:?}"));
    }
    if kind == "array" {
        strict(&schema["items"])?;
    }
    if kind == "object" {
        if schema["additionalProperties"] != false {
            return Err("additionalProperties must be false".to_owned());
        }
        let properties = schema["properties"].as_object().ok_or("no properties")?;
        let required = schema["required"].as_array().ok_or("nothing required")?;
        for (name, property) in properties {
            if !required.iter().any(|required| required == name) {
                return Err(format!("{name} is not required"));
            }
            strict(property)?;
        }
    }
    Ok(())
}
