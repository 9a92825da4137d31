//! Age of records by an untrusted clock.
//!
//! A clock may be wrong: by years before the network is up, by hours after a
//! virtual machine was suspended. So nothing is too old until the wall clock
//! has agreed with the monotonic one for a while, and longer where it disagrees
//! with the record.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _};

use crate::store::sql;

/// Wall clock, and a monotonic one.
pub(super) type StoreClock = Box<dyn Fn() -> (Timestamp, Duration) + Send>;

/// Maximum drift of two clocks that agree.
const DRIFT: SignedDuration = SignedDuration::from_secs(60);
/// Time the clocks have to agree before anything is removed for its age.
pub(super) const SETTLED: Duration = Duration::from_secs(10 * 60);
/// The same where the record is much older than now, or has later timestamps.
pub(super) const DOUBTED: Duration = Duration::from_secs(24 * 60 * 60);
/// Age of the newest record up to which the clock is trusted.
const AWAY: SignedDuration = SignedDuration::from_hours(24);
/// Lead over now beyond which a timestamp is that of a wrong clock.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// Time the newest finding was stored, by the clock of that time.
pub(super) fn newest_stamp(db: &Connection) -> rusqlite::Result<Option<i64>> {
    let newest = "SELECT stored_at FROM findings ORDER BY seq DESC LIMIT 1";
    db.query_row(newest, [], |row| row.get(0)).optional()
}

/// Error where this machine's clock and the record's newest timestamp
/// contradict.
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

/// Monitor of the clock.
pub(super) struct Trust {
    clock: StoreClock,
    /// Start of the agreement of both clocks.
    since: (Timestamp, Duration),
    /// Newest timestamp of the record at that time.
    record: i64,
    /// Newest timestamp given or found.
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

    /// Timestamp for a write now: never before an earlier one, so that a clock
    /// set back makes nothing old.
    pub(super) fn stamp(&mut self) -> i64 {
        let (now, agreed) = self.read_clock();
        if agreed >= self.needed(now) {
            self.believe(now);
        }
        self.newest = self.newest.max(sql::nanos(now));
        self.newest
    }

    /// Age limit as of now, for records kept that long.
    pub(super) fn age(&mut self, keep: Duration) -> RetentionCutoff {
        let (now, agreed) = self.read_clock();
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

    /// Time the clocks have to agree before `now` is trusted.
    fn needed(&self, now: Timestamp) -> Duration {
        let away = now.duration_since(sql::timestamp(self.record));
        if self.record > 0 && (away > AWAY || away < -AHEAD) {
            DOUBTED
        } else {
            SETTLED
        }
    }

    /// Trusts a clock from now on, whatever the earlier timestamps.
    fn believe(&mut self, now: Timestamp) {
        let ahead = now.checked_add(AHEAD).unwrap_or(now);
        self.newest = self.newest.min(sql::nanos(ahead));
    }

    /// Now, and for how long both clocks have agreed.
    fn read_clock(&mut self) -> (Timestamp, Duration) {
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

    /// Limit with the same clock and another age limit.
    pub(super) fn with_since(self, since: i64) -> Self {
        Self { since, ..self }
    }

    /// Latest credible timestamp; a later one was made by a wrong clock.
    pub(super) fn ahead(&self) -> i64 {
        sql::nanos(self.now.checked_add(AHEAD).unwrap_or(self.now))
    }

    /// Flags of timestamps, in the order they were given: too old or not. A
    /// timestamp in the future is as old as the first credible one after it,
    /// which `next` looks up where these end in the future.
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
    fn timestamp_ahead_of_the_clock_is_a_fault() {
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
        let fault = clock_fault(at("2027-03-08T12:00:00Z"), now).expect("a fault");
        assert!(
            fault.contains("2027-03-08") && fault.contains("2026-11-28T12:00:00Z"),
            "{fault}"
        );
    }
}
