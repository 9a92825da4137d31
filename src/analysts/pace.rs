//! Rate limit of an analyst's requests to hosted models, over all its streams.

use std::time::Duration;

use tokio::time::Instant;

/// Slots of an analyst: each serves one stream at a time, and is free again once
/// the interval since the start of its last request has passed. So the number of
/// requests within an interval never exceeds that of the slots, however many
/// streams there are.
#[derive(Debug)]
pub(super) struct LookPace {
    /// Start of the last request of each slot not in use; `None` before the
    /// first.
    resting: Vec<Option<Instant>>,
}

/// Slot in use, to be returned with [`LookPace::give_back`].
#[derive(Debug)]
#[must_use = "a slot that is not returned serves nobody again"]
pub(super) struct LookSlot {
    /// Start of the previous request.
    before: Option<Instant>,
}

impl LookPace {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            resting: vec![None; slots.max(1)],
        }
    }

    /// Takes a free slot; the error is the time at which the next one is free,
    /// `None` while all are in use.
    pub(super) fn take(
        &mut self,
        now: Instant,
        interval: Duration,
    ) -> Result<LookSlot, Option<Instant>> {
        // `None` sorts first: an unused slot is preferred.
        let longest = (0..self.resting.len()).min_by_key(|at| self.resting[*at]);
        let Some(at) = longest else {
            return Err(None);
        };
        match self.resting[at].map(|started| started + interval) {
            Some(rested) if rested > now => Err(Some(rested)),
            _ => Ok(LookSlot {
                before: self.resting.swap_remove(at),
            }),
        }
    }

    /// Returns a slot, with the start of its request; without one nothing was
    /// asked, and the slot is as free as before.
    pub(super) fn give_back(&mut self, LookSlot { before }: LookSlot, started: Option<Instant>) {
        self.resting.push(started.or(before));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn no_more_requests_begin_in_an_interval_than_there_are_slots() {
        for slots in 1..4 {
            let mut pace = LookPace::new(slots);
            let begin = Instant::now();
            let mut started: Vec<Instant> = Vec::new();
            // A request of one second whenever a slot is free, for ten minutes.
            for second in 0..600 {
                let now = begin + Duration::from_secs(second);
                while let Ok(slot) = pace.take(now, INTERVAL) {
                    started.push(now);
                    pace.give_back(slot, Some(now));
                }
            }
            assert_eq!(started.len(), slots * 60);
            for at in &started {
                let within = started
                    .iter()
                    .filter(|other| (*at..*at + INTERVAL).contains(*other));
                assert_eq!(within.count() % slots, 0, "{slots} slots");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_in_use_serves_nobody_else_and_an_unused_one_rests_no_longer() {
        let mut pace = LookPace::new(1);
        let now = Instant::now();
        let slot = pace.take(now, INTERVAL).expect("never used");
        assert_eq!(pace.take(now + 2 * INTERVAL, INTERVAL).err(), Some(None));
        pace.give_back(slot, None);
        let slot = pace.take(now, INTERVAL).expect("nothing was asked");
        pace.give_back(slot, Some(now));
        let rested = pace.take(now + INTERVAL / 2, INTERVAL).err();
        assert_eq!(rested, Some(Some(now + INTERVAL)));
        let twice = pace.take(now + INTERVAL, 2 * INTERVAL).err();
        assert_eq!(twice, Some(Some(now + 2 * INTERVAL)), "a longer interval");
        assert!(pace.take(now + INTERVAL, INTERVAL).is_ok());
    }
}
