//! Offline analyst: rules over the text of the screen, on this machine.
//!
//! Findings are marked as rule-based: `model.provider` is `offline`, and each
//! names its rule. A subject is reported when it appears or grows, not on every
//! frame, and again only after it has left the screen.

mod elements;
mod examples;
mod meaning;
mod memory;
mod merge;
mod normal;
mod opinion;
mod orders;
mod pattern;
mod reading;
mod rule;
mod rules;
mod screen;
mod shape;
mod window;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use aho_corasick::AhoCorasick;
use futures_util::future::BoxFuture;
use meaning::{MeaningFinding, ProblemKind};
use memory::{OfflineMemory, folded};
use reading::ScreenReading;
use rule::{Match, Rule, Subject};

use watchtower_base::stream_name::StreamName;
use watchtower_base::sync::Locked as _;
use watchtower_domain::cost::TokenUsage;
use watchtower_domain::finding::{Category, Evidence, ModelRef, Observation, Severity, WATCHTOWER};
use watchtower_screen::picture::{Rect, TextLine};
use watchtower_screen::redact::{RedactedFrame, mask_secrets};

use crate::model::{
    Failure, FollowUp, FrameObservation, FramePolicy, Model, ObserveQuestion, ObserveReply,
    Persona, Prepared, Question, Reply, ReviewQuestion, ReviewReply,
};
use crate::stream_context::{StreamContext, is_normal};
pub use rules::{Rules, RulesError};
use screen::FrameText;
use window::Windows;

/// Maximum quotes of one finding.
const QUOTES: usize = 5;
/// Maximum findings of a rule per screen, if it reports each subject
/// separately.
const SUBJECTS: usize = 3;
/// Streams remembered, those analysed last.
const STREAMS: usize = 64;
/// Confidence of a rule: it is certain of the text, not of its meaning.
const CONFIDENCE: f32 = 0.8;
/// Analysts of the shipped agents.toml, among whom kinds of problem are shared
/// unless others are configured.
const SHIPPED: [&str; 5] = ["SecOps", "DevOps", "CloudSec", "AISec", "Architect"];

/// Rules of one persona.
#[derive(Debug)]
pub struct Offline {
    rules: Arc<Rules>,
    agent: String,
    /// Names of all analysts, this one included.
    panel: Vec<String>,
    /// Indicators of the persona, matched word for word.
    indicators: Vec<String>,
    finder: AhoCorasick,
    /// Context of the streams, with what is normal on each.
    streams: Arc<[StreamContext]>,
    memories: Mutex<HashMap<StreamName, OfflineMemory>>,
}

impl Offline {
    pub fn new(rules: Arc<Rules>, persona: &Persona) -> Self {
        let words = |text: &String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let indicators: Vec<_> = persona
            .indicators
            .iter()
            .map(words)
            .filter(|words| !words.is_empty())
            .collect();
        let finder = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(&indicators);
        Self {
            rules,
            agent: persona.name.clone(),
            panel: SHIPPED.map(str::to_owned).into(),
            // Too large for an automaton: then no indicator is matched.
            finder: finder.unwrap_or_else(|_| none()),
            indicators,
            streams: Arc::clone(&persona.streams),
            memories: Mutex::default(),
        }
    }

    /// Sets the names of all analysts: a kind of problem is reported by the first
    /// of its owners that is one of them.
    pub fn among(mut self, panel: &[String]) -> Self {
        self.panel = panel.to_vec();
        self
    }

    /// New findings on a frame.
    fn observe(&self, frame: &RedactedFrame) -> Vec<Observation> {
        let reading = self.read(frame);
        let Some(reading) = reading.get() else {
            return Vec::new();
        };
        let mut memories = self.memories.locked();
        if memories.len() >= STREAMS && !memories.contains_key(&frame.stream) {
            let oldest = memories.iter().min_by_key(|(_, memory)| memory.at);
            if let Some(oldest) = oldest.map(|(stream, _)| stream.clone()) {
                memories.remove(&oldest);
            }
        }
        let memory = memories.entry(frame.stream.clone()).or_default();
        memory.turn_to(reading.words.clone(), frame.captured_at);
        let reports = self.reports(frame, reading, &mut memory.windows);
        let alarming = reports.into_iter().filter(|report| {
            let evidence = report.observation.evidence.iter();
            let quotes: Vec<&str> = evidence.map(|item| item.quote.as_str()).collect();
            !is_normal(&self.streams, &frame.stream, &quotes)
        });
        let fresh = alarming.filter(|report| {
            let news = report
                .keys
                .iter()
                .map(|key| memory.is_news(key, report.count, report.observation.severity));
            // All are remembered; one that was reported has told the others.
            let news: Vec<_> = news.collect();
            news.into_iter().all(|news| news)
        });
        fresh.map(|report| report.observation).collect()
    }

    /// Reading of a frame, shared with the other analysts.
    fn read(&self, frame: &RedactedFrame) -> Arc<OnceLock<ScreenReading>> {
        self.rules.readings.of(frame, &self.rules, &self.panel)
    }

    fn observed(&self, question: &ObserveQuestion) -> ObserveReply {
        let mut seen = Vec::new();
        for frame in &question.frames {
            let observations = self.observe(frame).into_iter();
            seen.extend(observations.map(|observation| FrameObservation {
                frame: frame.clone(),
                observation,
            }));
        }
        ObserveReply {
            seen,
            dropped: 0,
            follow_up: FollowUp::default(),
            usage: TokenUsage::default(),
            model: self.identity(),
            exchange: None,
        }
    }

    fn reviewed(&self, question: &ReviewQuestion) -> ReviewReply {
        ReviewReply {
            review: self.review(question),
            usage: TokenUsage::default(),
            model: self.identity(),
            exchange: None,
        }
    }

    fn reports(
        &self,
        frame: &RedactedFrame,
        reading: &ScreenReading,
        windows: &mut Windows,
    ) -> Vec<RuleFinding> {
        let screen = &reading.text;
        let mut reports = Vec::new();
        for (index, rule) in self.rules.rules.iter().enumerate() {
            if !rule.is_for(&self.agent, &self.panel) {
                continue;
            }
            let subjects = match rule.window {
                Some(_) => rule.subjects(screen, frame.captured_at, windows),
                None => {
                    let known = reading.matched.iter().find(|(known, _)| *known == index);
                    known.map_or_else(Vec::new, |(_, subjects)| subjects.clone())
                }
            };
            let subjects = subjects.into_iter().take(SUBJECTS);
            let text = rule.text_of(screen);
            reports.extend(subjects.map(|subject| report(rule, text, subject)));
        }
        let meanings = self.meanings_on(frame, reading);
        // A sentence about what a rule reports is no second problem.
        let known = |found: &RuleFinding| {
            let same = |rule: &RuleFinding| {
                let (rule, found) = (&rule.observation, &found.observation);
                rule.category == found.category && rule.severity <= found.severity
            };
            found.told && reports.iter().any(same)
        };
        let meanings: Vec<_> = meanings.into_iter().filter(|found| !known(found)).collect();
        reports.extend(meanings);
        let mut reports = merge::merged(reports);
        reports.extend(self.beyond_normal(frame, &reports));
        if self.agent == WATCHTOWER {
            reports.extend(orders::orders_on(&screen.rows));
        }
        reports.extend(self.indicators_on(&screen.rows));
        reports
    }

    /// Findings of the meaning of a screen, of the kinds that this analyst owns.
    fn meanings_on(&self, frame: &RedactedFrame, reading: &ScreenReading) -> Vec<RuleFinding> {
        let vocabulary = &self.rules.vocabulary;
        let (width, height) = (frame.picture.width, frame.picture.height);
        let lines = frame.text.as_deref().unwrap_or_default();
        let owned = |found: &&MeaningFinding| self.owns(&vocabulary.kinds[found.kind]);
        let found = reading.meanings.iter().filter(owned);
        found
            .map(|found| {
                let kind = &vocabulary.kinds[found.kind];
                let evidence = found
                    .quotes
                    .iter()
                    .take(QUOTES)
                    .map(|(quote, rect)| Evidence {
                        quote: clip_quote(&mask_secrets(quote)),
                        bounds: Some(rect.thousandths(width, height)),
                        grounded: Some(true),
                    });
                RuleFinding {
                    keys: vec![found.key.clone()],
                    count: found.count,
                    told: found.told,
                    meant: true,
                    observation: Observation {
                        severity: found.severity,
                        confidence: CONFIDENCE * confidence(lines, &found.quotes),
                        category: kind.category,
                        title: clip(&mask_secrets(&found.title), 80),
                        detail: format!(
                            "Rule `meaning.{}`: {}",
                            kind.name,
                            mask_secrets(&found.detail)
                        ),
                        evidence: evidence.collect(),
                        mitre: Vec::new(),
                        recommended_action: kind.action.clone(),
                    },
                }
            })
            .collect()
    }

    /// True if this analyst reports problems of a kind: it is the first of the
    /// kind's owners on the panel, or the first of the panel if none of them is.
    fn owns(&self, kind: &ProblemKind) -> bool {
        let present = |owner: &&String| {
            self.panel
                .iter()
                .any(|name| name.eq_ignore_ascii_case(owner))
        };
        let owner = kind
            .owners
            .iter()
            .find(present)
            .or_else(|| self.panel.first());
        owner.is_some_and(|owner| owner.eq_ignore_ascii_case(&self.agent))
    }

    fn indicators_on(&self, screen: &FrameText) -> Vec<RuleFinding> {
        let mut found: Vec<RuleFinding> = Vec::new();
        for (index, row) in screen.rows.iter().enumerate() {
            let (text, places) = single_spaced(&row.text);
            for hit in self.finder.find_iter(&text) {
                let phrase = &self.indicators[hit.pattern().as_usize()];
                let key = format!("indicator {}", folded(phrase));
                if found.iter().any(|report| report.keys.contains(&key)) {
                    continue;
                }
                let observation = Observation {
                    severity: Severity::Low,
                    confidence: CONFIDENCE * row.confidence,
                    category: Category::Other,
                    title: clip(&format!("Indicator on screen: {phrase}"), 80),
                    detail: "Rule `indicator`: a configured indicator of this analyst appears on the screen.".to_owned(),
                    evidence: vec![screen.evidence(index, (places[hit.start()], places[hit.end()]))],
                    mitre: Vec::new(),
                    recommended_action: "Review the screen.".to_owned(),
                };
                found.push(RuleFinding {
                    keys: vec![key],
                    count: 1,
                    told: false,
                    meant: false,
                    observation,
                });
            }
        }
        found
    }
}

/// Text with one space between words, as OCR may split a line, and the offset
/// of each of its bytes in the original text, the end included.
fn single_spaced(text: &str) -> (String, Vec<usize>) {
    let mut spaced = String::with_capacity(text.len());
    let mut places = Vec::with_capacity(text.len() + 1);
    for (at, c) in text.char_indices() {
        if c == ' ' && spaced.ends_with(' ') {
            continue;
        }
        spaced.push(c);
        places.extend(at..at + c.len_utf8());
    }
    places.push(text.len());
    (spaced, places)
}

/// Finding made by a rule.
struct RuleFinding {
    /// Keys of its subject, stable across OCR variants: of each rule that found
    /// it.
    keys: Vec<String>,
    count: usize,
    /// Flag: a sentence tells it, by its meaning.
    told: bool,
    /// Flag: the screen says so, no rule.
    meant: bool,
    observation: Observation,
}

fn report(rule: &Rule, screen: &FrameText, subject: Subject) -> RuleFinding {
    let Subject {
        key,
        matches,
        count,
    } = subject;
    let mut evidence: Vec<Evidence> = Vec::new();
    for found in &matches {
        for (row, part) in std::iter::once(&(found.row, found.part)).chain(&found.with) {
            let item = screen.evidence(*row, *part);
            if evidence.len() < QUOTES && !evidence.iter().any(|other| other.bounds == item.bounds)
            {
                evidence.push(item);
            }
        }
    }
    for item in &mut evidence {
        item.quote = mask_secrets(&item.quote).into_owned();
    }
    // The highest number is reported.
    let by_number = |found: &&Match| found.number.as_ref().map_or(0.0, |(_, number)| *number);
    let worst = matches
        .iter()
        .max_by(|a, b| by_number(a).total_cmp(&by_number(b)));
    let fill = |template: &str| fill(template, worst, count);
    let sure = matches
        .iter()
        .map(|found| screen.rows[found.row].confidence)
        .fold(0.0, f32::max);
    let observation = Observation {
        severity: rule.severity,
        confidence: CONFIDENCE * sure,
        category: rule.category,
        title: clip(&fill(&rule.title), 80),
        detail: format!("Rule `{}`: {}", rule.id, fill(&rule.detail)),
        evidence,
        mitre: rule.mitre.clone(),
        recommended_action: fill(&rule.action),
    };
    RuleFinding {
        keys: vec![key],
        count,
        told: false,
        meant: false,
        observation,
    }
}

/// Fills in `{what}`, `{n}` and `{count}`, secrets masked.
fn fill(template: &str, found: Option<&Match>, count: usize) -> String {
    let what = found.map_or("", |found| found.what.as_str());
    let what: Cow<'_, str> = if what.is_empty() {
        "it".into()
    } else {
        mask_secrets(what)
    };
    let number = found
        .and_then(|found| found.number.as_ref())
        .map_or("", |(text, _)| text.as_str());
    let what = clip(&what, 60);
    template
        .replace("{what}", &what)
        .replace("{n}", number)
        .replace("{count}", &count.to_string())
}

/// Mean confidence of the lines read in the places of quotes.
fn confidence(lines: &[TextLine], quotes: &[(String, Rect)]) -> f32 {
    let places = lines
        .iter()
        .filter(|line| quotes.iter().any(|(_, rect)| rect.meets(&line.rect)));
    let read: Vec<f32> = places.map(|line| line.confidence).collect();
    read.iter().sum::<f32>() / read.len().max(1) as f32
}

fn clip_quote(quote: &str) -> String {
    quote.chars().take(screen::LONGEST_QUOTE).collect()
}

fn none() -> AhoCorasick {
    AhoCorasick::new::<[&str; 0], &str>([]).expect("a set of nothing is small enough")
}

fn clip(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(most.saturating_sub(1)).collect();
    kept.push('…');
    kept
}

impl Model for Offline {
    fn identity(&self) -> ModelRef {
        ModelRef {
            provider: "offline".to_owned(),
            name: "rules".to_owned(),
            version: self.rules.version.clone(),
            prompt: String::new(),
        }
    }

    fn frame_policy(&self) -> FramePolicy {
        FramePolicy::EveryRead
    }

    fn ask(&self, prepared: Prepared) -> BoxFuture<'_, Result<Reply, Failure>> {
        // Milliseconds of work without any await.
        let reply = match prepared.question() {
            Question::Observe(question) => Ok(Reply::Observe(self.observed(question))),
            Question::Review(question) => Ok(Reply::Review(self.reviewed(question))),
            Question::Ask(_) => Err(prepared.question().unsupported()),
        };
        Box::pin(std::future::ready(reply))
    }

    fn lacks(&self) -> &'static str {
        "rule-based, Latin text only; no image understanding, no dispute of findings"
    }

    fn probe(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(std::future::ready(Ok(self.rules.version.clone())))
    }
}

#[cfg(test)]
mod measure;
#[cfg(test)]
mod tests;
