//! Offline analysts on screens of AI security tools: pages of
//! `tests/screens/aisec`, rendered by Chromium, with labels that were written
//! before any result was known.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::common::serve::{models, root};

/// Events of the labels that are found at least, and the most findings without
/// one. Raise and lower them with the analysts.
const FOUND: u64 = 9;
const WRONG: u64 = 5;
/// Most of those on healthy pages: a tail latency of 2.9 s, which is usual of a
/// model.
const HEALTHY: u64 = 1;

/// Flags of a browser that does nothing but draw.
const FLAGS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
}

/// Recording of the pages, each for as long as its scene.
fn record(labels: &Value, folder: &Path) {
    let pages = root().join("tests/screens/aisec");
    let mut list = String::new();
    for scene in labels["scenes"].as_array().unwrap() {
        let page = scene["page"].as_str().unwrap();
        let picture = folder.join(format!("{page}.png"));
        run(Command::new("chromium")
            .args(FLAGS)
            .arg("--window-size=1600,900")
            .arg(format!(
                "--user-data-dir={}",
                folder.join("profile").display()
            ))
            .arg(format!("--screenshot={}", picture.display()))
            .arg(format!(
                "file://{}",
                pages.join(format!("{page}.html")).display()
            )));
        let seconds = scene["end"].as_f64().unwrap() - scene["start"].as_f64().unwrap();
        writeln!(list, "file '{}'\nduration {seconds}", picture.display()).unwrap();
        // Its duration is that of the picture before another one.
        if scene == labels["scenes"].as_array().unwrap().last().unwrap() {
            writeln!(list, "file '{}'", picture.display()).unwrap();
        }
    }
    std::fs::write(folder.join("list.txt"), list).unwrap();
    run(Command::new("ffmpeg")
        .args([
            "-v", "error", "-nostdin", "-f", "concat", "-safe", "0", "-i", "list.txt",
        ])
        .args([
            "-vf",
            "fps=4",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-crf",
            "12",
        ])
        .args(["-g", "8", "-pix_fmt", "yuv420p", "clip.mp4"])
        .current_dir(folder));
}

#[test]
fn problems_of_ai_tools_are_found_and_healthy_ones_stay_quiet() {
    let labels = root().join("tests/screens/aisec/labels.json");
    let text = std::fs::read_to_string(&labels).unwrap();
    let folder = tempfile::tempdir().unwrap();
    record(&serde_json::from_str(&text).unwrap(), folder.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_watchtower"));
    command
        .args(["eval", "clip.mp4", "--json", "scores.json", "--labels"])
        .arg(&labels)
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("WATCHTOWER_MODELS", models())
        .env("WATCHTOWER_CONFIG", root().join("agents.toml"))
        .env("RUST_LOG", "warn");
    run(&mut command);
    let scores = std::fs::read_to_string(folder.path().join("scores.json")).unwrap();
    let scores: Value = serde_json::from_str(&scores).unwrap();
    let all = &scores["all"];
    let count = |name: &str| all[name].as_u64().unwrap();
    let what = format!("{:#}\n{:#}", scores["missed"], scores["false_findings"]);
    assert!(count("on_healthy") <= HEALTHY, "{what}");
    assert!(count("found") >= FOUND, "{} found\n{what}", count("found"));
    assert!(count("wrong") <= WRONG, "{} wrong\n{what}", count("wrong"));
}
