//! Changes on a stream since the last frame an analyst analysed.

use std::collections::HashSet;
use std::sync::Arc;

use watchtower_models::model::ScreenChanges;
use watchtower_screen::frame::Frame;
use watchtower_screen::picture::{Rect, TextLine};
use watchtower_screen::redact::RedactedFrame;
use watchtower_screen::text::diff;

use crate::settings::{AgentConfig, Frames};

/// Maximum share of the picture for a region: a larger one is the whole
/// picture.
const LARGEST: f64 = 0.4;
/// Margin around a changed region, so that it is seen in its context.
const MARGIN: u32 = 16;

/// State of the last frame of a stream an analyst analysed.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) scene: u64,
    pub(super) seq: u64,
    scenes: u64,
    /// Width and height of the frame, in pixels.
    size: (u32, u32),
    /// Redacted text.
    text: Vec<TextLine>,
}

impl Looked {
    pub(super) fn at(frame: &RedactedFrame) -> Self {
        Self {
            scene: frame.scene,
            seq: frame.seq,
            scenes: frame.scenes,
            size: (frame.picture.width, frame.picture.height),
            text: frame.text.as_deref().unwrap_or_default().to_vec(),
        }
    }

    /// Reportable changes up to the newest of these frames that are on none of
    /// them: others replaced them before they could be shown.
    pub(super) fn unshown(&self, shown: &[Arc<Frame>]) -> u64 {
        let mut scenes: Vec<u64> = shown.iter().map(|frame| frame.scenes).collect();
        scenes.retain(|nth| *nth > self.scenes);
        scenes.dedup();
        let newest = scenes.last().copied().unwrap_or(self.scenes);
        (newest - self.scenes).saturating_sub(scenes.len() as u64)
    }

    /// True if a frame shows anything not analysed yet. With OCR the scenes are
    /// compared; without it a change must have been detected: a heartbeat alone
    /// would cost two requests a minute.
    pub(super) fn is_before(&self, frame: &Frame) -> bool {
        match frame.text {
            Some(_) => self.scene != frame.scene,
            None => self.scene < frame.changes.seen(),
        }
    }
}

/// Changes of `frame` since the last one analysed, redacted.
pub(super) fn since(
    last: Option<&Looked>,
    frame: &RedactedFrame,
    agent: &AgentConfig,
) -> ScreenChanges {
    let size = (frame.picture.width, frame.picture.height);
    let last = last.filter(|last| last.size == size);
    let text = frame.text.as_deref().unwrap_or_default();
    let told = |indexes: &[usize]| match agent.plain_text {
        true => plain(text, indexes),
        false => structured(frame, text, indexes),
    };
    let Some(last) = last else {
        return ScreenChanges {
            first: true,
            plain: agent.plain_text,
            appeared: told(&(0..text.len()).collect::<Vec<_>>()),
            ..ScreenChanges::default()
        };
    };
    let diff = diff(&last.text, text);
    let vanished = diff
        .vanished
        .iter()
        .filter_map(|index| last.text.get(*index));
    ScreenChanges {
        first: false,
        regions: match agent.frames {
            Frames::Changed => regions(frame, last.scene, agent.max_regions),
            Frames::Full => Vec::new(),
        },
        plain: agent.plain_text,
        appeared: told(&diff.appeared),
        vanished: vanished.map(|line| line.text.clone()).collect(),
    }
}

/// Lines as OCR read them.
fn plain(text: &[TextLine], indexes: &[usize]) -> Vec<String> {
    let lines = indexes.iter().filter_map(|index| text.get(*index));
    lines.map(|line| line.text.clone()).collect()
}

/// Rows, labels with values, and texts of the layout that hold any of these
/// lines: a cell alone does not say what it is of.
fn structured(frame: &RedactedFrame, text: &[TextLine], indexes: &[usize]) -> Vec<String> {
    let wanted: HashSet<usize> = indexes.iter().copied().collect();
    let mut seen: HashSet<usize> = HashSet::new();
    let mut texts = Vec::new();
    for line in frame.layout().lines() {
        seen.extend(&line.lines);
        if !line.text.is_empty() && line.lines.iter().any(|index| wanted.contains(index)) {
            texts.push(line.text);
        }
    }
    let others = indexes.iter().filter(|index| !seen.contains(*index));
    let others = others.filter_map(|index| text.get(*index));
    texts.extend(others.map(|line| line.text.clone()));
    texts
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;
    use watchtower_base::stream_name::StreamName;
    use watchtower_media::MediaTime;
    use watchtower_screen::picture::Picture;
    use watchtower_screen::redact::Redact;

    fn frame(seq: u64, scenes: u64) -> Arc<Frame> {
        let stream = StreamName::new("wall").unwrap();
        let picture = Arc::new(Picture::grey(64, 64));
        let at = Timestamp::UNIX_EPOCH;
        let mut frame = Frame::new(stream, seq, MediaTime(0), at, picture, |_| Ok(Bytes::new()));
        frame.scenes = scenes;
        Arc::new(frame)
    }

    #[test]
    fn a_changed_cell_is_told_with_its_row() {
        let line = |text: &str, x, y| TextLine {
            text: text.to_owned(),
            rect: Rect {
                x,
                y,
                width: 10 * text.len() as u32,
                height: 16,
            },
            confidence: 0.95,
        };
        let screen = |seq, state: &str| {
            let stream = StreamName::new("wall").unwrap();
            let picture = Arc::new(Picture::grey(640, 360));
            let at = Timestamp::UNIX_EPOCH;
            let mut frame =
                Frame::new(stream, seq, MediaTime(0), at, picture, |_| Ok(Bytes::new()));
            frame.text = Some(Arc::from(vec![
                line("Name", 20, 20),
                line("State", 220, 20),
                line("Age", 420, 20),
                line("checkout", 20, 60),
                line(state, 220, 60),
                line("3d", 420, 60),
                line("cart", 20, 100),
                line("Running", 220, 100),
                line("9d", 420, 100),
            ]));
            RedactedFrame::of(&Arc::new(frame), Redact::Secrets).unwrap()
        };
        let (before, after) = (screen(1, "Running"), screen(2, "Failed"));
        let agent = AgentConfig::new(Arc::default());
        let first = since(None, &before, &agent);
        assert_eq!(
            first.appeared,
            [
                "Name | State | Age",
                "checkout | Running | 3d",
                "cart | Running | 9d"
            ]
        );
        let then = since(Some(&Looked::at(&before)), &after, &agent);
        assert_eq!(then.appeared, ["checkout | Failed | 3d"]);
        assert_eq!(then.vanished, ["Running"]);
        // Without the structure, for comparison.
        let plain = AgentConfig {
            plain_text: true,
            ..agent
        };
        let first = since(None, &before, &plain);
        assert_eq!(
            first.appeared,
            [
                "Name", "State", "Age", "checkout", "Running", "3d", "cart", "Running", "9d"
            ]
        );
        let then = since(Some(&Looked::at(&before)), &after, &plain);
        assert_eq!(
            (then.plain, then.appeared),
            (true, vec!["Failed".to_owned()])
        );
    }

    #[test]
    fn changes_that_were_never_shown_are_counted() {
        let last = RedactedFrame::of(&frame(10, 3), Redact::Off).unwrap();
        let last = Looked::at(&last);
        let of = |shown: &[(u64, u64)]| {
            let shown: Vec<_> = shown.iter().map(|(seq, told)| frame(*seq, *told)).collect();
            last.unshown(&shown)
        };
        assert_eq!(of(&[(20, 4)]), 0, "the next one");
        assert_eq!(of(&[(40, 8)]), 4, "four came and went between");
        assert_eq!(of(&[(20, 5), (30, 6), (40, 6), (50, 8)]), 2);
        assert_eq!(of(&[(40, 3)]), 0, "nothing new");
        assert_eq!(of(&[(1, 1)]), 0, "it came back");
        assert_eq!(of(&[]), 0);
    }
}
