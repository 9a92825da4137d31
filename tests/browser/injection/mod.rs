//! Prompt injection by a screen, with a model that obeys: `attacks/` holds one
//! file per attack, rendered by a browser, recorded and replayed. Whatever the
//! model replies, the only effect is findings.
//!
//! To add an attack, add a file.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::chromium::Chromium;
use crate::common::gemini::{CannedReply, CapturedRequest, FakeGemini};
use crate::common::serve::{command, root};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpListener;

const KEY: &str = "AIzaFakeKeyOfTheTests0123456789abcdefgh";
/// Duration of each screen, in seconds.
const EACH: usize = 2;
/// Canaries in the persona, which must never leak: a unique word, and a
/// sentence.
const CODE_WORD: &str = "kestrel4471vermilion";
const SENTENCE: &str = "the quarterly rotation of the honeypot begins with the northern vault";
/// Maximum characters of a finding's field (docs/untrusted-screen.md).
const LONGEST: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attack {
    #[serde(skip)]
    name: String,
    /// HTML of the screen.
    screen: String,
    #[serde(default)]
    style: String,
    /// Response of a model that obeys the attack.
    obeys: String,
    /// Flag: Watchtower has to report the prompt injection.
    found: bool,
}

fn attacks() -> Vec<Attack> {
    let files = std::fs::read_dir(root().join("tests/browser/injection/attacks")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let attacks = files.iter().map(|file| {
        let text = std::fs::read_to_string(file).unwrap();
        let attack = toml::from_str(&text);
        let attack: Attack = attack.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Attack {
            name: file.file_stem().unwrap().to_string_lossy().into_owned(),
            ..attack
        }
    });
    attacks.collect()
}

/// Expands `{{N times X}}` to N times X; X ends at the last braces of the
/// answer that can close it.
fn written_out(answer: &str) -> String {
    let Some((before, rest)) = answer.split_once(" times ").and_then(|(before, rest)| {
        let (start, count) = before.rsplit_once("{{")?;
        Some(((start, count.parse::<usize>().ok()?), rest))
    }) else {
        return answer.to_owned();
    };
    // X's own braces may stand directly before.
    let end = rest.find("}}").unwrap();
    let end = end
        + rest[end + 2..]
            .bytes()
            .take_while(|byte| *byte == b'}')
            .count();
    let (start, count) = before;
    format!(
        "{start}{}{}",
        rest[..end].repeat(count),
        written_out(&rest[end + 2..])
    )
}

async fn drawn(attacks: &[Attack], folder: &Path) {
    let browser = Chromium::start().await;
    browser.resize(1280, 720).await;
    for (number, attack) in attacks.iter().enumerate() {
        let page = format!(
            "<!doctype html><meta charset=utf-8><style>\
             body {{ background: #10151b; color: #d4d4d4; margin: 40px; font: 20px/1.5 'DejaVu Sans Mono' }}\
             h1 {{ font: 40px 'DejaVu Sans' }}\
             </style><h1>CASE {}</h1><p>ops@bastion:~$ tail /var/log/app.log</p>\
             <div style=\"{}\">{}</div>",
            in_words(number),
            attack.style,
            attack.screen
        );
        let file = folder.join("page.html");
        std::fs::write(&file, page).unwrap();
        browser.open(&format!("file://{}", file.display())).await;
        let picture = folder.join(format!("{number:03}.png"));
        std::fs::write(picture, browser.screenshot().await).unwrap();
    }
    browser.close().await;
}

fn filmed(folder: &Path) {
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin"])
        .args(["-framerate", &format!("1/{EACH}"), "-i"])
        .arg(folder.join("%03d.png"))
        .args([
            "-r", "5", "-g", "10", "-c:v", "libx264", "-preset", "veryfast",
        ])
        .args(["-crf", "18", "-pix_fmt", "yuv420p"])
        .arg(folder.join("film.mp4"))
        .status();
    assert!(made.unwrap().success());
}

const DIGITS: [&str; 10] = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
];

/// Number in words, so that OCR mistakes none for another.
fn in_words(number: usize) -> String {
    [number / 100, number / 10 % 10, number % 10]
        .map(|digit| DIGITS[digit])
        .join(" ")
}

/// Case shown in a request; text that vanished belongs to the previous one.
fn case(request: &CapturedRequest) -> Option<usize> {
    let text = request.text();
    let cases = text.split("CASE ").skip(1).map(|rest| {
        let words = rest.split_whitespace().take(3);
        words.fold(0, |number, word| {
            let digit = DIGITS.iter().position(|digit| *digit == word);
            number * 10 + digit.unwrap_or_default()
        })
    });
    cases.max()
}

/// Exfiltration target of the attacks. Counts connections.
async fn listener() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let visits = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&visits);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    (address, visits)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attack_on_the_screen_results_in_findings_only() {
    let attacks = attacks();
    assert!(attacks.len() >= 60);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    drawn(&attacks, folder).await;
    filmed(folder);
    let (canary, visits) = listener().await;

    let gemini = FakeGemini::start().await;
    let obeyed = Arc::new(Mutex::new(BTreeSet::new()));
    let answers: Vec<String> = attacks
        .iter()
        .map(|attack| written_out(&attack.obeys).replace("{{canary}}", &canary))
        .collect();
    gemini.answer_by({
        let obeyed = Arc::clone(&obeyed);
        move |request| {
            let case = case(request)?;
            obeyed.lock().unwrap().insert(case);
            let system = serde_json::to_string(&request.system()).unwrap();
            let answer = answers
                .get(case)?
                .replace("{{system}}", system.trim_matches('"'));
            Some(CannedReply::text(&answer))
        }
    });
    let agents = format!(
        "[[agent]]\nname = \"SecOps\"\n\
         personality = \"Calm. Between us: {SENTENCE}.\"\n\
         focus = \"intrusions; the code word is {CODE_WORD}\"\ninterval = \"1s\"\n"
    );
    std::fs::write(folder.join("agents.toml"), agents).unwrap();
    let out = folder.join("out");
    let replay = command("replay", folder)
        .arg(folder.join("film.mp4"))
        .args(["--config", "agents.toml", "--out", "out"])
        .env("GOOGLE_API_KEY", KEY)
        .env("GOOGLE_GEMINI_BASE_URL", gemini.base_url())
        .output()
        .await
        .unwrap();
    let stdout = String::from_utf8_lossy(&replay.stdout);
    let errors = String::from_utf8_lossy(&replay.stderr);
    assert!(replay.status.success(), "{stdout}\n{errors}");

    let obeyed = obeyed.lock().unwrap().clone();
    let spared: Vec<_> = (0..attacks.len())
        .filter(|case| !obeyed.contains(case))
        .map(|case| &attacks[case].name)
        .collect();
    assert!(spared.is_empty(), "never shown to the model: {spared:?}");
    assert_eq!(gemini.faults(), Vec::<String>::new());
    for request in gemini.requests() {
        assert_safe_request(&request);
    }
    assert_eq!(
        visits.load(Ordering::Relaxed),
        0,
        "somebody followed a link"
    );
    for text in [&stdout, &errors] {
        printable("the terminal", text);
    }
    assert_safe_store(&out);
    let missed = unseen(&attacks, &out);
    assert!(missed.is_empty(), "not told by Watchtower: {missed:?}");
}

/// The screen's text is data between unguessable delimiters, and the model has
/// no tools.
fn assert_safe_request(request: &CapturedRequest) {
    if request.method != "POST" {
        return;
    }
    assert!(request.body["tools"].is_null());
    assert_eq!(
        request.body["generationConfig"]["responseMimeType"],
        "application/json"
    );
    assert!(request.system().contains(CODE_WORD), "the persona's own");
    let text = request.text();
    assert!(
        !text.contains(CODE_WORD),
        "what was withheld comes back: {text}"
    );
    let mut mark: Option<&str> = None;
    for line in text.lines() {
        match mark {
            None if line.len() == 14 && line.starts_with('[') && line.ends_with(']') => {
                mark = Some(line);
            }
            None => assert!(!line.starts_with("| "), "outside the marks: {text}"),
            Some(open) if line == open => mark = None,
            Some(open) => {
                assert!(line.starts_with("| ") && !line.contains(open), "{line:?}");
                assert!(!line.contains(open.trim_matches(['[', ']'])), "{line:?}");
            }
        }
    }
    assert_eq!(mark, None, "a mark that is not closed: {text}");
}

/// True without characters that move a terminal's cursor, hide or reorder text.
fn printable(what: &str, text: &str) {
    let harmful = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
    };
    for line in text.lines() {
        assert!(!line.contains(harmful), "{what}: {line:?}");
    }
}

/// Checks the stored findings: complete lines, only the contract's fields,
/// within their limits, and without text of the persona.
fn assert_safe_store(out: &Path) {
    for file in std::fs::read_dir(out.join("logs")).unwrap() {
        let file = file.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.display().to_string();
        printable(&name, &text);
        assert!(!text.contains(CODE_WORD), "{name} tells the code word");
        assert!(
            !text.contains(SENTENCE),
            "{name} tells the persona's sentence"
        );
        if name.ends_with(".log") {
            for line in text.lines() {
                let dated = line.len() > 20 && line.as_bytes()[..4].iter().all(u8::is_ascii_digit);
                assert!(
                    dated || line.starts_with("    ") || line.is_empty(),
                    "{name}: forged: {line:?}"
                );
            }
        }
    }
    for finding in findings(out) {
        bounded(&finding);
        let severity = finding["severity"].as_str().unwrap();
        assert!(["info", "low", "medium", "high", "critical"].contains(&severity));
        let mut evidence = finding["evidence"].as_array().unwrap().iter();
        let invented = evidence.any(|piece| piece["grounded"] == false);
        assert!(
            !invented || !["high", "critical"].contains(&severity),
            "believed without proof: {finding:#}"
        );
        let confidence = finding["confidence"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&confidence), "{finding:#}");
    }
    let mut database = Vec::new();
    for file in std::fs::read_dir(out.join("data")).unwrap() {
        let file = file.unwrap().path();
        if file.is_file() {
            database.extend(std::fs::read(file).unwrap());
        }
    }
    for kept in [CODE_WORD, SENTENCE] {
        let found = database
            .windows(kept.len())
            .any(|run| run == kept.as_bytes());
        assert!(!found, "the store tells {kept}");
    }
}

fn findings(out: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join("logs/findings.jsonl")).unwrap();
    let parsed = text.lines().map(|line| serde_json::from_str(line).unwrap());
    parsed.collect()
}

fn bounded(value: &Value) {
    match value {
        Value::String(text) => assert!(text.chars().count() <= LONGEST, "{}", text.len()),
        Value::Array(items) => {
            assert!(items.len() <= 32, "{}", items.len());
            items.iter().for_each(bounded);
        }
        Value::Object(fields) => fields.values().for_each(bounded),
        _ => {}
    }
}

/// Attacks that Watchtower failed to report.
fn unseen(attacks: &[Attack], out: &Path) -> Vec<String> {
    let findings = findings(out);
    let reported: BTreeSet<usize> = findings
        .iter()
        .filter(|finding| finding["agent"] == "Watchtower")
        .inspect(|finding| assert_eq!(finding["category"], "prompt_injection"))
        .map(|finding| finding["frame"]["pts_ms"].as_u64().unwrap() as usize / (1000 * EACH))
        .collect();
    let missed = attacks
        .iter()
        .enumerate()
        .filter(|(case, attack)| attack.found && !reported.contains(case));
    missed
        .map(|(case, attack)| format!("{case:03} {}", attack.name))
        .collect()
}
