//! Exchange of streams that browsers can't play and their playable renditions.
//!
//! Contract: playback holds a [`Demand`] while viewers of a stream need a
//! rendition; the transcoder watches [`Renditions::demands`] and runs one
//! encoder per [`Demanded`] for as long as it is listed. So a transcode exists
//! once per stream, however many viewers there are, and only while there are
//! any.
//!
//! Video and audio are demanded separately, since most streams need only their
//! audio transcoded:
//!
//! - [`RenditionKind::Video`]: H.264 without B-frames, at most High profile,
//!   from [`Renditions::video`], a hub like the source's with the same stream
//!   name. Its times are those of the source's units.
//! - [`RenditionKind::LowBitrate`]: the same at a lower resolution and frame
//!   rate and about a third of the source's bitrate, for slow links; from
//!   [`Renditions::low_bitrate`].
//! - [`RenditionKind::Audio`]: Opus at 48 kHz, from [`Renditions::audio`],
//!   supplied by [`Renditions::push_audio`].
//!
//! Demanded video starts at once for any stream: where a group of pictures
//! outgrows the hub's window, the supplier keeps a decoder running.
//!
//! The supplier does not decide what is needed, nor the consumer how it is
//! made; without a supplier, a demand simply stays unmet.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::{broadcast, watch};

use watchtower_base::stream_name::StreamName;
use watchtower_base::sync::Locked as _;

use super::StreamHub;
use crate::MediaTime;

/// Capacity, in packets of 20 ms: 1.3 s. A consumer further behind has stalled,
/// and audio that late is useless.
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

/// Rendition that is demanded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Demanded {
    pub stream: StreamName,
    pub kind: RenditionKind,
}

/// Packet of Opus (RFC 6716).
#[derive(Debug, Clone)]
pub struct OpusPacket {
    /// Time on the source's clock, so that audio and video stay in sync.
    pub pts: MediaTime,
    pub packet: Bytes,
}

/// Hub of all renditions. Cheap to clone.
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
    /// Renditions with a pending keyframe request.
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

    /// Demands a rendition until the result is dropped.
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

    /// True if this rendition is demanded.
    pub fn is_demanded(&self, demanded: &Demanded) -> bool {
        self.inner.demands.locked().contains_key(demanded)
    }

    /// Watch of changes of [`demands`](Self::demands).
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// Hub of the full-size renditions.
    pub fn video(&self) -> &StreamHub {
        &self.inner.video
    }

    /// Hub of the renditions for slow links.
    pub fn low_bitrate(&self) -> &StreamHub {
        &self.inner.low_bitrate
    }

    /// Hub of the video renditions of that kind; `None` for audio.
    pub fn pictures(&self, kind: RenditionKind) -> Option<&StreamHub> {
        match kind {
            RenditionKind::Video => Some(self.video()),
            RenditionKind::LowBitrate => Some(self.low_bitrate()),
            RenditionKind::Audio => None,
        }
    }

    /// Requests a keyframe in that video rendition for a viewer that lost its
    /// picture.
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

    /// Sends an audio packet to the current consumers. Never waits.
    pub fn push_audio(&self, stream: &StreamName, packet: OpusPacket) {
        if let Some(listeners) = self.inner.audio.locked().get(stream) {
            // No consumer left is no error: the demand is about to be dropped.
            let _ = listeners.send(packet);
        }
    }

    /// Subscribes to the audio rendition from now on, supplied already or not.
    pub fn audio(&self, stream: &StreamName) -> broadcast::Receiver<OpusPacket> {
        let mut audio = self.inner.audio.locked();
        // Streams without consumers are removed at the next subscription.
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

/// Demand for a rendition, withdrawn when dropped.
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
    async fn audio_reaches_every_subscriber() {
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
