//! Client of OpenAI's chat completions API: Ollama, llama.cpp, vLLM, LM Studio,
//! or a hosted server.
//!
//! Like [`super::gemini`] it never waits. Not every server accepts a schema: a
//! rejected format falls back to a simpler one, which is remembered once it
//! worked. Redirects are not followed, nor are URLs in a response.

mod listed;
mod reply;
mod schema;
mod wire;

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use reply::{ChatReply, OpenAiFailure, OpenAiOutcome, failure_of};
use reqwest::Url;
use reqwest::header::AUTHORIZATION;
use serde_json::Value;
use tokio::time::Instant;
use wire::{ChatRequest, StructuredOutput};

use watchtower_base::secret::Secret;
use watchtower_base::sync::Locked as _;
use watchtower_base::url;
use watchtower_base::url::AddressError;
use watchtower_domain::cost::TokenUsage;
use watchtower_domain::finding::ModelRef;

use crate::http::{self, ModelHttpClient, ModelHttpError};
use crate::images::{ImageSet, blocking};
use crate::model::{
    CostBound, Failure, Fatal, FramePolicy, Meter, Model, Prepared, Question, Reply,
};
use crate::prompt;
use crate::request::{ModelRequest, ModelResponse};
use crate::settings::Thinking;

const PROVIDER: &str = "openai";
/// Largest output of models, in tokens.
const MOST_OUTPUT_TOKENS: u32 = 65_536;

/// Settings of the client: model, credentials and endpoint.
#[derive(Debug, Clone)]
pub struct OpenAiSettings {
    /// Base URL with its version: `http://127.0.0.1:11434/v1`; `/v1` is the
    /// default path.
    pub base_url: String,
    /// API key; many self-hosted servers need none.
    pub key: Option<Secret>,
    pub model: String,
    /// Flag: allow plain `http://` to other machines.
    pub allow_http: bool,
    /// Timeout of one request with its whole response.
    pub timeout: Duration,
    pub max_output_tokens: u32,
    /// Temperature, sent only if set.
    pub thinking: Option<Thinking>,
}

/// Error of invalid settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenAiSettingsError {
    #[error("openai_base_url {0}")]
    Address(#[from] AddressError),
    #[error("{0}: set OPENAI_API_KEY again")]
    Client(#[from] ModelHttpError),
}

/// Client of one model.
#[derive(Debug)]
pub struct OpenAi {
    http: ModelHttpClient,
    chat: Url,
    models: Url,
    settings: OpenAiSettings,
    /// Model version of the last response.
    version: Mutex<String>,
    /// [`StructuredOutput`] accepted by the server, by index.
    format: AtomicU8,
    /// Flag: the model accepts only `max_completion_tokens`.
    completion_tokens: AtomicBool,
    /// Flag: the server rejects `reasoning_effort`.
    thinks_as_it_likes: AtomicBool,
}

impl OpenAi {
    pub fn new(settings: OpenAiSettings) -> Result<Self, OpenAiSettingsError> {
        let mut base = url::base_url_of(&settings.base_url, settings.allow_http)?;
        if base.path() == "/" {
            base = url::under(&base, &["v1"]);
        }
        let bearer = settings
            .key
            .as_ref()
            .map(|key| format!("Bearer {}", key.expose()));
        let key = bearer.as_deref().map(|bearer| (AUTHORIZATION, bearer));
        Ok(Self {
            http: ModelHttpClient::new(key, url::is_loopback(&base), settings.timeout)?,
            chat: url::under(&base, &["chat", "completions"]),
            models: url::under(&base, &["models"]),
            settings,
            version: Mutex::default(),
            format: AtomicU8::new(StructuredOutput::Schema.index()),
            completion_tokens: AtomicBool::new(false),
            thinks_as_it_likes: AtomicBool::new(false),
        })
    }

    async fn reply(&self, prepared: &Prepared) -> Result<Reply, Failure> {
        let content = prepared.request()?;
        let response = self.exchange(&content, prepared.meter()).await?;
        response.reply(prepared.question(), self.identity())
    }

    async fn exchange(
        &self,
        content: &Arc<ModelRequest>,
        meter: &Meter,
    ) -> Result<ModelResponse, Failure> {
        let deadline = Instant::now() + self.settings.timeout;
        // Granted requests are sent.
        let again = |tried: &mut bool| {
            !std::mem::replace(tried, true) && Instant::now() < deadline && meter.begin()
        };
        let (mut smaller, mut silent, mut cut_off) = (false, false, false);
        let (mut renamed, mut unthought) = (false, false);
        let mut format = StructuredOutput::of_index(self.format.load(Ordering::Relaxed));
        let mut max_tokens = self.settings.max_output_tokens;
        let mut images = content.images().await?;
        let mut usage = TokenUsage::default();
        if !meter.begin() {
            return Err(Failure::no_answer("request limit of the question reached"));
        }
        loop {
            let request = ChatRequest {
                model: self.settings.model.clone(),
                content: Arc::clone(content),
                images: Arc::clone(&images),
                max_tokens,
                completion_tokens: self.completion_tokens.load(Ordering::Relaxed),
                thinking: self.thinking(),
                format,
            };
            let reply = match self.send(request, meter).await {
                Ok(reply) => reply,
                Err(OpenAiFailure::Failed(failure)) => return Err(failure),
                Err(OpenAiFailure::TooBig) if images.whole.is_some() && again(&mut smaller) => {
                    let whole = Arc::clone(&images);
                    images = Arc::new(blocking(move || whole.smaller()).await?);
                    continue;
                }
                Err(OpenAiFailure::TooBig) => {
                    return Err(images.too_big());
                }
                // Once without the parts and smaller: a simpler format does not
                // help.
                Err(OpenAiFailure::TooLong(_)) if images.whole.is_some() && again(&mut smaller) => {
                    let whole = Arc::clone(&images);
                    images = Arc::new(blocking(move || whole.smaller()).await?);
                    continue;
                }
                Err(OpenAiFailure::TooLong(failure)) => return Err(failure),
                Err(OpenAiFailure::NotAccepted(failure))
                    if names_completion_tokens(&failure) && again(&mut renamed) =>
                {
                    self.completion_tokens.store(true, Ordering::Relaxed);
                    continue;
                }
                Err(OpenAiFailure::NotAccepted(failure))
                    if self.thinking().is_some()
                        && failure.to_string().contains("reasoning_effort")
                        && again(&mut unthought) =>
                {
                    tracing::warn!(model = %self.settings.model, "`thinking` (reasoning_effort) not supported by the server, no longer sent");
                    self.thinks_as_it_likes.store(true, Ordering::Relaxed);
                    continue;
                }
                Err(OpenAiFailure::NotAccepted(failure)) => {
                    match format.simpler(&failure.to_string()) {
                        Some(simpler) if again(&mut false) => {
                            format = simpler;
                            continue;
                        }
                        // The next question starts with this format, if this
                        // one had no requests left to try it.
                        next => {
                            let next = next.unwrap_or(StructuredOutput::Schema).index();
                            self.format.store(next, Ordering::Relaxed);
                            return Err(failure);
                        }
                    }
                }
            };
            self.remember(format, reply.model);
            usage.prompt_tokens += reply.usage.prompt_tokens;
            usage.cached_tokens += reply.usage.cached_tokens;
            usage.output_tokens += reply.usage.output_tokens;
            usage.estimated_tokens += self.estimated(content, &images);
            match reply.turn {
                OpenAiOutcome::Said(text) => {
                    return Ok(ModelResponse::new(content, text, &images, usage));
                }
                OpenAiOutcome::Silent if again(&mut silent) => {}
                OpenAiOutcome::CutOff if max_tokens < MOST_OUTPUT_TOKENS && again(&mut cut_off) => {
                    max_tokens = max_tokens.saturating_mul(2).min(MOST_OUTPUT_TOKENS);
                }
                OpenAiOutcome::Silent => {
                    return Err(Failure::no_answer("the model returned an empty response"));
                }
                OpenAiOutcome::CutOff => {
                    return Err(Failure::no_answer(
                        "response ran out of tokens: raise max_output_tokens in agents.toml",
                    ));
                }
                OpenAiOutcome::Refused(reason) => return Err(Failure::Refused { reason }),
                OpenAiOutcome::Unusable(reason) => return Err(Failure::no_answer(reason)),
                OpenAiOutcome::Failed(..) => {
                    return Err(Failure::no_answer("error with status 200"));
                }
            }
        }
    }

    async fn send(&self, request: ChatRequest, meter: &Meter) -> Result<ChatReply, OpenAiFailure> {
        // Megabytes of base64 are encoded: not on an async worker.
        let body = blocking(move || request.body()).await;
        let body = body.map_err(OpenAiFailure::Failed)?;
        let response = self.http.post(&self.chat, body, meter).await;
        let response = response.map_err(OpenAiFailure::Failed)?;
        if response.status == 200 {
            let reply = ChatReply::read(&response.body);
            if let OpenAiOutcome::Failed(status, error) = &reply.turn {
                meter.free();
                return Err(self.failure_of(&http::HttpResponse {
                    status: *status,
                    retry_after: response.retry_after,
                    body: error.to_string().into_bytes(),
                }));
            }
            if reply.usage != TokenUsage::default() {
                meter.told(reply.usage);
            }
            return Ok(reply);
        }
        meter.free();
        Err(self.failure_of(&response))
    }

    fn thinking(&self) -> Option<Thinking> {
        let known = !self.thinks_as_it_likes.load(Ordering::Relaxed);
        self.settings.thinking.filter(|_| known)
    }

    fn failure_of(&self, response: &http::HttpResponse) -> OpenAiFailure {
        let key = self.settings.key.as_ref().map(Secret::expose);
        let advice = response.advice(jiff::Timestamp::now());
        failure_of(response, &self.settings.model, key, advice)
    }

    /// Keeps the format that worked for later requests, and the model's version.
    fn remember(&self, format: StructuredOutput, version: Option<String>) {
        let before = self.format.swap(format.index(), Ordering::Relaxed);
        if before != format.index() {
            tracing::warn!(model = %self.settings.model, ?format, "response schema not supported by the server, using a simpler format");
        }
        let Some(version) = version else { return };
        let mut known = self.version.locked();
        if *known != version {
            tracing::info!(model = %self.settings.model, %version, "model responded");
            *known = version;
        }
    }

    fn estimated(&self, content: &ModelRequest, images: &ImageSet) -> u64 {
        let words = (content.system.len() + content.text.len()) / prompt::TOKEN_BYTES;
        let whole = images.whole.as_ref().map(|whole| &whole.frame.picture);
        words as u64 + whole.map_or(0, |picture| tokens_of(picture.width, picture.height))
    }

    fn bound(&self, request: &ModelRequest) -> CostBound {
        request.cost_bound(self.settings.max_output_tokens, |frame, parts| {
            let picture = tokens_of(frame.picture.width, frame.picture.height);
            // Enlarged twice, and at most two fifths of the picture each.
            2 * picture * (1 + 2 * parts as u64)
        })
    }

    async fn ask_for_itself(&self) -> Result<String, Failure> {
        let response = self.http.get(&self.models).await?;
        let model = &self.settings.model;
        match response.status {
            200 => {}
            // Not all servers list their models.
            404 | 405 => return Ok("server reachable, no list of models".to_owned()),
            _ => {
                return Err(match self.failure_of(&response) {
                    OpenAiFailure::Failed(failure)
                    | OpenAiFailure::NotAccepted(failure)
                    | OpenAiFailure::TooLong(failure) => failure,
                    OpenAiFailure::TooBig => {
                        Failure::fatal(Fatal::Request, "request rejected (413)")
                    }
                });
            }
        }
        let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let Some(listed) = body["data"].as_array() else {
            return Err(Failure::no_answer(
                "not a list of models: check openai_base_url",
            ));
        };
        let entries = listed::entries(&body, model);
        if entries.is_empty() {
            let reason = format!(
                "the server has {} models and {model} is not among them: check its name",
                listed.len()
            );
            return Err(Failure::fatal(Fatal::Model, reason));
        }
        if entries.iter().find_map(|entry| listed::sees(entry)) == Some(false) {
            let reason = format!(
                "the server has {model}, which does not accept images: choose one that does (llama.cpp requires --mmproj)"
            );
            return Err(Failure::fatal(Fatal::Model, reason));
        }
        Ok(format!("the server has {model}"))
    }
}

impl Model for OpenAi {
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

    fn lacks(&self) -> &'static str {
        "the server may downscale pictures: small text may be illegible to the model; OCR and redaction use full resolution"
    }

    fn probe(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(self.ask_for_itself())
    }
}

/// True if the error names `max_completion_tokens` as the output limit.
fn names_completion_tokens(failure: &Failure) -> bool {
    failure.to_string().contains("max_completion_tokens")
}

/// Estimated tokens of a picture on current models: one per square of 28x28
/// pixels.
fn tokens_of(width: u32, height: u32) -> u64 {
    const SQUARE: u32 = 28;
    u64::from(width.div_ceil(SQUARE)) * u64::from(height.div_ceil(SQUARE))
}
