//! Low-bitrate rendition of a stream for viewers whose link can't carry the
//! full one: requested while any viewer is served from it, one for all of them.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use watchtower_base::stream_name::StreamName;
use watchtower_media::hub::renditions::{Demand, RenditionKind, Renditions};
use watchtower_media::hub::{Received, StreamHub, Subscriber};
use watchtower_media::{AccessUnit, MediaUnit};
use watchtower_transport::clock::Timebase;
use watchtower_transport::packetizer;

use crate::packet_cache::PacketCache;

/// Time an encoder is kept after its last viewer: links recover and fail again.
const LINGER: Duration = Duration::from_secs(10);

/// Shortest interval of keyframe requests.
const HURRY: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Small {
    state: Option<ActiveRendition>,
}

struct ActiveRendition {
    _demand: Demand,
    changes: watch::Receiver<u64>,
    subscriber: Option<Subscriber>,
    history: PacketCache,
    wanted: Instant,
    /// Time of the last keyframe request.
    keyframe_requested: Instant,
}

impl Small {
    /// Its packets; `None` before the first.
    pub(super) fn history(&self) -> Option<&PacketCache> {
        let history = &self.state.as_ref()?.history;
        history.keyframe().is_some().then_some(history)
    }

    /// Demands the rendition, or releases it some time after the last `wanted`.
    /// True if it was released.
    pub(super) fn want(
        &mut self,
        wanted: bool,
        renditions: &Renditions,
        name: &StreamName,
        now: Instant,
    ) -> bool {
        match &mut self.state {
            Some(state) if wanted => state.wanted = now,
            Some(state) if now.saturating_duration_since(state.wanted) > LINGER => {
                self.state = None;
                return true;
            }
            None if wanted => {
                tracing::info!(stream = %name, "transcoding a low-resolution rendition");
                self.state = Some(ActiveRendition {
                    _demand: renditions.demand(name, RenditionKind::LowBitrate),
                    changes: hub(renditions).changes(),
                    subscriber: None,
                    history: PacketCache::default(),
                    wanted: now,
                    keyframe_requested: now,
                });
            }
            _ => {}
        }
        false
    }

    /// Requests a keyframe for viewers that wait to switch to it: one for all
    /// of them, rate-limited.
    pub(super) fn hurry(&mut self, renditions: &Renditions, name: &StreamName, now: Instant) {
        if let Some(state) = &mut self.state
            && now.saturating_duration_since(state.keyframe_requested) > HURRY
        {
            state.keyframe_requested = now;
            renditions.request_keyframe(name, RenditionKind::LowBitrate);
        }
    }

    /// Discards its packets after a change of publisher.
    pub(super) fn forget(&mut self) {
        if let Some(state) = &mut self.state {
            state.history = PacketCache::default();
        }
    }

    pub(super) fn show(&mut self, unit: &AccessUnit, timebase: &Timebase, now: Instant) {
        if let Some(state) = &mut self.state {
            let time = timebase.video(unit.pts);
            state
                .history
                .push(packetizer::packetize(unit), unit.keyframe, time, now);
        }
    }

    /// Next picture. Cancel safe.
    pub(super) async fn next(&mut self, renditions: &Renditions, name: &StreamName) -> AccessUnit {
        let Some(state) = &mut self.state else {
            return std::future::pending().await;
        };
        loop {
            let Some(subscriber) = &mut state.subscriber else {
                state.changes.borrow_and_update();
                state.subscriber = hub(renditions).subscribe(name);
                if state.subscriber.is_none() && state.changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            };
            match subscriber.recv().await {
                Some(Received::Unit(MediaUnit::Video(unit))) => return unit,
                Some(_) => {}
                None => state.subscriber = None,
            }
        }
    }
}

fn hub(renditions: &Renditions) -> &StreamHub {
    renditions.low_bitrate()
}
