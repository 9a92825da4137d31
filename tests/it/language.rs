//! Language of answers: from `agents.toml` to the requests to a hosted model.

use crate::common::encoder::Encoder;
use crate::common::gemini::{CannedReply, FakeGemini};
use crate::common::serve::{Setup, command};
use serde_json::{Value, json};

const AGENTS: &str = r#"
[model]
language = "German"

[[agent]]
name = "SecOps"
personality = "wary"
focus = "threats"
interval = "1s"

[[agent]]
name = "DevOps"
personality = "calm"
focus = "outages"
language = "Brazilian Portuguese"

[[agent]]
name = "Architect"
personality = "strategic"
focus = "weaknesses"
language = "English"
"#;

/// Language that a system prompt asks for.
fn language_of(system: &str) -> Option<&str> {
    let (_, after) = system.split_once("in the language \"")?;
    after.split('"').next()
}

#[tokio::test]
async fn every_request_asks_for_its_language_and_quotes_as_they_stand() {
    let gemini = FakeGemini::start().await;
    let quote = "All systems operational";
    let reported = CannedReply::findings(&json!([{
        "evidence": quote, "box_2d": [], "category": "anomaly",
        "title": "Die Plattform meldet Normalbetrieb", "detail": "Sie sagt es selbst.",
        "mitre_techniques": [], "severity": "high", "confidence": 0.9,
        "recommended_action": "Jemand anderen fragen."
    }]));
    gemini.script("You are SecOps", std::iter::repeat_n(reported, 50));
    gemini.script_case(
        "You are DevOps",
        [CannedReply::view(
            "dispute",
            "low",
            "É só um banner.",
            quote,
        )],
    );
    let answer = json!({"citations": [1], "known": true, "answer": "Ja."});
    gemini.script(
        "You answer a question",
        [CannedReply::text(&answer.to_string())],
    );
    let server = Setup::new()
        .agents(AGENTS)
        .env("GOOGLE_API_KEY", "AIzaFakeKeyOfTheTests0123456789abcdefgh")
        .env("GOOGLE_GEMINI_BASE_URL", &gemini.base_url())
        .start()
        .await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));

    let system_of = |begin: &str, case: bool| {
        let mut requests = gemini.requests().into_iter();
        let begins = |system: String| system.starts_with(begin);
        let found = requests.find(|one| one.is_case() == case && begins(one.system()))?;
        Some(found.system())
    };
    let asked = [
        ("You are SecOps", false, Some("German")),
        ("You are DevOps", false, Some("Brazilian Portuguese")),
        ("You are Architect", false, None),
        ("You are DevOps", true, Some("Brazilian Portuguese")),
        // The reviewer's verdict is in the language of the reporting analyst.
        ("You are the evidence reviewer", true, Some("German")),
    ];
    for (begin, case, language) in asked {
        let system = server.until(begin, async |_| system_of(begin, case)).await;
        assert_eq!(language_of(&system), language, "{system}");
        assert_eq!(
            system.contains("copied as they stand on the screen, never translated"),
            language.is_some(),
            "{system}"
        );
    }

    // Findings in another language are handled like any other.
    let found = server
        .until("a finding with its quote found", async |server| {
            let mut findings = server.findings_of_analysts().into_iter();
            findings.find(|finding| finding["evidence"][0]["grounded"] == true)
        })
        .await;
    assert_eq!(found["title"], "Die Plattform meldet Normalbetrieb");
    assert_eq!(found["evidence"][0]["quote"], quote);
    assert_eq!(found["severity"], "high");

    let question = json!({"question": "Are all systems operational?"});
    let asked = server.client.post(server.http_url("/api/ask"));
    let answer = asked.json(&question).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["answer"], "Ja.", "{answer}");
    let system = system_of("You answer a question", false).unwrap();
    assert_eq!(language_of(&system), Some("German"), "{system}");
    assert_eq!(gemini.faults(), Vec::<String>::new());
}

#[tokio::test]
async fn check_warns_of_a_language_that_offline_rules_do_not_have() {
    let setup = Setup::new().agents(AGENTS);
    let output = command("check", setup.folder.path())
        .output()
        .await
        .unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{table}");
    let warning = "warn   German, Brazilian Portuguese requires a hosted model; \
                   offline rules report in English: SecOps, DevOps\n";
    assert!(table.contains(warning), "{table}");

    let setup = setup.agents("[model]\nlanguage = \"German, not English\"\n");
    let output = command("check", setup.folder.path())
        .output()
        .await
        .unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{table}");
    assert!(
        table.contains("model.language: must be a language such as \"German\"")
            && table.contains("got \"German, not English\""),
        "{table}"
    );
}
