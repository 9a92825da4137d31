//! What has changed since an analyst's last look.

use crate::config::{AgentConfig, Frames};
use crate::media::{Frame, Rect, TextLine};
use crate::model::News;
use crate::screen::diff;

/// A larger part of the picture is the picture.
const LARGEST: f64 = 0.4;
/// Around a changed part, so that it is seen with what it belongs to.
const MARGIN: u32 = 16;

/// What an analyst remembers of its last look at a stream.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) scene: u64,
    pub(super) seq: u64,
    /// Of the picture.
    size: (u32, u32),
    /// As it may leave.
    text: Vec<TextLine>,
}

impl Looked {
    pub(super) fn at(frame: &Frame) -> Self {
        Self {
            scene: frame.scene,
            seq: frame.seq,
            size: (frame.picture.width, frame.picture.height),
            text: frame.text.as_deref().unwrap_or_default().to_vec(),
        }
    }

    /// Tells whether there is anything on a picture that was not looked at.
    /// Reading the frames tells it by their scene; where nobody does, a change
    /// must have been seen: a heartbeat alone would be paid for twice a minute.
    pub(super) fn is_before(&self, frame: &Frame) -> bool {
        match frame.text {
            Some(_) => self.scene != frame.scene,
            None => self.scene < frame.changes.seen(),
        }
    }
}

/// `frame` is as it may leave.
pub(super) fn since(last: Option<&Looked>, frame: &Frame, agent: &AgentConfig) -> News {
    let size = (frame.picture.width, frame.picture.height);
    let last = last.filter(|last| last.size == size);
    let text = frame.text.as_deref().unwrap_or_default();
    let Some(last) = last else {
        return News {
            first: true,
            appeared: text.iter().map(|line| line.text.clone()).collect(),
            ..News::default()
        };
    };
    let diff = diff(&last.text, text);
    let said = |lines: &[TextLine], indexes: &[usize]| {
        let texts = indexes.iter().filter_map(|index| lines.get(*index));
        texts.map(|line| line.text.clone()).collect()
    };
    News {
        first: false,
        regions: match agent.frames {
            Frames::Changed => regions(frame, last.scene, agent.max_regions),
            Frames::Full => Vec::new(),
        },
        appeared: said(text, &diff.appeared),
        vanished: said(&last.text, &diff.vanished),
    }
}

fn regions(frame: &Frame, since: u64, most: usize) -> Vec<Rect> {
    let (width, height) = (frame.picture.width, frame.picture.height);
    let whole = f64::from(width) * f64::from(height);
    let mut regions = frame.changes.seen_since(since, width, height);
    regions.retain(|rect| (rect.area() as f64) < LARGEST * whole);
    regions.sort_by_key(|rect| std::cmp::Reverse(rect.area()));
    regions.truncate(most);
    let grown = regions.iter().map(|rect| rect.grown(MARGIN, width, height));
    grown.collect()
}
