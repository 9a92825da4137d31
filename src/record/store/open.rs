//! Opening of the data folder, with errors of one line.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::evidence::EvidenceFolder;
use super::writer::StoreWriter;
use crate::settings::StoreSettings;
use crate::store::findings::Readers;
use crate::store::migrations;
use crate::store::migrations::SchemaVersion;

pub(super) const DATABASE: &str = "watchtower.db";
/// Folder of the stills.
pub(super) const EVIDENCE: &str = "evidence";
/// Longest wait of a write for another program's lock.
const PATIENCE: Duration = Duration::from_secs(2);
/// Maximum size of a database that is checked as a whole: a larger one would
/// delay the start; its damage shows when the damaged part is used.
const CHECKED_WHOLE: u64 = 64 << 20;
/// Pages in the write-ahead log before they are moved into the database (4 KiB
/// each): often enough to stay small, seldom enough to be cheap. Fewer with a
/// low size limit, which includes the log.
const CHECKPOINT_PAGES: u64 = 4000;
const FEWEST_PAGES: u64 = 100;
pub(super) const PAGE_BYTES: u64 = 4096;

/// Pages of the write-ahead log for a size limit.
pub(super) fn log_pages(max_bytes: u64) -> u64 {
    (max_bytes / 16 / PAGE_BYTES).clamp(FEWEST_PAGES, CHECKPOINT_PAGES)
}

/// Maximum size of the log in bytes: a full one, and the writes while it is
/// checkpointed.
pub(super) fn log_bytes(max_bytes: u64) -> u64 {
    (2 * log_pages(max_bytes) * PAGE_BYTES).min(max_bytes / 8)
}

/// Error of a store that can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreOpenError {
    #[error("failed to open {file}: {source}; expected a folder this user may write to ({flag})")]
    Folder {
        file: String,
        source: io::Error,
        flag: &'static str,
    },
    #[error(
        "{folder} is in use by another watchtower; stop that one, or name another folder with --data"
    )]
    InUse { folder: String },
    #[error("{file} is locked by another program; close it there and start again")]
    Locked { file: String },
    #[error(
        "{file} is damaged ({reason}); move it away together with its -wal and -shm to start with an empty one (findings.jsonl in the logs keeps every finding), or repair it with sqlite3's .recover"
    )]
    Damaged { file: String, reason: String },
    #[error(
        "{file} was written by a newer watchtower (schema {found}, this one knows up to {known}); start that version, or name another folder with --data"
    )]
    Newer {
        file: String,
        found: i32,
        known: i32,
    },
    #[error("{file} is another program's database; name another folder with --data")]
    Foreign { file: String },
    #[error("failed to open {file}: {reason}; make room on the disk and start again")]
    Full { file: String, reason: String },
    #[error(
        "failed to open {file}: {reason}; expected a SQLite database this user may write to (--data)"
    )]
    Database { file: String, reason: String },
}

/// Opens the store in `data`, creating what is missing. Only one process may
/// have it open.
pub fn open(
    data: &Path,
    settings: &StoreSettings,
) -> Result<(StoreWriter, Readers), StoreOpenError> {
    let folder_error = |path: &Path| {
        let file = path.display().to_string();
        move |source| StoreOpenError::Folder {
            file,
            source,
            flag: "--data",
        }
    };
    std::fs::create_dir_all(data).map_err(folder_error(data))?;
    let lock = lock(data)?;
    let file = data.join(DATABASE);
    let name = file.display().to_string();
    let db = database(&file, log_pages(settings.max_bytes))
        .map_err(|error| explain(&error, &name))??;
    let pictures = data.join(EVIDENCE);
    let evidence = EvidenceFolder::open(&pictures).map_err(folder_error(&pictures))?;
    let writer = StoreWriter::new(db, &file, evidence, settings.clone(), lock)
        .map_err(|error| explain(&error, &name))?;
    let readers = Readers::new(file, pictures, settings.max_bytes);
    Ok((writer, readers))
}

/// Lock of the data folder, held until the process ends.
fn lock(data: &Path) -> Result<File, StoreOpenError> {
    let path = data.join("lock");
    let error = |source| StoreOpenError::Folder {
        file: path.display().to_string(),
        source,
        flag: "--data",
    };
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreOpenError::InUse {
            folder: data.display().to_string(),
        }),
        Err(TryLockError::Error(source)) => Err(error(source)),
    }
}

fn database(file: &Path, log_pages: u64) -> rusqlite::Result<Result<Connection, StoreOpenError>> {
    let name = || file.display().to_string();
    let mut db = Connection::open(file)?;
    db.busy_timeout(PATIENCE)?;
    // Only has an effect on an empty file: pages freed by retention can be
    // returned to the file system.
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let from = match migrations::age(&db)? {
        SchemaVersion::Empty => 0,
        SchemaVersion::Known(version) => version,
        SchemaVersion::Newer(found) => {
            return Ok(Err(StoreOpenError::Newer {
                file: name(),
                found,
                known: migrations::NEWEST,
            }));
        }
        SchemaVersion::Foreign => return Ok(Err(StoreOpenError::Foreign { file: name() })),
    };
    if let Some(reason) = damage(&db, file)? {
        return Ok(Err(StoreOpenError::Damaged {
            file: name(),
            reason,
        }));
    }
    db.pragma_update(None, "journal_mode", "WAL")?;
    // A commit survives a power failure once it has returned.
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "cache_size", -32_000)?;
    db.pragma_update(None, "wal_autocheckpoint", log_pages as i64)?;
    // A burst makes it longer; it is truncated afterwards.
    db.pragma_update(None, "journal_size_limit", (log_pages * PAGE_BYTES) as i64)?;
    db.set_prepared_statement_cache_capacity(64);
    migrations::migrate(&mut db, from)?;
    // Detects another program's lock now rather than at the first finding.
    db.execute_batch("BEGIN IMMEDIATE; COMMIT")?;
    Ok(Ok(db))
}

fn damage(db: &Connection, file: &Path) -> rusqlite::Result<Option<String>> {
    let size = std::fs::metadata(file).map_or(0, |meta| meta.len());
    if size > CHECKED_WHOLE {
        return Ok(None);
    }
    let found: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    let first = found.lines().last().unwrap_or_default().to_owned();
    Ok((found != "ok").then_some(first))
}

fn explain(error: &rusqlite::Error, file: &str) -> StoreOpenError {
    let (file, reason) = (file.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreOpenError::Locked { file }
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreOpenError::Damaged { file, reason }
        }
        Some(ErrorCode::DiskFull) => StoreOpenError::Full { file, reason },
        _ => StoreOpenError::Database { file, reason },
    }
}
