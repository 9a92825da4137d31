//! From configuration to the members of the panel.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::Timestamp;

use crate::agents::{Governor, GovernorSettings, Member, Policy, Staff};
use crate::config::{AgentConfig, Config, ModelConfig, Panel, Provider};
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
    let (_, staff, roster) = Hiring::open(config)?;
    Ok((staff.members.to_vec(), roster))
}

/// Whoever takes people on, at the start and whenever `agents.toml` changes.
#[derive(Debug)]
pub(super) struct Hiring {
    makers: Makers,
}

impl Hiring {
    pub(super) fn open(config: &Config) -> anyhow::Result<(Self, Staff, Roster)> {
        let makers = Makers::new(config.clone());
        let mut hiring = Self { makers };
        let (staff, statuses) = hiring.staff(&[])?;
        Ok((hiring, staff, Roster::new(statuses)))
    }

    /// A new staff. Members whose settings stay are kept as they are, with
    /// what they and their models remember. On an error nothing has changed.
    pub(super) fn change(
        &mut self,
        panel: Panel,
        now: &Staff,
    ) -> anyhow::Result<(Staff, Vec<AgentStatus>)> {
        let mut config = self.makers.config.clone();
        let same = config.panel.model == panel.model;
        config.panel = panel;
        let mut makers = Makers::new(config);
        if same {
            // With the models and governors there are.
            makers.gemini.clone_from(&self.makers.gemini);
            makers.rules.clone_from(&self.makers.rules);
        }
        let mut next = Self { makers };
        let known: &[Member] = if same { &now.members } else { &[] };
        let hired = next.staff(known)?;
        *self = next;
        Ok(hired)
    }

    pub(super) fn panel(&self) -> &Panel {
        &self.makers.config.panel
    }

    /// Whether such a panel needs the screen's text.
    pub(super) fn would_read(&self, panel: &Panel) -> bool {
        let config = Config {
            panel: panel.clone(),
            ..self.makers.config.clone()
        };
        config.reads_text()
    }

    fn staff(&mut self, known: &[Member]) -> anyhow::Result<(Staff, Vec<AgentStatus>)> {
        let config = self.makers.config.clone();
        let default = config.default_provider();
        let mut members = Vec::new();
        let mut statuses = Vec::new();
        for agent in &config.panel.agents {
            let provider = agent.provider(default);
            let mut status = status(agent, provider, &config.panel.model);
            if agent.enabled {
                let member = match known.iter().find(|member| member.config == *agent) {
                    Some(known) => known.clone(),
                    None => {
                        let (model, governor) = self.makers.make(agent, provider)?;
                        Member {
                            config: agent.clone(),
                            model,
                            governor,
                            policy: policy(provider, &config.panel.model),
                        }
                    }
                };
                status.model = member.model.identity().name;
                members.push(member);
            }
            statuses.push(status);
        }
        let staff = Staff {
            members: members.into(),
            panel: config.panel.exchange,
        };
        Ok((staff, statuses))
    }
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
#[derive(Debug)]
struct Makers {
    config: Config,
    gemini: HashMap<String, (Arc<Gemini>, Arc<Governor>)>,
    rules: Option<Arc<Rules>>,
}

impl Makers {
    fn new(config: Config) -> Self {
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
                            Arc::new(gemini(&self.config, name)?),
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
