//! Conversion from a stream's matrix and range to those of a JPEG: full range,
//! BT.601.
//!
//! Grey is invariant under every matrix, so converting between two of them is
//! `y' = y + a cb + b cr` and a 2x2 matrix for the chroma, with the range
//! conversion folded in. swscale would go through RGB, at several times the
//! cost.

use watchtower_screen::picture::Picture;

/// Weights of red and blue in the luma (ITU-T H.273, table 4).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Matrix {
    kr: f64,
    kb: f64,
}

impl Matrix {
    pub(super) const BT601: Self = Self {
        kr: 0.299,
        kb: 0.114,
    };
    pub(super) const BT709: Self = Self {
        kr: 0.2126,
        kb: 0.0722,
    };
    pub(super) const BT2020: Self = Self {
        kr: 0.2627,
        kb: 0.0593,
    };
    pub(super) const SMPTE240M: Self = Self {
        kr: 0.212,
        kb: 0.087,
    };
    pub(super) const FCC: Self = Self { kr: 0.30, kb: 0.11 };

    /// Coefficients that players assume for a stream that signals none.
    pub(super) fn by_height(height: u32) -> Self {
        if height >= 720 {
            Self::BT709
        } else {
            Self::BT601
        }
    }

    fn rgb(self, cb: f64, cr: f64) -> [f64; 3] {
        let red = 2.0 * (1.0 - self.kr) * cr;
        let blue = 2.0 * (1.0 - self.kb) * cb;
        let green = -(self.kr * red + self.kb * blue) / (1.0 - self.kr - self.kb);
        [red, green, blue]
    }

    fn luma_chroma(self, [red, green, blue]: [f64; 3]) -> [f64; 3] {
        let luma = self.kr * red + (1.0 - self.kr - self.kb) * green + self.kb * blue;
        let cb = (blue - luma) / (2.0 * (1.0 - self.kb));
        let cr = (red - luma) / (2.0 * (1.0 - self.kr));
        [luma, cb, cr]
    }
}

/// Rows of one plane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plane<'a> {
    pub(super) samples: &'a [u8],
    /// Stride: samples from one row to the next.
    pub(super) stride: usize,
}

impl<'a> Plane<'a> {
    fn rows(self, width: usize, count: usize) -> impl Iterator<Item = &'a [u8]> {
        let rows = self.samples.chunks(self.stride.max(1)).take(count);
        rows.map(move |row| row.get(..width).unwrap_or(row))
    }
}

/// Planar 8-bit 4:2:0 source, with its matrix and range.
#[derive(Debug, Clone, Copy)]
pub(super) struct YuvPlanes<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) planes: [Plane<'a>; 3],
    pub(super) matrix: Matrix,
    pub(super) full_range: bool,
}

/// Fixed-point coefficients in units of 2^-14: they fit 16 bits, so the
/// compiler can use the short multiplications every x86 has.
const SHIFT: u32 = 14;
const HALF: i32 = 1 << (SHIFT - 1);

#[derive(Debug)]
struct Coefficients {
    luma: i32,
    luma_offset: i32,
    luma_from: [i32; 2],
    cb_from: [i32; 2],
    cr_from: [i32; 2],
}

impl Coefficients {
    fn new(matrix: Matrix, full_range: bool) -> Self {
        let (luma, offset, chroma) = if full_range {
            (1.0, 0.0, 1.0)
        } else {
            (255.0 / 219.0, 16.0, 255.0 / 224.0)
        };
        let fixed = |value: f64| (value * f64::from(1 << SHIFT)).round() as i32;
        let target = Matrix::BT601;
        let cb = target.luma_chroma(matrix.rgb(chroma, 0.0));
        let cr = target.luma_chroma(matrix.rgb(0.0, chroma));
        Self {
            luma: fixed(luma),
            luma_offset: HALF - fixed(luma * offset),
            luma_from: [fixed(cb[0]), fixed(cr[0])],
            cb_from: [fixed(cb[1]), fixed(cr[1])],
            cr_from: [fixed(cb[2]), fixed(cr[2])],
        }
    }
}

pub(super) fn to_jfif(source: &YuvPlanes<'_>) -> Picture {
    let (width, height) = (source.width as usize, source.height as usize);
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    let [y, u, v] = source.planes;
    let mut picture = Picture {
        width: source.width,
        height: source.height,
        y: Vec::with_capacity(width * height),
        u: Vec::with_capacity(half_width * half_height),
        v: Vec::with_capacity(half_width * half_height),
    };
    if source.full_range && source.matrix == Matrix::BT601 {
        y.rows(width, height)
            .for_each(|row| picture.y.extend_from_slice(row));
        u.rows(half_width, half_height)
            .for_each(|row| picture.u.extend_from_slice(row));
        v.rows(half_width, half_height)
            .for_each(|row| picture.v.extend_from_slice(row));
        return picture;
    }
    let by = Coefficients::new(source.matrix, source.full_range);
    // Luma correction from the chroma, one sample per column.
    let mut shift = vec![by.luma_offset; half_width * 2];
    let mut luma = y.rows(width, height);
    let chroma = u
        .rows(half_width, half_height)
        .zip(v.rows(half_width, half_height));
    for (us, vs) in chroma {
        let pairs = || us.iter().zip(vs).map(|(u, v)| (centred(*u), centred(*v)));
        let mix = |from: [i32; 2]| move |(u, v): (i32, i32)| from[0] * u + from[1] * v;
        let chroma = |sum: i32| clamped((sum + HALF) >> SHIFT, 128);
        picture.u.extend(pairs().map(mix(by.cb_from)).map(chroma));
        picture.v.extend(pairs().map(mix(by.cr_from)).map(chroma));
        if source.matrix != Matrix::BT601 {
            for (two, sum) in shift
                .chunks_exact_mut(2)
                .zip(pairs().map(mix(by.luma_from)))
            {
                two.fill(by.luma_offset + sum);
            }
        }
        for row in luma.by_ref().take(2) {
            let samples = row.iter().zip(&shift);
            picture.y.extend(
                samples.map(|(y, shift)| clamped((i32::from(*y) * by.luma + shift) >> SHIFT, 0)),
            );
        }
    }
    picture
}

fn centred(sample: u8) -> i32 {
    i32::from(sample) - 128
}

fn clamped(value: i32, offset: i32) -> u8 {
    // Within range after the clamp.
    (value + offset).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Converts one colour in two ways: directly from RGB to JPEG samples, and
    /// through the stream's matrix and range.
    #[test]
    fn colours_survive_every_matrix_and_range() {
        let matrices = [
            Matrix::BT601,
            Matrix::BT709,
            Matrix::BT2020,
            Matrix::SMPTE240M,
            Matrix::FCC,
        ];
        for matrix in matrices {
            for full_range in [false, true] {
                for rgb in [
                    [0.0, 0.0, 0.0],
                    [1.0; 3],
                    [0.8, 0.1, 0.1],
                    [0.1, 0.7, 0.2],
                    [0.2, 0.3, 0.9],
                ] {
                    let (luma, offset, chroma) = if full_range {
                        (255.0, 0.0, 255.0)
                    } else {
                        (219.0, 16.0, 224.0)
                    };
                    let [y, u, v] = matrix.luma_chroma(rgb);
                    let coded = [y * luma + offset, u * chroma + 128.0, v * chroma + 128.0];
                    let [ys, us, vs] = coded.map(|sample: f64| vec![sample.round() as u8; 9]);
                    let plane = |samples, stride| Plane { samples, stride };
                    let picture = to_jfif(&YuvPlanes {
                        width: 3,
                        height: 3,
                        planes: [plane(&ys, 3), plane(&us, 2), plane(&vs, 2)],
                        matrix,
                        full_range,
                    });
                    let [y, u, v] = Matrix::BT601.luma_chroma(rgb);
                    let expected = [y * 255.0, u * 255.0 + 128.0, v * 255.0 + 128.0];
                    assert_eq!(
                        (picture.y.len(), picture.u.len(), picture.v.len()),
                        (9, 4, 4)
                    );
                    for (got, expected) in [picture.y[8], picture.u[3], picture.v[3]]
                        .iter()
                        .zip(expected)
                    {
                        let off = (f64::from(*got) - expected.clamp(0.0, 255.0)).abs();
                        assert!(
                            off <= 2.0,
                            "{matrix:?} {full_range} {rgb:?}: {got} for {expected}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn padding_is_left_out() {
        let y: Vec<u8> = (0..40).collect();
        let c = vec![128; 20];
        let plane = |samples, stride| Plane { samples, stride };
        let picture = to_jfif(&YuvPlanes {
            width: 5,
            height: 5,
            planes: [plane(&y, 8), plane(&c, 4), plane(&c, 4)],
            matrix: Matrix::BT601,
            full_range: true,
        });
        assert_eq!(picture.y[5..10], [8, 9, 10, 11, 12]);
        assert_eq!((picture.y.len(), picture.u.len()), (25, 9));
    }
}
