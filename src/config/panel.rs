//! `agents.toml`: who looks, with which model.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::section::Section;
use super::{Faults, parse_table};
use crate::finding::Severity;
use crate::masking::{OwnPatterns, Redact};
use crate::media::StreamName;
use crate::model::Persona;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// The analysts and the model they share.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    pub model: ModelConfig,
    pub exchange: PanelConfig,
    pub agents: Vec<AgentConfig>,
}

/// Whoever answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    Gemini,
    Offline,
}

impl Provider {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gemini => "gemini",
            Self::Offline => "offline",
        }
    }
}

/// `[model]`
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// `None`: gemini when there is a key, else offline.
    pub provider: Option<Provider>,
    pub name: String,
    /// Overrides the provider's own address.
    pub base_url: Option<String>,
    pub api_version: String,
    /// Plain `http://` to other hosts than this one.
    pub allow_http: bool,
    pub timeout: Duration,
    pub max_output_tokens: u32,
    /// Requests in flight over all agents.
    pub concurrency: usize,
    /// Rule files of the user's own, relative to the working directory.
    pub rules: Vec<PathBuf>,
    /// What is painted over before a picture leaves for the model.
    pub redact: Redact,
    /// What is hidden besides: regular expressions.
    pub redact_patterns: OwnPatterns,
    /// The worst a finding may be whose quotes are not on the screen.
    pub ungrounded_severity: Severity,
}

impl ModelConfig {
    /// What is painted over in what we keep and show ourselves: secrets at
    /// least.
    pub fn redact_at_home(&self) -> Redact {
        self.redact.max(Redact::Secrets)
    }
}

/// `[panel]`: when agents answer each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PanelConfig {
    pub enabled: bool,
    /// This bad or worse.
    pub severity: Severity,
    /// Panels within any hour.
    pub per_hour: usize,
    /// Who is asked in one panel, at most.
    pub opinions: usize,
}

/// `[[agent]]`
#[derive(Debug, Clone, PartialEq)]
pub struct AgentConfig {
    pub persona: Arc<Persona>,
    /// At least so long between two looks.
    pub interval: Duration,
    /// Empty: every live one, in turn.
    pub streams: Vec<StreamName>,
    /// `offline`, or the name of another model of the same provider.
    pub model: Option<String>,
    /// Whether changed parts are sent enlarged besides the whole picture, and
    /// how many at most.
    pub frames: Frames,
    pub max_regions: usize,
    pub enabled: bool,
}

/// What a hosted model is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frames {
    /// The whole picture, and enlarged what changed on it.
    Changed,
    /// The whole picture.
    Full,
}

impl AgentConfig {
    pub fn name(&self) -> &str {
        &self.persona.name
    }

    /// Who answers this agent, given who answers by default.
    pub fn provider(&self, default: Provider) -> Provider {
        match self.model.as_deref() {
            Some("offline") => Provider::Offline,
            Some(_) => Provider::Gemini,
            None => default,
        }
    }

    /// The name of its log in `logs/`.
    pub fn log_name(&self) -> String {
        log_name(self.name())
    }
}

/// `<agent in lower case>.log`
pub fn log_name(agent: &str) -> String {
    format!("{}.log", agent.to_lowercase())
}

impl Panel {
    /// Reads the text of an `agents.toml`; `file` only names it in faults.
    pub fn parse(text: &str, file: &str) -> Result<Self, Faults> {
        let mut faults = Faults::new(file);
        let table = parse_table(text, file)?;
        let mut root = Section::new(table, "", &mut faults);
        let model = model(root.section("model"));
        let exchange = exchange(root.section("panel"));
        let blocks = root.tables("agent");
        root.finish();
        let agents: Vec<_> = blocks
            .into_iter()
            .enumerate()
            .map(|(index, block)| {
                agent(Section::new(block, format!("agents[{index}]"), &mut faults))
            })
            .collect();
        let mut names = HashSet::new();
        for (index, agent) in agents.iter().enumerate() {
            if !agent.name().is_empty() && !names.insert(agent.name().to_lowercase()) {
                let path = format!("agents[{index}].name");
                faults.add(
                    path,
                    format!(
                        "{:?} is taken by another agent (case does not count)",
                        agent.name()
                    ),
                );
            }
        }
        if faults.is_empty() {
            Ok(Self {
                model,
                exchange,
                agents,
            })
        } else {
            Err(faults)
        }
    }

    pub fn enabled(&self) -> impl Iterator<Item = &AgentConfig> {
        self.agents.iter().filter(|agent| agent.enabled)
    }

    /// How often a picture is wanted at least: two of them tell a change from
    /// what passes by, and it has to be seen within [`SEEN_WITHIN`]. Without
    /// anybody who looks, seldom.
    pub fn fastest(&self) -> Duration {
        match self.enabled().next() {
            Some(_) => SEEN_WITHIN / 2,
            None => DEFAULT_INTERVAL,
        }
    }
}

/// Until what changed on the screen is noticed.
const SEEN_WITHIN: Duration = Duration::from_secs(2);

const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

fn model(mut s: Section<'_>) -> ModelConfig {
    let providers = [("gemini", Provider::Gemini), ("offline", Provider::Offline)];
    let model = ModelConfig {
        provider: s.choice("provider", &providers),
        name: s
            .text("name")
            .unwrap_or_else(|| "gemini-3.8-flash".to_owned()),
        base_url: s.text("base_url"),
        api_version: s.text("api_version").unwrap_or_else(|| "v1beta".to_owned()),
        allow_http: s.flag("allow_http").unwrap_or(false),
        timeout: s
            .duration("timeout", SECOND, HOUR / 6)
            .unwrap_or(60 * SECOND),
        max_output_tokens: s
            .integer("max_output_tokens", 256, 65_536)
            .map_or(8192, |n| n as u32),
        concurrency: s.integer("concurrency", 1, 64).map_or(2, |n| n as usize),
        rules: s
            .texts("rules")
            .unwrap_or_default()
            .into_iter()
            .map(PathBuf::from)
            .collect(),
        redact: s.choice("redact", &REDACTIONS).unwrap_or_default(),
        redact_patterns: own_patterns(&mut s),
        ungrounded_severity: s
            .choice("ungrounded_severity", &SEVERITIES)
            .unwrap_or(Severity::Medium),
    };
    for (key, value) in [("name", &model.name), ("api_version", &model.api_version)] {
        if !is_path_segment(value) {
            s.fault(
                key,
                format!("must be letters, digits and . _ - only, got {value:?}"),
            );
        }
    }
    s.finish();
    model
}

fn exchange(mut s: Section<'_>) -> PanelConfig {
    let config = PanelConfig {
        enabled: s.flag("enabled").unwrap_or(true),
        severity: s
            .choice("severity", &SEVERITIES)
            .unwrap_or(Severity::Medium),
        per_hour: s.integer("per_hour", 1, 1000).map_or(12, |n| n as usize),
        opinions: s.integer("opinions", 1, 16).map_or(4, |n| n as usize),
    };
    s.finish();
    config
}

const REDACTIONS: [(&str, Redact); 3] = [
    ("secrets", Redact::Secrets),
    ("secrets+personal", Redact::SecretsAndPersonal),
    ("off", Redact::Off),
];
const SEVERITIES: [(&str, Severity); 5] = [
    ("critical", Severity::Critical),
    ("high", Severity::High),
    ("medium", Severity::Medium),
    ("low", Severity::Low),
    ("info", Severity::Info),
];

fn own_patterns(s: &mut Section<'_>) -> OwnPatterns {
    let patterns = s.texts("redact_patterns").unwrap_or_default();
    OwnPatterns::new(&patterns).unwrap_or_else(|(index, error)| {
        // The last line says what is wrong, those before show where.
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

fn agent(mut s: Section<'_>) -> AgentConfig {
    let name = s.required_text("name");
    if name.eq_ignore_ascii_case(crate::finding::WATCHTOWER) {
        s.fault(
            "name",
            format!("{name:?} is the server's own name, under which it reports its blind spots"),
        );
    }
    if !name.is_empty() && !is_agent_name(&name) {
        s.fault(
            "name",
            format!("must be 1 to 32 letters, digits, _ or -, got {name:?}"),
        );
    }
    let persona = Persona {
        name,
        personality: s.required_text("personality"),
        focus: s.required_text("focus"),
        indicators: s.texts("indicators").unwrap_or_default(),
    };
    let streams = s.texts("streams").unwrap_or_default();
    let streams = streams.into_iter().enumerate().filter_map(|(index, name)| {
        let stream = StreamName::new(&name);
        if let Err(error) = &stream {
            s.fault(
                &format!("streams[{index}]"),
                format!("{error}, got {name:?}"),
            );
        }
        stream.ok()
    });
    let streams = streams.collect();
    let model = s.text("model");
    if let Some(name) = model.as_ref().filter(|name| !is_path_segment(name)) {
        s.fault(
            "model",
            format!("must be \"offline\" or a model's name, got {name:?}"),
        );
    }
    let agent = AgentConfig {
        persona: Arc::new(persona),
        interval: s
            .duration("interval", SECOND, 24 * HOUR)
            .unwrap_or(DEFAULT_INTERVAL),
        streams,
        model,
        frames: s
            .choice(
                "frames",
                &[("changed", Frames::Changed), ("full", Frames::Full)],
            )
            .unwrap_or(Frames::Changed),
        max_regions: s.integer("max_regions", 0, 16).map_or(4, |n| n as usize),
        enabled: s.flag("enabled").unwrap_or(true),
    };
    s.finish();
    agent
}

/// It names a log file, a metric's label and a tmux pane.
pub fn is_agent_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

fn is_path_segment(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_panel_has_the_five_personas() {
        let panel = Panel::parse(include_str!("../../agents.toml"), "agents.toml").unwrap();
        let names: Vec<_> = panel.enabled().map(AgentConfig::name).collect();
        assert_eq!(
            names,
            ["SecOps", "DevOps", "CloudSec", "AISec", "Architect"]
        );
        assert!(
            panel
                .agents
                .iter()
                .all(|agent| !agent.persona.indicators.is_empty())
        );
        assert_eq!(panel.fastest(), Duration::from_secs(1));
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let faults = Panel::parse(
            r#"
            colour = "red"
            [model]
            provider = "gpt"
            name = "a b"
            concurrency = 0
            timeout = 5
            [[agent]]
            name = "SecOps"
            personality = "wary"
            focus = "threats"
            interval = "0s"
            enabled = "yes"
            [[agent]]
            name = "secops"
            personality = " "
            streams = ["ok", "../etc", 7]
            interval = "soon"
            tempo = "10s"
            "#,
            "agents.toml",
        )
        .unwrap_err();
        insta::assert_snapshot!(faults);
    }

    #[test]
    fn broken_toml_names_its_place() {
        let faults = Panel::parse("[model\nname = 1", "agents.toml").unwrap_err();
        insta::assert_snapshot!(faults);
    }

    #[test]
    fn an_agent_may_think_elsewhere() {
        let text = r#"
            [[agent]]
            name = "A"
            personality = "p"
            focus = "f"
            model = "offline"
            [[agent]]
            name = "B"
            personality = "p"
            focus = "f"
            model = "gemini-4-neon"
        "#;
        let panel = Panel::parse(text, "agents.toml").unwrap();
        assert_eq!(
            panel.agents[0].provider(Provider::Gemini),
            Provider::Offline
        );
        assert_eq!(
            panel.agents[1].provider(Provider::Offline),
            Provider::Gemini
        );
    }
}
