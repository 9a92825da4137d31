//! Noise level of a stream, and the threshold of a change that follows from it.
//!
//! A starved encoder leaves smears that move samples of many tiles at once; a
//! person changes few tiles and those a lot. So the tiles that nothing strong
//! happened to measure the noise floor.

use super::luma::Moved;

/// Samples of a tile that have to move: of those moved a little on a clean
/// stream, of those moved far on a noisy one.
const FINE_SAMPLES: u16 = 6;
const COARSE_SAMPLES: u16 = 13;
/// Tiles that have to change at least on a noisy stream, where one alone may
/// be the encoder's.
const COARSE_TILES: usize = 4;
/// A tile with fewer far samples is one nobody touched, unless nearly all of
/// it moved a little: then something was laid over the screen.
const QUIET: u16 = 3;
const LAID_OVER: u16 = 96;
/// Share of untouched tiles that look changed to the fine measure.
const NOISY: f32 = 0.012;
const CLEAN: f32 = 0.004;
/// Weight of a new sample against what was learnt.
const LEARNS: f32 = 0.15;

#[derive(Debug, Default)]
pub(super) struct Noise {
    floor: f32,
    noisy: bool,
}

impl Noise {
    pub(super) fn learn(&mut self, moved: &[Moved]) {
        let untouched = moved
            .iter()
            .filter(|tile| tile.coarse < QUIET && tile.fine < LAID_OVER);
        let (mut all, mut smeared) = (0.0, 0.0);
        for tile in untouched {
            all += 1.0;
            smeared += f32::from(u8::from(tile.fine > FINE_SAMPLES / 2));
        }
        // Too few to tell.
        if all * 4.0 < moved.len() as f32 {
            return;
        }
        self.floor += LEARNS * (smeared / all - self.floor);
        self.noisy = self.floor > if self.noisy { CLEAN } else { NOISY };
    }

    pub(super) fn is_change(&self, moved: Moved) -> bool {
        if self.noisy {
            moved.coarse > COARSE_SAMPLES
        } else {
            moved.fine > FINE_SAMPLES
        }
    }

    pub(super) fn fewest_tiles(&self) -> usize {
        if self.noisy { COARSE_TILES } else { 1 }
    }
}
