//! Decoder thread of a stream: turns its coded units into pictures.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ffmpeg_next as ff;
use tokio::runtime;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::session::{Now, Session};
use crate::codec::metrics::CodecMetrics;
use crate::media::MediaUnit;
use crate::media::hub::{Received, Subscriber};
use crate::screen::frames::FramePublisher;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("FFmpeg's libavcodec has no h264 decoder")]
    NoDecoder,
    #[error("failed to start the decode thread")]
    Thread(#[source] io::Error),
}

/// Reason a decoder ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    StreamOver,
    Stopped,
    /// It panicked, which is a bug; the stream's pictures are gone.
    Panicked,
}

/// A running decoder. Dropping it asks the thread to stop and doesn't wait:
/// the thread is done within the picture it is at.
#[derive(Debug)]
pub struct Decoder {
    ended: oneshot::Receiver<Ended>,
    stop: DropGuard,
}

impl Decoder {
    /// Starts a thread `decode-<stream>` (the kernel shows the first 15
    /// bytes) that lives until the stream ends.
    ///
    /// `fastest` is the smallest interval of any analyst: it says how often
    /// pictures are wanted and may change at any time.
    pub fn start(
        subscriber: Subscriber,
        frames: FramePublisher,
        metrics: Arc<CodecMetrics>,
        fastest: watch::Receiver<Duration>,
    ) -> Result<Self, OpenError> {
        super::init();
        ff::decoder::find(ff::codec::Id::H264).ok_or(OpenError::NoDecoder)?;
        // A runtime of its own for the one timer: the thread then depends on
        // no other's shutdown.
        let runtime = runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(OpenError::Thread)?;
        let stop = CancellationToken::new();
        let (done, ended) = oneshot::channel();
        let name = subscriber.name().clone();
        let stopped = stop.clone();
        thread::Builder::new()
            .name(format!("decode-{name}"))
            .spawn(move || {
                let span = tracing::info_span!("decode", stream = %name);
                let _in_span = span.enter();
                // Made here, because the codec never leaves its thread.
                let worker = Worker {
                    subscriber,
                    session: Session::new(frames, metrics),
                    fastest,
                    stop: stopped,
                };
                let end = worker.run(&runtime);
                // Nobody may be waiting any more.
                let _ = done.send(end);
            })
            .map_err(OpenError::Thread)?;
        Ok(Self {
            ended,
            stop: stop.drop_guard(),
        })
    }

    /// Waits for the thread to end by itself; its place on the frame bus is
    /// free then. Cancel safe; call it once.
    pub async fn ended(&mut self) -> Ended {
        (&mut self.ended).await.unwrap_or(Ended::Panicked)
    }

    /// Stops the thread and waits for its end.
    pub async fn stop(self) -> Ended {
        self.stop.disarm().cancel();
        self.ended.await.unwrap_or(Ended::Panicked)
    }
}

struct Worker {
    subscriber: Subscriber,
    session: Session,
    fastest: watch::Receiver<Duration>,
    stop: CancellationToken,
}

enum Event {
    Received(Option<Received>),
    Due,
    Stop,
}

impl Worker {
    fn run(mut self, runtime: &runtime::Runtime) -> Ended {
        loop {
            let fastest = *self.fastest.borrow();
            let due = self.session.due(fastest);
            let event = runtime.block_on(next(&mut self.subscriber, &self.stop, due));
            let now = Now::read();
            match event {
                Event::Received(Some(Received::Unit(MediaUnit::Video(unit)))) => {
                    self.session.unit(unit, now, fastest);
                }
                Event::Received(Some(Received::Unit(MediaUnit::Audio(_)))) => {}
                Event::Received(Some(Received::Lost(count))) => self.session.lost(count, now),
                Event::Received(Some(Received::SignalLost)) => {
                    tracing::warn!("signal lost; waiting for the publisher to reconnect");
                }
                Event::Received(Some(Received::Restarted)) => {
                    tracing::info!("signal restored");
                    self.session.restarted(now);
                }
                Event::Due => self.session.publish_due(now, fastest),
                Event::Received(None) => return Ended::StreamOver,
                Event::Stop => return Ended::Stopped,
            }
        }
    }
}

async fn next(
    subscriber: &mut Subscriber,
    stop: &CancellationToken,
    due: Option<std::time::Instant>,
) -> Event {
    let timer = async {
        match due {
            Some(due) => sleep_until(Instant::from_std(due)).await,
            None => std::future::pending().await,
        }
    };
    // In this order: stopping is not put off by a stream that never pauses,
    // nor a picture that is due.
    tokio::select! {
        biased;
        () = stop.cancelled() => Event::Stop,
        () = timer => Event::Due,
        received = subscriber.recv() => Event::Received(received),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::base::stream_name::StreamName;
    use crate::codec::clips;
    use crate::codec::encode_jpeg;
    use crate::media::hub::{Publisher, StreamHub};
    use crate::screen::frames::FrameBus;

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
        assert_eq!(decoder.ended().await, Ended::StreamOver);
        assert!(bus.live().is_empty());
    }

    #[tokio::test]
    async fn stopping_and_dropping_end_it_though_the_stream_goes_on() {
        let bus = FrameBus::new();
        let (_publisher, decoder) = started(&bus);
        assert_eq!(decoder.stop().await, Ended::Stopped);
        assert!(bus.live().is_empty());
        let (_publisher, decoder) = started(&bus);
        let mut changes = bus.changes();
        drop(decoder);
        while !bus.live().is_empty() {
            changes.changed().await.expect("the bus lives");
        }
    }
}
