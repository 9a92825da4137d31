//! Counters of the analysts, panel discussions and the budget.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use watchtower_base::metrics::MetricsRegistry;
use watchtower_base::sync::Locked as _;
use watchtower_domain::cost::{AnswerOutcome, TokenUsage};
use watchtower_domain::finding::Severity;
use watchtower_domain::series::SeriesName;

#[derive(Debug)]
pub struct AnalystMetrics {
    answers: Family<AnswerLabels, Counter>,
    findings: Family<FindingLabels, Counter>,
    tokens: Family<TokenLabels, Counter>,
    panels: Family<PanelLabel, Counter>,
    model_requests: Family<ModelLabel, Counter>,
    model_usd: Family<ModelLabel, Counter<f64, AtomicU64>>,
    budget_step: Gauge,
    latency: Family<ProviderLabel, Histogram, fn() -> Histogram>,
    numbers: Family<NumberLabels, Gauge<f64, AtomicU64>>,
    shown_numbers: Mutex<HashSet<NumberLabels>>,
    /// Series left out, as there are too many.
    pub dropped_series: Counter,
    /// Frames skipped because a newer one had arrived.
    pub dropped_frames: Counter,
    /// Changes of a screen that an analyst's model was never shown.
    pub dropped_changes: Counter,
    /// Invalid findings of a model.
    pub dropped_findings: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    agent: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FindingLabels {
    agent: String,
    severity: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    agent: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PanelLabel {
    end: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProviderLabel {
    provider: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabel {
    model: String,
}

/// Labels of a number on a screen: cleaned and bounded text of a redacted
/// reading.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
struct NumberLabels {
    stream: String,
    place: String,
    label: String,
    unit: &'static str,
}

/// Maximum numbers shown as metrics, so that no screen can make a monitoring
/// system store more: 10 screens of 100.
pub const MOST_NUMBERS_SHOWN: usize = 1000;

/// Outcome of a panel discussion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PanelEnd {
    /// With a verdict.
    Settled,
    /// No analyst had an opinion.
    NoView,
    /// With opinions, but without a verdict.
    Unsettled,
    /// Not held: the queue is full.
    Crowded,
    /// Not held: hourly limit reached.
    OverHour,
    /// Not held: the budget is running out.
    OverBudget,
}

impl PanelEnd {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::NoView => "no_view",
            Self::Unsettled => "unsettled",
            Self::Crowded => "crowded",
            Self::OverHour => "over_hour",
            Self::OverBudget => "over_budget",
        }
    }
}

impl AnalystMetrics {
    pub fn new(registry: &mut MetricsRegistry) -> Self {
        Self {
            answers: registry.register("model_answers", "Model responses by outcome"),
            findings: registry.register("findings", "Findings published"),
            tokens: registry.register("model_tokens", "Tokens reported by models"),
            panels: registry.register("panels", "Panel discussions by outcome"),
            model_requests: registry.register("model_requests", "Billed requests to models"),
            model_usd: registry.register(
                "model_spend_usd",
                "LLM cost in US dollars, by the price table",
            ),
            budget_step: registry.register("budget_step", "Budget reduction step, 0 for none"),
            latency: registry.register_made(
                "finding_latency_seconds",
                "Seconds from a change on the screen to its finding, by provider of the model",
                Family::new_with_constructor(latency_histogram as fn() -> Histogram),
            ),
            numbers: registry.register("screen_value", "Numbers on the screens, in base units"),
            shown_numbers: Mutex::default(),
            dropped_series: registry.dropped("series"),
            dropped_frames: registry.dropped("agent"),
            dropped_changes: registry.dropped("change"),
            dropped_findings: registry.dropped("finding"),
        }
    }

    /// Creates an analyst's series at the start, so that zero differs from a
    /// missing series.
    pub fn introduce_agent(&self, agent: &str) {
        for outcome in AnswerOutcome::ALL {
            drop(self.answers.get_or_create(&answer_labels(agent, outcome)));
        }
        for severity in Severity::ALL {
            drop(
                self.findings
                    .get_or_create(&finding_labels(agent, severity)),
            );
        }
    }

    pub fn answer(&self, agent: &str, outcome: AnswerOutcome) {
        self.answers
            .get_or_create(&answer_labels(agent, outcome))
            .inc();
    }

    pub fn finding(&self, agent: &str, severity: Severity) {
        self.findings
            .get_or_create(&finding_labels(agent, severity))
            .inc();
    }

    /// Counts a stored finding by its latency since the change on the screen.
    pub fn finding_latency(&self, provider: &str, latency: Duration) {
        let label = ProviderLabel {
            provider: provider.to_owned(),
        };
        self.latency
            .get_or_create(&label)
            .observe(latency.as_secs_f64());
    }

    /// Counts the tokens of a model's answer to an analyst.
    pub fn usage(&self, agent: &str, usage: TokenUsage) {
        self.tokens(agent, "prompt", usage.prompt_tokens);
        self.tokens(agent, "cached", usage.cached_tokens);
        self.tokens(agent, "estimated", usage.estimated_tokens);
        self.tokens(agent, "output", usage.output_tokens);
    }

    fn tokens(&self, agent: &str, kind: &'static str, count: u64) {
        let labels = TokenLabels {
            agent: agent.to_owned(),
            kind,
        };
        self.tokens.get_or_create(&labels).inc_by(count);
    }

    /// Counts requests and cost settled with a model, `provider:name`.
    pub fn spent(&self, model: &str, requests: u64, micro_usd: u64) {
        let label = ModelLabel {
            model: model.to_owned(),
        };
        self.model_requests.get_or_create(&label).inc_by(requests);
        let usd = micro_usd as f64 / 1e6;
        self.model_usd.get_or_create(&label).inc_by(usd);
    }

    /// Replaces the numbers shown by those on the screens now; the first
    /// [`MOST_NUMBERS_SHOWN`] are shown, and those that are gone no longer.
    pub fn show_numbers<'a>(&self, numbers: impl Iterator<Item = (&'a SeriesName, f64)>) {
        let mut shown = self.shown_numbers.locked();
        let mut before = std::mem::take(&mut *shown);
        for (name, value) in numbers.take(MOST_NUMBERS_SHOWN) {
            let labels = NumberLabels {
                stream: name.stream.to_string(),
                place: name.place.clone(),
                label: name.label.clone(),
                unit: name.unit.as_str(),
            };
            self.numbers.get_or_create(&labels).set(value);
            before.remove(&labels);
            shown.insert(labels);
        }
        for gone in before {
            self.numbers.remove(&gone);
        }
    }

    pub fn budget_step(&self, step: usize) {
        self.budget_step
            .set(i64::try_from(step).unwrap_or(i64::MAX));
    }

    /// Counts a panel discussion, held or not.
    pub fn panel(&self, end: PanelEnd) {
        let end = end.as_str();
        self.panels.get_or_create(&PanelLabel { end }).inc();
    }
}

impl Default for AnalystMetrics {
    fn default() -> Self {
        Self::new(&mut MetricsRegistry::default())
    }
}

/// Buckets are finest around the targets of rules, 1.5 and 3 s, and reach the
/// latency of a hosted model that waits for its quota.
fn latency_histogram() -> Histogram {
    Histogram::new([
        0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0, 20.0, 60.0, 300.0,
    ])
}

fn answer_labels(agent: &str, outcome: AnswerOutcome) -> AnswerLabels {
    AnswerLabels {
        agent: agent.to_owned(),
        outcome: outcome.as_str(),
    }
}

fn finding_labels(agent: &str, severity: Severity) -> FindingLabels {
    FindingLabels {
        agent: agent.to_owned(),
        severity: severity.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchtower_base::stream_name::StreamName;
    use watchtower_domain::series::Unit;

    #[test]
    fn an_introduced_agent_is_shown_before_it_answers() {
        let mut registry = MetricsRegistry::default();
        let metrics = AnalystMetrics::new(&mut registry);
        metrics.introduce_agent("SecOps");
        metrics.answer("SecOps", AnswerOutcome::NoAnswer);
        metrics.dropped_frames.inc_by(2);
        let page = registry.render();
        for line in [
            "watchtower_model_answers_total{agent=\"SecOps\",outcome=\"no_answer\"} 1",
            "watchtower_findings_total{agent=\"SecOps\",severity=\"critical\"} 0",
            "watchtower_dropped_total{where=\"agent\"} 2",
        ] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
    }
    #[test]
    fn numbers_are_shown_while_they_are_on_a_screen_and_bounded() {
        let mut registry = MetricsRegistry::default();
        let metrics = AnalystMetrics::new(&mut registry);
        let name = |label: &str| SeriesName {
            stream: StreamName::new("team").expect("a name"),
            place: "card".to_owned(),
            label: label.to_owned(),
            unit: Unit::Seconds,
        };
        let (p99, odd) = (name("p99"), name("a\"b\\c\nd"));
        metrics.show_numbers([(&p99, 4.8), (&odd, 1.0)].into_iter());
        let page = registry.render();
        let line =
            r#"watchtower_screen_value{stream="team",place="card",label="p99",unit="seconds"} 4.8"#;
        assert!(page.contains(line), "{page}");
        let escaped = r#"label="a\"b\\c\nd""#;
        assert!(page.contains(escaped), "{page}");
        metrics.show_numbers([(&p99, 0.3)].into_iter());
        let page = registry.render();
        assert!(
            page.contains("} 0.3\n") && !page.contains("label=\"a"),
            "{page}"
        );
        let many: Vec<_> = (0..3000).map(|nth| name(&format!("n{nth}"))).collect();
        metrics.show_numbers(many.iter().map(|name| (name, 1.0)));
        let count = registry
            .render()
            .matches("watchtower_screen_value{")
            .count();
        assert_eq!(count, MOST_NUMBERS_SHOWN);
    }
}
