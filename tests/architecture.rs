#![expect(clippy::unwrap_used, reason = "a test may panic")]
//! Holds the layer rule of `src/lib.rs` against the code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const WORDS: [&str; 14] = [
    "admission",
    "backoff",
    "bearer",
    "bits",
    "config",
    "finding",
    "h264",
    "incident",
    "masking",
    "media",
    "metrics",
    "model",
    "screen",
    "transcript",
];
const MEETING_POINTS: [&str; 8] = [
    "budget",
    "deliveries",
    "findings_bus",
    "frame_bus",
    "roster",
    "store",
    "stream_hub",
    "tls",
];
const EDGES: [&str; 12] = [
    "agents", "av", "console", "eval", "history", "models", "report", "rtmp", "sinks", "vision",
    "watchdog", "whep",
];
/// They know everyone; nobody imports them.
const TOP: [&str; 4] = ["app", "cli", "lib", "main"];

/// Each heavy dependency and the places that may name it.
const ROOMS: [(&str, &[&str]); 20] = [
    ("rusqlite", &["src/store/"]),
    ("rml_rtmp", &["src/rtmp/"]),
    ("ffmpeg_next", &["src/av/"]),
    ("rten", &["src/vision/"]),
    ("rten_tensor", &["src/vision/"]),
    ("webrtc", &["src/whep/"]),
    ("rtc", &["src/whep/"]),
    // WHEP is HTTP too, and answers for itself.
    ("axum", &["src/console/", "src/whep/"]),
    ("utoipa_axum", &["src/console/", "src/whep/"]),
    ("tower_http", &["src/console/"]),
    ("hyper_util", &["src/console/"]),
    ("rustix", &["src/store/", "src/app/"]),
    (
        "reqwest",
        &[
            "src/models/",
            "src/report/",
            "src/sinks/",
            "src/whep/client/",
        ],
    ),
    ("tokio_rustls", &["src/tls/"]),
    ("rustls", &["src/tls/"]),
    ("rustls_platform_verifier", &["src/tls/"]),
    ("x509_parser", &["src/tls/"]),
    ("async_nats", &["src/sinks/nats.rs"]),
    ("minijinja", &["src/sinks/template.rs"]),
    ("opentelemetry_proto", &["src/sinks/otlp.rs"]),
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

fn room_of(path: &Path) -> String {
    let inside = path.strip_prefix("src").unwrap();
    let first = inside
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_string_lossy()
        .into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The top-level modules a file names as `crate::x` or in `crate::{x, y}`.
fn imports(code: &str) -> Vec<String> {
    let name = |text: &str| {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => {
                let group = group.split("};").next().unwrap_or_default();
                names.extend(group.split(',').map(|item| name(item.trim())));
            }
            None => names.push(name(rest)),
        }
    }
    names
}

#[test]
fn imports_point_downwards_only() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let mut wrong = Vec::new();
    for file in &files {
        let room = room_of(file);
        let allowed: Vec<&str> = match room.as_str() {
            room if WORDS.contains(&room) => WORDS.to_vec(),
            // The record is made there, and told here.
            "findings_bus" => [&WORDS[..], &["findings_bus", "store"]].concat(),
            room if MEETING_POINTS.contains(&room) => [&WORDS[..], &[room]].concat(),
            room if EDGES.contains(&room) => [&WORDS[..], &MEETING_POINTS[..], &[room]].concat(),
            room if TOP.contains(&room) => continue,
            _ => panic!("{} is in no layer: say where it belongs", file.display()),
        };
        for import in imports(&code(file)) {
            let known = [&WORDS[..], &MEETING_POINTS, &EDGES, &TOP].concat();
            if known.contains(&import.as_str()) && !allowed.contains(&import.as_str()) {
                wrong.push(format!("{} ({room}) imports {import}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn heavy_dependencies_stay_in_their_rooms() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let mut wrong = Vec::new();
    for file in &files {
        let path = file.to_string_lossy().replace('\\', "/");
        let code = code(file);
        for (dependency, rooms) in ROOMS {
            // A path into it; the bare word may be anything.
            let named = code
                .match_indices(&format!("{dependency}::"))
                .any(|(at, _)| {
                    let before = code[..at].chars().next_back();
                    !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
                });
            if named && !rooms.iter().any(|room| path.starts_with(room)) {
                wrong.push(format!(
                    "{path} names {dependency}, which belongs to {}",
                    rooms.join(" or ")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_stands_in_the_rule() {
    let mut rooms: BTreeMap<String, ()> = BTreeMap::new();
    for entry in fs::read_dir("src").unwrap() {
        rooms.insert(room_of(&entry.unwrap().path()), ());
    }
    rooms.remove("snapshots");
    let rule = fs::read_to_string("src/lib.rs").unwrap();
    for room in rooms
        .keys()
        .filter(|room| !["lib", "main", "cli"].contains(&room.as_str()))
    {
        assert!(
            rule.contains(&format!("[`{room}`]")),
            "src/lib.rs does not say where {room} belongs"
        );
    }
}

#[test]
fn an_import_in_any_form_is_seen() {
    let code = "use crate::av::Decoder;\nuse crate::{rtmp::Server, media};\nlet x = crate::vision::read();";
    assert_eq!(imports(code), ["av", "rtmp", "media", "vision"]);
}
