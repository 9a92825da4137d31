//! Levels of detail, and the summary of one level in the next.

use rusqlite::{Connection, params};

use super::SECOND;
use crate::store::StoreWriter;

/// Time that raw values may still be added to; runs are written every minute.
const SETTLES: i64 = 120 * SECOND;
/// Minimum time between two summaries, so that each covers several minutes.
const EVERY: i64 = 300 * SECOND;
/// Rows removed in one transaction, so that publishing is not delayed for long.
const AT_ONCE: i64 = 2000;

const DAY: i64 = 86_400 * SECOND;

/// DetailLevel of detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DetailLevel {
    Raw,
    Minutes,
    Hours,
}

impl DetailLevel {
    pub(super) const ALL: [Self; 3] = [Self::Raw, Self::Minutes, Self::Hours];

    pub(super) const fn table(self) -> &'static str {
        match self {
            Self::Raw => "series_raw",
            Self::Minutes => "series_minutes",
            Self::Hours => "series_hours",
        }
    }

    /// Time that its rows are kept.
    pub(super) const fn keep(self) -> i64 {
        match self {
            Self::Raw => DAY,
            Self::Minutes => 92 * DAY,
            Self::Hours => 366 * DAY,
        }
    }

    /// Same above the size limit: a screen of 500 numbers that change all the
    /// time stays within about 700 MB.
    const fn keep_pressed(self) -> i64 {
        match self {
            Self::Raw => DAY / 24,
            Self::Minutes => 7 * DAY,
            Self::Hours => 92 * DAY,
        }
    }

    /// Length of its rows.
    pub(super) const fn step(self) -> i64 {
        match self {
            Self::Raw => 0,
            Self::Minutes => 60 * SECOND,
            Self::Hours => 3600 * SECOND,
        }
    }
}

/// Times up to which minutes and hours are summarised.
pub(super) fn progress(db: &Connection) -> rusqlite::Result<(i64, i64)> {
    db.prepare_cached("SELECT minutes, hours FROM series_progress")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Values of a time: one, or several summarised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SampleSpan {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) mean: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl SampleSpan {
    fn is_constant(&self) -> bool {
        self.low == self.high
    }
}

/// Rows of a series that overlap a time, oldest first.
pub(super) fn rows(
    db: &Connection,
    level: DetailLevel,
    series: i64,
    (from, to): (i64, i64),
) -> rusqlite::Result<Vec<SampleSpan>> {
    // Backwards, as rows do not overlap: the first that ends before is the last.
    let find = format!(
        "SELECT from_at, to_at, mean, low, high FROM {} WHERE series = ?1 AND from_at < ?2
         ORDER BY from_at DESC",
        level.table()
    );
    let mut find = db.prepare_cached(&find)?;
    let mut rows = find.query(params![series, to])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let span = SampleSpan {
            from: row.get(0)?,
            to: row.get(1)?,
            mean: row.get(2)?,
            low: row.get(3)?,
            high: row.get(4)?,
        };
        if span.to < from {
            break;
        }
        found.push(span);
    }
    found.reverse();
    Ok(found)
}

/// Summary of the rows within each step, steps without any left out.
pub(super) fn summary(rows: &[SampleSpan], (from, to): (i64, i64), step: i64) -> Vec<SampleSpan> {
    let mut steps = Vec::new();
    let mut first = 0;
    let mut at = from;
    while at < to {
        let end = at + step;
        while rows.get(first).is_some_and(|row| row.to < at) {
            first += 1;
        }
        let within = rows[first..].iter().take_while(|row| row.from < end);
        let mut sum: Option<(SampleSpan, f64)> = None;
        for row in within {
            let (begin, finish) = (row.from.max(at), row.to.min(end));
            // A row that ends where this step begins belongs to the one before.
            if finish == at && row.from < at {
                continue;
            }
            // A value seen once has no length, and counts.
            let weight = (finish - begin).max(1) as f64;
            sum = Some(match sum {
                None => {
                    let span = SampleSpan {
                        from: begin,
                        to: finish,
                        ..*row
                    };
                    (span, weight)
                }
                Some((sum, before)) => {
                    let share = weight / (before + weight);
                    let span = SampleSpan {
                        from: sum.from,
                        to: finish,
                        mean: sum.mean + (row.mean - sum.mean) * share,
                        low: sum.low.min(row.low),
                        high: sum.high.max(row.high),
                    };
                    (span, before + weight)
                }
            });
        }
        steps.extend(sum.map(|(span, _)| span));
        at = end;
    }
    steps
}

impl StoreWriter {
    /// Summarises raw values by the minute, and minutes by the hour, as far as
    /// nothing is added to them any more.
    pub(super) fn summarise(&self, now: i64) -> rusqlite::Result<()> {
        let (minutes, hours) = progress(&self.db)?;
        let until = floor(now - SETTLES, DetailLevel::Minutes.step());
        if until - minutes < EVERY {
            return Ok(());
        }
        let from = minutes.max(floor(now - DAY, DetailLevel::Minutes.step()));
        self.summarise_level(DetailLevel::Raw, DetailLevel::Minutes, (from, until))?;
        let whole = floor(until, DetailLevel::Hours.step());
        let mut summarised = hours;
        if whole > hours {
            let from = hours.max(floor(now - 92 * DAY, DetailLevel::Hours.step()));
            self.summarise_level(DetailLevel::Minutes, DetailLevel::Hours, (from, whole))?;
            summarised = whole;
        }
        self.db
            .prepare_cached("UPDATE series_progress SET minutes = ?1, hours = ?2")?
            .execute([until, summarised])?;
        Ok(())
    }

    fn summarise_level(
        &self,
        of: DetailLevel,
        level: DetailLevel,
        time: (i64, i64),
    ) -> rusqlite::Result<()> {
        let seen = "SELECT id FROM series WHERE last_at >= ?1 AND first_at < ?2";
        let seen: Vec<i64> = self
            .db
            .prepare_cached(seen)?
            .query_map([time.0, time.1], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for series in seen {
            let rows = rows(&self.db, of, series, time)?;
            let first = rows
                .first()
                .map(|row| floor(row.from, level.step()).max(time.0));
            let Some(first) = first else {
                continue;
            };
            self.append(
                level,
                series,
                &summary(&rows, (first, time.1), level.step()),
            )?;
        }
        Ok(())
    }

    /// Adds rows; those that go on with the same value lengthen the last one.
    fn append(
        &self,
        level: DetailLevel,
        series: i64,
        spans: &[SampleSpan],
    ) -> rusqlite::Result<()> {
        let table = level.table();
        let last = format!(
            "SELECT from_at, to_at, mean, low, high FROM {table} WHERE series = ?1
             ORDER BY from_at DESC LIMIT 1"
        );
        let mut last: Option<SampleSpan> = {
            let mut find = self.db.prepare_cached(&last)?;
            let mut rows = find.query([series])?;
            match rows.next()? {
                Some(row) => Some(SampleSpan {
                    from: row.get(0)?,
                    to: row.get(1)?,
                    mean: row.get(2)?,
                    low: row.get(3)?,
                    high: row.get(4)?,
                }),
                None => None,
            }
        };
        let insert = format!("INSERT OR REPLACE INTO {table} VALUES (?1, ?2, ?3, ?4, ?5, ?6)");
        let mut insert = self.db.prepare_cached(&insert)?;
        for span in spans {
            let joined = last.filter(|last| {
                let same = last.is_constant() && span.is_constant() && last.low == span.low;
                same && last.to == span.from
            });
            let row = joined.map_or(*span, |last| SampleSpan {
                from: last.from,
                ..*span
            });
            insert.execute(params![
                series, row.from, row.to, row.mean, row.low, row.high
            ])?;
            last = Some(row);
        }
        Ok(())
    }

    /// Removes a batch of the rows that are too old, and series without any;
    /// true if there is more to remove. Above the size limit (`pressed`) less is
    /// kept of each level.
    pub(in crate::store) fn forget_series(
        &self,
        now: i64,
        pressed: bool,
    ) -> rusqlite::Result<bool> {
        let mut left = AT_ONCE;
        for level in DetailLevel::ALL {
            let before = now
                - if pressed {
                    level.keep_pressed()
                } else {
                    level.keep()
                };
            let table = level.table();
            let old = "SELECT id FROM series WHERE first_at < ?1";
            let old: Vec<i64> = self
                .db
                .prepare_cached(old)?
                .query_map([before], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            let remove = format!(
                "DELETE FROM {table} WHERE series = ?1 AND from_at IN (SELECT from_at FROM {table}
                 WHERE series = ?1 AND from_at < ?2 AND to_at < ?2 ORDER BY from_at LIMIT ?3)"
            );
            let mut remove = self.db.prepare_cached(&remove)?;
            for series in old {
                left -= remove.execute([series, before, left])? as i64;
                if left <= 0 {
                    return Ok(true);
                }
            }
        }
        self.db
            .prepare_cached(
                "DELETE FROM series WHERE last_at < ?1
                 AND NOT EXISTS (SELECT 1 FROM series_raw WHERE series = id)
                 AND NOT EXISTS (SELECT 1 FROM series_minutes WHERE series = id)
                 AND NOT EXISTS (SELECT 1 FROM series_hours WHERE series = id)",
            )?
            .execute([now - DAY])?;
        Ok(false)
    }
}

pub(super) fn floor(at: i64, step: i64) -> i64 {
    at - at.rem_euclid(step)
}
