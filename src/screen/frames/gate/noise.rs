//! Noise level of a stream, and the threshold of changes for it.
//!
//! A low-bitrate encoder leaves artefacts that change samples of many tiles at
//! once; a user changes few tiles, and those strongly. So the tiles without
//! strong changes measure the noise floor.

use super::luma::Moved;

/// Minimum changed samples of a tile: of the fine measure on a clean stream, of
/// the coarse one on a noisy one.
const FINE_SAMPLES: u16 = 6;
const COARSE_SAMPLES: u16 = 13;
/// Minimum changed tiles on a noisy stream, where a single one may be an
/// artefact.
const COARSE_TILES: usize = 4;
/// Maximum coarse changes of an untouched tile, unless nearly all of it changed
/// slightly: then an overlay covers the screen.
const QUIET: u16 = 3;
const LAID_OVER: u16 = 96;
/// Share of untouched tiles that the fine measure counts as changed.
const NOISY: f32 = 0.012;
const CLEAN: f32 = 0.004;
/// Weight of a new sample in the moving average.
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
        // Too few for a measurement.
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
