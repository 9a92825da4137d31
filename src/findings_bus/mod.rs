//! Where findings meet the world: durable first, then everyone hears.
//!
//! [`FindingsBus::publish`] returns when the finding stands in
//! `findings.jsonl` and in its agent's log and the disk has it. One thread
//! writes, so lines are never interleaved, and writes what is waiting in one
//! go, so that a burst costs one sync. A line cut short by a crash was never
//! acknowledged and is removed at the next start.

mod journal;
mod log;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{broadcast, mpsc, oneshot};
use uuid::Uuid;

use crate::finding::{Finding, Severity};
use journal::Journal;
use log::AgentLogs;

/// Findings kept in memory for the API.
const KEPT: usize = 10_000;
/// Findings on their way to disk; then agents wait.
const QUEUED: usize = 256;
/// Findings a listener may be behind before it has to re-read.
const HEARD: usize = 1024;

/// Cheap to clone. The files are closed when the last clone is gone.
#[derive(Debug, Clone)]
pub struct FindingsBus {
    to_disk: mpsc::Sender<Entry>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Newest last, ordered by id.
    kept: Mutex<VecDeque<Arc<Finding>>>,
    heard: broadcast::Sender<Arc<Finding>>,
}

#[derive(Debug)]
enum Entry {
    Finding(Arc<Finding>, oneshot::Sender<Result<(), PublishError>>),
    Note { agent: String, text: String },
}

/// The finding did not become durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    #[error("failed to write to {file}: {reason}")]
    Write { file: String, reason: String },
    #[error("the log writer has stopped")]
    Stopped,
}

/// The log folder can't be used.
#[derive(Debug, thiserror::Error)]
#[error("failed to open {file}: {source}; expected a folder this user may write to (--logs)")]
pub struct OpenError {
    pub file: String,
    pub source: std::io::Error,
}

/// Which findings to list.
#[derive(Debug, Clone, Default)]
pub struct Query {
    pub agent: Option<String>,
    pub stream: Option<String>,
    /// This bad or worse.
    pub severity: Option<Severity>,
    /// Only what was published before this one.
    pub before: Option<Uuid>,
    pub limit: usize,
}

/// A page of findings, newest first.
#[derive(Debug, Clone)]
pub struct Page {
    pub items: Vec<Arc<Finding>>,
    /// What to pass as `before` for the next page, if there is one.
    pub next: Option<Uuid>,
}

impl FindingsBus {
    /// Opens the files under `logs` and reads back the newest findings. The
    /// handle ends when the last clone of the bus is gone and all is written.
    pub fn open(logs: &Path, agents: &[String]) -> Result<(Self, JoinHandle<()>), OpenError> {
        let open_error = |file: &Path| {
            let file = file.display().to_string();
            move |source| OpenError { file, source }
        };
        std::fs::create_dir_all(logs).map_err(open_error(logs))?;
        let file = logs.join("findings.jsonl");
        let (mut journal, kept) = Journal::open(&file, KEPT).map_err(open_error(&file))?;
        let mut agent_logs = AgentLogs::open(logs, agents).map_err(open_error(logs))?;
        let shared = Arc::new(Shared {
            kept: Mutex::new(kept),
            heard: broadcast::Sender::new(HEARD),
        });
        let (to_disk, mut entries) = mpsc::channel(QUEUED);
        let bus = Self {
            to_disk,
            shared: Arc::clone(&shared),
        };
        let write = move || {
            let mut batch = Vec::with_capacity(QUEUED);
            while entries.blocking_recv_many(&mut batch, QUEUED) > 0 {
                write_batch(&mut batch, &mut journal, &mut agent_logs, &shared);
            }
        };
        let thread = std::thread::Builder::new()
            .name("findings".to_owned())
            .spawn(write);
        let thread = thread.map_err(open_error(Path::new("the writer's thread")))?;
        Ok((bus, thread))
    }

    /// Returns when the finding is durable.
    pub async fn publish(&self, finding: Finding) -> Result<Arc<Finding>, PublishError> {
        let finding = Arc::new(finding);
        let (done, written) = oneshot::channel();
        let entry = Entry::Finding(Arc::clone(&finding), done);
        self.to_disk
            .send(entry)
            .await
            .map_err(|_| PublishError::Stopped)?;
        written.await.unwrap_or(Err(PublishError::Stopped))?;
        Ok(finding)
    }

    /// A line in an agent's log that is no finding: what keeps it from
    /// looking, and that it looks again.
    pub async fn note(&self, agent: &str, text: &str) {
        let entry = Entry::Note {
            agent: agent.to_owned(),
            text: text.to_owned(),
        };
        // Only fails when the writer is gone, and then there is no log.
        let _ = self.to_disk.send(entry).await;
    }

    /// Every finding from now on. One who lags re-reads with [`Self::page`].
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Finding>> {
        self.shared.heard.subscribe()
    }

    pub fn page(&self, query: &Query) -> Page {
        let kept = self
            .shared
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let wanted = |finding: &&Arc<Finding>| {
            query.before.is_none_or(|before| finding.id < before)
                && query
                    .agent
                    .as_ref()
                    .is_none_or(|agent| finding.agent.eq_ignore_ascii_case(agent))
                && query
                    .stream
                    .as_ref()
                    .is_none_or(|stream| finding.stream.as_str() == stream)
                && query.severity.is_none_or(|least| finding.severity <= least)
        };
        let mut matches = kept.iter().rev().filter(wanted);
        let items: Vec<_> = matches.by_ref().take(query.limit).cloned().collect();
        let next = matches.next().and(items.last()).map(|last| last.id);
        Page { items, next }
    }

    /// Findings published after the given one that are still in memory,
    /// oldest first: what a listener missed.
    pub fn after(&self, id: Uuid) -> Vec<Arc<Finding>> {
        let kept = self
            .shared
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        kept.iter()
            .filter(|finding| finding.id > id)
            .cloned()
            .collect()
    }
}

fn write_batch(
    batch: &mut Vec<Entry>,
    journal: &mut Journal,
    logs: &mut AgentLogs,
    shared: &Shared,
) {
    let findings = batch.iter().filter_map(|entry| match entry {
        Entry::Finding(finding, _) => Some(finding.as_ref()),
        Entry::Note { .. } => None,
    });
    let written = journal
        .append(findings)
        .map_err(|error| PublishError::Write {
            file: journal.file().display().to_string(),
            reason: error.to_string(),
        });
    for entry in batch.drain(..) {
        match entry {
            Entry::Note { agent, text } => logs.note(&agent, &text),
            Entry::Finding(finding, done) => {
                if written.is_ok() {
                    logs.finding(&finding);
                    let mut kept = shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
                    // Agents make their ids before they queue, so that two may
                    // arrive the other way round.
                    let at = kept.partition_point(|older| older.id < finding.id);
                    kept.insert(at, Arc::clone(&finding));
                    if kept.len() > KEPT {
                        kept.pop_front();
                    }
                    drop(kept);
                    // Nobody listening is no error.
                    let _ = shared.heard.send(finding);
                }
                // The publisher may have gone; the finding stands all the same.
                let _ = done.send(written.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::finding::{Category, Evidence, FrameRef, ModelRef, Observation};
    use crate::media::StreamName;

    fn finding(agent: &str, severity: Severity, title: &str) -> Finding {
        let observation = Observation {
            severity,
            confidence: 0.9,
            category: Category::Intrusion,
            title: title.to_owned(),
            detail: "Six failures in a minute.".to_owned(),
            evidence: vec![Evidence {
                quote: "Failed password for root\u{1b}[31m".to_owned(),
                bounds: Some([10, 20, 30, 40]),
                grounded: Some(true),
            }],
            mitre: vec!["T1110".to_owned()],
            recommended_action: "Block the address.".to_owned(),
        };
        let frame = FrameRef {
            seq: 7,
            pts_ms: 12_300,
            sha256: "ab".repeat(32),
        };
        let model = ModelRef {
            provider: "offline".to_owned(),
            name: "rules".to_owned(),
            version: "1".to_owned(),
        };
        let stream = StreamName::new("team").unwrap();
        Finding::new(
            agent,
            stream,
            Timestamp::UNIX_EPOCH,
            frame,
            observation,
            model,
        )
    }

    #[tokio::test]
    async fn what_is_published_stands_in_both_files_and_is_heard() {
        let dir = tempfile::tempdir().unwrap();
        let (bus, writer) = FindingsBus::open(dir.path(), &["SecOps".to_owned()]).unwrap();
        let mut heard = bus.subscribe();
        bus.note("SecOps", "key refused").await;
        let published = bus
            .publish(finding("SecOps", Severity::High, "Brute force"))
            .await
            .unwrap();
        let jsonl = std::fs::read_to_string(dir.path().join("findings.jsonl")).unwrap();
        assert_eq!(serde_json::from_str::<Finding>(&jsonl).unwrap(), *published);
        let log = std::fs::read_to_string(dir.path().join("secops.log")).unwrap();
        assert!(
            log.contains("key refused") && log.contains("Brute force"),
            "{log}"
        );
        assert!(!log.contains('\u{1b}'), "{log:?}");
        assert_eq!(heard.recv().await.unwrap().id, published.id);
        drop(bus);
        writer.join().unwrap();
    }

    #[tokio::test]
    async fn a_restart_drops_a_torn_line_and_keeps_the_rest() {
        use std::io::Write as _;
        let dir = tempfile::tempdir().unwrap();
        let agents = ["SecOps".to_owned()];
        let (bus, writer) = FindingsBus::open(dir.path(), &agents).unwrap();
        let busy = FindingsBus::open(dir.path(), &agents).unwrap_err();
        assert!(busy.to_string().contains("another watchtower"), "{busy}");
        let first = bus
            .publish(finding("SecOps", Severity::High, "one"))
            .await
            .unwrap();
        drop(bus);
        writer.join().unwrap();
        let file = dir.path().join("findings.jsonl");
        let mut jsonl = std::fs::OpenOptions::new()
            .append(true)
            .open(&file)
            .unwrap();
        jsonl.write_all(b"{\"id\":\"0190").unwrap();
        let (bus, _) = FindingsBus::open(dir.path(), &agents).unwrap();
        let second = bus
            .publish(finding("SecOps", Severity::Low, "two"))
            .await
            .unwrap();
        let page = bus.page(&Query {
            limit: 10,
            ..Query::default()
        });
        let ids: Vec<_> = page.items.iter().map(|finding| finding.id).collect();
        assert_eq!(ids, [second.id, first.id]);
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(
            text.lines()
                .all(|line| serde_json::from_str::<Finding>(line).is_ok())
        );
    }

    #[tokio::test]
    async fn pages_run_from_the_newest_and_filter() {
        let dir = tempfile::tempdir().unwrap();
        let (bus, _) = FindingsBus::open(dir.path(), &[]).unwrap();
        for n in 0..5 {
            let severity = if n % 2 == 0 {
                Severity::High
            } else {
                Severity::Low
            };
            bus.publish(finding("SecOps", severity, &n.to_string()))
                .await
                .unwrap();
        }
        let query = Query {
            limit: 2,
            severity: Some(Severity::Medium),
            ..Query::default()
        };
        let page = bus.page(&query);
        let titles: Vec<_> = page
            .items
            .iter()
            .map(|finding| finding.title.as_str())
            .collect();
        assert_eq!(titles, ["4", "2"]);
        let rest = bus.page(&Query {
            before: page.next,
            ..query
        });
        assert_eq!(rest.items[0].title, "0");
        assert_eq!(rest.next, None);
        assert_eq!(
            bus.page(&Query {
                agent: Some("DevOps".to_owned()),
                limit: 9,
                ..Query::default()
            })
            .items
            .len(),
            0
        );
    }

    #[test]
    fn an_unusable_folder_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("taken");
        std::fs::write(&file, "").unwrap();
        let error = FindingsBus::open(&file, &[]).unwrap_err().to_string();
        assert!(
            error.contains("taken") && error.contains("--logs"),
            "{error}"
        );
    }
}
