//! Construction of the analysts from the configuration.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use watchtower_analysts::budget::settings::BudgetConfig;
use watchtower_analysts::budget::{Budget, Prices, how_to_price};
use watchtower_analysts::settings::{AgentConfig, Frames, Panel, Priority};
use watchtower_analysts::{
    AgentSet, AgentSpec, ChainLink, Governor, GovernorSettings, ModelChain, Policy,
};
use watchtower_base::tls::Tls;
use watchtower_domain::agent_status::{AgentBoard, AgentStatus};
use watchtower_domain::finding::WATCHTOWER;
use watchtower_ingest as ingest;
use watchtower_models::gemini::{Gemini, GeminiSettings};
use watchtower_models::model::{Model, Persona};
use watchtower_models::offline::{Offline, Rules};
use watchtower_models::openai::{OpenAi, OpenAiSettings};
use watchtower_models::settings::{ModelName, Provider, Thinking};
use watchtower_record::Record;
use watchtower_screen::frames::FrameBus;
use watchtower_screen::metrics::ScreenMetrics;
use watchtower_screen::redact::Redact;
use watchtower_screen::{KeepText, Ocr, ReaderSettings, ScreenReader};

use crate::config::Config;

/// Builds the enabled analysts with their models and initial status.
pub(crate) fn build(config: &Config) -> anyhow::Result<(Vec<AgentSpec>, AgentBoard, Budget)> {
    let (factory, agents, board) = AgentFactory::open(config)?;
    Ok((agents.members.to_vec(), board, factory.budget))
}

/// Factory of analysts, at the start and whenever `agents.toml` changes.
#[derive(Debug)]
pub(crate) struct AgentFactory {
    models: ModelFactory,
    budget: Budget,
}

/// Agent set of a new configuration.
#[derive(Debug)]
pub(crate) struct PlannedAgents {
    factory: AgentFactory,
    agents: AgentSet,
    statuses: Vec<AgentStatus>,
    prices: Prices,
}

impl AgentFactory {
    pub(crate) fn open(config: &Config) -> anyhow::Result<(Self, AgentSet, AgentBoard)> {
        let money = &config.panel.budget;
        let budget = Budget::new(money.limits.clone(), prices(money)?);
        let models = ModelFactory::new(config.clone(), config.reads_text());
        let mut factory = Self { models, budget };
        let (agents, statuses) = factory.agents(&[])?;
        factory.priced(&agents, &prices(money)?)?;
        Ok((factory, agents, AgentBoard::new(statuses)))
    }

    /// Builds a new agent set, which has no effect before [`Self::adopt`].
    /// Analysts with unchanged settings are kept, with their context and that of
    /// their models.
    pub(crate) fn plan(&self, panel: Panel, now: &AgentSet) -> anyhow::Result<PlannedAgents> {
        let mut config = self.models.config.clone();
        let same = config.panel.model == panel.model;
        let prices = prices(&panel.budget)?;
        config.panel = panel;
        let mut models = ModelFactory::new(config, self.models.ocr);
        if same {
            // Reuses the existing models and governors.
            models.clients.clone_from(&self.models.clients);
            models.governors.clone_from(&self.models.governors);
            models.rules.clone_from(&self.models.rules);
        }
        let mut factory = Self {
            models,
            budget: self.budget.clone(),
        };
        let known: &[AgentSpec] = if same { &now.members } else { &[] };
        let (agents, statuses) = factory.agents(known)?;
        factory.priced(&agents, &prices)?;
        Ok(PlannedAgents {
            factory,
            agents,
            statuses,
            prices,
        })
    }

    /// Makes a plan this factory's own.
    pub(crate) fn adopt(&mut self, plan: PlannedAgents) -> (AgentSet, Vec<AgentStatus>) {
        let limits = plan.factory.panel().budget.limits.clone();
        self.budget.change(limits, plan.prices);
        *self = plan.factory;
        (plan.agents, plan.statuses)
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Checks prices: a budget in USD needs the price of each model; without
    /// one, models without a price are logged, once.
    fn priced(&self, agents: &AgentSet, prices: &Prices) -> anyhow::Result<()> {
        let limited = self.panel().budget.limits.of_money();
        let mut unknown: Vec<String> = Vec::new();
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let links = agents
            .members
            .iter()
            .flat_map(|member| member.chain.links());
        for link in links.filter(|link| link.governor.is_some()) {
            let model = link.model.identity().name;
            if prices.of(&model, today).is_none() && !unknown.contains(&model) {
                unknown.push(model);
            }
        }
        for model in &unknown {
            let how = how_to_price(model);
            if limited {
                bail!("[budget] limits US dollars, and {model} has no price: name it {how}");
            }
            tracing::info!(%model, "model price unknown, cost shown as 0; set it {how}");
        }
        Ok(())
    }

    pub(crate) fn panel(&self) -> &Panel {
        &self.models.config.panel
    }

    /// Built-in detector of prompt injection aimed at the analysts, independent
    /// of models. Not on the board: it gives no opinions.
    fn guard(&mut self, known: &[AgentSpec]) -> anyhow::Result<AgentSpec> {
        let is_guard = |member: &&AgentSpec| member.config.name() == WATCHTOWER;
        if let Some(known) = known.iter().find(is_guard) {
            return Ok(known.clone());
        }
        let persona = Arc::new(Persona {
            name: WATCHTOWER.to_owned(),
            focus: "prompt injection aimed at the analysts".to_owned(),
            ..Persona::default()
        });
        let link = ChainLink {
            model: Arc::new(
                Offline::new(self.models.rules()?, &persona).among(&self.models.names()),
            ),
            governor: None,
            policy: self.models.policy(Provider::Offline),
            hears: false,
        };
        Ok(AgentSpec {
            chain: ModelChain::new(link, Vec::new(), Priority::Normal),
            config: AgentConfig {
                interval: Duration::from_secs(1),
                frames: Frames::Full,
                max_regions: 0,
                ..AgentConfig::new(persona)
            },
        })
    }

    /// True if such a panel needs OCR.
    pub(crate) fn would_read(&self, panel: &Panel) -> bool {
        let config = Config {
            panel: panel.clone(),
            ..self.models.config.clone()
        };
        config.reads_text()
    }

    /// Model chain for questions: the default model, unless it is offline.
    fn ask_service(&mut self, default: Provider) -> anyhow::Result<Option<ModelChain>> {
        if default == Provider::Offline {
            return Ok(None);
        }
        let policy = self.models.policy(default);
        let config = &self.models.config;
        let model = (default, config.panel.model.name.clone());
        let (model, governor) = self.models.hosted(&model, config.panel.model.thinking)?;
        let link = ChainLink {
            model,
            governor: Some(governor),
            policy,
            hears: false,
        };
        // Analysts come first: when the budget runs short, questions are
        // answered by search.
        Ok(Some(ModelChain::new(link, Vec::new(), Priority::Low)))
    }

    fn agents(&mut self, known: &[AgentSpec]) -> anyhow::Result<(AgentSet, Vec<AgentStatus>)> {
        let config = self.models.config.clone();
        let default = config.default_provider();
        let mut members = Vec::new();
        let mut statuses = Vec::new();
        for agent in &config.panel.agents {
            let models = agent.models(&config.panel.model, default);
            let mut status = status(agent, &models[0]);
            if agent.enabled {
                let member = match known.iter().find(|member| member.config == *agent) {
                    Some(known) => known.clone(),
                    None => AgentSpec {
                        chain: self.models.chain(agent, &models)?,
                        config: agent.clone(),
                    },
                };
                status.model = member.chain.first().model.identity().name;
                members.push(member);
            }
            statuses.push(status);
        }
        if members.iter().any(|member| member.chain.is_hosted()) {
            members.push(self.guard(known)?);
        }
        // If all analysts stay on this machine, so do people's questions.
        let ask_service = match members
            .iter()
            .any(|member: &AgentSpec| member.chain.is_hosted())
        {
            true => self.ask_service(default)?,
            false => None,
        };
        let watches = config.panel.active_watches().cloned().collect();
        let agents = AgentSet {
            members: members.into(),
            panel: config.panel.exchange,
            ask_service,
            ask_language: config.panel.model.language.clone(),
            watches,
        };
        Ok((agents, statuses))
    }
}

/// OCR reader, if its text is needed.
pub(crate) fn reader(
    config: &Config,
    frames: &FrameBus,
    record: Option<Record>,
    metrics: &Arc<ScreenMetrics>,
) -> anyhow::Result<Option<ScreenReader>> {
    if !config.reads_text() {
        return Ok(None);
    }
    let ocr = &config.settings.ocr;
    let settings = ReaderSettings {
        readers: ocr.readers(),
        cores: ocr.cores(),
        own: config.panel.model.redact_patterns.clone(),
    };
    let (frames, metrics) = (frames.clone(), Arc::clone(metrics));
    let record = record.map(|record| Arc::new(record) as Arc<dyn KeepText>);
    Ok(Some(ScreenReader::new(
        Ocr::load_for(&config.places.models, &ocr.languages)?,
        frames,
        record,
        metrics,
        settings,
    )))
}

fn prices(budget: &BudgetConfig) -> anyhow::Result<Prices> {
    Ok(Prices::load(budget.prices.as_deref())?)
}

fn status(agent: &AgentConfig, (provider, model): &(Provider, String)) -> AgentStatus {
    AgentStatus {
        enabled: agent.enabled,
        interval_ms: u64::try_from(agent.interval.as_millis()).unwrap_or(u64::MAX),
        streams: agent.streams.iter().map(ToString::to_string).collect(),
        state: if agent.enabled {
            "starting"
        } else {
            "not enabled"
        }
        .to_owned(),
        ..AgentStatus::new(agent.name(), provider.as_str(), model)
    }
}

/// Hosted model and the governor of its requests.
type Hosted = (Arc<dyn Model>, Arc<Governor>);

/// Key of a client: a model at a thinking level.
type ClientKey = ((Provider, String), Option<Thinking>);

/// Factory of models: analysts with the same model share its governor, all
/// share the limit of concurrent requests, and offline analysts share the
/// rules.
#[derive(Debug)]
struct ModelFactory {
    config: Config,
    /// True if OCR runs, as of the start: a reload neither starts nor ends it.
    ocr: bool,
    clients: HashMap<ClientKey, Arc<dyn Model>>,
    governors: HashMap<(Provider, String), Arc<Governor>>,
    rules: Option<Arc<Rules>>,
}

impl ModelFactory {
    fn new(config: Config, ocr: bool) -> Self {
        Self {
            config,
            ocr,
            clients: HashMap::new(),
            governors: HashMap::new(),
            rules: None,
        }
    }

    fn policy(&self, provider: Provider) -> Policy {
        let model = &self.config.panel.model;
        Policy {
            // Rules run on this machine, and are to find the secrets.
            redact: match provider {
                Provider::Offline => Redact::Off,
                Provider::Gemini | Provider::OpenAi => model.redact,
            },
            own: model.redact_patterns.clone(),
            redact_evidence: model.redact.at_home(self.ocr),
            ungrounded: model.ungrounded_severity,
        }
    }

    fn chain(
        &mut self,
        agent: &AgentConfig,
        models: &[(Provider, String)],
    ) -> anyhow::Result<ModelChain> {
        let links = models.iter().map(|model| self.link(agent, model));
        let mut links = links.collect::<anyhow::Result<Vec<_>>>()?;
        let fallback = links.split_off(1);
        let mut first = links.remove(0);
        first.hears = self.hears(&models[0]);
        Ok(ModelChain::new(first, fallback, agent.priority))
    }

    /// True for the model that sound was allowed for: that of `[model]`, not one
    /// of an analyst's own, nor a fallback.
    fn hears(&self, model: &(Provider, String)) -> bool {
        let config = &self.config.panel.model;
        let chosen = ModelName::of(self.config.default_provider(), &config.name);
        config.audio && model.0.hears() && *model == chosen
    }

    fn link(
        &mut self,
        agent: &AgentConfig,
        model: &(Provider, String),
    ) -> anyhow::Result<ChainLink> {
        let policy = self.policy(model.0);
        if model.0 == Provider::Offline {
            let rules = self.rules()?;
            return Ok(ChainLink {
                model: Arc::new(Offline::new(rules, &agent.persona).among(&self.names())),
                governor: None,
                policy,
                hears: false,
            });
        }
        let thinking = agent.thinking.or(self.config.panel.model.thinking);
        let (model, governor) = self.hosted(model, thinking)?;
        Ok(ChainLink {
            model,
            governor: Some(governor),
            policy,
            hears: false,
        })
    }

    fn hosted(
        &mut self,
        model: &(Provider, String),
        thinking: Option<Thinking>,
    ) -> anyhow::Result<Hosted> {
        let key = (model.clone(), thinking);
        let client = match self.clients.get(&key) {
            Some(known) => Arc::clone(known),
            None => {
                let made: Arc<dyn Model> = match model.0 {
                    Provider::OpenAi => Arc::new(openai(&self.config, &model.1, thinking)?),
                    Provider::Gemini | Provider::Offline => {
                        Arc::new(gemini(&self.config, &model.1, thinking)?)
                    }
                };
                self.clients.insert(key, Arc::clone(&made));
                made
            }
        };
        let governor = match self.governors.get(model) {
            Some(known) => Arc::clone(known),
            None => {
                let made = Arc::new(self.governor(model.0));
                self.governors.insert(model.clone(), Arc::clone(&made));
                made
            }
        };
        Ok((client, governor))
    }

    /// Governor with the provider's shared concurrency slots and a quota of its
    /// own.
    fn governor(&self, provider: Provider) -> Governor {
        let mut others = self.governors.iter();
        match others.find(|((other, _), _)| *other == provider) {
            Some((_, other)) => other.sibling(),
            None => Governor::new(GovernorSettings {
                concurrency: self.config.panel.model.concurrency,
                ..GovernorSettings::default()
            }),
        }
    }

    /// Names of the analysts of the panel.
    fn names(&self) -> Vec<String> {
        let agents = (self.config.panel.agents.iter()).filter(|agent| agent.enabled);
        agents.map(|agent| agent.name().to_owned()).collect()
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

/// Creates the client of a Gemini model, by its name.
pub(crate) fn gemini(
    config: &Config,
    name: &str,
    thinking: Option<Thinking>,
) -> anyhow::Result<Gemini> {
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
        thinking,
    };
    Ok(Gemini::new(settings)?)
}

/// Creates the client of a model of an OpenAI-compatible server, by its name.
fn openai(config: &Config, name: &str, thinking: Option<Thinking>) -> anyhow::Result<OpenAi> {
    let model = &config.panel.model;
    let address = config.secrets.openai_base_url.clone();
    let base_url = address
        .or_else(|| model.openai_base_url.clone())
        .with_context(|| format!("the model openai:{name} needs the address of its server: set openai_base_url in [model] of agents.toml, or OPENAI_BASE_URL (Ollama: http://127.0.0.1:11434/v1)"))?;
    let settings = OpenAiSettings {
        base_url,
        key: config.secrets.openai_key.clone(),
        model: name.to_owned(),
        allow_http: model.allow_http,
        timeout: model.timeout,
        max_output_tokens: model.max_output_tokens,
        thinking,
    };
    Ok(OpenAi::new(settings)?)
}

/// Limits of WHIP, those of RTMP.
pub(crate) fn whip_settings(config: &Config) -> ingest::whip::WhipSettings {
    let settings = &config.settings.rtmp;
    ingest::whip::WhipSettings {
        streams: settings.max_streams,
        handshake: settings.handshake_timeout,
        idle: settings.idle_timeout,
    }
}

pub(crate) fn rtmp_settings(config: &Config, tls: Option<&Tls>) -> ingest::RtmpListenerSettings {
    let settings = &config.settings.rtmp;
    ingest::RtmpListenerSettings {
        secure: config.places.rtmps.zip(tls.map(|tls| tls.acceptor(&[]))),
        stream_key: config.secrets.stream_key.clone(),
        per_address: settings.max_connections_per_address,
        connections: settings.max_connections,
        streams: settings.max_streams,
        handshake: settings.handshake_timeout,
        idle: settings.idle_timeout,
        ..ingest::RtmpListenerSettings::new(config.places.rtmp)
    }
}
