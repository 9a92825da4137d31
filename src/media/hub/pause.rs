//! Pause of a stream by the person who shares it: a state that consumers
//! observe. The publisher sends a card in the meantime.

use jiff::Timestamp;

use watchtower_base::stream_name::StreamName;
use watchtower_base::sync::Locked as _;

use super::{StreamHub, UnitWindow};
use crate::MediaUnit;

impl StreamHub {
    /// Pauses or resumes the stream of the current publisher; true if there is
    /// one. A new publisher begins without a pause.
    ///
    /// While paused the stream has no sound, it is not decoded for analysts, and
    /// no subscriber starts at a picture from before the pause.
    pub fn set_paused(&self, name: &StreamName, paused: bool) -> bool {
        let Some(stream) = self.inner.streams.locked().get(name).cloned() else {
            return false;
        };
        let mut window = stream.window.locked();
        if window.session.lost.is_some() {
            return false;
        }
        let changes = window.session.paused.is_some() != paused;
        if changes {
            window.session.paused = paused.then(Timestamp::now);
        }
        if changes && paused {
            window.keyframe = None;
        }
        drop(window);
        if changes {
            self.note_change();
            // Of the card, or of the screen again.
            stream.keyframe_requests.notify_one();
        }
        true
    }

    /// True while the stream is paused.
    pub fn is_paused(&self, name: &StreamName) -> bool {
        let stream = self.inner.streams.locked().get(name).cloned();
        stream.is_some_and(|stream| stream.window.locked().session.paused.is_some())
    }
}

impl UnitWindow {
    /// True for a unit that is not passed on: a picture before the first
    /// keyframe, which can't be decoded, and sound while paused.
    pub(super) fn withholds(&self, unit: &MediaUnit) -> bool {
        match unit {
            MediaUnit::Video(unit) => !unit.keyframe && !self.session.keyed,
            MediaUnit::Audio(_) => self.session.paused.is_some(),
        }
    }
}
