//! Reads the newest unread frame of each live stream in turn, within a budget
//! of CPU, and puts it back on the bus with its text.
//!
//! Falls behind in freshness, never in memory: what was not read when a newer
//! frame came is not read at all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::ocr::{Ocr, ReadError};
use crate::frame_bus::FrameBus;
use crate::media::{Frame, Picture, Rect, StreamName, TextLine};
use crate::metrics::Metrics;

/// CPU that may be spent at once after a rest: a first full screen, at full
/// speed.
const BURST: Duration = Duration::from_secs(4);
/// How far a box may move, in pixels, and still be the same line.
const SAME_PLACE: u32 = 3;
/// Side of the cells two readings of a line are compared in.
const CELL: u32 = 8;
/// How far a sample has to move to count, and how many of a cell have to.
const SAMPLE_STEP: u8 = 24;
const CELL_SAMPLES: usize = 6;

/// Whoever reads the screen.
#[derive(Debug)]
pub struct Reader {
    ocr: Arc<Ocr>,
    frames: FrameBus,
    metrics: Arc<Metrics>,
    budget: Budget,
    memories: HashMap<StreamName, Arc<Memory>>,
    /// The stream read last: the next one in turn comes after it.
    last: Option<StreamName>,
}

/// What was read last on a stream.
#[derive(Debug)]
struct Memory {
    scene: u64,
    picture: Arc<Picture>,
    lines: Arc<[TextLine]>,
}

impl Reader {
    /// `share` of one core may be spent, averaged.
    pub fn new(ocr: Ocr, frames: FrameBus, metrics: Arc<Metrics>, share: f64) -> Self {
        Self {
            ocr: Arc::new(ocr),
            frames,
            metrics,
            budget: Budget::new(share),
            memories: HashMap::new(),
            last: None,
        }
    }

    /// Reads until `shutdown`; a reading under way is left to itself then.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut changes = self.frames.changes();
        loop {
            changes.borrow_and_update();
            let step = async {
                match self.pick() {
                    None => changes.changed().await.is_ok(),
                    Some(_) => {
                        tokio::time::sleep(self.budget.wait()).await;
                        // What is newest is decided after the wait.
                        if let Some(frame) = self.pick() {
                            self.read(frame).await;
                        }
                        true
                    }
                }
            };
            if !matches!(shutdown.run_until_cancelled(step).await, Some(true)) {
                return;
            }
        }
    }

    /// The newest frame of the next stream in turn that has a scene unread.
    fn pick(&mut self) -> Option<Arc<Frame>> {
        let mut live = self.frames.live();
        self.memories.retain(|stream, _| live.contains(stream));
        if let Some(last) = &self.last {
            let behind = live.iter().filter(|stream| *stream <= last).count();
            live.rotate_left(behind);
        }
        live.iter().find_map(|stream| {
            let read = self.memories.get(stream).map(|memory| memory.scene);
            self.frames
                .newest(stream)
                .filter(|frame| read != Some(frame.scene))
        })
    }

    async fn read(&mut self, frame: Arc<Frame>) {
        self.last = Some(frame.stream.clone());
        let (ocr, picture) = (Arc::clone(&self.ocr), Arc::clone(&frame.picture));
        let memory = self.memories.get(&frame.stream).cloned();
        let begun = Instant::now();
        let reading = tokio::task::spawn_blocking(move || {
            let ocr = &ocr;
            ocr.on_thread(move || {
                let before = thread_cpu();
                let lines = ocr.read(&picture, |rect| memory.as_ref()?.recall(&picture, rect));
                (lines, thread_cpu().saturating_sub(before))
            })
        });
        // It only fails when it panicked, or the runtime is going down.
        let (lines, spent) = match reading.await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(stream = %frame.stream, %error, "reading the screen failed");
                (Ok(Vec::new()), begun.elapsed())
            }
        };
        self.budget.spend(spent);
        self.metrics.ocr_cpu_seconds.inc_by(spent.as_secs_f64());
        let lines: Arc<[TextLine]> = match lines {
            Ok(lines) => lines.into(),
            Err(error) => return self.skip(&frame, &error),
        };
        self.metrics.ocr_frames.inc();
        tracing::debug!(
            stream = %frame.stream,
            frame = frame.seq,
            lines = lines.len(),
            cpu_ms = spent.as_millis() as u64,
            wall_ms = begun.elapsed().as_millis() as u64,
            "read the screen"
        );
        self.remember(&frame, Arc::clone(&lines));
        self.frames.publish_read(Arc::new(frame.with_text(lines)));
    }

    /// Not read, and not to be tried again: the next scene may fare better.
    fn skip(&mut self, frame: &Frame, error: &ReadError) {
        tracing::error!(stream = %frame.stream, frame = frame.seq, %error, "the screen was not read");
        self.remember(frame, Arc::from([]));
    }

    fn remember(&mut self, frame: &Frame, lines: Arc<[TextLine]>) {
        let memory = Memory {
            scene: frame.scene,
            picture: Arc::clone(&frame.picture),
            lines,
        };
        self.memories.insert(frame.stream.clone(), Arc::new(memory));
    }
}

impl Memory {
    /// What stood there at the last reading, if nothing has moved since.
    fn recall(&self, picture: &Picture, rect: &Rect) -> Option<TextLine> {
        if (self.picture.width, self.picture.height) != (picture.width, picture.height) {
            return None;
        }
        let near = |a: u32, b: u32| a.abs_diff(b) <= SAME_PLACE;
        let line = self.lines.iter().find(|line| {
            let old = &line.rect;
            near(old.x, rect.x)
                && near(old.y, rect.y)
                && near(old.width, rect.width)
                && near(old.height, rect.height)
        })?;
        // Both boxes: what was read, and what would be.
        let same = same_pixels(&self.picture, picture, &line.rect)
            && same_pixels(&self.picture, picture, rect);
        same.then(|| line.clone())
    }
}

/// Whether no cell of the rectangle has moved. The rectangle lies within both
/// pictures, which are of one size.
fn same_pixels(old: &Picture, new: &Picture, rect: &Rect) -> bool {
    let width = new.width as usize;
    let cell_moved = |left: u32, top: u32| {
        let columns = left as usize..(left + CELL).min(rect.x + rect.width) as usize;
        let rows = top..(top + CELL).min(rect.y + rect.height);
        let moved = rows.map(|row| {
            let row = row as usize * width;
            let span = row + columns.start..row + columns.end;
            let samples = old.y[span.clone()].iter().zip(&new.y[span]);
            samples
                .filter(|(a, b)| a.abs_diff(**b) > SAMPLE_STEP)
                .count()
        });
        moved.sum::<usize>() > CELL_SAMPLES
    };
    let step = CELL as usize;
    !(rect.y..rect.y + rect.height).step_by(step).any(|top| {
        (rect.x..rect.x + rect.width)
            .step_by(step)
            .any(|left| cell_moved(left, top))
    })
}

/// A bucket of CPU time that fills at `share` of the wall clock.
#[derive(Debug)]
struct Budget {
    share: f64,
    /// Seconds; below zero after a reading that cost more than there was.
    level: f64,
    at: Instant,
}

impl Budget {
    fn new(share: f64) -> Self {
        Self {
            share,
            level: BURST.as_secs_f64(),
            at: Instant::now(),
        }
    }

    /// How long until something may be spent.
    fn wait(&mut self) -> Duration {
        self.fill(Instant::now());
        Duration::from_secs_f64((-self.level / self.share).max(0.0))
    }

    fn spend(&mut self, spent: Duration) {
        self.fill(Instant::now());
        self.level -= spent.as_secs_f64();
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * self.share).min(BURST.as_secs_f64());
        self.at = now;
    }
}

/// CPU time of the calling thread.
fn thread_cpu() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec of ours, alive during the call.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) } != 0;
    if failed {
        return Duration::ZERO;
    }
    // Neither is negative: it is time passed.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: u32, height: u32) -> Picture {
        let (w, h) = (width as usize, height as usize);
        Picture {
            width,
            height,
            y: vec![120; w * h],
            u: vec![128; w.div_ceil(2) * h.div_ceil(2)],
            v: vec![128; w.div_ceil(2) * h.div_ceil(2)],
        }
    }

    #[test]
    fn a_line_is_recalled_until_a_character_of_it_moves() {
        let rect = Rect {
            x: 10,
            y: 10,
            width: 200,
            height: 20,
        };
        let line = TextLine {
            text: "restarts 3".to_owned(),
            rect,
            confidence: 1.0,
        };
        let old = Arc::new(grey(320, 240));
        let memory = Memory {
            scene: 1,
            picture: Arc::clone(&old),
            lines: Arc::from([line.clone()]),
        };
        let shifted = Rect {
            x: 12,
            width: 199,
            ..rect
        };
        assert_eq!(memory.recall(&old, &shifted), Some(line));
        assert_eq!(memory.recall(&old, &Rect { y: 40, ..rect }), None);
        let mut new = grey(320, 240);
        for y in 14..24 {
            for x in 200..206 {
                new.y[y * 320 + x] = 250;
            }
        }
        assert_eq!(memory.recall(&new, &rect), None);
        assert_eq!(memory.recall(&grey(321, 240), &rect), None);
    }

    #[test]
    fn the_budget_lets_a_first_reading_through_and_then_its_share() {
        let mut budget = Budget::new(0.5);
        assert_eq!(budget.wait(), Duration::ZERO);
        budget.spend(Duration::from_secs(6));
        let wait = budget.wait();
        assert!(
            Duration::from_millis(3900) < wait && wait <= Duration::from_secs(4),
            "{wait:?}"
        );
        let later = budget.at + Duration::from_secs(4);
        budget.fill(later);
        assert!(budget.level.abs() < 0.1, "{}", budget.level);
        budget.fill(later + Duration::from_secs(3600));
        assert!((budget.level - 4.0).abs() < 1e-9);
    }
}
