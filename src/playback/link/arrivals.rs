//! Delays and arrival rate from transport-wide feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01), in which the receiver
//! reports each packet's arrival by its own clock. Pure: time is a parameter.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc::interceptor::Acknowledgement;

/// Maximum number of packets tracked: a second of 20 Mb/s.
const REMEMBERED: usize = 2048;
/// Window over which arrivals are counted, and the minimum span and number of
/// packets for a rate.
const WINDOW: Duration = Duration::from_millis(500);
const LEAST_SPAN: Duration = Duration::from_millis(150);
const LEAST_PACKETS: usize = 10;
/// Period of the minimum delay, which, over this and the last one, is without a
/// queue.
const MINIMUM_PERIOD: Duration = Duration::from_secs(10);
/// Time and number of packets whose minimum delay counts as the queueing delay:
/// a receiver that was busy reads all waiting packets at once, of which the
/// last was not late.
const MINIMUM_OVER: Duration = Duration::from_millis(150);
const MINIMUM_OF: usize = 4;
/// Queueing delay in microseconds at which a link counts as full.
const WAITED: i64 = 20_000;

#[derive(Debug, Clone, Copy)]
struct Departure {
    at: Instant,
    bytes: usize,
    /// Reported as missing or arrived; later reports concern a retransmission.
    done: bool,
}

#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// Index of the first departure.
    first: u64,
    departures: VecDeque<Departure>,
    /// Origin of both clocks, from which departures and arrivals are counted.
    origin: Option<(Instant, Duration)>,
    /// Minimum delay of this period and of the last one, in microseconds and by
    /// two clocks.
    minimum: [Option<i64>; 2],
    since: Option<Instant>,
    recent: VecDeque<Arrival>,
}

#[derive(Debug, Clone, Copy)]
struct Arrival {
    /// Time by the receiver's clock.
    at: Duration,
    bytes: usize,
    delay: i64,
}

/// Measurements of one arrival report.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measured {
    /// Queueing delay: the delay beyond the minimum.
    pub(super) queue: Duration,
    /// Arrival rate in bytes a second, given enough arrivals.
    pub(super) delivered: Option<f64>,
    /// Arrival rate in bytes a second since the link has been full, which is
    /// its capacity; `None` if it is not, or not for long enough.
    pub(super) carried: Option<f64>,
    pub(super) lost: u64,
    /// Newest packet reported.
    pub(super) newest: u64,
}

impl Arrivals {
    pub(super) fn departed(&mut self, index: u64, bytes: usize, now: Instant) {
        if index != self.first + self.departures.len() as u64 {
            self.departures.clear();
            self.first = index;
        }
        if self.departures.len() == REMEMBERED {
            self.departures.pop_front();
            self.first += 1;
        }
        self.departures.push_back(Departure {
            at: now,
            bytes,
            done: false,
        });
    }

    /// Excludes a retransmitted packet from the measurement.
    pub(super) fn repeated(&mut self, index: u64) {
        if let Some(departure) = self.departure(index) {
            departure.done = true;
        }
    }

    /// Processes a report; `None` if no packet arrived.
    pub(super) fn take(
        &mut self,
        acknowledgements: &[Acknowledgement],
        now: Instant,
    ) -> Option<Measured> {
        let (mut lost, mut newest) = (0, None);
        let mut delays = Vec::new();
        for one in acknowledgements {
            let Some(index) = self.index(one.sequence_number) else {
                continue;
            };
            let Some(departure) = self.departure(index).filter(|departure| !departure.done) else {
                continue;
            };
            departure.done = true;
            let Departure { at, bytes, .. } = *departure;
            newest = Some(index);
            match one.arrival {
                _ if !one.arrived => lost += 1,
                None => {}
                Some(at_receiver) => {
                    let delay = self.delay(at, at_receiver);
                    delays.push(delay);
                    self.recent.push_back(Arrival {
                        at: at_receiver,
                        bytes,
                        delay,
                    });
                }
            }
        }
        let minimum = *delays.iter().min()?;
        let minimum = self.minimum(minimum, now);
        self.forget_old();
        let waited = self.recent_minimum()?.saturating_sub(minimum);
        let full = |arrival: &&Arrival| arrival.delay.saturating_sub(minimum) > WAITED;
        let since = self.recent.iter().rev().take_while(full).count();
        Some(Measured {
            queue: Duration::from_micros(u64::try_from(waited).unwrap_or(0)),
            delivered: rate(self.recent.iter()),
            carried: rate(self.recent.iter().skip(self.recent.len() - since)),
            lost,
            newest: newest?,
        })
    }

    /// Resets the minimum, as another path may be longer.
    pub(super) fn forget_shortest(&mut self) {
        self.minimum = [None; 2];
    }

    fn departure(&mut self, index: u64) -> Option<&mut Departure> {
        let place = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.departures.get_mut(place)
    }

    /// Newest packet with that number, the low half of its index.
    fn index(&self, number: u16) -> Option<u64> {
        let newest = (self.first + self.departures.len() as u64).checked_sub(1)?;
        let back = (newest as u16).wrapping_sub(number);
        newest.checked_sub(u64::from(back))
    }

    /// Delay in µs relative to the first packet's; includes clock drift.
    fn delay(&mut self, at: Instant, arrival: Duration) -> i64 {
        let (departed, arrived) = *self.origin.get_or_insert((at, arrival));
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        let there = micros(arrival).saturating_sub(micros(arrived));
        there.saturating_sub(micros(at.saturating_duration_since(departed)))
    }

    fn minimum(&mut self, delay: i64, now: Instant) -> i64 {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) > MINIMUM_PERIOD {
            self.since = Some(now);
            self.minimum = [None, self.minimum[0]];
        }
        let current = self.minimum[0].map_or(delay, |known| known.min(delay));
        self.minimum[0] = Some(current);
        self.minimum[1].map_or(current, |before| before.min(current))
    }

    fn forget_old(&mut self) {
        let Some(newest) = self.recent.back().map(|arrival| arrival.at) else {
            return;
        };
        while let Some(oldest) = self.recent.front()
            && (newest.saturating_sub(oldest.at) > WINDOW || self.recent.len() > REMEMBERED)
        {
            self.recent.pop_front();
        }
    }

    fn recent_minimum(&self) -> Option<i64> {
        let newest = self.recent.back()?.at;
        let recent = |(nth, arrival): &(usize, &Arrival)| {
            *nth < MINIMUM_OF || newest.saturating_sub(arrival.at) <= MINIMUM_OVER
        };
        let recent = self.recent.iter().rev().enumerate().take_while(recent);
        recent.map(|(_, arrival)| arrival.delay).min()
    }
}

/// Arrival rate in bytes a second, given enough arrivals.
fn rate<'a>(arrivals: impl Iterator<Item = &'a Arrival> + Clone) -> Option<f64> {
    let (first, last) = (arrivals.clone().next()?, arrivals.clone().last()?);
    let span = last.at.saturating_sub(first.at);
    if span < LEAST_SPAN || arrivals.clone().count() < LEAST_PACKETS {
        return None;
    }
    // The bytes between two arrivals are the second's.
    let bytes: usize = arrivals.map(|arrival| arrival.bytes).sum();
    Some((bytes - first.bytes) as f64 / span.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use rtc::rtcp::transport_feedbacks::cc_feedback_report::Ecn;

    use super::*;

    /// Reports packets of 1,000 bytes sent every 5 ms that arrive after `delay`.
    fn sent(
        arrivals: &mut Arrivals,
        start: Instant,
        delays: &[Option<u64>],
    ) -> Vec<Acknowledgement> {
        let first = 70_000;
        let each = delays.iter().enumerate().map(|(nth, delay)| {
            let index = first + nth as u64;
            let at = Duration::from_millis(5 * nth as u64);
            arrivals.departed(index, 1000, start + at);
            match delay {
                Some(delay) => {
                    // Receiver clock with an offset.
                    let arrival = Duration::from_secs(1000) + at + Duration::from_millis(*delay);
                    Acknowledgement::received(index as u16, Some(arrival), Ecn::NotEct)
                }
                None => Acknowledgement::lost(index as u16),
            }
        });
        each.collect()
    }

    #[test]
    fn queue_rate_and_losses_are_measured() {
        let (mut arrivals, start) = (Arrivals::default(), Instant::now());
        // The queue grows by 2 ms a packet: 1,000 bytes arrive every 7 ms.
        let mut delays: Vec<_> = (0..60).map(|nth| Some(20 + 2 * nth)).collect();
        delays[30] = None;
        let report = sent(&mut arrivals, start, &delays);
        let measured = arrivals.take(&report, start).expect("arrivals");
        assert_eq!((measured.lost, measured.newest), (1, 70_059));
        // Minimum of the last 150 ms: 22 packets, each 7 ms apart.
        assert_eq!(measured.queue, Duration::from_millis(2 * 38));
        for rate in [measured.delivered, measured.carried] {
            let rate = rate.expect("a rate");
            assert!((rate / (1000.0 / 0.007) - 1.0).abs() < 0.05, "{rate}");
        }
        // Missing packets that arrive late were retransmitted.
        let late =
            Acknowledgement::received(70_030_u64 as u16, Some(Duration::MAX / 2), Ecn::NotEct);
        assert_eq!(arrivals.take(&[late], start), None);
    }

    #[test]
    fn a_receiver_that_was_busy_is_no_full_link() {
        let (mut arrivals, start) = (Arrivals::default(), Instant::now());
        // Three times nothing is read for 100 ms, then everything at once.
        let delays: Vec<_> = (0..120)
            .map(|nth: u64| match nth % 40 {
                late @ 10..30 => Some(20 + 100 - 5 * (late - 10)),
                _ => Some(20),
            })
            .collect();
        let report = sent(&mut arrivals, start, &delays);
        for part in report.chunks(7) {
            let measured = arrivals.take(part, start).expect("arrivals");
            assert!(measured.queue <= Duration::from_millis(15), "{measured:?}");
            assert_eq!(measured.carried, None);
        }
    }

    #[test]
    fn what_was_never_sent_is_ignored() {
        let mut arrivals = Arrivals::default();
        let now = Instant::now();
        let acknowledgements = [Acknowledgement::received(
            7,
            Some(Duration::ZERO),
            Ecn::NotEct,
        )];
        assert_eq!(arrivals.take(&acknowledgements, now), None);
        arrivals.departed(3, 10, now);
        assert_eq!(arrivals.take(&acknowledgements, now), None);
        arrivals.departed(9, 10, now);
        assert_eq!(arrivals.take(&acknowledgements, now), None);
    }
}
