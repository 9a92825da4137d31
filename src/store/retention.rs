//! What is too old goes; where there is too much, what the screens looked like
//! goes first, then their text, then the oldest findings: an incident with its
//! last finding, a still with the last finding it was kept for.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _};
use serde::Serialize;

use super::{StoreError, Writer, row};

/// Findings removed in one go, so that nobody who publishes waits long.
const STEP: i64 = 200;
/// Pages given back to the file system in one go.
const PAGES: i64 = 1000;

/// What one step removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Swept {
    pub findings: u64,
    pub incidents: u64,
    pub stills: u64,
    /// Of the screens' text.
    pub lines: u64,
    /// There is more to remove.
    pub more: bool,
}

const DAYS_OF_SPEND: SignedDuration = SignedDuration::from_hours(48);

impl Writer {
    /// One step; to be called again while there is more.
    pub fn sweep(&mut self) -> Result<Swept, StoreError> {
        let swept = self.transaction(Self::remove_oldest);
        let swept = swept.map_err(|error| self.error(&error))?;
        if swept.findings + swept.lines > 0 {
            let give_back = format!("PRAGMA incremental_vacuum({PAGES})");
            // A row for each page; what fails now is done at the next step.
            drop(self.db.execute_batch(&give_back));
        }
        Ok(swept)
    }

    fn remove_oldest(&mut self) -> rusqlite::Result<Swept> {
        let keep = i64::try_from(self.settings.keep.as_nanos()).unwrap_or(i64::MAX);
        let since = row::nanos(Timestamp::now()).saturating_sub(keep);
        let (database, evidence) = size(&self.db)?;
        let too_much = database + evidence > self.settings.max_bytes;
        let oldest: Vec<(i64, i64, i64)> = self
            .db
            .prepare_cached("SELECT seq, incident, stored_at FROM findings ORDER BY seq LIMIT ?1")?
            .query_map([STEP], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?;
        // A budget by the day has to know it.
        let days = Timestamp::now() - DAYS_OF_SPEND;
        self.forget_spend(row::timestamp(since).min(days))?;
        // For its size what is missed least goes first: pictures, many and
        // large, then text, and only then what was found.
        let moments = self.forget_moments(since, too_much)?;
        let lines = self.forget_text(since, too_much && moments == 0)?;
        let mut swept = Swept {
            stills: moments,
            lines,
            more: moments == super::moments::STEP as u64 || lines == super::screen::STEP as u64,
            ..Swept::default()
        };
        let pressed = too_much && moments == 0 && lines == 0;
        swept.more |= too_much && !pressed;
        let mut incidents = Vec::new();
        let mut told_until = since;
        for (seq, incident, stored_at) in oldest {
            if stored_at >= since && !pressed {
                break;
            }
            swept.stills += self.remove_finding(seq)?;
            swept.findings += 1;
            incidents.push(incident);
            told_until = told_until.max(stored_at);
        }
        // Never for its size alone: a sink may have yet to tell it. What was
        // to be told of findings that are gone goes with them.
        let cleared = self.clear_outbox(told_until)?;
        self.forget_dead(since)?;
        swept.more |= swept.findings == STEP as u64 || cleared == super::outbox::STEP as u64;
        self.remove_incidents(incidents, swept)
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
            // What is in memory may say that it has a still.
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

/// Bytes in use by database and evidence.
pub(super) fn size(db: &Connection) -> rusqlite::Result<(u64, u64)> {
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let used = (pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?;
    let stills = "SELECT coalesce(sum(bytes), 0) FROM evidence";
    let stills: i64 = db.query_row(stills, [], |row| row.get(0))?;
    Ok((used.max(0) as u64, stills.max(0) as u64))
}
