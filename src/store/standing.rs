//! The record from outside: how it stands, read without opening it for
//! writing, beside a server that has it open or without one.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use rusqlite::OptionalExtension as _;

use super::open::DATABASE;
use super::{Disk, Readers, StoreError, row};

/// A newest stamp so much later than now was made by another clock.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// State of the record.
#[derive(Debug, Clone)]
pub struct Standing {
    pub disk: Disk,
    /// When the newest finding was stored, by the clock of that time.
    pub newest: Option<Timestamp>,
    /// By the names of their cursors.
    pub backlogs: Vec<Backlog>,
}

/// Events a reader of the outbox has not passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    pub cursor: String,
    pub waiting: u64,
    /// When the first of those happened.
    pub since: Option<Timestamp>,
}

impl Standing {
    /// Why this machine's clock and the record's stamps can't both be right.
    pub fn clock_fault(&self, now: Timestamp) -> Option<String> {
        let newest = self.newest.filter(|at| at.duration_since(now) > AHEAD)?;
        Some(format!(
            "the newest finding is stamped {newest:.0} and this machine's clock says {now:.0}: \
             one of them is wrong, and nothing is removed for its age; see whether the clock is \
             synchronised (NTP)"
        ))
    }
}

impl Readers {
    /// Those of a data folder that another process may have open; `None` when
    /// no record is in it yet.
    pub fn beside(data: &Path, max_bytes: u64) -> Option<Self> {
        let file = data.join(DATABASE);
        file.exists()
            .then(|| Self::new(file, data.join("evidence"), max_bytes))
    }

    pub fn standing(&self) -> Result<Standing, StoreError> {
        let disk = self.disk()?;
        self.with(|db| {
            let newest = "SELECT stored_at FROM findings ORDER BY seq DESC LIMIT 1";
            let newest: Option<i64> = db.query_row(newest, [], |row| row.get(0)).optional()?;
            let mut backlogs = db.prepare(
                "SELECT name, (SELECT count(*) FROM outbox WHERE outbox.seq > cursors.seq),
                 (SELECT min(at) FROM outbox WHERE outbox.seq > cursors.seq)
                 FROM cursors ORDER BY name",
            )?;
            let backlogs = backlogs.query_map([], |row| {
                let since: Option<i64> = row.get(2)?;
                Ok(Backlog {
                    cursor: row.get(0)?,
                    waiting: row.get::<_, i64>(1)? as u64,
                    since: since.map(row::timestamp),
                })
            })?;
            Ok(Standing {
                disk,
                newest: newest.map(row::timestamp),
                backlogs: backlogs.collect::<Result<_, _>>()?,
            })
        })
    }

    /// Number of events a sink gave up.
    pub fn dead_letters_of(&self, sink: &str) -> Result<u64, StoreError> {
        self.with(|db| {
            let count = "SELECT count(*) FROM dead_letters WHERE sink = ?1";
            db.query_row(count, [sink], |row| Ok(row.get::<_, i64>(0)? as u64))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_ahead_of_the_clock_is_a_fault_and_one_behind_is_none() {
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().expect("a time");
        let standing = |newest: Option<&str>| Standing {
            disk: Disk {
                database_bytes: 0,
                evidence_bytes: 0,
                limit_bytes: 0,
                free_bytes: 0,
                total_bytes: 0,
            },
            newest: newest.map(|at| at.parse().expect("a time")),
            backlogs: Vec::new(),
        };
        for (newest, wrong) in [
            (None, false),
            (Some("2026-08-01T00:00:00Z"), false),
            (Some("2026-11-28T12:30:00Z"), false),
            (Some("2026-11-28T13:00:01Z"), true),
            (Some("2027-03-08T12:00:00Z"), true),
        ] {
            let fault = standing(newest).clock_fault(now);
            assert_eq!(fault.is_some(), wrong, "{newest:?}: {fault:?}");
        }
        let fault = standing(Some("2027-03-08T12:00:00Z")).clock_fault(now);
        let fault = fault.expect("told");
        assert!(
            fault.contains("2027-03-08") && fault.contains("2026-11-28T12:00:00Z"),
            "{fault}"
        );
    }
}
