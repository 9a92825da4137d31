//! Screen reader: runs OCR on the newest unread frame of each live stream,
//! several streams at a time within a CPU budget, and puts the frame back on
//! the bus with its text and secrets.
//!
//! Under load the text gets older, but memory stays bounded: a frame that is
//! unread when a newer one arrives is skipped. A stream has at most one reading
//! in progress; the page it knows of a stream belongs to the stream.

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

/// Maximum wait for a picture to settle before it is read as it is.
const TO_REST: SignedDuration = SignedDuration::from_secs(3);

/// Delay before a picture with uncertain text is read again, even if nothing on
/// it has changed since.
const AGAIN: SignedDuration = SignedDuration::from_millis(400);

/// Settings of the screen reader.
#[derive(Debug)]
pub struct ReaderSettings {
    /// Maximum number of streams read at a time.
    pub readers: usize,
    /// Average number of cores that OCR may use.
    pub cores: f64,
    /// Initial user-defined patterns to redact.
    pub own: OwnPatterns,
}

/// Storage of screen text, for search.
#[async_trait]
pub trait KeepText: std::fmt::Debug + Send + Sync {
    /// Stores lines; on an error they are lost.
    async fn keep(&self, text: ScreenText) -> Result<(), String>;
}

/// OCR scheduler of all streams.
#[derive(Debug)]
pub struct ScreenReader {
    ocr: Arc<Ocr>,
    /// Readings that may be started besides those in progress.
    free: usize,
    /// Streams being read, or whose text is being stored.
    busy: HashSet<StreamName>,
    frames: FrameBus,
    /// Storage of the text, for search.
    record: Option<Arc<dyn KeepText>>,
    metrics: Arc<ScreenMetrics>,
    own: watch::Sender<OwnPatterns>,
    budget: ReadBudget,
    memories: HashMap<StreamName, LastReading>,
}

/// Last reading of a stream, and the text reported of it.
#[derive(Debug)]
struct LastReading {
    /// Generation of the frame read, as set by the change gate.
    generation: u64,
    seq: u64,
    /// Capture time of that frame.
    at: Timestamp,
    page: Arc<RecognisedScreen>,
    reported: ReportedScreen,
}

impl LastReading {
    fn wants(&self, frame: &Frame) -> bool {
        let later = || frame.captured_at.duration_since(self.at) >= AGAIN;
        let rest = || !self.page.unread.is_empty() && frame.seq > self.seq;
        self.generation != frame.generation || (self.reported.is_unsure() && later()) || rest()
    }
}

/// Finished reading of a frame, successful or not.
struct FinishedReading {
    frame: Arc<Frame>,
    changed_at: Timestamp,
    /// User-defined patterns used for this reading.
    own: OwnPatterns,
    read: Result<ReadPage, ReadError>,
    /// CPU time, then wall-clock time.
    spent: Duration,
    took: Duration,
}

struct ReadPage {
    page: RecognisedScreen,
    secrets: Vec<SensitiveText>,
    cost: ReadCost,
}

/// Completed step of a stream.
enum FinishedStep {
    Read(FinishedReading),
    Kept(StreamName),
}

impl ScreenReader {
    /// Creates a scheduler of readings that share the OCR models.
    pub fn new(
        ocr: Ocr,
        frames: FrameBus,
        record: Option<Arc<dyn KeepText>>,
        metrics: Arc<ScreenMetrics>,
        settings: ReaderSettings,
    ) -> Self {
        frames.expect_reading();
        Self {
            ocr: Arc::new(ocr),
            free: settings.readers,
            busy: HashSet::new(),
            frames,
            record,
            metrics,
            own: watch::Sender::new(settings.own),
            budget: ReadBudget::new(settings.cores, Instant::now()),
            memories: HashMap::new(),
        }
    }

    /// Sender that replaces the user-defined patterns.
    pub fn patterns(&self) -> watch::Sender<OwnPatterns> {
        self.own.clone()
    }

    /// Reads until `shutdown`; readings in progress are not awaited.
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
                    // Panics are caught inside a step, so the runtime is
                    // shutting down.
                    Err(_) => return,
                },
                changed = changes.changed() => if changed.is_err() {
                    return;
                },
                () = due => {}
            }
        }
    }

    /// Reads the next frame in turn immediately, ignoring the budget; false if
    /// nothing is unread.
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

    /// Starts readings on idle readers as far as the budget allows; returns the
    /// time until more may start.
    fn start_due(&mut self, steps: &mut JoinSet<FinishedStep>) -> Option<Duration> {
        if self.free == 0 {
            return None;
        }
        let live = self.frames.live();
        self.budget.fill(&live, Instant::now());
        let (due, wait) = order(self.unread(), Timestamp::now());
        for frame in due {
            // If no reader is idle, the end of a reading triggers the next
            // attempt.
            let reading = self.begin(frame)?;
            steps.spawn(async { FinishedStep::Read(reading.await) });
        }
        wait
    }

    /// Newest frame of each idle stream with an unread generation, or one to be
    /// continued or repeated.
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

    /// Maximum time left to wait for a sharper picture than this.
    fn until_sharp(&self, frame: &Frame) -> Option<Duration> {
        let since = self.frames.unread_since(&frame.stream)?;
        let waited = Timestamp::now().duration_since(since);
        frame.changes.settling.then(|| left_of(waited))?
    }

    /// Starts a reading of the frame; `None` while all readers are busy.
    fn begin(
        &mut self,
        frame: Arc<Frame>,
    ) -> Option<impl Future<Output = FinishedReading> + use<>> {
        let memory = self.memories.get(&frame.stream);
        self.free = self.free.checked_sub(1)?;
        self.busy.insert(frame.stream.clone());
        let last = memory.map(|memory| Arc::clone(&memory.page));
        let unread_since = self.frames.unread_since(&frame.stream);
        let changed_at = unread_since.map_or(frame.changed_at, |since| since.min(frame.changed_at));
        let own = self.own.borrow().clone();
        let (ocr, patterns) = (Arc::clone(&self.ocr), own.clone());
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
            // Fails only on a panic, or while the runtime shuts down.
            let (read, spent) = match tokio::task::spawn_blocking(reading).await {
                Ok(done) => done,
                Err(error) => (Err(ReadError::panicked(&error)), begun.elapsed()),
            };
            FinishedReading {
                frame,
                changed_at,
                own,
                read,
                spent,
                took: begun.elapsed(),
            }
        })
    }

    /// Publishes a reading; its stream stays busy until its text is stored.
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

    /// Publishes a reading, and returns the text to store.
    fn publish(&mut self, done: FinishedReading) -> Option<ScreenText> {
        let FinishedReading {
            frame,
            changed_at,
            own,
            read,
            spent,
            took,
        } = done;
        self.free += 1;
        self.budget.spend(&frame.stream, spent);
        self.metrics.ocr_cpu_seconds.inc_by(spent.as_secs_f64());
        let (page, secrets, cost) = match read {
            Ok(read) => (Arc::new(read.page), read.secrets, read.cost),
            Err(error) => {
                self.skip(&frame, &error);
                return None;
            }
        };
        self.metrics.ocr_frames.inc();
        self.metrics.ocr_pixels.inc_by(cost.pixels);
        log(&frame, &page, cost, spent, took);
        let read = frame.read(Arc::clone(&page.lines), secrets.into());
        let mut read = read.looked_for(&own);
        let text = self.appeared(&Arc::new(read.clone()), &page);
        (read.scene, read.scenes) = self.remember(&frame, &page);
        read.changed_at = changed_at;
        let all = page.unread.is_empty();
        self.metrics.ocr_unread.inc_by(page.unread.len() as u64);
        if self.frames.publish_reading(Arc::new(read), all) {
            tracing::warn!(stream = %frame.stream, "OCR too slow: unread text is redacted");
        }
        text
    }

    /// Marks a frame as failed without a retry, as the next generation may
    /// succeed. It is not shown either, as its secrets are unknown.
    fn skip(&mut self, frame: &Frame, error: &ReadError) {
        tracing::error!(stream = %frame.stream, frame = frame.seq, %error, "OCR failed");
        match self.memories.get_mut(&frame.stream) {
            Some(memory) => {
                memory.generation = frame.generation;
                memory.seq = frame.seq;
                memory.at = frame.captured_at;
            }
            None => {
                self.remember(frame, &Arc::new(RecognisedScreen::unread()));
            }
        }
    }

    /// Updates the memory of the stream. Returns the frame's scene, which is
    /// the last one if no text or large visual change occurred, and the number
    /// of scenes so far.
    fn remember(&mut self, frame: &Frame, page: &Arc<RecognisedScreen>) -> (u64, u64) {
        let last = self
            .memories
            .remove(&frame.stream)
            .map(|memory| memory.reported);
        let before = last.as_ref().map_or(0, |screen| screen.nth);
        let reported = match last.and_then(|mut screen| {
            self.metrics
                .ocr_untold
                .inc_by(screen.unreported(page) as u64);
            (!screen.has_news(page, &frame.changes, frame.captured_at)).then_some(screen)
        }) {
            Some(screen) => screen,
            None => {
                self.metrics.ocr_news.inc();
                let mut screen =
                    ReportedScreen::new(frame.generation, Arc::clone(page), frame.captured_at);
                screen.nth = before + 1;
                screen
            }
        };
        let scene = (reported.generation, reported.nth);
        let memory = LastReading {
            generation: frame.generation,
            seq: frame.seq,
            at: frame.captured_at,
            page: Arc::clone(page),
            reported,
        };
        self.memories.insert(frame.stream.clone(), memory);
        scene
    }

    /// Text that appeared since the last reading, without its secrets.
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

/// Time left for a picture to settle. A clock that was set back does not extend
/// it.
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
