//! Assessment of one text: the state it tells, of how much weight, and whether
//! it says that something is so or only that it could be.

use watchtower_domain::finding::Severity;

use super::vocabulary::{Sense, SensedPhrase, Strength, Vocabulary};
use super::words::{MeaningWord, words};

/// Longest text in words that is a status: a longer one is a sentence.
const LONGEST_STATUS: usize = 6;
/// Words before a state in which a negation denies it.
const NEGATED_WITHIN: usize = 3;
/// Shortest sentence in words: below it is a label, a button or a menu entry.
const SHORTEST_SENTENCE: usize = 2;
/// Words between a negation and the verb of a silence: "has not yet been".
const SILENCE_WITHIN: usize = 4;
/// Words that join a subject with its state.
const JOINS: [&str; 11] = [
    "is",
    "are",
    "was",
    "were",
    "has",
    "have",
    "been",
    "became",
    "still",
    "currently",
    "also",
];
/// Words after a state that tell its cause, place or aim.
const PARTICLES: [&str; 16] = [
    "to", "with", "at", "on", "after", "because", "due", "for", "in", "by", "while", "during",
    "since", "from", "as", "against",
];
const DURATIONS: [&str; 16] = [
    "m", "min", "mins", "minute", "minutes", "h", "hr", "hrs", "hour", "hours", "d", "day", "days",
    "week", "weeks", "months",
];

/// State that a text tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ToldState {
    pub(super) strength: Strength,
    pub(super) kind: usize,
    pub(super) severity: Severity,
    /// Range in bytes of its words.
    pub(super) span: (usize, usize),
}

/// Meaning of a short text: a cell, a badge, a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct StatusMeaning {
    pub(super) state: Option<ToldState>,
    pub(super) healthy: bool,
    /// Severity that is the text itself.
    pub(super) level: Option<Severity>,
    pub(super) open: bool,
    pub(super) closed: bool,
}

/// Problem told by a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ToldProblem {
    pub(super) state: ToldState,
    /// Range in bytes of the sentence.
    pub(super) sentence: (usize, usize),
}

/// Number with its count noun: "3 critical findings".
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct CountLabel {
    pub(super) severity: Severity,
    pub(super) kind: Option<usize>,
    /// Flag: the label names what is counted.
    pub(super) noun: bool,
}

impl Vocabulary {
    /// Meaning of a cell, badge or value.
    pub(super) fn status(&self, text: &str) -> StatusMeaning {
        let mut said = StatusMeaning::default();
        // What is in brackets is a remark.
        let text = match text.split_once(" (") {
            Some((before, _)) if !before.trim().is_empty() => before,
            _ => text,
        };
        let all = words(text);
        let counted = all.iter().filter(|word| is_word(word)).count();
        if counted == 0 || counted > LONGEST_STATUS {
            return said;
        }
        let found = self.phrases(&all);
        for phrase in &found {
            let negated = self.negated(&all, &found, phrase);
            let edge = is_edge(&all, phrase) && !is_glued(text, &all, phrase);
            let whole = is_whole(&all, phrase);
            for sense in phrase.senses {
                match *sense {
                    Sense::State(strength, kind, severity) if !negated => {
                        let fits = match strength {
                            Strength::Certain => true,
                            Strength::Status => edge && !is_label(text, &all, phrase),
                            Strength::Weak => whole,
                        };
                        let state = told(&all, phrase, (strength, kind, severity));
                        let worse = said.state.is_none_or(|known| {
                            (state.strength, known.severity) > (known.strength, state.severity)
                        });
                        if fits && worse {
                            said.state = Some(state);
                        }
                    }
                    Sense::Healthy => said.healthy |= edge && !negated,
                    Sense::Level(level) if whole || before_a_state(&found, phrase) => {
                        said.level = Some(level);
                    }
                    Sense::Open => said.open |= edge && !negated,
                    Sense::Closed => {
                        said.closed |= edge && !negated;
                        said.open |= edge && negated && !zero_after(&all, phrase);
                    }
                    _ => {}
                }
            }
        }
        if said.state.is_none() {
            said.state = self.turned_off(&all, &found);
        }
        said
    }

    /// Problems that the sentences of a text tell, one per sentence at most.
    pub(super) fn problems(&self, text: &str) -> Vec<ToldProblem> {
        let all = words(text);
        let mut problems = Vec::new();
        let mut first = 0;
        while first < all.len() {
            let rest = &all[first + 1..];
            let end = rest.iter().position(|word| word.begins);
            let end = end.map_or(all.len(), |at| first + 1 + at);
            let sentence = &all[first..end];
            let span = (sentence[0].start, all[end - 1].end);
            if sentence.len() >= SHORTEST_SENTENCE && !text[span.1..].starts_with('?') {
                let state = self.problem(text, sentence);
                problems.extend(state.map(|state| ToldProblem {
                    state,
                    sentence: span,
                }));
            }
            first = end;
        }
        problems
    }

    fn problem(&self, text: &str, sentence: &[MeaningWord]) -> Option<ToldState> {
        let found = self.phrases(sentence);
        let has = |phrase: &SensedPhrase<'_>, sense| phrase.senses.contains(&sense);
        // A definition: "CrashLoopBackOff means that ...".
        if found.iter().any(|phrase| has(phrase, Sense::Defines)) {
            return None;
        }
        // Help: "Use the filter to list failed runs".
        let told_to =
            |phrase: &SensedPhrase<'_>| phrase.first == 0 && has(phrase, Sense::Instruction);
        if found.iter().any(told_to) {
            return None;
        }
        let mut conditional = false;
        let mut worst: Option<ToldState> = self.turned_off(sentence, &found);
        for (index, phrase) in found.iter().enumerate() {
            conditional |= has(phrase, Sense::Condition);
            if conditional {
                // "Run failed: tell me when a run has failed" is what could be.
                let again = |state: &ToldState| {
                    let bad = |sense: &Sense| matches!(sense, Sense::State(..));
                    let known = |word: &MeaningWord| {
                        let before = sentence.iter().filter(|other| {
                            state.span.0 <= other.start && other.end <= state.span.1
                        });
                        before.into_iter().any(|other| other.text == word.text)
                    };
                    found[index..].iter().any(|phrase| {
                        phrase.senses.iter().any(bad)
                            && sentence[phrase.first..phrase.end].iter().any(known)
                    })
                };
                worst = worst.filter(|state| !again(state));
                break;
            }
            let next = found.get(index + 1).filter(|next| next.first == phrase.end);
            if next.is_some_and(|next| has(next, Sense::Condition)) {
                continue;
            }
            let told = self.silence(sentence, &found, phrase).or_else(|| {
                if self.negated(sentence, &found, phrase) {
                    return None;
                }
                self.repetition(sentence, phrase)
                    .or_else(|| self.stated(text, sentence, &found, index))
            });
            let Some(told) = told else { continue };
            if worst.is_none_or(|known| told.severity < known.severity) {
                worst = Some(told);
            }
        }
        worst
    }

    /// State of a phrase in a sentence, if it is said of a subject.
    fn stated(
        &self,
        text: &str,
        sentence: &[MeaningWord],
        found: &[SensedPhrase<'_>],
        index: usize,
    ) -> Option<ToldState> {
        let phrase = &found[index];
        let state = phrase.senses.iter().find_map(|sense| match *sense {
            Sense::State(strength, kind, severity) => {
                Some(told(sentence, phrase, (strength, kind, severity)))
            }
            _ => None,
        })?;
        match state.strength {
            Strength::Certain => Some(state),
            Strength::Weak => None,
            Strength::Status if is_glued(text, sentence, phrase) => None,
            Strength::Status => {
                let before = phrase.first.checked_sub(1).map(|at| &sentence[at])?;
                let apart = is_break(text, before.end);
                let label = !apart
                    && found[..index].last().is_some_and(|last| {
                        last.end == phrase.first && last.senses.contains(&Sense::Before)
                    });
                let after = sentence.get(phrase.end);
                let joined = JOINS.contains(&before.text.as_str());
                let ends = after.is_none_or(|next| {
                    PARTICLES.contains(&next.text.as_str()) || is_break(text, state.span.1)
                });
                (is_word(before) && !label && (joined || ends)).then_some(state)
            }
        }
    }

    /// Silence: "has not reported for 48 hours", "no data since 3 h".
    fn silence(
        &self,
        sentence: &[MeaningWord],
        found: &[SensedPhrase<'_>],
        phrase: &SensedPhrase<'_>,
    ) -> Option<ToldState> {
        let verb = phrase.senses.contains(&Sense::SilentVerb);
        let noun = phrase.senses.contains(&Sense::SilentNoun);
        // "no data" is a phrase of its own.
        let parts = (&sentence[phrase.first].text, &sentence[phrase.end - 1].text);
        let own = self.senses(parts.0).contains(&Sense::Negation)
            && self.senses(parts.1).contains(&Sense::SilentNoun);
        if !verb && !noun && !own {
            return None;
        }
        let of_itself = own.then_some(phrase);
        let denied = found.iter().rev().find(|other| {
            other.end <= phrase.first
                && phrase.first - other.end < if verb { SILENCE_WITHIN } else { 1 }
                && other.senses.contains(&Sense::Negation)
        });
        let first = of_itself.or(denied)?.first;
        let perfect = first
            .checked_sub(1)
            .is_some_and(|at| matches!(sentence[at].text.as_str(), "has" | "have" | "had"))
            || sentence[first].text.ends_with("n't");
        let length = sentence[phrase.end..].windows(2).any(|pair| {
            pair[0].text.parse::<f64>().is_ok_and(|number| number > 0.0)
                && DURATIONS.contains(&pair[1].text.as_str())
        });
        let kind = self.kind_named("availability")?;
        ((noun || own || perfect) && length).then(|| ToldState {
            strength: Strength::Certain,
            kind,
            severity: Severity::High,
            span: (sentence[first].start, sentence[sentence.len() - 1].end),
        })
    }

    /// Repetition: "fired 923 times".
    fn repetition(&self, sentence: &[MeaningWord], phrase: &SensedPhrase<'_>) -> Option<ToldState> {
        if !phrase.senses.contains(&Sense::RepeatedVerb) {
            return None;
        }
        let number = sentence.get(phrase.end)?;
        let times = sentence.get(phrase.end + 1)?;
        let value: f64 = number.text.replace(',', "").parse().ok()?;
        let kind = self.kind_named("availability")?;
        (matches!(times.text.as_str(), "time" | "times") && value > self.repeated_above).then(
            || ToldState {
                strength: Strength::Certain,
                kind,
                severity: Severity::Medium,
                span: (sentence[phrase.first].start, times.end),
            },
        )
    }

    pub(super) fn kind_named(&self, name: &str) -> Option<usize> {
        self.kinds.iter().position(|kind| kind.name == name)
    }

    /// True if a phrase is denied: "no errors", "not failing", "failed: 0".
    fn negated(
        &self,
        words: &[MeaningWord],
        found: &[SensedPhrase<'_>],
        phrase: &SensedPhrase<'_>,
    ) -> bool {
        // "0/1" is a share.
        let share = |other: &SensedPhrase<'_>| {
            is_zero(&words[other.first].text)
                && words
                    .get(other.end)
                    .is_some_and(|next| next.text.parse::<f64>().is_ok())
        };
        let before = found.iter().any(|other| {
            other.end <= phrase.first
                && !share(other)
                && phrase.first - other.end < NEGATED_WITHIN
                && !words[other.end..=phrase.first]
                    .iter()
                    .any(|word| word.begins)
                && other.senses.contains(&Sense::Negation)
        });
        let after = words
            .get(phrase.end)
            .is_some_and(|next| is_zero(&next.text));
        before || after
    }

    /// Meaning of a label over a count: "Active critical findings"; over a red one
    /// any bad state counts: "Not compliant".
    pub(super) fn count_label(&self, label: &str, red: bool) -> Option<CountLabel> {
        let all = words(label);
        if all.len() > LONGEST_STATUS {
            return None;
        }
        let found = self.phrases(&all);
        let has = |sense| found.iter().any(|phrase| phrase.senses.contains(&sense));
        let senses = || found.iter().flat_map(|phrase| phrase.senses);
        let bad = |sense: &Sense| matches!(sense, Sense::State(strength, ..) if *strength > Strength::Weak);
        if !(has(Sense::Adjective) || red && senses().any(bad))
            || has(Sense::Routine)
            || has(Sense::Closed)
            || has(Sense::Condition)
            || has(Sense::Negation)
        {
            return None;
        }
        let mut severity = Severity::Medium;
        let mut kind = None;
        for sense in senses() {
            match *sense {
                Sense::Level(level) => severity = severity.min(level.max(Severity::High)),
                Sense::State(strength, of, _) if strength > Strength::Weak => {
                    kind = kind.or(Some(of));
                }
                Sense::Topic(of) => kind = kind.or(Some(of)),
                _ => {}
            }
        }
        Some(CountLabel {
            severity,
            kind,
            noun: has(Sense::Noun),
        })
    }

    /// Kind of problem that texts are about, by the first topic named in them.
    pub(super) fn topic<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> Option<usize> {
        texts.into_iter().find_map(|text| {
            let all = words(text);
            let found = self.phrases(&all);
            found
                .iter()
                .flat_map(|phrase| phrase.senses)
                .find_map(|sense| match sense {
                    Sense::Topic(kind) | Sense::Attack(kind) => Some(*kind),
                    _ => None,
                })
        })
    }

    /// True if a text holds a word of that sense.
    pub(super) fn holds(&self, text: &str, sense: Sense) -> bool {
        let all = words(text);
        let found = self.phrases(&all);
        found.iter().any(|phrase| phrase.senses.contains(&sense))
    }
}

fn told(
    words: &[MeaningWord],
    phrase: &SensedPhrase<'_>,
    (strength, kind, severity): (Strength, usize, Severity),
) -> ToldState {
    ToldState {
        strength,
        kind,
        severity,
        span: (words[phrase.first].start, words[phrase.end - 1].end),
    }
}

/// True for a severity right before a state: "P1 SLA breached".
fn before_a_state(found: &[SensedPhrase<'_>], phrase: &SensedPhrase<'_>) -> bool {
    let state =
        |sense: &Sense| matches!(sense, Sense::State(strength, ..) if *strength > Strength::Weak);
    phrase.first == 0
        && found
            .iter()
            .any(|other| other.first == phrase.end && other.senses.iter().any(state))
}

fn zero_after(words: &[MeaningWord], phrase: &SensedPhrase<'_>) -> bool {
    words
        .get(phrase.end)
        .is_some_and(|next| is_zero(&next.text))
}

fn is_word(word: &MeaningWord) -> bool {
    word.text.chars().any(char::is_alphabetic)
}

/// True if a phrase begins a label: "Failed logins", but not "Failed at step 3".
fn is_label(text: &str, words: &[MeaningWord], phrase: &SensedPhrase<'_>) -> bool {
    let next = words.get(phrase.end);
    next.is_some_and(|next| {
        is_word(next)
            && !PARTICLES.contains(&next.text.as_str())
            && !is_break(text, words[phrase.end - 1].end)
    })
}

/// True if a phrase is a part of an identifier: `git-broken`, `RolloutStuck`.
fn is_glued(text: &str, words: &[MeaningWord], phrase: &SensedPhrase<'_>) -> bool {
    let joined = |from: usize, to: usize| {
        from == to || matches!(&text[from..to], "-" | "_" | "." | "/" | "\\")
    };
    let before = phrase.first.checked_sub(1).map(|at| words[at].end);
    let after = words.get(phrase.end).map(|word| word.start);
    before.is_some_and(|end| joined(end, words[phrase.first].start))
        || after.is_some_and(|start| joined(words[phrase.end - 1].end, start))
}

pub(super) fn is_zero(text: &str) -> bool {
    matches!(text, "0" | "0.0" | "0.00" | "zero")
}

/// True if a phrase is the first or the last of a text, numbers aside.
fn is_edge(words: &[MeaningWord], phrase: &SensedPhrase<'_>) -> bool {
    let begins = !words[..phrase.first].iter().any(is_word);
    let ends = !words[phrase.end..].iter().any(is_word);
    begins || ends
}

/// True if a phrase is all of a text, numbers aside.
fn is_whole(words: &[MeaningWord], phrase: &SensedPhrase<'_>) -> bool {
    let (before, after) = (&words[..phrase.first], &words[phrase.end..]);
    !before.iter().chain(after).any(is_word)
}

/// True if a clause ends at an offset: a colon, a comma or a bracket follows.
fn is_break(text: &str, at: usize) -> bool {
    let next = text[at..].trim_start().chars().next();
    next.is_some_and(|c| matches!(c, ':' | ',' | '(' | '[' | '"' | ')'))
}
