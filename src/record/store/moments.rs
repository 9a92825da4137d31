//! Stills of the screens: one of each stream at intervals, for looking back.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params};
use serde::Serialize;

use watchtower_base::stream_name::StreamName;
use watchtower_screen::redact::RedactedJpeg;

use super::age::RetentionCutoff;
use super::retention::first_after;
use super::{Page, Readers, StoreError, StoreWriter, Write, WriteError};
use crate::store::sql;

/// As times are stored.
const SECOND: i64 = 1_000_000_000;

/// Removed in one go.
pub(super) const STEP: i64 = 50;

/// A picture of a screen, as it may be kept.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub stream: StreamName,
    pub seen_at: Timestamp,
    pub frame_seq: u64,
    pub still: RedactedJpeg,
}

/// A picture that was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moment {
    pub stream: String,
    pub seen_at: Timestamp,
    pub frame_seq: u64,
    /// SHA-256 of the picture, which `/api/evidence/{sha256}.jpg` serves.
    pub sha256: String,
}

/// Which of them, the newest first.
#[derive(Debug, Clone, Default)]
pub struct MomentQuery {
    pub stream: Option<String>,
    /// At or after, and before.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Interval in seconds, of which the newest still of each stream; else all.
    pub every: Option<u32>,
    /// `next` of the previous page.
    pub after: Option<MomentPlace>,
    pub limit: usize,
}

/// A place in a list of stills, which stays where it is while more are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MomentPlace {
    /// The newest there was when the first page was asked for. Those after it
    /// would change what the latest stretch shows.
    pub newest: i64,
    /// Place of the last one shown.
    pub seen_at: i64,
    pub seq: i64,
}

impl Write for Snapshot {
    type Out = ();

    /// A picture that can't be kept is no more than a gap.
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
    /// Removes one step of what is too old, or the oldest whatever its time;
    /// how many went.
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
            // Later stills have been shown, or one of their interval has.
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

    /// The last picture of a stream before a time, and the first at or after
    /// another.
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

/// The plus sign keeps SQLite to an index by time.
fn sql(query: &MomentQuery) -> String {
    let stream = match query.stream {
        Some(_) => "stream = ?1",
        None => "true",
    };
    let within = format!("{stream} AND seen_at >= ?2 AND seen_at < ?3 AND +seq <= ?4");
    // A page that ends within a stretch must not begin the next one with the
    // rest of it: what a stretch shows is settled first.
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

/// While a line that appeared still stands there, most likely.
const SOON: SignedDuration = SignedDuration::from_secs(30);

/// The first picture of a stream from then on, if one was kept soon.
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
    fn a_span_is_found_by_time() {
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
        // As they come, without sorting first.
        assert!(!plan(None, None).contains("B-TREE"));
    }
}
