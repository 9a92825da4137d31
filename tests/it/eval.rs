//! `watchtower replay` and `watchtower eval` on recordings.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::serve::{models, root};
use serde_json::Value;

/// First seconds of the demo clip: a healthy page, then an attack.
fn clip(folder: &Path, seconds: u32) -> PathBuf {
    let file = folder.join("clip.mp4");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-t", &seconds.to_string(), "-i"])
        .arg(root().join("demo/demo.mp4"))
        .args(["-c", "copy"])
        .arg(&file)
        .status();
    assert!(made.unwrap().success());
    file
}

/// Labels of those seconds.
fn labels(folder: &Path, seconds: f64) -> PathBuf {
    let text = std::fs::read_to_string(root().join("demo/labels.json")).unwrap();
    let mut labels: Value = serde_json::from_str(&text).unwrap();
    let scenes = labels["scenes"].as_array_mut().unwrap();
    scenes.retain(|scene| scene["end"].as_f64().unwrap() <= seconds);
    let file = folder.join("labels.json");
    std::fs::write(&file, labels.to_string()).unwrap();
    file
}

fn watchtower(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_watchtower"))
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("WATCHTOWER_MODELS", models())
        .env("WATCHTOWER_CONFIG", root().join("agents.toml"))
        .env("RUST_LOG", "warn")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    text
}

#[test]
fn eval_scores_the_sample_and_is_reproducible() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (clip, labels) = (clip(folder, 18), labels(folder, 18.0));
    let run = |json: &str| {
        let args = [
            "eval",
            clip.to_str().unwrap(),
            "--labels",
            labels.to_str().unwrap(),
            "--json",
            json,
        ];
        let table = stdout(&watchtower(folder, &args));
        let file = std::fs::read_to_string(folder.join(json)).unwrap();
        (table, file)
    };
    let (table, json) = run("first.json");
    assert_eq!((table.clone(), json.clone()), run("second.json"));
    let scores: Value = serde_json::from_str(&json).unwrap();
    let secops = &scores["agents"][0];
    assert_eq!(secops["agent"], "SecOps");
    assert_eq!(secops["recall"], 1.0, "{table}");
    assert_eq!(scores["all"]["on_healthy"], 0, "{table}");
    assert!(
        scores["all"]["seconds_to_detect"].as_f64().unwrap() <= 2.0,
        "{table}"
    );
    assert_eq!(scores["all"]["ungrounded"], 0, "{table}");
    let sent = &scores["all"]["sent"];
    assert!(sent["frames"].as_u64().unwrap() < sent["frames_at_intervals"].as_u64().unwrap());
    for word in [
        "precision",
        "recall",
        "to detect",
        "tokens",
        "SecOps",
        "all",
    ] {
        assert!(table.contains(word), "{word} in {table}");
    }
}

#[test]
fn replay_prints_findings_keeps_them_and_plays_its_own_tape() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let clip = clip(folder, 11);
    let clip = clip.to_str().unwrap();
    let first = stdout(&watchtower(
        folder,
        &["replay", clip, "--out", "kept", "--record", "tape"],
    ));
    assert!(
        first.contains("SecOps replay: Burst of failed logins"),
        "{first}"
    );
    let kept = std::fs::read_to_string(folder.join("kept/logs/findings.jsonl")).unwrap();
    let printed = first
        .lines()
        .filter(|line| line.contains(" replay: "))
        .count();
    assert_eq!(kept.lines().count(), printed);
    let tape = std::fs::read_to_string(folder.join("tape")).unwrap();
    assert!(tape.lines().count() >= 5, "each of five has looked: {tape}");
    // Replayed from the recording with the same result, without any model.
    let second = stdout(&watchtower(folder, &["replay", clip, "--cassette", "tape"]));
    assert!(
        second.contains("SecOps replay: Burst of failed logins"),
        "{second}"
    );
}

#[test]
fn what_is_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let clip = clip(folder, 1);
    let clip = clip.to_str().unwrap();
    std::fs::write(folder.join("bad.json"), "{\"scenes\": 7}").unwrap();
    for (args, expected) in [
        (vec!["replay", "nothing.mp4"], "nothing.mp4"),
        (vec!["replay", "bad.json"], "bad.json"),
        (
            vec!["eval", clip, "--labels", "bad.json"],
            "bad.json holds no labels",
        ),
        (vec!["eval", clip, "--labels", "gone.json"], "gone.json"),
        (
            vec!["eval", clip, "--labels", "bad.json", "--every", "0s"],
            "at least 100ms",
        ),
        (
            vec!["replay", clip, "--cassette", "bad.json"],
            "line 1 of the cassette bad.json",
        ),
    ] {
        let output = watchtower(folder, &args);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && errors.contains(expected),
            "{args:?}: {errors}"
        );
    }
}
