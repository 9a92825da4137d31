//! Numbers of the screens over time: raw for a day, by the minute for a quarter
//! of a year, by the hour for a year.
//!
//! A value that does not change is one row however long it lasts, at each
//! level. Where a row ends before the next begins, the number was not on the
//! screen.

mod levels;
mod query;

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};

use watchtower_domain::series::SeriesRun;

use super::{StoreWriter, Write, WriteError};
use crate::store::sql;

pub use query::{SampleQuery, SeriesInfo, SeriesPoint, SeriesQuery};

/// Maximum series of all streams: 10 screens of 300 numbers, and as many that
/// are gone.
const MOST_SERIES: i64 = 6000;
/// Time since a series was last seen after which it may give way to a new one,
/// when there are too many. A hostile screen can't displace what is on screen.
const GIVES_WAY: i64 = 3600 * SECOND;

pub(super) const SECOND: i64 = 1_000_000_000;

/// Runs of values, and the time up to which they were seen.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesBatch {
    /// Runs that are new, and known ones that went on.
    pub runs: Vec<SeriesRun>,
    pub at: Timestamp,
}

impl Write for SeriesBatch {
    /// Number of runs left out, as there are too many series.
    type Out = u64;

    fn apply(&self, writer: &mut StoreWriter) -> Result<u64, WriteError> {
        let mut left_out = 0;
        for run in &self.runs {
            match writer.series_of(run)? {
                Some(id) => writer.keep_run(id, run)?,
                None => left_out += 1,
            }
        }
        writer.summarise(sql::nanos(self.at))?;
        Ok(left_out)
    }
}

impl StoreWriter {
    /// Id of the run's series, made if there is room for it.
    fn series_of(&self, run: &SeriesRun) -> rusqlite::Result<Option<i64>> {
        let stream = run.name.stream.as_str();
        let known: Option<i64> = self
            .db
            .prepare_cached("SELECT id FROM series WHERE stream = ?1 AND key = ?2")?
            .query_row(params![stream, run.key], |row| row.get(0))
            .optional()?;
        if known.is_some() {
            return Ok(known);
        }
        let count: i64 = self
            .db
            .prepare_cached("SELECT count(*) FROM series")?
            .query_row([], |row| row.get(0))?;
        if count >= MOST_SERIES {
            let oldest = "DELETE FROM series WHERE id =
                (SELECT id FROM series WHERE last_at < ?1 ORDER BY last_at LIMIT 1)";
            let before = sql::nanos(run.to) - GIVES_WAY;
            if self.db.prepare_cached(oldest)?.execute([before])? == 0 {
                return Ok(None);
            }
        }
        self.db
            .prepare_cached(
                "INSERT INTO series (stream, key, place, label, unit, first_at, last_at, value)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                stream,
                run.key,
                run.name.place,
                run.name.label,
                run.name.unit.as_str(),
                sql::nanos(run.from),
                sql::nanos(run.to),
                run.value,
            ])?;
        Ok(Some(self.db.last_insert_rowid()))
    }

    fn keep_run(&self, id: i64, run: &SeriesRun) -> rusqlite::Result<()> {
        let (from, to) = (sql::nanos(run.from), sql::nanos(run.to));
        self.db
            .prepare_cached(
                "INSERT INTO series_raw VALUES (?1, ?2, ?3, ?4, ?4, ?4)
                 ON CONFLICT (series, from_at) DO UPDATE SET to_at = max(to_at, excluded.to_at)",
            )?
            .execute(params![id, from, to, run.value])?;
        // The label as it was first read stays.
        self.db
            .prepare_cached(
                "UPDATE series SET last_at = ?2, value = ?3 WHERE id = ?1 AND last_at <= ?2",
            )?
            .execute(params![id, to, run.value])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
