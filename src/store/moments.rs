//! What the screens looked like: a still of each stream now and then, for who
//! looks back.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params};
use serde::Serialize;

use super::read::clamp;
use super::{Page, Readers, StoreError, Writer, row};
use crate::media::{Still, StreamName};

/// As times are stored.
const SECOND: i64 = 1_000_000_000;

/// Removed in one go.
pub(super) const STEP: i64 = 50;

/// A picture of a screen, as it may be kept: nothing is painted here.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub stream: StreamName,
    pub seen_at: Timestamp,
    pub frame_seq: u64,
    pub still: Still,
}

/// A picture that was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moment {
    pub stream: String,
    pub seen_at: Timestamp,
    pub frame_seq: u64,
    /// Of the picture, which `/api/evidence/{sha256}.jpg` serves.
    pub sha256: String,
}

/// Which of them, the newest first.
#[derive(Debug, Clone, Default)]
pub struct MomentQuery {
    pub stream: Option<String>,
    /// At or after, and before.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// One of each stream in so many seconds, the newest; else all.
    pub every: Option<u32>,
    /// `next` of the page before.
    pub before: Option<u64>,
    pub limit: usize,
}

impl Writer {
    /// A picture that can't be kept is no more than a gap.
    pub(super) fn keep_moment(&mut self, snapshot: &Snapshot) -> rusqlite::Result<()> {
        if !self.settings.keep_stills {
            return Ok(());
        }
        let Some(sha256) = self.put(&snapshot.still)? else {
            return Ok(());
        };
        let mut add = self.db.prepare_cached(
            "INSERT INTO moments (stream, seen_at, frame_seq, sha256) VALUES (?1, ?2, ?3, ?4)",
        )?;
        add.execute(params![
            snapshot.stream.as_str(),
            row::nanos(snapshot.seen_at),
            snapshot.frame_seq as i64,
            sha256,
        ])?;
        Ok(())
    }

    /// One step of removing what was seen before that time, or the oldest
    /// whatever its time; how many went.
    pub(super) fn forget_moments(&mut self, since: i64, any: bool) -> rusqlite::Result<u64> {
        let gone: Vec<String> = self
            .db
            .prepare_cached(
                "DELETE FROM moments WHERE seq IN
                 (SELECT seq FROM (SELECT seq, seen_at FROM moments ORDER BY seq LIMIT ?1)
                  WHERE ?3 OR seen_at < ?2) RETURNING sha256",
            )?
            .query_map(params![STEP, since, any], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for sha256 in &gone {
            self.release(sha256)?;
        }
        Ok(gone.len() as u64)
    }
}

impl Readers {
    pub fn moments(&self, query: &MomentQuery) -> Result<Page<Moment, u64>, StoreError> {
        let before = query.before.map_or(i64::MAX, clamp);
        let since = query.since.map_or(i64::MIN, row::nanos);
        let until = query.until.map_or(i64::MAX, row::nanos);
        let limit = query.limit as i64 + 1;
        let every = query.every.map(|seconds| i64::from(seconds) * SECOND);
        let mut values = params![before, query.stream, since, until, limit].to_vec();
        values.extend(every.as_ref().map(|every| every as &dyn ToSql));
        let found = self.with(|db| {
            // A page that ends within a stretch must not begin the next one
            // with the rest of it: what a stretch shows is settled first.
            let mut find = db.prepare_cached(match query.every {
                Some(_) => {
                    "SELECT max(seq), stream, seen_at, frame_seq, sha256 FROM moments
                     WHERE (?2 IS NULL OR stream = ?2) AND seen_at >= ?3 AND seen_at < ?4
                     GROUP BY stream, seen_at / ?6
                     HAVING max(seq) < ?1 ORDER BY max(seq) DESC LIMIT ?5"
                }
                None => {
                    "SELECT seq, stream, seen_at, frame_seq, sha256 FROM moments
                     WHERE seq < ?1 AND (?2 IS NULL OR stream = ?2)
                       AND seen_at >= ?3 AND seen_at < ?4
                     ORDER BY seq DESC LIMIT ?5"
                }
            })?;
            let found = find.query_map(values.as_slice(), |row| {
                Ok((row.get::<_, i64>(0)? as u64, moment(row)?))
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
                let mut found = find.query_map(params![stream, row::nanos(at)], moment)?;
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
    let found = find.query_row(params![stream, row::nanos(at), row::nanos(latest)], moment);
    found.optional()
}

fn moment(row: &Row<'_>) -> rusqlite::Result<Moment> {
    Ok(Moment {
        stream: row.get(1)?,
        seen_at: row::timestamp(row.get(2)?),
        frame_seq: row.get::<_, i64>(3)? as u64,
        sha256: row.get(4)?,
    })
}
