//! Order of reading: new frames before repeats, then the longest wait first.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::frame::Frame;

/// Wait after which a repeat counts as new, so that constantly changing screens
/// do not starve it.
const REPEAT_PATIENCE: SignedDuration = SignedDuration::from_secs(2);

/// Frame waiting to be read.
#[derive(Debug, Clone)]
pub(super) struct UnreadFrame {
    pub(super) frame: Arc<Frame>,
    /// Flag: that generation was read before, but incompletely or with low
    /// confidence.
    pub(super) repeat: bool,
    /// Start of its wait.
    pub(super) since: Timestamp,
    /// Time until it may be read, while its stream's budget fills or its
    /// picture settles.
    pub(super) wait: Duration,
}

impl UnreadFrame {
    fn rank(&self, now: Timestamp) -> (bool, Timestamp) {
        let waited = now.duration_since(self.since);
        (self.repeat && waited < REPEAT_PATIENCE, self.since)
    }
}

/// Frames that may be read now, in order, and the time until another one may
/// be; `None` if there is no other.
pub(super) fn order(
    unread: Vec<UnreadFrame>,
    now: Timestamp,
) -> (Vec<Arc<Frame>>, Option<Duration>) {
    let (mut due, later): (Vec<_>, Vec<_>) =
        unread.into_iter().partition(|unread| unread.wait.is_zero());
    due.sort_by_key(|unread| unread.rank(now));
    let wait = later.iter().map(|unread| unread.wait).min();
    (due.into_iter().map(|unread| unread.frame).collect(), wait)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::picture::Picture;
    use watchtower_base::stream_name::StreamName;
    use watchtower_media::MediaTime;

    fn second(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    fn unread(stream: &str, repeat: bool, since: i64, wait_ms: u64) -> UnreadFrame {
        let stream = StreamName::new(stream).expect("valid");
        let picture = Arc::new(Picture::grey(8, 8));
        let at = second(since);
        let frame = Frame::new(stream, 1, MediaTime(0), at, picture, |_| Ok(Bytes::new()));
        UnreadFrame {
            frame: Arc::new(frame),
            repeat,
            since: at,
            wait: Duration::from_millis(wait_ms),
        }
    }

    fn names(frames: &[Arc<Frame>]) -> Vec<&str> {
        frames.iter().map(|frame| frame.stream.as_str()).collect()
    }

    #[test]
    fn a_new_screen_goes_before_repeats_and_the_longest_waiting_first() {
        let unread = vec![
            unread("again", true, 9, 0),
            unread("late", false, 9, 0),
            unread("early", false, 8, 0),
            unread("poor", false, 1, 700),
            unread("blurred", false, 2, 300),
        ];
        let (due, wait) = order(unread, second(10));
        assert_eq!(names(&due), ["early", "late", "again"]);
        assert_eq!(wait, Some(Duration::from_millis(300)));
    }

    #[test]
    fn a_repeat_waits_no_longer_than_its_patience() {
        let unread = || vec![unread("new", false, 6, 0), unread("again", true, 5, 0)];
        let (due, wait) = order(unread(), second(6));
        assert_eq!(names(&due), ["new", "again"]);
        assert_eq!(wait, None);
        let (due, _) = order(unread(), second(7));
        assert_eq!(names(&due), ["again", "new"]);
    }

    /// Simulated stream, with times in tenths of a second.
    struct SimulatedStream {
        /// Interval between changes.
        every: u64,
        /// CPU time of a reading.
        cost: u64,
        /// First change that no reading covers yet.
        unread: Option<u64>,
        /// Change and end of the reading in progress.
        reading: Option<(u64, u64)>,
        /// Delays from a change to the end of its reading.
        waits: Vec<u64>,
    }

    /// Simulates two readers on one core for five minutes.
    fn simulate(streams: &mut [SimulatedStream]) {
        let names: Vec<_> = (0..streams.len()).map(|nth| format!("s{nth}")).collect();
        let live: Vec<_> = names
            .iter()
            .map(|name| StreamName::new(name).expect("valid"))
            .collect();
        let start = std::time::Instant::now();
        let mut budget = crate::read_budget::ReadBudget::new(1.0, start);
        for tenth in 0..3000_u64 {
            budget.fill(&live, start + Duration::from_millis(100 * tenth));
            for (nth, stream) in streams.iter_mut().enumerate() {
                if tenth % stream.every == 0 {
                    stream.unread.get_or_insert(tenth);
                }
                if let Some((change, _)) = stream.reading.take_if(|(_, end)| *end <= tenth) {
                    stream.waits.push(tenth - change);
                    budget.spend(&live[nth], Duration::from_millis(100 * stream.cost));
                }
            }
            let waiting = streams.iter().enumerate().filter_map(|(nth, stream)| {
                let since = stream.unread.filter(|_| stream.reading.is_none())?;
                Some(UnreadFrame {
                    since: Timestamp::UNIX_EPOCH + SignedDuration::from_millis(100 * since as i64),
                    wait: budget.wait(&live[nth]),
                    ..unread(&names[nth], false, 0, 0)
                })
            });
            let (due, _) = order(waiting.collect(), second(tenth as i64 / 10));
            let at_work = streams.iter().filter(|stream| stream.reading.is_some());
            for frame in due.iter().take(2_usize.saturating_sub(at_work.count())) {
                let nth = names.iter().position(|name| name == frame.stream.as_str());
                let stream = &mut streams[nth.expect("one of them")];
                let change = stream.unread.take().expect("it was due");
                stream.reading = Some((change, tenth + stream.cost));
            }
        }
    }

    #[test]
    fn a_crowded_screen_that_changes_with_every_frame_starves_no_other() {
        let stream = |every, cost| SimulatedStream {
            every,
            cost,
            unread: None,
            reading: None,
            waits: Vec::new(),
        };
        // A thousand words, five seconds of work; and five quiet screens.
        let mut streams = vec![stream(5, 50)];
        streams.extend((0..5).map(|nth| stream(37 + nth, 3)));
        simulate(&mut streams);
        for (nth, quiet) in streams.iter().enumerate().skip(1) {
            let longest = quiet.waits.iter().max().copied().unwrap_or(3000);
            assert!(longest <= 20, "s{nth} waited {longest} tenths of a second");
            assert!(quiet.waits.len() >= 60, "s{nth}: each change");
        }
        // The crowded screen gets the CPU time the others leave.
        let crowded = streams[0].waits.len();
        assert!((25..=45).contains(&crowded), "{crowded}");
    }

    #[test]
    fn crowded_screens_alone_share_what_there_is() {
        let stream = || SimulatedStream {
            every: 5,
            cost: 50,
            unread: None,
            reading: None,
            waits: Vec::new(),
        };
        let mut streams: Vec<_> = (0..4).map(|_| stream()).collect();
        simulate(&mut streams);
        let counts: Vec<_> = streams.iter().map(|stream| stream.waits.len()).collect();
        let (least, most) = (counts.iter().min(), counts.iter().max());
        assert!(counts.iter().sum::<usize>() >= 55, "{counts:?}");
        assert!(
            most.zip(least)
                .is_some_and(|(most, least)| most - least <= 2),
            "{counts:?}"
        );
    }
}
