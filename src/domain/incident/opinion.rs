//! Assessment of an incident by the panel: each analyst's opinion, and the
//! reviewer's verdict.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::finding::{Evidence, ModelRef, Severity};
use crate::transcript::Transcript;

/// Position of an analyst on another's finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stance {
    Confirm,
    Dispute,
    /// Additional information from its own field.
    Add,
    /// No opinion: outside its field, undecided, or the request failed.
    NoView,
}

impl Stance {
    pub const ALL: [Self; 4] = [Self::Confirm, Self::Dispute, Self::Add, Self::NoView];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Dispute => "dispute",
            Self::Add => "add",
            Self::NoView => "no_view",
        }
    }
}

impl fmt::Display for Stance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Confirm => "confirms",
            Self::Dispute => "disputes",
            Self::Add => "adds",
            Self::NoView => "no opinion",
        })
    }
}

/// Opinion of one analyst on another's finding: an item of an incident's
/// `opinions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Opinion {
    pub agent: String,
    /// Analyst of the first finding, which it answers.
    pub to: String,
    /// Severity of the finding it answers.
    #[serde(default)]
    pub reported: Option<Severity>,
    pub stance: Stance,
    /// True if the request failed; it is retried.
    #[serde(default)]
    pub failed: bool,
    pub text: String,
    /// `None` with [`Stance::NoView`], like the confidence (0 to 1).
    pub severity: Option<Severity>,
    pub confidence: Option<f32>,
    pub evidence: Vec<Evidence>,
    pub at: Timestamp,
    pub model: ModelRef,
}

impl Opinion {
    /// True if it answers a finding of at least that severity. An opinion
    /// stored before `reported` existed counts for any severity.
    pub fn is_of(&self, severity: Severity) -> bool {
        // Worst comes first.
        self.reported.is_none_or(|reported| reported <= severity)
    }

    /// True for an answer without an opinion; a failed request is none.
    pub fn is_silent(&self) -> bool {
        self.stance == Stance::NoView && !self.failed
    }
}

/// Result of an incident's panel: its `verdict`. The severity of the incident
/// itself stays the highest that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PanelVerdict {
    /// Analyst that gave the verdict.
    pub by: String,
    /// Severity of the finding it is about.
    #[serde(default)]
    pub reported: Option<Severity>,
    pub severity: Severity,
    /// 0 to 1.
    pub confidence: f32,
    pub text: String,
    /// Agents that disagree.
    pub dissent: Vec<String>,
    pub at: Timestamp,
    pub model: ModelRef,
}

/// Opinions and verdict of a panel on an incident.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    pub opinions: Vec<Opinion>,
    /// Verdict; `None` before it, or if the reviewer failed.
    pub verdict: Option<PanelVerdict>,
    /// Requests and responses behind it, where a model was used.
    pub transcripts: Vec<Transcript>,
}
