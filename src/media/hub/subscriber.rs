//! Position of a consumer in a stream: it never blocks the publisher, and is
//! notified of losses.

use std::sync::Arc;

use tokio::sync::watch;

use watchtower_base::stream_name::StreamName;
use watchtower_base::sync::Locked as _;

use super::{HubStream, Signal, Tail, UnitWindow};
use crate::MediaUnit;

#[derive(Debug, Clone, Copy)]
pub(super) enum Cursor {
    At(u64),
    /// Nothing is returned before the next keyframe at or after this index.
    AwaitKeyframe(u64),
}

/// Item a subscriber receives.
#[derive(Debug, Clone)]
pub enum Received {
    Unit(MediaUnit),
    /// That many units were lost; the next video unit is a keyframe.
    Lost(u64),
    /// The publisher is gone; everything it sent has been received.
    SignalLost,
    /// Later units are another publisher's, or of one that has returned: their
    /// timestamps are unrelated to those before, and the first video unit is a
    /// keyframe.
    Restarted,
}

/// Position of one consumer in a stream.
#[derive(Debug)]
pub struct Subscriber {
    pub(super) stream: Arc<HubStream>,
    pub(super) tail: watch::Receiver<Tail>,
    pub(super) cursor: Cursor,
    /// Publisher session of the last unit received.
    pub(super) publisher: Option<u64>,
    pub(super) loss_reported: bool,
    pub(super) needs_keyframe: bool,
}

impl Subscriber {
    pub fn name(&self) -> &StreamName {
        &self.stream.name
    }

    /// Next unit; `None` when the stream has ended and everything was received.
    /// Cancel safe.
    pub async fn recv(&mut self) -> Option<Received> {
        loop {
            // Marked as seen before the check, so that `changed` below notices
            // a push in between.
            let tail = *self.tail.borrow_and_update();
            if let Some(received) = self.take() {
                return Some(received);
            }
            match tail.signal {
                Signal::Over => return None,
                Signal::Lost if !self.loss_reported => {
                    self.loss_reported = true;
                    return Some(Received::SignalLost);
                }
                Signal::Lost | Signal::There => {}
            }
            if self.tail.changed().await.is_err() {
                return None;
            }
        }
    }

    /// Number of units that can be received at once.
    pub fn waiting(&self) -> u64 {
        match self.cursor {
            Cursor::At(index) => self.tail.borrow().next.saturating_sub(index),
            Cursor::AwaitKeyframe(_) => 0,
        }
    }

    pub(super) fn take(&mut self) -> Option<Received> {
        let window = self.stream.window.locked();
        if let Cursor::AwaitKeyframe(from) = self.cursor {
            let keyframe = window
                .keyframe
                .filter(|index| *index >= from.max(window.first));
            let Some(keyframe) = keyframe else {
                return took_up(&window, &mut self.loss_reported, &mut self.publisher);
            };
            self.cursor = Cursor::At(keyframe);
        }
        let Cursor::At(index) = self.cursor else {
            return None;
        };
        if index < window.first {
            let resume = match self.needs_keyframe {
                true => window.keyframe.filter(|keyframe| *keyframe >= window.first),
                false => Some(window.next()),
            };
            let to = resume.unwrap_or_else(|| window.next());
            self.cursor = resume.map_or(Cursor::AwaitKeyframe(to), Cursor::At);
            return Some(Received::Lost(to - index));
        }
        let (publisher, unit) = window.get(index)?;
        let before = self.publisher.replace(*publisher);
        // A return is reported after a loss was, even if no unit came before.
        let was_lost = std::mem::take(&mut self.loss_reported);
        if before.map_or(was_lost, |before| before != *publisher) {
            return Some(Received::Restarted);
        }
        self.cursor = Cursor::At(index + 1);
        Some(Received::Unit(unit.clone()))
    }
}

/// Wakes consumers that wait for a keyframe when units arrive again: an
/// audio-only stream never has one.
fn took_up(
    window: &UnitWindow,
    loss_reported: &mut bool,
    publisher: &mut Option<u64>,
) -> Option<Received> {
    let (newest, _) = window.units.back()?;
    if !*loss_reported || window.session.lost.is_some() || *newest != window.session.id {
        return None;
    }
    *loss_reported = false;
    *publisher = Some(*newest);
    Some(Received::Restarted)
}
