//! Stills in responses of the API.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use watchtower_domain::finding::{Evidence, Severity};
use watchtower_record::store::{KeptStill, Moment};

/// Still of a screen, secrets painted over.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct StillShown {
    stream: String,
    seen_at: Timestamp,
    frame_seq: u64,
    /// SHA-256 of the picture, lower-case hexadecimal.
    sha256: String,
    /// Where it is served, on this server.
    url: String,
}

/// Picture a finding was made on, stored as evidence.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProofStill {
    /// `first` or `worst`.
    moment: &'static str,
    seen_at: Timestamp,
    finding: Uuid,
    /// Severity and evidence of that finding.
    severity: Severity,
    evidence: Vec<Evidence>,
    /// SHA-256 of the picture, lower-case hexadecimal.
    sha256: String,
    /// Where it is served, on this server.
    url: String,
}

impl From<Moment> for StillShown {
    fn from(moment: Moment) -> Self {
        let (sha256, url) = served(moment.sha256);
        Self {
            stream: moment.stream,
            seen_at: moment.seen_at,
            frame_seq: moment.frame_seq,
            sha256,
            url,
        }
    }
}

impl From<KeptStill> for ProofStill {
    fn from(still: KeptStill) -> Self {
        let (sha256, url) = served(still.sha256);
        Self {
            moment: still.moment,
            seen_at: still.seen_at,
            finding: still.finding,
            severity: still.severity,
            evidence: still.evidence,
            sha256,
            url,
        }
    }
}

/// SHA-256 of a picture, and its URL under `/api/evidence/`.
fn served(sha256: String) -> (String, String) {
    let url = format!("/api/evidence/{sha256}.jpg");
    (sha256, url)
}
