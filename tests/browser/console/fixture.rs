//! A browser with the console open, and reports to the server behind it.

use serde_json::{Value, json};

use crate::common::chromium::Chromium;
use crate::common::encoder::Encoder;
use crate::common::serve::{Setup, TestServer};

/// Server without models: it shows only what was reported to it.
pub(crate) async fn quiet() -> TestServer {
    Setup::new().agents(NOBODY).start().await
}

pub(crate) const NOBODY: &str = "[model]\nprovider = \"offline\"\n";

pub(crate) async fn opened(server: &TestServer, path: &str) -> Chromium {
    let browser = Chromium::start().await;
    browser.resize(1366, 768).await;
    browser.open(&server.http_url(path)).await;
    browser
}

/// Value as a JavaScript literal.
pub(crate) fn js(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

pub(crate) async fn press(browser: &Chromium, key: &str) {
    let key = js(key);
    browser
        .run(&format!(
            "document.body.dispatchEvent(new KeyboardEvent('keydown', {{key: {key}, bubbles: true}}))"
        ))
        .await;
}

/// Fills in the open dialog and confirms it.
pub(crate) async fn answer(browser: &Chromium, field: &str, text: &str) {
    let dialog = format!("document.querySelector('#ask[open] [name={field}]') !== null");
    browser.until_true(5, &dialog).await;
    let text = js(text);
    browser
        .run(&format!(
            "(document.querySelector('#ask [name={field}]').value = {text}, \
             document.querySelector('#ask button[value=ok]').click())"
        ))
        .await;
}

/// Fills in and submits a form of the page.
pub(crate) async fn submit(browser: &Chromium, form: &str, text: &str) {
    let text = js(text);
    browser
        .run(&format!(
            "(document.querySelector('#{form} input').value = {text}, \
             document.querySelector('#{form}').requestSubmit())"
        ))
        .await;
}

/// Report of a finding; each different number is an incident of its own.
pub(crate) fn reported(number: usize, title: &str) -> Value {
    json!({
        "id": uuid::Uuid::now_v7(), "incident": null, "agent": "Outpost", "stream": "team",
        "observed_at": jiff::Timestamp::now().to_string(),
        "frame": {"seq": number, "pts_ms": 40, "sha256": "ab".repeat(32)},
        "severity": "high", "confidence": 0.5, "category": "intrusion",
        "title": title, "detail": title,
        "evidence": [{"quote": format!("{title} on host-{number:05}"), "box": [1, 2, 3, 4], "grounded": true}],
        "mitre": [], "recommended_action": title,
        "model": {"provider": "offline", "name": "rules", "version": "1"},
    })
}

pub(crate) async fn report(server: &TestServer, finding: &Value) {
    let request = server.client.post(server.http_url("/api/findings"));
    let sent = request.json(finding).send().await.unwrap();
    assert_eq!(sent.status().as_u16(), 201, "{finding}");
}

/// Waits for the notice of an action, which undo is about from then on: the
/// server has done it before the page knows.
pub(crate) async fn noticed(browser: &Chromium, said: &str) {
    let shown = format!(
        "document.querySelector('#toast:not([hidden])')?.textContent.startsWith({})",
        js(said)
    );
    browser.until_true(10, &shown).await;
}

/// Stopped server with a real still of the stream `demo`, and its database: to
/// be changed before the server starts again.
pub(crate) async fn stopped_with_still() -> (TestServer, rusqlite::Connection) {
    let mut server = Setup::new().start().await;
    let publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    server
        .until("a still is kept", async |server| {
            let kept = server.json("/api/moments").await;
            kept["items"].as_array()?.first().map(|_| ())
        })
        .await;
    drop(publisher);
    server.signal("-TERM");
    assert!(server.wait().await.success());
    let file = server.folder.path().join("data/watchtower.db");
    let database = rusqlite::Connection::open(file).unwrap();
    (server, database)
}

/// Waits for a finding on the stream `demo` whose evidence has a crop.
pub(crate) async fn cropped(server: &TestServer) -> String {
    let found = server.until("a crop", async |server| {
        let page = server.json("/api/findings?stream=demo").await;
        let ids = page["items"].as_array()?.iter();
        for id in ids.filter_map(|one| one["id"].as_str()) {
            let regions = server.json(&format!("/api/findings/{id}/regions")).await;
            if !regions["crop"].is_null() && regions["items"][0]["box"].is_array() {
                return Some(id.to_owned());
            }
        }
        None
    });
    found.await
}
