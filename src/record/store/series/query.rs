//! Queries of series and their values.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use watchtower_base::stream_name::StreamName;
use watchtower_domain::series::{SeriesName, Unit};

use super::levels::{DetailLevel, SampleSpan, progress, rows, summary};
use crate::store::{Page, Readers, StoreError, sql};

/// Query of series, the one that began last first.
#[derive(Debug, Clone, Default)]
pub struct SeriesQuery {
    pub stream: Option<String>,
    /// Part of the label, whatever its case.
    pub label: Option<String>,
    pub before: Option<u64>,
    pub limit: usize,
}

/// Series with its last value.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesInfo {
    pub id: u64,
    pub key: String,
    pub name: SeriesName,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
    pub value: f64,
}

/// Query of the values of a series, by steps.
#[derive(Debug, Clone, Copy)]
pub struct SampleQuery {
    pub series: u64,
    pub from: Timestamp,
    pub until: Timestamp,
    /// Length of a step in seconds.
    pub step: u32,
}

/// Values within one step. Steps in which the number was not on the screen have
/// none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeriesPoint {
    /// Time of the first and the last value within the step.
    pub from: Timestamp,
    pub to: Timestamp,
    /// Mean by the time that each value was there.
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

const COLUMNS: &str = "id, key, stream, place, label, unit, first_at, last_at, value";

impl Readers {
    /// Query of series.
    pub fn series(&self, query: &SeriesQuery) -> Result<Page<SeriesInfo, u64>, StoreError> {
        let before = query.before.map_or(i64::MAX, |before| before as i64);
        let found = self.with(|db| {
            let find = format!(
                "SELECT {COLUMNS} FROM series WHERE id < ?1 AND (?2 IS NULL OR stream = ?2)
                 AND (?3 IS NULL OR instr(lower(label), lower(?3)) > 0)
                 ORDER BY id DESC LIMIT ?4"
            );
            let limit = query.limit as i64 + 1;
            db.prepare_cached(&find)?
                .query_map(params![before, query.stream, query.label, limit], |row| {
                    let info = info(row)?;
                    Ok((info.id, info))
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        Ok(Page::of(found, query.limit))
    }

    /// Series of that id.
    pub fn one_series(&self, id: u64) -> Result<Option<SeriesInfo>, StoreError> {
        self.with(|db| {
            let find = format!("SELECT {COLUMNS} FROM series WHERE id = ?1");
            let mut find = db.prepare_cached(&find)?;
            find.query_row([id as i64], info).optional()
        })
    }

    /// Series of a stream by its key.
    pub fn series_of_key(
        &self,
        stream: &StreamName,
        key: &str,
    ) -> Result<Option<SeriesInfo>, StoreError> {
        self.with(|db| {
            let find = format!("SELECT {COLUMNS} FROM series WHERE stream = ?1 AND key = ?2");
            let mut find = db.prepare_cached(&find)?;
            find.query_row(params![stream.as_str(), key], info)
                .optional()
        })
    }

    /// Times with one value each that overlap a time, oldest first; only of the
    /// last day.
    pub fn raw_values(
        &self,
        series: u64,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<SeriesPoint>, StoreError> {
        let time = (sql::nanos(from), sql::nanos(until));
        self.with(|db| {
            let rows = rows(db, DetailLevel::Raw, series as i64, time)?;
            Ok(rows.into_iter().map(point).collect())
        })
    }

    /// Values of a series by steps, oldest first, from the finest level that has
    /// them.
    pub fn samples(&self, query: &SampleQuery) -> Result<Vec<SeriesPoint>, StoreError> {
        let time = (sql::nanos(query.from), sql::nanos(query.until));
        let step = i64::from(query.step.max(1)) * super::SECOND;
        self.with(|db| {
            let rows = all_rows(db, query.series as i64, time, step)?;
            let points = summary(&rows, time, step).into_iter();
            Ok(points.map(point).collect())
        })
    }
}

/// Rows of a time: summarised ones as far as there are any, and the finer ones
/// of the time since.
fn all_rows(
    db: &Connection,
    series: i64,
    (from, to): (i64, i64),
    step: i64,
) -> rusqlite::Result<Vec<SampleSpan>> {
    let (minutes, hours) = progress(db)?;
    let now = sql::nanos(Timestamp::now());
    let wants =
        |level: DetailLevel, finer: DetailLevel| step >= level.step() || from < now - finer.keep();
    let mut found = Vec::new();
    let mut at = from;
    for (level, finer, until) in [
        (DetailLevel::Hours, DetailLevel::Minutes, hours),
        (DetailLevel::Minutes, DetailLevel::Raw, minutes),
        (DetailLevel::Raw, DetailLevel::Raw, i64::MAX),
    ] {
        let until = until.min(to);
        let wanted = level == DetailLevel::Raw || wants(level, finer);
        if wanted && at < until {
            let rows = rows(db, level, series, (at, until))?;
            // A row may reach beyond the time that it is taken for.
            let within = rows.into_iter().map(|row| SampleSpan {
                from: row.from.max(at),
                to: row.to.min(until),
                ..row
            });
            found.extend(within);
            at = until;
        }
    }
    Ok(found)
}

fn point(span: SampleSpan) -> SeriesPoint {
    SeriesPoint {
        from: sql::timestamp(span.from),
        to: sql::timestamp(span.to),
        mean: span.mean,
        low: span.low,
        high: span.high,
    }
}

fn info(row: &Row<'_>) -> rusqlite::Result<SeriesInfo> {
    let stream: String = row.get(2)?;
    let stream = StreamName::new(&stream).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, Box::new(error))
    })?;
    let unit: String = row.get(5)?;
    Ok(SeriesInfo {
        id: row.get::<_, i64>(0)? as u64,
        key: row.get(1)?,
        name: SeriesName {
            stream,
            place: row.get(3)?,
            label: row.get(4)?,
            unit: Unit::named(&unit),
        },
        first_seen: sql::timestamp(row.get(6)?),
        last_seen: sql::timestamp(row.get(7)?),
        value: row.get(8)?,
    })
}
