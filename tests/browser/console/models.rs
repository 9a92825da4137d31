//! Transcripts and costs of a model, and questions to it.

use serde_json::{Value, json};

use crate::common::encoder::Encoder;
use crate::common::gemini::{CannedReply, FakeGemini};
use crate::common::serve::Setup;
use crate::console::fixture::{opened, submit};

const QUOTE: &str = "All systems operational";

fn looks() -> CannedReply {
    CannedReply::findings(&json!([{
        "evidence": QUOTE, "box_2d": [], "category": "anomaly",
        "title": "The platform claims to be well", "detail": "It says so itself.",
        "mitre_techniques": [], "severity": "high", "confidence": 0.9,
        "recommended_action": "Ask somebody else."
    }]))
}

fn reply(known: bool, citations: &[u64], answer: &str) -> CannedReply {
    let answer_json = json!({"citations": citations, "known": known, "answer": answer});
    CannedReply::text(&answer_json.to_string())
}

#[tokio::test]
async fn an_incident_shows_what_was_sent_and_answered_and_questions_are_answered() {
    let gemini = FakeGemini::start().await;
    gemini.script("SecOps", std::iter::repeat_n(looks(), 50));
    gemini.script_case(
        "You are DevOps",
        [CannedReply::view("dispute", "low", "A banner.", QUOTE)],
    );
    gemini.script(
        "You answer a question",
        [
            reply(true, &[1, 99], "It <b>claimed</b> to be well."),
            reply(false, &[], "no"),
            reply(true, &[], "It was hacked by mallory."),
            CannedReply::raw(500, "text/plain", "no"),
        ],
    );
    let server = Setup::new()
        .env("GOOGLE_API_KEY", "AIzaFakeKeyOfTheTests0123456789abcdefgh")
        .env("GOOGLE_GEMINI_BASE_URL", &gemini.base_url())
        .start()
        .await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    let incident = server
        .until("an exchange", async |server| {
            let page = server.json("/api/incidents").await;
            let items = page["items"].as_array()?.clone();
            let settled = |one: &Value| !one["verdict"].is_null();
            items.into_iter().find(settled)
        })
        .await;
    let id = incident["id"].as_str().unwrap();

    // In the API.
    let kept = server
        .json(&format!("/api/incidents/{id}/transcripts"))
        .await;
    let kept = kept["items"].as_array().unwrap();
    let of = |purpose: &str| {
        let found = kept.iter().find(|one| one["purpose"] == purpose);
        found.unwrap_or_else(|| panic!("no {purpose} among {kept:#?}"))
    };
    let look = of("look");
    assert_eq!(look["agent"], "SecOps");
    let sum = look["instructions_sha256"].as_str().unwrap();
    assert_eq!(sum.len(), 64);
    let personality = "You are SecOps";
    assert!(!kept.iter().any(|one| one.to_string().contains(personality)));
    assert!(look["question"].as_str().unwrap().contains(QUOTE));
    assert!(
        look["answer"]
            .as_str()
            .unwrap()
            .contains("claims to be well")
    );
    assert_eq!(look["pictures"][0]["box"], Value::Null);
    assert_eq!(
        (
            look["pictures"][0]["width"].as_u64(),
            look["pictures"][0]["height"].as_u64()
        ),
        (Some(1920), Some(1080))
    );
    assert_eq!(look["cost"]["prompt_tokens"], 1391);
    assert!(look["cost"]["micro_usd"].as_u64().unwrap() > 0);
    let sent = gemini.requests();
    let is_complete = |one: &Value| {
        sent.iter()
            .any(|request| request.text() == one["question"].as_str().unwrap())
    };
    assert!(is_complete(look), "as it was sent");
    assert_eq!(
        of("opinion")["agent"].as_str().map(|name| name != "SecOps"),
        Some(true)
    );
    assert_eq!(of("verdict")["agent"], "Evidence reviewer");
    let shown = server.json(&format!("/api/incidents/{id}")).await;
    let sum: u64 = kept
        .iter()
        .map(|one| one["cost"]["micro_usd"].as_u64().unwrap())
        .sum();
    assert!(shown["cost"]["micro_usd"].as_u64().unwrap() >= sum);

    // On the page.
    let browser = opened(&server, &format!("/?view=incidents&incident={id}")).await;
    browser
        .until_true(
            10,
            "document.querySelector('#incident .transcripts') !== null",
        )
        .await;
    browser
        .run("document.querySelector('#incident .transcripts').open = true")
        .await;
    let is_complete = "['SecOps · gemini', 'All systems operational', '· scan ·', 'USD', 'Evidence reviewer'].every((said) => document.querySelector('#incident .transcripts').textContent.includes(said))";
    browser.until_true(10, is_complete).await;

    // The panel discussion, as a conversation.
    browser.open(&server.http_url("/?view=panel")).await;
    let discussion = "['DevOps → SecOps disputes', 'A banner.', 'Evidence reviewer'].every((said) => document.querySelector('#exchanges').textContent.includes(said))";
    browser.until_true(10, discussion).await;

    // Questions.
    browser.open(&server.http_url("/?view=search")).await;
    let shows = async |wanted: &str| {
        let there = format!(
            "document.querySelector('#answer').textContent.includes({})",
            crate::console::fixture::js(wanted)
        );
        browser.until_true(20, &there).await;
    };
    submit(&browser, "question", "When were the systems operational?").await;
    shows("It <b>claimed</b> to be well.").await;
    shows("Answered by gemini").await;
    let cited = "document.querySelectorAll('#answer li').length";
    assert_eq!(
        browser.run(cited).await,
        1,
        "what is not in the record is not cited"
    );
    submit(&browser, "question", "Who made the systems operational?").await;
    shows("No answer in the matching").await;
    // Answers without a source are not shown; nor are missing ones.
    submit(&browser, "question", "Which systems are operational?").await;
    shows("cited no source").await;
    shows("First at").await;
    let shown = browser
        .run("document.querySelector('#answer').textContent")
        .await;
    assert!(!shown.as_str().unwrap().contains("mallory"), "{shown}");
    submit(&browser, "question", "Are all systems operational?").await;
    shows("Model not responding").await;
    // Without search results no model is asked.
    let before = gemini.requests().len();
    submit(&browser, "question", "Which zeppelin has landed?").await;
    shows("No data").await;
    let requests = gemini.requests().split_off(before);
    assert!(
        !requests
            .iter()
            .any(|request| request.system().starts_with("You answer a question"))
    );
    let question = gemini
        .requests()
        .into_iter()
        .find(|request| request.system().starts_with("You answer a question"));
    let question = question.unwrap();
    assert!(question.jpegs().is_empty() && question.text().contains("never instructions"));
    assert_eq!(gemini.faults(), Vec::<String>::new());
    browser.close().await;
}
