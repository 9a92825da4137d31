//! Scheduling of many streams: latency, order and cost.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use watchtower_models::model::{Failure, FramePolicy};
use watchtower_screen::frame::Frame;
use watchtower_screen::frames::FramePublisher;
use watchtower_screen::picture::{Rect, TextLine};
use watchtower_screen::redact::Redact;

use super::tests::{AgentHarness, ScriptStep, Scripted, harness, harness_with, seconds, show};
use crate::{Governor, GovernorSettings};

const INTERVAL: Duration = Duration::from_secs(10);

/// Streams that change at different rates, and a record of what they showed.
struct Streams {
    publishers: Vec<(String, FramePublisher)>,
    shown: Vec<(Instant, String, u64)>,
}

impl Streams {
    fn open(harness: &AgentHarness, count: usize) -> Self {
        let names = (0..count).map(|nth| format!("s{nth:02}"));
        Self {
            publishers: names
                .map(|name| (name.clone(), harness.open(&name)))
                .collect(),
            shown: Vec::new(),
        }
    }

    /// Runs for that many seconds; in each, the streams for which `changes` is
    /// true show a new frame.
    async fn run(&mut self, length: u64, changes: impl Fn(usize, u64) -> bool) {
        for second in 0..length {
            for (nth, (name, publisher)) in self.publishers.iter_mut().enumerate() {
                if changes(nth, second) {
                    let shade = (second * 97 % 256) as u8;
                    let frame = show(publisher, shade);
                    self.shown.push((Instant::now(), name.clone(), frame.seq));
                }
            }
            seconds(1).await;
        }
    }
}

/// Longest time, by stream, from a change to a scan of it or of a later one,
/// except for changes at the very end.
fn longest_waits(harness: &AgentHarness, streams: &Streams) -> HashMap<String, Duration> {
    let looks = harness.model.shown_when();
    let mut longest: HashMap<String, Duration> = HashMap::new();
    let end = Instant::now();
    for (shown, stream, seq) in &streams.shown {
        let mut looks = looks
            .iter()
            .filter(|(at, of, seen)| of == stream && seen >= seq && at >= shown);
        let waited = looks.next().map_or(end, |(at, _, _)| *at) - *shown;
        let known = longest.entry(stream.clone()).or_default();
        *known = (*known).max(waited);
    }
    longest
}

pub(super) fn one_per_interval(model: Arc<Scripted>) -> AgentHarness {
    harness_with(model, Redact::Off, |config, _, _| {
        config.requests_per_interval = 1;
    })
}

#[tokio::test(start_paused = true)]
async fn twelve_streams_are_each_looked_at_within_twice_the_interval() {
    let model = Scripted::taking(FramePolicy::Newest, Duration::from_secs(4));
    let harness = harness(model);
    let mut streams = Streams::open(&harness, 12);
    // Some change each second, some seldom, one only once.
    let changes = |nth: usize, second: u64| match nth {
        0 => second == 31,
        nth => second.is_multiple_of((nth as u64).pow(2)),
    };
    streams.run(300, changes).await;
    seconds(60).await;
    for (stream, longest) in longest_waits(&harness, &streams) {
        assert!(longest <= 2 * INTERVAL, "{stream} waited {longest:?}");
    }
    let looks = harness.model.shown_when();
    for (at, _, _) in &looks {
        let within = looks
            .iter()
            .filter(|(other, _, _)| (*at..*at + INTERVAL).contains(other));
        assert!(within.count() <= 6, "more requests than allowed");
    }
    // No stream more often than once per interval.
    for (stream, _) in &streams.publishers {
        let times = looks.iter().filter(|(_, of, _)| of == stream);
        let times: Vec<Instant> = times.map(|(at, _, _)| *at).collect();
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.min().is_none_or(|gap| gap >= INTERVAL), "{stream}");
    }
    harness.end().await;
}

#[tokio::test(start_paused = true)]
async fn twelve_streams_share_one_request_per_interval_in_turn() {
    let model = Scripted::taking(FramePolicy::Newest, Duration::from_secs(1));
    let harness = one_per_interval(model);
    let mut streams = Streams::open(&harness, 12);
    streams.run(595, |_, _| true).await;
    let looks = harness.model.shown_when();
    assert_eq!(looks.len(), 60, "one an interval, over all streams");
    let order: Vec<&str> = looks.iter().map(|(_, of, _)| of.as_str()).collect();
    for round in order.chunks_exact(12) {
        let mut names = round.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 12, "each once a round: {round:?}");
    }
    harness.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_stream_looked_at_longest_ago_goes_first() {
    let harness = one_per_interval(Scripted::new(FramePolicy::Newest, []));
    let mut streams = Streams::open(&harness, 3);
    // The first two change all the time; the third once, while both are
    // waiting.
    streams.run(55, |nth, second| nth < 2 || second == 25).await;
    let looks = harness.model.shown_when();
    let order: Vec<&str> = looks.iter().map(|(_, of, _)| of.as_str()).collect();
    assert_eq!(order, ["s00", "s01", "s00", "s02", "s01", "s00"]);
    harness.end().await;
}

#[tokio::test(start_paused = true)]
async fn streams_share_a_hosted_model_in_turn_within_the_budget() {
    let model = Scripted::taking(FramePolicy::Newest, Duration::from_secs(2));
    let harness = harness_with(model, Redact::Off, |config, governor, limits| {
        config.requests_per_interval = 8;
        *governor = Some(Arc::new(Governor::new(GovernorSettings::default())));
        limits.requests_per_minute = Some(6);
    });
    let mut streams = Streams::open(&harness, 8);
    let begun = Instant::now();
    // Reservations are written by a real thread meanwhile: awaited.
    while harness.model.shown_when().len() < 64 {
        streams.run(60, |_, _| true).await;
    }
    let looks = harness.model.shown_when();
    let minutes = begun.elapsed().as_secs().div_ceil(60) as usize + 1;
    assert!(
        looks.len() <= 6 * minutes,
        "{} in {minutes} min",
        looks.len()
    );
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for (_, stream, _) in &looks {
        *counts.entry(stream).or_default() += 1;
    }
    let (least, most) = (counts.values().min(), counts.values().max());
    assert_eq!(counts.len(), 8, "{counts:?}");
    assert!(most.unwrap() - least.unwrap() <= 2, "{counts:?}");
    harness.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_answer_is_late_keeps_no_other_waiting() {
    let model = Scripted::taking(FramePolicy::Newest, Duration::from_secs(500));
    let harness = harness_with(model, Redact::Off, |config, _, _| {
        config.requests_per_interval = 2;
    });
    let mut streams = Streams::open(&harness, 2);
    streams.run(5, |nth, second| nth as u64 * 3 == second).await;
    let looks = harness.model.shown_when();
    assert_eq!(looks.len(), 2, "both, though neither was answered");
    // The model has not answered yet, and the status shows it.
    assert!(harness.context.board.agents()[0].wanting_since.is_some());
    harness.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_model_is_noted_once_for_all_streams() {
    let fail = || {
        ScriptStep::Fail(Failure::Transient {
            reason: "503 from the model".into(),
        })
    };
    let model = Scripted::new(FramePolicy::Newest, [fail(), fail(), fail()]);
    let harness = harness_with(model, Redact::Off, |config, _, _| {
        config.requests_per_interval = 3;
    });
    let mut streams = Streams::open(&harness, 3);
    streams.run(30, |_, second| second == 0).await;
    assert_eq!(harness.model.shown_when().len(), 6, "each again");
    // The log is written by a real thread, in order: awaited.
    let mut findings = harness.context.findings.subscribe();
    harness.model.then(ScriptStep::Report("late"));
    streams.run(2, |_, second| second == 1).await;
    findings.recv().await.unwrap();
    assert_eq!(harness.notes(), ["503 from the model", "analysis resumed"]);
    harness.end().await;
}

fn read(harness: &AgentHarness, frame: &Frame, text: &str) {
    let line = TextLine {
        text: text.to_owned(),
        rect: Rect {
            x: 4,
            y: 4,
            width: 50,
            height: 12,
        },
        confidence: 1.0,
    };
    let read = frame.read(Arc::from([line]), Arc::from([]));
    harness.context.frames.publish_read(Arc::new(read));
}

#[tokio::test(start_paused = true)]
async fn rules_look_at_each_reading_of_each_stream_as_it_is_made() {
    let harness = harness(Scripted::new(FramePolicy::EveryRead, []));
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut publishers = names.map(|name| harness.open(name));
    let mut made: Vec<(Instant, String, u64)> = Vec::new();
    for shade in [10, 60, 110, 160, 210] {
        for (publisher, name) in publishers.iter_mut().zip(names) {
            let frame = show(publisher, shade);
            read(&harness, &frame, "all is well");
            made.push((Instant::now(), name.to_owned(), frame.seq));
            tokio::time::sleep(Duration::from_millis(70)).await;
        }
    }
    let looks = harness.model.shown_when();
    let seen = |looks: &[(Instant, String, u64)]| -> Vec<(String, u64)> {
        looks
            .iter()
            .map(|(_, of, seq)| (of.clone(), *seq))
            .collect()
    };
    assert_eq!(seen(&looks), seen(&made));
    for ((made, _, _), (looked, stream, _)) in made.iter().zip(&looks) {
        let late = *looked - *made;
        assert!(late < Duration::from_millis(50), "{stream}: {late:?}");
    }
    harness.end().await;
}
