//! Decoders: one per live stream, for the lifetime of the stream.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use watchtower_base::stream_name::StreamName;
use watchtower_codec as codec;
use watchtower_codec::metrics::CodecMetrics;
use watchtower_codec::{DecodeEnd, Decoder};
use watchtower_media::hub::StreamHub;
use watchtower_screen::frames::FrameBus;

/// Before a decoder that failed is started again.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs until `sources` is cancelled and the last stream has ended.
pub(super) async fn run(
    hub: StreamHub,
    frames: FrameBus,
    streams: Gauge,
    metrics: Arc<CodecMetrics>,
    fastest: watch::Receiver<Duration>,
    sources: CancellationToken,
) {
    let mut changes = hub.changes();
    let mut running = HashSet::new();
    let mut decoders = JoinSet::new();
    loop {
        changes.borrow_and_update();
        let live = hub.streams();
        let with_signal = live.iter().filter(|info| info.lost_since.is_none());
        streams.set(with_signal.count() as i64);
        for info in live {
            if running.insert(info.name.clone()) {
                let work = decode(
                    info.name,
                    hub.clone(),
                    frames.clone(),
                    Arc::clone(&metrics),
                    fastest.clone(),
                );
                decoders.spawn(work);
            }
        }
        tokio::select! {
            _ = changes.changed() => {}
            Some(ended) = decoders.join_next() => {
                if let Ok(name) = ended {
                    running.remove(&name);
                }
            }
            () = sources.cancelled() => break,
        }
    }
    while decoders.join_next().await.is_some() {}
    streams.set(0);
}

/// Returns when the stream has ended, or a moment after the decoder failed.
async fn decode(
    name: StreamName,
    hub: StreamHub,
    frames: FrameBus,
    metrics: Arc<CodecMetrics>,
    fastest: watch::Receiver<Duration>,
) -> StreamName {
    let Some(subscriber) = hub.subscribe(&name) else {
        return name;
    };
    let publisher = frames.open(&name, codec::encode_jpeg);
    let ended = match Decoder::start(subscriber, publisher, metrics, fastest) {
        Ok(mut decoder) => decoder.ended().await,
        Err(error) => {
            tracing::error!(stream = %name, %error, "failed to start a decoder");
            DecodeEnd::Panicked
        }
    };
    if ended == DecodeEnd::Panicked {
        tracing::error!(stream = %name, "decoder failed, restarting");
        tokio::time::sleep(AGAIN).await;
    }
    name
}
