//! Tests with the real models: reading by several threads, in portions, and
//! errors for missing or incomplete files.

use std::path::PathBuf;

use super::*;
use crate::tests::{models, paper, word};

pub(super) fn whole(picture: &Picture) -> PartToRead<'_> {
    PartToRead {
        picture,
        part: Rect {
            x: 0,
            y: 0,
            width: picture.width,
            height: picture.height,
        },
        waiting: &[],
        alphabets: KnownAlphabets::default(),
    }
}

pub(super) fn read(ocr: &Ocr, picture: &Picture) -> Vec<TextLine> {
    let read = ocr.read(
        &whole(picture),
        &mut u64::MAX.clone(),
        |_| KnownLine::No,
        |_| {},
    );
    read.expect("readable").lines
}

#[test]
fn a_model_cut_short_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    for name in [DETECTOR, RECOGNISER] {
        for whole in [DETECTOR, RECOGNISER, "libonnxruntime.so"] {
            let _ = std::fs::remove_file(folder.path().join(whole));
            std::os::unix::fs::symlink(models().join(whole), folder.path().join(whole)).unwrap();
        }
        let bytes = std::fs::read(models().join(name)).unwrap();
        for left in [0, 100, bytes.len() / 2, bytes.len() - 1] {
            let file: PathBuf = folder.path().join(name);
            std::fs::remove_file(&file).unwrap();
            std::fs::write(&file, &bytes[..left]).unwrap();
            let told = Ocr::load(folder.path()).unwrap_err().to_string();
            let expected = format!("{} is not the OCR model expected", file.display());
            assert!(told.contains(&expected), "{told}");
            assert!(told.contains("scripts/fetch-models.sh"), "{told}");
        }
    }
    std::fs::remove_file(folder.path().join(RECOGNISER)).unwrap();
    let told = Ocr::load(folder.path()).unwrap_err().to_string();
    assert!(
        told.contains("failed to read") && told.contains(RECOGNISER),
        "{told}"
    );
}

#[test]
fn several_threads_read_at_once_what_one_reads() {
    let ocr = Ocr::load(&models()).unwrap();
    let pictures: Vec<_> = (0..3)
        .map(|seed| {
            let mut picture = paper(480, 200);
            for row in 0..5 {
                word(
                    &mut picture,
                    20 + row * 31,
                    10 + row * 36,
                    (seed * 5 + row) as usize,
                );
            }
            picture
        })
        .collect();
    let alone: Vec<_> = pictures.iter().map(|picture| read(&ocr, picture)).collect();
    assert!(alone.iter().all(|lines| lines.len() == 5), "{alone:?}");
    let together: Vec<_> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..6)
            .map(|at| {
                let (ocr, picture) = (&ocr, &pictures[at % 3]);
                scope.spawn(move || read(ocr, picture))
            })
            .collect();
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .collect()
    });
    for (at, lines) in together.iter().enumerate() {
        assert_eq!(*lines, alone[at % 3]);
    }
}

#[test]
fn a_line_with_the_pixels_of_another_is_read_once_and_stays_in_its_place() {
    let ocr = Ocr::load(&models()).unwrap();
    let mut picture = paper(480, 200);
    for (row, nth) in [(0, 3), (1, 4), (2, 3)] {
        word(&mut picture, 20, 10 + row * 60, nth);
    }
    let part = whole(&picture).part;
    let place = |y| Rect {
        x: 12,
        y,
        width: 180,
        height: 36,
    };
    let places = [place(2), place(62), place(122)];
    let image = rgb(&picture, &part);
    let mut networks = ocr.networks().unwrap();
    let mut before = ReadBefore::default();
    let recogniser = &mut networks.recogniser;
    let read = recogniser.read(&image, &part, &places, &mut before);
    let lines: Vec<_> = (read.unwrap().into_iter())
        .map(|reading| reading.line)
        .collect();
    assert_eq!(
        before.len(),
        2,
        "the third line has the pixels of the first"
    );
    assert_eq!(lines[0].text, lines[2].text);
    assert_ne!(lines[0].text, lines[1].text);
    assert!(!lines[0].text.is_empty());
    let rects: Vec<_> = lines.iter().map(|line| line.rect).collect();
    assert_eq!(rects, places);
    // Known from the same picture, in a later portion too.
    let later = recogniser.read(&image, &part, &places[2..], &mut before);
    assert_eq!(later.unwrap()[0].line, lines[2]);
    assert_eq!(before.len(), 2);
}

#[test]
fn lines_are_told_of_from_the_top_before_all_are_read() {
    let ocr = Ocr::load(&models()).unwrap();
    let mut picture = paper(1200, 900);
    for row in 0..30 {
        for column in 0..4 {
            word(
                &mut picture,
                20 + column * 300,
                10 + row * 29,
                (row * 4 + column) as usize,
            );
        }
    }
    let mut told = Vec::new();
    let each = |lines: &[TextLine]| told.push(lines.to_vec());
    let read = ocr.read(
        &whole(&picture),
        &mut u64::MAX.clone(),
        |_| KnownLine::No,
        each,
    );
    let read = read.unwrap();
    assert!(told.len() > 1, "in portions");
    assert_eq!(told.concat(), read.lines, "each once");
    let tops: Vec<_> = told.iter().map(|lines| lines[0].rect.y).collect();
    assert!(tops.is_sorted() && tops.first() < tops.last(), "{tops:?}");
}

#[test]
fn a_line_longer_than_any_screen_is_read_whole() {
    let ocr = Ocr::load(&models()).unwrap();
    let mut picture = paper(20_000, 40);
    let words: Vec<_> = (0..240)
        .map(|at| word(&mut picture, 20 + at * 83, 12, at as usize))
        .collect();
    let lines = read(&ocr, &picture);
    let unread = (words.iter()).filter(|word| {
        let holds = |line: &&TextLine| line.rect.meets(word) && !line.text.is_empty();
        !lines.iter().any(|line| holds(&line))
    });
    assert_eq!(unread.count(), 0);
    let letters: usize = lines.iter().map(|line| line.text.chars().count()).sum();
    assert!(letters > 240 * 3, "{letters} letters of {}", 240 * 4);
}

#[test]
fn a_lone_word_is_found_where_it_stands() {
    let ocr = Ocr::load(&models()).unwrap();
    for (at, seed) in [((40, 60), 0), ((1403, 811), 1), ((1850, 1061), 2)] {
        let mut picture = paper(1920, 1080);
        let place = word(&mut picture, at.0, at.1, seed);
        let [line] = &read(&ocr, &picture)[..] else {
            panic!("one line");
        };
        assert_eq!(line.rect.with(&place), line.rect);
        assert!(line.rect.area() < 4 * place.area(), "{line:?}");
        assert_eq!(line.text.chars().count(), 4, "{line:?}");
    }
}
