//! A shift at the console: incidents worked by keyboard, in a real browser, on
//! what the sample shows and on what a hostile screen would.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::chromium::Chromium;
use common::encoder::Encoder;
use common::serve::{Server, Setup};
use serde_json::{Value, json};

/// What would run if anything on the page were markup.
const HOSTILE: [&str; 8] = [
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "\"><svg onload=window.pwned=1>",
    "javascript:window.pwned=1",
    "{{constructor.constructor('window.pwned=1')()}}",
    "</title><iframe srcdoc='<script>parent.pwned=1</script>'>",
    "\u{202e}gnitirw tfel-ot-thgir",
    "=HYPERLINK(\"http://127.0.0.1/\",\"x\")",
];

async fn opened(server: &Server, path: &str) -> Chromium {
    let browser = Chromium::start().await;
    browser.resize(1366, 768).await;
    browser.open(&server.http_url(path)).await;
    browser
}

async fn press(browser: &Chromium, key: &str) {
    let key = serde_json::to_string(key).unwrap();
    browser
        .run(&format!(
            "document.body.dispatchEvent(new KeyboardEvent('keydown', {{key: {key}, bubbles: true}}))"
        ))
        .await;
}

/// Fills in the question that is asked, and says OK.
async fn answer(browser: &Chromium, field: &str, text: &str) {
    let asked = format!("document.querySelector('dialog[open] [name={field}]') !== null");
    browser.until_true(5, &asked).await;
    let text = serde_json::to_string(text).unwrap();
    browser
        .run(&format!(
            "(document.querySelector('dialog [name={field}]').value = {text}, \
             document.querySelector('dialog button[value=ok]').click())"
        ))
        .await;
}

fn reported(number: usize, title: &str) -> Value {
    json!({
        "id": uuid::Uuid::now_v7(), "incident": null, "agent": "Outpost", "stream": "team",
        "observed_at": jiff::Timestamp::now().to_string(),
        "frame": {"seq": number, "pts_ms": 40, "sha256": "ab".repeat(32)},
        "severity": "high", "confidence": 0.5, "category": "intrusion",
        "title": title, "detail": title,
        "evidence": [{"quote": format!("{title} on host-{number:04}"), "box": [1, 2, 3, 4], "grounded": true}],
        "mitre": [], "recommended_action": title,
        "model": {"provider": "offline", "name": "rules", "version": "1"},
    })
}

#[tokio::test]
async fn incidents_are_worked_by_keyboard() {
    let server = Setup::new().start().await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    let browser = opened(&server, "/?view=incidents").await;
    // They come by themselves; what the server says of itself has no picture.
    let seen = "[...document.querySelectorAll('#triage li')]\
        .findIndex((row) => !row.textContent.includes('Watchtower'))";
    browser.until_true(60, &format!("{seen} >= 0")).await;
    for _ in 0..browser.run(seen).await.as_u64().unwrap() {
        press(&browser, "j").await;
    }
    press(&browser, "Enter").await;
    browser
        .until_true(
            10,
            "document.querySelector('#incident img')?.naturalWidth > 0",
        )
        .await;
    let boxes = "document.querySelectorAll('#incident .box').length > 0";
    assert_eq!(browser.run(boxes).await, true, "where the proof stands");
    let id = browser
        .run("new URLSearchParams(location.search).get('incident')")
        .await;
    let id = id.as_str().unwrap().to_owned();

    press(&browser, "a").await;
    answer(&browser, "name", "Ann").await;
    let status = async |wanted: &str| {
        server
            .until(wanted, async |server| {
                let incident = server.json(&format!("/api/incidents/{id}")).await;
                (incident["status"] == wanted).then_some(incident)
            })
            .await
    };
    let acknowledged = status("acknowledged").await;
    assert_eq!(acknowledged["decisions"][0]["by"], "Ann");
    let shown = format!("document.querySelector('#triage [data-id=\"{id}\"]').dataset.status");
    browser
        .until_true(5, &format!("{shown} === 'acknowledged'"))
        .await;
    press(&browser, "c").await;
    answer(&browser, "why", "A drill").await;
    let closed = status("closed").await;
    let last = closed["decisions"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["by"], &last["why"]),
        (&json!("Ann"), &json!("A drill"))
    );
    press(&browser, "r").await;
    status("new").await;
    let said = "document.querySelector('#incident .timeline').textContent.includes('A drill')";
    browser.until_true(5, said).await;

    press(&browser, "n").await;
    answer(&browser, "text", "<b>Ask the pentesters</b>").await;
    let noted = "document.querySelector('#incident .timeline').textContent\
        .includes('Ann noted: <b>Ask the pentesters</b>')";
    browser.until_true(5, noted).await;

    // What the screen looked like, and what the next shift should know.
    press(&browser, "5").await;
    let pictures = "document.querySelector('#moments img')?.naturalWidth > 0 \
        && document.querySelectorAll('#scale a').length > 0";
    browser.until_true(20, pictures).await;
    press(&browser, "6").await;
    let told = "['Ann', 'closed: A drill', 'noted: <b>Ask the pentesters</b>', 'UTC']\
        .every((said) => document.querySelector('#report').textContent.includes(said))";
    browser.until_true(5, told).await;

    // The panel, what stood on the screen, and how all is doing.
    press(&browser, "3").await;
    let columns = "document.querySelectorAll('#columns section').length === 5";
    browser.until_true(5, columns).await;
    browser
        .open(&server.http_url("/?view=search&q=operational"))
        .await;
    browser
        .until_true(5, "document.querySelectorAll('#hits q').length > 0")
        .await;
    let title = acknowledged["title"].as_str().unwrap();
    let query: String = url::form_urlencoded::byte_serialize(title.as_bytes()).collect();
    browser
        .open(&server.http_url(&format!("/?view=search&q={query}")))
        .await;
    browser
        .until_true(5, "document.querySelectorAll('#matches a').length > 0")
        .await;
    browser.open(&server.http_url("/?view=search")).await;
    let ask = |question: &str| {
        format!(
            "(document.querySelector('#question input').value = {}, \
             document.querySelector('#question').requestSubmit())",
            serde_json::to_string(question).unwrap()
        )
    };
    browser.run(&ask("When did the failed logins start?")).await;
    let cited = "document.querySelector('#answer')?.textContent.startsWith('First at') \
        && document.querySelectorAll('#answer li').length > 0";
    browser.until_true(5, cited).await;
    browser.run(&ask("Which zeppelin has landed?")).await;
    let unknown = "document.querySelector('#answer')?.textContent.startsWith('I do not know')";
    browser.until_true(5, unknown).await;

    press(&browser, "7").await;
    let healthy = "document.querySelector('#health').textContent.includes('SecOps')";
    browser.until_true(5, healthy).await;
    let gone = format!("/?view=incidents&incident={}", uuid::Uuid::now_v7());
    browser.open(&server.http_url(&gone)).await;
    let told = "document.querySelector('#incident [role=alert]')?.textContent.length > 0";
    browser.until_true(5, told).await;
    browser.close().await;
}

#[tokio::test]
async fn what_a_screen_says_is_text_and_nothing_jumps_under_the_hand() {
    let nobody = "[model]\nprovider = \"offline\"\n";
    let server = Setup::new().agents(nobody).start().await;
    let report = async |number: usize, title: &str| {
        let request = server.client.post(server.http_url("/api/findings"));
        let sent = request.json(&reported(number, title)).send().await.unwrap();
        assert_eq!(sent.status().as_u16(), 201, "{title}");
    };
    for (number, title) in HOSTILE.iter().enumerate() {
        report(number, title).await;
    }
    let browser = opened(&server, "/?view=incidents").await;
    browser
        .until_true(10, "document.querySelectorAll('#triage li').length > 0")
        .await;
    let rows = browser
        .run("document.querySelectorAll('#triage li').length")
        .await;
    let first = "document.querySelector('#triage li').dataset.id";
    let before = browser.run(first).await;
    // Each opened, in every view.
    for row in 0..rows.as_u64().unwrap() {
        press(&browser, if row == 0 { "Enter" } else { "j" }).await;
        browser
            .until_true(5, "document.querySelector('#incident h2') !== null")
            .await;
    }
    for view in ["1", "3", "2"] {
        press(&browser, view).await;
    }
    let markup =
        "document.querySelectorAll('main script, main iframe, main svg, main [onerror]').length";
    assert_eq!(browser.run(markup).await, 0);
    assert_eq!(browser.run("window.pwned ?? null").await, Value::Null);
    let shows = "document.body.textContent.includes('<script>window.pwned=1</script>')";
    assert_eq!(browser.run(shows).await, true, "as it was said");

    // What is new waits until somebody wants it.
    report(100, "A reverse shell on another machine").await;
    let fresh = "!document.querySelector('#fresh').hidden";
    browser.until_true(5, fresh).await;
    assert_eq!(browser.run(first).await, before);
    press(&browser, ".").await;
    browser
        .until_true(
            5,
            &format!("{first} !== {}", serde_json::to_string(&before).unwrap()),
        )
        .await;
    browser.close().await;
}
