//! Decisions by keyboard: keys act on the incident that is shown, and updates
//! never move it away from the user.

use serde_json::{Value, json};

use crate::common::chromium::Chromium;
use crate::common::encoder::Encoder;
use crate::common::serve::{Setup, TestServer};
use crate::console::fixture::{NOBODY, answer, js, opened, press, quiet, report, reported};

const ROWS: &str = "[...document.querySelectorAll('#triage li a')].map((one) => one.textContent)";

/// Reports three incidents, the newest last; returns their ids.
async fn three(server: &TestServer) -> Vec<String> {
    for number in 1..=3 {
        report(server, &reported(number, &format!("Trouble {number}"))).await;
    }
    let list = server.json("/api/incidents?sort=first_seen").await;
    let items = list["items"].as_array().unwrap();
    let ids = items.iter().rev().map(|one| one["id"].as_str().unwrap());
    ids.map(str::to_owned).collect()
}

async fn statuses(server: &TestServer, ids: &[String]) -> Vec<Value> {
    let mut statuses = Vec::new();
    for id in ids {
        let incident = server.json(&format!("/api/incidents/{id}")).await;
        statuses.push(incident["status"].clone());
    }
    statuses
}

async fn shown(browser: &Chromium, title: &str) {
    let is = format!(
        "document.querySelector('#incident h2')?.textContent === {}",
        js(title)
    );
    browser.until_true(20, &is).await;
}

#[tokio::test]
async fn keys_decide_on_what_is_shown() {
    let server = quiet().await;
    let ids = three(&server).await;
    // Opened by a link, as from a chat: it is not the first of the list.
    let link = format!("/?view=incidents&incident={}", ids[0]);
    let browser = opened(&server, &link).await;
    shown(&browser, "Trouble 1").await;
    browser
        .until_true(20, &format!("{ROWS}.length === 3"))
        .await;
    press(&browser, "c").await;
    answer(&browser, "name", "Ann").await;
    let about = "document.querySelector('#ask[open] p')?.textContent === 'Trouble 1'";
    browser.until_true(20, about).await;
    answer(&browser, "why", "A drill").await;
    server
        .until("it is closed", async |server| {
            (statuses(server, &ids).await == ["closed", "new", "new"]).then_some(())
        })
        .await;
    // The same holds in another view, after the link of another incident.
    press(&browser, "1").await;
    let second = format!(
        "document.querySelector('#findings a[href*=\"{}\"]').click()",
        ids[1]
    );
    browser
        .until_true(
            20,
            &format!(
                "document.querySelector('#findings a[href*=\"{}\"]') !== null",
                ids[1]
            ),
        )
        .await;
    browser.run(&second).await;
    shown(&browser, "Trouble 2").await;
    press(&browser, "a").await;
    server
        .until("it is acknowledged", async |server| {
            (statuses(server, &ids).await == ["closed", "acknowledged", "new"]).then_some(())
        })
        .await;
    // Outside of the incidents view, a decision does not switch to it.
    assert_eq!(browser.run("document.title").await, "Watchtower: Incidents");
    // Both keys before any response: the message is cleared when the view
    // changes.
    browser
        .run(
            "['a', '1'].forEach((key) => document.body.dispatchEvent(\
             new KeyboardEvent('keydown', {key, bubbles: true})))",
        )
        .await;
    let notice = "document.querySelector('#said').textContent.includes('already')";
    browser.until_true(20, notice).await;
    assert_eq!(browser.run("document.title").await, "Watchtower");
    browser.close().await;
}

#[tokio::test]
async fn keys_do_not_reach_beneath_a_dialog() {
    let server = quiet().await;
    let ids = three(&server).await;
    let browser = opened(&server, "/?view=incidents").await;
    browser
        .until_true(20, &format!("{ROWS}.length === 3"))
        .await;
    press(&browser, "n").await;
    answer(&browser, "name", "Ann").await;
    let dialog = "document.querySelector('#ask[open] [name=text]') !== null";
    browser.until_true(20, dialog).await;
    browser.run("document.activeElement.blur()").await;
    for key in ["a", "?", "1"] {
        press(&browser, key).await;
    }
    assert_eq!(browser.run(dialog).await, true);
    assert_eq!(browser.run("document.title").await, "Watchtower: Incidents");
    assert_eq!(statuses(&server, &ids).await, ["new", "new", "new"]);

    // Drafts that can't be sent are kept.
    server.signal("-KILL");
    answer(&browser, "text", "Ask the pentesters").await;
    let notice = "document.querySelector('#said').textContent.includes('draft kept')";
    browser.until_true(20, notice).await;
    press(&browser, "n").await;
    let again = "document.querySelector('#ask[open] [name=text]')?.value === 'Ask the pentesters'";
    browser.until_true(20, again).await;
    browser.close().await;
}

#[tokio::test]
async fn filters_stand_in_the_address_and_the_focus_stays() {
    let server = quiet().await;
    three(&server).await;
    let browser = opened(&server, "/?view=incidents").await;
    browser
        .until_true(20, &format!("{ROWS}.length === 3"))
        .await;
    browser
        .run("document.querySelector('#facets [value=critical]').click()")
        .await;
    let empty_list = "!document.querySelector('#calm').hidden";
    browser.until_true(20, empty_list).await;
    assert_eq!(
        browser.run("location.search").await,
        "?view=incidents&severities=critical"
    );
    browser.run("location.reload()").await;
    let set = "document.querySelector('#facets [value=critical]').checked";
    browser
        .until_true(20, &format!("{set} && {empty_list}"))
        .await;

    // Incidents that do not match are not announced; a matching one fills the
    // empty list.
    report(&server, &reported(4, "Trouble 4")).await;
    let mut critical = reported(5, "Trouble 5");
    critical["severity"] = json!("critical");
    report(&server, &critical).await;
    browser
        .until_true(20, &format!("{ROWS}.join() === 'Trouble 5'"))
        .await;
    assert_eq!(
        browser.run("document.querySelector('#fresh').hidden").await,
        true
    );
    browser.run("history.back()").await;
    browser
        .until_true(20, &format!("{ROWS}.length === 5"))
        .await;

    // A row that changes keeps focus and selection.
    let id = "document.activeElement.closest('#triage li')?.dataset.id";
    browser
        .run("document.querySelectorAll('#triage li input')[2].focus()")
        .await;
    let before = browser.run(id).await;
    browser.run("document.activeElement.click()").await;
    let selected = "document.querySelector('#chosen').textContent === '1 selected'";
    browser.until_true(20, selected).await;
    assert_eq!(browser.run(id).await, before);
    assert_eq!(browser.run("document.activeElement.checked").await, true);
    browser.close().await;
}

#[tokio::test]
async fn a_handover_report_lists_signal_losses() {
    let settings = "[watchdog]\ngone = \"1s\"\n";
    let server = Setup::new().agents(NOBODY).settings(settings).start().await;
    let publisher = Encoder::demo(&server.rtmp_url("live/team"));
    server
        .until("a stream", async |server| {
            let streams = server.json("/api/streams").await;
            (streams["items"][0]["state"] == "live").then_some(())
        })
        .await;
    drop(publisher);
    let incident = server
        .until("it is told", async |server| {
            let list = server.json("/api/incidents").await;
            list["items"].as_array()?.first().cloned()
        })
        .await;
    assert_eq!(incident["title"], "Stream team: signal lost");
    let browser = opened(&server, "/?view=handover").await;
    let blind = |what: &str| {
        format!(
            "[...document.querySelectorAll('#report li')].some((one) => \
             one.textContent.startsWith('Stream team: signal lost') && one.textContent.includes('{what}'))"
        )
    };
    browser.until_true(20, &blind("ongoing since ")).await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/team"));
    server
        .until("it is over", async |server| {
            let list = server.json("/api/incidents").await;
            (list["items"][0]["status"] == "closed").then_some(())
        })
        .await;
    browser.run("location.reload()").await;
    browser.until_true(20, &blind("resolved: from ")).await;
    let done = "document.querySelector('#report').textContent.includes('No actions')";
    assert_eq!(browser.run(done).await, true, "it is no person's doing");
    browser.close().await;
}
