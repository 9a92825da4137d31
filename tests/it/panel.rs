//! Whole panel with Gemini: a real server and publisher, and a fake server with
//! Google's wire format.

use std::collections::BTreeSet;

use crate::common::encoder::Encoder;
use crate::common::gemini::{CannedReply, FakeGemini, jpeg_size};
use crate::common::serve::{Setup, command};
use serde_json::{Value, json};

const KEY: &str = "AIzaFakeKeyOfTheTests0123456789abcdefgh";
const AGENTS: [&str; 5] = ["SecOps", "DevOps", "CloudSec", "AISec", "Architect"];

fn finding(agent: &str) -> Value {
    json!([{
        "evidence": "All systems operational",
        "box_2d": [100, 50, 150, 600],
        "category": "other",
        "title": format!("Seen by {agent}"),
        "detail": "The platform says that it is well.\u{1b}[31m",
        "mitre_techniques": ["T1552.001"],
        "severity": "low",
        "confidence": 0.8,
        "recommended_action": "Keep watching.",
    }])
}

fn with_key(gemini: &FakeGemini) -> Setup {
    Setup::new()
        .env("GOOGLE_API_KEY", KEY)
        .env("GOOGLE_GEMINI_BASE_URL", &gemini.base_url())
}

#[tokio::test]
async fn five_personas_ask_and_their_findings_are_written() {
    let gemini = FakeGemini::start().await;
    for agent in AGENTS {
        gemini.script(agent, [CannedReply::findings(&finding(agent))]);
    }
    gemini.otherwise(CannedReply::nothing());
    let mut server = with_key(&gemini).start().await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    server
        .until("a finding of each", async |server| {
            let findings = server.findings_of_analysts();
            let agents: BTreeSet<_> = findings.iter().map(|one| one["agent"].as_str()).collect();
            (agents.len() == AGENTS.len()).then_some(())
        })
        .await;

    assert_eq!(gemini.faults(), Vec::<String>::new());
    let requests = gemini.requests();
    let mut personas = BTreeSet::new();
    for request in &requests {
        let text = request.system();
        let named: Vec<_> = AGENTS
            .iter()
            .filter(|agent| text.contains(*agent))
            .collect();
        assert_eq!(named.len(), 1, "one persona and no other's: {named:?}");
        personas.insert(text);
        assert_eq!(request.body["store"], false);
        assert!(!request.path.contains(KEY) && !request.body.to_string().contains(KEY));
        assert_eq!(jpeg_size(&request.jpeg()), Some((1920, 1080)));
    }
    assert_eq!(personas.len(), 5);
    for agent in AGENTS {
        let found = server
            .findings()
            .into_iter()
            .find(|finding| finding["agent"] == agent)
            .unwrap();
        assert_eq!(found["title"], format!("Seen by {agent}"));
        assert_eq!(found["evidence"][0]["quote"], "All systems operational");
        // At the position of the OCR, not the model's.
        assert_eq!(found["evidence"][0]["grounded"], true);
        let place = found["evidence"][0]["box"].as_array().unwrap();
        assert_ne!(*place, [100, 50, 150, 600].map(|at| json!(at)));
        assert_eq!(place.len(), 4);
        assert_eq!(found["model"]["provider"], "gemini");
        assert_eq!(found["model"]["version"], "gemini-3.8-flash-001");
        let log = server.log(&format!("{}.log", agent.to_lowercase()));
        assert!(
            log.contains(&format!("Seen by {agent}")) && !log.contains('\u{1b}'),
            "{log:?}"
        );
    }
    server.signal("-TERM");
    assert!(server.wait().await.success());
    assert!(!server.output().contains(KEY));
}

#[tokio::test]
async fn true_quotes_are_placed_and_invented_ones_are_marked_and_held_down() {
    let gemini = FakeGemini::start().await;
    let finding = |title: &str, quote: &str| {
        json!({
            "severity": "critical", "confidence": 0.9, "category": "intrusion", "title": title,
            "detail": "d", "evidence": quote, "box_2d": [0, 0, 100, 100],
            "mitre_techniques": [], "recommended_action": "look"
        })
    };
    gemini.otherwise(CannedReply::findings(&json!([
        finding("True", "All systems operational"),
        finding("Invented", "ransomware.exe encrypted 48 files on web-01"),
        finding("Drawn", ""),
    ])));
    let server = with_key(&gemini).start().await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    let found = server
        .until("all three", async |server| {
            let findings = server.findings();
            let of = |title: &str| findings.iter().find(|f| f["title"] == title).cloned();
            Some((of("True")?, of("Invented")?, of("Drawn")?))
        })
        .await;
    let (right, invented, drawn) = found;
    assert_eq!(right["severity"], "critical");
    assert_eq!(right["evidence"][0]["grounded"], true);
    assert_ne!(right["evidence"][0]["box"], json!([0, 0, 100, 100]));
    assert_eq!(invented["severity"], "medium", "held below high");
    assert_eq!(invented["evidence"][0]["grounded"], false);
    assert_eq!(drawn["severity"], "medium", "nothing is proven");
    assert!(drawn["evidence"][0].is_null() || drawn["evidence"][0]["grounded"].is_null());
    let agent = invented["agent"].as_str().unwrap().to_lowercase();
    server
        .until("the mark in the log", async |server| {
            let log = server.log(&format!("{agent}.log"));
            log.contains("on web-01  [not found on screen]")
                .then_some(())
        })
        .await;
    // Requests carry the screen's text, as data.
    let request = gemini.requests().remove(0).text();
    assert!(request.contains("| All systems operational"), "{request}");
    // The screen's text can be searched.
    let hits = server.json("/api/search?q=systems%20operat").await;
    assert_eq!(hits["items"][0]["text"], "All systems operational");
    assert_eq!(hits["items"][0]["stream"], "demo");
    assert_eq!(server.get("/api/search?q=%20").await.status(), 400);
}

#[tokio::test]
async fn a_refused_key_does_not_stop_the_video_and_the_agents_say_so() {
    let gemini = FakeGemini::start().await;
    gemini.let_in_only("another-key");
    let server = with_key(&gemini).start().await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    let state = server.until("an agent that says so", async |server| {
        let agents = server.json("/api/agents").await;
        let states = agents["items"].as_array().unwrap().clone();
        let state = states
            .iter()
            .find(|agent| agent["state"].as_str().unwrap().contains("key refused"));
        state.cloned()
    });
    println!("{}", state.await);
    server
        .until("the log that says so", async |server| {
            AGENTS
                .iter()
                .any(|agent| {
                    server
                        .log(&format!("{}.log", agent.to_lowercase()))
                        .contains("key refused")
                })
                .then_some(())
        })
        .await;
    assert_eq!(
        server.get("/api/frames/demo/latest.jpg").await.status(),
        200
    );
    let metrics = server.get("/metrics").await.text().await.unwrap();
    let fatal = metrics
        .lines()
        .filter(|line| line.contains("outcome=\"fatal\""))
        .any(|line| !line.ends_with(" 0"));
    assert!(fatal, "{metrics}");
    assert!(!server.output().contains(KEY) && !metrics.contains(KEY));

    let mut check = command("check", server.folder.path());
    check
        .env("GOOGLE_API_KEY", KEY)
        .env("GOOGLE_GEMINI_BASE_URL", gemini.base_url());
    let output = check.output().await.unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{table}");
    assert!(
        table.contains("key refused") && !table.contains(KEY),
        "{table}"
    );
}
