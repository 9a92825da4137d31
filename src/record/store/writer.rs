//! Writer of the store: its queue is written in one transaction, so that a
//! burst costs one sync.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _};

use watchtower_domain::incident::KnownSuppression;

use super::age::{self, StoreClock, Trust};
use super::evidence::EvidenceFolder;
use super::retention::IndexMerge;
use super::{PendingWrite, Position, StoreError, decisions};
use crate::settings::StoreSettings;
use crate::store::incident_cache::Cache;

/// Writer of the store. Belongs to one thread, which is not an async worker.
#[derive(Debug)]
pub struct StoreWriter {
    pub(super) db: Connection,
    file: String,
    pub(super) evidence: EvidenceFolder,
    pub(super) settings: StoreSettings,
    pub(super) cache: Cache,
    pub(super) suppressions: Vec<KnownSuppression>,
    /// Position of the newest finding and change, committed or not.
    pub(super) position: Position,
    /// Stills without references once the transaction is committed.
    pub(super) unneeded: Vec<String>,
    pub(super) trust: Trust,
    pub(super) tidying: IndexMerge,
    /// Stills written in this transaction.
    pub(super) added: Vec<String>,
    /// Lock against other processes.
    _lock: File,
}

impl StoreWriter {
    pub(super) fn new(
        db: Connection,
        file: &Path,
        evidence: EvidenceFolder,
        settings: StoreSettings,
        lock: File,
    ) -> rusqlite::Result<Self> {
        let mut writer = Self {
            db,
            file: PathBuf::from(file).display().to_string(),
            evidence,
            settings,
            cache: Cache::default(),
            suppressions: Vec::new(),
            position: Position::default(),
            unneeded: Vec::new(),
            added: Vec::new(),
            trust: Trust::new(age::system_clock(), 0),
            tidying: IndexMerge::default(),
            _lock: lock,
        };
        writer.go_by(age::system_clock())?;
        writer.read_back()?;
        writer.clear_evidence()?;
        Ok(writer)
    }

    /// Uses a clock from now on, and the newest timestamps of the record.
    pub(super) fn go_by(&mut self, clock: StoreClock) -> rusqlite::Result<()> {
        let newest = age::newest_stamp(&self.db)?;
        self.trust = Trust::new(clock, newest.unwrap_or_default());
        Ok(())
    }

    /// Position of the newest finding and change.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Writes a group; successful writes are durable on return, and each has
    /// its outcome. One that fails does not affect the others.
    pub fn write(&mut self, group: &mut [Box<dyn PendingWrite>]) {
        if group.is_empty() {
            return;
        }
        let written = self.transaction(|writer| {
            let mut writes = group.iter_mut();
            writes.try_for_each(|write| write.apply(writer))
        });
        match written {
            Ok(()) => {}
            // An error of the disk or another program's lock affects each of
            // them.
            Err(error) if group.len() == 1 || is_everyones(&error) => {
                let error = self.error(&error);
                for write in group {
                    write.fail(error.clone());
                }
            }
            Err(_) => {
                for write in group {
                    if let Err(error) = self.transaction(|writer| write.apply(writer)) {
                        write.fail(self.error(&error));
                    }
                }
            }
        }
    }

    /// Writes the whole group or nothing, in the database, in memory and in the
    /// evidence folder alike.
    pub(super) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let before = self.position;
        let done = self.db.execute_batch("BEGIN IMMEDIATE").and_then(|()| {
            let done = work(self)?;
            self.db.execute_batch("COMMIT")?;
            Ok(done)
        });
        match done {
            Ok(done) => {
                self.added.clear();
                for sha256 in std::mem::take(&mut self.unneeded) {
                    self.evidence.remove(&sha256);
                }
                Ok(done)
            }
            Err(error) => {
                // A full disk may have ended the transaction by itself.
                if !self.db.is_autocommit() {
                    drop(self.db.execute_batch("ROLLBACK"));
                }
                self.cache.clear();
                self.position = before;
                self.unneeded.clear();
                for sha256 in std::mem::take(&mut self.added) {
                    self.evidence.remove(&sha256);
                }
                // State that can't be read back now is unchanged, or is read
                // when used.
                drop(self.read_back());
                Err(error)
            }
        }
    }

    fn read_back(&mut self) -> rusqlite::Result<()> {
        self.suppressions = decisions::suppressions(&self.db)?;
        // Findings removed by retention stay counted: a subscriber may be
        // beyond them.
        let last = "SELECT seq FROM sqlite_sequence WHERE name = 'findings'";
        let seq: Option<i64> = self.db.query_row(last, [], |row| row.get(0)).optional()?;
        let newest = "SELECT max(revision) FROM
                      (SELECT max(revision) AS revision FROM incidents
                       UNION ALL SELECT revision FROM removed)";
        let revision: Option<i64> = self.db.query_row(newest, [], |row| row.get(0))?;
        let here = Position {
            seq: seq.unwrap_or_default() as u64,
            revision: revision.unwrap_or_default() as u64,
        };
        self.position.seq = here.seq;
        self.position.revision = self.position.revision.max(here.revision);
        Ok(())
    }

    fn clear_evidence(&self) -> rusqlite::Result<()> {
        let mut find = self
            .db
            .prepare("SELECT 1 FROM evidence WHERE sha256 = ?1")?;
        let cleared = self
            .evidence
            .clear(|sha256| find.exists([sha256]).unwrap_or(true));
        if let Err(error) = cleared {
            tracing::warn!(%error, "failed to scan the evidence folder");
        }
        Ok(())
    }

    pub(super) fn next_revision(&mut self) -> u64 {
        self.position.revision += 1;
        self.position.revision
    }

    pub(super) fn error(&self, error: &rusqlite::Error) -> StoreError {
        let full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
        let hint = if full { "; make room on the disk" } else { "" };
        StoreError {
            file: self.file.clone(),
            reason: format!("{error}{hint}"),
        }
    }
}

impl Drop for StoreWriter {
    /// After a clean stop the database is complete without its log.
    fn drop(&mut self) {
        self.db.flush_prepared_statement_cache();
        // A stop does not wait for readers.
        drop(self.db.busy_timeout(std::time::Duration::from_millis(200)));
        let moved = self
            .db
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                row.get::<_, bool>(0)
            });
        match moved {
            Ok(false) => {}
            Ok(true) => tracing::debug!("database in use: WAL not checkpointed"),
            Err(error) => tracing::warn!(%error, "failed to checkpoint the WAL"),
        }
    }
}

fn is_everyones(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::OutOfMemory
        )
    )
}
