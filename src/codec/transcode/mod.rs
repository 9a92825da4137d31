//! Transcoding to formats that browsers play, on demand while a viewer needs
//! it.
//!
//! ```text
//! Renditions: demands ---> Supplier, one thread per demand
//!                              |
//!  StreamHub --AAC---> audio --+--Opus---> Renditions
//!            --any---> video --+--H.264--> Renditions
//! ```
//!
//! Owns how a rendition is made; whether one is needed is decided by playback
//! (see [`watchtower_media::hub::renditions`]).

mod audio;
mod rate;
mod video;
mod worker;
mod x264;

#[cfg(test)]
mod pixels;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use worker::TranscodeEnd;

use watchtower_media::hub::renditions::{Demanded, RenditionKind, Renditions};
use watchtower_media::hub::{StreamHub, Subscriber};

use crate::metrics::CodecMetrics;

/// Delay before a failed transcode is restarted.
const AGAIN: Duration = Duration::from_secs(1);

/// Interval of the check for groups of pictures that outgrow the hub's window.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Share of that window from which a decoder follows the stream.
const OUTGROWN: f32 = 0.5;

/// Runs the demanded transcodes until `shutdown`. If enabled, also decodes
/// streams whose group of pictures is too long for a viewer to start with.
pub async fn supply(
    hub: StreamHub,
    renditions: Renditions,
    metrics: Arc<CodecMetrics>,
    follow: bool,
    shutdown: CancellationToken,
) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut demands = renditions.changes();
    let mut streams = hub.changes();
    let mut running: HashMap<Demanded, CancellationToken> = HashMap::new();
    let mut transcodes = JoinSet::new();
    loop {
        demands.borrow_and_update();
        streams.borrow_and_update();
        let mut wanted = renditions.demands();
        if follow {
            wanted.extend(outgrown(&hub));
        }
        for (demanded, stop) in &running {
            if !wanted.contains(demanded) {
                stop.cancel();
            }
        }
        for demanded in wanted {
            if running.contains_key(&demanded) {
                continue;
            }
            let Some(subscriber) = source(&hub, &renditions, &demanded) else {
                continue;
            };
            let stop = CancellationToken::new();
            running.insert(demanded.clone(), stop.clone());
            let (renditions, metrics) = (renditions.clone(), Arc::clone(&metrics));
            transcodes.spawn(async move {
                let ended =
                    worker::run(&demanded, subscriber, renditions, metrics, stop.clone()).await;
                if ended == TranscodeEnd::Failed {
                    stop.run_until_cancelled(tokio::time::sleep(AGAIN)).await;
                }
                demanded
            });
        }
        tokio::select! {
            _ = demands.changed() => {}
            _ = streams.changed() => {}
            _ = looks.tick() => {}
            Some(Ok(demanded)) = transcodes.join_next() => {
                running.remove(&demanded);
            }
            () = shutdown.cancelled() => break,
        }
    }
    for stop in running.values() {
        stop.cancel();
    }
    while transcodes.join_next().await.is_some() {}
}

/// Streams that a decoder has to follow, so that late viewers can start.
fn outgrown(hub: &StreamHub) -> Vec<Demanded> {
    let names = hub.streams().into_iter().map(|info| info.name);
    let long = names.filter(|name| hub.group_share(name).is_some_and(|share| share >= OUTGROWN));
    let video = |stream| Demanded {
        stream,
        kind: RenditionKind::Video,
    };
    long.map(video).collect()
}

/// Source of a rendition: the stream itself, or its full-size rendition if only
/// that has a start point.
fn source(hub: &StreamHub, renditions: &Renditions, demanded: &Demanded) -> Option<Subscriber> {
    let stream = &demanded.stream;
    let long = hub.group_share(stream).is_some_and(|share| share >= 1.0);
    match demanded.kind {
        RenditionKind::LowBitrate if long => renditions.video().subscribe(stream),
        RenditionKind::LowBitrate | RenditionKind::Video => hub.subscribe(stream),
        RenditionKind::Audio => hub.listen(stream),
    }
}
