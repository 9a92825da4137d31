#![expect(clippy::unwrap_used, reason = "a test may panic")]
//! Holds the one rule of `src/lib.rs` against the code: a wing imports only
//! wings on lower floors, and each heavy dependency stays in its wings.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up; wings of one floor do not know each other.
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
const HEAVY: [(&str, &[&str]); 20] = [
    ("async_nats", &["sinks"]),
    // WHEP is HTTP too, and answers for itself.
    ("axum", &["console", "playback"]),
    ("ffmpeg_next", &["codec"]),
    ("hyper_util", &["console"]),
    ("minijinja", &["sinks"]),
    ("opentelemetry_proto", &["sinks"]),
    // The client is built in base; its users name requests and headers.
    ("reqwest", &["base", "models", "playback", "sinks"]),
    ("rml_rtmp", &["ingest"]),
    ("rtc", &["transport", "playback"]),
    ("rten", &["screen"]),
    ("rten_tensor", &["screen"]),
    ("rusqlite", &["record"]),
    ("rustix", &["record", "app"]),
    ("rustls", &["base"]),
    ("rustls_platform_verifier", &["base"]),
    ("tokio_rustls", &["base"]),
    ("tower_http", &["console"]),
    ("utoipa_axum", &["console", "playback"]),
    ("webrtc", &["transport", "playback"]),
    ("x509_parser", &["base"]),
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

/// Code only: what a comment names imports nothing.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// Every file of every wing, with the wing's name.
fn files() -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let of_a_wing = |path: PathBuf| {
        let mut parts = path.strip_prefix("src").unwrap().components();
        let wing = parts
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap()
            .to_owned();
        parts.next().is_some().then_some((wing, path))
    };
    files.into_iter().filter_map(of_a_wing).collect()
}

fn floor(wing: &str) -> Option<usize> {
    FLOORS.iter().position(|wings| wings.contains(&wing))
}

/// Top-level modules a file names as `crate::x` or in `crate::{x, y::{z}}`.
fn imports(code: &str) -> Vec<String> {
    let name = |text: &str| {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.push(name(rest));
            continue;
        };
        let mut depth = 1;
        let mut item = String::new();
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 || (depth == 1 && c == ',') {
                names.push(name(item.trim()));
                item.clear();
            } else {
                item.push(c);
            }
            if depth == 0 {
                break;
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn a_wing_imports_only_lower_floors() {
    let mut wrong = Vec::new();
    for (wing, path) in files() {
        let own = floor(&wing).unwrap_or_else(|| panic!("src/{wing} is on no floor"));
        for import in imports(&code(&path)) {
            if import != wing && floor(&import).is_some_and(|floor| floor >= own) {
                wrong.push(format!("{} imports {import}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn heavy_dependencies_stay_in_their_wings() {
    let mut wrong = Vec::new();
    for (wing, path) in files() {
        let code = code(&path);
        for (dependency, wings) in HEAVY {
            // A path into it; the bare word may be anything.
            let named = code
                .match_indices(&format!("{dependency}::"))
                .any(|(at, _)| {
                    let before = code[..at].chars().next_back();
                    !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
                });
            if named && !wings.contains(&wing.as_str()) {
                wrong.push(format!(
                    "{} names {dependency}, which belongs to {}",
                    path.display(),
                    wings.join(" or ")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_wing_stands_on_a_floor_and_in_the_drawing() {
    let wings: BTreeSet<String> = files().into_iter().map(|(wing, _)| wing).collect();
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
fn no_file_of_the_server_is_longer_than_600_lines() {
    let mut long = Vec::new();
    for (_, path) in files() {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        if lines > 600 {
            long.push(format!("{}: {lines}", path.display()));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn an_import_in_any_form_is_seen() {
    let code = "use crate::av::Decoder;\nuse crate::{rtmp::{a::B, C}, media};\nlet x = crate::vision::read();";
    assert_eq!(imports(code), ["av", "rtmp", "media", "vision"]);
}
