#![expect(clippy::unwrap_used, reason = "a test may panic")]
//! Test of the rule of `src/lib.rs` on the manifests, against which the
//! compiler checks the code: a wing depends only on wings of lower floors, and
//! each heavy dependency stays in its wings.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Floors from the ground up; wings of one floor do not depend on each other.
const FLOORS: [&[&str]; 8] = [
    &["base"],
    &["domain", "media"],
    &["transport"],
    &["ingest", "playback", "screen"],
    &["codec", "models", "record"],
    &["analysts", "sinks"],
    &["console"],
    &["app"],
];

/// Each heavy dependency and the wings that may name it.
const HEAVY: [(&str, &[&str]); 18] = [
    ("async-nats", &["sinks"]),
    // WHIP and WHEP are HTTP too, with handlers of their own.
    ("axum", &["transport", "ingest", "playback", "console"]),
    ("ffmpeg-next", &["codec"]),
    ("hyper-util", &["console"]),
    ("minijinja", &["sinks"]),
    ("opentelemetry-proto", &["sinks"]),
    ("ort", &["screen"]),
    // The client is built in base; its users name requests and headers.
    ("reqwest", &["base", "models", "playback", "sinks"]),
    ("rml_rtmp", &["ingest"]),
    ("rtc", &["transport", "playback"]),
    ("rusqlite", &["record"]),
    ("rustix", &["record", "app"]),
    ("rustls-platform-verifier", &["base"]),
    ("tokio-rustls", &["base"]),
    ("tower-http", &["console"]),
    ("utoipa-axum", &["ingest", "playback", "console"]),
    ("webrtc", &["transport", "playback"]),
    ("x509-parser", &["base"]),
];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push(path);
        }
    }
}

/// Folders under `src`.
fn wings() -> BTreeSet<String> {
    let entries = fs::read_dir("src").unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.path().is_dir());
    folders
        .map(|folder| folder.file_name().into_string().unwrap())
        .collect()
}

/// Dependencies of a wing's manifest, including those of its tests.
fn dependencies(wing: &str) -> Vec<String> {
    let manifest = fs::read_to_string(format!("src/{wing}/Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
    let tables = sections.iter().filter_map(|section| manifest.get(*section));
    tables
        .flat_map(|table| table.as_table().unwrap().keys().cloned())
        .collect()
}

#[test]
fn a_wing_depends_on_lower_floors_only() {
    let mut wrong = Vec::new();
    for (floor, wings) in FLOORS.iter().enumerate() {
        let below = FLOORS[..floor].concat();
        for wing in *wings {
            for dependency in dependencies(wing) {
                let other = dependency.strip_prefix("watchtower-");
                if other.is_some_and(|other| !below.contains(&other)) {
                    wrong.push(format!("src/{wing}/Cargo.toml names {dependency}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn heavy_dependencies_stay_in_their_wings() {
    let mut wrong = Vec::new();
    let mut named = BTreeSet::new();
    for wing in FLOORS.concat() {
        for dependency in dependencies(wing) {
            named.insert(dependency.clone());
            let heavy = HEAVY.iter().find(|(name, _)| *name == dependency);
            if let Some((_, wings)) = heavy.filter(|(_, wings)| !wings.contains(&wing)) {
                wrong.push(format!(
                    "src/{wing}/Cargo.toml names {dependency}, which belongs to {}",
                    wings.join(" or ")
                ));
            }
        }
    }
    for (dependency, _) in HEAVY {
        if !named.contains(dependency) {
            wrong.push(format!("no wing names {dependency}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_wing_stands_on_a_floor_and_in_the_drawing() {
    let wings = wings();
    let floors: BTreeSet<String> = FLOORS.concat().into_iter().map(str::to_owned).collect();
    assert_eq!(wings, floors);
    let drawing = fs::read_to_string("ARCHITECTURE.md").unwrap();
    for wing in wings {
        assert!(
            drawing.contains(&format!("`{wing}`")),
            "ARCHITECTURE.md does not say what {wing} is"
        );
    }
}

/// Every source file of the repository, code and tests.
fn all_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches", "fuzz/fuzz_targets"] {
        sources(Path::new(folder), &mut files);
    }
    files
}

#[test]
fn doc_lines_begin_with_a_noun_or_a_verb() {
    let riddles = ["What", "Who", "Whether", "One", "Of", "How"];
    let mut wrong = Vec::new();
    for file in all_files() {
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            let line = line.trim_start();
            let doc = line
                .strip_prefix("///")
                .or_else(|| line.strip_prefix("//!"));
            let first = doc.and_then(|doc| doc.split_whitespace().next());
            if first.is_some_and(|first| riddles.contains(&first)) {
                wrong.push(format!("{}:{}: {line}", file.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Name of the type a line defines: a struct, an enum, a trait, a union, or an
/// alias that is not indented, as associated types are.
fn defined_type(line: &str) -> Option<&str> {
    let item = line.trim_start();
    let item = match item.strip_prefix("pub(") {
        Some(scope) => scope.split_once(')')?.1,
        None => item.strip_prefix("pub ").unwrap_or(item),
    };
    let mut words = item.split_whitespace().peekable();
    words.next_if(|word| *word == "unsafe");
    let keyword = words.next()?;
    let defines = match keyword {
        "struct" | "enum" | "trait" | "union" => true,
        "type" => !line.starts_with(' '),
        _ => false,
    };
    let name = words.next().filter(|_| defines)?;
    let name = name
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()?;
    name.starts_with(|c: char| c.is_ascii_uppercase())
        .then_some(name)
}

#[test]
fn each_type_has_a_name_of_its_own() {
    let mut definitions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in all_files() {
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            if let Some(name) = defined_type(line) {
                let place = format!("{}:{}", file.display(), number + 1);
                definitions.entry(name.to_owned()).or_default().push(place);
            }
        }
    }
    let mut twice = Vec::new();
    for (name, places) in definitions {
        if places.len() > 1 {
            twice.push(format!("{name}: {}", places.join(", ")));
        }
    }
    assert!(twice.is_empty(), "{}", twice.join("\n"));
}

#[test]
fn a_type_of_any_form_is_seen() {
    let cases = [
        ("pub(crate) struct Place<'a> {", Some("Place")),
        ("pub(in crate::wing) struct Place;", Some("Place")),
        ("    enum Step {", Some("Step")),
        ("pub trait Model: Send {", Some("Model")),
        ("unsafe trait Raw {}", Some("Raw")),
        ("struct Count(u64);", Some("Count")),
        ("pub type Pair = (u8, u8);", Some("Pair")),
        ("    type Item = u8;", None),
        ("/// struct Place", None),
        ("let union = 1;", None),
    ];
    for (line, name) in cases {
        assert_eq!(defined_type(line), name, "{line}");
    }
}

#[test]
fn no_file_is_longer_than_600_lines() {
    let mut long = Vec::new();
    for path in all_files() {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        if lines > 600 {
            long.push(format!("{}: {lines}", path.display()));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}
