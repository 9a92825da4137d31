//! Age of records, where only a clock gives it.
//!
//! A clock may be wrong: by years before the network is up, by hours after a
//! virtual machine slept. So nothing is too old by a clock that has not gone
//! evenly for a while, and longer where it disagrees with the record.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _};

use crate::store::sql;

/// The wall's clock, and one that is never set.
pub(super) type StoreClock = Box<dyn Fn() -> (Timestamp, Duration) + Send>;

/// So far two clocks may drift apart and agree still.
const DRIFT: SignedDuration = SignedDuration::from_secs(60);
/// So long they have to agree before anything is removed for its age.
pub(super) const SETTLED: Duration = Duration::from_secs(10 * 60);
/// And so long where the record is much older, or says that it is later.
pub(super) const DOUBTED: Duration = Duration::from_secs(24 * 60 * 60);
/// The record may be that much older without a doubt.
const AWAY: SignedDuration = SignedDuration::from_hours(24);
/// Lead over now beyond which a stamp is that of a wrong clock.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// When the newest finding was stored, by the clock of that time.
pub(super) fn newest_stamp(db: &Connection) -> rusqlite::Result<Option<i64>> {
    let newest = "SELECT stored_at FROM findings ORDER BY seq DESC LIMIT 1";
    db.query_row(newest, [], |row| row.get(0)).optional()
}

/// Why this machine's clock and the record's newest stamp can't both be right.
pub fn clock_fault(newest: Timestamp, now: Timestamp) -> Option<String> {
    (newest.duration_since(now) > AHEAD).then(|| {
        format!(
            "clock mismatch: latest finding {newest:.0}, system clock {now:.0}; age-based retention \
             is paused; check NTP synchronisation"
        )
    })
}

pub(super) fn system_clock() -> StoreClock {
    let start = Instant::now();
    Box::new(move || (Timestamp::now(), start.elapsed()))
}

/// Watches the clock.
pub(super) struct Trust {
    clock: StoreClock,
    /// When both agreed first.
    since: (Timestamp, Duration),
    /// The newest stamp of the record at that time.
    record: i64,
    /// The newest stamp given or found.
    newest: i64,
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Trust");
        debug.field("since", &self.since).finish_non_exhaustive()
    }
}

/// Age limit: nothing is too old while the clock is not trusted.
#[derive(Debug, Clone, Copy)]
pub(super) struct RetentionCutoff {
    pub(super) now: Timestamp,
    /// Nanoseconds since the Unix epoch; a stamp before it is too old.
    pub(super) since: i64,
    settled: bool,
}

impl Trust {
    pub(super) fn new(clock: StoreClock, newest: i64) -> Self {
        let since = clock();
        Self {
            clock,
            since,
            record: newest,
            newest,
        }
    }

    /// A stamp for what is written now: never before one that was given, so
    /// that a clock set back makes nothing old.
    pub(super) fn stamp(&mut self) -> i64 {
        let (now, agreed) = self.look();
        if agreed >= self.needed(now) {
            self.believe(now);
        }
        self.newest = self.newest.max(sql::nanos(now));
        self.newest
    }

    /// Age limit as of now, for records kept that long.
    pub(super) fn age(&mut self, keep: Duration) -> RetentionCutoff {
        let (now, agreed) = self.look();
        let settled = agreed >= self.needed(now).min(keep);
        if settled {
            self.believe(now);
        }
        let keep = i64::try_from(keep.as_nanos()).unwrap_or(i64::MAX);
        let since = if settled {
            sql::nanos(now).saturating_sub(keep)
        } else {
            i64::MIN
        };
        RetentionCutoff {
            now,
            since,
            settled,
        }
    }

    /// For how long a clock has to go evenly that says it is now.
    fn needed(&self, now: Timestamp) -> Duration {
        let away = now.duration_since(sql::timestamp(self.record));
        if self.record > 0 && (away > AWAY || away < -AHEAD) {
            DOUBTED
        } else {
            SETTLED
        }
    }

    /// Takes a clock's word from now on, whatever was stamped before.
    fn believe(&mut self, now: Timestamp) {
        let ahead = now.checked_add(AHEAD).unwrap_or(now);
        self.newest = self.newest.min(sql::nanos(ahead));
    }

    /// Now, and for how long the clock has gone evenly.
    fn look(&mut self) -> (Timestamp, Duration) {
        let (now, elapsed) = (self.clock)();
        let length = elapsed.saturating_sub(self.since.1);
        let walked = now.duration_since(self.since.0);
        let gone = SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
        if (walked - gone).abs() > DRIFT {
            tracing::warn!(
                "system clock changed by {:#}: age-based retention paused",
                (walked - gone)
                    .round(jiff::Unit::Second)
                    .unwrap_or(walked - gone)
            );
            self.since = (now, elapsed);
            self.record = self.newest;
            return (now, Duration::ZERO);
        }
        (now, length)
    }
}

impl RetentionCutoff {
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// The same clock, and another time that what is too old was before.
    pub(super) fn with_since(self, since: i64) -> Self {
        Self { since, ..self }
    }

    /// A stamp later than this was made by a wrong clock.
    pub(super) fn ahead(&self) -> i64 {
        sql::nanos(self.now.checked_add(AHEAD).unwrap_or(self.now))
    }

    /// Flags of stamps, in the order in which they were given: too old or not. A
    /// stamp in the future is as old as the first believable one behind it,
    /// which is asked for where these end in the future.
    pub(super) fn old(
        &self,
        stamps: &[i64],
        next: impl FnOnce(i64) -> rusqlite::Result<Option<i64>>,
    ) -> rusqlite::Result<Vec<bool>> {
        let ahead = self.ahead();
        let mut behind = match stamps.last() {
            Some(last) if *last > ahead && self.settled => next(ahead)?.unwrap_or(i64::MAX),
            _ => i64::MAX,
        };
        let mut old: Vec<bool> = stamps
            .iter()
            .rev()
            .map(|stamp| {
                if *stamp <= ahead {
                    behind = *stamp;
                }
                behind < self.since
            })
            .collect();
        old.reverse();
        Ok(old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_ahead_of_the_clock_is_a_fault_and_one_behind_is_none() {
        let at = |time: &str| time.parse::<Timestamp>().expect("a time");
        let now = at("2026-11-28T12:00:00Z");
        for (newest, wrong) in [
            ("2026-08-01T00:00:00Z", false),
            ("2026-11-28T12:30:00Z", false),
            ("2026-11-28T13:00:01Z", true),
            ("2027-03-08T12:00:00Z", true),
        ] {
            let fault = clock_fault(at(newest), now);
            assert_eq!(fault.is_some(), wrong, "{newest}: {fault:?}");
        }
        let fault = clock_fault(at("2027-03-08T12:00:00Z"), now).expect("told");
        assert!(
            fault.contains("2027-03-08") && fault.contains("2026-11-28T12:00:00Z"),
            "{fault}"
        );
    }
}
