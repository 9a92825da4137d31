//! Screens with more on them than a turn reads: whatever is not read is hidden.

use std::path::PathBuf;
use std::sync::Arc;

use super::ocr::Ocr;
use super::page::{OcrLimits, RecognisedScreen};
use crate::picture::{Picture, Rect};
use crate::redact::{OwnPatterns, secrets_beside};

const INK: u8 = 20;
const PAPER: u8 = 235;

/// Five by seven, a row a byte.
const GLYPHS: [[u8; 7]; 6] = [
    [0x0e, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11],
    [0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x1f],
    [0x11, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11],
    [0x0e, 0x11, 0x01, 0x06, 0x08, 0x10, 0x1f],
    [0x1f, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04],
    [0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x1f],
];

pub(crate) fn paper(width: u32, height: u32) -> Picture {
    let mut picture = Picture::grey(width, height);
    picture.y.fill(PAPER);
    picture
}

/// Four letters, twice their size; where they stand.
pub(crate) fn word(picture: &mut Picture, x: u32, y: u32, seed: usize) -> Rect {
    for letter in 0..4 {
        let glyph = GLYPHS[(seed * 7 + letter * 5 + seed / 3) % GLYPHS.len()];
        for (row, bits) in (0..).zip(glyph) {
            for column in (0..5).filter(|column| bits >> (4 - column) & 1 == 1) {
                for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                    let px = x + letter as u32 * 12 + column * 2 + dx;
                    let py = y + row * 2 + dy;
                    picture.y[(py * picture.width + px) as usize] = INK;
                }
            }
        }
    }
    Rect {
        x,
        y,
        width: 46,
        height: 14,
    }
}

fn words(picture: &mut Picture, across: u32, down: u32) -> Vec<Rect> {
    let mut words = Vec::new();
    for row in 0..down {
        for column in 0..across {
            let seed = (row * across + column) as usize;
            words.push(word(picture, 12 + column * 78, 8 + row * 26, seed));
        }
    }
    words
}

/// Folder of the OCR model.
pub(crate) fn models() -> PathBuf {
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models");
    std::env::var_os("WATCHTOWER_MODELS").map_or(models.into(), PathBuf::from)
}

fn ocr() -> Ocr {
    Ocr::load(&models()).expect("the OCR model; scripts/fetch-models.sh gets it")
}

fn read(
    last: Option<&RecognisedScreen>,
    picture: &Arc<Picture>,
    ocr: &Ocr,
    turn: OcrLimits,
) -> RecognisedScreen {
    let (page, _) = ocr
        .on_thread(|| RecognisedScreen::read_within(last, picture, ocr, turn))
        .expect("readable");
    page
}

/// Words of which a letter is to be seen in what leaves and that nobody read.
fn leaked(page: &RecognisedScreen, picture: &Picture, words: &[Rect]) -> usize {
    let size = (picture.width, picture.height);
    let secrets = secrets_beside(&page.lines, &page.unread, &OwnPatterns::default(), size);
    let rects: Vec<_> = secrets.iter().map(|secret| secret.rect).collect();
    let painted = picture.without(&rects);
    let known = |word: &Rect| page.lines.iter().any(|line| line.rect.meets(word));
    let shows = |word: &Rect| {
        let drawn = (word.y..word.bottom())
            .flat_map(|y| (word.x..word.right()).map(move |x| (y * size.0 + x) as usize))
            .filter(|at| picture.y[*at] == INK);
        // Painted black, no letter differs from what is around it.
        drawn.filter(|at| painted.y[*at] == INK).count()
    };
    words
        .iter()
        .filter(|word| !known(word) && shows(word) > 0)
        .count()
}

#[test]
fn every_word_of_a_crowded_screen_is_read_or_painted_over() {
    let ocr = ocr();
    let mut picture = paper(960, 416);
    let words = words(&mut picture, 12, 15);
    let picture = Arc::new(picture);
    let found = |page: &RecognisedScreen| {
        let known = |word: &&Rect| page.lines.iter().any(|line| line.rect.meets(word));
        words.iter().filter(known).count()
    };
    let turn = OcrLimits {
        pixels: u64::MAX,
        columns: 20_000,
    };
    let mut page = read(None, &picture, &ocr, turn);
    let first = found(&page);
    assert!((10..170).contains(&first), "{first} of {}", words.len());
    assert!(!page.unread.is_empty(), "said to be unread");
    assert_eq!(leaked(&page, &picture, &words), 0);
    // The next turn goes on where it ended, and what is read is seen again.
    for _ in 0..8 {
        page = read(Some(&page), &picture, &ocr, turn);
        assert_eq!(leaked(&page, &picture, &words), 0);
        if page.unread.is_empty() {
            break;
        }
    }
    assert_eq!(page.unread[..], [], "all of it in time");
    assert!(found(&page) > words.len() * 95 / 100, "{}", found(&page));
}

#[test]
fn a_thousand_words_that_change_with_every_frame_are_no_more_each_time() {
    let ocr = ocr();
    let (across, down) = (24, 42);
    let turn = OcrLimits {
        pixels: 2 * 1920 * 1120,
        columns: 60_000,
    };
    let mut last: Option<RecognisedScreen> = None;
    for frame in 0..4 {
        let mut picture = paper(1920, 1120);
        let mut words = Vec::new();
        for at in 0..across * down {
            let (x, y) = (12 + at % across * 78, 8 + at / across * 26);
            words.push(word(
                &mut picture,
                x,
                y,
                (at * 7 + frame * 11 + at / 3) as usize,
            ));
        }
        let picture = Arc::new(picture);
        let (page, cost) = ocr
            .on_thread(|| RecognisedScreen::read_within(last.as_ref(), &picture, &ocr, turn))
            .expect("readable");
        // A word costs at least 300 columns.
        let most = if frame == 0 {
            60_000 / 300
        } else {
            words.len()
        };
        assert!(page.lines.len() <= most, "{}", page.lines.len());
        assert!(cost.lines <= words.len() as u64, "{}", cost.lines);
        assert!(cost.pixels <= turn.pixels + 1920 * 1120, "{}", cost.pixels);
        assert!(page.unread.len() <= words.len(), "{}", page.unread.len());
        assert_eq!(leaked(&page, &picture, &words), 0, "frame {frame}");
        last = Some(page);
    }
    assert_eq!(ocr.second_readings(), 0);
}

#[test]
fn a_screen_of_8k_is_searched_in_parts_and_hidden_until_then() {
    let ocr = ocr();
    let mut picture = paper(7680, 4320);
    let places = [(40, 60), (7600, 900), (3000, 2300), (5900, 4300)];
    let words: Vec<_> = (0..)
        .zip(places)
        .map(|(seed, (x, y))| word(&mut picture, x, y, seed))
        .collect();
    let picture = Arc::new(picture);
    // As in production.
    let turn = OcrLimits {
        pixels: 2 * 3840 * 2176,
        columns: 400_000,
    };
    let (mut last, mut turns): (Option<RecognisedScreen>, _) = (None, 0);
    loop {
        let (page, cost) = ocr
            .on_thread(|| RecognisedScreen::read_within(last.as_ref(), &picture, &ocr, turn))
            .expect("readable");
        // One part more than it may, at most.
        assert!(cost.pixels <= turn.pixels + 3840 * 2176, "{}", cost.pixels);
        assert_eq!(leaked(&page, &picture, &words), 0);
        let later = !page.unread.is_empty();
        (last, turns) = (Some(page), turns + 1);
        if !later {
            break;
        }
        assert!(turns < 8, "it comes to an end");
    }
    assert!(turns > 1, "more than a turn");
    let lines = last.expect("read").lines;
    for word in &words {
        assert!(lines.iter().any(|line| line.rect.meets(word)), "{word:?}");
    }
}

#[test]
fn small_words_on_a_screen_of_any_size_are_found_or_painted_over() {
    let ocr = ocr();
    // Two bands, of which a turn searches one.
    let mut picture = paper(4096, 2200);
    let words: Vec<_> = [(40, 60), (2000, 1190), (3000, 1850), (3900, 2170)]
        .into_iter()
        .zip(0..)
        .map(|((x, y), seed)| word(&mut picture, x, y, seed))
        .collect();
    let picture = Arc::new(picture);
    let turn = OcrLimits {
        pixels: 4_000_000,
        columns: 400_000,
    };
    let mut page = read(None, &picture, &ocr, turn);
    assert_eq!(leaked(&page, &picture, &words), 0);
    assert!(!page.unread.is_empty(), "more than a turn");
    for _ in 0..2 {
        page = read(Some(&page), &picture, &ocr, turn);
    }
    assert_eq!(page.unread[..], []);
    for word in &words {
        let known = page.lines.iter().any(|line| line.rect.meets(word));
        assert!(known, "{word:?} among {:?}", page.lines);
    }
}
