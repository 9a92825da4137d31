//! The analysts: one supervised task per persona.
//!
//! An agent takes the newest frames off the bus, asks its model, and publishes
//! what comes back. It has one request in flight, skips what it was too slow
//! for, and never pays twice for an unchanged picture. What keeps it from
//! looking stands in its log and in the roster, in words.

mod agent;
mod governor;
mod grounding;
mod news;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::config::AgentConfig;
use crate::finding::Severity;
use crate::findings_bus::FindingsBus;
use crate::frame_bus::FrameBus;
use crate::masking::Redact;
use crate::metrics::Metrics;
use crate::model::Model;
use crate::roster::Roster;
pub use agent::Agent;
pub use governor::{Governor, GovernorSettings};

/// One analyst and who thinks for it.
#[derive(Debug, Clone)]
pub struct Member {
    pub config: AgentConfig,
    pub model: Arc<dyn Model>,
    /// Shared by all who share a quota; none for a model that has none.
    pub governor: Option<Arc<Governor>>,
    pub policy: Policy,
}

/// What may leave, and what is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What is painted over before the model sees a picture.
    pub redact: Redact,
    /// The same for what is kept as evidence.
    pub redact_evidence: Redact,
    /// The worst a finding may be whose quotes are not on the screen.
    pub ungrounded: Severity,
}

/// Where agents meet the rest of the house.
#[derive(Debug, Clone)]
pub struct Meeting {
    pub frames: FrameBus,
    pub findings: FindingsBus,
    pub roster: Roster,
    pub metrics: Arc<Metrics>,
}

/// Runs the panel until `shutdown`; a request in flight is given up then.
pub async fn run(members: Vec<Member>, meeting: Meeting, shutdown: CancellationToken) {
    let mut agents = JoinSet::new();
    let mut names = HashMap::new();
    for member in members {
        let name = member.config.name().to_owned();
        let span = tracing::info_span!("agent", name);
        let work = supervise(member, meeting.clone(), shutdown.clone()).instrument(span);
        names.insert(agents.spawn(work).id(), name);
    }
    while let Some(ended) = agents.join_next_with_id().await {
        if let Err(error) = ended {
            let agent = names.get(&error.id()).map_or("", String::as_str);
            tracing::error!(agent, %error, "an agent's supervisor failed");
        }
    }
    // With nobody on the panel there is still a shutdown to wait for.
    shutdown.cancelled().await;
}

/// Starts the agent again when it fails, ever more slowly.
async fn supervise(member: Member, meeting: Meeting, shutdown: CancellationToken) {
    const LONGEST: Duration = Duration::from_secs(60);
    let mut pause = Duration::from_secs(1);
    loop {
        let agent = Agent::new(member.clone(), meeting.clone());
        let mut task = tokio::spawn(agent.run().in_current_span());
        let failure = tokio::select! {
            ended = &mut task => ended.err(),
            () = shutdown.cancelled() => {
                task.abort();
                // Waited for, so that nothing is published after this returns.
                let _ = task.await;
                return;
            }
        };
        let reason = failure.map_or_else(|| "ended".to_owned(), |error| error.to_string());
        let wait = pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        tracing::error!(%reason, wait_ms = wait.as_millis() as u64, "agent failed, starting it again");
        meeting.roster.failed(member.config.name());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.cancelled() => return,
        }
        pause = (pause * 2).min(LONGEST);
    }
}
