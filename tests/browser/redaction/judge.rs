//! Verification that every pixel of every secret was painted over, by where the
//! browser drew them rather than by OCR of the picture.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::screens::{self, Box4, HEIGHT, SeededScreen, WIDTH};
use super::seeds::Seed;
use crate::common::gemini::{CapturedRequest, jpeg_size};

/// Luma of painted black, including what JPEG makes of its border.
const BLACK: u8 = 40;
/// Luma from which a sample that is black now has been painted over.
const BRIGHT: u8 = 70;
/// Consecutive letters that reveal a secret.
const RUN: usize = 8;
/// Tolerance of a closeup's position: it is given in thousandths, which is up
/// to two pixels off, and begins at an even pixel.
const BLUR: f64 = 4.0;

/// Samples of a picture in full range, as decoded by the ffmpeg program.
pub(crate) struct ScreenLuma {
    width: usize,
    height: usize,
    samples: Vec<u8>,
}

impl ScreenLuma {
    pub(crate) fn of_jpeg(jpeg: &[u8]) -> Self {
        let (width, height) = jpeg_size(jpeg).expect("a whole JPEG");
        let (width, height) = (usize::from(width), usize::from(height));
        let mut samples = through_ffmpeg(jpeg, &["-f", "mjpeg"], &[]);
        samples.truncate(width * height);
        Self {
            width,
            height,
            samples,
        }
    }

    fn in_box(&self, place: Box4, is: impl Fn(u8) -> bool) -> (usize, usize) {
        let [left, top, right, bottom] = place.0;
        let side = |at: f64, most: usize| (at.max(0.0) as usize).min(most);
        let (left, right) = (
            side(left.floor(), self.width),
            side(right.ceil(), self.width),
        );
        let (top, bottom) = (
            side(top.floor(), self.height),
            side(bottom.ceil(), self.height),
        );
        let mut hits = 0;
        for y in top..bottom {
            let row = &self.samples[y * self.width..][left..right.max(left)];
            hits += row.iter().filter(|sample| is(**sample)).count();
        }
        (
            hits,
            right.saturating_sub(left) * bottom.saturating_sub(top),
        )
    }
}

/// Planes of a PNG, as an encoder takes them.
pub(crate) fn planes(png: &[u8]) -> Vec<u8> {
    through_ffmpeg(png, &["-f", "png_pipe"], &["-pix_fmt", "yuv420p"])
}

fn grey(png: &[u8]) -> ScreenLuma {
    let samples = through_ffmpeg(png, &["-f", "png_pipe"], &["-pix_fmt", "gray"]);
    ScreenLuma {
        width: WIDTH,
        height: HEIGHT,
        samples,
    }
}

fn through_ffmpeg(file: &[u8], input: &[&str], output: &[&str]) -> Vec<u8> {
    let mut ffmpeg = Command::new("ffmpeg")
        .args(["-v", "error"])
        .args(input)
        .args(["-i", "-"])
        .args(output)
        .args(["-f", "rawvideo", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ffmpeg is installed");
    let mut pipe = ffmpeg.stdin.take().expect("piped");
    let file = file.to_vec();
    let writer = std::thread::spawn(move || pipe.write_all(&file));
    let made = ffmpeg.wait_with_output().expect("it ends");
    writer
        .join()
        .expect("it writes")
        .expect("ffmpeg reads it all");
    assert!(made.status.success() && !made.stdout.is_empty());
    made.stdout
}

/// Leaks of secrets on the screens of one bitrate.
pub(crate) struct LeakJudge<'a> {
    screens: &'a [SeededScreen],
    plain: Vec<ScreenLuma>,
    /// Secret by each sequence of eight letters; none if two share it.
    runs: HashMap<Vec<u8>, Option<usize>>,
    /// Places where each secret could be seen, and the largest share seen.
    bare: BTreeMap<usize, BTreeMap<String, f64>>,
    /// Words around each secret, as they occurred in a question.
    surroundings: BTreeMap<usize, String>,
    looked_at: BTreeSet<usize>,
    pub(crate) pictures: BTreeMap<&'static str, usize>,
    /// Pixels of plain words on lines without a secret: those still visible,
    /// and all.
    words: (f64, f64),
}

impl<'a> LeakJudge<'a> {
    pub(crate) fn new(screens: &'a [SeededScreen]) -> Self {
        let mut runs = HashMap::new();
        for seed in screens.iter().flat_map(|screen| &screen.seeds) {
            for line in seed.value.lines() {
                for run in line.as_bytes().windows(RUN.min(line.len())) {
                    let whose = runs.entry(run.to_vec()).or_insert(Some(seed.id));
                    *whose = whose.filter(|id| *id == seed.id);
                }
            }
        }
        Self {
            screens,
            plain: screens.iter().map(|screen| grey(&screen.png)).collect(),
            runs,
            bare: BTreeMap::new(),
            surroundings: BTreeMap::new(),
            looked_at: BTreeSet::new(),
            pictures: BTreeMap::new(),
            words: (0.0, 0.0),
        }
    }

    /// Checks everything a model was sent in one request; returns the screen
    /// shown.
    pub(crate) fn request(&mut self, request: &CapturedRequest) -> usize {
        let jpegs = request.jpegs();
        let number = self.picture("request", &jpegs[0]);
        self.looked_at.insert(number);
        let parts = request.body["contents"][0]["parts"].as_array().unwrap();
        let titles = parts.iter().filter_map(|part| part["text"].as_str());
        let titles = titles.filter(|text| text.starts_with("Closeup "));
        let titles: Vec<_> = titles.collect();
        assert_eq!(titles.len() + 1, jpegs.len(), "each closeup has its title");
        for (title, jpeg) in titles.iter().zip(&jpegs[1..]) {
            self.closeup(number, title, &ScreenLuma::of_jpeg(jpeg));
        }
        self.words(
            "a question",
            &format!("{}\n{}", request.system(), request.text()),
        );
        number
    }

    /// Checks a whole picture from any source; returns the screen shown.
    pub(crate) fn picture(&mut self, from: &'static str, jpeg: &[u8]) -> usize {
        let luma = ScreenLuma::of_jpeg(jpeg);
        assert_eq!((luma.width, luma.height), (WIDTH, HEIGHT));
        let number = screens::number(&luma.samples).expect("one of the screens drawn");
        *self.pictures.entry(from).or_default() += 1;
        let screen = &self.screens[number];
        for (id, place) in &screen.drawn {
            self.painted(*id, from, &luma, *place);
        }
        for word in screen.words.iter().filter(|word| screen.is_apart(word)) {
            let (bright, _) = self.plain[number].in_box(*word, |sample| sample >= BRIGHT);
            let (black, _) = luma.in_box(*word, |sample| sample < BLACK);
            let (dark, area) = self.plain[number].in_box(*word, |sample| sample < BRIGHT);
            // Share of the bright samples; those already dark are inconclusive.
            let covered = black.saturating_sub(dark) as f64 / bright.max(1) as f64;
            self.words.0 += area as f64 * (1.0 - covered.min(1.0));
            self.words.1 += area as f64;
        }
        number
    }

    fn closeup(&mut self, number: usize, title: &str, luma: &ScreenLuma) {
        *self.pictures.entry("closeup").or_default() += 1;
        let list = title.split(['[', ']']).nth(1).expect("its place");
        let at: Vec<f64> = list
            .split(", ")
            .map(|n| n.parse().expect("a number"))
            .collect();
        let (top, left) = (
            at[0] * HEIGHT as f64 / 1000.0,
            at[1] * WIDTH as f64 / 1000.0,
        );
        for (id, Box4(place)) in &self.screens[number].drawn {
            let inner = [
                (place[0] - left) * 2.0 + BLUR,
                (place[1] - top) * 2.0 + BLUR,
                (place[2] - left) * 2.0 - BLUR,
                (place[3] - top) * 2.0 - BLUR,
            ];
            self.painted(*id, "closeup", luma, Box4(inner));
        }
    }

    fn painted(&mut self, id: usize, from: &str, luma: &ScreenLuma, place: Box4) {
        let (bare, area) = luma.in_box(place, |sample| sample >= BLACK);
        if bare > 0 {
            self.seen(id, from, bare as f64 / area as f64);
        }
    }

    /// Checks a text for any secret, or a revealing part of one.
    pub(crate) fn words(&mut self, from: &str, text: &str) {
        self.bytes(from, text.as_bytes());
        for line in text.lines() {
            for run in line.as_bytes().windows(RUN) {
                if let Some(Some(id)) = self.runs.get(run) {
                    self.surroundings
                        .entry(*id)
                        .or_insert_with(|| line.to_owned());
                }
            }
        }
    }

    /// Checks a file that is not printed.
    pub(crate) fn bytes(&mut self, from: &str, text: &[u8]) {
        let found: BTreeSet<usize> = text
            .windows(RUN)
            .filter_map(|run| self.runs.get(run).copied().flatten())
            .collect();
        for id in found {
            self.seen(id, from, 1.0);
        }
    }

    fn seen(&mut self, id: usize, from: &str, share: f64) {
        let most = self
            .bare
            .entry(id)
            .or_default()
            .entry(from.to_owned())
            .or_default();
        *most = most.max(share);
    }

    /// Share of the words' area that is still visible.
    pub(crate) fn readable(&self) -> f64 {
        self.words.0 / self.words.1.max(1.0)
    }

    pub(crate) fn not_looked_at(&self) -> Vec<usize> {
        (0..self.screens.len())
            .filter(|number| !self.looked_at.contains(number))
            .collect()
    }

    fn counted(&self) -> impl Iterator<Item = (usize, &'a SeededScreen, &'a Seed)> {
        let screens: &'a [SeededScreen] = self.screens;
        let numbered = screens.iter().enumerate();
        numbered
            .filter(|(number, _)| self.looked_at.contains(number))
            .flat_map(|(number, screen)| {
                screen.seeds.iter().map(move |seed| (number, screen, seed))
            })
    }

    /// Counts of secrets of a kind: painted over wherever drawn, and drawn.
    pub(crate) fn score(&self, kind: &str) -> (usize, usize) {
        let of_kind = self.counted().filter(|(_, _, seed)| seed.kind == kind);
        of_kind.fold((0, 0), |(painted, drawn), (_, _, seed)| {
            (
                painted + usize::from(!self.bare.contains_key(&seed.id)),
                drawn + 1,
            )
        })
    }

    pub(crate) fn misses(&self) -> Vec<Miss<'_>> {
        let counted = self.counted();
        let miss = |(number, screen, seed): (usize, &'a SeededScreen, &'a Seed)| {
            Some(Miss {
                number,
                screen,
                seed,
                seen: self.bare.get(&seed.id)?,
                surroundings: self.surroundings.get(&seed.id),
            })
        };
        counted.filter_map(miss).collect()
    }
}

pub(crate) struct Miss<'a> {
    number: usize,
    screen: &'a SeededScreen,
    seed: &'a Seed,
    seen: &'a BTreeMap<String, f64>,
    surroundings: Option<&'a String>,
}

impl fmt::Display for Miss<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            screen,
            seed,
            seen,
            surroundings,
        } = self;
        write!(
            f,
            "screen {number} ({}): {} #{}:",
            screen.form, seed.kind, seed.id
        )?;
        for (from, share) in *seen {
            write!(f, " {:.1} % bare in {from},", share * 100.0)?;
        }
        write!(f, "\n    drawn: {:?}", seed.value)?;
        match surroundings {
            Some(surroundings) => write!(f, "\n    read: {surroundings:?}"),
            None => Ok(()),
        }
    }
}
