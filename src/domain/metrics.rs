//! Metrics, under the names `/metrics` shows them by.
//!
//! Kept in one struct, handed to whoever counts; no global registry, so that two
//! servers in one process (the tests) don't add up. Labels come from closed
//! sets or from validated names: nothing a publisher or a screen says can grow
//! them.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::domain::cost::{Outcome, Usage};
use crate::domain::finding::Severity;

#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Live streams.
    pub streams: Gauge,
    answers: Family<AnswerLabels, Counter>,
    findings: Family<FindingLabels, Counter>,
    dropped: Family<WhereLabel, Counter>,
    rtmp_connections: Family<EndLabel, Counter>,
    /// RTMP connections open now.
    pub rtmp_open: Gauge,
    /// Payload bytes of audio and video received over RTMP.
    pub rtmp_bytes: Counter,
    /// Pictures decoded.
    pub frames: Counter,
    /// Coded pictures that could not be decoded.
    pub broken_pictures: Counter,
    /// Seconds of CPU spent on reading text.
    pub ocr_cpu_seconds: Counter<f64, AtomicU64>,
    /// Frames whose text was read.
    pub ocr_frames: Counter,
    /// Pixels searched for text.
    pub ocr_pixels: Counter,
    /// Parts of pictures that were painted over because no turn got to them.
    pub ocr_unread: Counter,
    /// Lines gone after one reading, before anybody was told of them.
    pub ocr_untold: Counter,
    /// Readings that had something to tell the analysts.
    pub ocr_news: Counter,
    tokens: Family<TokenLabels, Counter>,
    panels: Family<EndLabel, Counter>,
    model_requests: Family<ModelLabel, Counter>,
    model_usd: Family<ModelLabel, Counter<f64, AtomicU64>>,
    budget_step: Gauge,
    /// Console tokens, or what was made from them, that were wrong.
    pub wrong_tokens: Counter,
    /// Viewers connected now.
    pub viewers: Gauge,
    whep_answers: Family<StatusLabel, Counter>,
    /// RTP packets sent to viewers, retransmissions included.
    pub viewer_packets: Counter,
    /// Payload bytes of those packets, without their headers.
    pub viewer_bytes: Counter,
    /// RTP packets sent again because a viewer missed them.
    pub retransmits: Counter,
    /// Groups of pictures sent again because a viewer lost the picture.
    pub replays: Counter,
    /// Renditions being made for browsers now, of sound and of pictures.
    pub transcodes: Gauge,
    transcode_cpu: Family<KindLabel, Counter<f64, AtomicU64>>,
    /// Pictures encoded for browsers.
    pub transcoded_frames: Counter,
    sink_delivered: Family<SinkLabel, Counter>,
    sink_failed: Family<SinkLabel, Counter>,
    sink_dead: Family<SinkLabel, Counter>,
    sink_lost: Family<SinkLabel, Counter>,
    sink_behind: Family<SinkLabel, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SinkLabel {
    sink: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: u16,
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
struct WhereLabel {
    r#where: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabel {
    end: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabel {
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    agent: String,
    kind: &'static str,
}

/// Outcome of a panel, in which agents answer each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PanelEnd {
    /// With a verdict.
    Settled,
    /// Nobody had a view.
    NoView,
    /// Opinions, and no verdict.
    Unsettled,
    /// Not held: too many are waiting.
    Crowded,
    /// Not held: the hour's panels are used up.
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

/// Where something was dropped rather than let pile up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// Coded units a decoder was too slow for.
    Decoder,
    /// Frames an agent skipped because a newer one was there.
    Agent,
    /// Changes of a screen that an agent's model was never shown.
    Change,
    /// Findings of a model that made no sense.
    Finding,
    /// Events a console client was too slow for.
    Events,
    /// Media messages a publisher sent that could not be used.
    Media,
    /// Pictures a viewer was too slow for.
    Viewer,
    /// Coded units a transcode was too slow for, or skipped on its way to the
    /// live edge.
    Transcoder,
    /// Datagrams at the WebRTC port that no session reads.
    Datagram,
}

impl Dropped {
    pub const ALL: [Self; 9] = [
        Self::Decoder,
        Self::Agent,
        Self::Change,
        Self::Finding,
        Self::Events,
        Self::Media,
        Self::Viewer,
        Self::Transcoder,
        Self::Datagram,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decoder => "decoder",
            Self::Agent => "agent",
            Self::Change => "change",
            Self::Finding => "finding",
            Self::Events => "events",
            Self::Media => "media",
            Self::Viewer => "viewer",
            Self::Transcoder => "transcoder",
            Self::Datagram => "datagram",
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("watchtower"),
            streams: Gauge::default(),
            answers: Family::default(),
            findings: Family::default(),
            dropped: Family::default(),
            rtmp_connections: Family::default(),
            rtmp_open: Gauge::default(),
            rtmp_bytes: Counter::default(),
            frames: Counter::default(),
            broken_pictures: Counter::default(),
            ocr_cpu_seconds: Counter::default(),
            ocr_frames: Counter::default(),
            ocr_pixels: Counter::default(),
            ocr_unread: Counter::default(),
            ocr_untold: Counter::default(),
            wrong_tokens: Counter::default(),
            ocr_news: Counter::default(),
            tokens: Family::default(),
            panels: Family::default(),
            model_requests: Family::default(),
            model_usd: Family::default(),
            budget_step: Gauge::default(),
            viewers: Gauge::default(),
            whep_answers: Family::default(),
            viewer_packets: Counter::default(),
            viewer_bytes: Counter::default(),
            retransmits: Counter::default(),
            replays: Counter::default(),
            transcodes: Gauge::default(),
            transcode_cpu: Family::default(),
            transcoded_frames: Counter::default(),
            sink_delivered: Family::default(),
            sink_failed: Family::default(),
            sink_dead: Family::default(),
            sink_lost: Family::default(),
            sink_behind: Family::default(),
        };
        // The text format appends `_total` to a counter's name by itself.
        let r = &mut metrics.registry;
        r.register("streams", "Live streams", metrics.streams.clone());
        r.register(
            "model_answers",
            "Model responses by outcome",
            metrics.answers.clone(),
        );
        r.register("findings", "Findings published", metrics.findings.clone());
        r.register(
            "dropped",
            "Items dropped due to backpressure",
            metrics.dropped.clone(),
        );
        r.register(
            "rtmp_connections",
            "RTMP connections by close reason",
            metrics.rtmp_connections.clone(),
        );
        r.register(
            "rtmp_connections_open",
            "RTMP connections open now",
            metrics.rtmp_open.clone(),
        );
        r.register(
            "rtmp_media_bytes",
            "Payload bytes of audio and video received",
            metrics.rtmp_bytes.clone(),
        );
        r.register("frames", "Pictures decoded", metrics.frames.clone());
        r.register(
            "broken_pictures",
            "Coded pictures that could not be decoded",
            metrics.broken_pictures.clone(),
        );
        r.register(
            "ocr_cpu_seconds",
            "CPU seconds spent on OCR",
            metrics.ocr_cpu_seconds.clone(),
        );
        r.register(
            "ocr_frames",
            "Frames processed by OCR",
            metrics.ocr_frames.clone(),
        );
        r.register(
            "ocr_pixels",
            "Pixels processed by OCR",
            metrics.ocr_pixels.clone(),
        );
        r.register(
            "ocr_unread",
            "Unread picture parts redacted",
            metrics.ocr_unread.clone(),
        );
        r.register(
            "ocr_untold",
            "Lines that disappeared after one reading, not analysed",
            metrics.ocr_untold.clone(),
        );
        r.register(
            "wrong_tokens",
            "Invalid console tokens",
            metrics.wrong_tokens.clone(),
        );
        r.register(
            "ocr_news",
            "OCR runs with changed text or graphics",
            metrics.ocr_news.clone(),
        );
        r.register(
            "panels",
            "Panel discussions by outcome",
            metrics.panels.clone(),
        );
        r.register(
            "model_requests",
            "Billed requests to models",
            metrics.model_requests.clone(),
        );
        r.register(
            "model_spend_usd",
            "LLM cost in US dollars, by the price table",
            metrics.model_usd.clone(),
        );
        r.register(
            "budget_step",
            "Budget reduction step, 0 for none",
            metrics.budget_step.clone(),
        );
        r.register(
            "model_tokens",
            "Tokens as models reported them",
            metrics.tokens.clone(),
        );
        r.register("viewers", "Viewers connected now", metrics.viewers.clone());
        r.register(
            "whep_answers",
            "Answers to WHEP requests by HTTP status",
            metrics.whep_answers.clone(),
        );
        r.register(
            "viewer_packets",
            "RTP packets sent to viewers",
            metrics.viewer_packets.clone(),
        );
        r.register(
            "viewer_bytes",
            "RTP payload bytes sent to viewers",
            metrics.viewer_bytes.clone(),
        );
        r.register(
            "retransmits",
            "RTP packets retransmitted",
            metrics.retransmits.clone(),
        );
        r.register(
            "replays",
            "GOP replays after picture loss",
            metrics.replays.clone(),
        );
        r.register(
            "transcodes",
            "Active transcodes",
            metrics.transcodes.clone(),
        );
        r.register(
            "transcode_cpu_seconds",
            "CPU seconds spent on transcoding",
            metrics.transcode_cpu.clone(),
        );
        r.register(
            "transcoded_frames",
            "Transcoded frames",
            metrics.transcoded_frames.clone(),
        );
        r.register(
            "sink_delivered",
            "Events delivered by a sink",
            metrics.sink_delivered.clone(),
        );
        r.register(
            "sink_failed",
            "Failed delivery attempts of a sink",
            metrics.sink_failed.clone(),
        );
        r.register(
            "sink_dead",
            "Events moved to dead letters",
            metrics.sink_dead.clone(),
        );
        r.register(
            "sink_lost",
            "Events removed by retention before delivery",
            metrics.sink_lost.clone(),
        );
        r.register(
            "sink_behind",
            "Pending events of a sink",
            metrics.sink_behind.clone(),
        );
        for place in Dropped::ALL {
            metrics.dropped(place, 0);
        }
        metrics
    }

    /// Makes an agent's series exist from the start, so that a zero can be
    /// told from a name that is not there.
    pub fn introduce_agent(&self, agent: &str) {
        for outcome in Outcome::ALL {
            drop(self.answers.get_or_create(&answer_labels(agent, outcome)));
        }
        for severity in Severity::ALL {
            drop(
                self.findings
                    .get_or_create(&finding_labels(agent, severity)),
            );
        }
    }

    pub fn answer(&self, agent: &str, outcome: Outcome) {
        self.answers
            .get_or_create(&answer_labels(agent, outcome))
            .inc();
    }

    pub fn finding(&self, agent: &str, severity: Severity) {
        self.findings
            .get_or_create(&finding_labels(agent, severity))
            .inc();
    }

    pub fn dropped(&self, place: Dropped, count: u64) {
        self.dropped
            .get_or_create(&WhereLabel {
                r#where: place.as_str(),
            })
            .inc_by(count);
    }

    /// `end` says how the connection ended in a word of a closed set.
    pub fn rtmp_connection(&self, end: &'static str) {
        self.rtmp_connections.get_or_create(&EndLabel { end }).inc();
    }

    pub fn whep_answer(&self, status: u16) {
        self.whep_answers
            .get_or_create(&StatusLabel { status })
            .inc();
    }

    /// `kind` is "audio" or "video".
    pub fn transcode_cpu(&self, kind: &'static str, spent: Duration) {
        self.transcode_cpu
            .get_or_create(&KindLabel { kind })
            .inc_by(spent.as_secs_f64());
    }

    /// Counts the tokens of a model's answer to an agent.
    pub fn usage(&self, agent: &str, usage: Usage) {
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

    /// Makes a sink's series exist from the start.
    pub fn introduce_sink(&self, sink: &str) {
        let label = sink_label(sink);
        for family in [
            &self.sink_delivered,
            &self.sink_failed,
            &self.sink_dead,
            &self.sink_lost,
        ] {
            drop(family.get_or_create(&label));
        }
        drop(self.sink_behind.get_or_create(&label));
    }

    pub fn sink_delivered(&self, sink: &str, count: u64) {
        let label = sink_label(sink);
        self.sink_delivered.get_or_create(&label).inc_by(count);
    }

    pub fn sink_failed(&self, sink: &str) {
        self.sink_failed.get_or_create(&sink_label(sink)).inc();
    }

    pub fn sink_dead(&self, sink: &str) {
        self.sink_dead.get_or_create(&sink_label(sink)).inc();
    }

    pub fn sink_lost(&self, sink: &str, count: u64) {
        self.sink_lost
            .get_or_create(&sink_label(sink))
            .inc_by(count);
    }

    pub fn sink_behind(&self, sink: &str, behind: u64) {
        let behind = i64::try_from(behind).unwrap_or(i64::MAX);
        self.sink_behind
            .get_or_create(&sink_label(sink))
            .set(behind);
    }

    /// Counts what was settled with a model, `provider:name`.
    pub fn spent(&self, model: &str, requests: u64, micro_usd: u64) {
        let label = ModelLabel {
            model: model.to_owned(),
        };
        self.model_requests.get_or_create(&label).inc_by(requests);
        let usd = micro_usd as f64 / 1e6;
        self.model_usd.get_or_create(&label).inc_by(usd);
    }

    pub fn budget_step(&self, step: usize) {
        self.budget_step
            .set(i64::try_from(step).unwrap_or(i64::MAX));
    }

    /// Counts a panel, or one that was not held.
    pub fn panel(&self, end: PanelEnd) {
        let end = end.as_str();
        self.panels.get_or_create(&EndLabel { end }).inc();
    }

    /// The OpenMetrics text (version 1.0.0).
    pub fn render(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.registry).expect("writing to a String does not fail");
        page
    }
}

fn answer_labels(agent: &str, outcome: Outcome) -> AnswerLabels {
    AnswerLabels {
        agent: agent.to_owned(),
        outcome: outcome.as_str(),
    }
}

fn sink_label(sink: &str) -> SinkLabel {
    SinkLabel {
        sink: sink.to_owned(),
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

    #[test]
    fn the_page_names_what_the_contract_names() {
        let metrics = Metrics::new();
        metrics.introduce_agent("SecOps");
        metrics.answer("SecOps", Outcome::NoAnswer);
        let page = metrics.render();
        for line in [
            "watchtower_model_answers_total{agent=\"SecOps\",outcome=\"no_answer\"} 1",
            "watchtower_findings_total{agent=\"SecOps\",severity=\"critical\"} 0",
            "watchtower_dropped_total{where=\"decoder\"} 0",
            "watchtower_streams 0",
            "watchtower_viewers 0",
        ] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
    }
}
