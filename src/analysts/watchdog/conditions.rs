//! Titles and texts of monitoring gaps.

use jiff::Timestamp;

use watchtower_base::stream_name::StreamName;
use watchtower_domain::finding::{Category, Observation, Severity};

/// Monitoring gap, by cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Condition {
    Black,
    Frozen,
    Undecoded,
    Gone,
    Unread,
    Unanswered,
    AgentDown,
    Contested,
    Unshown,
}

/// Identity of a monitoring gap: its stream, and its agent where it concerns
/// one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConditionKey {
    pub(super) condition: Condition,
    pub(super) stream: StreamName,
    pub(super) agent: String,
}

impl ConditionKey {
    pub(super) fn of_stream(condition: Condition, stream: &StreamName) -> Self {
        Self {
            condition,
            stream: stream.clone(),
            agent: String::new(),
        }
    }

    pub(super) fn title(&self) -> String {
        let (stream, agent) = (&self.stream, &self.agent);
        match self.condition {
            Condition::Black => format!("Black screen on {stream}"),
            Condition::Frozen => format!("Frozen picture on {stream}"),
            Condition::Undecoded => format!("Undecodable video on {stream}"),
            Condition::Gone => format!("Stream {stream}: signal lost"),
            Condition::Unread => format!("OCR backlog on {stream}"),
            Condition::Unanswered => format!("{agent}: model not responding"),
            Condition::AgentDown => format!("Analyst {agent} crashed"),
            Condition::Contested => format!("Competing publishers on {stream}"),
            Condition::Unshown => format!("Playback failing for viewers of {stream}"),
        }
    }

    pub(super) fn observation(&self, since: Timestamp, now: Timestamp) -> Observation {
        let seconds = now.duration_since(since).as_secs().max(0);
        let (severity, what, action) = match self.condition {
            Condition::Black => (
                Severity::Medium,
                "The picture is entirely black: analysts have no visibility.",
                "Check whether the shared window is covered, minimised or protected, and whether the encoder captures the right screen.",
            ),
            Condition::Frozen => (
                Severity::Medium,
                "The picture is static, including parts that normally change: it may be stale.",
                "Check whether the shared screen or the encoder hangs.",
            ),
            Condition::Undecoded => (
                Severity::Medium,
                "Video is received but cannot be decoded: analysts have no visibility.",
                "Restart the encoder; use H.264 with a keyframe interval of 2 seconds.",
            ),
            Condition::Gone => (
                Severity::Medium,
                "The publisher disconnected: this screen is not monitored.",
                "Restart the stream in Zoom or OBS, or ignore this if it was stopped intentionally.",
            ),
            Condition::Unread => (
                Severity::Low,
                "OCR is slower than the screen changes: analysts work on an older picture.",
                "Raise cpu_budget in [ocr] of watchtower.toml, or share fewer screens.",
            ),
            Condition::Unanswered => (
                Severity::Medium,
                "The analyst has frames to analyse, but its model does not respond.",
                "Check the analyst's log for the cause: quota, network or API key.",
            ),
            Condition::AgentDown => (
                Severity::High,
                "The analyst crashed and is being restarted.",
                "Report this bug with the server log.",
            ),
            Condition::Contested => (
                Severity::Medium,
                "Several publishers repeatedly take over the same stream: the picture switches between their screens.",
                "Use a separate stream name for each encoder, or stop all but one.",
            ),
            Condition::Unshown => (
                Severity::Low,
                "Analysts receive the stream, but at least one viewer receives no video.",
                "Set transcode to \"auto\", or let the encoder send H.264 without B-frames and a keyframe every 2 seconds; check the server log for transcoding errors.",
            ),
        };
        Observation {
            severity,
            confidence: 1.0,
            category: Category::Availability,
            title: self.title(),
            detail: format!("{what} Since {since:.0} ({seconds} s)."),
            evidence: Vec::new(),
            mitre: Vec::new(),
            recommended_action: action.to_owned(),
        }
    }
}
