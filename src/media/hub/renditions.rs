//! Where what browsers can't play meets its playable twin.
//!
//! The contract: whoever serves browsers holds a [`Demand`] for as long as
//! somebody watches a stream that needs one; whoever can transcode watches
//! [`Renditions::demands`] and keeps one encoder per [`Demanded`] running for
//! as long as it stands there. So a transcode exists once per stream, however
//! many watch, and only while they do.
//!
//! Pictures and sound are demanded apart, since most streams need only the
//! sound changed:
//!
//! - [`RenditionKind::Video`]: H.264 without B-frames, at most High profile, out through
//!   [`Renditions::video`], a hub like the one the stream came in by and under
//!   the same name. Its times are those of the source's units.
//! - [`RenditionKind::LowBitrate`]: the same, smaller, with fewer pictures and about a
//!   third of the source's rate, for links that can't hold the stream; out
//!   through [`Renditions::low_bitrate`].
//! - [`RenditionKind::Audio`]: Opus at 48 kHz, in through [`Renditions::push_audio`], out
//!   through [`Renditions::audio`].
//!
//! A picture demanded begins at once, whatever the stream: where its group of
//! pictures outgrows the hub's window, the supplier keeps a decoder that
//! follows it.
//!
//! The supplier decides nothing about need and the consumer nothing about how:
//! with nobody to supply, a demand simply stays unanswered.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::{broadcast, watch};

use watchtower_base::stream_name::StreamName;
use watchtower_base::sync::Locked as _;

use super::StreamHub;
use crate::MediaTime;

/// At 20 ms a packet 64 are 1.3 s: a consumer further behind has stalled, and
/// sound that late is of no use to it.
const AUDIO_QUEUE: usize = 64;

/// Kind of playable rendition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RenditionKind {
    Video,
    LowBitrate,
    Audio,
}

impl RenditionKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::LowBitrate => "low_bitrate",
            Self::Audio => "audio",
        }
    }
}

/// A rendition somebody waits for or watches.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Demanded {
    pub stream: StreamName,
    pub kind: RenditionKind,
}

/// Opus packet (RFC 6716).
#[derive(Debug, Clone)]
pub struct OpusPacket {
    /// On the source's clock, so that sound and picture stay together.
    pub pts: MediaTime,
    pub packet: Bytes,
}

/// All renditions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Renditions {
    inner: Arc<RenditionsState>,
}

#[derive(Debug)]
struct RenditionsState {
    video: StreamHub,
    low_bitrate: StreamHub,
    audio: Mutex<HashMap<StreamName, broadcast::Sender<OpusPacket>>>,
    /// Number of holders of each demand.
    demands: Mutex<BTreeMap<Demanded, usize>>,
    changes: watch::Sender<u64>,
    /// Renditions that are to have a keyframe soon.
    keyframes: Mutex<HashSet<Demanded>>,
}

impl Default for Renditions {
    fn default() -> Self {
        Self::new()
    }
}

impl Renditions {
    pub fn new() -> Self {
        let inner = RenditionsState {
            video: StreamHub::new(),
            low_bitrate: StreamHub::new(),
            audio: Mutex::default(),
            demands: Mutex::default(),
            changes: watch::Sender::new(0),
            keyframes: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Stands until dropped.
    pub fn demand(&self, stream: &StreamName, kind: RenditionKind) -> Demand {
        let demanded = Demanded {
            stream: stream.clone(),
            kind,
        };
        *self
            .inner
            .demands
            .locked()
            .entry(demanded.clone())
            .or_default() += 1;
        self.note_change();
        Demand {
            renditions: self.clone(),
            demanded,
        }
    }

    /// Renditions demanded now.
    pub fn demands(&self) -> Vec<Demanded> {
        self.inner.demands.locked().keys().cloned().collect()
    }

    /// True if anybody waits for or watches just this rendition.
    pub fn is_demanded(&self, demanded: &Demanded) -> bool {
        self.inner.demands.locked().contains_key(demanded)
    }

    /// Changes whenever [`demands`](Self::demands) may have.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// Where playable pictures of full size are published and subscribed to.
    pub fn video(&self) -> &StreamHub {
        &self.inner.video
    }

    /// Where the pictures for slow links are published and subscribed to.
    pub fn low_bitrate(&self) -> &StreamHub {
        &self.inner.low_bitrate
    }

    /// Where pictures of that kind are; `None` for sound.
    pub fn pictures(&self, kind: RenditionKind) -> Option<&StreamHub> {
        match kind {
            RenditionKind::Video => Some(self.video()),
            RenditionKind::LowBitrate => Some(self.low_bitrate()),
            RenditionKind::Audio => None,
        }
    }

    /// Asks for a keyframe in the playable pictures of that kind: a viewer has
    /// lost its picture.
    pub fn request_keyframe(&self, stream: &StreamName, kind: RenditionKind) {
        self.inner.keyframes.locked().insert(Demanded {
            stream: stream.clone(),
            kind,
        });
    }

    /// True if a keyframe was requested since the last call.
    pub fn take_keyframe_request(&self, demanded: &Demanded) -> bool {
        self.inner.keyframes.locked().remove(demanded)
    }

    /// Hands a packet of playable sound to whoever listens now. Never waits.
    pub fn push_audio(&self, stream: &StreamName, packet: OpusPacket) {
        if let Some(listeners) = self.inner.audio.locked().get(stream) {
            // Nobody left to listen is no fault: the demand is about to go.
            let _ = listeners.send(packet);
        }
    }

    /// Playable sound from now on, whether or not anybody supplies it yet.
    pub fn audio(&self, stream: &StreamName) -> broadcast::Receiver<OpusPacket> {
        let mut audio = self.inner.audio.locked();
        // Streams nobody listens to any more leave with the next listener.
        audio.retain(|_, listeners| listeners.receiver_count() > 0);
        audio
            .entry(stream.clone())
            .or_insert_with(|| broadcast::channel(AUDIO_QUEUE).0)
            .subscribe()
    }

    fn note_change(&self) {
        self.inner.changes.send_modify(|count| *count += 1);
    }
}

/// Keeps a rendition wanted; dropping it withdraws.
#[derive(Debug)]
pub struct Demand {
    renditions: Renditions,
    demanded: Demanded,
}

impl Drop for Demand {
    fn drop(&mut self) {
        let mut demands = self.renditions.inner.demands.locked();
        if let Some(holders) = demands.get_mut(&self.demanded) {
            *holders -= 1;
            if *holders == 0 {
                demands.remove(&self.demanded);
                self.renditions.take_keyframe_request(&self.demanded);
            }
        }
        drop(demands);
        self.renditions.note_change();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demand_stands_while_anybody_holds_it() {
        let renditions = Renditions::new();
        let name = StreamName::new("team").expect("valid");
        let changes = renditions.changes();
        let first = renditions.demand(&name, RenditionKind::Audio);
        let second = renditions.demand(&name, RenditionKind::Audio);
        assert_eq!(renditions.demands().len(), 1);
        drop(first);
        assert_eq!(renditions.demands().len(), 1);
        drop(second);
        assert!(renditions.demands().is_empty());
        assert!(changes.has_changed().expect("alive"));
    }

    #[tokio::test]
    async fn sound_reaches_whoever_listens() {
        let renditions = Renditions::new();
        let name = StreamName::new("team").expect("valid");
        let mut audio = renditions.audio(&name);
        let packet = OpusPacket {
            pts: MediaTime(7),
            packet: Bytes::from_static(b"opus"),
        };
        renditions.push_audio(&name, packet);
        assert_eq!(audio.recv().await.expect("sent").pts, MediaTime(7));
    }
}
