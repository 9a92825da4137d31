//! `[model]` of `agents.toml`, and the syntax of model names.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use watchtower_base::config::section::{HOUR, SECOND, Section};
use watchtower_domain::finding::{SEVERITIES, Severity};
use watchtower_screen::redact::{OwnPatterns, Redact};

use crate::language::AnswerLanguage;

/// Provider of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    Gemini,
    /// Any server with OpenAI's chat completions API: Ollama, llama.cpp, vLLM,
    /// LM Studio.
    OpenAi,
    Offline,
}

const PROVIDERS: [(&str, Provider); 3] = [
    ("gemini", Provider::Gemini),
    ("openai", Provider::OpenAi),
    ("offline", Provider::Offline),
];

impl Provider {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gemini => "gemini",
            Self::OpenAi => "openai",
            Self::Offline => "offline",
        }
    }

    /// True if its models take sound with a picture.
    pub fn hears(self) -> bool {
        matches!(self, Self::Gemini)
    }
}

/// Effort of a model's thinking before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Thinking {
    Minimal,
    Low,
    Medium,
    High,
}

const LEVELS: [(&str, Thinking); 4] = [
    ("minimal", Thinking::Minimal),
    ("low", Thinking::Low),
    ("medium", Thinking::Medium),
    ("high", Thinking::High),
];

impl Thinking {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// Setting of `[model]` or of an agent.
pub fn thinking(s: &mut Section<'_>) -> Option<Thinking> {
    s.choice("thinking", &LEVELS)
}

/// Setting of `[model]` or of an agent.
pub fn language(s: &mut Section<'_>) -> Option<AnswerLanguage> {
    let text = s.text("language")?;
    let language = AnswerLanguage::parse(&text);
    language.map_err(|fault| s.fault("language", fault)).ok()
}

/// Model name: `gemini:NAME`, `openai:NAME`, `offline`, or NAME alone, of the
/// default provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelName {
    provider: Option<Provider>,
    name: String,
}

impl ModelName {
    /// Error of an invalid model name.
    fn parse(text: &str) -> Result<Self, String> {
        let expected = "must be \"offline\", \"gemini:NAME\", \"openai:NAME\" or a NAME";
        let wrong = || format!("{expected}, got {text:?}");
        if text == Provider::Offline.as_str() {
            return Ok(Self {
                provider: Some(Provider::Offline),
                name: String::new(),
            });
        }
        // Names of local models may contain colons.
        let hosted = [Provider::Gemini, Provider::OpenAi].into_iter();
        let mut named = hosted.filter_map(|provider| {
            let name = text.strip_prefix(provider.as_str())?.strip_prefix(':')?;
            Some((Some(provider), name))
        });
        let (provider, name) = named.next().unwrap_or((None, text));
        let fits = match provider {
            Some(Provider::Gemini) => is_path_segment(name),
            _ => is_name(name),
        };
        if !fits {
            return Err(wrong());
        }
        Ok(Self {
            provider,
            name: name.to_owned(),
        })
    }

    pub fn of(provider: Provider, name: &str) -> (Provider, String) {
        match provider {
            // There is only one.
            Provider::Offline => (provider, String::new()),
            _ => (provider, name.to_owned()),
        }
    }

    pub fn resolve(&self, default: Provider) -> (Provider, String) {
        let provider = self.provider.unwrap_or(match default {
            // The offline rules have no model names.
            Provider::Offline => Provider::Gemini,
            default => default,
        });
        Self::of(provider, &self.name)
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.provider {
            Some(Provider::Offline) => f.write_str("offline"),
            Some(provider) => write!(f, "{}:{}", provider.as_str(), self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// `[model]`
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Provider; `None`: gemini when there is a key, else offline.
    pub provider: Option<Provider>,
    pub name: String,
    /// Fallback models, in order of use.
    pub fallback: Vec<ModelName>,
    /// Overrides Gemini's own address.
    pub base_url: Option<String>,
    /// Base URL of an OpenAI-style server, with its version: `.../v1`.
    pub openai_base_url: Option<String>,
    pub api_version: String,
    /// Flag: allow plain `http://` to other hosts.
    pub allow_http: bool,
    pub timeout: Duration,
    pub max_output_tokens: u32,
    /// Thinking effort; `None`: the provider's default.
    pub thinking: Option<Thinking>,
    /// Language of findings, opinions and answers.
    pub language: AnswerLanguage,
    /// Maximum requests in flight over all agents.
    pub concurrency: usize,
    /// Custom rule files, relative to the working directory.
    pub rules: Vec<PathBuf>,
    /// Redaction applied before a picture is sent to the model.
    pub redact: Redact,
    /// Flag: send the last seconds of sound with a picture. Nothing in it can be
    /// redacted.
    pub audio: bool,
    /// Regular expressions of values to redact as well.
    pub redact_patterns: OwnPatterns,
    /// Highest severity of a finding whose quotes are not on the screen.
    pub ungrounded_severity: Severity,
}

pub fn model(mut s: Section<'_>) -> ModelConfig {
    let provider = s.choice("provider", &PROVIDERS);
    let base_url = s.text("base_url");
    let openai_base_url = s.text("openai_base_url");
    // `base_url` is that of the provider named beside it.
    let (base_url, openai_base_url) = match provider {
        Some(Provider::OpenAi) => (None, openai_base_url.or(base_url)),
        _ => (base_url, openai_base_url),
    };
    let model = ModelConfig {
        provider,
        name: s
            .text("name")
            .unwrap_or_else(|| "gemini-3.8-flash".to_owned()),
        fallback: fallback(&mut s).unwrap_or_default(),
        base_url,
        openai_base_url,
        api_version: s.text("api_version").unwrap_or_else(|| "v1beta".to_owned()),
        allow_http: s.flag("allow_http").unwrap_or(false),
        timeout: s
            .duration("timeout", SECOND, HOUR / 6)
            .unwrap_or(60 * SECOND),
        max_output_tokens: s
            .integer("max_output_tokens", 256, 65_536)
            .map_or(8192, |n| n as u32),
        thinking: thinking(&mut s),
        language: language(&mut s).unwrap_or_default(),
        concurrency: s.integer("concurrency", 1, 64).map_or(2, |n| n as usize),
        rules: s
            .texts("rules")
            .unwrap_or_default()
            .into_iter()
            .map(PathBuf::from)
            .collect(),
        redact: s.choice("redact", &REDACTIONS).unwrap_or_default(),
        audio: s.flag("audio").unwrap_or(false),
        redact_patterns: own_patterns(&mut s),
        ungrounded_severity: s
            .choice("ungrounded_severity", &SEVERITIES)
            .unwrap_or(Severity::Medium),
    };
    let named = match provider {
        Some(Provider::OpenAi) => is_name(&model.name),
        _ => is_path_segment(&model.name),
    };
    let expected = |value: &str| format!("must be letters, digits and . _ - only, got {value:?}");
    if !named {
        s.fault("name", expected(&model.name));
    }
    if let Some(deaf) = provider.filter(|provider| model.audio && !provider.hears()) {
        let deaf = deaf.as_str();
        s.fault(
            "audio",
            format!("must be false with provider {deaf:?}, which takes no sound (\"gemini\" does), got true"),
        );
    }
    if !is_path_segment(&model.api_version) {
        s.fault("api_version", expected(&model.api_version));
    }
    s.finish();
    model
}

/// `model` of an agent.
pub fn own(s: &mut Section<'_>) -> Option<ModelName> {
    let text = s.text("model")?;
    let name = ModelName::parse(&text);
    name.map_err(|fault| s.fault("model", fault)).ok()
}

pub fn fallback(s: &mut Section<'_>) -> Option<Vec<ModelName>> {
    let texts = s.texts("fallback")?;
    let names = texts.iter().enumerate().filter_map(|(index, text)| {
        let name = ModelName::parse(text);
        let path = format!("fallback[{index}]");
        name.map_err(|fault| s.fault(&path, fault)).ok()
    });
    Some(names.collect())
}

const REDACTIONS: [(&str, Redact); 3] = [
    ("secrets", Redact::Secrets),
    ("secrets+personal", Redact::SecretsAndPersonal),
    ("off", Redact::Off),
];

fn own_patterns(s: &mut Section<'_>) -> OwnPatterns {
    let patterns = s.texts("redact_patterns").unwrap_or_default();
    OwnPatterns::new(&patterns).unwrap_or_else(|(index, error)| {
        // The last line is the message, those before show the place.
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default();
        let pattern = &patterns[index];
        s.fault(
            &format!("redact_patterns[{index}]"),
            format!("must be a regular expression, got {pattern:?}: {reason}"),
        );
        OwnPatterns::default()
    })
}

fn is_path_segment(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// True for a valid model name, as of local servers: `qwen2.5vl:7b`,
/// `org/model@q4`.
fn is_name(text: &str) -> bool {
    const LONGEST: usize = 200;
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"')
}
