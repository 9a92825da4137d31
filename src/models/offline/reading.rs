//! Reading of a screen that all analysts share: its text by rows and elements,
//! what the rules match and what the screen itself says, each computed once, and
//! who reports it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use watchtower_base::stream_name::StreamName;
use watchtower_base::sync::Locked as _;
use watchtower_screen::picture::{Rect, TextLine};
use watchtower_screen::redact::RedactedFrame;

use super::meaning::{self, MeaningFinding};
use super::memory::folded;
use super::rule::{MatchedText, Rule, Subject};
use super::rules::Rules;
use super::screen::FrameText;
use super::window::Windows;

/// Readings kept: those of the streams that are analysed at this moment.
const KEPT: usize = 64;

/// Text and matches of one reading, for all analysts of a panel.
#[derive(Debug)]
pub(super) struct ScreenReading {
    pub(super) text: MatchedText,
    /// Words of its rows, by which a screen is recognised.
    pub(super) words: HashSet<String>,
    /// Subjects of the rules without a window, by the index of the rule. Those that
    /// two analysts would quote alike are left to one of them.
    pub(super) matched: Vec<(usize, Vec<Subject>)>,
    /// Problems that the screen tells and no rule matches.
    pub(super) meanings: Vec<MeaningFinding>,
}

/// Readings of late, shared by the analysts that use the same rules.
#[derive(Debug, Default)]
pub(super) struct SharedReadings(Mutex<Vec<SharedReading>>);

#[derive(Debug)]
struct SharedReading {
    /// Text that was read: while it is referred to, no other has its address.
    text: Weak<[TextLine]>,
    stream: StreamName,
    seq: u64,
    panel: Vec<String>,
    reading: Arc<OnceLock<ScreenReading>>,
}

impl SharedReadings {
    /// Reading of a frame, computed by the first analyst of the panel that asks.
    pub(super) fn of(
        &self,
        frame: &RedactedFrame,
        rules: &Rules,
        panel: &[String],
    ) -> Arc<OnceLock<ScreenReading>> {
        let slot = match &frame.text {
            Some(text) => self.slot(frame, text, panel),
            None => Arc::default(),
        };
        slot.get_or_init(|| ScreenReading::of(frame, rules, panel));
        slot
    }

    fn slot(
        &self,
        frame: &RedactedFrame,
        text: &Arc<[TextLine]>,
        panel: &[String],
    ) -> Arc<OnceLock<ScreenReading>> {
        let mut kept = self.0.locked();
        let same = kept.iter().find(|kept| {
            std::ptr::addr_eq(kept.text.as_ptr(), Arc::as_ptr(text))
                && kept.seq == frame.seq
                && kept.stream == frame.stream
                && kept.panel == panel
        });
        if let Some(same) = same {
            return Arc::clone(&same.reading);
        }
        // A text that nobody holds is of a frame that is gone.
        kept.retain(|kept| kept.text.strong_count() > 0);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        let reading = Arc::default();
        kept.push(SharedReading {
            text: Arc::downgrade(text),
            stream: frame.stream.clone(),
            seq: frame.seq,
            panel: panel.to_vec(),
            reading: Arc::clone(&reading),
        });
        reading
    }
}

impl ScreenReading {
    fn of(frame: &RedactedFrame, rules: &Rules, panel: &[String]) -> Self {
        let lines = frame.text.as_deref().unwrap_or_default();
        let (width, height) = (frame.picture.width, frame.picture.height);
        let layout = frame.layout();
        let text = MatchedText {
            rows: FrameText::new(lines, width, height),
            elements: FrameText::of_layout(layout, lines),
        };
        let words = text.rows.rows.iter().map(|row| folded(&row.text)).collect();
        let active: Vec<(usize, &Rule)> = (rules.rules.iter().enumerate())
            .filter(|(_, rule)| rule.is_on(panel))
            .collect();
        let simple = active.iter().filter(|(_, rule)| rule.window.is_none());
        let over = meaning::resolved_rows(&rules.vocabulary, layout);
        let over: Vec<_> = (over.iter())
            .map(|rect| rect.thousandths(width, height))
            .collect();
        let matched = simple.filter_map(|(index, rule)| {
            let mut subjects = rule.subjects(&text, frame.captured_at, &mut Windows::default());
            without(&mut subjects, rule, &text, &over);
            (!subjects.is_empty()).then_some((*index, subjects))
        });
        let matched = one_each(&matched.collect::<Vec<_>>(), rules, &text, panel);
        let covered = |quotes: &[(String, Rect)]| {
            let boxes = quotes
                .iter()
                .map(|(_, rect)| rect.thousandths(width, height));
            covers(&active, &text, &boxes.collect::<Vec<_>>())
        };
        let meanings = meaning::findings(&rules.vocabulary, layout, covered);
        Self {
            text,
            words,
            matched,
            meanings,
        }
    }
}

/// Leaves out matches in rows that say that they are over.
fn without(subjects: &mut Vec<Subject>, rule: &Rule, text: &MatchedText, over: &[[u16; 4]]) {
    let screen = rule.text_of(text);
    for subject in subjects.iter_mut() {
        let all = subject.matches.len();
        subject.matches.retain(|found| {
            let place = screen.evidence(found.row, found.part).bounds;
            !place.is_some_and(|place| over.iter().any(|row| overlap(&place, row)))
        });
        subject.count -= all - subject.matches.len();
    }
    subjects.retain(|subject| !subject.matches.is_empty() && subject.count >= rule.at_least);
}

/// Matches without those that another analyst's rule makes in the same places:
/// the most severe of them is kept, of equals the first.
fn one_each(
    matched: &[(usize, Vec<Subject>)],
    rules: &Rules,
    text: &MatchedText,
    panel: &[String],
) -> Vec<(usize, Vec<Subject>)> {
    let owners = |index: usize| {
        let mine = |agent: &&String| rules.rules[index].is_for(agent, panel);
        panel.iter().filter(mine).collect::<Vec<_>>()
    };
    let places = |index: usize, subject: &Subject| {
        let screen = rules.rules[index].text_of(text);
        let places = subject.matches.iter();
        let places = places.filter_map(|found| screen.evidence(found.row, found.part).bounds);
        places.collect::<HashSet<_>>()
    };
    let all: Vec<_> = matched
        .iter()
        .flat_map(|(index, subjects)| {
            let places = subjects.iter().map(|subject| places(*index, subject));
            places.map(|places| (*index, places))
        })
        .collect();
    let ceded = |index: usize, subject: &Subject| {
        let own = places(index, subject);
        all.iter().any(|(other, theirs)| {
            let first =
                (rules.rules[*other].severity, *other) < (rules.rules[index].severity, index);
            first && own.is_subset(theirs) && owners(*other) != owners(index)
        })
    };
    let kept = matched.iter().filter_map(|(index, subjects)| {
        let subjects = subjects.iter().filter(|subject| !ceded(*index, subject));
        let subjects: Vec<_> = subjects.cloned().collect();
        (!subjects.is_empty()).then_some((*index, subjects))
    });
    kept.collect()
}

/// True if a rule matches in one of these places.
fn covers(active: &[(usize, &Rule)], text: &MatchedText, boxes: &[[u16; 4]]) -> bool {
    let near = |screen: &FrameText| -> Vec<usize> {
        let rows = 0..screen.rows.len();
        rows.filter(|row| {
            let whole = (0, screen.rows[*row].text.len());
            let place = screen.evidence(*row, whole).bounds;
            place.is_some_and(|place| boxes.iter().any(|other| overlap(&place, other)))
        })
        .collect()
    };
    let (rows, elements) = (near(&text.rows), near(&text.elements));
    active.iter().any(|(_, rule)| {
        let near = if rule.shape.is_some() {
            &elements
        } else {
            &rows
        };
        let places = near.iter().flat_map(|row| rule.places_on(text, *row));
        places
            .into_iter()
            .any(|place| boxes.iter().any(|other| overlap(&place, other)))
    })
}

/// True if two boxes overlap.
pub(super) fn overlap(a: &[u16; 4], b: &[u16; 4]) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}
