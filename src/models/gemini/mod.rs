//! Google Gemini over plain REST.
//!
//! Owns the wire format and the meaning of its responses and errors. It never
//! waits: a request to be retried later is a [`Failure`](crate::model::Failure)
//! for the caller, whose governor decides. The few resends that Google's
//! documents prescribe happen here, at once and each at most once (see
//! [`Resends`]); they run inside the caller's one permit, so they never add to
//! the requests in flight.
//!
//! The key is sent in one header, marked sensitive; redirects are not followed,
//! as they would forward it.

mod endpoint;
mod reply;
mod request;
mod resend;
mod trouble;
mod wire;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use endpoint::Endpoint;
use futures_util::future::BoxFuture;
use reqwest::header::HeaderName;
use tokio::time::Instant;

use watchtower_base::secret::Secret;
use watchtower_base::sync::Locked as _;
use watchtower_domain::cost::TokenUsage;
use watchtower_domain::finding::ModelRef;

use crate::http::{self, ModelHttpClient};
use crate::images::blocking;
use crate::model::{
    CostBound, Failure, Fatal, FramePolicy, Meter, Model, Prepared, Question, Reply,
};
use crate::request::{ModelRequest, ModelResponse};
use crate::settings::Thinking;
use crate::{answer, prompt};
pub use endpoint::GeminiSettingsError;
use reply::{GeminiOutcome, GeminiReply};
use request::GeminiRequest;
use resend::Resends;
use trouble::{ErrorResponse, GeminiFailure};
use wire::ModelInfo;

const PROVIDER: &str = "gemini";
const KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// Settings of the client: model, credentials and endpoint.
#[derive(Debug, Clone)]
pub struct GeminiSettings {
    pub key: Secret,
    /// Base URL; Google's own when `None`.
    pub base_url: Option<String>,
    /// API version in the path.
    pub api_version: String,
    pub model: String,
    /// Flag: allow plain `http://` to other machines.
    pub allow_http: bool,
    /// Timeout of one request with its whole response.
    pub timeout: Duration,
    /// Output limit in tokens, thoughts included: below 4096 they may leave
    /// nothing for the answer.
    pub max_output_tokens: u32,
    pub thinking: Option<Thinking>,
}

impl GeminiSettings {
    pub fn new(key: Secret) -> Self {
        Self {
            key,
            base_url: None,
            api_version: "v1beta".to_owned(),
            model: "gemini-3.8-flash".to_owned(),
            allow_http: false,
            timeout: Duration::from_secs(60),
            max_output_tokens: 8192,
            thinking: None,
        }
    }
}

/// Client of one model.
#[derive(Debug)]
pub struct Gemini {
    http: ModelHttpClient,
    endpoint: Endpoint,
    settings: GeminiSettings,
    /// Model version of the last response.
    version: Mutex<String>,
    /// Flag: the server has rejected the schema, which is described in the
    /// prompt instead.
    schema_refused: AtomicBool,
}

impl Gemini {
    pub fn new(settings: GeminiSettings) -> Result<Self, GeminiSettingsError> {
        let endpoint = Endpoint::new(
            settings.base_url.as_deref(),
            settings.allow_http,
            &settings.api_version,
            &settings.model,
        )?;
        let key = (KEY, settings.key.expose());
        let http = ModelHttpClient::new(Some(key), endpoint.loopback, settings.timeout);
        Ok(Self {
            http: http.map_err(GeminiSettingsError::from)?,
            endpoint,
            settings,
            version: Mutex::default(),
            schema_refused: AtomicBool::new(false),
        })
    }

    async fn reply(&self, prepared: &Prepared) -> Result<Reply, Failure> {
        let content = prepared.request()?;
        let response = self.exchange(content, prepared.meter()).await?;
        response.reply(prepared.question(), self.identity())
    }

    async fn exchange(
        &self,
        content: Arc<ModelRequest>,
        meter: &Meter,
    ) -> Result<ModelResponse, Failure> {
        let images = content.images().await?;
        let mut request = GeminiRequest {
            content,
            images,
            max_output_tokens: self.settings.max_output_tokens,
            levels: request::knows_thinking_levels(&self.settings.model),
            thinking: request::thinking(&self.settings.model, self.settings.thinking),
            schema: !self.schema_refused.load(Ordering::Relaxed),
            token: None,
        };
        let deadline = Instant::now() + self.settings.timeout;
        let Some(mut resends) = Resends::after_first(deadline, meter.clone()) else {
            return Err(Failure::no_answer("request limit of the question reached"));
        };
        let mut usage = TokenUsage::default();
        let mut text_so_far = String::new();
        loop {
            let reply = match self.send(&request, meter).await {
                Ok(reply) => reply,
                Err(GeminiFailure::Failed(failure)) => return Err(failure),
                Err(GeminiFailure::SchemaRefused) if resends.without_schema() => {
                    tracing::warn!(model = %self.settings.model, "response schema not supported by the server, using a text description");
                    self.schema_refused.store(true, Ordering::Relaxed);
                    request.schema = false;
                    continue;
                }
                Err(GeminiFailure::SchemaRefused) => {
                    let reason = "request rejected (400): too many states, without a schema too";
                    return Err(Failure::fatal(Fatal::Request, reason));
                }
                Err(GeminiFailure::TooBig)
                    if request.images.whole.is_some() && resends.smaller() =>
                {
                    let images = Arc::clone(&request.images);
                    request.images = Arc::new(blocking(move || images.smaller()).await?);
                    continue;
                }
                Err(GeminiFailure::TooBig) => {
                    return Err(request.images.too_big());
                }
            };
            usage = sum(usage, reply.usage);
            usage.estimated_tokens += request.estimated_tokens(&self.settings.model);
            if let Some(version) = reply.model_version {
                self.remember(version);
            }
            // A resend starts the answer anew, so that earlier parts are void.
            match reply.turn {
                GeminiOutcome::Said(text) => {
                    text_so_far.push_str(&text);
                    let (content, images) = (&request.content, &request.images);
                    return Ok(ModelResponse::new(content, text_so_far, images, usage));
                }
                GeminiOutcome::More { text, token } if resends.continued() => {
                    text_so_far.push_str(&text);
                    request.token = Some(token);
                    continue;
                }
                GeminiOutcome::Silent if resends.silent() => {}
                GeminiOutcome::CutOff if request.can_have_more_tokens() && resends.cut_off() => {
                    request.double_tokens();
                }
                GeminiOutcome::Malformed if resends.malformed() => {}
                GeminiOutcome::Refused(reason) => return Err(Failure::Refused { reason }),
                GeminiOutcome::Unusable(reason) => return Err(Failure::no_answer(reason)),
                turn @ (GeminiOutcome::Silent
                | GeminiOutcome::CutOff
                | GeminiOutcome::Malformed
                | GeminiOutcome::More { .. }) => {
                    return Err(Failure::no_answer(resend::gave_up(&turn)));
                }
            }
            text_so_far.clear();
            request.token = None;
        }
    }

    async fn send(
        &self,
        request: &GeminiRequest,
        meter: &Meter,
    ) -> Result<GeminiReply, GeminiFailure> {
        let parts = request.clone();
        // Megabytes of base64 are encoded: not on an async worker.
        let body = blocking(move || parts.body())
            .await
            .map_err(GeminiFailure::Failed)?;
        let response = self.http.post(&self.endpoint.generate, body, meter).await;
        let response = response.map_err(GeminiFailure::Failed)?;
        if response.status == 200 {
            let reply = GeminiReply::read(&response.body);
            if reply.usage != TokenUsage::default() {
                meter.told(reply.usage);
            }
            return Ok(reply);
        }
        meter.free();
        Err(self.refusal(&response).read())
    }

    fn refusal<'a>(&'a self, response: &'a http::HttpResponse) -> ErrorResponse<'a> {
        ErrorResponse {
            status: response.status,
            retry_after: response.retry_after.as_deref(),
            body: &response.body,
            model: &self.settings.model,
            key: self.settings.key.expose(),
            now: jiff::Timestamp::now(),
        }
    }

    fn bound(&self, request: &ModelRequest) -> CostBound {
        request.cost_bound(self.settings.max_output_tokens, |frame, parts| {
            let (width, height) = (frame.picture.width, frame.picture.height);
            request::most_picture_tokens(width, height, parts)
        })
    }

    /// Models are rerouted silently, so that a change is logged.
    fn remember(&self, version: String) {
        let mut known = self.version.locked();
        if *known != version {
            tracing::info!(model = %self.settings.model, %version, "model responded");
            *known = version;
        }
    }

    async fn ask_for_itself(&self) -> Result<String, Failure> {
        let response = self.http.get(&self.endpoint.info).await?;
        let model = &self.settings.model;
        if response.status != 200 {
            return Err(match self.refusal(&response).read() {
                GeminiFailure::Failed(failure) => failure,
                GeminiFailure::TooBig | GeminiFailure::SchemaRefused => {
                    Failure::fatal(Fatal::Request, "the model request was rejected")
                }
            });
        }
        let info: ModelInfo = serde_json::from_slice(&response.body).map_err(|_| {
            Failure::no_answer("not a Gemini API response: proxy or captive portal in between?")
        })?;
        if info.name.is_none() {
            return Err(Failure::no_answer("not a model description"));
        }
        let generates = |methods: &Vec<String>| methods.iter().any(|m| m == "generateContent");
        if !info
            .supported_generation_methods
            .as_ref()
            .is_none_or(generates)
        {
            let reason = format!("model {model} does not generate content: choose another model");
            return Err(Failure::fatal(Fatal::Model, reason));
        }
        Ok(match info.input_token_limit {
            Some(limit) => format!("key accepted, {model} takes {limit} tokens"),
            None => format!("key accepted, {model} available"),
        })
    }
}

impl Model for Gemini {
    fn identity(&self) -> ModelRef {
        let version = self.version.locked();
        ModelRef {
            provider: PROVIDER.to_owned(),
            name: self.settings.model.clone(),
            version: version.clone(),
            prompt: prompt::version().to_owned(),
        }
    }

    fn frame_policy(&self) -> FramePolicy {
        FramePolicy::Newest
    }

    fn prepare(&self, question: Question) -> Prepared {
        Prepared::new(question).prompted()
    }

    fn cost_bound(&self, prepared: &Prepared) -> CostBound {
        prepared.cost_bound(|request| self.bound(request))
    }

    fn ask(&self, prepared: Prepared) -> BoxFuture<'_, Result<Reply, Failure>> {
        Box::pin(async move { self.reply(&prepared).await })
    }

    fn probe(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(self.ask_for_itself())
    }
}

fn sum(one: TokenUsage, other: TokenUsage) -> TokenUsage {
    TokenUsage {
        estimated_tokens: one.estimated_tokens.saturating_add(other.estimated_tokens),
        prompt_tokens: one.prompt_tokens.saturating_add(other.prompt_tokens),
        cached_tokens: one.cached_tokens.saturating_add(other.cached_tokens),
        output_tokens: one.output_tokens.saturating_add(other.output_tokens),
    }
}

/// Parses bytes of the server in every way, for the fuzzer.
#[doc(hidden)]
pub fn read_anything(bytes: &[u8]) {
    if let GeminiOutcome::Said(text) | GeminiOutcome::More { text, .. } =
        GeminiReply::read(bytes).turn
    {
        let _ = answer::parse(&text);
    }
    let _ = answer::parse(&String::from_utf8_lossy(bytes));
    for status in [302, 400, 403, 404, 413, 429, 503] {
        let refusal = ErrorResponse {
            status,
            retry_after: std::str::from_utf8(bytes).ok(),
            body: bytes,
            model: "model",
            key: "key",
            now: jiff::Timestamp::UNIX_EPOCH,
        };
        let _ = refusal.read();
    }
}
