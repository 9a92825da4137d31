//! Decoders: one per live stream with a consumer. Transcoding for viewers has
//! decoders of its own.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use watchtower_analysts::settings::FrameDemand;
use watchtower_base::stream_name::StreamName;
use watchtower_codec as codec;
use watchtower_codec::metrics::CodecMetrics;
use watchtower_codec::{DecodeEnd, Decoder, LoudnessMeter};
use watchtower_media::audio_bus::AudioBus;
use watchtower_media::hub::StreamHub;
use watchtower_screen::frames::FrameBus;

/// Wait before a failed decoder is restarted.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs until `sources` is cancelled and the last stream has ended.
pub(super) async fn run(
    hub: StreamHub,
    frames: FrameBus,
    streams: Gauge,
    metrics: Arc<CodecMetrics>,
    audio: AudioBus,
    mut demand: watch::Receiver<FrameDemand>,
    sources: CancellationToken,
) {
    let mut changes = hub.changes();
    let mut running = HashSet::new();
    let mut decoders = JoinSet::new();
    let (fastest, _) = watch::channel(demand.borrow().interval);
    loop {
        changes.borrow_and_update();
        let wanted = demand.borrow_and_update().clone();
        fastest.send_replace(wanted.interval);
        let (live, idle): (Vec<_>, Vec<_>) = (hub.streams().into_iter()).partition(|info| {
            // A paused stream has no consumer: nothing of it is kept.
            wanted.wants(&info.name) && info.paused_since.is_none()
        });
        let with_signal = live
            .iter()
            .chain(&idle)
            .filter(|info| info.lost_since.is_none());
        streams.set(with_signal.count() as i64);
        frames.set_idle(idle.into_iter().map(|info| info.name));
        for info in live {
            if running.insert(info.name.clone()) {
                let work = decode(
                    info.name,
                    hub.clone(),
                    frames.clone(),
                    Arc::clone(&metrics),
                    audio.clone(),
                    fastest.subscribe(),
                    demand.clone(),
                );
                decoders.spawn(work);
            }
        }
        tokio::select! {
            _ = changes.changed() => {}
            Ok(()) = demand.changed() => {}
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

/// Returns when the stream has ended or has no consumer any more, or a moment
/// after the decoder failed.
async fn decode(
    name: StreamName,
    hub: StreamHub,
    frames: FrameBus,
    metrics: Arc<CodecMetrics>,
    audio: AudioBus,
    fastest: watch::Receiver<Duration>,
    mut demand: watch::Receiver<FrameDemand>,
) -> StreamName {
    let Some(subscriber) = hub.subscribe(&name) else {
        return name;
    };
    let sound = hub
        .listen(&name)
        .map(|subscriber| LoudnessMeter::start(subscriber, &audio));
    // Until the stream ends, or has no consumer.
    let _sound = sound.transpose().unwrap_or_else(|error| {
        tracing::error!(stream = %name, %error, "failed to start a loudness meter");
        None
    });
    let publisher = frames.open(&name, codec::encode_jpeg);
    let ended = match Decoder::start(subscriber, publisher, metrics, fastest) {
        Ok(mut decoder) => tokio::select! {
            ended = decoder.ended() => ended,
            () = unwanted(&mut demand, &name) => decoder.stop().await,
            () = paused(&hub, &name) => decoder.stop().await,
        },
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

/// Returns when the person who shares has paused the stream.
async fn paused(hub: &StreamHub, name: &StreamName) {
    let mut changes = hub.changes();
    while !hub.is_paused(name) {
        if changes.changed().await.is_err() {
            // The hub is gone, and with it the stream.
            std::future::pending::<()>().await;
        }
    }
}

/// Returns when the stream has no consumer.
async fn unwanted(demand: &mut watch::Receiver<FrameDemand>, name: &StreamName) {
    if demand.wait_for(|demand| !demand.wants(name)).await.is_err() {
        // The demand can't change any more.
        std::future::pending::<()>().await;
    }
}
