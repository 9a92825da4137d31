//! Concurrent readers: a few connections of their own, each with a snapshot of
//! the store from the start of its query.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params_from_iter};

use watchtower_base::sync::Locked as _;
use watchtower_domain::finding::{Finding, Severity};

use super::open::{DATABASE, EVIDENCE};
use super::{Disk, FindingQuery, Page, StoreError, age, evidence, retention, screen};
use crate::store::sql;

/// Connections kept open for the next query.
const IDLE: usize = 4;
/// Time limit of a query; there are few permits, and others wait for them.
const DEADLINE: Duration = Duration::from_secs(10);
/// Steps of SQLite's virtual machine between two checks of the time limit:
/// about a millisecond.
const STEPS: i32 = 10_000;

/// Readers of the store. Cheap to clone. Every method blocks: call it off the
/// async workers.
#[derive(Debug, Clone)]
pub struct Readers {
    inner: Arc<ReaderPool>,
}

#[derive(Debug)]
struct ReaderPool {
    file: PathBuf,
    pictures: PathBuf,
    max_bytes: u64,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(file: PathBuf, pictures: PathBuf, max_bytes: u64) -> Self {
        let inner = ReaderPool {
            file,
            pictures,
            max_bytes,
            idle: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Opens the readers of a data folder that another process may have open;
    /// `None` without a record in it.
    pub fn beside(data: &Path, max_bytes: u64) -> Option<Self> {
        let file = data.join(DATABASE);
        file.exists()
            .then(|| Self::new(file, data.join(EVIDENCE), max_bytes))
    }

    /// Time the newest finding was stored, by the clock of that time.
    pub fn newest_stamp(&self) -> Result<Option<Timestamp>, StoreError> {
        let newest = self.with(age::newest_stamp)?;
        Ok(newest.map(sql::timestamp))
    }

    pub(super) fn with<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.within(DEADLINE, query)
    }

    fn within<T>(
        &self,
        deadline: Duration,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let idle = self.idle().pop();
        let db = idle.map_or_else(|| self.connect(), Ok);
        let answer = db.and_then(|mut db| {
            let begun = Instant::now();
            let late = move || begun.elapsed() > deadline;
            db.progress_handler(STEPS, Some(late))?;
            let answer = query(&db)?;
            let mut idle = self.idle();
            if idle.len() < IDLE {
                idle.push(db);
            }
            Ok(answer)
        });
        answer.map_err(|error| StoreError {
            file: self.inner.file.display().to_string(),
            reason: match error.sqlite_error_code() {
                Some(ErrorCode::OperationInterrupted) => {
                    format!("query exceeded {deadline:?}; narrow it")
                }
                _ => error.to_string(),
            },
        })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.inner.idle.locked()
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&self.inner.file, flags)?;
        db.busy_timeout(Duration::from_secs(2))?;
        db.pragma_update(None, "cache_size", -16_000)?;
        db.set_prepared_statement_cache_capacity(32);
        Ok(db)
    }

    /// Disk space used by the record, and that available.
    pub fn disk(&self) -> Result<Disk, StoreError> {
        let (database, evidence) = self.with(retention::size)?;
        let folder = rustix::fs::statvfs(&self.inner.pictures).map_err(|error| StoreError {
            file: self.inner.pictures.display().to_string(),
            reason: error.to_string(),
        })?;
        Ok(Disk {
            database_bytes: database,
            evidence_bytes: evidence,
            limit_bytes: self.inner.max_bytes,
            // Blocks reserved for root are not available to the server.
            free_bytes: folder.f_bavail.saturating_mul(folder.f_frsize),
            total_bytes: folder.f_blocks.saturating_mul(folder.f_frsize),
        })
    }

    /// Findings, newest first in the order of publication.
    pub fn findings(&self, query: &FindingQuery) -> Result<Page<Finding, u64>, StoreError> {
        self.with(|db| findings(db, query))
    }

    /// Findings published after a position, oldest first, each with its own
    /// position.
    pub fn findings_after(
        &self,
        seq: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Finding)>, StoreError> {
        self.with(|db| {
            let mut after = db.prepare_cached(
                "SELECT seq, json FROM findings WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            let found = after.query_map([clamp(seq), limit as i64], |row| {
                Ok((row.get::<_, i64>(0)? as u64, sql::json(row, 1)?))
            })?;
            found.collect()
        })
    }

    /// Finding and its position.
    pub fn finding(&self, id: uuid::Uuid) -> Result<Option<(u64, Finding)>, StoreError> {
        let Some(seq) = self.seq_of(id)? else {
            return Ok(None);
        };
        let found = self.findings_after(seq.saturating_sub(1), 1)?;
        Ok(found
            .into_iter()
            .next()
            .filter(|(_, finding)| finding.id == id))
    }

    /// Position of a finding in the order of publication.
    pub fn seq_of(&self, finding: uuid::Uuid) -> Result<Option<u64>, StoreError> {
        self.with(|db| {
            let mut find = db.prepare_cached("SELECT seq FROM findings WHERE id = ?1")?;
            let seq = find.query_row([finding.as_bytes()], |row| row.get::<_, i64>(0));
            Ok(seq.optional()?.map(|seq| seq as u64))
        })
    }

    /// Position of a named reader, and the file length stored with it.
    pub fn cursor(&self, name: &str) -> Result<Option<(u64, u64)>, StoreError> {
        self.with(|db| {
            let mut find = db.prepare_cached("SELECT seq, place FROM cursors WHERE name = ?1")?;
            let cursor = find.query_row([name], |row| {
                Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
            });
            cursor.optional()
        })
    }

    /// Names of all readers.
    pub fn cursors(&self) -> Result<Vec<String>, StoreError> {
        self.with(|db| {
            let mut all = db.prepare_cached("SELECT name FROM cursors ORDER BY name")?;
            all.query_map([], |row| row.get(0))?.collect()
        })
    }

    /// Bytes of a stored still; `None` for an unknown one.
    pub fn still(&self, sha256: &str) -> Result<Option<Vec<u8>>, StoreError> {
        if !evidence::is_sha256(sha256) {
            return Ok(None);
        }
        let kept = self.with(|db| {
            db.prepare_cached("SELECT 1 FROM evidence WHERE sha256 = ?1")?
                .exists([sha256])
        })?;
        if !kept {
            return Ok(None);
        }
        let file = evidence::file(&self.inner.pictures, sha256);
        match std::fs::read(&file) {
            Ok(jpeg) => Ok(Some(jpeg)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError {
                file: file.display().to_string(),
                reason: error.to_string(),
            }),
        }
    }
}

/// Position from a client, which may be invalid.
pub(super) fn clamp(place: u64) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}

fn findings(db: &Connection, query: &FindingQuery) -> rusqlite::Result<Page<Finding, u64>> {
    let mut filter = String::from("seq < ?1");
    let mut values = vec![Value::Integer(query.before.map_or(i64::MAX, clamp))];
    let limit = query.limit as i64 + 1;
    values.push(Value::Integer(limit));
    let mut compare = |column: &str, value: Value| {
        values.push(value);
        filter.push_str(&format!(" AND {column} ?{}", values.len()));
    };
    for (column, time) in [("stored_at >=", query.since), ("stored_at <", query.until)] {
        if let Some(time) = time {
            compare(column, Value::Integer(sql::nanos(time)));
        }
    }
    let mut equal = |column: &str, value: Value| compare(&format!("{column} ="), value);
    if let Some(agent) = &query.agent {
        equal("agent", Value::Text(agent.clone()));
    }
    if let Some(stream) = &query.stream {
        equal("stream", Value::Text(stream.clone()));
    }
    if let Some(incident) = query.incident {
        let mut find = db.prepare_cached("SELECT seq FROM incidents WHERE id = ?1")?;
        let seq = find.query_row([incident.as_bytes()], |row| row.get(0));
        let Some(seq) = seq.optional()? else {
            return Ok(Page {
                items: vec![],
                next: None,
            });
        };
        equal("incident", Value::Integer(seq));
    }
    if let Some(words) = query.words.as_deref().and_then(screen::fts) {
        values.push(Value::Text(words));
        filter.push_str(&format!(
            " AND seq IN (SELECT rowid FROM finding_text WHERE finding_text MATCH ?{})",
            values.len()
        ));
    }
    let by_severity = query.incident.is_none()
        && (query.severity.is_some() || query.agent.is_some() || query.stream.is_some());
    let newest = if by_severity {
        // Each severity has its own range of the index, newest first; the heads
        // of all ranges contain the newest of all.
        let least = sql::badness(query.severity.unwrap_or(Severity::Info));
        let heads = (least..=4).map(|severity| {
            format!(
                "SELECT seq FROM (SELECT seq FROM findings WHERE {filter} AND severity = {severity}
                   ORDER BY seq DESC LIMIT ?2)"
            )
        });
        heads.collect::<Vec<_>>().join(" UNION ALL ")
    } else {
        let least = query.severity.map_or(0, sql::badness);
        format!(
            "SELECT seq FROM findings WHERE {filter} AND severity >= {least}
             ORDER BY seq DESC LIMIT ?2"
        )
    };
    let sql = format!(
        "SELECT seq, json FROM findings WHERE seq IN ({newest}) ORDER BY seq DESC LIMIT ?2"
    );
    let mut list = db.prepare_cached(&sql)?;
    let found = list.query_map(params_from_iter(values), |row| {
        Ok((row.get::<_, i64>(0)? as u64, sql::json(row, 1)?))
    })?;
    Ok(Page::of(
        found.collect::<rusqlite::Result<_>>()?,
        query.limit,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endless_query_times_out_and_the_next_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("some.db");
        drop(Connection::open(&file).unwrap());
        let readers = Readers::new(file, dir.path().to_owned(), 0);
        let count = |until: &str| {
            let sql = format!(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n {until})
                 SELECT count(*) FROM n"
            );
            readers.within(Duration::from_millis(50), |db| {
                db.query_row(&sql, [], |row| row.get::<_, i64>(0))
            })
        };
        let error = count("").unwrap_err().to_string();
        assert!(error.contains("exceeded 50ms"), "{error}");
        assert_eq!(count("WHERE i < 1000"), Ok(1000));
    }
}
