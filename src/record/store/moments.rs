//! Stills of the screens: one of each stream per interval, for the history.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params};
use serde::Serialize;

use watchtower_base::stream_name::StreamName;
use watchtower_screen::redact::RedactedJpeg;

use super::age::RetentionCutoff;
use super::retention::first_after;
use super::{Page, Readers, StoreError, StoreWriter, Write, WriteError};
use crate::store::sql;

/// Nanoseconds per second, the unit of stored times.
const SECOND: i64 = 1_000_000_000;

/// Stills removed in one batch.
pub(super) const STEP: i64 = 50;

/// Redacted picture of a screen.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub stream: StreamName,
    pub seen_at: Timestamp,
    pub frame_seq: u64,
    pub still: RedactedJpeg,
}

/// Stored still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moment {
    pub stream: String,
    pub seen_at: Timestamp,
    pub frame_seq: u64,
    /// SHA-256 of the picture, which `/api/evidence/{sha256}.jpg` serves.
    pub sha256: String,
}

/// Query of stills, the newest first.
#[derive(Debug, Clone, Default)]
pub struct MomentQuery {
    pub stream: Option<String>,
    /// Range: at or after, and before.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Interval in seconds: the newest still per stream and interval; `None`
    /// for all.
    pub every: Option<u32>,
    /// `next` of the previous page.
    pub after: Option<MomentPlace>,
    pub limit: usize,
}

/// Position in a list of stills, stable while more are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MomentPlace {
    /// Newest still at the request of the first page. Later ones would change
    /// the latest interval.
    pub newest: i64,
    /// Position of the last one shown.
    pub seen_at: i64,
    pub seq: i64,
}

impl Write for Snapshot {
    type Out = ();

    /// A picture that can't be stored is only a gap.
    fn apply(&self, writer: &mut StoreWriter) -> Result<(), WriteError> {
        if !writer.settings.keep_stills {
            return Ok(());
        }
        let Some(sha256) = writer.put(&self.still)? else {
            return Ok(());
        };
        let mut add = writer.db.prepare_cached(
            "INSERT INTO moments (stream, seen_at, frame_seq, sha256) VALUES (?1, ?2, ?3, ?4)",
        )?;
        add.execute(params![
            self.stream.as_str(),
            sql::nanos(self.seen_at),
            self.frame_seq as i64,
            sha256,
        ])?;
        Ok(())
    }
}

impl StoreWriter {
    /// Removes a batch of stills that are too old, or the oldest whatever their
    /// time; returns their number.
    pub(super) fn forget_moments(
        &mut self,
        age: &RetentionCutoff,
        any: bool,
    ) -> rusqlite::Result<u64> {
        let oldest: Vec<(i64, i64, String)> = self
            .db
            .prepare_cached("SELECT seq, seen_at, sha256 FROM moments ORDER BY seq LIMIT ?1")?
            .query_map([STEP], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let times: Vec<i64> = oldest.iter().map(|(_, at, _)| *at).collect();
        let last = oldest.last().map(|(seq, ..)| *seq);
        let old = age.old(&times, |ahead| {
            let next = "SELECT seen_at FROM moments WHERE seq > ?1 AND seen_at <= ?2
                        ORDER BY seq LIMIT 1";
            first_after(&self.db, next, last, ahead)
        })?;
        let mut gone = 0;
        for ((seq, _, sha256), old) in oldest.into_iter().zip(old) {
            if any || old {
                self.db
                    .prepare_cached("DELETE FROM moments WHERE seq = ?1")?
                    .execute([seq])?;
                self.release(&sha256)?;
                gone += 1;
            }
        }
        Ok(gone)
    }
}

impl Readers {
    pub fn moments(&self, query: &MomentQuery) -> Result<Page<Moment, MomentPlace>, StoreError> {
        let found = self.with(|db| {
            let after = match query.after {
                Some(place) => place,
                None => MomentPlace {
                    newest: newest(db)?,
                    seen_at: i64::MAX,
                    seq: i64::MAX,
                },
            };
            let every = query.every.map(|seconds| i64::from(seconds) * SECOND);
            let stretch = every.unwrap_or(1);
            // Later stills have been shown, or another one of their interval.
            let shown = (after.seen_at / stretch)
                .saturating_add(1)
                .saturating_mul(stretch);
            let until = query.until.map_or(i64::MAX, sql::nanos).min(shown);
            let since = query.since.map_or(i64::MIN, sql::nanos);
            let limit = query.limit as i64 + 1;
            let mut find = db.prepare_cached(&sql(query))?;
            let (newest, seen_at, seq) = (after.newest, after.seen_at, after.seq);
            let mut values =
                params![query.stream, since, until, newest, seen_at, seq, limit].to_vec();
            values.extend(every.as_ref().map(|every| every as &dyn ToSql));
            let found = find.query_map(values.as_slice(), |row| {
                let moment = moment(row)?;
                let place = MomentPlace {
                    newest,
                    seen_at: row.get(2)?,
                    seq: row.get(0)?,
                };
                Ok((place, moment))
            })?;
            found.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        Ok(Page::of(found, query.limit))
    }

    /// Last still of a stream before a time, and the first at or after another.
    pub fn moments_around(
        &self,
        stream: &str,
        before: Timestamp,
        after: Timestamp,
    ) -> Result<(Option<Moment>, Option<Moment>), StoreError> {
        self.with(|db| {
            let one = |sql: &str, at: Timestamp| {
                let mut find = db.prepare_cached(sql)?;
                let mut found = find.query_map(params![stream, sql::nanos(at)], moment)?;
                found.next().transpose()
            };
            Ok((
                one(
                    "SELECT seq, stream, seen_at, frame_seq, sha256 FROM moments
                     WHERE stream = ?1 AND seen_at < ?2 ORDER BY seen_at DESC LIMIT 1",
                    before,
                )?,
                one(
                    "SELECT seq, stream, seen_at, frame_seq, sha256 FROM moments
                     WHERE stream = ?1 AND seen_at >= ?2 ORDER BY seen_at LIMIT 1",
                    after,
                )?,
            ))
        })
    }
}

fn newest(db: &Connection) -> rusqlite::Result<i64> {
    let newest: Option<i64> = db.query_row("SELECT max(seq) FROM moments", [], |row| row.get(0))?;
    Ok(newest.unwrap_or_default())
}

/// The plus sign makes SQLite use an index by time.
fn sql(query: &MomentQuery) -> String {
    let stream = match query.stream {
        Some(_) => "stream = ?1",
        None => "true",
    };
    let within = format!("{stream} AND seen_at >= ?2 AND seen_at < ?3 AND +seq <= ?4");
    // A page that ends within an interval must not begin the next one with the
    // rest of it: the still of an interval is chosen first.
    let (from, last) = match query.every {
        Some(_) => (
            format!(
                "(SELECT max(seq) AS seq, stream, seen_at, frame_seq, sha256 FROM moments
                  WHERE {within} GROUP BY stream, seen_at / ?8)"
            ),
            "true".to_owned(),
        ),
        None => ("moments".to_owned(), within),
    };
    format!(
        "SELECT seq, stream, seen_at, frame_seq, sha256 FROM {from}
         WHERE {last} AND (seen_at, seq) < (?5, ?6)
         ORDER BY seen_at DESC, seq DESC LIMIT ?7"
    )
}

/// Maximum delay of a still after a line appeared, which then most likely still
/// shows it.
const SOON: SignedDuration = SignedDuration::from_secs(30);

/// First still of a stream from a time on, if there is one within the delay.
pub(super) fn soon_after(
    db: &Connection,
    stream: &str,
    at: Timestamp,
) -> rusqlite::Result<Option<Moment>> {
    let latest = at.checked_add(SOON).unwrap_or(at);
    let mut find = db.prepare_cached(
        "SELECT seq, stream, seen_at, frame_seq, sha256 FROM moments
         WHERE stream = ?1 AND seen_at >= ?2 AND seen_at < ?3 ORDER BY seen_at LIMIT 1",
    )?;
    let found = find.query_row(params![stream, sql::nanos(at), sql::nanos(latest)], moment);
    found.optional()
}

fn moment(row: &Row<'_>) -> rusqlite::Result<Moment> {
    Ok(Moment {
        stream: row.get(1)?,
        seen_at: sql::timestamp(row.get(2)?),
        frame_seq: row.get::<_, i64>(3)? as u64,
        sha256: row.get(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::StoreSettings;

    #[test]
    fn span_uses_the_index_by_time() {
        let dir = tempfile::tempdir().unwrap();
        let (writer, _readers) = super::super::open(dir.path(), &StoreSettings::default()).unwrap();
        let plan = |stream: Option<&str>, every| {
            let sql = sql(&MomentQuery {
                stream: stream.map(str::to_owned),
                every,
                ..MomentQuery::default()
            });
            let sql = format!("EXPLAIN QUERY PLAN {sql}");
            let mut plan = writer.db.prepare(&sql).unwrap();
            let steps = plan.raw_query().mapped(|row| row.get::<_, String>(3));
            steps
                .collect::<rusqlite::Result<Vec<_>>>()
                .unwrap()
                .join("\n")
        };
        for every in [None, Some(60)] {
            let all = plan(None, every);
            assert!(all.contains("moments_by_time (seen_at"), "{all}");
            let one = plan(Some("team"), every);
            assert!(
                one.contains("moments_by_stream (stream=? AND seen_at"),
                "{one}"
            );
        }
        // In index order, without a sort.
        assert!(!plan(None, None).contains("B-TREE"));
    }
}
