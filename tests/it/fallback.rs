//! Model chain of an analyst when the first model fails: fall-back, an
//! OpenAI-compatible server, and a budget.

use std::time::{Duration, Instant};

use crate::common::encoder::Encoder;
use crate::common::gemini::{CannedReply, CapturedRequest, FakeGemini};
use crate::common::openai::{FakeOpenAi, MODEL, completion};
use crate::common::serve::{Setup, command};
use serde_json::{Value, json};

const KEY: &str = "sk-fake-key-of-the-tests-0123456789";
const QUOTE: &str = "All systems operational";

/// Two analysts with an interval of a second.
fn agents(model: &str) -> String {
    let agent = |name: &str, focus: &str| {
        format!(
            "[[agent]]\nname = \"{name}\"\npersonality = \"calm\"\nfocus = \"{focus}\"\ninterval = \"1s\"\n"
        )
    };
    format!(
        "{model}\n[panel]\nenabled = false\n{}{}",
        agent("SecOps", "intrusions"),
        agent("DevOps", "outages")
    )
}

fn answer(title: &str) -> String {
    let finding = json!({
        "evidence": QUOTE, "box_2d": [], "category": "anomaly", "title": title,
        "detail": "It says so itself.", "mitre_techniques": [], "severity": "low",
        "confidence": 0.9, "recommended_action": "Ask somebody else."
    });
    json!({"findings": [finding], "earlier": [], "not_sure": []}).to_string()
}

fn with(gemini: &FakeGemini, openai: &FakeOpenAi) -> Setup {
    Setup::new()
        .env("GOOGLE_API_KEY", "AIzaFakeKeyOfTheTests0123456789abcdefgh")
        .env("GOOGLE_GEMINI_BASE_URL", &gemini.base_url())
        .env("OPENAI_BASE_URL", &openai.base_url())
        .env("OPENAI_API_KEY", KEY)
}

/// Requests with pictures that were sent to that model.
fn looks(gemini: &FakeGemini, model: &str) -> usize {
    let path = format!("/{model}:generateContent");
    let asked = |request: &&CapturedRequest| request.path.contains(&path);
    gemini.requests().iter().filter(asked).count()
}

#[tokio::test]
async fn a_server_of_ones_own_thinks_for_an_analyst() {
    let openai = FakeOpenAi::start().await;
    openai.let_in_only(KEY);
    openai.refuse_format("json_schema");
    openai.default_reply(&format!(
        "<think>hm</think>Here it is:\n{}",
        answer("It claims to be well")
    ));
    let model = format!(
        "[model]\nprovider = \"openai\"\nname = \"{MODEL}\"\nbase_url = \"{}\"\n",
        openai.base_url()
    );
    let server = Setup::new()
        .env("OPENAI_API_KEY", KEY)
        .agents(&agents(&model))
        .start()
        .await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    let finding = server
        .until("a finding", async |server| {
            server.findings_of_analysts().into_iter().next()
        })
        .await;
    assert_eq!(finding["model"]["provider"], "openai");
    assert_eq!(finding["model"]["name"], MODEL);
    assert_eq!(finding["evidence"][0]["grounded"], true);
    assert_eq!(openai.faults(), Vec::<String>::new());
    // A response format that the server rejected was tried only once.
    let strict = |chat: &&Value| chat["response_format"]["type"] == "json_schema";
    server
        .until("some more questions", async |_| {
            (openai.chats().len() >= 5).then_some(())
        })
        .await;
    assert!(
        openai.chats().iter().filter(strict).count() <= 2,
        "once for each who asked then"
    );
    for text in [
        server.output(),
        server.log("secops.log"),
        server.log("findings.jsonl"),
    ] {
        assert!(!text.contains(KEY), "the key is told");
    }
    let check = command("check", server.folder.path())
        .env("OPENAI_API_KEY", KEY)
        .output()
        .await;
    let said = String::from_utf8(check.unwrap().stdout).unwrap();
    assert!(
        said.contains(&format!("openai {MODEL}")) && said.contains("the server has"),
        "{said}"
    );
    // A text-only model can't be an analyst.
    for (capabilities, fault) in [
        (json!(["completion"]), true),
        (json!(["completion", "multimodal"]), false),
    ] {
        openai.set_capabilities(capabilities);
        let check = command("check", server.folder.path())
            .env("OPENAI_API_KEY", KEY)
            .output()
            .await;
        let check = check.unwrap();
        let said = String::from_utf8(check.stdout).unwrap();
        assert_eq!(said.contains("does not accept images"), fault, "{said}");
        assert_eq!(said.contains("ERROR  the server has"), fault, "{said}");
    }
}

#[tokio::test]
async fn invalid_answers_are_bounded_and_reported() {
    let openai = FakeOpenAi::start().await;
    let bad = [
        (200, completion("", "stop")),
        (200, completion("", "stop")),
        (200, completion("{\"findings\": [", "length")),
        (200, completion("{\"findings\": [", "length")),
        (200, completion(&"[".repeat(100_000), "stop")),
        (200, completion(&"x".repeat(10 << 20), "stop")),
        (200, completion("Keine Auffälligkeiten.", "stop")),
        (200, completion("{\"findings\": 7}", "stop")),
        (
            200,
            completion(
                "{\"findings\": [{\"title\": \"t\", \"confidence\": NaN}]}",
                "stop",
            ),
        ),
        (200, "<html>captive portal</html>".to_owned()),
        (200, "{}".to_owned()),
        (200, completion("", "content_filter")),
        (302, String::new()),
        (500, "{\"error\":\"overloaded\"}".to_owned()),
    ];
    let questions = bad.len();
    openai.script(bad);
    openai.default_reply(&answer("It claims to be well"));
    let model = format!(
        "[model]\nprovider = \"openai\"\nname = \"{MODEL}\"\nopenai_base_url = \"{}/v1\"\nconcurrency = 1\n",
        openai.base_url()
    );
    // Several models in turn: each response is attributed to its model, and a
    // resend goes to the same one.
    let names: Vec<_> = (1..=8).map(|number| format!("eye{number}")).collect();
    let eyes = names.iter().map(|name| {
        format!(
            "[[agent]]\nname = \"{name}\"\npersonality = \"p\"\nfocus = \"f\"\ninterval = \"1s\"\n"
        )
    });
    let eyes = format!("{model}{}", eyes.collect::<String>());
    let server = Setup::new().agents(&eyes).start().await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    server
        .until("findings after all", async |server| {
            (server.findings_of_analysts().len() >= names.len()).then_some(())
        })
        .await;
    assert!(openai.chats().len() > questions);
    let logs = names.iter().map(|name| server.log(&format!("{name}.log")));
    let log: String = logs.collect();
    for said in [
        "the model returned an empty response",
        "ran out of tokens",
        "the answer is not JSON",
        "larger than 1048576 bytes",
        "does not match the schema",
        "not a response of this API",
        "holds no choice",
        "content filter",
        "redirected (302)",
        "server error (500), message: \"overloaded\"",
        "analysis resumed",
    ] {
        assert!(log.contains(said), "{said} is not in\n{log}");
    }
    assert!(server.memory() < 700_000, "{} kB", server.memory());
    assert_eq!(openai.faults(), Vec::<String>::new());
}

#[tokio::test]
async fn when_a_quota_is_used_up_the_next_one_answers() {
    let (gemini, openai) = (FakeGemini::start().await, FakeOpenAi::start().await);
    let per_day = json!({"error": {
        "code": 429, "status": "RESOURCE_EXHAUSTED", "message": "You exceeded your current quota.",
        "details": [{
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]
        }]
    }});
    let used_up = CannedReply::json(429, &per_day);
    gemini.script("gemini-3.8-flash:", std::iter::repeat_n(used_up, 100));
    let gone = CannedReply::fixture("resp-err-404").remove(0);
    gemini.script("gemini-3.5-flash-lite:", std::iter::repeat_n(gone, 100));
    openai.default_reply(&answer("It claims to be well"));
    let model = format!(
        "[model]\nname = \"gemini-3.8-flash\"\nfallback = [\"gemini:gemini-3.5-flash-lite\", \"openai:{MODEL}\", \"offline\"]\n"
    );
    let server = with(&gemini, &openai).agents(&agents(&model)).start().await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    let of = |provider: &'static str| {
        async move |server: &crate::common::serve::TestServer| {
            let findings = server.findings().into_iter();
            let mut findings = findings.filter(|one| one["agent"] == "SecOps");
            findings.find(|one| one["model"]["provider"] == provider)
        }
    };
    server.until("a finding by the third", of("openai")).await;
    server
        .until("the agents' states", async |server| {
            let page = server.json("/api/agents").await;
            let state = page["items"][0]["state"].as_str()?.to_owned();
            state.contains(&format!("by {MODEL}")).then_some(())
        })
        .await;
    // Logged once, with the reason.
    let log = server.log("secops.log");
    let told = log.matches(&format!("switched to {MODEL}:")).count();
    assert_eq!(told, 1, "{log}");
    assert!(log.contains("daily quota exhausted"), "{log}");
    // Requests already in flight, and none after them.
    assert!(looks(&gemini, "gemini-3.8-flash") <= 2);
    assert!(looks(&gemini, "gemini-3.5-flash-lite") <= 2);

    // When that model fails too, rules apply.
    openai.script(std::iter::repeat_n(
        (503, "{\"error\":\"loading\"}".to_owned()),
        1000,
    ));
    server.until("a finding by rules", of("offline")).await;
    let log = server.log("secops.log");
    assert!(log.contains("switched to offline rules:"), "{log}");
    assert_eq!(gemini.faults(), Vec::<String>::new());
    assert_eq!(openai.faults(), Vec::<String>::new());
}

#[tokio::test]
async fn a_budget_is_enforced_reported_and_survives_a_restart() {
    const LIMIT: usize = 6;
    let (gemini, openai) = (FakeGemini::start().await, FakeOpenAi::start().await);
    let model = format!(
        "[model]\nname = \"gemini-3.8-flash\"\nfallback = [\"offline\"]\n[budget]\nrequests_per_day = {LIMIT}\nusd_per_hour = 5\n"
    );
    let mut server = with(&gemini, &openai).agents(&agents(&model)).start().await;
    let publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    let standing = server
        .until("the last step", async |server| {
            let standing = server.json("/api/budget").await;
            (standing["step"] == 5).then_some(standing)
        })
        .await;
    assert_eq!(standing["steps"][5], "offline_only");
    assert_eq!(standing["limits"]["requests_per_day"], LIMIT);
    assert_eq!(standing["limits"]["micro_usd_per_hour"], 5_000_000);
    let spent = &standing["spent"]["day"];
    assert_eq!(spent["requests"], LIMIT);
    // Usage of the fake server's responses: 1,391 input tokens, 88 output.
    assert_eq!(spent["tokens"], LIMIT * (1391 + 88));
    assert!(spent["micro_usd"].as_u64() > Some(0));
    server
        .until("the steps in the log", async |server| {
            let log = server.log("watchtower.log");
            log.contains("offline rules only").then_some(())
        })
        .await;
    assert!(server.log("watchtower.log").contains("budget: "));
    let page = server.get("/metrics").await.text().await.unwrap();
    assert!(page.contains("watchtower_budget_step 5"), "{page}");
    let series =
        format!("watchtower_model_requests_total{{model=\"gemini:gemini-3.8-flash\"}} {LIMIT}");
    assert!(page.contains(&series), "{page}");
    // The rules continue.
    server
        .until("the state of an agent", async |server| {
            let page = server.json("/api/agents").await;
            let state = page["items"][0]["state"].as_str()?.to_owned();
            state.contains("by offline rules").then_some(())
        })
        .await;
    assert_eq!(looks(&gemini, "gemini-3.8-flash"), LIMIT);

    drop(publisher);
    server.signal("-KILL");
    server.wait().await;
    let mut setup = Setup::of(command("serve", server.folder.path()))
        .env("GOOGLE_API_KEY", "AIzaFakeKeyOfTheTests0123456789abcdefgh")
        .env("GOOGLE_GEMINI_BASE_URL", &gemini.base_url());
    setup.folder = server.folder;
    let server = setup.start().await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    let rules = async |server: &crate::common::serve::TestServer| {
        let page = server.json("/api/agents").await;
        let state = page["items"][0]["state"].as_str()?.to_owned();
        state.contains("by offline rules").then_some(())
    };
    server.until("rules again", rules).await;
    assert_eq!(server.json("/api/budget").await["step"], 5);
    assert_eq!(
        looks(&gemini, "gemini-3.8-flash"),
        LIMIT,
        "a restart is no new day"
    );
}

#[tokio::test]
async fn a_model_that_takes_a_minute_costs_no_memory_and_no_picture() {
    const LOOKS: Duration = Duration::from_secs(12);
    let gemini = FakeGemini::start().await;
    gemini.otherwise(CannedReply::nothing().slow(Duration::from_secs(55)));
    let server = with(&gemini, &FakeOpenAi::start().await)
        .agents(&agents("[model]\nname = \"gemini-3.8-flash\"\n"))
        .start()
        .await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    let asked = async |_: &crate::common::serve::TestServer| {
        (looks(&gemini, "gemini-3.8-flash") == 2).then_some(())
    };
    server.until("two questions in flight", asked).await;
    let before = server.memory();
    tokio::time::sleep(LOOKS).await;
    // A picture of this size is 3 MB; a dozen seconds hold hundreds. OCR of one
    // takes as much too, but frees it.
    let mut grown = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let more = server.memory().saturating_sub(before);
        grown.push(more);
        if more < 150_000 {
            break;
        }
        assert!(Instant::now() < deadline, "grew by {grown:?} kB");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(looks(&gemini, "gemini-3.8-flash"), 2, "two lanes");
    let page = server.get("/metrics").await.text().await.unwrap();
    assert!(
        page.contains("watchtower_dropped_total{where=\"decoder\"} 0"),
        "{page}"
    );
    let streams = server.json("/api/streams").await;
    assert_eq!(streams["items"][0]["state"], "live");
}

#[tokio::test]
async fn a_budget_in_money_needs_a_price() {
    let openai = FakeOpenAi::start().await;
    let model = format!(
        "[model]\nprovider = \"openai\"\nname = \"{MODEL}\"\nbase_url = \"{}\"\n[budget]\nusd_per_day = 1\n",
        openai.base_url()
    );
    let (status, said) = Setup::new().agents(&agents(&model)).fail().await;
    assert!(!status.success());
    assert!(said.contains(MODEL) && said.contains("prices"), "{said}");
}

#[tokio::test]
async fn the_thinking_level_is_sent_and_a_missing_price_is_logged_once() {
    let openai = FakeOpenAi::start().await;
    let model = format!(
        "[model]\nprovider = \"openai\"\nname = \"{MODEL}\"\nbase_url = \"{}\"\nthinking = \"minimal\"\n",
        openai.base_url()
    );
    // The last one has a thinking level of its own.
    let agents = agents(&model) + "thinking = \"high\"\n";
    let server = Setup::new().agents(&agents).start().await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    // Both requests are equal except for the persona.
    let effort = |focus: &str| {
        let about = |chat: &&Value| chat["messages"].to_string().contains(focus);
        let chats = openai.chats();
        let mut efforts: Vec<_> = chats
            .iter()
            .filter(about)
            .map(|chat| chat["reasoning_effort"].clone())
            .collect();
        efforts.dedup();
        efforts
    };
    server
        .until("a question of each", async |_| {
            (!effort("intrusions").is_empty() && !effort("outages").is_empty()).then_some(())
        })
        .await;
    assert_eq!(effort("intrusions"), ["minimal"]);
    assert_eq!(effort("outages"), ["high"]);
    let told = server.output();
    assert_eq!(told.matches("model price unknown").count(), 1, "{told}");
    assert!(told.contains("prices"), "{told}");
}
