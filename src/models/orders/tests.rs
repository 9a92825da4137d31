use std::fs;
use std::path::Path;

use super::*;

/// Blocks of a file of `tests/fixtures/orders`: lines as OCR reads them.
fn blocks(file: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/orders");
    let text = fs::read_to_string(folder.join(file)).unwrap();
    text.trim().split("\n\n").map(str::to_owned).collect()
}

fn judged(block: &str) -> Option<ScreenOrder> {
    let cells: Vec<_> = block
        .split("  ")
        .map(str::trim)
        .filter(|cell| !cell.is_empty())
        .collect();
    let joined = block.replace('\n', " ");
    if cells.len() == 1 || block.contains('\n') {
        return order(OrderPassage {
            text: &joined,
            ..OrderPassage::default()
        });
    }
    (0..cells.len())
        .find_map(|at| {
            let beside: Vec<_> = cells
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != at)
                .map(|(_, cell)| *cell)
                .collect();
            order(OrderPassage {
                text: cells[at],
                beside: &beside,
                draft: false,
            })
        })
        .or_else(|| {
            order(OrderPassage {
                text: block,
                beside: &cells,
                draft: false,
            })
        })
}

fn wrong(file: &str, expected: bool) -> (usize, Vec<String>) {
    let blocks = blocks(file);
    let wrong = blocks
        .iter()
        .filter(|block| judged(block).is_some() != expected);
    let wrong = wrong.map(|block| format!("{block:?} -> {:?}", judged(block)));
    let wrong: Vec<_> = wrong.collect();
    (blocks.len(), wrong)
}

#[test]
fn attacks_are_orders() {
    let (_, missed) = wrong("attacks.txt", true);
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn quiet_texts_are_none() {
    let (_, alarms) = wrong("quiet.txt", false);
    assert!(alarms.is_empty(), "{alarms:#?}");
}

/// Text of the attacks that are drawn and filmed (tests/browser/injection), and
/// whether each must be reported.
fn filmed() -> Vec<(String, String, bool)> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/browser/injection/attacks");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let parsed = files.iter().map(|file| {
        let attack: toml::Table = fs::read_to_string(file).unwrap().parse().unwrap();
        let screen = attack["screen"].as_str().unwrap().replace("<br>", " ");
        let text = screen.replace("&lt;", "<").replace("&gt;", ">");
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        (name, text, attack["found"].as_bool().unwrap())
    });
    parsed.collect()
}

#[test]
fn filmed_attacks_are_orders() {
    let missed: Vec<_> = filmed()
        .into_iter()
        .filter(|(_, text, found)| *found && judged(text).is_none())
        .collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn healthy_screens_give_no_orders() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/healthy");
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for line in text.lines() {
            assert_eq!(judged(line), None, "{line}");
        }
    }
}

/// Known limits: a wording that is told by now belongs in the file of the others.
#[test]
fn missed_attacks_are_still_missed() {
    let (_, told) = wrong("missed-attacks.txt", false);
    assert!(told.is_empty(), "{told:#?}");
}

/// Texts that no phrase was added for. At least 80 % of the attacks are told, and
/// no quiet text.
#[test]
fn held_out_attacks_are_mostly_orders() {
    let (all, missed) = wrong("held-out-attacks.txt", true);
    assert!(all >= 30 && 5 * missed.len() <= all, "{missed:#?}");
    let (all, alarms) = wrong("held-out-quiet.txt", false);
    assert!(all >= 30 && alarms.is_empty(), "{alarms:#?}");
}
