//! Change gate: detection and location of changes of a picture.
//!
//! Tiles of the picture at half its size are compared with what they showed
//! when they last counted as changed, so that slow drift adds up. A tile counts
//! when it differs in two consecutive samples, which filters the moving mouse
//! pointer; another window counts at once. Small areas that change repeatedly
//! (a clock, a cursor, a spinner) are ignored until they rest; large ones (a
//! scrolling terminal, a video) still count, but seldom and marked as restless.
//! A heartbeat, another size and the first picture count as changed completely.
//!
//! Pure: pictures and times in, changes out.

mod luma;
mod noise;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use luma::{Luma, Moved, TILE_PIXELS};
use noise::Noise;

use crate::changed_regions::{Changes, regions};
use crate::picture::Picture;

/// Heartbeat: time without a generation after which everything counts as
/// changed.
const HEARTBEAT: SignedDuration = SignedDuration::from_secs(30);
/// Recent changes from which a tile is restless.
const RESTLESS: f32 = 3.0;
/// Share of that count left after a second (decay).
const FORGETS: f32 = 0.93;
/// Time without motion after which a restless tile has come to rest and counts
/// once more.
const RESTED: SignedDuration = SignedDuration::from_secs(3);
/// Minimum tiles of a large restless area: more than a clock or a spinner has.
const LARGE: u64 = 12;
/// Minimum interval of generations made only by restless tiles.
const SELDOM: SignedDuration = SignedDuration::from_millis(1900);
/// Share of samples with motion above which a screen moves most of the time, as
/// with a clock.
const MOST: f32 = 0.5;
/// Minimum share of changed tiles for another window.
const SWITCH: f64 = 0.5;
/// Minimum interval of switches that count at once; faster ones are a video.
const SWITCHES: SignedDuration = SignedDuration::from_secs(2);
/// Maximum share of moving tiles of a settled picture: a mouse pointer, a
/// clock, a row.
const SETTLED: f64 = 0.02;
/// Minimum changed samples of a tile for motion between two pictures.
const STIRRED: u16 = 1;

/// Change gate of one stream: tiles last shown and their activity.
#[derive(Debug)]
pub(crate) struct ChangeGate {
    /// Content of each tile when it last counted as changed.
    generation: Luma,
    now: Luma,
    before: Luma,
    moved: Vec<Moved>,
    stirred: Vec<Moved>,
    tiles: Vec<Tile>,
    noise: Noise,
    changes: Arc<Changes>,
    heartbeat: Timestamp,
    /// Last generation made only by restless tiles.
    restless_at: Timestamp,
    sampled_at: Timestamp,
    switched_at: Timestamp,
    /// Share of the last samples with motion, and whether it was most of them
    /// at the last motion.
    liveliness: f32,
    ticking: bool,
}

/// Reason that all of a picture counts as changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResetReason {
    /// First picture, or the first of another size.
    Another,
    /// Another window.
    Switch,
}

#[derive(Debug, Clone, Copy)]
struct Tile {
    /// Flag: it differed in the last sample too.
    differed: bool,
    /// Recent changes, decaying by [`FORGETS`].
    turns: f32,
    noisy: bool,
    differed_at: Timestamp,
}

impl ChangeGate {
    pub(crate) fn new() -> Self {
        let never = Timestamp::MIN;
        Self {
            generation: Luma::default(),
            now: Luma::default(),
            before: Luma::default(),
            moved: Vec::new(),
            stirred: Vec::new(),
            tiles: Vec::new(),
            noise: Noise::default(),
            changes: Arc::new(Changes::all(0, never)),
            heartbeat: never,
            restless_at: never,
            sampled_at: never,
            switched_at: never,
            liveliness: 0.0,
            ticking: false,
        }
    }

    /// Compares the next picture, which begins generation `seq` if it changed.
    /// Takes about a millisecond for 1920x1080.
    pub(crate) fn process(&mut self, picture: &Picture, seq: u64, at: Timestamp) -> Arc<Changes> {
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.take(picture);
        let another = self.now.picture != self.generation.picture || self.tiles.is_empty();
        // A clock set back would stop the heartbeat.
        let since = at.duration_since(self.heartbeat);
        if another {
            self.renew(ResetReason::Another, seq, at);
        } else {
            self.now.moved(&self.generation, &mut self.moved);
            if self.is_switch(at) {
                self.switched_at = at;
                self.renew(ResetReason::Switch, seq, at);
            } else {
                self.compare(seq, at);
                if since >= HEARTBEAT || since.is_negative() {
                    self.beat(seq, at);
                }
            }
        }
        self.sampled_at = at;
        Arc::clone(&self.changes)
    }

    /// Marks all of it as changed.
    fn renew(&mut self, beat: ResetReason, seq: u64, at: Timestamp) {
        let another = beat == ResetReason::Another;
        self.generation.clone_from(&self.now);
        self.heartbeat = at;
        let count = self.now.columns() * self.now.rows();
        if another {
            self.tiles.clear();
            self.tiles.resize(count, Tile::at(at));
            self.noise = Noise::default();
            self.liveliness = 0.0;
            self.ticking = false;
        }
        for tile in &mut self.tiles {
            tile.differed = false;
        }
        let moved_at = if another { at } else { self.motion(at) };
        self.changes = Arc::new(Changes {
            tile: TILE_PIXELS,
            columns: self.now.columns() as u32,
            generations: vec![seq; count],
            noisy: self.tiles.iter().map(|tile| tile.noisy).collect(),
            whole: seq,
            moved_at,
            ticking: self.ticking,
            settling: another || self.is_settling(),
        });
    }

    /// Heartbeat: all of it counts as changed without a detected change, in
    /// `whole` only. Tiles that differ for the first time stay unconfirmed: the
    /// next sample distinguishes a change from a passing mouse pointer.
    fn beat(&mut self, seq: u64, at: Timestamp) {
        self.heartbeat = at;
        for (index, tile) in self.tiles.iter().enumerate() {
            if !tile.differed {
                self.generation.copy_tile(&self.now, index);
            }
        }
        Arc::make_mut(&mut self.changes).whole = seq;
    }

    /// Another window counts at once: no mouse pointer is that large.
    fn is_switch(&self, at: Timestamp) -> bool {
        let differs = self
            .moved
            .iter()
            .filter(|moved| self.noise.is_change(**moved));
        let share = differs.count() as f64 / self.moved.len().max(1) as f64;
        share > SWITCH && at.duration_since(self.switched_at) >= SWITCHES
    }

    fn compare(&mut self, seq: u64, at: Timestamp) {
        self.noise.learn(&self.moved);
        let passed = at
            .duration_since(self.sampled_at)
            .as_secs_f32()
            .clamp(0.0, 60.0);
        let kept = FORGETS.powf(passed);
        let mut turned = Vec::new();
        for (index, (tile, moved)) in self.tiles.iter_mut().zip(&self.moved).enumerate() {
            let differs = self.noise.is_change(*moved);
            let before = std::mem::replace(&mut tile.differed, differs);
            tile.turns *= kept;
            if differs {
                tile.differed_at = at;
            }
            let rested = tile.noisy && at.duration_since(tile.differed_at) >= RESTED;
            if differs && before {
                tile.turns += 1.0;
                turned.push(index);
            } else if rested {
                tile.noisy = false;
                tile.turns = 0.0;
                turned.push(index);
            }
            tile.noisy |= tile.turns > RESTLESS;
        }
        for index in &turned {
            self.generation.copy_tile(&self.now, *index);
        }
        let counted = self.counted(&turned, at);
        let moved_at = self.motion(at);
        let settling = self.is_settling();
        let changes = Arc::make_mut(&mut self.changes);
        for index in counted {
            changes.generations[index] = seq;
        }
        for (known, tile) in changes.noisy.iter_mut().zip(&self.tiles) {
            *known = tile.noisy;
        }
        changes.moved_at = moved_at;
        changes.ticking = self.ticking;
        changes.settling = settling;
    }

    /// Changed tiles that make a new generation.
    fn counted(&mut self, turned: &[usize], at: Timestamp) -> Vec<usize> {
        let settled = turned.iter().filter(|index| !self.tiles[**index].noisy);
        if settled.count() >= self.noise.fewest_tiles() {
            return self.without_spots(turned);
        }
        let due = at.duration_since(self.restless_at);
        if due < SELDOM && !due.is_negative() {
            return Vec::new();
        }
        let large = self.without_spots(turned);
        let large: Vec<_> = large
            .into_iter()
            .filter(|index| self.tiles[*index].noisy)
            .collect();
        if !large.is_empty() {
            self.restless_at = at;
        }
        large
    }

    /// Removes restless tiles in small connected areas.
    fn without_spots(&self, turned: &[usize]) -> Vec<usize> {
        let noisy: Vec<bool> = self.tiles.iter().map(|tile| tile.noisy).collect();
        if !noisy.contains(&true) {
            return turned.to_vec();
        }
        let (width, height) = self.now.picture;
        let columns = self.now.columns();
        let tile_area = u64::from(TILE_PIXELS) * u64::from(TILE_PIXELS);
        let spots: Vec<_> = regions(&noisy, columns as u32, TILE_PIXELS, width, height)
            .into_iter()
            .filter(|rect| rect.area() < LARGE * tile_area)
            .collect();
        let in_spot = |index: usize| {
            let (x, y) = ((index % columns) as u32, (index / columns) as u32);
            let (x, y) = (x * TILE_PIXELS, y * TILE_PIXELS);
            spots.iter().any(|spot| {
                (spot.x..spot.right()).contains(&x) && (spot.y..spot.bottom()).contains(&y)
            })
        };
        let counts = |index: &&usize| !(self.tiles[**index].noisy && in_spot(**index));
        turned.iter().filter(counts).copied().collect()
    }

    /// True if much moved since the picture before.
    fn is_settling(&self) -> bool {
        let moved = self.stirred.iter().filter(|moved| moved.fine > STIRRED);
        moved.count() as f64 > SETTLED * self.stirred.len() as f64
    }

    /// Time of the last motion between two pictures.
    fn motion(&mut self, at: Timestamp) -> Timestamp {
        self.now.moved(&self.before, &mut self.stirred);
        let stirred = self.stirred.iter().any(|moved| moved.fine > STIRRED);
        let weight = 0.1;
        self.liveliness += weight * (f32::from(u8::from(stirred)) - self.liveliness);
        if !stirred {
            return self.changes.moved_at;
        }
        self.ticking = self.liveliness > MOST;
        at
    }
}

impl Tile {
    fn at(at: Timestamp) -> Self {
        Self {
            differed: false,
            turns: 0.0,
            noisy: false,
            differed_at: at,
        }
    }
}

#[cfg(test)]
mod tests;
