//! Thread of one transcode: processes units in order and meters its own CPU
//! time.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ffmpeg_next as ff;
use tokio::runtime;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use watchtower_base::cpu_time;
use watchtower_media::MediaUnit;
use watchtower_media::hub::renditions::{Demanded, RenditionKind, Renditions};
use watchtower_media::hub::{Received, Subscriber};

use super::audio::ToOpus;
use super::video::ToH264;
use crate::metrics::CodecMetrics;

/// Backlog, in units, above which a transcode only decodes to catch up with the
/// live edge: a third of a second of video and audio.
const LATE: u64 = 24;
/// Backlog, in units, at which the live edge counts as reached.
const LIVE: u64 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TranscodeEnd {
    /// The stream ended, or the rendition is no longer demanded.
    Done,
    /// Codec error, or a panic of the thread, which is a bug.
    Failed,
}

/// Producer of one rendition. The flag `encode` is false for units that are
/// only decoded on the way to the live edge.
pub(super) trait Transcoder {
    fn unit(&mut self, unit: &MediaUnit, encode: bool) -> Result<(), ff::Error>;
    /// Marks a discontinuity: later units are unrelated to earlier ones.
    fn interrupted(&mut self);
    /// Sets whether the rendition is in demand, which is the initial state.
    fn wanted(&mut self, wanted: bool) -> Result<(), ff::Error>;
}

/// Runs until the stream ends, an error occurs, or `stop`.
pub(super) async fn run(
    demanded: &Demanded,
    subscriber: Subscriber,
    renditions: Renditions,
    metrics: Arc<CodecMetrics>,
    stop: CancellationToken,
) -> TranscodeEnd {
    crate::init();
    let (done, ended) = oneshot::channel();
    let demanded = demanded.clone();
    let Demanded { stream, kind } = demanded.clone();
    let span = tracing::info_span!("transcode", %stream, ?kind);
    let spawned = thread::Builder::new()
        .name(format!("code-{stream}"))
        .spawn(move || {
            let _in_span = span.enter();
            metrics.transcodes.inc();
            let _counted = ActiveTranscode(&metrics);
            let transcoder: Box<dyn Transcoder> = match kind {
                RenditionKind::Audio => Box::new(ToOpus::new(stream, renditions.clone())),
                RenditionKind::Video | RenditionKind::LowBitrate => Box::new(ToH264::new(
                    demanded.clone(),
                    renditions.clone(),
                    Arc::clone(&metrics),
                )),
            };
            let worker = TranscodeWorker {
                subscriber,
                transcoder,
                metrics: Arc::clone(&metrics),
                kind,
                stop,
                renditions,
                demanded,
                live: false,
                cpu: Duration::ZERO,
            };
            // The receiver may be gone.
            let _ = done.send(worker.run());
        });
    match spawned {
        // The channel closes without a result only on a panic.
        Ok(_) => ended.await.unwrap_or(TranscodeEnd::Failed),
        Err(error) => {
            tracing::error!(%error, "failed to start a transcode thread");
            TranscodeEnd::Failed
        }
    }
}

struct TranscodeWorker {
    subscriber: Subscriber,
    transcoder: Box<dyn Transcoder>,
    metrics: Arc<CodecMetrics>,
    kind: RenditionKind,
    stop: CancellationToken,
    renditions: Renditions,
    demanded: Demanded,
    live: bool,
    /// CPU time of this thread counted so far.
    cpu: Duration,
}

impl TranscodeWorker {
    fn run(mut self) -> TranscodeEnd {
        let runtime = match runtime::Builder::new_current_thread().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "failed to start a transcode");
                return TranscodeEnd::Failed;
            }
        };
        tracing::debug!("transcode started");
        let mut demands = self.renditions.changes();
        demands.mark_changed();
        loop {
            let event = runtime.block_on(next(&mut self.subscriber, &mut demands, &self.stop));
            let result = match event {
                TranscoderEvent::Over => break,
                TranscoderEvent::Demands => {
                    let wanted = self.renditions.is_demanded(&self.demanded);
                    self.transcoder.wanted(wanted)
                }
                TranscoderEvent::Received(Received::Unit(unit)) if is_ours(&unit, self.kind) => {
                    self.take(&unit)
                }
                TranscoderEvent::Received(Received::Unit(_) | Received::SignalLost) => Ok(()),
                TranscoderEvent::Received(Received::Lost(count)) => {
                    self.metrics.transcoder_dropped.inc_by(count);
                    self.interrupted()
                }
                TranscoderEvent::Received(Received::Restarted) => self.interrupted(),
            };
            self.count_cpu();
            if let Err(error) = result {
                tracing::warn!(%error, "transcode failed, restarting");
                return TranscodeEnd::Failed;
            }
        }
        tracing::debug!("transcode stopped");
        TranscodeEnd::Done
    }

    fn take(&mut self, unit: &MediaUnit) -> Result<(), ff::Error> {
        let waiting = self.subscriber.waiting();
        self.live = waiting <= if self.live { LATE } else { LIVE };
        if !self.live {
            self.metrics.transcoder_dropped.inc();
        }
        self.transcoder.unit(unit, self.live)
    }

    fn interrupted(&mut self) -> Result<(), ff::Error> {
        self.live = false;
        self.transcoder.interrupted();
        Ok(())
    }

    fn count_cpu(&mut self) {
        let now = cpu_time::of_this_thread();
        let spent = now.saturating_sub(self.cpu);
        self.cpu = now;
        self.metrics.transcode_cpu(self.kind.as_str(), spent);
    }
}

enum TranscoderEvent {
    Received(Received),
    /// Demands may have changed.
    Demands,
    /// The stream ended, or the transcode was stopped.
    Over,
}

async fn next(
    subscriber: &mut Subscriber,
    demands: &mut watch::Receiver<u64>,
    stop: &CancellationToken,
) -> TranscoderEvent {
    tokio::select! {
        biased;
        () = stop.cancelled() => TranscoderEvent::Over,
        // Open as long as the renditions, which the worker holds.
        Ok(()) = demands.changed() => TranscoderEvent::Demands,
        received = subscriber.recv() => received.map_or(TranscoderEvent::Over, TranscoderEvent::Received),
    }
}

fn is_ours(unit: &MediaUnit, kind: RenditionKind) -> bool {
    match unit {
        MediaUnit::Video(_) => kind != RenditionKind::Audio,
        MediaUnit::Audio(_) => kind == RenditionKind::Audio,
    }
}

struct ActiveTranscode<'a>(&'a CodecMetrics);

impl Drop for ActiveTranscode<'_> {
    fn drop(&mut self) {
        self.0.transcodes.dec();
    }
}
