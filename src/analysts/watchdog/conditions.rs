//! The ways not to see, in words.

use jiff::Timestamp;

use crate::base::stream_name::StreamName;
use crate::domain::finding::{Category, Observation, Severity};

/// What can't be seen, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Blindness {
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

/// Of one stream; of one agent, where it is the agent's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) blindness: Blindness,
    pub(super) stream: StreamName,
    pub(super) agent: String,
}

impl Key {
    pub(super) fn of_stream(blindness: Blindness, stream: &StreamName) -> Self {
        Self {
            blindness,
            stream: stream.clone(),
            agent: String::new(),
        }
    }

    pub(super) fn title(&self) -> String {
        let (stream, agent) = (&self.stream, &self.agent);
        match self.blindness {
            Blindness::Black => format!("Black screen on {stream}"),
            Blindness::Frozen => format!("Frozen picture on {stream}"),
            Blindness::Undecoded => format!("Undecodable: no picture of {stream} can be seen"),
            Blindness::Gone => format!("Signal of {stream} lost"),
            Blindness::Unread => format!("Reading text of {stream} lags behind"),
            Blindness::Unanswered => format!("Model of {agent} gives no answer"),
            Blindness::AgentDown => format!("Agent {agent} crashed"),
            Blindness::Contested => format!("Publishers of {stream} cut each other off"),
            Blindness::Unshown => format!("Viewers of {stream} see no picture"),
        }
    }

    pub(super) fn observation(&self, since: Timestamp, now: Timestamp) -> Observation {
        let seconds = now.duration_since(since).as_secs().max(0);
        let (severity, what, action) = match self.blindness {
            Blindness::Black => (
                Severity::Medium,
                "The picture is nothing but black: no analyst can see anything.",
                "See whether the shared window is covered, minimised or protected, and whether the encoder captures the right screen.",
            ),
            Blindness::Frozen => (
                Severity::Medium,
                "Nothing moves on the picture, not even what always did: it may be an old one.",
                "See whether the shared screen or the encoder hangs.",
            ),
            Blindness::Undecoded => (
                Severity::Medium,
                "Coded pictures come in and none can be decoded: no analyst sees anything.",
                "Start the encoder again; use H.264 with a keyframe interval of 2 seconds.",
            ),
            Blindness::Gone => (
                Severity::Medium,
                "The publisher is gone: nobody watches this screen.",
                "Start the stream again in Zoom or OBS, or ignore this if it was ended on purpose.",
            ),
            Blindness::Unread => (
                Severity::Low,
                "The screen's text is not read as fast as it changes: analysts look at an older picture.",
                "Raise cpu_budget in [ocr] of watchtower.toml, or share fewer screens.",
            ),
            Blindness::Unanswered => (
                Severity::Medium,
                "The analyst has something to look at and no answer of its model.",
                "See its log for why: a quota, the network, the key.",
            ),
            Blindness::AgentDown => (
                Severity::High,
                "The analyst crashed and is being started again.",
                "Report this with the server's log: it is a bug.",
            ),
            Blindness::Contested => (
                Severity::Medium,
                "Publishers take the stream from each other again and again: what is seen changes between their screens.",
                "Give each encoder a stream name of its own, or stop all but one.",
            ),
            Blindness::Unshown => (
                Severity::Low,
                "Analysts see the stream and at least one viewer is sent no picture of it.",
                "Set transcode to \"auto\", or let the encoder send H.264 without B-frames and a keyframe every 2 seconds; the server's log may tell why transcoding fails.",
            ),
        };
        Observation {
            severity,
            confidence: 1.0,
            category: Category::Availability,
            title: self.title(),
            detail: format!("{what} Since {since:.0}, {seconds} s."),
            evidence: Vec::new(),
            mitre: Vec::new(),
            recommended_action: action.to_owned(),
        }
    }
}
