//! Congestion controller of a viewer: its sending rate and its rendition.
//!
//! Simplified GCC (draft-ietf-rmcat-gcc-02). Browsers report each packet's
//! arrival: the arrival rate during a standing queue is the link's capacity.
//! Other clients report lost packets by NACK, loss and round trips by receiver
//! report. Each cut begins an epoch, and only packets sent in it measure the
//! new pace. Pure: time is a parameter.

mod arrivals;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc::interceptor::Acknowledgement;

use self::arrivals::{Arrivals, Measured};

/// Initial pace as a factor of the stream's rate, like libwebrtc's pacing
/// without an estimate.
const START: f64 = 2.5;
/// Minimum pace in bytes a second: a static screen's rate does not measure the
/// link.
const LEAST: f64 = 40_000.0;
/// Minimum initial pace in bytes a second, for an unknown rate.
const LEAST_START: f64 = 150_000.0;
/// Maximum pace in bytes a second; 100 Mb/s carries a 400 kB keyframe in 32 ms.
const MOST: f64 = 12_500_000.0;
/// Maximum share of retransmissions in what is sent to a viewer.
const RETRANSMITTED: f64 = 0.25;
/// Loss above this share alone is congestion, and below the other harmless
/// (GCC, section 6).
const LOSS_HIGH: f64 = 0.10;
const LOSS_LOW: f64 = 0.02;
/// Queueing delay at which loss means congestion, and at which no loss is
/// needed.
const QUEUE: Duration = Duration::from_millis(80);
const QUEUE_LONG: Duration = Duration::from_millis(250);
/// Minimum number of packets for a loss share.
const LEAST_SAMPLE: u64 = 20;
const CUT: f64 = 0.7;
/// Factor of the stream's rate that sustains it: its rate plus room to catch
/// up.
const HOLDS: f64 = 1.05;
/// Window over which losses and packets are counted.
const WINDOW: Duration = Duration::from_secs(1);
/// Lag after which a viewer with a pace below the stream's changes the
/// rendition.
const LAG: Duration = Duration::from_millis(1500);
/// Time without congestion after which a viewer of the small rendition is
/// probed; doubled after each failure.
const PROBE_AFTER: Duration = Duration::from_secs(5);
const PROBE_AFTER_MOST: Duration = Duration::from_secs(80);
/// Duration of a probe at the stream's pace, longer than a modest link's queue
/// takes to fill, and the time for its report.
const PROBE: Duration = Duration::from_millis(1000);
const VERDICT: Duration = Duration::from_millis(1200);
/// Time in the full rendition after which the change counts as a success.
const SETTLED: Duration = Duration::from_secs(20);
/// Shares of the measured link capacity: less while a queue drains, and
/// slightly below it afterwards.
const DRAIN: f64 = 0.85;
const FILL: f64 = 0.95;
/// Share of the stream's rate below which a link is too narrow at once; between
/// this and the full rate, if measured twice within the interval.
const TOO_NARROW: f64 = 0.75;
const NARROW_AGAIN: Duration = Duration::from_secs(5);
/// Pace over the stream's rate with arrival reports, for keyframes.
const AHEAD: f64 = 1.5;
/// Decrease of the queueing delay that shows that the queue drains.
const DRAINED: Duration = Duration::from_millis(20);
/// Maximum age of arrival reports in use; they come every 50 to 250 ms.
const MEASURED_LATELY: Duration = Duration::from_secs(2);
const ROUND_TRIP: Duration = Duration::from_millis(100);

/// Rendition of a viewer's pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tier {
    Full,
    Small,
}

/// Block of a receiver report (RFC 3550, section 6.4.2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ReportBlock {
    /// Fraction lost since the last report, 0 to 1.
    pub(super) lost: f64,
    pub(super) round_trip: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No loss yet: each clean report doubles the pace.
    Unknown,
    Steady,
    /// Sends at the stream's rate until then.
    Probing {
        until: Instant,
    },
    /// Waits for the reports on the probe.
    Evaluating {
        until: Instant,
    },
}

/// Bytes and packets in a tenth of a second.
#[derive(Debug, Clone, Copy)]
struct Bin {
    at: Instant,
    sent: u64,
    lost: u64,
}

#[derive(Debug)]
pub(super) struct Link {
    tier: Tier,
    phase: Phase,
    /// Pace in bytes a second.
    pace: f64,
    /// Last pace that caused congestion; approached slowly.
    ceiling: f64,
    round_trip: Duration,
    shortest: Option<Duration>,
    queue: Duration,
    /// Maximum queueing delay in this epoch.
    peak: Duration,
    bins: VecDeque<Bin>,
    /// First packet index of this epoch, and its start.
    epoch: u64,
    since: Instant,
    /// The newest packet known to be lost.
    newest_lost: Option<u64>,
    grown: Instant,
    reported: Option<Instant>,
    arrivals: Arrivals,
    /// Time of the last arrival report.
    measured: Option<Instant>,
    /// Measured capacity of the full link in bytes a second.
    capacity: Option<f64>,
    /// Time the capacity was last below the stream's rate.
    narrow: Option<Instant>,
    /// Queueing delay and arrival rate at the last cut.
    at_cut: Option<(Duration, Option<f64>)>,
    /// Time of the last change of rendition, and how long to stay in the small
    /// one.
    tier_since: Instant,
    clean_since: Instant,
    probe_after: Duration,
}

impl Link {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            tier: Tier::Full,
            phase: Phase::Unknown,
            pace: LEAST_START,
            ceiling: MOST,
            round_trip: ROUND_TRIP,
            shortest: None,
            queue: Duration::ZERO,
            peak: Duration::ZERO,
            bins: VecDeque::new(),
            epoch: 0,
            since: now,
            newest_lost: None,
            grown: now,
            reported: None,
            arrivals: Arrivals::default(),
            measured: None,
            capacity: None,
            narrow: None,
            at_cut: None,
            tier_since: now,
            clean_since: now,
            probe_after: PROBE_AFTER,
        }
    }

    /// Starts with a stream of that many bytes a second.
    pub(super) fn start(&mut self, rate: f64) {
        self.pace = (START * rate).clamp(LEAST_START, MOST);
    }

    pub(super) fn tier(&self) -> Tier {
        self.tier
    }

    /// Pace in bytes a second. `rate` is the full stream's.
    pub(super) fn pace(&self, rate: f64) -> f64 {
        match self.phase {
            // No faster, as a pace that has grown since the last congestion
            // would fill a link that holds the stream.
            Phase::Probing { .. } => HOLDS * rate,
            _ => self.pace,
        }
    }

    /// Maximum rate of retransmissions in bytes a second.
    pub(super) fn repairs(&self, rate: f64) -> f64 {
        RETRANSMITTED * rate.max(LEAST).min(self.pace)
    }

    pub(super) fn is_probing(&self) -> bool {
        matches!(self.phase, Phase::Probing { .. })
    }

    /// True if the link has reached its limits: reports are needed more often.
    pub(super) fn is_strained(&self) -> bool {
        self.phase != Phase::Unknown
    }

    pub(super) fn round_trip(&self) -> Duration {
        self.round_trip
    }

    pub(super) fn sent(&mut self, packets: u64, now: Instant) {
        self.bin(now).sent += packets;
    }

    /// Records a packet sent for the first time.
    pub(super) fn departed(&mut self, index: u64, bytes: usize, now: Instant) {
        self.arrivals.departed(index, bytes, now);
    }

    /// Processes an arrival report; `next` is the index of the next packet to
    /// be sent.
    pub(super) fn arrived(
        &mut self,
        acknowledgements: &[Acknowledgement],
        rate: f64,
        next: u64,
        now: Instant,
    ) {
        let Some(measured) = self.arrivals.take(acknowledgements, now) else {
            return;
        };
        self.measured = Some(now);
        self.queue = measured.queue;
        self.peak = self.peak.max(self.queue);
        self.bin(now).lost += measured.lost;
        let loss = self.loss(now);
        let draining = self
            .at_cut
            .is_some_and(|(queue, _)| self.queue + DRAINED < queue);
        // A long delay alone does not mean congestion if the link was not full.
        let full = self.queue > QUEUE && measured.carried.is_some();
        let queued = full && !draining;
        let congested = queued || loss > LOSS_HIGH || loss > LOSS_LOW && self.queue > QUEUE / 2;
        if congested && measured.newest >= self.epoch {
            self.overused(measured, rate, next, now);
        } else if self.queue < QUEUE / 2 && loss <= LOSS_LOW {
            self.at_cut = None;
            self.grow_measured(measured, rate, now);
        }
    }

    /// More was sent than the link carries, and its capacity is known.
    fn overused(&mut self, measured: Measured, rate: f64, next: u64, now: Instant) {
        if let (Some((queue, Some(before))), Some(delivered)) = (self.at_cut, measured.delivered)
            && self.queue.abs_diff(queue) < DRAINED
            && delivered < FILL * before
        {
            // Less was sent and the queueing delay did not fall: the path has
            // become longer.
            self.arrivals.forget_shortest();
            self.at_cut = None;
            self.begin_epoch(next, now);
            return;
        }
        self.clean_since = now;
        if matches!(self.phase, Phase::Probing { .. } | Phase::Evaluating { .. }) {
            // Padding is missing from the measured arrivals.
            self.phase = Phase::Steady;
            self.delay_probe(now);
            self.begin_epoch(next, now);
            return;
        }
        self.phase = Phase::Steady;
        self.at_cut = Some((self.queue, measured.delivered));
        self.pace = match measured.carried {
            Some(carried) => DRAIN * carried,
            None => CUT * self.pace,
        };
        self.pace = self.pace.max(LEAST);
        if let Some(carried) = measured.carried {
            self.capacity = Some(carried);
            let again = self
                .narrow
                .is_some_and(|at| now.saturating_duration_since(at) < NARROW_AGAIN);
            let narrow = carried < rate;
            if narrow {
                self.narrow = Some(now);
            }
            let too_narrow = carried < TOO_NARROW * rate || narrow && again;
            if self.tier == Tier::Full && too_narrow {
                self.use_small(now);
            }
        }
        self.begin_epoch(next, now);
    }

    fn grow_measured(&mut self, measured: Measured, rate: f64, now: Instant) {
        let since = now.saturating_duration_since(self.grown).as_secs_f64();
        self.grown = now;
        if self.phase == Phase::Unknown {
            self.pace = (self.pace * (1.0 + since.min(0.5))).min(MOST);
            return;
        }
        let filled = self.capacity.map_or(0.0, |capacity| FILL * capacity);
        let grown = (self.pace * (1.0 + 0.08 * since.min(1.0))).max(filled);
        let most = (AHEAD * rate).max(LEAST_START).max(self.pace);
        self.pace = grown.min(most).min(MOST);
        if let (Some(capacity), Some(delivered)) = (&mut self.capacity, measured.delivered) {
            *capacity = capacity.max(delivered);
        }
    }

    fn is_measured(&self, now: Instant) -> bool {
        self.measured
            .is_some_and(|at| now.saturating_duration_since(at) < MEASURED_LATELY)
    }

    /// Processes a lost packet; `next` is the index of the next to be sent.
    pub(super) fn lost(&mut self, index: u64, now: Instant) {
        self.arrivals.repeated(index);
        // A repeated NACK is no new loss, and earlier epochs are settled.
        if self.is_measured(now)
            || index < self.epoch
            || self.newest_lost.is_some_and(|newest| index <= newest)
        {
            return;
        }
        self.newest_lost = Some(index);
        self.bin(now).lost += 1;
    }

    /// Processes a receiver report.
    pub(super) fn report(&mut self, report: ReportBlock, rate: f64, next: u64, now: Instant) {
        let last_queue = self.queue;
        if let Some(sample) = report.round_trip {
            let shortest = self.shortest.map_or(sample, |known| known.min(sample));
            self.shortest = Some(shortest);
            self.round_trip = (self.round_trip * 3 + sample) / 4;
            if !self.is_measured(now) {
                self.queue = sample.saturating_sub(shortest);
                self.peak = self.peak.max(self.queue);
            }
        }
        // It covers the whole time since the last report.
        let of_epoch = self.reported.is_some_and(|last| last > self.since);
        self.reported = Some(now);
        if self.is_measured(now) {
            return;
        }
        let growing = self.queue + Duration::from_millis(20) >= last_queue;
        let reported = if of_epoch { report.lost } else { 0.0 };
        let loss = self.loss(now).max(reported);
        let too_long = self.queue > QUEUE_LONG && growing && of_epoch;
        if too_long || self.is_congested(loss) && of_epoch {
            self.congested(rate, next, now);
        } else if loss <= LOSS_LOW && self.queue < QUEUE {
            self.grow(now);
        }
    }

    /// Applies timeouts. `behind` is the time since when the viewer has
    /// continuously had packets to send.
    pub(super) fn tick(&mut self, rate: f64, next: u64, behind: Option<Instant>, now: Instant) {
        let measured = self.is_measured(now);
        if !measured && self.is_congested(self.loss(now)) {
            self.congested(rate, next, now);
        }
        let lag = behind.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let too_slow = match self.capacity.filter(|_| measured) {
            Some(capacity) => capacity < rate,
            None => self.phase != Phase::Unknown && self.pace < HOLDS * rate,
        };
        if self.tier == Tier::Full && lag > LAG && too_slow {
            self.use_small(now);
        }
        let clean = now.saturating_duration_since(self.clean_since);
        match self.phase {
            Phase::Probing { until } if now >= until => {
                let until = now + VERDICT;
                self.phase = Phase::Evaluating { until };
            }
            Phase::Evaluating { until } if now >= until => self.evaluate_probe(rate, next, now),
            Phase::Steady if self.tier == Tier::Small && clean >= self.probe_after => {
                let until = now + PROBE;
                self.begin_epoch(next, now);
                self.phase = Phase::Probing { until };
            }
            Phase::Steady
                if self.tier == Tier::Full
                    && now.saturating_duration_since(self.tier_since) > SETTLED =>
            {
                self.probe_after = PROBE_AFTER;
            }
            _ => {}
        }
    }

    fn is_congested(&self, loss: f64) -> bool {
        loss > LOSS_HIGH || loss > LOSS_LOW && self.queue > QUEUE
    }

    fn congested(&mut self, rate: f64, next: u64, now: Instant) {
        let before = self.pace;
        self.clean_since = now;
        match (self.phase, self.tier) {
            (Phase::Probing { .. } | Phase::Evaluating { .. }, _) => {
                self.phase = Phase::Steady;
                self.delay_probe(now);
            }
            (_, Tier::Full) if before > HOLDS * rate => {
                self.pace = (CUT * before).max(1.05 * rate);
                self.ceiling = 0.95 * before;
                self.phase = Phase::Steady;
            }
            (_, Tier::Full) => {
                self.pace = CUT * before;
                self.phase = Phase::Steady;
                self.use_small(now);
            }
            (_, Tier::Small) => self.pace *= CUT,
        }
        self.pace = self.pace.max(LEAST);
        self.begin_epoch(next, now);
    }

    fn use_small(&mut self, now: Instant) {
        self.tier = Tier::Small;
        self.narrow = None;
        self.tier_since = now;
        self.clean_since = now;
    }

    fn delay_probe(&mut self, now: Instant) {
        self.clean_since = now;
        self.probe_after = (self.probe_after * 2).min(PROBE_AFTER_MOST);
    }

    /// Result of the probe; without a report on its second half it failed.
    fn evaluate_probe(&mut self, rate: f64, next: u64, now: Instant) {
        self.phase = Phase::Steady;
        let newest = self.measured.max(self.reported);
        let has_report = newest.is_some_and(|at| at > self.since + PROBE / 2);
        match has_report && self.peak < QUEUE {
            true => self.use_full(rate, next, now),
            false => self.delay_probe(now),
        }
    }

    fn use_full(&mut self, rate: f64, next: u64, now: Instant) {
        self.tier = Tier::Full;
        self.narrow = None;
        self.tier_since = now;
        self.pace = self.pace.max(HOLDS * rate);
        self.ceiling = self.ceiling.max(self.pace);
        // Another congestion means that the probe was wrong.
        self.probe_after = (self.probe_after * 2).min(PROBE_AFTER_MOST);
        self.begin_epoch(next, now);
    }

    fn grow(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.grown).as_secs_f64();
        self.grown = now;
        let factor = match self.phase {
            Phase::Unknown => 2.0,
            _ if self.pace < self.ceiling => 1.0 + 0.08 * since.min(1.0),
            _ => 1.0 + 0.01 * since.min(1.0),
        };
        self.pace = (self.pace * factor).min(MOST);
    }

    fn begin_epoch(&mut self, next: u64, now: Instant) {
        self.epoch = next;
        self.since = now;
        self.peak = Duration::ZERO;
        self.bins.clear();
    }

    /// Share of packets lost in the last second of this epoch.
    fn loss(&self, now: Instant) -> f64 {
        let recent = self
            .bins
            .iter()
            .filter(|bin| now.saturating_duration_since(bin.at) <= WINDOW);
        let (sent, lost) = recent.fold((0, 0), |(sent, lost), bin| {
            (sent + bin.sent, lost + bin.lost)
        });
        if sent < LEAST_SAMPLE {
            return 0.0;
        }
        lost as f64 / sent as f64
    }

    fn bin(&mut self, now: Instant) -> &mut Bin {
        let fresh = self
            .bins
            .back()
            .is_none_or(|bin| now.saturating_duration_since(bin.at) >= WINDOW / 10);
        if fresh {
            while self.bins.len() > 12 {
                self.bins.pop_front();
            }
            self.bins.push_back(Bin {
                at: now,
                sent: 0,
                lost: 0,
            });
        }
        let last = self.bins.len() - 1;
        &mut self.bins[last]
    }
}

#[cfg(test)]
mod tests;
