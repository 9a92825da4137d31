//! Tests with the real models on pages in several languages: what is read, what
//! is hidden of what leaves, and what a Latin screen costs.
//!
//! The pages are those of `tests/fixtures/languages`, drawn by its `draw.py`.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use super::tests::{read as lines_of, whole};
use super::*;
use crate::page::{OcrLimits, RecognisedScreen};
use crate::redact::{OwnPatterns, is_unreadable, secrets_on};
use crate::tests::{models, paper};

/// Line of a page, as it was drawn.
struct DrawnLine {
    text: String,
    rect: Rect,
}

struct DrawnPage {
    picture: Picture,
    lines: Vec<DrawnLine>,
}

fn page(name: &str) -> DrawnPage {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/languages");
    let png = std::fs::read(folder.join(format!("{name}.png"))).expect("a page");
    let text = std::fs::read_to_string(folder.join(format!("{name}.txt"))).expect("its text");
    let lines = text.lines().map(|line| {
        let mut fields = line.splitn(5, ' ');
        let mut next = || fields.next().expect("five fields");
        let number = |text: &str| text.parse().expect("a number");
        let rect = Rect {
            x: number(next()),
            y: number(next()),
            width: number(next()),
            height: number(next()),
        };
        DrawnLine {
            text: next().to_owned(),
            rect,
        }
    });
    DrawnPage {
        picture: grey(&png),
        lines: lines.collect(),
    }
}

/// Picture of an unfiltered 8-bit grey PNG.
fn grey(png: &[u8]) -> Picture {
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
    let (width, height) = (number(16), number(20));
    let (mut at, mut packed) = (8, Vec::new());
    while at < png.len() {
        let length = number(at) as usize;
        if &png[at + 4..at + 8] == b"IDAT" {
            packed.extend_from_slice(&png[at + 8..at + 8 + length]);
        }
        at += length + 12;
    }
    let mut rows = Vec::new();
    let mut unpacked = flate2::read::ZlibDecoder::new(&packed[..]);
    unpacked.read_to_end(&mut rows).expect("pixels");
    let mut picture = Picture::grey(width, height);
    picture.y = (rows.chunks_exact(width as usize + 1))
        .flat_map(|row| row[1..].to_vec())
        .collect();
    picture
}

/// Picture scaled down to a share of its size and up again.
fn blurred(picture: &Picture, share: f32) -> Picture {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let grey = picture.y.iter().map(|luma| [*luma; 3]).collect();
    let whole = |width, height| Rect {
        x: 0,
        y: 0,
        width,
        height,
    };
    let small = |side: usize| (side as f32 * share) as u32;
    let (across, down) = (small(width), small(height));
    let buffer = RgbBuffer::new(picture.width, picture.height, grey);
    let buffer = buffer.resized(&whole(picture.width, picture.height), across, down);
    let buffer =
        buffer
            .expect("smaller")
            .resized(&whole(across, down), picture.width, picture.height);
    let mut blurred = Picture::clone(picture);
    blurred.y = buffer
        .expect("as large")
        .rows()
        .flatten()
        .map(|pixel| pixel[0])
        .collect();
    blurred
}

fn ocr(languages: &[&str]) -> Ocr {
    let languages: Vec<_> = languages.iter().map(|name| (*name).to_owned()).collect();
    Ocr::load_for(&models(), &languages).expect("the OCR models; scripts/fetch-models.sh gets them")
}

fn multi(ocr: &Ocr) -> &OtherRecogniser {
    ocr.others
        .iter()
        .find(|other| other.is_multi())
        .expect("there")
}

fn letters(text: &str) -> Vec<char> {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// Insertions, deletions and substitutions from one text to the other.
fn edits(read: &[char], drawn: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=drawn.len()).collect();
    for (at, c) in read.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, other) in drawn.iter().enumerate() {
            let above = row[column + 1];
            row[column + 1] = (diagonal + usize::from(c != other))
                .min(above + 1)
                .min(row[column] + 1);
            diagonal = above;
        }
    }
    row[drawn.len()]
}

/// Share of the characters of a page that were read wrongly, blanks aside.
fn error_rate(read: &[TextLine], page: &DrawnPage) -> f64 {
    let (mut wrong, mut all) = (0, 0);
    for drawn in &page.lines {
        let mut there: Vec<_> = read
            .iter()
            .filter(|line| line.rect.meets(&middle(&drawn.rect)))
            .collect();
        there.sort_by_key(|line| line.rect.x);
        let text: String = there.iter().map(|line| line.text.as_str()).collect();
        wrong += edits(&letters(&text), &letters(&drawn.text));
        all += letters(&drawn.text).len();
    }
    wrong as f64 / all as f64
}

/// Row of pixels through the middle of a line.
fn middle(rect: &Rect) -> Rect {
    Rect {
        y: rect.y + rect.height / 2,
        height: 1,
        ..*rect
    }
}

/// Lines of which something is to be seen in what leaves: pixels of the picture
/// before and after redaction are compared under each line.
fn shown<'a>(read: &[TextLine], page: &'a DrawnPage) -> Vec<&'a str> {
    let size = (page.picture.width, page.picture.height);
    let secrets = secrets_on(read, &OwnPatterns::default(), size);
    let rects: Vec<_> = secrets.iter().map(|secret| secret.rect).collect();
    let painted = page.picture.without(&rects);
    let row = |picture: &Picture, rect: &Rect, y: u32| {
        let from = (y * picture.width + rect.x) as usize;
        picture.y[from..from + rect.width as usize].to_vec()
    };
    let is_shown = |line: &&DrawnLine| {
        let mut rows = line.rect.y..line.rect.bottom();
        rows.any(|y| {
            let (before, after) = (
                row(&page.picture, &line.rect, y),
                row(&painted, &line.rect, y),
            );
            let ink = before.iter().any(|luma| luma.abs_diff(before[0]) > 60);
            ink && before == after
        })
    };
    page.lines
        .iter()
        .filter(is_shown)
        .map(|line| line.text.as_str())
        .collect()
}

#[test]
fn japanese_and_chinese_are_read_and_their_secrets_hidden() {
    for (name, label) in [("japanese", "パスワード"), ("chinese", "密码")] {
        let (ocr, page) = (ocr(&[]), page(name));
        assert_eq!(multi(&ocr).loaded(), 0, "before it is needed");
        let read = lines_of(&ocr, &page.picture);
        let rate = error_rate(&read, &page);
        println!("{name}: {:.2} % of the characters wrong", rate * 100.0);
        assert!(rate < 0.03, "{name}: {rate}: {read:#?}");
        let shown = shown(&read, &page);
        let secret = |line: &&&str| line.starts_with(label);
        assert_eq!(shown.iter().filter(secret).count(), 0, "{shown:?}");
        assert_eq!(shown.len(), page.lines.len() - 1, "{name}: {shown:?}");
    }
}

#[test]
fn what_no_model_reads_is_hidden() {
    for name in ["russian", "others"] {
        let (ocr, page) = (ocr(&[]), page(name));
        let read = lines_of(&ocr, &page.picture);
        assert_eq!(shown(&read, &page), [] as [&str; 0], "{name}: {read:#?}");
    }
    // A reader of Latin only shows no more of them.
    for name in ["russian", "others", "japanese", "chinese"] {
        let (ocr, page) = (ocr(&["latin"]), page(name));
        let read = lines_of(&ocr, &page.picture);
        assert_eq!(shown(&read, &page), [] as [&str; 0], "{name}: {read:#?}");
    }
}

#[test]
fn a_latin_screen_costs_no_second_reading_however_blurred() {
    let (ocr, page) = (ocr(&[]), page("english"));
    for share in [1.0, 0.7, 0.5, 0.4, 0.35, 0.3, 0.25] {
        let picture = blurred(&page.picture, share);
        let read = lines_of(&ocr, &picture);
        let hidden = read.iter().filter(|line| is_unreadable(line)).count();
        println!(
            "scaled to {share}: {hidden} of {} lines unreadable",
            read.len()
        );
        assert_eq!(multi(&ocr).lines_read(), 0, "scaled to {share}");
        assert!(
            read.iter()
                .all(|line| line.confidence > 0.0 || line.text.is_empty())
        );
    }
    assert_eq!(multi(&ocr).loaded(), 0);
    let read = lines_of(&ocr, &page.picture);
    assert_eq!(shown(&read, &page).len(), page.lines.len(), "{read:#?}");
}

#[test]
fn a_line_that_appears_on_a_page_of_look_alikes_is_hidden_too() {
    let (ocr, page) = (ocr(&[]), page("russian"));
    let last = &page.lines[page.lines.len() - 1];
    let mut before = page.picture.clone();
    let background = before.y[0];
    for y in last.rect.y - 2..last.rect.bottom() + 2 {
        let from = (y * before.width) as usize;
        before.y[from..from + before.width as usize].fill(background);
    }
    let first = RecognisedScreen::read(None, &Arc::new(before), &ocr)
        .expect("readable")
        .0;
    let now = Arc::new(page.picture.clone());
    let (then, cost) = RecognisedScreen::read(Some(&first), &now, &ocr).expect("readable");
    assert!(cost.lines < 4, "only the new line: {}", cost.lines);
    assert_eq!(shown(&then.lines, &page), [] as [&str; 0]);
}

#[test]
fn a_second_reading_is_within_the_budget_and_goes_on_where_it_ended() {
    let (ocr, page) = (ocr(&[]), page("japanese"));
    let picture = Arc::new(page.picture.clone());
    let turn = OcrLimits {
        pixels: u64::MAX,
        columns: 9_000,
    };
    let mut last: Option<RecognisedScreen> = None;
    let mut turns = 0;
    loop {
        let (next, _) =
            RecognisedScreen::read_within(last.as_ref(), &picture, &ocr, turn).expect("readable");
        let later = !next.unread.is_empty();
        turns += 1;
        assert!(turns < 12, "{:?}", next.unread);
        last = Some(next);
        if !later {
            break;
        }
    }
    assert!(turns > 1, "{turns} turns");
    let read = last.expect("read").lines;
    assert!(error_rate(&read, &page) < 0.03, "{read:#?}");
    let most = 2 * page.lines.len() as u64;
    assert!(
        multi(&ocr).lines_read() <= most,
        "{}",
        multi(&ocr).lines_read()
    );
}

/// Folder with the models of the project, and one of a user.
fn folder(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for file in [
        "det.onnx",
        "rec.onnx",
        "rec-multi.onnx",
        "rec-multi.txt",
        "libonnxruntime.so",
    ] {
        std::os::unix::fs::symlink(models().join(file), folder.path().join(file)).expect("a link");
    }
    for end in ["onnx", "txt"] {
        let own = folder.path().join(format!("rec-{name}.{end}"));
        std::fs::copy(models().join(format!("rec-multi.{end}")), own).expect("a copy");
    }
    folder
}

#[test]
fn a_model_that_was_brought_reads_what_it_knows() {
    let folder = folder("kana");
    // Not the project's own, so that only what was brought can have read it.
    std::fs::remove_file(folder.path().join("rec-multi.onnx")).expect("removed");
    let ocr = Ocr::load_for(folder.path(), &["kana".to_owned()]).expect("loaded");
    assert_eq!(ocr.language_faults(), [] as [&str; 0]);
    assert!(!ocr.reads_ideographs());
    let page = page("japanese");
    let read = lines_of(&ocr, &page.picture);
    assert!(error_rate(&read, &page) < 0.03, "{read:#?}");
}

#[test]
fn a_faulty_model_of_a_language_is_named_and_the_rest_is_read() {
    let english = page("english");
    let folder = folder("greek");
    let model = folder.path().join("rec-greek.onnx");
    let dictionary = folder.path().join("rec-greek.txt");
    let whole = (
        std::fs::read(&model).unwrap(),
        std::fs::read(&dictionary).unwrap(),
    );
    let halves = |bytes: &[u8]| [0, 1000, bytes.len() / 2].map(|left| bytes[..left].to_vec());
    let check = |named: &Path, why: &str| {
        let ocr = Ocr::load_for(folder.path(), &["greek".to_owned()]).expect("the others");
        let faults = ocr.language_faults();
        let [fault] = &faults[..] else {
            panic!("one fault: {faults:?}");
        };
        assert!(fault.contains(&named.display().to_string()), "{fault}");
        assert!(fault.contains(why), "{fault}");
        assert!(fault.contains("docs/seeing.md"), "{fault}");
        let read = lines_of(&ocr, &english.picture);
        assert!(error_rate(&read, &english) < 0.02, "{read:#?}");
    };
    for short in halves(&whole.0) {
        std::fs::write(&model, short).unwrap();
        check(&model, "");
    }
    std::fs::write(&model, &whole.0).unwrap();
    let characters: Vec<_> = str::from_utf8(&whole.1).unwrap().lines().collect();
    for left in [0, 9000, 18_000] {
        std::fs::write(&dictionary, characters[..left].join("\n")).unwrap();
        check(&dictionary, "its model 18710 classes");
    }
    std::fs::remove_file(&dictionary).unwrap();
    check(&dictionary, "No such file");
    std::fs::write(&dictionary, [0xff; 30]).unwrap();
    check(&dictionary, "not UTF-8");
}

#[test]
fn the_model_of_ideographs_cut_short_leaves_latin_to_be_read() {
    let folder = folder("x");
    let model = folder.path().join("rec-multi.onnx");
    let bytes = std::fs::read(&model).unwrap();
    std::fs::remove_file(&model).unwrap();
    std::fs::write(&model, &bytes[..bytes.len() / 2]).unwrap();
    let ocr = Ocr::load(folder.path()).expect("the others");
    let faults = ocr.language_faults();
    assert!(
        faults.len() == 1 && faults[0].contains("rec-multi.onnx"),
        "{faults:?}"
    );
    assert!(faults[0].contains("scripts/fetch-models.sh"), "{faults:?}");
    assert!(!ocr.reads_ideographs());
    let (english, japanese) = (page("english"), page("japanese"));
    assert!(error_rate(&lines_of(&ocr, &english.picture), &english) < 0.02);
    let read = lines_of(&ocr, &japanese.picture);
    assert_eq!(shown(&read, &japanese), [] as [&str; 0], "{read:#?}");
}

#[test]
fn an_unknown_language_is_named_with_those_that_are_known() {
    let folder = folder("greek");
    let told = Ocr::load_for(folder.path(), &["klingon".to_owned()])
        .unwrap_err()
        .to_string();
    for word in [
        "\"klingon\"",
        "latin, chinese, japanese, greek",
        "rec-klingon.onnx",
        "rec-klingon.txt",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
}

#[test]
fn a_line_of_thousands_of_ideographs_is_read_in_bounded_pieces() {
    let (ocr, page) = (ocr(&[]), page("chinese"));
    let line = &page.lines[1].rect;
    let copies: u32 = 40;
    let mut picture = paper(line.width * copies + 40, line.height + 24);
    for (row, y) in (12..).zip(line.y..line.bottom()) {
        for copy in 0..copies {
            let from = (y * page.picture.width + line.x) as usize;
            let to = (row * picture.width + 20 + copy * line.width) as usize;
            let width = line.width as usize;
            picture.y[to..to + width].copy_from_slice(&page.picture.y[from..from + width]);
        }
    }
    let mut left = u64::MAX;
    let read = ocr
        .read(&whole(&picture), &mut left, |_| KnownLine::No, |_| {})
        .expect("readable");
    let text: String = read.lines.iter().map(|line| line.text.as_str()).collect();
    let drawn = page.lines[1].text.repeat(copies as usize);
    let wrong = edits(&letters(&text), &letters(&drawn));
    assert!(
        wrong * 20 < letters(&drawn).len(),
        "{wrong} wrong of {}",
        letters(&drawn).len()
    );
    let lines = read.lines.len() as u64;
    assert!(multi(&ocr).lines_read() <= lines, "once each");
}
