//! Panel discussion with a fake Gemini: independent opinions first, then one
//! exchange, then a verdict.

use crate::common::encoder::Encoder;
use crate::common::gemini::{CannedReply, FakeGemini};
use crate::common::serve::Setup;
use serde_json::{Value, json};

const PEERS: [&str; 4] = ["DevOps", "CloudSec", "AISec", "Architect"];
const TITLE: &str = "The platform claims to be well";
const QUOTE: &str = "All systems operational";

fn finding(title: &str, quote: &str, severity: &str) -> Value {
    json!({
        "evidence": quote, "box_2d": [], "category": "anomaly", "title": title,
        "detail": "It says so itself.", "mitre_techniques": [], "severity": severity,
        "confidence": 0.9, "recommended_action": "Ask somebody else."
    })
}

fn setup(gemini: &FakeGemini) -> Setup {
    Setup::new()
        .env("GOOGLE_API_KEY", "AIzaFakeKeyOfTheTests0123456789abcdefgh")
        .env("GOOGLE_GEMINI_BASE_URL", &gemini.base_url())
}

#[tokio::test]
async fn independent_opinions_first_then_one_exchange_and_a_verdict_with_dissent() {
    let gemini = FakeGemini::start().await;
    // Repeated reports: the discussion is to happen once.
    let reported = CannedReply::findings(&json!([finding(TITLE, QUOTE, "high")]));
    gemini.script("SecOps", std::iter::repeat_n(reported, 50));
    let view = CannedReply::view;
    gemini.script_case(
        "You are DevOps",
        [view("dispute", "low", "A banner.", QUOTE)],
    );
    let invented = "rm -rf / was run by mallory on web-77";
    let confirms = view("confirm", "high", "Somebody ran it.", invented);
    gemini.script_case("You are CloudSec", [confirms]);
    gemini.script_case(
        "You are AISec",
        [view("add", "medium", "\u{1b}[31mRed.", "")],
    );
    gemini.script_case(
        "You are the evidence reviewer",
        [view("confirm", "medium", "It stands, weakly.", "")],
    );
    let server = setup(&gemini).start().await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));

    let incident = server
        .until("a verdict", async |server| {
            let page = server.json("/api/incidents").await;
            let settled = |incident: &&Value| !incident["verdict"].is_null();
            page["items"].as_array()?.iter().find(settled).cloned()
        })
        .await;

    // Incident from the API.
    let opinions = incident["opinions"].as_array().unwrap();
    let of = |agent: &str| opinions.iter().find(|one| one["agent"] == agent).unwrap();
    assert_eq!(opinions.len(), 4, "{opinions:?}");
    assert!(opinions.iter().all(|one| one["to"] == "SecOps"));
    assert_eq!(of("DevOps")["stance"], "dispute");
    assert_eq!(of("DevOps")["evidence"][0]["grounded"], true);
    assert!(of("DevOps")["evidence"][0]["box"].is_array());
    // An invented quote is marked and capped here too.
    assert_eq!(of("CloudSec")["evidence"][0]["grounded"], false);
    assert_eq!(of("CloudSec")["severity"], "medium");
    assert_eq!(of("AISec")["stance"], "add");
    assert_eq!(of("Architect")["stance"], "no_view");
    assert_eq!(of("Architect")["severity"], Value::Null);
    let verdict = &incident["verdict"];
    assert_eq!(verdict["severity"], "medium");
    assert_eq!(verdict["dissent"], json!(["DevOps"]));
    assert_eq!(verdict["by"], "Evidence reviewer");
    assert_eq!(incident["severity"], "high", "a verdict takes nothing back");

    // Requests to the model.
    assert_eq!(gemini.faults(), Vec::<String>::new());
    let (cases, looks): (Vec<_>, Vec<_>) = gemini
        .requests()
        .into_iter()
        .partition(crate::common::gemini::CapturedRequest::is_case);
    assert!(looks.len() >= 5);
    for look in &looks {
        let (system, text) = (look.system(), look.text());
        assert!(
            !system.contains(TITLE) && !text.contains(TITLE) || system.contains("You are SecOps")
        );
        assert!(!text.contains("A banner."), "{text}");
    }
    assert_eq!(cases.len(), 5, "each is asked once");
    for case in &cases {
        let text = case.text();
        assert!(text.contains(TITLE) && text.contains(QUOTE), "{text}");
        assert!(!case.jpegs().is_empty());
        let is_verdict = case.system().contains("evidence reviewer");
        // Opinions are requested without the others; the reviewer gets all.
        assert_eq!(text.contains("A banner."), is_verdict, "{text}");
        assert!(!text.contains('\u{1b}'));
        let named = |name: &&&str| case.system().contains(**name);
        assert_eq!(PEERS.iter().filter(named).count(), usize::from(!is_verdict));
    }

    // Log of both analysts.
    let line = "DevOps -> SecOps: disputes, low (0.80): A banner.";
    for log in ["devops.log", "secops.log"] {
        assert!(server.log(log).contains(line), "{}", server.log(log));
    }
    let marked = format!("> {invented}  [not found on screen]");
    assert!(server.log("secops.log").contains(&marked));
    let settled = "Evidence reviewer: medium (0.80): It stands, weakly.; dissent: DevOps";
    assert!(server.log("secops.log").contains(settled));
    // Who had none is counted.
    let silent = "--        1 analyst had nothing to add\n    incident ";
    assert!(server.log("secops.log").contains(silent));
    for log in ["architect.log", "secops.log"] {
        assert!(!server.log(log).contains("Architect -> "), "{log}");
    }
    assert!(!server.log("aisec.log").contains('\u{1b}'));
    let metrics = server.get("/metrics").await.text().await.unwrap();
    assert!(
        metrics.contains(r#"watchtower_panels_total{end="settled"} 1"#),
        "{metrics}"
    );

    // It is kept, and not repeated, after a restart.
    let id = incident["id"].as_str().unwrap().to_owned();
    let mut server = server;
    server.signal("-TERM");
    assert!(server.wait().await.success());
    drop(_publisher);
    let server = server.again().await;
    let kept = server.json(&format!("/api/incidents/{id}")).await;
    assert_eq!(kept["opinions"], incident["opinions"]);
    assert_eq!(kept["verdict"], incident["verdict"]);
}

#[tokio::test]
async fn panels_per_hour_are_limited_and_a_failure_is_reported() {
    let gemini = FakeGemini::start().await;
    let first = finding(TITLE, QUOTE, "high");
    let second = finding("Payments", "payments", "critical");
    let low = finding("Only low", "ledger", "low");
    gemini.script(
        "SecOps",
        [CannedReply::findings(&json!([low, first, second]))],
    );
    let refused = json!({"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}});
    gemini.script_case("You are DevOps", [CannedReply::json(400, &refused)]);
    gemini.script_case("You are CloudSec", [CannedReply::text("nonsense")]);
    let confirms = CannedReply::view("confirm", "high", "So it is.", "");
    gemini.script_case("You are AISec", [confirms]);
    gemini.script_case(
        "You are the evidence reviewer",
        [CannedReply::text("{\"stance\": \"confirm\"}")],
    );
    let agents = include_str!("../../agents.toml");
    let agents = agents
        .replace("per_hour = 12", "per_hour = 1")
        .replace("opinions = 4", "opinions = 3");
    let server = setup(&gemini).agents(&agents).start().await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    server
        .until("the discussion limit", async |server| {
            let log = server.log("watchtower.log");
            (log.contains("discussion limit reached: 1/h") && log.contains("no verdict"))
                .then_some(())
        })
        .await;
    let page = server.json("/api/incidents").await;
    let with = |incident: &&Value| incident["opinions"] != json!([]);
    let put: Vec<_> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(with)
        .collect();
    assert_eq!(put.len(), 1, "{page}");
    let opinions: Vec<_> = put[0]["opinions"].as_array().unwrap().iter().collect();
    assert_eq!(opinions.len(), 3, "no more are asked than may be");
    for failed in opinions.iter().filter(|one| one["agent"] != "AISec") {
        assert_eq!(failed["stance"], "no_view");
        let text = failed["text"].as_str().unwrap();
        assert!(text.starts_with("No response: "), "{text}");
    }
    assert_eq!(put[0]["verdict"], Value::Null);
    let metrics = server.get("/metrics").await.text().await.unwrap();
    for end in ["unsettled", "over_hour"] {
        let line = format!(r#"watchtower_panels_total{{end="{end}"}} 1"#);
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[tokio::test]
async fn an_analyst_remembers_its_own_findings_only() {
    let gemini = FakeGemini::start().await;
    let reported = json!({
        "findings": [finding(TITLE, QUOTE, "low")],
        "not_sure": ["whether the queue drains", "\u{1b}[2J"],
    });
    let ended = json!({
        "findings": [],
        "earlier": [{"number": 1, "now": "ended"}, {"number": 77, "now": "ended"}, 5],
    });
    let still = json!({"findings": [], "earlier": [{"number": 1, "now": "still"}]});
    let answers = [reported, still, ended].map(|answer| CannedReply::text(&answer.to_string()));
    gemini.script("You are SecOps", answers);
    // Four frames, each after an OCR run, need more than the half core shipped.
    let server = setup(&gemini)
        .settings("[ocr]\ncpu_budget = 1.0\n")
        .start()
        .await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    server
        .until("SecOps' fourth question", async |_| {
            let own = |request: &crate::common::gemini::CapturedRequest| {
                request.system().contains("You are SecOps")
            };
            (gemini
                .requests()
                .iter()
                .filter(|request| own(request))
                .count()
                >= 4)
                .then_some(())
        })
        .await;
    let (own, others): (Vec<_>, Vec<_>) = (gemini.requests().into_iter())
        .partition(|request| request.system().contains("You are SecOps"));
    let texts: Vec<_> = own
        .iter()
        .map(crate::common::gemini::CapturedRequest::text)
        .collect();
    assert!(!texts[0].contains(TITLE), "{}", texts[0]);
    let line = "| 1. low, since ".to_owned();
    assert!(
        texts[1].contains(&line) && texts[1].contains(TITLE),
        "{}",
        texts[1]
    );
    assert!(
        texts[1].contains("| whether the queue drains"),
        "{}",
        texts[1]
    );
    assert!(!texts[1].contains('\u{1b}'));
    // Still valid, and confirmed.
    assert!(
        texts[2].contains(TITLE) && !texts[2].contains("queue drains"),
        "{}",
        texts[2]
    );
    assert!(!texts[3].contains(TITLE), "{}", texts[3]);
    for other in others {
        assert!(!other.text().contains(TITLE) && !other.text().contains("queue drains"));
    }
    // Ended findings are logged; unconfirmed observations are not findings.
    let log = server.log("secops.log");
    assert!(log.contains(&format!("ended: {TITLE} (incident ")), "{log}");
    let findings = server.findings();
    let own = findings
        .iter()
        .filter(|finding| finding["agent"] == "SecOps");
    assert_eq!(own.count(), 1, "{findings:#?}");
    assert_eq!(gemini.faults(), Vec::<String>::new());
}
