//! `watchtower explain`: the elements of a screenshot as JSON and SVG.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use crate::common::serve::{command, root};

/// Secret on the screen.
const PASSWORD: &str = "tall-Crane-4471";

fn screen() -> PathBuf {
    root().join("tests/fixtures/elements/screen.png")
}

async fn explain(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = command("explain", folder);
    command.args(arguments).output().await.expect("started")
}

fn elements<'a>(printed: &'a Value, kind: &str) -> Vec<&'a Value> {
    let all = printed["elements"].as_array().expect("elements");
    all.iter()
        .filter(|element| element["kind"] == kind)
        .collect()
}

fn texts(row: &Value) -> Vec<&str> {
    let cells = row.as_array().expect("cells").iter();
    cells
        .map(|cell| cell["text"].as_str().expect("a text"))
        .collect()
}

#[tokio::test]
async fn a_screenshot_is_explained_without_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let picture = screen();
    let arguments = [picture.to_str().expect("UTF-8"), "--svg", "out.svg"];
    let output = explain(folder.path(), &arguments).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let printed: Value = serde_json::from_str(&text).expect("only JSON on standard output");
    assert_eq!(
        (&printed["width"], &printed["height"]),
        (&json!(1280), &json!(800))
    );

    let tables = elements(&printed, "table");
    assert_eq!(tables.len(), 1, "{text}");
    let table = tables[0];
    let head = ["Service", "State", "Replicas", "Version", "Last message"];
    assert_eq!(texts(&table["head"]), head);
    let rows: Vec<_> = (table["rows"].as_array().expect("rows").iter())
        .map(|row| {
            (
                row[0]["text"].clone(),
                row[1]["text"].clone(),
                row[1]["colour"].clone(),
            )
        })
        .collect();
    let expected = [
        ("checkout", "Failed", "red"),
        ("cart", "Running", "green"),
        ("search", "Degraded", "amber"),
        ("login", "Running", "green"),
    ];
    assert_eq!(
        rows,
        expected.map(|(name, state, colour)| (json!(name), json!(state), json!(colour)))
    );
    let message = texts(&table["rows"][0])[4];
    assert_eq!(message, "connection refused by the orders database");

    let cards: Vec<_> = (elements(&printed, "card").into_iter())
        .map(|card| {
            (
                &card["label"]["text"],
                &card["value"]["text"],
                &card["value"]["colour"],
            )
        })
        .collect();
    let expected = [
        ("Error rate", "7.2 %", "red"),
        ("Latency p99", "840 ms", "amber"),
        ("Requests per second", "1,204", "none"),
    ];
    let expected = expected.map(|card| (json!(card.0), json!(card.1), json!(card.2)));
    let expected: Vec<_> = expected
        .iter()
        .map(|card| (&card.0, &card.1, &card.2))
        .collect();
    assert_eq!(cards, expected);

    let levels: Vec<_> = (elements(&printed, "log_line").into_iter())
        .map(|log| (log["level"].as_str(), log["source"].as_str()))
        .collect();
    let expected = [
        ("INFO", "cart"),
        ("ERROR", "checkout"),
        ("WARN", "checkout"),
        ("ERROR", "checkout"),
    ];
    assert_eq!(
        levels,
        expected.map(|(level, source)| (Some(level), Some(source)))
    );

    let svg = fs::read_to_string(folder.path().join("out.svg")).expect("drawn");
    assert!(svg.contains("data:image/jpeg;base64,"), "no picture");
    for told in [&text, &svg] {
        assert!(!told.contains(PASSWORD), "told the password");
        assert!(told.contains("[masked password"), "not redacted");
    }
    let left: Vec<_> = fs::read_dir(folder.path()).expect("listed").collect();
    assert_eq!(left.len(), 1, "only the drawing is written");
}

#[tokio::test]
async fn own_patterns_of_a_configuration_file_are_redacted() {
    let folder = tempfile::tempdir().expect("a folder");
    let agents = "[model]\nredact_patterns = ['order \\d{4}']\n\n\
                  [[agent]]\nname = \"Ops\"\npersonality = \"calm\"\nfocus = \"all\"\n";
    fs::write(folder.path().join("own.toml"), agents).expect("written");
    let picture = screen();
    let arguments = [picture.to_str().expect("UTF-8"), "--config", "own.toml"];
    let output = explain(folder.path(), &arguments).await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("[masked pattern of your own] accepted"),
        "{text}"
    );
    assert!(!text.contains("4811"), "{text}");
}

#[tokio::test]
async fn bad_input_is_named_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("empty.png"), b"").expect("written");
    fs::write(folder.path().join("notes.txt"), b"no picture").expect("written");
    let whole = fs::read(screen()).expect("read");
    fs::write(folder.path().join("cut.png"), &whole[..200]).expect("written");
    let huge = fs::File::create(folder.path().join("huge.png")).expect("created");
    huge.set_len(70 << 20).expect("sparse");
    let told = [
        ("none.png", "failed to read none.png: No such file"),
        (
            "empty.png",
            "empty.png is empty: expected a PNG or JPEG picture",
        ),
        ("notes.txt", "notes.txt is not a PNG or JPEG picture"),
        ("cut.png", "failed to decode cut.png: "),
        (
            "huge.png",
            "huge.png is too large: expected a picture of at most 64 MiB",
        ),
        (".", ". is not a file: expected a PNG or JPEG picture"),
    ];
    for (file, reason) in told {
        let output = explain(folder.path(), &[file]).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{file}: {stderr}");
        assert!(stderr.contains(reason), "{file}: {stderr}");
        assert!(output.stdout.is_empty(), "{file}");
    }
    let picture = screen();
    let arguments = [picture.to_str().expect("UTF-8"), "--config", "missing.toml"];
    let output = explain(folder.path(), &arguments).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("failed to read missing.toml"), "{stderr}");
}
