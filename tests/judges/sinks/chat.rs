//! Webhooks: the fake receiver enforces the limits documented by Slack, Teams,
//! Discord, Mattermost and PagerDuty.

use std::sync::{Arc, Mutex};

use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use watchtower::domain::finding::Severity;

use crate::sinks::fake::{CannedResponse, CapturedDelivery, Fake, reply, throttled};
use crate::sinks::harness::{SECRET, SinkHarness, brute_force};

fn is_signed(request: &CapturedDelivery) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(request.header("x-watchtower-timestamp").as_bytes());
    mac.update(b".");
    mac.update(&request.body);
    let hex: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    request.header("x-watchtower-signature") == format!("sha256={hex}")
}

fn bad(why: &str) -> CannedResponse {
    reply(400, json!({ "error": why }))
}

/// Block Kit: at most 50 blocks; a section's text 3,000 characters; no markup
/// from the screen's text.
fn slack(request: &CapturedDelivery) -> CannedResponse {
    let body = request.json();
    let blocks = body["blocks"].as_array().unwrap();
    let fits = blocks.iter().all(|block| {
        let text = block["text"]["text"].as_str().unwrap_or("x");
        (1..=3000).contains(&text.encode_utf16().count())
            && ["section", "context", "header", "divider"]
                .contains(&block["type"].as_str().unwrap())
    });
    let text = body.to_string();
    match fits && blocks.len() <= 50 && body["text"].is_string() && is_signed(request) {
        false => bad("invalid_blocks"),
        true if text.contains("<!channel>") || text.contains("<http") => bad("power"),
        true => (200, vec![], b"ok".to_vec()),
    }
}

fn teams(request: &CapturedDelivery) -> CannedResponse {
    let body = request.json();
    let card = &body["attachments"][0];
    let sound = body["type"] == "message"
        && card["contentType"] == "application/vnd.microsoft.card.adaptive"
        && card["content"]["type"] == "AdaptiveCard"
        && card["content"]["body"]
            .as_array()
            .is_some_and(|body| !body.is_empty())
        && request.body.len() <= 28 << 10
        && !body.to_string().contains("[x](");
    if sound {
        reply(202, json!({}))
    } else {
        bad("card")
    }
}

fn discord(request: &CapturedDelivery) -> CannedResponse {
    let body = request.json();
    let embed = &body["embeds"][0];
    let short = |value: &Value, most: usize| {
        value.as_str().is_some_and(|text| {
            let count = text.encode_utf16().count();
            !text.trim().is_empty() && count <= most
        })
    };
    fn length(value: &Value) -> usize {
        match value {
            Value::String(text) => text.encode_utf16().count(),
            Value::Array(items) => items.iter().map(length).sum(),
            Value::Object(parts) => parts.values().map(length).sum(),
            _ => 0,
        }
    }
    // A digest has only a title.
    let fields = embed["fields"].as_array().map_or(&[][..], Vec::as_slice);
    let sound = short(&embed["title"], 256)
        && (embed["description"].is_null() || short(&embed["description"], 4096))
        && fields.len() <= 25
        && fields
            .iter()
            .all(|field| short(&field["name"], 256) && short(&field["value"], 1024))
        && body["allowed_mentions"]["parse"] == json!([])
        && length(embed) <= 6000
        && embed["color"].is_u64();
    if sound {
        (204, vec![], vec![])
    } else {
        bad("embed")
    }
}

fn mattermost(request: &CapturedDelivery) -> CannedResponse {
    let attachment = &request.json()["attachments"][0];
    let text = attachment["text"]
        .as_str()
        .or(attachment["title"].as_str())
        .unwrap();
    let sound =
        text.chars().count() <= 16_383 && !text.contains("@everyone") && !text.contains("[x](");
    if sound {
        (200, vec![], b"ok".to_vec())
    } else {
        bad("attachment")
    }
}

type ChatJudge = fn(&CapturedDelivery) -> CannedResponse;
const JUDGES: [(&str, ChatJudge); 4] = [
    ("slack", slack),
    ("teams", teams),
    ("discord", discord),
    ("mattermost", mattermost),
];

#[tokio::test]
async fn what_grows_when_it_is_escaped_fits_and_what_is_blank_is_left_out() {
    for (preset, judge) in JUDGES {
        let chat = Fake::start(judge).await;
        let harness = SinkHarness::with(&format!(
            "[sinks.chat]\nkind = 'webhook'\npreset = '{preset}'\naddress = '{}'",
            chat.url()
        ))
        .await;
        // Escaped, these are many times as long; and invisible characters.
        let mut stretched = brute_force("SecOps", Severity::Critical);
        stretched.stream = watchtower::base::stream_name::StreamName::new("stretched").unwrap();
        stretched.title = "😀<_".repeat(60);
        stretched.detail = "<".repeat(1000);
        stretched.evidence[0].quote = "<😀".repeat(800);
        stretched.recommended_action = "&".repeat(900);
        harness.finding(stretched).await;
        let mut blank = brute_force("SecOps", Severity::Critical);
        blank.stream = watchtower::base::stream_name::StreamName::new("blank").unwrap();
        blank.evidence[0].quote = " \u{200b}\n\u{202e} ".to_owned();
        blank.recommended_action = "\n \t".to_owned();
        harness.finding(blank).await;
        harness.caught_up("chat").await;
        let sink = harness.sink("chat");
        assert_eq!((sink.delivered, sink.failed), (2, 0), "{preset}");
        let messages = chat.seen(CapturedDelivery::text);
        // Truncated where necessary, without splitting an escape sequence.
        assert!(
            messages[0].contains('…') && !messages[0].contains("&l…"),
            "{preset}"
        );
        for label in ["\"Evidence\"", "Recommended action", "\"> "] {
            assert!(
                !messages[1].contains(label),
                "{preset}: {label} {}",
                messages[1]
            );
        }
    }
}

#[tokio::test]
async fn each_chat_accepts_the_text_of_a_hostile_screen() {
    for (preset, judge) in JUDGES {
        let chat = Fake::start(judge).await;
        // Teams returns 200 with a 429 in the body; the others return 429.
        chat.faults([match preset {
            "teams" => (
                200,
                vec![],
                b"Microsoft Teams endpoint returned HTTP error 429".to_vec(),
            ),
            _ => throttled(429),
        }]);
        let harness = SinkHarness::with(&format!(
            "[sinks.chat]\nkind = 'webhook'\npreset = '{preset}'\naddress = '{}/services/h1dden'\nrate = '3/1s'",
            chat.url()
        ))
        .await;
        harness.incident_lifecycle().await;
        let mut long = brute_force("SecOps", Severity::Critical);
        long.stream = watchtower::base::stream_name::StreamName::new("other").unwrap();
        long.title = "_*`|[]()@".repeat(100);
        long.detail = "_*`<|[]()@\n".repeat(2000);
        long.evidence[0].quote = "_*`<|[]()@ ".repeat(200);
        long.agent = "A".repeat(32);
        harness.finding(long).await;
        harness.caught_up("chat").await;
        harness
            .until("the digest", |_| chat.seen(|_| ()).len() >= 5)
            .await;
        let sink = harness.sink("chat");
        let dead = harness.bus.dead("chat", None, 3).await.unwrap().items;
        assert_eq!(
            sink.dead,
            0,
            "{preset}: {dead:#?} {}",
            chat.seen(CapturedDelivery::text).join("\n")
        );
        assert!(sink.failed >= 1, "{preset}");
        assert!(
            !crate::common::log::text().contains("h1dden"),
            "the address is in the log"
        );
    }
}

#[tokio::test]
async fn a_template_of_ones_own_is_signed_and_a_typo_is_refused() {
    let hook = Fake::start(|request| {
        assert!(is_signed(request) && request.header("x-watchtower-id").len() == 36);
        reply(200, json!({}))
    })
    .await;
    let sink = |template: &str| {
        format!(
            "[sinks.hook]\nkind = 'webhook'\naddress = '{}'\ntemplate = '''{template}'''",
            hook.url()
        )
    };
    let harness = SinkHarness::with(&sink(
        "{\"text\": {{ title | tojson }}, \"ip\": {{ event.observables[0].value | tojson }}}",
    ))
    .await;
    harness.finding(brute_force("SecOps", Severity::High)).await;
    harness.caught_up("hook").await;
    let messages = hook.seen(CapturedDelivery::json);
    assert_eq!(messages.len(), 1);
    assert!(
        messages[0]["text"]
            .as_str()
            .unwrap()
            .ends_with("= bad \\ end")
    );

    let settings = crate::sinks::harness::settings(&sink("line one\n{{ titel }}"));
    let opened =
        watchtower::sinks::Sinks::open(&settings, &harness.bus, &harness.board, &harness.metrics);
    let error = opened.await.unwrap_err().to_string();
    assert_eq!(
        error,
        "sinks.hook: template, line 2, column 4: undefined value: `titel` is undefined"
    );
}

/// Events API v2, with its documented limits.
pub(crate) fn pagerduty(
    request: &CapturedDelivery,
    alerts: &Mutex<Vec<(String, String, String)>>,
) -> CannedResponse {
    let event = request.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let action = text(&event["event_action"]);
    let payload = &event["payload"];
    let severity = text(&payload["severity"]);
    let summary = text(&payload["summary"]);
    let sound = match action.as_str() {
        "trigger" => {
            ["critical", "error", "warning", "info"].contains(&severity.as_str())
                && (1..=1024).contains(&summary.chars().count())
                && payload["source"].is_string()
        }
        "acknowledge" | "resolve" => payload.is_null(),
        _ => false,
    };
    let key = text(&event["dedup_key"]);
    if !sound
        || key.is_empty()
        || key.len() > 255
        || request.body.len() > 512 << 10
        || request.path != "/v2/enqueue"
    {
        return reply(
            400,
            json!({ "status": "invalid event", "errors": [action] }),
        );
    }
    alerts.lock().unwrap().push((action, severity, key.clone()));
    reply(202, json!({ "status": "success", "dedup_key": key }))
}

#[tokio::test]
async fn pagerduty_follows_an_incident_by_its_key() {
    let alerts = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&alerts);
    let pager = Fake::start(move |request| pagerduty(request, &theirs)).await;
    pager.faults([throttled(429), reply(500, json!({}))]);
    let harness = SinkHarness::with(&format!(
        "[sinks.pager]\nkind = 'pagerduty'\naddress = '{}'",
        pager.url()
    ))
    .await;
    let id = harness.incident_lifecycle().await.to_string();
    harness.caught_up("pager").await;
    let seen: Vec<_> = alerts
        .lock()
        .unwrap()
        .iter()
        .map(|(action, severity, key)| {
            assert_eq!(*key, id);
            format!("{action} {severity}").trim().to_owned()
        })
        .collect();
    assert_eq!(
        seen,
        [
            "trigger warning",
            "trigger error",
            "acknowledge",
            "resolve",
            "trigger critical"
        ]
    );
    assert_eq!(harness.sink("pager").dead, 0);
}
