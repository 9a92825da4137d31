//! Publication of findings: durable first, then broadcast.
//!
//! [`Record::write`] takes any implementation of [`store::Write`], which is the
//! only definition of a kind of write.
//!
//! [`Record::publish`] returns when the finding is durable in the store, its
//! incident is up to date, and `findings.jsonl` and its agent's log contain it.
//! A single thread writes, so that lines are never interleaved, and it writes
//! its queue in one group, so that a burst costs one sync. A write interrupted
//! by a crash was never acknowledged; findings missing in the file are appended
//! at the next start.

pub mod settings;
pub mod snapshots;
pub mod store;

mod agent_logs;
mod jsonl;
mod line_file;
mod recent_regions;
mod writer_thread;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use async_trait::async_trait;
use jiff::Timestamp;
use store::{
    Buried, OutboxEntry, Page, Position, Publication, Readers, StoreError, Swept, Write,
    WriteRefusal, clock_fault,
};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};
use uuid::Uuid;

use watchtower_base::sync::Locked as _;
use watchtower_domain::finding::Finding;
use watchtower_domain::incident::Change;
use watchtower_domain::screen_text::ScreenText;
use watchtower_screen::KeepText;
use watchtower_screen::evidence_regions::EvidenceRegions;

use crate::agent_logs::AgentLogs;
use crate::jsonl::JsonLines;
use crate::recent_regions::RecentRegions;
use crate::settings::{LogSettings, StoreSettings};
use crate::writer_thread::{Job, WriterThread};

pub use crate::line_file::LineFile;
pub use store::StoreOpenError;

/// Capacity of the write queue; beyond it agents wait.
const QUEUED: usize = 256;
/// Events a subscriber may lag before it has to re-read.
const SUBSCRIBER_BUFFER: usize = 1024;
/// Concurrent queries; each may occupy a core.
const READING: usize = 4;
/// Concurrent queries of sinks, which have permits of their own.
const SINK_QUERIES: usize = 2;

/// Handle of the record. Cheap to clone. The files are closed when the last
/// clone is dropped.
#[derive(Debug, Clone)]
pub struct Record {
    to_disk: mpsc::Sender<Job>,
    shared: Arc<RecordState>,
}

#[derive(Debug)]
struct RecordState {
    readers: Readers,
    reading: Arc<Semaphore>,
    /// Permits of sinks, which don't wait for users' searches.
    sink_permits: Arc<Semaphore>,
    published: broadcast::Sender<Arc<Finding>>,
    events: broadcast::Sender<RecordEvent>,
    /// Position of the last event broadcast.
    position: Mutex<Position>,
    /// Error of the last write, while the store fails.
    refused: Mutex<Option<String>>,
    regions: Mutex<RecentRegions>,
}

/// Folder of `findings.jsonl` and the agents' logs, and their rotation.
#[derive(Debug, Clone)]
pub struct LogPlace {
    pub folder: PathBuf,
    pub rotation: LogSettings,
}

impl<P: AsRef<Path> + ?Sized> From<&P> for LogPlace {
    fn from(folder: &P) -> Self {
        Self {
            folder: folder.as_ref().to_owned(),
            rotation: LogSettings::default(),
        }
    }
}

/// Free space in bytes below which writes soon fail.
const LEAST_ROOM: u64 = 1 << 20;

/// Event of the record, in the order in which it became durable.
#[derive(Debug, Clone)]
pub enum RecordEvent {
    Finding { seq: u64, finding: Arc<Finding> },
    Incident(Arc<Change>),
}

/// The finding did not become durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    #[error("failed to write to {file}: {reason}")]
    Write { file: String, reason: String },
    #[error("the log writer has stopped")]
    Stopped,
}

impl From<WriteRefusal> for PublishError {
    fn from(refusal: WriteRefusal) -> Self {
        match refusal {
            WriteRefusal::Store(StoreError { file, reason }) => Self::Write { file, reason },
            other => Self::Write {
                file: "the store".to_owned(),
                reason: other.to_string(),
            },
        }
    }
}

impl Record {
    /// Opens the store in `data` and the files under `logs`, and completes
    /// `findings.jsonl`. The writer thread ends when the last clone is dropped
    /// and all is written.
    pub fn open(
        data: &Path,
        logs: impl Into<LogPlace>,
        agents: &[String],
        settings: &StoreSettings,
    ) -> Result<(Self, JoinHandle<()>), StoreOpenError> {
        let LogPlace { folder, rotation } = logs.into();
        let logs = folder.as_path();
        let logs_error = |file: &Path| {
            let file = file.display().to_string();
            move |source| StoreOpenError::Folder {
                file,
                source,
                flag: "--logs",
            }
        };
        std::fs::create_dir_all(logs).map_err(logs_error(logs))?;
        let file = logs.join(jsonl::NAME);
        let mut export = JsonLines::open(&file, rotation).map_err(logs_error(&file))?;
        let mut logs = AgentLogs::open(logs, agents, rotation).map_err(logs_error(logs))?;
        let (writer, readers) = store::open(data, settings)?;
        match export.make_whole(&readers) {
            Ok(lacking) => lacking.iter().for_each(|finding| logs.late(finding)),
            Err(jsonl::JsonlError::File(source)) => {
                return Err(logs_error(&file)(source));
            }
            Err(jsonl::JsonlError::Store(StoreError { file, reason })) => {
                return Err(StoreOpenError::Database { file, reason });
            }
        }
        let shared = Arc::new(RecordState {
            readers,
            reading: Arc::new(Semaphore::new(READING)),
            sink_permits: Arc::new(Semaphore::new(SINK_QUERIES)),
            published: broadcast::Sender::new(SUBSCRIBER_BUFFER),
            events: broadcast::Sender::new(SUBSCRIBER_BUFFER),
            position: Mutex::new(writer.position()),
            refused: Mutex::new(None),
            regions: Mutex::default(),
        });
        let (to_disk, jobs) = mpsc::channel(QUEUED);
        let recorder = WriterThread {
            writer,
            export,
            logs,
            shared: Arc::clone(&shared),
        };
        let thread = std::thread::Builder::new()
            .name("findings".to_owned())
            .spawn(move || recorder.run(jobs));
        let thread = thread.map_err(logs_error(Path::new("the writer's thread")))?;
        Ok((Self { to_disk, shared }, thread))
    }

    /// Returns when the write and its events are durable. A refused write
    /// changes nothing.
    pub async fn write<W: Write>(&self, write: W) -> Result<W::Out, WriteRefusal> {
        let written = self.submit(write).await;
        written.unwrap_or_else(|stopped| Err(stopped.into()))
    }

    async fn submit<W: Write>(&self, write: W) -> Result<Result<W::Out, WriteRefusal>, Stopped> {
        let (write, outcome) = store::queue(write);
        // A rejected job drops its reply.
        let _ = self.to_disk.send(Job::Write(write)).await;
        outcome.await.map_err(|_| Stopped)
    }

    /// Returns when the finding is durable with its incident, its texts cut to
    /// their bounds. One published before, by its id, is not counted again.
    pub async fn publish(
        &self,
        publication: impl Into<Publication>,
    ) -> Result<Arc<Finding>, PublishError> {
        let mut publication = publication.into();
        publication.finding.bound();
        let recorded = self.submit(publication).await??;
        Ok(recorded.finding)
    }

    /// Keeps the regions of a finding's evidence for a while, in memory only:
    /// call it before the finding is published, as subscribers ask for them.
    pub fn keep_regions(&self, finding: Uuid, regions: EvidenceRegions) {
        self.shared.regions.locked().add(finding, regions);
    }

    /// Regions of a finding's evidence, while they are kept.
    pub fn regions(&self, finding: Uuid) -> Option<Arc<EvidenceRegions>> {
        self.shared.regions.locked().of(finding)
    }

    /// Line in an agent's log other than a finding: the reason it is blocked,
    /// and its recovery.
    pub async fn note(&self, agent: &str, text: &str) {
        let job = Job::Note {
            agent: agent.to_owned(),
            text: text.to_owned(),
        };
        // Only fails when the writer has ended, and then there is no log.
        let _ = self.to_disk.send(job).await;
    }

    /// Outbox entry of a sink's dead letter, if both are kept.
    pub async fn dead_letter(
        &self,
        sink: &str,
        event: Uuid,
    ) -> Result<Option<OutboxEntry>, StoreError> {
        let sink = sink.to_owned();
        self.read_for_sink(move |store| store.dead_letter(&sink, event))
            .await
    }

    /// Named readers, by prefix of the name.
    pub async fn cursors(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let mut names = self.read_for_sink(Readers::cursors).await?;
        names.retain(|name| name.starts_with(prefix));
        Ok(names)
    }

    /// A sink's dead letters, newest first.
    pub async fn dead(
        &self,
        sink: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<Buried, u64>, StoreError> {
        let sink = sink.to_owned();
        self.read(move |store| store.dead(&sink, before, limit))
            .await
    }

    /// Number of a sink's dead letters.
    pub async fn dead_count(&self, sink: &str) -> Result<u64, StoreError> {
        let sink = sink.to_owned();
        self.read_for_sink(move |store| store.dead_count(&sink))
            .await
    }

    /// Position of a named reader, if there is one.
    pub async fn cursor_if_any(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let name = name.to_owned();
        let cursor = self.read_for_sink(move |store| store.cursor(&name)).await?;
        Ok(cursor.map(|(seq, _)| seq))
    }

    /// Applies retention now, in addition to its interval.
    pub async fn sweep(&self) -> Result<Swept, StoreError> {
        let (reply, swept) = oneshot::channel();
        // A rejected job drops its reply.
        let _ = self.to_disk.send(Job::Sweep(reply)).await;
        swept.await.unwrap_or_else(|_| Err(Stopped.into()))
    }

    /// Subscribes to all findings from now on. A receiver that lags re-reads
    /// with [`Readers::findings`].
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Finding>> {
        self.shared.published.subscribe()
    }

    /// Subscribes to all findings and changes of incidents from now on. A
    /// receiver that lags re-reads with [`Readers::findings_after`] and
    /// [`Readers::changed_after`].
    pub fn events(&self) -> broadcast::Receiver<RecordEvent> {
        self.shared.events.subscribe()
    }

    /// Position of the last event broadcast. To miss nothing: take the
    /// position, then [`Self::events`], then read the events after the
    /// position.
    pub fn position(&self) -> Position {
        *self.shared.position.locked()
    }

    /// Reason that writes fail at present, without file names.
    pub async fn write_error(&self) -> Option<String> {
        let refused = self.shared.refused.locked().clone();
        if refused.is_some() {
            return refused.map(|why| format!("database not writable ({why})"));
        }
        let disk = self.read(Readers::disk).await.ok()?;
        (disk.free_bytes < LEAST_ROOM).then(|| "database disk full".to_owned())
    }

    /// Clock error: the record has timestamps ahead of the clock.
    pub async fn clock_fault(&self) -> Option<String> {
        let newest = self.read(Readers::newest_stamp).await.ok()??;
        clock_fault(newest, Timestamp::now())
    }

    /// Position of a named reader; 0 without one.
    pub async fn cursor(&self, name: &str) -> Result<u64, StoreError> {
        let name = name.to_owned();
        let cursor = self.read(move |store| store.cursor(&name)).await?;
        Ok(cursor.map_or(0, |(seq, _)| seq))
    }

    /// Runs a query on the database. It holds one of few permits until it ends,
    /// even after its caller was dropped.
    pub async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Readers) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.read_in(&self.shared.reading, query).await
    }

    /// Runs a query for a sink, which does not wait for users' searches.
    pub async fn read_for_sink<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Readers) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.read_in(&self.shared.sink_permits, query).await
    }

    async fn read_in<T: Send + 'static>(
        &self,
        turns: &Arc<Semaphore>,
        query: impl FnOnce(&Readers) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = Arc::clone(turns).acquire_owned().await;
        let turn = turn.map_err(|_| Stopped)?;
        let readers = self.shared.readers.clone();
        let answer = tokio::task::spawn_blocking(move || {
            // Held until the query ends, even after its caller was dropped.
            let _turn = turn;
            query(&readers)
        });
        let answer = answer.await;
        answer.unwrap_or_else(|_| Err(Stopped.into()))
    }
}

impl RecordState {
    fn announce(&self, event: RecordEvent) {
        let mut position = self.position.locked();
        match &event {
            RecordEvent::Finding { seq, finding } => {
                position.seq = *seq;
                // A send without receivers is no error, here and below.
                let _ = self.published.send(Arc::clone(finding));
            }
            RecordEvent::Incident(change) => position.revision = change.revision,
        }
        drop(position);
        let _ = self.events.send(event);
    }
}

/// The writer thread has ended.
struct Stopped;

impl From<Stopped> for StoreError {
    fn from(_: Stopped) -> Self {
        Self {
            file: "the store".to_owned(),
            reason: "its writer has stopped".to_owned(),
        }
    }
}

impl From<Stopped> for WriteRefusal {
    fn from(stopped: Stopped) -> Self {
        Self::Store(stopped.into())
    }
}

impl From<Stopped> for PublishError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

#[async_trait]
impl KeepText for Record {
    async fn keep(&self, text: ScreenText) -> Result<(), String> {
        let kept = self.write(text).await;
        kept.map_err(|refusal| refusal.to_string())
    }
}

#[cfg(test)]
mod tests;
