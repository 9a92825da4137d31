//! Reads the newest unread frame of each live stream, several streams at a time
//! within a budget of CPU, and puts it back on the bus with its text and what of
//! it must not leave.
//!
//! Falls behind in freshness, never in memory: what was not read when a newer
//! frame came is not read at all. A stream is read by one reader at a time, the
//! last one's if that is free.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use watchtower_base::cpu_time;
use watchtower_base::stream_name::StreamName;
use watchtower_domain::screen_text::{ScreenLine, ScreenText};

use super::ocr::{Ocr, ReadError};
use super::page::{ReadCost, RecognisedScreen};
use crate::change::ReportedScreen;
use crate::frame::{Frame, SensitiveText};
use crate::frames::FrameBus;
use crate::metrics::ScreenMetrics;
use crate::picture::TextLine;
use crate::read_budget::ReadBudget;
use crate::read_order::{UnreadFrame, order};
use crate::redact::{OwnPatterns, Redact, mask, secrets_beside};
use crate::text::diff;

/// Longest wait for a picture that settles before it is read as it is.
const TO_REST: SignedDuration = SignedDuration::from_secs(3);

/// After this a picture is read again that left the reader unsure, though
/// nothing on it has changed since.
const AGAIN: SignedDuration = SignedDuration::from_millis(400);

/// Settings of the screen reader.
#[derive(Debug)]
pub struct ReaderSettings {
    /// Cores that may be spent, averaged.
    pub cores: f64,
    /// User-defined patterns to redact as well, as of the start.
    pub own: OwnPatterns,
}

/// Keeps what stood on a screen, for those who search.
#[async_trait]
pub trait KeepText: std::fmt::Debug + Send + Sync {
    /// Keeps lines; the error says why not, and they are gone.
    async fn keep(&self, text: ScreenText) -> Result<(), String>;
}

/// Whoever reads the screen.
#[derive(Debug)]
pub struct ScreenReader {
    readers: Vec<Arc<Ocr>>,
    /// Indices of the readers with nothing to do.
    free: Vec<usize>,
    /// Streams that are being read, or whose text is being kept.
    busy: HashSet<StreamName>,
    frames: FrameBus,
    /// Keeps what was read, for those who search.
    record: Option<Arc<dyn KeepText>>,
    metrics: Arc<ScreenMetrics>,
    own: watch::Sender<OwnPatterns>,
    budget: ReadBudget,
    memories: HashMap<StreamName, LastReading>,
}

/// Last reading of a stream, and what was reported of it.
#[derive(Debug)]
struct LastReading {
    /// Generation of the frame read, by the change gate.
    generation: u64,
    seq: u64,
    /// When that frame was on the screen.
    at: Timestamp,
    /// Index of the reader it was read by.
    reader: usize,
    page: Arc<RecognisedScreen>,
    told: ReportedScreen,
}

impl LastReading {
    fn wants(&self, frame: &Frame) -> bool {
        let later = || frame.captured_at.duration_since(self.at) >= AGAIN;
        let rest = || !self.page.unread.is_empty() && frame.seq > self.seq;
        self.generation != frame.generation || (self.told.is_unsure() && later()) || rest()
    }
}

/// A frame that was read, or could not be.
struct FinishedReading {
    frame: Arc<Frame>,
    reader: usize,
    changed_at: Timestamp,
    /// Patterns its secrets were looked for with.
    own: OwnPatterns,
    read: Result<ReadPage, ReadError>,
    /// CPU time, and time by the clock.
    spent: Duration,
    took: Duration,
}

struct ReadPage {
    page: RecognisedScreen,
    secrets: Vec<SensitiveText>,
    cost: ReadCost,
}

/// A step of a stream that is done.
enum FinishedStep {
    Read(FinishedReading),
    Kept(StreamName),
}

impl ScreenReader {
    /// Reads with these engines, as many streams at a time.
    pub fn new(
        readers: Vec<Ocr>,
        frames: FrameBus,
        record: Option<Arc<dyn KeepText>>,
        metrics: Arc<ScreenMetrics>,
        settings: ReaderSettings,
    ) -> Self {
        frames.expect_reading();
        Self {
            free: (0..readers.len()).rev().collect(),
            readers: readers.into_iter().map(Arc::new).collect(),
            busy: HashSet::new(),
            frames,
            record,
            metrics,
            own: watch::Sender::new(settings.own),
            budget: ReadBudget::new(settings.cores, Instant::now()),
            memories: HashMap::new(),
        }
    }

    /// Takes what the user wants hidden from now on.
    pub fn patterns(&self) -> watch::Sender<OwnPatterns> {
        self.own.clone()
    }

    /// Reads until `shutdown`; readings under way are left to themselves then.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut changes = self.frames.changes();
        let mut steps = JoinSet::new();
        loop {
            changes.borrow_and_update();
            let wait = self.start_due(&mut steps);
            let due = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(done) = steps.join_next() => match done {
                    Ok(FinishedStep::Read(done)) => self.take(done, &mut steps),
                    Ok(FinishedStep::Kept(stream)) => {
                        self.busy.remove(&stream);
                    }
                    // A step catches its panics; the runtime is going down.
                    Err(_) => return,
                },
                changed = changes.changed() => if changed.is_err() {
                    return;
                },
                () = due => {}
            }
        }
    }

    /// Reads the next frame in turn now, whatever the budget; false when there
    /// is nothing unread.
    pub async fn read_next(&mut self) -> bool {
        let mut unread = self.unread();
        for unread in &mut unread {
            unread.wait = Duration::ZERO;
        }
        let (due, _) = order(unread, Timestamp::now());
        let Some(reading) = due.into_iter().next().and_then(|frame| self.begin(frame)) else {
            return false;
        };
        let done = reading.await;
        let stream = done.frame.stream.clone();
        if let (Some(text), Some(record)) = (self.publish(done), self.record.clone()) {
            keep(&*record, text).await;
        }
        self.busy.remove(&stream);
        true
    }

    /// Starts what may be read now, as far as readers are free; returns the time
    /// until there may be more.
    fn start_due(&mut self, steps: &mut JoinSet<FinishedStep>) -> Option<Duration> {
        if self.free.is_empty() {
            return None;
        }
        let live = self.frames.live();
        self.budget.fill(&live, Instant::now());
        let (due, wait) = order(self.unread(), Timestamp::now());
        for frame in due {
            // When another is free its end says so.
            let reading = self.begin(frame)?;
            steps.spawn(async { FinishedStep::Read(reading.await) });
        }
        wait
    }

    /// The newest frame of each stream that has a generation unread, or one that
    /// has to be read on or twice, and is not being read.
    fn unread(&mut self) -> Vec<UnreadFrame> {
        let live = self.frames.live();
        self.memories.retain(|stream, _| live.contains(stream));
        let idle = live.iter().filter(|stream| !self.busy.contains(*stream));
        let unread = idle.filter_map(|stream| {
            let memory = self.memories.get(stream);
            let frame = self.frames.newest(stream)?;
            if memory.is_some_and(|memory| !memory.wants(&frame)) {
                return None;
            }
            let repeat = memory.filter(|memory| memory.generation == frame.generation);
            let unread_since = self.frames.unread_since(stream);
            let since = match repeat {
                Some(memory) => memory.at,
                None => unread_since.unwrap_or(frame.captured_at),
            };
            let settles = self.until_sharp(&frame).unwrap_or_default();
            Some(UnreadFrame {
                repeat: repeat.is_some(),
                since,
                wait: self.budget.wait(stream).max(settles),
                frame,
            })
        });
        unread.collect()
    }

    /// Longest time to wait for a sharper picture than this.
    fn until_sharp(&self, frame: &Frame) -> Option<Duration> {
        let since = self.frames.unread_since(&frame.stream)?;
        let waited = Timestamp::now().duration_since(since);
        frame.changes.settling.then(|| left_of(waited))?
    }

    /// Takes a reader for the frame; `None` while all are at work.
    fn begin(
        &mut self,
        frame: Arc<Frame>,
    ) -> Option<impl Future<Output = FinishedReading> + use<>> {
        let memory = self.memories.get(&frame.stream);
        let own_reader = memory.and_then(|memory| {
            let mut free = self.free.iter();
            free.position(|reader| *reader == memory.reader)
        });
        let reader = match own_reader {
            Some(at) => self.free.swap_remove(at),
            None => self.free.pop()?,
        };
        self.busy.insert(frame.stream.clone());
        let last = memory.map(|memory| Arc::clone(&memory.page));
        let unread_since = self.frames.unread_since(&frame.stream);
        let changed_at = unread_since.map_or(frame.changed_at, |since| since.min(frame.changed_at));
        let own = self.own.borrow().clone();
        let (ocr, patterns) = (Arc::clone(&self.readers[reader]), own.clone());
        let picture = Arc::clone(&frame.picture);
        Some(async move {
            let begun = Instant::now();
            let reading = move || {
                let ocr = &ocr;
                ocr.on_thread(move || {
                    let before = cpu_time::of_this_thread();
                    let read = RecognisedScreen::read(last.as_deref(), &picture, ocr);
                    let read = read.map(|(page, cost)| {
                        let size = (picture.width, picture.height);
                        let secrets = secrets_beside(&page.lines, &page.unread, &patterns, size);
                        ReadPage {
                            page,
                            secrets,
                            cost,
                        }
                    });
                    (read, cpu_time::of_this_thread().saturating_sub(before))
                })
            };
            // It only fails when it panicked, or the runtime is going down.
            let (read, spent) = match tokio::task::spawn_blocking(reading).await {
                Ok(done) => done,
                Err(error) => (Err(ReadError::panicked(&error)), begun.elapsed()),
            };
            FinishedReading {
                frame,
                reader,
                changed_at,
                own,
                read,
                spent,
                took: begun.elapsed(),
            }
        })
    }

    /// Publishes a reading; its stream is busy until its text is kept.
    fn take(&mut self, done: FinishedReading, steps: &mut JoinSet<FinishedStep>) {
        let stream = done.frame.stream.clone();
        match (self.publish(done), self.record.clone()) {
            (Some(text), Some(record)) => {
                steps.spawn(async move {
                    keep(&*record, text).await;
                    FinishedStep::Kept(stream)
                });
            }
            _ => {
                self.busy.remove(&stream);
            }
        }
    }

    /// Publishes a reading, and returns the text to keep of it.
    fn publish(&mut self, done: FinishedReading) -> Option<ScreenText> {
        let FinishedReading {
            frame,
            reader,
            changed_at,
            own,
            read,
            spent,
            took,
        } = done;
        self.free.push(reader);
        self.budget.spend(&frame.stream, spent);
        self.metrics.ocr_cpu_seconds.inc_by(spent.as_secs_f64());
        let (page, secrets, cost) = match read {
            Ok(read) => (Arc::new(read.page), read.secrets, read.cost),
            Err(error) => {
                self.skip(&frame, reader, &error);
                return None;
            }
        };
        self.metrics.ocr_frames.inc();
        self.metrics.ocr_pixels.inc_by(cost.pixels);
        log(&frame, &page, cost, spent, took);
        let read = frame.read(Arc::clone(&page.lines), secrets.into());
        let mut read = read.looked_for(&own);
        let text = self.appeared(&Arc::new(read.clone()), &page);
        (read.scene, read.told) = self.remember(&frame, reader, &page);
        read.changed_at = changed_at;
        let all = page.unread.is_empty();
        self.metrics.ocr_unread.inc_by(page.unread.len() as u64);
        if self.frames.publish_reading(Arc::new(read), all) {
            tracing::warn!(stream = %frame.stream, "OCR too slow: unread text is redacted");
        }
        text
    }

    /// Not read, and not to be tried again: the next generation may fare better.
    /// Nobody is shown it either, as nobody knows what stands on it.
    fn skip(&mut self, frame: &Frame, reader: usize, error: &ReadError) {
        tracing::error!(stream = %frame.stream, frame = frame.seq, %error, "OCR failed");
        match self.memories.get_mut(&frame.stream) {
            Some(memory) => {
                memory.generation = frame.generation;
                memory.seq = frame.seq;
                memory.at = frame.captured_at;
            }
            None => {
                self.remember(frame, reader, &Arc::new(RecognisedScreen::unread()));
            }
        }
    }

    /// The scene the frame belongs to for those who wait for news: the last
    /// one, if nothing that can be read or seen from afar has changed; and how
    /// many there were.
    fn remember(
        &mut self,
        frame: &Frame,
        reader: usize,
        page: &Arc<RecognisedScreen>,
    ) -> (u64, u64) {
        let last = self
            .memories
            .remove(&frame.stream)
            .map(|memory| memory.told);
        let before = last.as_ref().map_or(0, |told| told.nth);
        let told = match last.and_then(|mut told| {
            self.metrics.ocr_untold.inc_by(told.untold(page) as u64);
            (!told.has_news(page, &frame.changes, frame.captured_at)).then_some(told)
        }) {
            Some(told) => told,
            None => {
                self.metrics.ocr_news.inc();
                let mut told =
                    ReportedScreen::new(frame.generation, Arc::clone(page), frame.captured_at);
                told.nth = before + 1;
                told
            }
        };
        let known = (told.generation, told.nth);
        let memory = LastReading {
            generation: frame.generation,
            seq: frame.seq,
            at: frame.captured_at,
            reader,
            page: Arc::clone(page),
            told,
        };
        self.memories.insert(frame.stream.clone(), memory);
        known
    }

    /// Text there now that was not at the last reading, without its secrets.
    fn appeared(&self, read: &Arc<Frame>, page: &RecognisedScreen) -> Option<ScreenText> {
        self.record.as_ref()?;
        let before = self
            .memories
            .get(&read.stream)
            .map(|memory| &memory.page.lines);
        let appeared = match before {
            Some(before) => diff(before, &page.lines).appeared,
            None => (0..page.lines.len()).collect(),
        };
        if appeared.is_empty() {
            return None;
        }
        let size = (read.picture.width, read.picture.height);
        let cleared = read.redacted_text(Redact::Secrets)?;
        let line = |index: usize| -> Option<ScreenLine> {
            let line: &TextLine = cleared.get(index)?;
            Some(ScreenLine {
                text: mask(&line.text, Redact::Secrets).into_owned(),
                bounds: line.rect.thousandths(size.0, size.1),
            })
        };
        Some(ScreenText {
            stream: read.stream.clone(),
            observed_at: read.captured_at,
            frame_seq: read.seq,
            pts_ms: read.pts.ms(),
            lines: appeared.into_iter().filter_map(line).collect(),
        })
    }
}

async fn keep(record: &dyn KeepText, text: ScreenText) {
    let stream = text.stream.clone();
    if let Err(error) = record.keep(text).await {
        tracing::warn!(%stream, %error, "failed to store the screen text");
    }
}

/// Time left for a picture to settle. A clock that was set back makes it no
/// longer.
fn left_of(waited: SignedDuration) -> Option<Duration> {
    let left = TO_REST - waited.max(SignedDuration::ZERO);
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}

fn log(frame: &Frame, page: &RecognisedScreen, cost: ReadCost, spent: Duration, took: Duration) {
    tracing::debug!(
        stream = %frame.stream,
        frame = frame.seq,
        lines = page.lines.len(),
        recognised = cost.lines,
        pixels = cost.pixels,
        cpu_ms = spent.as_millis() as u64,
        wall_ms = took.as_millis() as u64,
        "OCR finished"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_waited_for_and_not_for_ever() {
        let after = |seconds| left_of(SignedDuration::from_secs(seconds));
        assert_eq!(after(0), Some(Duration::from_secs(3)));
        assert_eq!(after(2), Some(Duration::from_secs(1)));
        assert_eq!(after(3), None);
        assert_eq!(after(300), None);
        assert_eq!(after(-300), Some(Duration::from_secs(3)), "set back");
    }
}
