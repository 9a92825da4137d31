//! A shift on the sample clip: monitoring, triage by keyboard, evidence, notes,
//! history, handover, search, questions, health.

use serde_json::json;

use crate::common::encoder::Encoder;
use crate::common::serve::Setup;
use crate::console::fixture::{answer, opened, press, submit};

#[tokio::test]
async fn incidents_are_worked_by_keyboard() {
    let server = Setup::new().start().await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    let browser = opened(&server, "/?view=incidents").await;
    // They appear without reload; the server's own findings have no picture. An
    // action is refused if the severity has risen meanwhile: of these it can't.
    let seen = "[...document.querySelectorAll('#triage li[data-severity=critical]')]\
        .some((row) => !row.textContent.includes('Watchtower'))";
    browser.until_true(60, seen).await;
    // On the live picture, at the position of their evidence.
    press(&browser, "1").await;
    let boxes = "document.querySelector('#boxes .box b') !== null";
    browser.until_true(60, boxes).await;
    press(&browser, "2").await;
    // Loaded anew, the worst are on top.
    let top = "document.querySelector('#triage li')?.dataset.severity === 'critical'";
    browser.until_true(10, top).await;
    let above = "[...document.querySelectorAll('#triage li')]\
        .findIndex((row) => row.hasAttribute('aria-current'))";
    for _ in 0..browser.run(above).await.as_i64().unwrap() {
        press(&browser, "k").await;
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
    let logged = "document.querySelector('#incident .timeline').textContent.includes('A drill')";
    browser.until_true(5, logged).await;

    press(&browser, "n").await;
    answer(&browser, "text", "<b>Ask the pentesters</b>").await;
    let noted = "document.querySelector('#incident .timeline').textContent\
        .includes('Ann added note: <b>Ask the pentesters</b>')";
    browser.until_true(5, noted).await;

    // Stills over time, and the handover to the next shift.
    press(&browser, "5").await;
    let pictures = "document.querySelector('#moments img')?.naturalWidth > 0 \
        && document.querySelectorAll('#lanes a').length > 0";
    browser.until_true(20, pictures).await;
    press(&browser, "6").await;
    let reported = "['Ann', 'closed: A drill', 'added note: <b>Ask the pentesters</b>', 'UTC']\
        .every((said) => document.querySelector('#report').textContent.includes(said))";
    browser.until_true(5, reported).await;

    // Panel, screen text search, and health.
    press(&browser, "3").await;
    let columns = "document.querySelectorAll('#columns section').length === 5";
    browser.until_true(5, columns).await;
    browser
        .open(&server.http_url("/?view=search&q=operational"))
        .await;
    browser
        .until_true(
            10,
            "document.querySelectorAll('#hits q').length > 0 \
             && document.querySelector('#hits .thumbnail img')?.naturalWidth > 0 \
             && document.querySelector('#hits .thumbnail .box') !== null",
        )
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
    submit(&browser, "question", "When did the failed logins start?").await;
    let cited = "document.querySelector('#answer')?.textContent.startsWith('First at') \
        && document.querySelectorAll('#answer li').length > 0";
    browser.until_true(5, cited).await;
    submit(&browser, "question", "Which zeppelin has landed?").await;
    let unknown = "document.querySelector('#answer')?.textContent.startsWith('No data')";
    browser.until_true(5, unknown).await;

    press(&browser, "7").await;
    let healthy = "document.querySelector('#health').textContent.includes('SecOps')";
    browser.until_true(5, healthy).await;
    let gone = format!("/?view=incidents&incident={}", uuid::Uuid::now_v7());
    browser.open(&server.http_url(&gone)).await;
    let reported = "document.querySelector('#incident [role=alert]')?.textContent.length > 0";
    browser.until_true(5, reported).await;
    browser.close().await;
}
