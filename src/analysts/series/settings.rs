//! `[[watch]]` of `agents.toml`: numbers on a screen that an analyst reports.

use std::time::Duration;

use watchtower_base::config::section::{HOUR, Section};
use watchtower_base::stream_name::StreamName;
use watchtower_domain::finding::{SEVERITIES, Severity};
use watchtower_domain::series::Unit;
use watchtower_screen::series::{fold, quantity};

use crate::settings::Panel;

/// `[[watch]]`
#[derive(Debug, Clone, PartialEq)]
pub struct WatchConfig {
    /// Stream it applies to; `None`: all.
    pub stream: Option<StreamName>,
    /// Label of the number as it is on the screen; a `*` at its end stands for
    /// any rest.
    pub label: String,
    pub condition: WatchCondition,
    /// Time that the condition must hold, and must not hold to clear (`for`).
    pub lasts: Duration,
    /// Name of the analyst that reports it.
    pub agent: String,
    pub severity: Severity,
}

impl Panel {
    /// Watches whose analyst is enabled.
    pub fn active_watches(&self) -> impl Iterator<Item = &WatchConfig> {
        let enabled =
            |watch: &&WatchConfig| self.enabled().any(|agent| agent.name() == watch.agent);
        self.watches.iter().filter(enabled)
    }
}

/// Condition of a watch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WatchCondition {
    Above(WatchLimit),
    Below(WatchLimit),
    /// Deviation from the median of its own history, in usual deviations.
    Changes(f64),
}

/// Limit in a base unit; without a unit it is compared with any.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WatchLimit {
    pub value: f64,
    pub unit: Option<Unit>,
}

const DEFAULT_LASTS: Duration = Duration::from_secs(60);

/// Longest label; one of a screen is at most twice as long.
const MOST_LETTERS: usize = 160;

/// Parses a `[[watch]]`; `agents` are the names it may name.
pub(crate) fn watch(mut s: Section<'_>, agents: &[&str]) -> WatchConfig {
    let stream = s.text("stream").and_then(|name| {
        let stream = StreamName::new(&name);
        if let Err(error) = &stream {
            s.fault("stream", format!("{error}, got {name:?}"));
        }
        stream.ok()
    });
    let label = s.required_text("label");
    if !label.is_empty() && fold(&label).is_empty() {
        s.fault(
            "label",
            format!("must have a letter or digit, got {label:?}"),
        );
    }
    if label.chars().count() > MOST_LETTERS {
        s.fault("label", format!("must be at most {MOST_LETTERS} letters"));
    }
    let conditions = ["above", "below", "changes"];
    let given: Vec<_> = conditions.into_iter().filter(|key| s.has(key)).collect();
    let above = limit(&mut s, "above");
    let below = limit(&mut s, "below");
    let changes = s.number("changes", 2.0, 1000.0);
    if given.len() != 1 {
        let got = match given.as_slice() {
            [] => "none".to_owned(),
            given => given.join(" and "),
        };
        s.fault(
            "",
            format!("must have one of above, below and changes, got {got}"),
        );
    }
    let above = above.map(WatchCondition::Above);
    let below = below.map(WatchCondition::Below);
    let condition = above.or(below).or(changes.map(WatchCondition::Changes));
    let lasts = s.duration("for", Duration::ZERO, 24 * HOUR);
    let agent = s.required_text("agent");
    let known = agents
        .iter()
        .find(|known| known.eq_ignore_ascii_case(&agent));
    if !agent.is_empty() && known.is_none() {
        let known = agents.join(", ");
        s.fault(
            "agent",
            format!("must be the name of an agent ({known}), got {agent:?}"),
        );
    }
    let severity = s.choice("severity", &SEVERITIES);
    s.finish();
    WatchConfig {
        stream,
        label,
        // Only with a fault.
        condition: condition.unwrap_or(WatchCondition::Changes(f64::MAX)),
        lasts: lasts.unwrap_or(DEFAULT_LASTS),
        agent: known.map_or(agent.clone(), |known| (*known).to_owned()),
        severity: severity.unwrap_or(Severity::Medium),
    }
}

/// Number, or text with a unit such as `"800 ms"`.
fn limit(s: &mut Section<'_>, key: &'static str) -> Option<WatchLimit> {
    let text = s.text_or_number(key)?;
    let Some(quantity) = quantity(&text) else {
        let expected = "must be a number, or one with a unit such as \"800 ms\" or \"5 %\"";
        s.fault(key, format!("{expected}, got {text:?}"));
        return None;
    };
    Some(WatchLimit {
        value: quantity.value,
        unit: (quantity.unit != Unit::None).then_some(quantity.unit),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_a_watch_is_named() {
        let faults = Panel::parse(
            r#"
            [[agent]]
            name = "DevOps"
            personality = "p"
            focus = "f"
            [[watch]]
            label = "p99 latency"
            agent = "DevOps"
            [[watch]]
            label = "--"
            stream = "../etc"
            above = "soon"
            below = 3
            agent = "Nobody"
            for = "2 days"
            severity = "bad"
            [[watch]]
            label = 7
            changes = 1
            colour = "red"
            "#,
            "agents.toml",
        )
        .unwrap_err();
        insta::assert_snapshot!(faults);
    }

    #[test]
    fn watches_have_limits_in_base_units_and_defaults() {
        let text = r#"
            [[agent]]
            name = "DevOps"
            personality = "p"
            focus = "f"
            streams = ["a"]
            [[watch]]
            label = "p99"
            above = "800 ms"
            agent = "devops"
            [[watch]]
            stream = "b"
            label = "Replicas"
            below = 3
            for = "0s"
            agent = "DevOps"
            severity = "high"
            [[watch]]
            label = "Failed logins*"
            changes = 6.5
            agent = "DevOps"
        "#;
        let panel = Panel::parse(text, "agents.toml").unwrap();
        let conditions: Vec<_> = panel.watches.iter().map(|watch| watch.condition).collect();
        let limit = |value, unit| WatchLimit { value, unit };
        assert_eq!(
            conditions,
            [
                WatchCondition::Above(limit(0.8, Some(Unit::Seconds))),
                WatchCondition::Below(limit(3.0, None)),
                WatchCondition::Changes(6.5),
            ]
        );
        let first = &panel.watches[0];
        assert_eq!(
            (first.agent.as_str(), first.severity),
            ("DevOps", Severity::Medium)
        );
        assert_eq!(first.lasts, Duration::from_secs(60));
        let second = &panel.watches[1];
        assert_eq!(
            (second.lasts, second.severity),
            (Duration::ZERO, Severity::High)
        );
        let demand = panel.frame_demand();
        let wanted = ["a", "b", "c"].map(|name| demand.wants(&StreamName::new(name).unwrap()));
        assert_eq!(wanted, [true, true, false]);
        let off = text.replace("streams = [\"a\"]", "enabled = false");
        let off = Panel::parse(&off, "agents.toml").unwrap();
        assert_eq!(off.active_watches().count(), 0);
    }
}
