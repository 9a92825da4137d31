//! State of a watch on one series: fires once after its time, clears with a
//! margin. Pure, with time passed in.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use watchtower_base::stream_name::StreamName;
use watchtower_domain::series::Quantity;
use watchtower_record::store::SeriesPoint;
use watchtower_screen::series::{PART, fold};

use super::settings::{WatchCondition, WatchConfig};
use super::tracker::BRIDGED;

/// Share of a limit that a value has to be inside of it to count as normal
/// again, so that one near the limit does not clear and fire by turns.
const MARGIN: f64 = 0.05;
/// Same of the deviation that `changes` allows.
const INSIDE: f64 = 0.8;
/// Interval of the values of a baseline.
const SAMPLED: SignedDuration = SignedDuration::from_secs(10);
/// Values of a baseline: three hours. A level that lasts half of it is usual.
pub(super) const BASELINE: usize = 1080;
/// Minimum values of a baseline before anything is unusual: five minutes.
const LEAST: usize = 30;
/// Factor between the median deviation and a standard deviation.
const NORMAL: f64 = 1.4826;
/// Deviation that is usual of any number, as a share of its median.
const USUAL: f64 = 0.02;

/// Step of a watch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum WatchChange {
    /// Outside since that time. `usual` is the median of the baseline.
    Fires {
        since: Timestamp,
        usual: Option<f64>,
    },
    /// Back to normal; it was outside from one time to the other.
    Clears {
        incident: Uuid,
        since: Timestamp,
        until: Timestamp,
    },
}

/// State of a watch on one series.
#[derive(Debug, Default)]
pub(super) struct WatchState {
    /// Time since which every value was outside.
    outside_since: Option<Timestamp>,
    /// Incident it was reported in, and the time since which it was outside.
    fired: Option<(Uuid, Timestamp)>,
    /// Time since which every value was normal again.
    normal_since: Option<Timestamp>,
    seen: Option<Timestamp>,
    baseline: SeriesBaseline,
}

/// Value in relation to a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WatchLevel {
    Outside,
    /// Not outside, and not yet normal.
    Margin,
    Normal,
}

impl WatchConfig {
    /// True if a series of that label is watched: the whole label or a part of
    /// it (`p99` of `checkout · p99`), or what begins so with a `*` at the end.
    pub(super) fn names(&self, label: &str) -> bool {
        let parts = label.split(PART).chain([label]);
        match self.label.strip_suffix('*') {
            Some(start) => {
                let start = fold(start);
                parts.map(fold).any(|part| part.starts_with(&start))
            }
            None => {
                let whole = fold(&self.label);
                parts.map(fold).any(|part| part == whole)
            }
        }
    }

    /// True if its limit can be compared with such a value.
    pub(super) fn compares(&self, quantity: Quantity) -> bool {
        match self.condition {
            WatchCondition::Above(limit) | WatchCondition::Below(limit) => {
                limit.unit.is_none_or(|unit| unit == quantity.unit)
            }
            WatchCondition::Changes(_) => true,
        }
    }
}

/// Identity of each watch, the same in every run: its stream, label, direction
/// and analyst. A new limit, time or severity leaves the watch the same; those
/// that are alike in all of these are numbered.
pub(super) fn watch_ids(watches: &[WatchConfig]) -> Vec<String> {
    let mut alike: HashMap<String, usize> = HashMap::new();
    let id = |watch: &WatchConfig| {
        let stream = watch.stream.as_ref().map_or("*", StreamName::as_str);
        let (label, rest) = match watch.label.strip_suffix('*') {
            Some(start) => (start, "*"),
            None => (watch.label.as_str(), ""),
        };
        let direction = match watch.condition {
            WatchCondition::Above(_) => "above",
            WatchCondition::Below(_) => "below",
            WatchCondition::Changes(_) => "changes",
        };
        let agent = watch.agent.to_lowercase();
        let id = format!("{stream}/{}{rest}/{direction}/{agent}", fold(label));
        let nth = alike.entry(id.clone()).or_default();
        *nth += 1;
        match *nth {
            1 => id,
            nth => format!("{id}/{nth}"),
        }
    };
    watches.iter().map(id).collect()
}

impl WatchState {
    /// State with the values that the series had before, oldest first.
    pub(super) fn with_history(values: impl IntoIterator<Item = f64>) -> Self {
        let mut state = Self::default();
        values
            .into_iter()
            .for_each(|value| state.baseline.push(value));
        state
    }

    /// Takes the value that is on the screen at a time. What it returns comes
    /// again until it is acknowledged, so that a failed write is repeated.
    pub(super) fn observe(
        &mut self,
        watch: &WatchConfig,
        value: f64,
        at: Timestamp,
    ) -> Option<WatchChange> {
        let usual = self.take(watch, value, at);
        self.baseline.add(value, at);
        let lasts = SignedDuration::try_from(watch.lasts).unwrap_or(SignedDuration::MAX);
        let lasted = |since: Timestamp| at.duration_since(since) >= lasts;
        match (self.fired, self.outside_since, self.normal_since) {
            (None, Some(since), _) if lasted(since) => Some(WatchChange::Fires { since, usual }),
            (Some((incident, since)), _, Some(until)) if lasted(until) => {
                Some(WatchChange::Clears {
                    incident,
                    since,
                    until,
                })
            }
            _ => None,
        }
    }

    /// Notes on which side of the limit a value is, and returns what is usual.
    fn take(&mut self, watch: &WatchConfig, value: f64, at: Timestamp) -> Option<f64> {
        let gap = self
            .seen
            .is_some_and(|seen| at.duration_since(seen) > BRIDGED);
        self.seen = Some(at);
        if gap {
            // What was there meanwhile is not known.
            self.outside_since = None;
            self.normal_since = None;
        }
        let (level, usual) = self.level(watch.condition, value);
        match level {
            WatchLevel::Outside => {
                self.outside_since.get_or_insert(at);
                self.normal_since = None;
            }
            WatchLevel::Margin => {
                self.outside_since = None;
                self.normal_since = None;
            }
            WatchLevel::Normal => {
                self.outside_since = None;
                self.normal_since.get_or_insert(at);
            }
        }
        usual
    }

    /// State after a restart, or of a watch that is new: with what the series
    /// was lately, as it is stored. What was reported stays reported.
    pub(super) fn resume(
        &mut self,
        watch: &WatchConfig,
        fired: Option<(Uuid, Timestamp)>,
        values: &[SeriesPoint],
    ) {
        self.fired = fired;
        for value in values {
            for at in [value.from, value.to] {
                self.take(watch, value.mean, at);
            }
        }
    }

    /// Begins its times anew, as its condition is another now.
    pub(super) fn reconsider(&mut self) {
        self.outside_since = None;
        self.normal_since = None;
    }

    /// Incident it was reported in, and the time since which it was outside,
    /// unless it has cleared.
    pub(super) fn fired(&self) -> Option<(Uuid, Timestamp)> {
        self.fired
    }

    /// Acknowledges that it was reported.
    pub(super) fn reported(&mut self, incident: Uuid, since: Timestamp) {
        self.fired = Some((incident, since));
    }

    /// Acknowledges that its end was told.
    pub(super) fn cleared(&mut self) {
        self.fired = None;
    }

    fn level(&self, condition: WatchCondition, value: f64) -> (WatchLevel, Option<f64>) {
        let beyond = |distance: f64, margin: f64| match distance {
            distance if distance > 0.0 => WatchLevel::Outside,
            distance if distance <= -margin => WatchLevel::Normal,
            _ => WatchLevel::Margin,
        };
        match condition {
            WatchCondition::Above(limit) => {
                let limit = limit.value;
                (beyond(value - limit, limit.abs() * MARGIN), None)
            }
            WatchCondition::Below(limit) => {
                let limit = limit.value;
                (beyond(limit - value, limit.abs() * MARGIN), None)
            }
            WatchCondition::Changes(times) => match self.baseline.usual() {
                Some((median, deviation)) => {
                    let allowed = times * deviation;
                    let distance = (value - median).abs() - allowed;
                    (beyond(distance, allowed * (1.0 - INSIDE)), Some(median))
                }
                None => (WatchLevel::Margin, None),
            },
        }
    }
}

/// Values that a series had, for what is usual.
#[derive(Debug, Default)]
struct SeriesBaseline {
    values: VecDeque<f64>,
    last: Option<Timestamp>,
}

impl SeriesBaseline {
    fn add(&mut self, value: f64, at: Timestamp) {
        if self
            .last
            .is_none_or(|last| at.duration_since(last) >= SAMPLED)
        {
            self.last = Some(at);
            self.push(value);
        }
    }

    fn push(&mut self, value: f64) {
        if self.values.len() >= BASELINE {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    /// Median and usual deviation; `None` with too few values. A single outlier
    /// changes neither.
    fn usual(&self) -> Option<(f64, f64)> {
        if self.values.len() < LEAST {
            return None;
        }
        let median = median(self.values.iter().copied());
        let spread = self.values.iter().map(|value| (value - median).abs());
        let deviation = NORMAL * self::median(spread);
        Some((median, deviation.max(USUAL * median.abs())))
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::series::settings::WatchLimit;
    use watchtower_domain::finding::Severity;
    use watchtower_domain::series::Unit;

    fn watch(condition: WatchCondition, lasts: u64) -> WatchConfig {
        WatchConfig {
            stream: None,
            label: "p99".to_owned(),
            condition,
            lasts: Duration::from_secs(lasts),
            agent: "DevOps".to_owned(),
            severity: Severity::High,
        }
    }

    fn limit(value: f64) -> WatchLimit {
        WatchLimit {
            value,
            unit: Some(Unit::Seconds),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    /// Second and kind of each change over values, one a second, acknowledged
    /// at once.
    fn changes(watch: &WatchConfig, state: &mut WatchState, values: &[(i64, f64)]) -> Vec<String> {
        let mut seen = Vec::new();
        for (second, value) in values {
            match state.observe(watch, *value, at(*second)) {
                None => {}
                Some(WatchChange::Fires { since, .. }) => {
                    state.reported(Uuid::nil(), since);
                    let since = since.as_second() - 1_800_000_000;
                    seen.push(format!("{second}: fires, since {since}"));
                }
                Some(WatchChange::Clears { since, until, .. }) => {
                    state.cleared();
                    let from = |at: Timestamp| at.as_second() - 1_800_000_000;
                    seen.push(format!(
                        "{second}: clears, {} to {}",
                        from(since),
                        from(until)
                    ));
                }
            }
        }
        seen
    }

    fn steady(from: i64, to: i64, value: f64) -> Vec<(i64, f64)> {
        (from..to).map(|second| (second, value)).collect()
    }

    #[test]
    fn it_fires_once_after_its_time_and_clears_after_it() {
        let watch = watch(WatchCondition::Above(limit(0.8)), 10);
        let values = [steady(0, 20, 0.3), steady(20, 60, 4.8), steady(60, 90, 0.3)].concat();
        assert_eq!(
            changes(&watch, &mut WatchState::default(), &values),
            ["30: fires, since 20", "70: clears, 20 to 60"]
        );
        // Below its time it is nothing.
        let short = [steady(0, 9, 4.8), steady(9, 30, 0.3)].concat();
        assert_eq!(changes(&watch, &mut WatchState::default(), &short), [""; 0]);
    }

    #[test]
    fn a_value_near_the_limit_neither_clears_nor_fires_again() {
        let watch = watch(WatchCondition::Above(limit(1.0)), 0);
        let near: Vec<_> = (10..40)
            .map(|s| (s, if s % 2 == 0 { 0.98 } else { 1.02 }))
            .collect();
        let values = [steady(0, 10, 1.5), near, steady(40, 42, 0.95)].concat();
        assert_eq!(
            changes(&watch, &mut WatchState::default(), &values),
            ["0: fires, since 0", "40: clears, 0 to 40"]
        );
        let below = self::watch(WatchCondition::Below(limit(10.0)), 0);
        let values = [(0, 9.0), (1, 10.2), (2, 10.6), (3, 9.9)];
        assert_eq!(
            changes(&below, &mut WatchState::default(), &values),
            [
                "0: fires, since 0",
                "2: clears, 0 to 2",
                "3: fires, since 3"
            ]
        );
        // At zero there is no margin.
        let any = self::watch(WatchCondition::Above(limit(0.0)), 0);
        let values = [(0, 0.0), (1, 1.0), (2, 0.0)];
        assert_eq!(
            changes(&any, &mut WatchState::default(), &values),
            ["1: fires, since 1", "2: clears, 1 to 2"]
        );
    }

    #[test]
    fn a_gap_counts_for_neither() {
        let watch = watch(WatchCondition::Above(limit(0.8)), 30);
        // Outside before and after the gap, which lasts longer than its time.
        let values = [steady(0, 10, 4.8), steady(100, 120, 4.8)].concat();
        assert_eq!(
            changes(&watch, &mut WatchState::default(), &values),
            [""; 0]
        );
        // Fired, gone, back and normal: cleared after its time from then on.
        let values = [steady(0, 31, 4.8), steady(500, 540, 0.1)].concat();
        assert_eq!(
            changes(&watch, &mut WatchState::default(), &values),
            ["30: fires, since 0", "530: clears, 0 to 500"]
        );
    }

    fn point(from: i64, to: i64, mean: f64) -> SeriesPoint {
        SeriesPoint {
            from: at(from),
            to: at(to),
            mean,
            low: mean,
            high: mean,
        }
    }

    #[test]
    fn a_restart_repeats_nothing_and_clears_later() {
        let watch = watch(WatchCondition::Above(limit(0.8)), 10);
        let mut state = WatchState::default();
        state.resume(&watch, Some((Uuid::nil(), at(0))), &[point(0, 60, 4.8)]);
        let values = [steady(300, 320, 4.8), steady(320, 340, 0.3)].concat();
        assert_eq!(
            changes(&watch, &mut state, &values),
            ["330: clears, 0 to 320"]
        );
        // Normal before the restart, which was shorter than a gap.
        let mut state = WatchState::default();
        let stored = [point(0, 60, 4.8), point(60, 66, 0.3)];
        state.resume(&watch, Some((Uuid::nil(), at(0))), &stored);
        assert_eq!(
            changes(&watch, &mut state, &steady(72, 80, 0.3)),
            ["72: clears, 0 to 60"]
        );
    }

    #[test]
    fn a_pending_watch_goes_on_after_a_short_restart_and_begins_anew_after_a_gap() {
        let watch = watch(WatchCondition::Above(limit(0.8)), 30);
        let stored = [point(0, 10, 0.3), point(10, 25, 4.8)];
        for (resumed, expected) in [
            (35, "40: fires, since 10"),
            // Nobody knows what was there meanwhile.
            (45, "75: fires, since 45"),
        ] {
            let mut state = WatchState::default();
            state.resume(&watch, None, &stored);
            let values = steady(resumed, resumed + 40, 4.8);
            assert_eq!(changes(&watch, &mut state, &values), [expected]);
        }
    }

    #[test]
    fn a_watch_is_the_same_with_another_limit() {
        let of = |label: &str, value: f64| WatchConfig {
            label: label.to_owned(),
            ..watch(WatchCondition::Above(limit(value)), 0)
        };
        let below = watch(WatchCondition::Below(limit(1.0)), 0);
        let before = watch_ids(&[of("p99", 1.0), of("p99*", 1.0), below.clone()]);
        let after = watch_ids(&[of("P99", 2.0), of("p99*", 1.0), below]);
        assert_eq!(before, after);
        let apart: std::collections::HashSet<_> = before.iter().collect();
        assert_eq!(apart.len(), 3);
        let alike = watch_ids(&[of("p99", 1.0), of("p99", 2.0)]);
        assert_eq!(alike[1], format!("{}/2", alike[0]));

        // With another limit its time begins anew.
        let (low, high) = (of("p99", 1.0), of("p99", 3.0));
        let long = |watch: WatchConfig| WatchConfig {
            lasts: Duration::from_secs(10),
            ..watch
        };
        let mut state = WatchState::default();
        changes(&long(low), &mut state, &steady(0, 9, 4.8));
        state.reconsider();
        assert_eq!(
            changes(&long(high), &mut state, &steady(9, 30, 4.8)),
            ["19: fires, since 9"]
        );
    }

    #[test]
    fn a_change_that_was_not_acknowledged_comes_again() {
        let watch = watch(WatchCondition::Above(limit(0.8)), 0);
        let mut state = WatchState::default();
        let fires = Some(WatchChange::Fires {
            since: at(0),
            usual: None,
        });
        assert_eq!(state.observe(&watch, 1.0, at(0)), fires);
        assert_eq!(state.observe(&watch, 1.0, at(1)), fires);
        state.reported(Uuid::nil(), at(0));
        assert_eq!(state.observe(&watch, 1.0, at(2)), None);
    }

    #[test]
    fn a_change_is_measured_by_what_is_usual() {
        let watch = watch(WatchCondition::Changes(6.0), 0);
        // Usually 100, give or take 4, with an outlier now and then.
        let usual = (0..400).map(|nth| match nth % 50 {
            49 => 900.0,
            nth => 100.0 + f64::from(nth % 9) - 4.0,
        });
        let mut state = WatchState::with_history(usual);
        assert_eq!(
            changes(&watch, &mut state, &[(0, 104.0), (10, 112.0)]),
            [""; 0]
        );
        assert_eq!(
            changes(&watch, &mut state, &[(20, 160.0)]),
            ["20: fires, since 20"]
        );
        assert_eq!(
            changes(&watch, &mut state, &[(30, 101.0)]),
            ["30: clears, 20 to 30"]
        );
        assert_eq!(
            changes(&watch, &mut state, &[(40, 2.0)]),
            ["40: fires, since 40"]
        );
        // A new level is usual once it has lasted half the baseline.
        let values: Vec<_> = (5..800).map(|nth| (nth * 10, 2.0)).collect();
        let later = changes(&watch, &mut state, &values);
        assert_eq!(later.len(), 1, "{later:?}");
        assert!(later[0].contains("clears, 40 to"), "{later:?}");
    }

    #[test]
    fn too_short_a_history_makes_nothing_unusual() {
        let watch = watch(WatchCondition::Changes(4.0), 0);
        let mut state = WatchState::with_history([1.0; LEAST - 2]);
        assert_eq!(changes(&watch, &mut state, &[(0, 1.0)]), [""; 0]);
        assert_eq!(changes(&watch, &mut state, &[(10, 500.0)]), [""; 0]);
        assert_eq!(
            changes(&watch, &mut state, &[(20, 500.0)]),
            ["20: fires, since 20"]
        );
    }

    #[test]
    fn labels_are_named_whole_by_part_or_by_their_start() {
        let named = |label: &str, of: &str| {
            let watch = WatchConfig {
                label: label.to_owned(),
                ..watch(WatchCondition::Changes(4.0), 0)
            };
            watch.names(of)
        };
        assert!(named("P99 latency", "p99 Iatency:"));
        assert!(named("p99", "checkout · p99"));
        assert!(named("checkout · p99", "checkout · p99"));
        assert!(named("Failed logins*", "Failed logins, 1 minute"));
        assert!(!named("Failed logins", "Failed logins, 1 minute"));
        assert!(!named("p99", "p95"));
        assert!(!named("error", "error budget"));
    }
}
