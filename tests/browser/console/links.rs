//! Links to an incident: copied, followed, and wrong; and the test of a stream.

use serde_json::json;

use crate::common::encoder::Encoder;
use crate::console::fixture::{js, opened, quiet, report, reported};

#[tokio::test]
async fn link_is_copied_without_the_clipboard_api() {
    let server = quiet().await;
    for nth in 0..3 {
        let mut finding = reported(1, "Slow login");
        finding["frame"]["seq"] = json!(nth);
        finding["model"] = json!({"provider": "gemini", "name": "gemini-9", "version": "gemini-9"});
        report(&server, &finding).await;
    }
    let list = server.json("/api/incidents").await;
    let id = list["items"][0]["id"].as_str().unwrap();
    let path = format!("/?view=incidents&incident={id}");
    let browser = opened(&server, &path).await;
    browser
        .run("(Object.defineProperty(navigator, 'clipboard', { value: undefined }), true)")
        .await;
    // What is copied is what is selected then.
    browser
        .run("document.addEventListener('copy', () => { document.body.dataset.copied = document.activeElement.value; })")
        .await;
    browser.click("#incident .copy").await;
    let copied = format!(
        "document.body.dataset.copied === {} && document.querySelector('#incident .copy').textContent === 'Copied'",
        js(&server.http_url(&path))
    );
    browser.until_true(10, &copied).await;
    // Where the browser refuses, the text is there to be copied by hand.
    browser
        .run("(document.execCommand = () => false, true)")
        .await;
    browser.click("#incident .copy").await;
    let shown = format!(
        "document.activeElement.value === {} && document.activeElement.selectionEnd > 0",
        js(&server.http_url(&path))
    );
    browser.until_true(10, &shown).await;

    let text = browser
        .run("document.querySelector('#incident').innerText")
        .await;
    let text = text.as_str().unwrap();
    assert!(text.lines().any(|line| line == "Model: gemini-9"), "{text}");
    // The same finding again and again is one line.
    let lines = "[...document.querySelectorAll('#incident .timeline li')].map((one) => one.textContent.replace(/^.*? Outpost/, 'Outpost'))";
    assert_eq!(
        browser.run(lines).await,
        json!(["Outpost: Slow login (high) ×3"])
    );
    browser.close().await;
}

#[tokio::test]
async fn wrong_link_shows_a_way_on() {
    let server = quiet().await;
    report(&server, &reported(1, "Slow login")).await;
    let missing = uuid::Uuid::now_v7().to_string();
    let browser = opened(&server, "/").await;
    for id in ["nonsense", missing.as_str()] {
        let url = server.http_url(&format!("/?view=incidents&incident={id}"));
        browser.open(&url).await;
        let heading =
            "document.querySelector('#incident h2')?.textContent === 'Incident not found'";
        browser.until_true(10, heading).await;
        browser.click("#incident .back").await;
        let back = "document.querySelector('#incident').hidden && document.querySelectorAll('#triage li').length === 1";
        browser.until_true(10, back).await;
    }
    browser.close().await;
}

#[tokio::test]
async fn test_of_a_stream_says_what_arrived() {
    let server = quiet().await;
    let browser = opened(&server, "/?view=setup").await;
    browser.click("#test-stream").await;
    let said = "document.querySelector('#test-stream + output').textContent";
    browser
        .until_true(10, &format!("{said}.startsWith('Waiting for a stream')"))
        .await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    browser
        .until_true(30, &format!("{said}.startsWith('Stream demo is live, ')"))
        .await;
    browser.close().await;
}
