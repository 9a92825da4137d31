//! Text that hosted models are told of a screen: rows of tables and labels with
//! their values, or line by line for comparison; and the cost of both in `eval`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use serde_json::{Value, json};

use crate::common::encoder::demo;
use crate::common::gemini::{CannedReply, FakeGemini};
use crate::common::openai::{FakeOpenAi, MODEL};
use crate::common::serve::models;

/// Row of a table and card of the demo's metrics, without the blanks, which OCR
/// leaves out now and then.
const ROW: &str = "FIRING|5xxerrorrate12.4%isabove1%";
const CARD: &str = "p99latency:4.8s";

/// Two seconds of the demo's metrics, and their labels.
fn prepare(folder: &Path) {
    let made = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-ss", "22", "-t", "2", "-i"])
        .arg(demo())
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-an", "clip.mp4"])
        .current_dir(folder)
        .status();
    assert!(made.unwrap().success());
    let labels = json!({"scenes": [{"start": 0.0, "end": 2.0, "healthy": true}]});
    std::fs::write(folder.join("labels.json"), labels.to_string()).unwrap();
}

/// Table and scores of an evaluation with that model.
async fn eval(
    folder: &Path,
    model: &str,
    more: &[&str],
    env: &[(&str, String)],
) -> (String, Value) {
    let agents = format!(
        "[model]\n{model}\n[[agent]]\nname = \"DevOps\"\npersonality = \"calm\"\nfocus = \"services\"\n"
    );
    std::fs::write(folder.join("agents.toml"), agents).unwrap();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_watchtower"));
    command
        .args([
            "eval",
            "clip.mp4",
            "--labels",
            "labels.json",
            "--json",
            "scores.json",
        ])
        .args(more)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("WATCHTOWER_MODELS", models())
        .env("RUST_LOG", "warn")
        .envs(env.iter().map(|(name, value)| (*name, value)));
    let output = command.output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    let scores = std::fs::read_to_string(folder.join("scores.json")).unwrap();
    (text, serde_json::from_str(&scores).unwrap())
}

/// True if the text has a table as rows, and a value with its label.
fn is_structured(text: &str) -> bool {
    let lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<String>());
    let lines: Vec<String> = lines.collect();
    let told = |what: &str| lines.iter().any(|line| line.contains(what));
    let row = told(ROW);
    assert_eq!(row, told(CARD), "{text}");
    assert_eq!(row, text.contains("with bars between the cells"), "{text}");
    row
}

fn checked(table: &str, scores: &Value, requests: usize, plain: bool) {
    let sent = &scores["all"]["sent"];
    assert_eq!(sent["frames"], requests);
    let of_run = if plain {
        "tokens_plain"
    } else {
        "tokens_structured"
    };
    assert_eq!(sent["tokens"], sent[of_run]);
    assert_ne!(sent["tokens_plain"], sent["tokens_structured"]);
    let told = format!(
        "With tables as rows and values with their labels they are {} tokens; with plain lines of text {} (",
        sent["tokens_structured"], sent["tokens_plain"]
    );
    assert!(table.contains(&told), "{told}: {table}");
}

#[tokio::test]
async fn gemini_is_told_rows_and_labels_unless_plain_text_is_requested() {
    let gemini = FakeGemini::start().await;
    gemini.otherwise(CannedReply::nothing());
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let env = [
        (
            "GOOGLE_API_KEY",
            "AIzaFakeKeyOfTheTests0123456789abcdefgh".to_owned(),
        ),
        ("GOOGLE_GEMINI_BASE_URL", gemini.base_url()),
    ];
    for (more, plain) in [(&[] as &[&str], false), (&["--plain-text"], true)] {
        let (table, scores) = eval(folder.path(), "provider = \"gemini\"", more, &env).await;
        let requests = gemini.take_requests();
        assert!(!requests.is_empty(), "{table}");
        assert_eq!(is_structured(&requests[0].text()), !plain);
        checked(&table, &scores, requests.len(), plain);
    }
}

#[tokio::test]
async fn openai_models_are_told_rows_and_labels_unless_plain_text_is_requested() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    for (more, plain) in [(&[] as &[&str], false), (&["--plain-text"], true)] {
        let openai = FakeOpenAi::start().await;
        let model = format!(
            "provider = \"openai\"\nname = \"{MODEL}\"\nbase_url = \"{}\"",
            openai.base_url()
        );
        let (table, scores) = eval(folder.path(), &model, more, &[]).await;
        let chats = openai.chats();
        assert!(!chats.is_empty(), "{table}");
        let user = chats[0]["messages"].as_array().unwrap().last().unwrap();
        let parts = user["content"].as_array().unwrap().iter();
        let text: String = parts.filter_map(|part| part["text"].as_str()).collect();
        assert_eq!(is_structured(&text), !plain);
        checked(&table, &scores, chats.len(), plain);
    }
}
