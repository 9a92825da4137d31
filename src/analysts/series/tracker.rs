//! Series of one stream: readings in, runs of values out. Pure, with time
//! passed in.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use watchtower_base::stream_name::StreamName;
use watchtower_domain::series::{Quantity, SeriesName, SeriesRun};
use watchtower_screen::series::{
    NumberQuote, ScreenNumber, is_misread, is_place_of, is_reading_of, same_spot,
};

/// Time without a number that is no gap yet: OCR misreads one now and then, and
/// the next reading has it again.
pub(super) const BRIDGED: SignedDuration = SignedDuration::from_secs(15);
/// Time that a number has to be there, unless it is read twice, before it is a
/// series: a misreading of one frame is none.
const PROVEN: SignedDuration = SignedDuration::from_secs(3);
/// Interval at which a run that goes on is written.
const WRITTEN_EVERY: SignedDuration = SignedDuration::from_secs(60);
/// Maximum series remembered of a stream; those unseen longest are forgotten.
const MOST_KNOWN: usize = 2000;
/// Time after which what was read once is forgotten.
const FORGOTTEN: SignedDuration = SignedDuration::from_mins(10);

/// Series of a stream.
#[derive(Debug, Default)]
pub(super) struct SeriesTracker {
    known: HashMap<String, TrackedNumber>,
    /// Runs that ended, to be written.
    ended: Vec<SeriesRun>,
}

/// Number as last seen.
#[derive(Debug, Clone)]
pub(super) struct TrackedNumber {
    pub(super) name: SeriesName,
    pub(super) value: f64,
    pub(super) from: Timestamp,
    /// Time it was last seen to have that value.
    pub(super) to: Timestamp,
    pub(super) quotes: Vec<NumberQuote>,
    /// Flag: on the last reading.
    pub(super) here: bool,
    /// Flag: read more than once, or for long enough.
    proven: bool,
    written_to: Option<Timestamp>,
}

impl TrackedNumber {
    pub(super) fn quantity(&self) -> Quantity {
        Quantity {
            value: self.value,
            unit: self.name.unit,
        }
    }

    fn run(&self, key: &str) -> SeriesRun {
        SeriesRun {
            key: key.to_owned(),
            name: self.name.clone(),
            from: self.from,
            to: self.to,
            value: self.value,
        }
    }
}

impl SeriesTracker {
    /// Takes the numbers of a reading. Those that are missing end where they
    /// were last seen, if they do not return soon.
    pub(super) fn read(&mut self, stream: &StreamName, numbers: Vec<ScreenNumber>, at: Timestamp) {
        let mut unknown = Vec::new();
        for known in self.known.values_mut() {
            known.here = false;
        }
        for number in numbers {
            let key = number.key();
            match self.known.contains_key(&key) {
                true => self.take(&key, number, at),
                false => unknown.push((key, number)),
            }
        }
        // Only now is it known which ones are missing.
        for (key, number) in unknown {
            match self.misread(&number, at) {
                Some(known) => self.take(&known, number, at),
                None => self.begin(stream, key, number, at),
            }
        }
        self.forget(at);
    }

    /// Notes that the screen still was as on the last reading.
    pub(super) fn confirm(&mut self, until: Timestamp) {
        for known in self.known.values_mut().filter(|known| known.here) {
            known.to = known.to.max(until);
            known.proven |= known.to.duration_since(known.from) >= PROVEN;
        }
    }

    /// Notes that the stream is gone: nothing is on the screen.
    pub(super) fn lose(&mut self) {
        for known in self.known.values_mut() {
            known.here = false;
        }
    }

    /// Runs to write: new ones, ended ones, and each minute those that go on.
    pub(super) fn due(&mut self, all: bool) -> Vec<SeriesRun> {
        let mut runs = std::mem::take(&mut self.ended);
        for (key, known) in self.known.iter_mut().filter(|(_, known)| known.proven) {
            let due = known.written_to.is_none_or(|written| {
                let grown = known.to.duration_since(written);
                grown >= WRITTEN_EVERY || (grown.is_positive() && (all || !known.here))
            });
            if due {
                known.written_to = Some(known.to);
                runs.push(known.run(key));
            }
        }
        runs
    }

    /// Numbers on the screen now, those read once left out.
    pub(super) fn shown(&self) -> impl Iterator<Item = (&String, &TrackedNumber)> {
        let shown = |(_, known): &(&String, &TrackedNumber)| known.here && known.proven;
        self.known.iter().filter(shown)
    }

    fn take(&mut self, key: &str, number: ScreenNumber, at: Timestamp) {
        let Some(known) = self.known.get_mut(key) else {
            return;
        };
        known.here = true;
        known.proven = true;
        known.quotes = number.quotes;
        let value = number.quantity.value;
        let bridged = at.duration_since(known.to) <= BRIDGED;
        if bridged {
            known.to = known.to.max(at);
            if known.value == value {
                return;
            }
        }
        let ended = known.run(key);
        (known.from, known.to, known.value) = (at, at, value);
        known.written_to = None;
        self.ended.push(ended);
    }

    fn begin(&mut self, stream: &StreamName, key: String, number: ScreenNumber, at: Timestamp) {
        let name = SeriesName {
            stream: stream.clone(),
            place: number.place,
            label: number.label,
            unit: number.quantity.unit,
        };
        let tracked = TrackedNumber {
            name,
            value: number.quantity.value,
            from: at,
            to: at,
            quotes: number.quotes,
            here: true,
            proven: false,
            written_to: None,
        };
        self.known.insert(key, tracked);
    }

    /// Known number that is missing on this reading, and that this one is: OCR
    /// may have read its label as that one, or it stands in its spot and the
    /// reading has not its title, its head or one of its like.
    fn misread(&self, number: &ScreenNumber, at: Timestamp) -> Option<String> {
        let same = |known: &TrackedNumber| {
            let name = &known.name;
            let label = name.place == number.place && is_misread(&name.label, &number.label);
            let spot = || {
                at.duration_since(known.to) <= BRIDGED
                    && same_spot(&known.quotes, &number.quotes)
                    && is_place_of(&name.place, &number.place)
                    && is_reading_of(&name.label, &number.label)
            };
            !known.here && known.proven && name.unit == number.quantity.unit && (label || spot())
        };
        let mut found = self.known.iter().filter(|(_, known)| same(known));
        let (key, _) = found.next()?;
        // One that may be either of two is neither.
        found.next().is_none().then(|| key.clone())
    }

    fn forget(&mut self, now: Timestamp) {
        let gone = |known: &TrackedNumber| now.duration_since(known.to);
        self.known
            .retain(|_, known| known.here || known.proven || gone(known) < FORGOTTEN);
        let Some(excess) = self.known.len().checked_sub(MOST_KNOWN).filter(|n| *n > 0) else {
            return;
        };
        let unseen = self.known.iter().filter(|(_, known)| !known.here);
        let mut oldest: Vec<_> = unseen.map(|(key, known)| (known.to, key.clone())).collect();
        oldest.sort();
        for (_, key) in oldest.into_iter().take(excess) {
            if let Some(known) = self.known.remove(&key).filter(|known| known.proven) {
                self.ended.push(known.run(&key));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchtower_domain::series::Unit;

    fn second(nth: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + nth).expect("a time")
    }

    fn number(label: &str, value: f64) -> ScreenNumber {
        ScreenNumber {
            place: "card".to_owned(),
            label: label.to_owned(),
            quantity: Quantity {
                value,
                unit: Unit::None,
            },
            quotes: Vec::new(),
        }
    }

    fn read(tracker: &mut SeriesTracker, at: i64, numbers: &[(&str, f64)]) {
        let numbers = numbers.iter().map(|(label, value)| number(label, *value));
        let stream = StreamName::new("team").expect("a name");
        tracker.read(&stream, numbers.collect(), second(at));
    }

    /// Label, from, to and value of the runs to write.
    fn due(tracker: &mut SeriesTracker, all: bool) -> Vec<(String, i64, i64, f64)> {
        let seconds = |at: Timestamp| at.as_second() - 1_800_000_000;
        let runs = tracker.due(all).into_iter();
        let mut runs: Vec<_> = runs
            .map(|run| {
                (
                    run.name.label,
                    seconds(run.from),
                    seconds(run.to),
                    run.value,
                )
            })
            .collect();
        runs.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        runs
    }

    #[test]
    fn a_value_that_stays_is_one_run_and_a_change_begins_another() {
        let mut tracker = SeriesTracker::default();
        read(&mut tracker, 0, &[("Errors", 1.0)]);
        assert_eq!(due(&mut tracker, false), [], "read once");
        read(&mut tracker, 2, &[("Errors", 1.0)]);
        tracker.confirm(second(8));
        read(&mut tracker, 10, &[("Errors", 2.0)]);
        assert_eq!(
            due(&mut tracker, false),
            [
                ("Errors".to_owned(), 0, 10, 1.0),
                ("Errors".to_owned(), 10, 10, 2.0)
            ]
        );
        tracker.confirm(second(40));
        assert_eq!(due(&mut tracker, false), [], "written each minute");
        tracker.confirm(second(70));
        assert_eq!(
            due(&mut tracker, false),
            [("Errors".to_owned(), 10, 70, 2.0)]
        );
        tracker.confirm(second(75));
        assert_eq!(
            due(&mut tracker, true),
            [("Errors".to_owned(), 10, 75, 2.0)]
        );
    }

    #[test]
    fn a_number_that_is_read_once_is_no_series_unless_it_stays() {
        let mut tracker = SeriesTracker::default();
        read(&mut tracker, 0, &[("Errors", 1.0)]);
        read(&mut tracker, 1, &[("Other", 1.0)]);
        tracker.confirm(second(2));
        assert_eq!(due(&mut tracker, true), []);
        tracker.confirm(second(20));
        assert_eq!(due(&mut tracker, true), [("Other".to_owned(), 1, 20, 1.0)]);
        assert_eq!(tracker.shown().count(), 1);
        read(&mut tracker, 900, &[]);
        assert!(!tracker.known.contains_key(&number("Errors", 0.0).key()));
    }

    #[test]
    fn a_gap_is_between_two_runs_and_no_zero() {
        let mut tracker = SeriesTracker::default();
        read(&mut tracker, 0, &[("Errors", 1.0)]);
        read(&mut tracker, 2, &[("Errors", 1.0)]);
        // Covered by a window: the screen is read, the number is not there.
        read(&mut tracker, 4, &[]);
        tracker.confirm(second(60));
        read(&mut tracker, 62, &[("Errors", 1.0)]);
        assert_eq!(
            due(&mut tracker, true),
            [
                ("Errors".to_owned(), 0, 2, 1.0),
                ("Errors".to_owned(), 62, 62, 1.0)
            ]
        );
        // Lost, and back at once: one reading without it is no gap.
        tracker.lose();
        assert_eq!(tracker.shown().count(), 0);
        read(&mut tracker, 70, &[("Errors", 1.0)]);
        assert_eq!(
            due(&mut tracker, true),
            [("Errors".to_owned(), 62, 70, 1.0)]
        );
    }

    #[test]
    fn a_misread_label_is_the_same_series_and_another_is_not() {
        let mut tracker = SeriesTracker::default();
        read(&mut tracker, 0, &[("Failed logins", 1.0), ("web-1", 1.0)]);
        read(&mut tracker, 2, &[("Failed logins", 1.0), ("web-1", 1.0)]);
        read(&mut tracker, 4, &[("Failod logins", 2.0), ("web-2", 5.0)]);
        read(&mut tracker, 6, &[("Fai1ed logins", 3.0), ("web-2", 5.0)]);
        let labels: Vec<_> = due(&mut tracker, true)
            .into_iter()
            .map(|run| (run.0, run.3))
            .collect();
        let logins = |value| ("Failed logins".to_owned(), value);
        assert_eq!(
            labels,
            [
                logins(1.0),
                logins(2.0),
                logins(3.0),
                ("web-1".to_owned(), 1.0),
                ("web-2".to_owned(), 5.0)
            ]
        );
    }

    #[test]
    fn a_number_in_its_spot_is_the_same_series_without_its_title_or_its_like() {
        fn show(tracker: &mut SeriesTracker, at: i64, numbers: &[(&str, &str, u16, f64)]) {
            let numbers = numbers.iter().map(|(place, label, top, value)| {
                let quote = NumberQuote {
                    text: value.to_string(),
                    bounds: [*top, 100, top + 20, 140],
                };
                ScreenNumber {
                    place: (*place).to_owned(),
                    quotes: vec![quote],
                    ..number(label, *value)
                }
            });
            let stream = StreamName::new("team").expect("a name");
            tracker.read(&stream, numbers.collect(), second(at));
        }
        let mut tracker = SeriesTracker::default();
        let all = [
            ("card-1/3", "Errors", 100, 1.0),
            ("card-2/3", "Errors", 200, 2.0),
            ("card-3/3", "Errors", 300, 3.0),
            ("table Services", "cart · p99", 400, 4.0),
        ];
        show(&mut tracker, 0, &all);
        show(&mut tracker, 2, &all);
        // The second card and the title were not read, and the head neither.
        show(
            &mut tracker,
            4,
            &[
                ("card-1/2", "Errors", 100, 10.0),
                ("card-2/2", "Errors", 300, 30.0),
                ("table", "cart", 400, 40.0),
            ],
        );
        show(&mut tracker, 6, &all);
        let runs = tracker.due(true).into_iter();
        let mut runs: Vec<_> = runs
            .map(|run| (run.name.place, run.name.label, run.value))
            .collect();
        runs.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
        let run = |place: &str, label: &str, value| (place.to_owned(), label.to_owned(), value);
        assert_eq!(
            runs,
            [
                run("card-1/3", "Errors", 1.0),
                run("card-1/3", "Errors", 1.0),
                run("card-1/3", "Errors", 10.0),
                run("card-2/3", "Errors", 2.0),
                run("card-3/3", "Errors", 3.0),
                run("card-3/3", "Errors", 3.0),
                run("card-3/3", "Errors", 30.0),
                run("table Services", "cart · p99", 4.0),
                run("table Services", "cart · p99", 4.0),
                run("table Services", "cart · p99", 40.0),
            ]
        );
        // Another page with the same labels in the same spots is another series.
        show(&mut tracker, 8, &[("table Hosts", "cart · p99", 400, 5.0)]);
        assert!(
            tracker
                .known
                .values()
                .any(|known| known.name.place == "table Hosts")
        );
    }

    #[test]
    fn a_screen_of_ever_new_labels_is_bounded() {
        let mut tracker = SeriesTracker::default();
        for nth in 0..30 {
            let labels: Vec<String> = (0..200).map(|at| format!("n{nth} of {at}")).collect();
            let numbers: Vec<_> = labels.iter().map(|label| (label.as_str(), 1.0)).collect();
            read(&mut tracker, nth * 4, &numbers);
            read(&mut tracker, nth * 4 + 1, &numbers);
        }
        assert_eq!(tracker.known.len(), MOST_KNOWN);
        assert_eq!(tracker.shown().count(), 200);
    }
}
