//! Monitoring conditions that hold right now, and their start times.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use watchtower_base::stream_name::StreamName;
use watchtower_domain::agent_status::{AgentBoard, AgentStatus};
use watchtower_media::hub::{Cadence, StreamHub, StreamInfo};
use watchtower_screen::frame::Frame;
use watchtower_screen::frames::FrameBus;
use watchtower_screen::picture::Picture;

use super::conditions::{Condition, ConditionKey};
use crate::watchdog::settings::WatchdogSettings;

/// Maximum brightness of a black sample.
const DARK: u8 = 40;
/// Share of brighter samples above which a picture is not black: one word.
const SOMETHING: usize = 5_000;
/// Maximum ended streams remembered until they return.
const MOST_GONE: usize = 256;

#[derive(Debug)]
pub(super) struct Probes {
    hub: StreamHub,
    frames: FrameBus,
    board: AgentBoard,
    settings: WatchdogSettings,
    streams: HashMap<StreamName, StreamProbe>,
    gone: HashMap<StreamName, Timestamp>,
}

/// State of a live stream over time.
#[derive(Debug)]
struct StreamProbe {
    frame: u64,
    /// Time of the last decoded frame, or of the first unit.
    frame_at: Timestamp,
    /// Time of the first unit since then.
    undecoded_since: Option<Timestamp>,
    black_since: Option<Timestamp>,
    units: u64,
    unit_at: Timestamp,
}

impl Probes {
    pub(super) fn new(
        hub: StreamHub,
        frames: FrameBus,
        board: AgentBoard,
        settings: WatchdogSettings,
    ) -> Self {
        Self {
            hub,
            frames,
            board,
            settings,
            streams: HashMap::new(),
            gone: HashMap::new(),
        }
    }

    pub(super) fn frame(&self, stream: &StreamName) -> Option<Arc<Frame>> {
        self.frames.newest(stream)
    }

    /// Conditions that have lasted long enough to be reported.
    pub(super) fn feel(&mut self, now: Timestamp) -> Vec<(ConditionKey, Timestamp)> {
        let live = self.hub.streams();
        self.streams
            .retain(|name, _| live.iter().any(|info| info.name == *name));
        let mut felt = Vec::new();
        for info in &live {
            if let Some(since) = info.contested_since {
                felt.push((
                    ConditionKey::of_stream(Condition::Contested, &info.name),
                    since,
                ));
            }
            match info.lost_since {
                Some(since) => {
                    self.remember_gone(&info.name, since);
                    // Its state starts anew when it returns.
                    self.streams.remove(&info.name);
                }
                None => {
                    self.gone.remove(&info.name);
                    self.feel_stream(info, now, &mut felt);
                }
            }
        }
        for (name, since) in &self.gone {
            if lasted(*since, now, self.settings.gone) {
                felt.push((ConditionKey::of_stream(Condition::Gone, name), *since));
            }
        }
        // Without a live stream an analyst that is down is no gap.
        if let Some(stream) = live.iter().find(|info| info.lost_since.is_none()) {
            for agent in self.board.agents() {
                self.feel_agent(&agent, &stream.name, now, &mut felt);
            }
        }
        felt
    }

    /// Drops the oldest beyond the limit: their end has been reported.
    fn remember_gone(&mut self, name: &StreamName, since: Timestamp) {
        if self.gone.len() >= MOST_GONE && !self.gone.contains_key(name) {
            let oldest = self.gone.iter().min_by_key(|(_, since)| **since);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.gone.remove(&oldest);
            }
        }
        self.gone.entry(name.clone()).or_insert(since);
    }

    fn feel_stream(
        &mut self,
        info: &StreamInfo,
        now: Timestamp,
        felt: &mut Vec<(ConditionKey, Timestamp)>,
    ) {
        let name = &info.name;
        let watched = self
            .streams
            .entry(name.clone())
            .or_insert_with(|| StreamProbe {
                frame: 0,
                frame_at: now,
                undecoded_since: Some(now),
                black_since: None,
                units: info.totals.video_units + info.totals.left_out,
                unit_at: now,
            });
        // Frames left out before decoding count as received.
        let units = info.totals.video_units + info.totals.left_out;
        if units != watched.units {
            watched.units = units;
            watched.unit_at = now;
            watched.undecoded_since.get_or_insert(now);
        }
        let frame = self.frames.newest(name);
        // An idle stream is not decoded: no frame is expected.
        if self.frames.is_idle(name) {
            watched.frame_at = now;
            watched.undecoded_since = None;
        }
        if let Some(frame) = frame.as_ref().filter(|frame| frame.seq != watched.frame) {
            watched.frame = frame.seq;
            watched.frame_at = now;
            watched.undecoded_since = None;
            if is_black(&frame.picture) {
                watched.black_since.get_or_insert(frame.captured_at);
            } else {
                watched.black_since = None;
            }
        }
        let settings = &self.settings;
        // Of a screen that comes as it changes a still picture shows nothing:
        // its transport notices that the publisher is gone.
        let is_steady = info.cadence == Cadence::Steady;
        let mut tell = |condition, since, after| {
            if lasted(since, now, after) {
                felt.push((ConditionKey::of_stream(condition, name), since));
            }
        };
        if let Some(since) = watched.black_since {
            tell(Condition::Black, since, settings.black);
        }
        // A stream without video, such as audio only, has no gap.
        if watched.units > 0 {
            // A stream that stopped is reported as frozen.
            let comes = !lasted(watched.unit_at, now, settings.stopped);
            // A long GOP that is decoded well is no gap, nor is a pause before
            // the newest unit.
            if let Some(since) = watched.undecoded_since.filter(|_| comes) {
                tell(Condition::Undecoded, since, settings.keyframe);
            }
            if is_steady {
                tell(Condition::Frozen, watched.unit_at, settings.stopped);
            }
        }
        // Without any decoded frame the condition above applies.
        if let Some(since) = info.unshown_since.filter(|since| watched.frame_at > *since) {
            tell(Condition::Unshown, since, settings.keyframe);
        }
        if let Some(frame) = frame.filter(|_| is_steady && watched.black_since.is_none()) {
            let after = if frame.changes.ticking {
                settings.stopped
            } else {
                settings.frozen
            };
            tell(Condition::Frozen, frame.changes.moved_at, after);
        }
        if let Some(since) = self
            .frames
            .behind_since(name)
            .filter(|_| self.frames.is_read())
        {
            tell(Condition::Unread, since, settings.unread);
        }
    }

    fn feel_agent(
        &self,
        agent: &AgentStatus,
        stream: &StreamName,
        now: Timestamp,
        felt: &mut Vec<(ConditionKey, Timestamp)>,
    ) {
        let key = |condition| ConditionKey {
            condition,
            stream: stream.clone(),
            agent: agent.name.clone(),
        };
        if let Some(since) = agent.failed_since {
            felt.push((key(Condition::AgentDown), since));
        }
        let patience = Duration::from_millis(agent.interval_ms.saturating_mul(3));
        let patience = patience.max(self.settings.unanswered);
        if let Some(since) = agent
            .wanting_since
            .filter(|since| lasted(*since, now, patience))
        {
            felt.push((key(Condition::Unanswered), since));
        }
    }
}

fn lasted(since: Timestamp, now: Timestamp, after: Duration) -> bool {
    let after = SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX);
    now.duration_since(since) >= after
}

fn is_black(picture: &Picture) -> bool {
    let bright = picture.y.iter().filter(|sample| **sample > DARK).count();
    bright <= picture.y.len() / SOMETHING
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use watchtower_media::{AccessUnit, MediaTime, MediaUnit, VideoConfig};

    fn probes() -> (StreamHub, FrameBus, Probes) {
        let (hub, frames) = (StreamHub::holding(), FrameBus::new());
        let settings = WatchdogSettings::default();
        let board = AgentBoard::new(Vec::new());
        let probes = Probes::new(hub.clone(), frames.clone(), board, settings);
        (hub, frames, probes)
    }

    fn team() -> StreamName {
        StreamName::new("team").expect("a name")
    }

    fn seconds_from_now() -> impl Fn(i64) -> Timestamp {
        let start = Timestamp::now();
        move |nth| start + SignedDuration::from_secs(nth)
    }

    fn unit(keyframe: bool) -> MediaUnit {
        let sps = Bytes::from_static(b"\x67\x42\xc0\x1e");
        let config = VideoConfig::playable(sps.clone(), sps, 640, 360);
        MediaUnit::Video(AccessUnit {
            pts: MediaTime(0),
            dts: MediaTime(0),
            keyframe,
            config: Arc::new(config),
            data: Bytes::from_static(b"\0\0\0\x01\x65"),
        })
    }

    fn told(probes: &mut Probes, at: Timestamp) -> Vec<Condition> {
        let felt = probes.feel(at);
        felt.into_iter().map(|(key, _)| key.condition).collect()
    }

    #[test]
    fn units_without_a_picture_are_reported_and_a_long_group_that_is_seen_is_not() {
        for begins in [true, false] {
            let (hub, frames, mut probes) = probes();
            let name = team();
            let publisher = hub.publish(&name);
            let mut bus = frames.open(&name, |_| Ok(Bytes::new()));
            let second = seconds_from_now();
            publisher.push(unit(begins)).expect("ours");
            // A minute with one frame a second, if decoding could begin, and
            // one without frames.
            let mut undecoded = Vec::new();
            for nth in 0..120 {
                publisher.push(unit(false)).expect("ours");
                if begins && nth < 60 {
                    bus.publish(Picture::grey(64, 64), MediaTime(nth), second(nth));
                }
                if told(&mut probes, second(nth)).contains(&Condition::Undecoded) {
                    undecoded.push(nth);
                }
            }
            let first = if begins { 60 + 30 } else { 30 };
            assert_eq!(undecoded.first(), Some(&first), "{begins}");
            assert_eq!(undecoded.last(), Some(&119), "{begins}");
        }
    }

    #[test]
    fn a_still_screen_is_a_fault_only_of_a_steady_publisher() {
        for cadence in [Cadence::Steady, Cadence::OnChange] {
            let (hub, frames, mut probes) = probes();
            let name = team();
            let publisher = hub.publish(&name);
            publisher.set_cadence(cadence);
            let mut bus = frames.open(&name, |_| Ok(Bytes::new()));
            let second = seconds_from_now();
            let mut felt = Vec::new();
            // Ten minutes with a picture every two, which is decoded a second
            // later.
            for nth in 0..600 {
                if nth % 120 == 0 {
                    publisher.push(unit(nth == 0)).expect("ours");
                }
                if nth % 120 == 1 {
                    bus.publish(Picture::grey(64, 64), MediaTime(nth), second(nth));
                }
                felt.extend(told(&mut probes, second(nth)));
            }
            let expected: &[Condition] = match cadence {
                Cadence::Steady => &[Condition::Frozen],
                Cadence::OnChange => &[],
            };
            felt.sort_unstable();
            felt.dedup();
            assert_eq!(felt, expected, "{cadence:?}");
            // The transport's word counts for both.
            drop(publisher);
            let gone = told(&mut probes, second(700));
            assert_eq!(gone, [Condition::Gone], "{cadence:?}");
        }
    }

    #[test]
    fn a_stream_that_nobody_looks_at_lacks_no_picture_until_somebody_does() {
        let (hub, frames, mut probes) = probes();
        let name = team();
        let publisher = hub.publish(&name);
        let second = seconds_from_now();
        publisher.push(unit(true)).expect("ours");
        let mut undecoded = Vec::new();
        for nth in 0..180 {
            let idle = (nth < 90).then(|| name.clone());
            frames.set_idle(idle.into_iter());
            publisher.push(unit(false)).expect("ours");
            if told(&mut probes, second(nth)).contains(&Condition::Undecoded) {
                undecoded.push(nth);
            }
        }
        assert_eq!(undecoded, (90 + 30..180).collect::<Vec<i64>>());
    }

    #[test]
    fn viewers_who_see_nothing_are_reported_only_where_analysts_see_something() {
        for seen in [true, false] {
            let (hub, frames, mut probes) = probes();
            let name = team();
            let publisher = hub.publish(&name);
            let mut bus = frames.open(&name, |_| Ok(Bytes::new()));
            let second = seconds_from_now();
            publisher.push(unit(true)).expect("ours");
            let mut unshown = Vec::new();
            for nth in 0..90 {
                publisher.push(unit(false)).expect("ours");
                if seen {
                    bus.publish(Picture::grey(64, 64), MediaTime(nth), second(nth));
                }
                match nth {
                    10 => hub.note_unshown(&name, Some(second(10))),
                    70 => hub.note_unshown(&name, None),
                    _ => {}
                }
                if told(&mut probes, second(nth)).contains(&Condition::Unshown) {
                    unshown.push(nth);
                }
            }
            let wanted: Vec<i64> = if seen { (40..70).collect() } else { Vec::new() };
            assert_eq!(unshown, wanted);
        }
    }

    #[test]
    fn a_lost_signal_is_reported_after_many_others_too() {
        let (hub, _, mut probes) = probes();
        let later = Timestamp::now() + SignedDuration::from_secs(60);
        for nth in 0..MOST_GONE + 20 {
            let name = StreamName::new(&format!("s{nth}")).expect("a name");
            drop(hub.publish(&name));
            let felt = probes.feel(later);
            let gone = ConditionKey::of_stream(Condition::Gone, &name);
            assert!(felt.iter().any(|(key, _)| *key == gone), "{name}");
        }
    }

    #[test]
    fn black_is_black_and_a_word_on_it_is_not() {
        let mut picture = Picture {
            width: 640,
            height: 360,
            y: vec![16; 640 * 360],
            u: vec![128; 320 * 180],
            v: vec![128; 320 * 180],
        };
        assert!(is_black(&picture));
        picture.y[1000..1120].fill(220);
        assert!(!is_black(&picture));
    }
}
