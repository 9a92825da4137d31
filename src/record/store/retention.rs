//! Retention: records too old are removed; above the size limit the stills of
//! the screens are removed first, then their text, then the oldest findings: an
//! incident with its last finding, a still with the last finding that refers to
//! it.

use jiff::SignedDuration;
use rusqlite::{Connection, OptionalExtension as _};
use serde::Serialize;

use super::age::RetentionCutoff;
use super::{StoreError, StoreWriter, open};
use crate::store::sql;

/// Findings removed in one transaction, so that publishing is not delayed for
/// long.
const STEP: i64 = 200;
/// Pages returned to the file system in one batch.
const PAGES: i64 = 1000;

/// Numbers of records removed by one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Swept {
    pub findings: u64,
    pub incidents: u64,
    pub stills: u64,
    /// Lines of screen text.
    pub lines: u64,
    /// Flag: there is more to remove.
    pub more: bool,
}

const DAYS_OF_SPEND: SignedDuration = SignedDuration::from_hours(48);
/// Size that retention goes down to once above the limit, in percent of it: the
/// next line must not start it again.
const STAYS: u64 = 95;
/// Pages of an index that are merged in one batch.
const MERGED: i64 = 500;
/// Share of removed text in the database above which an index is merged, in
/// percent.
const RUBBISH: u64 = 5;

/// Merge of the full-text indexes, which contain the words of removed text
/// until then.
#[derive(Debug, Default)]
pub(super) struct IndexMerge {
    /// Bytes of removed text that may still be in the indexes.
    gone: u64,
    /// Flag: above the limit, and not yet down to the lower mark.
    pressed: bool,
    /// Number of the index being merged.
    at: Option<(usize, bool)>,
    /// Flag: nothing was removed since the last merge.
    clean: bool,
}

const INDEXES: [&str; 2] = ["screen_text", "finding_text"];

impl StoreWriter {
    /// Maximum bytes of database and evidence: the size limit minus the
    /// write-ahead log.
    fn most(&self) -> u64 {
        let allowed = self.settings.max_bytes;
        allowed - open::log_bytes(allowed)
    }

    /// Pages that may be written in one batch, within the size of the log.
    fn at_once(&self, most: i64) -> i64 {
        most.min(open::log_pages(self.settings.max_bytes) as i64 / 2)
    }

    /// True above the limit: a sweep is due now.
    pub fn is_full(&self) -> bool {
        // Includes free pages: they occupy space until they are returned.
        let free = self
            .db
            .pragma_query_value(None, "freelist_count", |row| row.get::<_, i64>(0));
        let free = free.unwrap_or_default().max(0) as u64 * open::PAGE_BYTES;
        let size = size(&self.db);
        size.is_ok_and(|(database, evidence)| database + free + evidence > self.most())
    }

    /// Sweeps one step; call it again while there is more.
    pub fn sweep(&mut self) -> Result<Swept, StoreError> {
        let swept = self.transaction(Self::remove_oldest);
        let mut swept = swept.map_err(|error| self.error(&error))?;
        // A failure is repeated at the next step.
        swept.more |= self.give_back().unwrap_or(false);
        Ok(swept)
    }

    /// Returns free pages to the file system; true if there are more. Each is a
    /// row of the statement, which has to be stepped to its end.
    fn give_back(&self) -> rusqlite::Result<bool> {
        let free = || {
            self.db
                .pragma_query_value(None, "freelist_count", |row| row.get::<_, i64>(0))
        };
        let before = free()?;
        if before == 0 {
            return Ok(false);
        }
        let mut vacuum = self.db.prepare(&format!(
            "PRAGMA incremental_vacuum({})",
            self.at_once(PAGES)
        ))?;
        let mut rows = vacuum.query([])?;
        while rows.next()?.is_some() {}
        drop(rows);
        let left = free()?;
        if left == 0 {
            // The file itself shrinks at the checkpoint of the log.
            self.db
                .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        }
        Ok(left > 0 && left < before)
    }

    fn remove_oldest(&mut self) -> rusqlite::Result<Swept> {
        let age = self.trust.age(self.settings.keep);
        let (database, evidence) = size(&self.db)?;
        let used = (database + evidence).saturating_sub(self.tidying.gone);
        let most = self.most();
        self.tidying.pressed = if self.tidying.pressed {
            used > most / 100 * STAYS
        } else {
            database + evidence > most
        };
        let rubbish = self.tidying.gone > database / 100 * RUBBISH;
        let unmerged = !self.tidying.clean || self.tidying.gone > 0;
        let dirty = unmerged && database + evidence > most;
        if self.tidying.at.is_some() || (!self.tidying.pressed && (rubbish || dirty)) {
            return self.tidy();
        }
        self.remove(&age, self.tidying.pressed)
    }

    /// Merges the indexes by one step, so that removed text leaves them too.
    fn tidy(&mut self) -> rusqlite::Result<Swept> {
        let more = Swept {
            more: true,
            ..Swept::default()
        };
        let (index, begun) = self.tidying.at.unwrap_or_default();
        let Some(name) = INDEXES.get(index) else {
            self.tidying.at = None;
            self.tidying.gone = 0;
            self.tidying.clean = true;
            return Ok(more);
        };
        // A negative number starts a merge of all segments, a positive one
        // continues it.
        let pages = self.at_once(MERGED);
        let pages = if begun { pages } else { -pages };
        let before = self.db.total_changes();
        let merge = format!("INSERT INTO {name} ({name}, rank) VALUES ('merge', ?1)");
        self.db.prepare_cached(&merge)?.execute([pages])?;
        let done = self.db.total_changes() - before < 2;
        self.tidying.at = Some(if done {
            (index + 1, false)
        } else {
            (index, true)
        });
        Ok(more)
    }

    fn remove(&mut self, age: &RetentionCutoff, too_much: bool) -> rusqlite::Result<Swept> {
        if age.is_settled() {
            // Needed by a budget per day.
            let days = age.now - DAYS_OF_SPEND;
            self.forget_spend(sql::timestamp(age.since).min(days))?;
        }
        // Their ages are fixed, whatever is kept of findings.
        let more_series = age.is_settled() && self.forget_series(sql::nanos(age.now), too_much)?;
        // Above the size limit the least important is removed first: pictures,
        // many and large, then text, and only then findings.
        let moments = self.forget_moments(age, too_much)?;
        let step = super::screen::STEP;
        let (lines, bytes) = self.forget_text(age, too_much && moments == 0, step)?;
        let mut swept = Swept {
            stills: moments,
            lines,
            more: moments == super::moments::STEP as u64 || lines == step as u64 || more_series,
            ..Swept::default()
        };
        self.tidying.gone += bytes;
        self.tidying.clean &= lines == 0;
        let pressed = too_much && moments == 0 && lines == 0;
        swept.more |= too_much && !pressed;
        if pressed && !self.tidying.clean {
            // No finding is removed for space that a merge will free.
            return self.tidy();
        }
        let (incidents, told_until) = self.remove_findings(age, pressed, &mut swept)?;
        // Never for its size: a sink may have yet to deliver it. Entries of
        // removed findings are removed with them.
        let cleared = self.clear_outbox(age.with_since(told_until))?;
        self.forget_dead(age)?;
        swept.more |= swept.findings == STEP as u64 || cleared == super::outbox::STEP as u64;
        self.remove_incidents(incidents, swept)
    }

    /// Incidents of the removed findings, and the time up to which these were
    /// stored.
    fn remove_findings(
        &mut self,
        age: &RetentionCutoff,
        pressed: bool,
        swept: &mut Swept,
    ) -> rusqlite::Result<(Vec<i64>, i64)> {
        let oldest: Vec<(i64, i64, i64, i64)> = self
            .db
            .prepare_cached(
                "SELECT seq, incident, stored_at, length(json) FROM findings ORDER BY seq LIMIT ?1",
            )?
            .query_map([STEP], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        let stamps: Vec<i64> = oldest.iter().map(|(_, _, at, _)| *at).collect();
        let last = oldest.last().map(|(seq, ..)| *seq);
        let old = age.old(&stamps, |ahead| {
            let next = "SELECT stored_at FROM findings WHERE seq > ?1 AND stored_at <= ?2
                        ORDER BY seq LIMIT 1";
            first_after(&self.db, next, last, ahead)
        })?;
        let ahead = sql::nanos(age.now);
        let (mut incidents, mut told_until) = (Vec::new(), age.since);
        for ((seq, incident, stored_at, bytes), old) in oldest.into_iter().zip(old) {
            if !old && !pressed {
                break;
            }
            swept.stills += self.remove_finding(seq)?;
            swept.findings += 1;
            incidents.push(incident);
            if stored_at <= ahead {
                told_until = told_until.max(stored_at);
            }
            self.tidying.gone += bytes as u64 / 2;
        }
        Ok((incidents, told_until))
    }

    fn remove_finding(&mut self, seq: i64) -> rusqlite::Result<u64> {
        let stills: Vec<String> = self
            .db
            .prepare_cached("SELECT DISTINCT sha256 FROM stills WHERE finding = ?1")?
            .query_map([seq], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        self.db
            .prepare_cached("DELETE FROM findings WHERE seq = ?1")?
            .execute([seq])?;
        let before = self.unneeded.len();
        for still in &stills {
            self.release(still)?;
        }
        Ok((self.unneeded.len() - before) as u64)
    }

    fn remove_incidents(
        &mut self,
        mut incidents: Vec<i64>,
        mut swept: Swept,
    ) -> rusqlite::Result<Swept> {
        incidents.sort_unstable();
        incidents.dedup();
        for seq in incidents {
            // The cached incident may refer to a still.
            self.cache.remove(seq);
            let mut left = self
                .db
                .prepare_cached("SELECT 1 FROM findings WHERE incident = ?1 LIMIT 1")?;
            if left.query_row([seq], |_| Ok(())).optional()?.is_none() {
                self.db
                    .prepare_cached(
                        "UPDATE removed SET revision = max(revision, coalesce(
                         (SELECT revision FROM incidents WHERE seq = ?1), 0))",
                    )?
                    .execute([seq])?;
                self.db
                    .prepare_cached("DELETE FROM incidents WHERE seq = ?1")?
                    .execute([seq])?;
                swept.incidents += 1;
            }
        }
        Ok(swept)
    }
}

/// First credible timestamp after a position.
pub(super) fn first_after(
    db: &Connection,
    query: &str,
    place: Option<i64>,
    ahead: i64,
) -> rusqlite::Result<Option<i64>> {
    let mut first = db.prepare_cached(query)?;
    let first = first.query_row([place.unwrap_or(i64::MIN), ahead], |row| row.get(0));
    first.optional()
}

/// Bytes in use by database and evidence.
pub(super) fn size(db: &Connection) -> rusqlite::Result<(u64, u64)> {
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let used = (pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?;
    let stills = "SELECT coalesce(sum(bytes), 0) FROM evidence";
    let stills: i64 = db.query_row(stills, [], |row| row.get(0))?;
    Ok((used.max(0) as u64, stills.max(0) as u64))
}
