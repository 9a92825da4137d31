//! Configuration of the server: flags, environment, `agents.toml` and
//! `watchtower.toml`, read once and validated as a whole.
//!
//! Every fault of a file is reported at once, each with its path. Secrets come
//! only from the environment and are held in [`Secret`].

mod settings;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use settings::Settings;
use watchtower_analysts::settings::Panel;
use watchtower_base::config::fault::Faults;
use watchtower_base::secret::Secret;
use watchtower_models::settings::Provider;
use watchtower_screen::redact::Redact;

/// Flags of `serve`: listen addresses and folders.
#[derive(Debug, Clone)]
pub struct Places {
    pub config: PathBuf,
    pub settings: PathBuf,
    pub rtmp: SocketAddr,
    /// RTMPS listen address; requires `[tls]`.
    pub rtmps: Option<SocketAddr>,
    pub http: SocketAddr,
    pub data: PathBuf,
    /// WebRTC listen address, UDP and TCP.
    pub webrtc: SocketAddr,
    /// Public address or host name of `webrtc`, behind NAT.
    pub public_address: Option<String>,
    pub logs: PathBuf,
    pub models: PathBuf,
}

/// Values set only by the environment.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    pub stream_key: Option<Secret>,
    pub console_token: Option<Secret>,
    pub api_key: Option<Secret>,
    /// Signing secret of external tools that change incidents.
    pub inbound_secret: Option<Secret>,
    /// API key of an OpenAI-style server; many local ones need none.
    pub openai_key: Option<Secret>,
    /// Not secret, but from the environment too.
    pub gemini_base_url: Option<String>,
    pub openai_base_url: Option<String>,
}

impl Secrets {
    pub fn from_env() -> Self {
        let get = |name: &str| std::env::var(name).ok();
        let secret = |name: &str| get(name).as_deref().and_then(Secret::new);
        let address = |name: &str| get(name).filter(|url| !url.trim().is_empty());
        Self {
            stream_key: secret("WATCHTOWER_STREAM_KEY"),
            console_token: secret("WATCHTOWER_CONSOLE_TOKEN"),
            inbound_secret: secret("WATCHTOWER_INBOUND_SECRET"),
            api_key: secret("GOOGLE_API_KEY").or_else(|| secret("GEMINI_API_KEY")),
            openai_key: secret("OPENAI_API_KEY"),
            gemini_base_url: address("GOOGLE_GEMINI_BASE_URL"),
            openai_base_url: address("OPENAI_BASE_URL"),
        }
    }
}

/// Validated configuration.
#[derive(Debug, Clone)]
pub struct Config {
    pub places: Places,
    pub settings: Settings,
    pub panel: Panel,
    pub secrets: Secrets,
}

/// Error of a configuration that can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("failed to read {}: {source}; {hint}", file.display())]
    Read {
        file: PathBuf,
        source: std::io::Error,
        hint: &'static str,
    },
    #[error(transparent)]
    Faults(#[from] Faults),
    /// Faults in both files.
    #[error("{0}\n{1}")]
    Both(Faults, Faults),
    #[error(
        "--rtmps {address} needs a certificate: name certificate and key in [tls] of {}",
        settings.display()
    )]
    RtmpsWithoutTls {
        address: SocketAddr,
        settings: PathBuf,
    },
}

impl Config {
    pub fn load(places: Places, secrets: Secrets) -> Result<Self, ConfigError> {
        let panel = read(&places.config)?.ok_or_else(|| ConfigError::Read {
            file: places.config.clone(),
            source: std::io::ErrorKind::NotFound.into(),
            hint: "copy agents.toml from the project, or name yours with --config",
        })?;
        let settings = Settings::load(&places.settings)?;
        let panel = Panel::parse(&panel, &places.config.display().to_string());
        match (panel, settings) {
            (Ok(panel), Ok(settings)) => match (places.rtmps, &settings.tls) {
                (Some(address), None) => Err(ConfigError::RtmpsWithoutTls {
                    address,
                    settings: places.settings,
                }),
                _ => Ok(Self {
                    places,
                    settings,
                    panel,
                    secrets,
                }),
            },
            (Err(panel), Ok(_)) => Err(panel.into()),
            (Ok(_), Err(settings)) => Err(settings.into()),
            (Err(panel), Err(settings)) => Err(ConfigError::Both(panel, settings)),
        }
    }

    /// Default provider of agents without a `model`.
    pub fn default_provider(&self) -> Provider {
        let by_key = match self.secrets.api_key {
            Some(_) => Provider::Gemini,
            None => Provider::Offline,
        };
        self.panel.model.provider.unwrap_or(by_key)
    }

    /// True if an agent needs OCR, for its analysis or for redaction.
    pub fn reads_text(&self) -> bool {
        let default = self.default_provider();
        let model = &self.panel.model;
        let redacts = model.redact != Redact::Off;
        let watches = self.panel.active_watches().next().is_some();
        watches
            || self.panel.enabled().any(|agent| {
                let models = agent.models(model, default);
                let by_rules = |(provider, _): &(Provider, String)| *provider == Provider::Offline;
                redacts || models.iter().any(by_rules)
            })
    }
}

fn read(file: &Path) -> Result<Option<String>, ConfigError> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Read {
            file: file.to_owned(),
            source,
            hint: "expected a readable UTF-8 text file",
        }),
    }
}

impl Settings {
    /// Settings of a file that may be absent, and of the environment.
    pub fn load(file: &Path) -> Result<Result<Self, Faults>, ConfigError> {
        let text = read(file)?.unwrap_or_default();
        let settings = Self::parse(&text, &file.display().to_string());
        Ok(settings.map(|mut settings| {
            for sink in &mut settings.sinks {
                sink.override_from(|name| std::env::var(name).ok());
            }
            settings
        }))
    }
}
