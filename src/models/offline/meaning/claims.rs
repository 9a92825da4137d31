//! Claims: what one element of a screen says is wrong with what it names.

use watchtower_domain::finding::Severity;
use watchtower_screen::layout::{ElementText, StatusColour};
use watchtower_screen::picture::Rect;
use watchtower_screen::redact::{UNREADABLE, name_of};

use super::assess::{StatusMeaning, ToldProblem, ToldState, is_zero};
use super::numbers::{LabelledValue, crosses, told_measures};
use super::shares::share;
use super::times::{is_clock, is_time};
use super::vocabulary::{ColumnRole, Sense, Strength, Vocabulary, phrase};
use super::words::words;

/// Longest subject in characters: longer text is a description.
const LONGEST_SUBJECT: usize = 60;
/// Marks between statements of one line.
const PARTS: [char; 3] = ['·', '•', '|'];
/// Shortest message of an event, in words.
pub(super) const MESSAGE: usize = 3;

/// Reason of a claim; claims of one kind and reason are one finding.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ClaimReason {
    /// State that a cell, badge or value is in.
    State(String),
    /// Open item of that severity.
    Open(Severity),
    /// Number beyond its bound, by the name of its measure.
    Measure(String),
    /// Count of what should be none.
    Count,
    /// Sentence.
    Told,
}

/// Problem that one element tells.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) kind: usize,
    pub(super) severity: Severity,
    pub(super) subject: String,
    /// State, value or sentence, as on the screen.
    pub(super) said: String,
    /// Texts that prove it, each of one cell, label or sentence.
    pub(super) quotes: Vec<(String, Rect)>,
    pub(super) reason: ClaimReason,
}

/// Cell of a row, with the head of its column or its label.
#[derive(Debug, Clone)]
pub(super) struct LabelledCell<'l> {
    pub(super) text: &'l ElementText,
    pub(super) head: Option<&'l str>,
    pub(super) roles: Vec<ColumnRole>,
    /// Flag: most of what is listed like it is well, so that it stands out.
    pub(super) steady: bool,
}

/// Row of a table, pairs of a tile, or texts beside each other.
#[derive(Debug, Clone, Default)]
pub(super) struct LabelledRow<'l> {
    pub(super) cells: Vec<LabelledCell<'l>>,
    /// Name above the row, as on a tile.
    pub(super) title: Option<&'l ElementText>,
    /// Flag: its list is one of what could be, such as rules and settings.
    pub(super) possible: bool,
    /// Words around it, from which its topic is told.
    pub(super) around: Vec<&'l str>,
    /// Index of the message in a list of events.
    pub(super) message: Option<usize>,
    /// Flag: its list is one of events, and here no message was read.
    pub(super) unnamed: bool,
    /// Measures that are others on its page.
    pub(super) foreign: &'l [usize],
}

/// True for a colour that dashboards give to what is bad.
pub(super) const fn is_bad(colour: StatusColour) -> bool {
    matches!(colour, StatusColour::Red | StatusColour::Amber)
}

impl LabelledCell<'_> {
    pub(super) fn is(&self, role: ColumnRole) -> bool {
        self.roles.contains(&role)
    }
}

impl<'l> LabelledRow<'l> {
    /// Claims of a row: of its worst state, else of its severity; and of its
    /// numbers.
    pub(super) fn claims(&self, vocabulary: &Vocabulary) -> Vec<Claim> {
        let event = self.message.or_else(|| self.event(vocabulary));
        let subject = self.subject(vocabulary, event);
        let said: Vec<StatusMeaning> = self
            .cells
            .iter()
            .enumerate()
            .map(|(index, cell)| {
                if subject == Some(index)
                    || cell.is(ColumnRole::Time) && !cell.is(ColumnRole::Status)
                {
                    StatusMeaning::default()
                } else {
                    vocabulary.status(&cell.text.text)
                }
            })
            .collect();
        let marks =
            |cell: &LabelledCell<'_>| cell.is(ColumnRole::Status) || cell.is(ColumnRole::Lifecycle);
        let any_marks = self.cells.iter().any(marks);
        let counts = |index: usize| !any_marks || marks(&self.cells[index]);
        // A safeguard that is off is no item that was closed.
        let off = self.unguarded(vocabulary, subject);
        if !off.is_empty() {
            return off;
        }
        let mut said = said;
        for (index, cell) in self.cells.iter().enumerate() {
            parts_of(vocabulary, &cell.text.text, &mut said[index]);
        }
        let closed = (0..said.len())
            .any(|index| said[index].closed && counts(index) && said[index].state.is_none());
        if closed {
            return Vec::new();
        }
        let level = (0..said.len()).find_map(|index| {
            let cell = &self.cells[index];
            let fits = cell.is(ColumnRole::Severity) || cell.head.is_none();
            said[index].level.filter(|_| fits)
        });
        // A number beyond its bound beside a bad state is the same problem.
        if let Some(told) = self.told(vocabulary, &said, (subject, event.is_some()), level) {
            return vec![told];
        }
        if let Some(missing) = self.missing_share(vocabulary, subject) {
            return vec![missing];
        }
        if let Some(passed) = self.let_through(vocabulary, subject) {
            return vec![passed];
        }
        if let Some(happened) = event.and_then(|at| self.happened(vocabulary, at)) {
            return vec![happened];
        }
        let mut claims: Vec<Claim> = self.measured(vocabulary, subject).into_iter().collect();
        let well = said.iter().any(|meaning| meaning.healthy);
        if claims.is_empty() && !well && !self.possible {
            let texts = self.cells.iter().map(|cell| cell.text);
            claims.extend(texts.flat_map(|text| told_numbers(vocabulary, text, self.foreign)));
        }
        claims.extend(self.open(vocabulary, &said, subject, level));
        claims
    }

    /// Index of the cell that names the row.
    fn subject(&self, vocabulary: &Vocabulary, event: Option<usize>) -> Option<usize> {
        let is_name = |cell: &LabelledCell<'_>| {
            let text = &cell.text.text;
            let said = vocabulary.status(text);
            names_something(text)
                && said.level.is_none()
                && !said.healthy
                && !(said.open || said.closed)
                && said
                    .state
                    .is_none_or(|state| state.strength == Strength::Weak)
        };
        let named = |role| {
            let mut cells = self.cells.iter();
            cells.position(|cell| {
                cell.is(role) && !cell.is(ColumnRole::Status) && names_something(&cell.text.text)
            })
        };
        // What happened is not known: where it did is no name for it.
        if self.unnamed {
            return None;
        }
        if let Some(index) = event.or_else(|| named(ColumnRole::Subject)) {
            return Some(index);
        }
        if self.title.is_some() {
            return None;
        }
        named(ColumnRole::Place).or_else(|| {
            let names = self
                .cells
                .iter()
                .enumerate()
                .filter(|(_, cell)| is_name(cell) && !cell.is(ColumnRole::Time));
            let length = |cell: &LabelledCell<'_>| {
                cell.text.text.chars().filter(|c| c.is_alphabetic()).count()
            };
            // The longest name; of equals the first.
            names
                .rev()
                .max_by_key(|(_, cell)| length(cell))
                .map(|(index, _)| index)
        })
    }

    /// Index of the message of an event: the longest name of a row with a time
    /// of day. The host or user beside it is where it happened.
    fn event(&self, vocabulary: &Vocabulary) -> Option<usize> {
        let clock = |cell: &LabelledCell<'_>| cell.is(ColumnRole::Time) && is_clock(cell.text);
        if !self.cells.iter().any(clock) {
            return None;
        }
        let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).count();
        let names = self.cells.iter().enumerate().filter(|(_, cell)| {
            let text = &cell.text.text;
            cell.is(ColumnRole::Subject)
                && !cell.is(ColumnRole::Status)
                && names_something(text)
                && words(text).len() >= MESSAGE
                && vocabulary.status(text).level.is_none()
        });
        let longest = names.max_by_key(|(_, cell)| letters(&cell.text.text));
        longest.map(|(index, _)| index)
    }

    fn name(&self, subject: Option<usize>) -> Option<&'l ElementText> {
        subject.map(|index| self.cells[index].text).or(self.title)
    }

    /// Claim of the worst state of a row, or of a sentence in one of its cells.
    fn told(
        &self,
        vocabulary: &Vocabulary,
        said: &[StatusMeaning],
        (subject, event): (Option<usize>, bool),
        level: Option<Severity>,
    ) -> Option<Claim> {
        let mut worst: Option<(usize, ToldState, Severity)> = None;
        let well = said.iter().any(|meaning| meaning.healthy);
        // "Last run" may hold a result or a time.
        let headed = self
            .cells
            .iter()
            .any(|cell| cell.is(ColumnRole::Status) && !is_time(&cell.text.text));
        for (index, meaning) in said.iter().enumerate() {
            let cell = &self.cells[index];
            let Some(state) = meaning.state else { continue };
            // In a table that has a column of states, the others hold names.
            if headed && !cell.is(ColumnRole::Status) && !cell.is(ColumnRole::Lifecycle) {
                continue;
            }
            let colour = cell.text.colour();
            let severe = level.is_some_and(|level| level <= Severity::High);
            let counts = match state.strength {
                // "PodCrashLooping: normal" is the name of an alert.
                Strength::Certain if well && !cell.is(ColumnRole::Status) => false,
                Strength::Certain => !self.possible || is_bad(colour),
                Strength::Status => !self.possible || is_bad(colour),
                Strength::Weak => {
                    // Beside a label such as "health" amber is bad too.
                    let named = self.title.is_some() && cell.is(ColumnRole::Status);
                    let labelled = (named || cell.steady) && is_bad(colour);
                    let red = colour == StatusColour::Red || severe && is_bad(colour);
                    !self.possible && (red || labelled)
                }
            };
            // Colour and word disagree: green letters say that it is well.
            if !counts || cell.is(ColumnRole::Severity) || colour == StatusColour::Green {
                continue;
            }
            let severity = match (state.severity, colour) {
                (Severity::Medium, StatusColour::Red) if state.strength > Strength::Weak => {
                    Severity::High
                }
                (severity, _) => severity,
            };
            if worst.is_none_or(|(.., known)| severity < known) {
                worst = Some((index, state, severity));
            }
        }
        let (index, told, severity) = worst?;
        let (strength, kind) = (told.strength, told.kind);
        let cell = self.cells[index].text;
        let state = phrase(&cell.text[told.span.0..told.span.1]);
        // What a sentence of the row says is more than "failed".
        let sentence = self
            .cells
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != index)
            .find_map(|(_, cell)| {
                let problem = vocabulary.problems(&cell.text.text).into_iter().next()?;
                Some((cell.text, problem))
            });
        if let Some((text, problem)) = sentence {
            let said = sentence_of(&text.text, problem);
            return Some(Claim {
                kind: problem.state.kind,
                severity: problem.state.severity.min(Severity::Medium),
                subject: String::new(),
                quotes: vec![(said.clone(), text.rect), (cell.text.clone(), cell.rect)],
                said,
                reason: ClaimReason::State("failed".to_owned()),
            });
        }
        let name = self.name(subject)?;
        // A list of names is the name of none.
        let list = name.text.contains(['●', '•']);
        if list || vocabulary.senses(&name.text).contains(&Sense::Before) {
            return None;
        }
        let kind = match vocabulary.kinds[kind].name.as_str() {
            // The general states, and the outcomes of events, take the kind of
            // what they are said of.
            "availability" if strength == Strength::Weak || event => {
                vocabulary.topic([name.text.as_str()]).unwrap_or(kind)
            }
            "availability" => self.tested(vocabulary, name).unwrap_or(kind),
            _ => kind,
        };
        Some(Claim {
            kind,
            severity: level.map_or(severity, |level| severity.max(level)),
            subject: subject_of(name),
            said: cell
                .text
                .trim_matches(|c: char| !c.is_alphanumeric() && c != ')')
                .to_owned(),
            quotes: vec![
                (name.text.clone(), name.rect),
                (cell.text.clone(), cell.rect),
            ],
            reason: ClaimReason::State(state),
        })
    }

    /// Kind of what is tried, in a row of tests: a failed probe of a model is no
    /// outage.
    fn tested(&self, vocabulary: &Vocabulary, name: &ElementText) -> Option<usize> {
        let heads = self.cells.iter().filter_map(|cell| cell.head);
        let cells = self.cells.iter().map(|cell| cell.text.text.as_str());
        let labels: Vec<&str> = std::iter::once(name.text.as_str())
            .chain(heads)
            .chain(self.title.map(|title| title.text.as_str()))
            .chain(self.around.iter().copied())
            .collect();
        let test = labels
            .iter()
            .any(|text| vocabulary.holds(text, Sense::Test));
        // The page says what is tried; a probe's own words say how.
        let around = self.around.iter().copied();
        let topic = || vocabulary.topic(around.chain(labels.iter().copied()).chain(cells));
        test.then(topic).flatten()
    }

    /// Claim of an open item of a high severity.
    fn open(
        &self,
        vocabulary: &Vocabulary,
        said: &[StatusMeaning],
        subject: Option<usize>,
        level: Option<Severity>,
    ) -> Option<Claim> {
        let index = (0..said.len()).find(|index| said[*index].level == level)?;
        let level = level?;
        let live = said.iter().any(|meaning| meaning.open);
        let well = said.iter().any(|meaning| meaning.healthy);
        let has = |role| {
            let filled = |cell: &&LabelledCell<'_>| cell.is(role) && !cell.text.is_empty();
            self.cells
                .iter()
                .enumerate()
                .any(|(at, cell)| Some(at) != subject && filled(&cell))
        };
        let severity_column = self.cells[index].is(ColumnRole::Severity);
        let instance = live || severity_column && (has(ColumnRole::Time) || has(ColumnRole::Place));
        // A moderate item is worth its own report only where it is known to be open.
        let least = if live && self.title.is_none() {
            Severity::Medium
        } else {
            Severity::High
        };
        if self.possible || !instance || (well && !live) || level > least {
            return None;
        }
        let name = self.name(subject)?;
        if !names_something(&name.text) {
            return None;
        }
        let heads = self.cells.iter().filter_map(|cell| cell.head);
        let texts = std::iter::once(name.text.as_str())
            .chain(heads)
            .chain(self.around.iter().copied());
        let kind = vocabulary.topic(texts)?;
        let cell = self.cells[index].text;
        Some(Claim {
            kind,
            severity: level,
            subject: subject_of(name),
            said: cell.text.clone(),
            quotes: vec![
                (name.text.clone(), name.rect),
                (cell.text.clone(), cell.rect),
            ],
            reason: ClaimReason::Open(level),
        })
    }

    /// Claim of the first number of a row that is beyond its bound.
    pub(super) fn measured(
        &self,
        vocabulary: &Vocabulary,
        subject: Option<usize>,
    ) -> Option<Claim> {
        if self.possible {
            return None;
        }
        let name = self.name(subject)?;
        self.cells
            .iter()
            .enumerate()
            .filter(|(index, _)| Some(*index) != subject)
            .find_map(|(_, cell)| {
                let percent = share(&cell.text.text).map(|share| share.percent());
                let value = LabelledValue {
                    label: cell.head.unwrap_or_default(),
                    value: percent.as_deref().unwrap_or(&cell.text.text),
                    colour: cell.text.colour(),
                };
                // "4 days left" names its measure itself.
                let own = LabelledValue {
                    label: &cell.text.text,
                    ..value
                };
                let measure = crosses(vocabulary, &value, self.foreign)
                    .or_else(|| crosses(vocabulary, &own, self.foreign))?;
                // What is past due is of the kind of what is due.
                let heads = self.cells.iter().filter_map(|cell| cell.head);
                let topic = || {
                    let texts = std::iter::once(name.text.as_str()).chain(heads);
                    vocabulary.topic(texts.chain(self.around.iter().copied()))
                };
                let kind = if measure.tone { topic() } else { None };
                Some(Claim {
                    kind: kind.unwrap_or(measure.kind),
                    severity: measure.severity,
                    subject: subject_of(name),
                    said: match phrase(&name.text).contains(&phrase(&measure.name)) {
                        true => cell.text.text.clone(),
                        false => format!("{} {}", cell.text.text, measure.name),
                    },
                    quotes: vec![
                        (name.text.clone(), name.rect),
                        (cell.text.text.clone(), cell.text.rect),
                    ],
                    reason: ClaimReason::Measure(measure.name.clone()),
                })
            })
    }
}

/// Adds what the parts of a text say that marks set apart: the lifecycle in
/// "web-3 · 09:41 · not fixed".
fn parts_of(vocabulary: &Vocabulary, text: &str, said: &mut StatusMeaning) {
    if !text.contains(PARTS) {
        return;
    }
    for part in text.split(PARTS) {
        let part = vocabulary.status(part);
        said.open |= part.open;
        said.closed |= part.closed;
    }
}

/// True for a name or an address: neither a number, a time nor a mark.
pub(super) fn names_something(text: &str) -> bool {
    // "m-03" is a name, "-3 h" is a time.
    let prefix = text.split(['-', '_']).next().unwrap_or_default();
    let numbered = prefix.len() < text.len() && !text.contains(' ');
    if numbered && matches!(prefix.len(), 1 | 2) && prefix.chars().all(char::is_alphabetic) {
        return true;
    }
    if is_time(text) || text == name_of(UNREADABLE) {
        return false;
    }
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    let dots = text.chars().filter(|c| matches!(c, '.' | ':')).count();
    letters >= 2 || dots >= 3 && !text.contains(' ')
}

/// Name of a subject, cut to what a title has room for.
pub(super) fn subject_of(name: &ElementText) -> String {
    let text = name
        .text
        .trim_matches(|c: char| !c.is_alphanumeric() && !matches!(c, '[' | ']' | '(' | ')'));
    if text.chars().count() <= LONGEST_SUBJECT {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(LONGEST_SUBJECT - 1).collect();
    kept.push('…');
    kept
}

/// Sentence of a problem, as on the screen.
pub(super) fn sentence_of(text: &str, problem: ToldProblem) -> String {
    let (start, end) = problem.sentence;
    text[start..end].to_owned()
}

/// Claims of the numbers beyond their bound that the sentences of a text tell.
pub(super) fn told_numbers(
    vocabulary: &Vocabulary,
    text: &ElementText,
    foreign: &[usize],
) -> Vec<Claim> {
    let told = told_measures(vocabulary, &text.text, foreign).into_iter();
    told.map(|(measure, (start, end))| {
        let said = text.text[start..end].to_owned();
        Claim {
            kind: measure.kind,
            severity: measure.severity,
            subject: String::new(),
            quotes: vec![(said.clone(), text.rect)],
            said,
            reason: ClaimReason::Measure(measure.name.clone()),
        }
    })
    .collect()
}

/// Claim of a number that counts what should be none, by its label.
pub(super) fn counted(
    vocabulary: &Vocabulary,
    (label, value): (&ElementText, &ElementText),
    around: &[&str],
) -> Option<Claim> {
    let digits = value.text.trim();
    let number = digits.replace([',', ' '], "");
    let plain = number.chars().all(|c| c.is_ascii_digit()) && !number.is_empty();
    if !plain || is_zero(&number) {
        return None;
    }
    let red = [label, value]
        .map(ElementText::colour)
        .contains(&StatusColour::Red);
    let counted = vocabulary.count_label(&label.text, red)?;
    // Without a noun the context or the colour has to say that it is bad.
    let noun = counted.noun
        || red
        || around
            .iter()
            .any(|text| vocabulary.holds(text, Sense::Noun));
    if !noun {
        return None;
    }
    let labels = || std::iter::once(label.text.as_str()).chain(around.iter().copied());
    let topic = vocabulary.topic(labels());
    let test = labels().any(|text| vocabulary.holds(text, Sense::Test));
    let kind = topic
        .filter(|_| test)
        .or(counted.kind)
        .or(topic)
        .or_else(|| vocabulary.kind_named("availability"))?;
    Some(Claim {
        kind,
        severity: counted.severity,
        subject: label.text.clone(),
        said: digits.to_owned(),
        quotes: vec![
            (label.text.clone(), label.rect),
            (value.text.clone(), value.rect),
        ],
        reason: ClaimReason::Count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_name_nothing() {
        for text in [
            "for 25 days",
            "Aug 05, 2026 16:18",
            "3m ago",
            "2 h",
            "Monday 12:00",
        ] {
            assert!(is_time(text), "{text}");
            assert!(!names_something(text), "{text}");
        }
        for text in [
            "daily-backup",
            "node-25",
            "marketing 2",
            "may-flower",
            "Sunday Times",
        ] {
            assert!(!is_time(text), "{text}");
        }
    }
}
