//! Decoder thread of a stream: converts coded units into pictures.

use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use ffmpeg_next as ff;
use tokio::runtime;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use watchtower_media::MediaUnit;
use watchtower_media::hub::{Received, Subscriber};
use watchtower_screen::frames::FramePublisher;

use super::session::{DecodeSession, Now};
use crate::metrics::CodecMetrics;

#[derive(Debug, thiserror::Error)]
pub enum DecoderOpenError {
    #[error("FFmpeg's libavcodec has no h264 decoder")]
    NoDecoder,
    #[error("failed to start the decode thread")]
    Thread(#[source] io::Error),
}

/// Reason a decoder ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeEnd {
    StreamOver,
    Stopped,
    /// Panicked, which is a bug; the stream is no longer decoded.
    Panicked,
}

/// Running decoder. Dropping it signals the thread to stop without waiting; the
/// thread ends after the current picture.
#[derive(Debug)]
pub struct Decoder {
    ended: oneshot::Receiver<DecodeEnd>,
    stop: DropGuard,
}

impl Decoder {
    /// Starts a thread `decode-<stream>` (the kernel shows the first 15
    /// bytes) that lives until the stream ends.
    ///
    /// `fastest` is the smallest interval of any analyst, which sets how often
    /// pictures are published; it may change at any time.
    pub fn start(
        subscriber: Subscriber,
        frames: FramePublisher,
        metrics: Arc<CodecMetrics>,
        fastest: watch::Receiver<Duration>,
    ) -> Result<Self, DecoderOpenError> {
        super::init();
        ff::decoder::find(ff::codec::Id::H264).ok_or(DecoderOpenError::NoDecoder)?;
        // Own runtime for the one timer: the thread then depends on no other's
        // shutdown.
        let runtime = runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(DecoderOpenError::Thread)?;
        let stop = CancellationToken::new();
        let (done, ended) = oneshot::channel();
        let name = subscriber.name().clone();
        let stopped = stop.clone();
        thread::Builder::new()
            .name(format!("decode-{name}"))
            .spawn(move || {
                let span = tracing::info_span!("decode", stream = %name);
                let _in_span = span.enter();
                // Created here, because the codec never leaves its thread.
                let worker = DecodeWorker {
                    subscriber,
                    session: DecodeSession::new(frames, metrics),
                    fastest,
                    stop: stopped,
                };
                let end = worker.run(&runtime);
                // The receiver may be gone.
                let _ = done.send(end);
            })
            .map_err(DecoderOpenError::Thread)?;
        Ok(Self {
            ended,
            stop: stop.drop_guard(),
        })
    }

    /// Waits for the thread to end by itself; its slot on the frame bus is free
    /// then. Cancel safe; call it once.
    pub async fn ended(&mut self) -> DecodeEnd {
        (&mut self.ended).await.unwrap_or(DecodeEnd::Panicked)
    }

    /// Stops the thread and waits until it has ended.
    pub async fn stop(self) -> DecodeEnd {
        self.stop.disarm().cancel();
        self.ended.await.unwrap_or(DecodeEnd::Panicked)
    }
}

struct DecodeWorker {
    subscriber: Subscriber,
    session: DecodeSession,
    fastest: watch::Receiver<Duration>,
    stop: CancellationToken,
}

enum DecoderEvent {
    Received(Option<Received>),
    Due,
    Stop,
}

impl DecodeWorker {
    fn run(mut self, runtime: &runtime::Runtime) -> DecodeEnd {
        loop {
            let fastest = *self.fastest.borrow();
            let due = self.session.due(fastest);
            let event = runtime.block_on(next(&mut self.subscriber, &self.stop, due));
            let now = Now::read();
            match event {
                DecoderEvent::Received(Some(Received::Unit(MediaUnit::Video(unit)))) => {
                    self.session.unit(unit, now, fastest);
                }
                DecoderEvent::Received(Some(Received::Unit(MediaUnit::Audio(_)))) => {}
                DecoderEvent::Received(Some(Received::Lost(count))) => {
                    self.session.lost(count, now);
                }
                DecoderEvent::Received(Some(Received::SignalLost)) => {
                    tracing::warn!("signal lost; waiting for the publisher to reconnect");
                }
                DecoderEvent::Received(Some(Received::Restarted)) => {
                    tracing::info!("signal restored");
                    self.session.restarted(now);
                }
                DecoderEvent::Due => self.session.publish_due(now, fastest),
                DecoderEvent::Received(None) => return DecodeEnd::StreamOver,
                DecoderEvent::Stop => return DecodeEnd::Stopped,
            }
        }
    }
}

async fn next(
    subscriber: &mut Subscriber,
    stop: &CancellationToken,
    due: Option<std::time::Instant>,
) -> DecoderEvent {
    let timer = async {
        match due {
            Some(due) => sleep_until(Instant::from_std(due)).await,
            None => std::future::pending().await,
        }
    };
    // Priority order: a stream that never pauses must delay neither a stop nor
    // a picture that is due.
    tokio::select! {
        biased;
        () = stop.cancelled() => DecoderEvent::Stop,
        () = timer => DecoderEvent::Due,
        received = subscriber.recv() => DecoderEvent::Received(received),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::clips;
    use crate::encode_jpeg;
    use watchtower_base::stream_name::StreamName;
    use watchtower_media::hub::{Publisher, StreamHub};
    use watchtower_screen::frames::FrameBus;

    fn started(bus: &FrameBus) -> (Publisher, Decoder) {
        let hub = StreamHub::new();
        let name = StreamName::new("team-with-a-long-name").expect("valid");
        let publisher = hub.publish(&name);
        let subscriber = hub.subscribe(&name).expect("live");
        let frames = bus.open(&name, encode_jpeg);
        let (_, fastest) = watch::channel(Duration::from_secs(10));
        let decoder = Decoder::start(subscriber, frames, Arc::default(), fastest);
        (publisher, decoder.expect("starts"))
    }

    fn threads() -> Vec<String> {
        let tasks = fs::read_dir("/proc/self/task").expect("Linux");
        let names =
            tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.map(|name| name.trim().to_owned()).collect()
    }

    #[tokio::test]
    async fn the_thread_lives_as_long_as_the_stream() {
        let bus = FrameBus::new();
        let (publisher, mut decoder) = started(&bus);
        let clip = clips::units("testsrc2=s=320x180:r=10:d=1", "");
        let mut changes = bus.changes();
        for unit in clip {
            publisher.push(MediaUnit::Video(unit)).expect("ours");
        }
        while bus.newest(publisher.name()).is_none() {
            changes.changed().await.expect("the bus lives");
        }
        assert!(threads().contains(&"decode-team-wit".to_owned()));
        drop(publisher);
        assert_eq!(decoder.ended().await, DecodeEnd::StreamOver);
        assert!(bus.live().is_empty());
    }

    #[tokio::test]
    async fn stopping_and_dropping_end_it_though_the_stream_goes_on() {
        let bus = FrameBus::new();
        let (_publisher, decoder) = started(&bus);
        assert_eq!(decoder.stop().await, DecodeEnd::Stopped);
        assert!(bus.live().is_empty());
        let (_publisher, decoder) = started(&bus);
        let mut changes = bus.changes();
        drop(decoder);
        while !bus.live().is_empty() {
            changes.changed().await.expect("the bus lives");
        }
    }
}
