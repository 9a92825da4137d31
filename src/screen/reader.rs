//! Reads the newest unread frame of each live stream in turn, within a budget
//! of CPU, and puts it back on the bus with its text and what of it must not
//! leave.
//!
//! Falls behind in freshness, never in memory: what was not read when a newer
//! frame came is not read at all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
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
    /// Share of one core that may be spent, averaged.
    pub share: f64,
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
    ocr: Arc<Ocr>,
    frames: FrameBus,
    /// Keeps what was read, for those who search.
    record: Option<Arc<dyn KeepText>>,
    metrics: Arc<ScreenMetrics>,
    own: watch::Sender<OwnPatterns>,
    budget: ReadBudget,
    memories: HashMap<StreamName, LastReading>,
    /// The stream read last: the next one in turn comes after it.
    last: Option<StreamName>,
}

/// Last reading of a stream, and what was reported of it.
#[derive(Debug)]
struct LastReading {
    /// Generation of the frame read, by the change gate.
    generation: u64,
    seq: u64,
    /// When that frame was on the screen.
    at: Timestamp,
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

impl ScreenReader {
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
            frames,
            record,
            metrics,
            own: watch::Sender::new(settings.own),
            budget: ReadBudget::new(settings.share, Instant::now()),
            memories: HashMap::new(),
            last: None,
        }
    }

    /// Takes what the user wants hidden from now on.
    pub fn patterns(&self) -> watch::Sender<OwnPatterns> {
        self.own.clone()
    }

    /// Reads until `shutdown`; a reading under way is left to itself then.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut changes = self.frames.changes();
        loop {
            changes.borrow_and_update();
            let step = async {
                let Some((frame, wait)) = self.next() else {
                    return changes.changed().await.is_ok();
                };
                if wait > Duration::ZERO {
                    // Another stream may have something left, and something new.
                    let _ = tokio::time::timeout(wait, changes.changed()).await;
                } else if let Some(left) = self.until_sharp(&frame) {
                    // Over, too, when no other picture comes.
                    let _ = tokio::time::timeout(left, changes.changed()).await;
                } else {
                    self.read(frame).await;
                }
                // Choice of the newest frame is made after each wait.
                true
            };
            if !matches!(shutdown.run_until_cancelled(step).await, Some(true)) {
                return;
            }
        }
    }

    /// Reads the next frame in turn now, whatever the budget; false when there
    /// is nothing unread.
    pub async fn read_next(&mut self) -> bool {
        let Some(frame) = self.unread().into_iter().next() else {
            return false;
        };
        self.read(frame).await;
        true
    }

    /// Frame to read next, and its wait: the first in turn whose stream has
    /// something of its share left, or the one that will have soonest.
    fn next(&mut self) -> Option<(Arc<Frame>, Duration)> {
        let unread = self.unread();
        let live = self.frames.live();
        self.budget.fill(&live, Instant::now());
        let waits = unread.into_iter().map(|frame| {
            let wait = self.budget.wait(&frame.stream);
            (frame, wait)
        });
        waits.min_by_key(|(_, wait)| *wait)
    }

    /// The newest frame of each stream, from the next in turn, that has a
    /// generation unread or one that has to be read on or twice.
    fn unread(&mut self) -> Vec<Arc<Frame>> {
        let mut live = self.frames.live();
        self.memories.retain(|stream, _| live.contains(stream));
        if let Some(last) = &self.last {
            let behind = live.iter().filter(|stream| *stream <= last).count();
            live.rotate_left(behind);
        }
        let unread = live.iter().filter_map(|stream| {
            let memory = self.memories.get(stream);
            self.frames
                .newest(stream)
                .filter(|frame| memory.is_none_or(|memory| memory.wants(frame)))
        });
        unread.collect()
    }

    /// Longest time to wait for a sharper picture than this.
    fn until_sharp(&self, frame: &Frame) -> Option<Duration> {
        let since = self.frames.unread_since(&frame.stream)?;
        let waited = Timestamp::now().duration_since(since);
        frame.changes.settling.then(|| left_of(waited))?
    }

    async fn read(&mut self, frame: Arc<Frame>) {
        self.last = Some(frame.stream.clone());
        let (ocr, picture) = (Arc::clone(&self.ocr), Arc::clone(&frame.picture));
        let last = self
            .memories
            .get(&frame.stream)
            .map(|memory| Arc::clone(&memory.page));
        let begun = Instant::now();
        let reading = tokio::task::spawn_blocking(move || {
            let ocr = &ocr;
            ocr.on_thread(move || {
                let before = cpu_time::of_this_thread();
                let page = RecognisedScreen::read(last.as_deref(), &picture, ocr);
                (page, cpu_time::of_this_thread().saturating_sub(before))
            })
        });
        // It only fails when it panicked, or the runtime is going down.
        let (page, spent) = match reading.await {
            Ok(done) => done,
            Err(error) => (Err(ReadError::panicked(&error)), begun.elapsed()),
        };
        self.budget.spend(&frame.stream, spent);
        self.metrics.ocr_cpu_seconds.inc_by(spent.as_secs_f64());
        let (page, cost) = match page {
            Ok((page, cost)) => (Arc::new(page), cost),
            Err(error) => return self.skip(&frame, &error),
        };
        self.metrics.ocr_frames.inc();
        self.metrics.ocr_pixels.inc_by(cost.pixels);
        log(&frame, &page, cost, spent, begun.elapsed());
        self.keep_text(&frame, &page).await;
        let (scene, told) = self.remember(&frame, &page);
        let own = self.own.borrow().clone();
        let secrets = self.secrets(&frame, &page, &own);
        let read = frame.read(Arc::clone(&page.lines), secrets.into());
        let mut read = read.looked_for(&own);
        (read.scene, read.told) = (scene, told);
        let all = page.unread.is_empty();
        self.metrics.ocr_unread.inc_by(page.unread.len() as u64);
        if self.frames.publish_reading(Arc::new(read), all) {
            tracing::warn!(stream = %frame.stream, "OCR too slow: unread text is redacted");
        }
    }

    fn secrets(
        &self,
        frame: &Frame,
        page: &RecognisedScreen,
        own: &OwnPatterns,
    ) -> Vec<SensitiveText> {
        let size = (frame.picture.width, frame.picture.height);
        secrets_beside(&page.lines, &page.unread, own, size)
    }

    /// Not read, and not to be tried again: the next generation may fare better.
    /// Nobody is shown it either, as nobody knows what stands on it.
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

    /// The scene the frame belongs to for those who wait for news: the last
    /// one, if nothing that can be read or seen from afar has changed; and how
    /// many there were.
    fn remember(&mut self, frame: &Frame, page: &Arc<RecognisedScreen>) -> (u64, u64) {
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
            page: Arc::clone(page),
            told,
        };
        self.memories.insert(frame.stream.clone(), memory);
        known
    }

    /// Records the text there now that was not before, without its secrets.
    async fn keep_text(&self, frame: &Frame, page: &RecognisedScreen) {
        let Some(record) = &self.record else {
            return;
        };
        let before = self
            .memories
            .get(&frame.stream)
            .map(|memory| &memory.page.lines);
        let appeared = match before {
            Some(before) => diff(before, &page.lines).appeared,
            None => (0..page.lines.len()).collect(),
        };
        if appeared.is_empty() {
            return;
        }
        let size = (frame.picture.width, frame.picture.height);
        let secrets = self.secrets(frame, page, &self.own.borrow());
        let read = Arc::new(frame.read(Arc::clone(&page.lines), secrets.into()));
        let Some(cleared) = read.redacted_text(Redact::Secrets) else {
            return;
        };
        let line = |index: usize| -> Option<ScreenLine> {
            let line: &TextLine = cleared.get(index)?;
            Some(ScreenLine {
                text: mask(&line.text, Redact::Secrets).into_owned(),
                bounds: line.rect.thousandths(size.0, size.1),
            })
        };
        let text = ScreenText {
            stream: frame.stream.clone(),
            observed_at: frame.captured_at,
            frame_seq: frame.seq,
            pts_ms: frame.pts.ms(),
            lines: appeared.into_iter().filter_map(line).collect(),
        };
        if let Err(error) = record.keep(text).await {
            tracing::warn!(stream = %frame.stream, %error, "failed to store the screen text");
        }
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
