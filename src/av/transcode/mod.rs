//! What browsers can't play, made playable while somebody watches.
//!
//! ```text
//! Renditions: demands ---> Supplier, one thread per demand
//!                              |
//!  StreamHub --AAC---> audio --+--Opus---> Renditions
//!            --any---> video --+--H.264--> Renditions
//! ```
//!
//! Owns how a rendition is made; whether one is needed is the watcher's
//! question (see [`crate::stream_hub::renditions`]).

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

use crate::metrics::Metrics;
use crate::stream_hub::StreamHub;
use crate::stream_hub::renditions::{Demanded, Kind, Renditions};
use worker::Ended;

/// Before a transcode that failed is started again.
const AGAIN: Duration = Duration::from_secs(1);

/// Meets demands until `shutdown`.
pub async fn supply(
    hub: StreamHub,
    renditions: Renditions,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) {
    let mut demands = renditions.changes();
    let mut streams = hub.changes();
    let mut running: HashMap<Demanded, CancellationToken> = HashMap::new();
    let mut transcodes = JoinSet::new();
    loop {
        demands.borrow_and_update();
        streams.borrow_and_update();
        let wanted = renditions.demands();
        for (demanded, stop) in &running {
            if !wanted.contains(demanded) {
                stop.cancel();
            }
        }
        for demanded in wanted {
            if running.contains_key(&demanded) {
                continue;
            }
            let subscriber = match demanded.kind {
                Kind::Video => hub.subscribe(&demanded.stream),
                Kind::Audio => hub.listen(&demanded.stream),
            };
            let Some(subscriber) = subscriber else {
                continue;
            };
            let stop = CancellationToken::new();
            running.insert(demanded.clone(), stop.clone());
            let (renditions, metrics) = (renditions.clone(), Arc::clone(&metrics));
            transcodes.spawn(async move {
                let ended =
                    worker::run(&demanded, subscriber, renditions, metrics, stop.clone()).await;
                if ended == Ended::Failed {
                    stop.run_until_cancelled(tokio::time::sleep(AGAIN)).await;
                }
                demanded
            });
        }
        tokio::select! {
            _ = demands.changed() => {}
            _ = streams.changed() => {}
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
