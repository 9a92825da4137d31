//! From configuration to the members of the panel.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::Timestamp;

use crate::agents::{Governor, GovernorSettings, Member, Policy};
use crate::config::{AgentConfig, Config, ModelConfig, Provider};
use crate::findings_bus::FindingsBus;
use crate::frame_bus::FrameBus;
use crate::masking::Redact;
use crate::metrics::Metrics;
use crate::model::Model;
use crate::models::gemini::{Gemini, GeminiSettings};
use crate::models::offline::{Offline, Rules};
use crate::roster::{AgentStatus, Roster};
use crate::rtmp;
use crate::tls::Tls;
use crate::vision::{Ocr, Reader, ReaderSettings};

/// The enabled agents with their models, and everyone's first status.
pub(super) fn build(config: &Config) -> anyhow::Result<(Vec<Member>, Roster)> {
    let mut makers = Makers::new(config);
    let default = config.default_provider();
    let mut members = Vec::new();
    let mut statuses = Vec::new();
    for agent in &config.panel.agents {
        let provider = agent.provider(default);
        let mut status = status(agent, provider, &config.panel.model);
        if agent.enabled {
            let (model, governor) = makers.make(agent, provider)?;
            status.model = model.identity().name;
            members.push(Member {
                config: agent.clone(),
                model,
                governor,
                policy: policy(provider, &config.panel.model),
            });
        }
        statuses.push(status);
    }
    Ok((members, Roster::new(statuses)))
}

fn policy(provider: Provider, model: &ModelConfig) -> Policy {
    Policy {
        // Rules look on this machine, and are to find the secrets.
        redact: match provider {
            Provider::Offline => Redact::Off,
            Provider::Gemini => model.redact,
        },
        redact_evidence: model.redact_at_home(),
        ungrounded: model.ungrounded_severity,
    }
}

/// Whoever reads the screen, if anyone needs its text.
pub(super) fn reader(
    config: &Config,
    frames: &FrameBus,
    record: Option<FindingsBus>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Option<Reader>> {
    if !config.reads_text() {
        return Ok(None);
    }
    let ocr = Ocr::load(&config.places.models)?;
    let settings = ReaderSettings {
        share: config.settings.ocr.cpu_budget,
        own: config.panel.model.redact_patterns.clone(),
    };
    let (frames, metrics) = (frames.clone(), Arc::clone(metrics));
    Ok(Some(Reader::new(ocr, frames, record, metrics, settings)))
}

fn status(agent: &AgentConfig, provider: Provider, model: &ModelConfig) -> AgentStatus {
    AgentStatus {
        name: agent.name().to_owned(),
        enabled: agent.enabled,
        provider: provider.as_str().to_owned(),
        model: agent.model.clone().unwrap_or_else(|| model.name.clone()),
        interval_ms: u64::try_from(agent.interval.as_millis()).unwrap_or(u64::MAX),
        streams: agent.streams.iter().map(ToString::to_string).collect(),
        state: if agent.enabled {
            "starting"
        } else {
            "not enabled"
        }
        .to_owned(),
        since: Timestamp::now(),
        looks: 0,
        findings: 0,
        last_look: None,
        last_outcome: None,
        wanting_since: None,
        failed_since: None,
        last_seen: None,
    }
}

/// A model, and who limits the asking of it.
type Thinker = (Arc<dyn Model>, Option<Arc<Governor>>);

/// Makes models, and sees to it that those who ask the same model share its
/// governor, that all share the lanes, and that those who apply rules share
/// the rules.
struct Makers<'a> {
    config: &'a Config,
    gemini: HashMap<String, (Arc<Gemini>, Arc<Governor>)>,
    rules: Option<Arc<Rules>>,
}

impl<'a> Makers<'a> {
    fn new(config: &'a Config) -> Self {
        Self {
            config,
            gemini: HashMap::new(),
            rules: None,
        }
    }

    fn make(&mut self, agent: &AgentConfig, provider: Provider) -> anyhow::Result<Thinker> {
        match provider {
            Provider::Offline => Ok((Arc::new(Offline::new(self.rules()?, &agent.persona)), None)),
            Provider::Gemini => {
                let name = agent
                    .model
                    .as_ref()
                    .unwrap_or(&self.config.panel.model.name);
                let (model, governor) = match self.gemini.get(name) {
                    Some(known) => known.clone(),
                    None => {
                        let made = (
                            Arc::new(gemini(self.config, name)?),
                            Arc::new(self.governor()),
                        );
                        self.gemini.insert(name.clone(), made.clone());
                        made
                    }
                };
                Ok((model, Some(governor)))
            }
        }
    }

    /// With lanes shared by all, and a quota of its own.
    fn governor(&self) -> Governor {
        match self.gemini.values().next() {
            Some((_, other)) => other.sibling(),
            None => Governor::new(GovernorSettings {
                concurrency: self.config.panel.model.concurrency,
                ..GovernorSettings::default()
            }),
        }
    }

    fn rules(&mut self) -> anyhow::Result<Arc<Rules>> {
        if let Some(rules) = &self.rules {
            return Ok(Arc::clone(rules));
        }
        let rules = Arc::new(Rules::load(&self.config.panel.model.rules)?);
        self.rules = Some(Arc::clone(&rules));
        Ok(rules)
    }
}

/// A client for one Gemini model, by its name.
pub(super) fn gemini(config: &Config, name: &str) -> anyhow::Result<Gemini> {
    let model = &config.panel.model;
    let key = config.secrets.api_key.clone();
    let key = key.context("the provider is gemini but there is no key: set GOOGLE_API_KEY, or provider = \"offline\" in agents.toml")?;
    let base_url = config
        .secrets
        .gemini_base_url
        .clone()
        .or_else(|| model.base_url.clone());
    let settings = GeminiSettings {
        key,
        base_url,
        api_version: model.api_version.clone(),
        model: name.to_owned(),
        allow_http: model.allow_http,
        timeout: model.timeout,
        max_output_tokens: model.max_output_tokens,
    };
    Ok(Gemini::new(settings)?)
}

pub(super) fn rtmp_settings(config: &Config, tls: Option<&Tls>) -> rtmp::Settings {
    let settings = &config.settings.rtmp;
    rtmp::Settings {
        secure: config.places.rtmps.zip(tls.map(|tls| tls.acceptor(&[]))),
        stream_key: config.secrets.stream_key.clone(),
        per_address: settings.max_connections_per_address,
        connections: settings.max_connections,
        handshake: settings.handshake_timeout,
        idle: settings.idle_timeout,
        ..rtmp::Settings::new(config.places.rtmp)
    }
}
