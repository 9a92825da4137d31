//! Findings of the offline analysts on a folder of pictures, listed for a reader
//! who judges them.
//!
//! ```text
//! WATCHTOWER_PICTURES=folder cargo test --lib -- --ignored read_pictures_of_a_folder
//! WATCHTOWER_SCREENS=folder cargo test --lib -- --ignored findings_of_a_folder --nocapture
//! ```
//!
//! A picture is `name.WIDTHxHEIGHT.yuv` (raw planes); the first command writes
//! its text beside it.

use std::fs;
use std::path::Path;

use jiff::Timestamp;

use watchtower_screen::picture::{Picture, Rect, TextLine};

use super::tests::{PERSONAS, analyst, shown};
use super::{Arc, Rules, examples, meaning, rules, screen};

#[test]
#[ignore = "needs WATCHTOWER_SCREENS, a folder of pictures and their text"]
fn findings_of_a_folder() {
    let folder = std::env::var_os("WATCHTOWER_SCREENS").expect("a folder");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|file| file.expect("a file").path())
        .filter(|file| file.extension().is_some_and(|end| end == "tsv"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no text was read yet");
    println!("screen\tanalyst\tseverity\trule\ttitle\tquotes");
    for file in files {
        let name = file.file_stem().expect("a name").to_string_lossy();
        let (name, size) = name.rsplit_once('.').expect("name.WIDTHxHEIGHT");
        let planes = fs::read(file.with_extension("yuv")).expect("planes");
        let picture = picture(&planes, size);
        let lines = lines(&file);
        let frame = shown(Timestamp::UNIX_EPOCH, picture, lines.into());
        for agent in PERSONAS {
            for seen in analyst(agent, &[]).observe(&frame) {
                let quotes: Vec<_> = seen.evidence.iter().map(|item| &*item.quote).collect();
                println!(
                    "{name}\t{agent}\t{}\t{}\t{}\t{}",
                    seen.severity.as_str(),
                    seen.detail.split('`').nth(1).unwrap_or_default(),
                    seen.title,
                    quotes.join(" ¦ ")
                );
            }
        }
    }
}

fn picture(planes: &[u8], size: &str) -> Picture {
    let side = |text: &str| text.parse::<u32>().expect("pixels");
    let (width, height) = size.split_once('x').expect("WIDTHxHEIGHT");
    let (width, height) = (side(width), side(height));
    let luma = (width * height) as usize;
    let chroma = (width.div_ceil(2) * height.div_ceil(2)) as usize;
    Picture {
        width,
        height,
        y: planes[..luma].to_vec(),
        u: planes[luma..luma + chroma].to_vec(),
        v: planes[luma + chroma..luma + 2 * chroma].to_vec(),
    }
}

/// Lines as the first command wrote them: place, confidence, text.
fn lines(file: &Path) -> Vec<TextLine> {
    let text = fs::read_to_string(file).expect("lines");
    let line = |line: &str| {
        let parts: Vec<_> = line.splitn(6, '\t').collect();
        let number = |at: usize| parts[at].parse::<u32>().expect("a number");
        TextLine {
            rect: Rect {
                x: number(0),
                y: number(1),
                width: number(2),
                height: number(3),
            },
            confidence: parts[4].parse().expect("a number"),
            text: parts[5].to_owned(),
        }
    };
    text.lines().map(line).collect()
}

/// Rules whose examples the meaning of the screen tells too: superfluous.
#[test]
#[ignore = "lists rules for a reader who judges them"]
fn rules_that_the_meaning_tells() {
    let loaded = Rules::load(&[]).unwrap_or_else(|error| panic!("{error}"));
    for (file, text) in rules::built_in() {
        let table: toml::Table = text.parse().expect("TOML");
        for rule in table["rule"].as_array().expect("rules") {
            let examples = rule["examples"]["match"].as_array().expect("examples");
            let told = examples.iter().map(|example| {
                let screen = examples::screens(example.as_str().expect("text"));
                let (_, screen) = screen.last().expect("one");
                let lines: Arc<[TextLine]> = screen::drawn(screen).into();
                let frame = shown(Timestamp::UNIX_EPOCH, Picture::grey(1920, 1080), lines);
                let found = meaning::findings(&loaded.vocabulary, frame.layout(), |_| false);
                let found = found.iter().map(|found| {
                    let kind = &loaded.vocabulary.kinds[found.kind].name;
                    format!("{kind} {}: {}", found.severity.as_str(), found.title)
                });
                found.collect::<Vec<_>>()
            });
            let told: Vec<_> = told.collect();
            let count = told.iter().filter(|found| !found.is_empty()).count();
            let id = rule["id"].as_str().expect("an id");
            println!("TOLD {count}/{} {id} ({file}) {told:?}", told.len());
        }
    }
}
