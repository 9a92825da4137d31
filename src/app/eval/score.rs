//! Scoring of findings against labels.

use std::collections::BTreeMap;

use serde::Serialize;

use watchtower_domain::finding::Finding;
use watchtower_screen::picture::{Rect, TextLine};
use watchtower_screen::redact::mask_secrets;
use watchtower_screen::text;

use super::labels::{LabelledEvent, Labels};

/// Tolerance in seconds between a finding and its event: labels are rounded,
/// and frames are analysed a moment after their capture.
const BESIDE: f64 = 2.0;

/// Finding, with the time of its frame.
#[derive(Debug, Clone)]
pub struct TimedFinding {
    pub seconds: f64,
    pub finding: Finding,
}

/// Input of a hosted model for the recording: frames and tokens sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ModelInput {
    pub frames: u64,
    /// Estimated tokens.
    pub tokens: u64,
    /// The same with the text as rows and labelled values, and line by line.
    pub tokens_structured: u64,
    pub tokens_plain: u64,
    /// The same for a model that is sent a whole frame at fixed intervals,
    /// changed or not.
    pub frames_at_intervals: u64,
    pub tokens_at_intervals: u64,
}

/// Scores of one persona, or of all of them together.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Marks {
    pub agent: String,
    pub findings: u64,
    /// True positives: findings about a labelled event, by an expected analyst.
    pub right: u64,
    /// False positives: findings without a labelled event.
    pub wrong: u64,
    /// False positives on a healthy screen.
    pub on_healthy: u64,
    /// True positives beyond the first of an event.
    pub duplicates: u64,
    /// Events the analyst is responsible for, and those it found.
    pub events: u64,
    pub found: u64,
    pub precision: Option<f64>,
    pub recall: Option<f64>,
    /// Seconds from an event's start to its first finding: the median and the
    /// longest.
    pub seconds_to_detect: Option<f64>,
    pub longest_to_detect: Option<f64>,
    pub grounded: u64,
    pub ungrounded: u64,
    /// Model answers requested in this run, and failures.
    pub looks: u64,
    pub unanswered: u64,
    pub sent: ModelInput,
}

/// Scores of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    pub seconds: f64,
    pub interval_seconds: f64,
    pub incidents: u64,
    /// Frames sampled, read and changed.
    pub pictures: u64,
    pub readings: u64,
    pub news: u64,
    pub agents: Vec<Marks>,
    pub all: Marks,
    /// Titles of missed events, and of false positives.
    pub missed: Vec<String>,
    pub false_findings: Vec<String>,
}

/// Scores of each of these agents and of all together. The caller adds the
/// counters of the run itself (scans, frames, tokens).
pub fn score(labels: &Labels, seen: &[TimedFinding], agents: &[String]) -> Scores {
    let events: Vec<&LabelledEvent> = labels.events().collect();
    let hits: Vec<Option<usize>> = seen.iter().map(|seen| event_of(&events, seen)).collect();
    let on_healthy: Vec<bool> = seen
        .iter()
        .map(|seen| is_on_healthy(labels, seen))
        .collect();
    let of = |agent: Option<&str>| {
        let mine = |name: &str| agent.is_none_or(|agent| agent.eq_ignore_ascii_case(name));
        let mut marks = Marks {
            agent: agent.unwrap_or("all").to_owned(),
            ..Marks::default()
        };
        let mut first: BTreeMap<(usize, &str), f64> = BTreeMap::new();
        for ((seen, hit), on_healthy) in seen.iter().zip(&hits).zip(&on_healthy) {
            let name = seen.finding.agent.as_str();
            if !mine(name) {
                continue;
            }
            marks.findings += 1;
            for piece in &seen.finding.evidence {
                marks.grounded += u64::from(piece.grounded == Some(true));
                marks.ungrounded += u64::from(piece.grounded == Some(false));
            }
            match hit {
                Some(event) => {
                    marks.right += 1;
                    marks.duplicates += u64::from(first.contains_key(&(*event, name)));
                    first.entry((*event, name)).or_insert(seen.seconds);
                }
                None => {
                    marks.wrong += 1;
                    marks.on_healthy += u64::from(*on_healthy);
                }
            }
        }
        let mut delays = Vec::new();
        for (index, event) in events.iter().enumerate() {
            if !event.agents.iter().any(|agent| mine(agent)) {
                continue;
            }
            marks.events += 1;
            let times = first.iter().filter(|((found, _), _)| *found == index);
            if let Some(earliest) = times.map(|(_, at)| *at).reduce(f64::min) {
                marks.found += 1;
                delays.push((earliest - event.start).max(0.0));
            }
        }
        delays.sort_by(f64::total_cmp);
        marks.precision = share(marks.right, marks.findings);
        marks.recall = share(marks.found, marks.events);
        marks.seconds_to_detect = delays.get(delays.len() / 2).copied();
        marks.longest_to_detect = delays.last().copied();
        marks
    };
    let found = |index: usize| hits.contains(&Some(index));
    let missed = events
        .iter()
        .enumerate()
        .filter(|(index, _)| !found(*index));
    let wrong = seen.iter().zip(&hits).filter(|(_, hit)| hit.is_none());
    Scores {
        seconds: 0.0,
        interval_seconds: 0.0,
        incidents: 0,
        pictures: 0,
        readings: 0,
        news: 0,
        agents: agents.iter().map(|agent| of(Some(agent))).collect(),
        all: of(None),
        missed: missed
            .map(|(_, event)| {
                format!(
                    "{} s: {} ({})",
                    event.start,
                    event.title,
                    event.agents.join(", ")
                )
            })
            .collect(),
        false_findings: wrong
            .map(|(seen, _)| {
                format!(
                    "{:.1} s: {} ({})",
                    seen.seconds, seen.finding.title, seen.finding.agent
                )
            })
            .collect(),
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Index of the labelled event a finding is about: of the current events its
/// agent is responsible for, the one it quotes; without a quote one of its
/// category.
fn event_of(events: &[&LabelledEvent], seen: &TimedFinding) -> Option<usize> {
    let finding = &seen.finding;
    let candidates = events.iter().enumerate().filter(|(_, event)| {
        (event.start - BESIDE..=event.end + BESIDE).contains(&seen.seconds)
            && event
                .agents
                .iter()
                .any(|agent| agent.eq_ignore_ascii_case(&finding.agent))
    });
    let quotes: Vec<&str> = finding
        .evidence
        .iter()
        .map(|piece| piece.quote.as_str())
        .filter(|quote| !quote.trim().is_empty())
        .collect();
    let fits = |event: &LabelledEvent| {
        let by_quote = quotes
            .iter()
            .flat_map(|quote| {
                event
                    .strings
                    .iter()
                    .map(move |string| (*quote, string.as_str()))
            })
            .any(|(quote, string)| {
                // Findings name secrets by their kind.
                let string = mask_secrets(string);
                is_within(&string, quote) || is_within(quote, &string)
            });
        by_quote || (quotes.is_empty() && event.category == finding.category)
    };
    let mut fitting = candidates.filter(|(_, event)| fits(event));
    fitting.next().map(|(index, _)| index)
}

/// True if one text contains the other, matched as OCR text.
fn is_within(part: &str, whole: &str) -> bool {
    let line = TextLine {
        text: whole.to_owned(),
        rect: Rect {
            x: 0,
            y: 0,
            width: 1000,
            height: 10,
        },
        confidence: 1.0,
    };
    text::find(part, &[line], None).is_some()
}

fn is_on_healthy(labels: &Labels, seen: &TimedFinding) -> bool {
    labels
        .scenes
        .iter()
        .any(|scene| scene.healthy && (scene.start..scene.end).contains(&seen.seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::labels::Scene;
    use watchtower_domain::finding::{Category, Evidence, Severity};

    fn event(start: f64, end: f64, agents: &[&str], string: &str) -> LabelledEvent {
        LabelledEvent {
            start,
            end,
            agents: agents.iter().map(|agent| (*agent).to_owned()).collect(),
            category: Category::Intrusion,
            severity: Severity::High,
            title: format!("about {string}"),
            strings: vec![string.to_owned()],
        }
    }

    fn seen(agent: &str, seconds: f64, quote: &str) -> TimedFinding {
        let evidence = Evidence {
            quote: quote.to_owned(),
            bounds: None,
            grounded: Some(true),
        };
        let finding = Finding {
            agent: agent.to_owned(),
            title: "t".to_owned(),
            evidence: vec![evidence],
            ..Finding::sample()
        };
        TimedFinding { seconds, finding }
    }

    #[test]
    fn right_wrong_twice_and_missed() {
        let labels = Labels {
            scenes: vec![
                Scene {
                    start: 0.0,
                    end: 10.0,
                    healthy: false,
                    events: vec![
                        event(2.0, 10.0, &["SecOps"], "Failed password for admin"),
                        event(0.0, 10.0, &["DevOps"], "CrashLoopBackOff"),
                    ],
                },
                Scene {
                    start: 10.0,
                    end: 20.0,
                    healthy: true,
                    events: vec![],
                },
            ],
        };
        let seen = [
            seen("SecOps", -0.5, "Failed password for admin"),
            seen("SecOps", 3.5, "failed passw0rd for adrnin from 10.0.0.1"),
            seen("SecOps", 8.0, "Failed password"),
            seen("SecOps", 15.0, "All systems operational"),
            seen("DevOps", 4.0, "Failed password for admin"),
        ];
        let agents = ["SecOps".to_owned(), "DevOps".to_owned()];
        let scores = score(&labels, &seen, &agents);
        let secops = &scores.agents[0];
        assert_eq!(
            (secops.findings, secops.right, secops.wrong),
            (4, 2, 2),
            "one came too early"
        );
        assert_eq!((secops.duplicates, secops.on_healthy), (1, 1));
        assert_eq!((secops.events, secops.found), (1, 1));
        assert_eq!(secops.seconds_to_detect, Some(1.5));
        assert_eq!((secops.precision, secops.recall), (Some(0.5), Some(1.0)));
        assert_eq!(scores.agents[1].recall, Some(0.0), "not its business");
        assert_eq!((scores.all.events, scores.all.found), (2, 1));
        assert_eq!(scores.missed, ["0 s: about CrashLoopBackOff (DevOps)"]);
        assert_eq!(scores.false_findings.len(), 3);
    }
}
