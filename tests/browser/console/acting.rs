//! Acting on incidents beyond the walk of `walk.rs`: several at once, by the
//! palette, snoozed and suppressed ones.

use std::time::Duration;

use serde_json::{Value, json};

use crate::common::chromium::Chromium;
use crate::common::serve::TestServer;
use crate::console::fixture::{js, noticed, opened, quiet, report, reported};

/// Server with two incidents, the critical one seen last, and a browser of a
/// user whose name is known.
async fn shift() -> (TestServer, Chromium, String) {
    let server = quiet().await;
    report(&server, &reported(1, "Slow login")).await;
    let mut finding = reported(2, "Reverse shell");
    finding["severity"] = json!("critical");
    report(&server, &finding).await;
    let list = server.json("/api/incidents").await;
    let id = list["items"][0]["id"].as_str().unwrap().to_owned();
    let browser = opened(&server, "/").await;
    browser
        .run("localStorage.setItem('watchtower.who', 'Ann')")
        .await;
    (server, browser, id)
}

/// Status and owner of an incident, and the number of suppressions.
async fn state(server: &TestServer, id: &str) -> Value {
    let incident = server.json(&format!("/api/incidents/{id}")).await;
    let suppressions = server.json("/api/suppressions").await;
    let count = suppressions["items"].as_array().unwrap().len();
    json!([incident["status"], incident["owner"], count])
}

async fn until_state(server: &TestServer, id: &str, expected: Value) {
    server
        .until(&expected.to_string(), async |server| {
            (state(server, id).await == expected).then_some(())
        })
        .await;
}

/// Waits until the incident shows its proof.
async fn proven(browser: &Chromium) {
    let quote = js("Reverse shell on host-00002");
    let proof = format!(
        "[...document.querySelectorAll('#incident .quote q')].some((one) => one.textContent === {quote})"
    );
    browser.until_true(10, &proof).await;
}

async fn counted(browser: &Chromium, title: &str, icon: &str) {
    let shown = format!(
        "document.title === {} && document.querySelector('#icon').getAttribute('href') === {}",
        js(title),
        js(icon)
    );
    browser.until_true(10, &shown).await;
}

#[tokio::test]
async fn click_is_kept_while_the_incident_changes() {
    let (server, browser, id) = shift().await;
    browser.click("#views [data-view=incidents]").await;
    let row = format!("#triage [data-id='{id}']");
    browser.hover(&row).await;
    let count = format!("document.querySelector({}).textContent", js(&row));
    let before = browser.run(&count).await;
    let again = async {
        let mut finding = reported(2, "Reverse shell");
        finding["severity"] = json!("critical");
        report(&server, &finding).await;
        // Time in which the row would be drawn again.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(browser.run(&count).await, before);
    };
    browser
        .click_while(&format!("{row} [data-key=a]"), again)
        .await;
    until_state(&server, &id, json!(["acknowledged", null, 0])).await;
    browser
        .until_true(10, &format!("{count} !== {before}"))
        .await;
}

#[tokio::test]
async fn incidents_are_assigned_and_closed_at_once_with_a_mouse() {
    let (server, browser, id) = shift().await;
    let icon = server.get("/page/icon-1.svg").await.text().await.unwrap();
    assert!(icon.contains(">1</text>"), "{icon}");
    counted(&browser, "(1) Watchtower", "/page/icon-1.svg").await;
    browser.click("#views [data-view=incidents]").await;
    let row = format!("#triage [data-id='{id}']");
    // The buttons of a row are there once the pointer is over it.
    let hidden = format!(
        "document.querySelector({}).checkVisibility()",
        js(&format!("{row} .acts"))
    );
    assert_eq!(browser.run(&hidden).await, false);
    browser.hover(&row).await;
    browser.click(&format!("{row} [data-key=a]")).await;
    until_state(&server, &id, json!(["acknowledged", null, 0])).await;
    browser.click(&format!("{row} a")).await;
    proven(&browser).await;
    browser.click("#incident .toolbar [data-key=i]").await;
    browser.click("#ask button[value=ok]").await;
    until_state(&server, &id, json!(["acknowledged", "Ann", 0])).await;
    browser.click("#incident .toolbar [data-key=f]").await;
    browser.click("#ask button[value=ok]").await;
    until_state(&server, &id, json!(["closed", "Ann", 1])).await;
    counted(&browser, "Watchtower: Incidents", "/page/icon.svg").await;
    noticed(&browser, "Closed as false positive: ").await;
    browser.click("#undo").await;
    until_state(&server, &id, json!(["acknowledged", "Ann", 0])).await;
    counted(&browser, "(1) Watchtower: Incidents", "/page/icon-1.svg").await;

    // Several at once, and undone at once.
    browser.click(".back").await;
    for nth in [1, 2] {
        browser
            .click(&format!("#triage li:nth-child({nth}) .pick input"))
            .await;
    }
    browser.click("#bar [data-key=c]").await;
    browser
        .until_true(
            5,
            "document.querySelector('#ask[open] [name=why]') !== null",
        )
        .await;
    browser
        .run("document.querySelector('#ask [name=why]').value = 'A drill'")
        .await;
    browser.click("#ask button[value=ok]").await;
    let closed = |count: usize| {
        let server = &server;
        async move {
            server
                .until("they are closed, or open again", async |server| {
                    let list = server.json("/api/incidents?status=closed").await;
                    (list["items"].as_array()?.len() == count).then_some(())
                })
                .await;
        }
    };
    closed(2).await;
    assert_eq!(
        browser.run("document.querySelector('#bar').hidden").await,
        true
    );
    noticed(&browser, "Closed: 2 incidents").await;
    browser.click("#undo").await;
    closed(0).await;
    browser.close().await;
}

#[tokio::test]
async fn open_incident_is_acted_on_by_tab_and_palette() {
    let (server, browser, id) = shift().await;
    browser.strike("2", false).await;
    browser
        .until_true(10, "document.querySelectorAll('#triage li').length === 2")
        .await;
    browser.strike("a", false).await;
    until_state(&server, &id, json!(["acknowledged", null, 0])).await;
    browser.strike("Enter", false).await;
    proven(&browser).await;
    let drawn = "document.querySelector('#incident .toolbar button').dataset.key === 'c'";
    browser.until_true(5, drawn).await;
    // The buttons are reached by Tab too: after the link back, the first one.
    browser.run("document.querySelector('.back').focus()").await;
    browser.strike("Tab", false).await;
    assert_eq!(browser.run("document.activeElement.dataset.key").await, "c");
    // An action of the palette is about the open incident.
    browser.strike("k", true).await;
    let active = "document.activeElement.id === 'command'";
    browser.until_true(5, active).await;
    for letter in ["r", "e", "o", "p", "e", "n"] {
        browser.strike(letter, false).await;
    }
    browser.strike("Enter", false).await;
    until_state(&server, &id, json!(["new", null, 0])).await;
    browser.close().await;
}

#[tokio::test]
async fn row_is_selected_and_acknowledged_on_a_touch_screen() {
    let (server, browser, id) = shift().await;
    browser.touch_screen(390, 844).await;
    browser.tap("#views [data-view=incidents]").await;
    let row = format!("#triage [data-id='{id}']");
    browser.tap(&format!("{row} .pick")).await;
    browser.tap("#bar [data-key=a]").await;
    until_state(&server, &id, json!(["acknowledged", null, 0])).await;
    // Anywhere on the row, not on its title alone.
    browser.tap(&row).await;
    proven(&browser).await;
    browser.tap(".back").await;
    let back = "document.querySelector('#incident').hidden && document.querySelector('#list').checkVisibility()";
    browser.until_true(5, back).await;
    browser.close().await;
}

#[tokio::test]
async fn snoozed_incident_comes_back_by_itself() {
    let (server, browser, id) = shift().await;
    browser.click("#views [data-view=incidents]").await;
    let row = format!(
        "document.querySelector({})",
        js(&format!("#triage [data-id='{id}']"))
    );
    browser.until_true(10, &format!("{row} !== null")).await;
    browser.strike("s", false).await;
    browser.click("#ask button[value=ok]").await;
    let until = server
        .until("it is snoozed", async |server| {
            let incident = server.json(&format!("/api/incidents/{id}")).await;
            incident["snoozed_until"].as_str().map(str::to_owned)
        })
        .await;
    let until: jiff::Timestamp = until.parse().unwrap();
    let minutes = until.duration_since(jiff::Timestamp::now()).as_secs() / 60;
    assert!((58..=60).contains(&minutes), "{minutes}");
    browser
        .until_true(5, &format!("{row}.querySelector('.snoozed') !== null"))
        .await;
    counted(&browser, "Watchtower: Incidents", "/page/icon.svg").await;
    browser.run("location.reload()").await;
    browser
        .until_true(
            10,
            &format!("document.querySelectorAll('#triage li').length === 1 && {row} === null"),
        )
        .await;
    // Until soon, by another user.
    let url = server.http_url(&format!("/api/incidents/{id}/snooze"));
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(4);
    let body = json!({"by": "Bob", "until": soon});
    let sent = server.client.post(url).json(&body).send().await.unwrap();
    assert_eq!(sent.status().as_u16(), 200);
    let announced = "document.querySelector('#fresh').textContent.startsWith('1 new')";
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(browser.run(announced).await, false);
    browser.until_true(20, announced).await;
    assert!(jiff::Timestamp::now() >= soon);
    browser.click("#fresh").await;
    browser.until_true(5, &format!("{row} !== null")).await;
    counted(&browser, "(1) Watchtower: Incidents", "/page/icon-1.svg").await;
    browser.close().await;
}

#[tokio::test]
async fn suppressions_are_listed_removed_and_restored() {
    let (server, browser, id) = shift().await;
    let url = server.http_url(&format!("/api/incidents/{id}/status"));
    let close =
        json!({"status": "closed", "by": "Bob", "why": "our own scanner", "false_positive": true});
    server.client.post(url).json(&close).send().await.unwrap();
    let mut again = reported(2, "Reverse shell");
    again["stream"] = json!("other");
    again["severity"] = json!("critical");
    report(&server, &again).await;
    browser.click("#views [data-view=suppressions]").await;
    let text = "document.querySelector('#lessons').innerText";
    browser
        .until_true(10, &format!("{text}.includes('1 finding suppressed')"))
        .await;
    let shown = browser.run(text).await;
    let shown = shown.as_str().unwrap();
    for part in ["Reverse shell", "our own scanner", "by Bob"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    browser.click("#lessons button").await;
    until_state(&server, &id, json!(["closed", null, 0])).await;
    let empty = "document.querySelector('#unsuppressed').checkVisibility()";
    browser.until_true(5, empty).await;
    noticed(&browser, "Suppression removed: ").await;
    browser.click("#undo").await;
    until_state(&server, &id, json!(["closed", null, 1])).await;
    browser
        .until_true(10, &format!("{text}.includes('1 finding suppressed')"))
        .await;
    browser.close().await;
}
