//! Web Push in a browser: subscribing in the dialog, and what the service
//! worker shows. The browser's own push service is on the Internet; the one of
//! the tests takes its place.

use std::time::Duration;

use serde_json::{Value, json};

use crate::common::chromium::Chromium;
use crate::common::push_service::{PushBrowser, PushService};
use crate::common::serve::{Setup, TestServer};
use crate::console::fixture::{NOBODY, js, report, reported};

const PATH: &str = "phone";
const SUBSCRIBED: &str = "document.querySelector('#notifications [name=push]').checked";

/// Subscription that the browser gives, kept as the browser keeps it.
fn stand_in(service: &PushService, browser: &PushBrowser) -> String {
    format!(
        "const make = (key) => ({{
            endpoint: {}, options: {{applicationServerKey: key}},
            toJSON: () => ({{endpoint: {0}, expirationTime: null, keys: {}}}),
            unsubscribe: async () => (sessionStorage.removeItem('subscribed'), true),
        }});
        const kept = () => {{
            const key = sessionStorage.getItem('subscribed');
            return key ? make(Uint8Array.from(JSON.parse(key)).buffer) : null;
        }};
        PushManager.prototype.getSubscription = async () => kept();
        PushManager.prototype.subscribe = async ({{userVisibleOnly, applicationServerKey}}) => {{
            if (!userVisibleOnly) throw new Error('userVisibleOnly is required');
            sessionStorage.setItem('subscribed', JSON.stringify([...applicationServerKey]));
            return kept();
        }};",
        js(&service.endpoint(PATH)),
        browser.keys(),
    )
}

async fn subscriptions(server: &TestServer) -> Vec<Value> {
    let push = server.json("/api/push").await;
    push["subscriptions"].as_array().unwrap().clone()
}

#[tokio::test]
async fn browser_subscribes_and_shows_what_is_pushed() {
    let service = PushService::start().await;
    let keys = PushBrowser::new();
    service.knows(PATH, &keys);
    let server = Setup::new()
        .agents(NOBODY)
        .settings(&format!("[push]\nservices = ['{}']\n", service.address))
        .start()
        .await;
    let browser = Chromium::start().await;
    browser.resize(1366, 768).await;
    browser.permit("notifications", "granted").await;
    browser.prepare(&stand_in(&service, &keys)).await;
    browser.open(&server.http_url("/?view=setup")).await;
    browser
        .run("localStorage.setItem('watchtower.who', 'Ann')")
        .await;
    browser.click("#to-notifications").await;
    browser.click("#notifications [name=push]").await;
    let all = server
        .until("a subscription", async |server| {
            let all = subscriptions(server).await;
            (!all.is_empty()).then_some(all)
        })
        .await;
    browser.until_true(10, SUBSCRIBED).await;
    assert_eq!(
        (&all[0]["by"], &all[0]["minimum_severity"]),
        (&json!("Ann"), &json!("critical"))
    );
    browser.click("#notifications-test").await;
    let tested = service.taken(1).await;
    assert_eq!(tested[0].text["title"], "Test notification");

    // The filters of the dialog are those of the subscription.
    browser
        .run("(document.querySelector('#notifications [name=severity]').value = 'high', \
              document.querySelector('#notifications [name=severity]').dispatchEvent(new Event('change')))")
        .await;
    server
        .until("the new severity", async |server| {
            let all = subscriptions(server).await;
            (all.len() == 1 && all[0]["minimum_severity"] == "high").then_some(())
        })
        .await;
    browser.click("#notifications [method=dialog] button").await;
    report(&server, &reported(1, "Reverse shell")).await;
    let message = service.taken(2).await.pop().unwrap();
    assert_eq!(message.text["title"], "Reverse shell");

    // Pushed, it is shown by the service worker.
    let shown = "navigator.serviceWorker.ready.then((one) => one.getNotifications()) \
        .then((all) => JSON.stringify(all.map(({title, body, tag}) => [title, body, tag])))";
    let incident = message.text["incident"].as_str().unwrap();
    let expected = json!([["High: Reverse shell", "Stream team", incident]]).to_string();
    server
        .until("the notification", async |server| {
            // Again each time: asked while it is not displayed yet, Chromium takes
            // it for one that was dismissed, and forgets it.
            let text = message.text.to_string();
            browser.push(&server.http_url(""), "0", &text).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            (browser.run(shown).await == expected.as_str()).then_some(())
        })
        .await;
    // Its click has an open page show the incident.
    browser
        .run(&format!(
            "navigator.serviceWorker.dispatchEvent(new MessageEvent('message', {{data: {{incident: '{incident}'}}}}))"
        ))
        .await;
    let open = format!(
        "location.search.includes('{incident}') && document.querySelector('#incident h2') !== null"
    );
    browser.until_true(10, &open).await;

    // It stays after a reload, and is ended from the list.
    browser.open(&server.http_url("/?view=setup")).await;
    browser.click("#subscriptions button").await;
    server
        .until("no subscription", async |server| {
            subscriptions(server).await.is_empty().then_some(())
        })
        .await;
    browser
        .until_true(
            10,
            "document.querySelector('#subscribed').hidden && sessionStorage.getItem('subscribed') === null",
        )
        .await;
    browser.close().await;
}

#[tokio::test]
async fn refusal_of_the_server_is_shown() {
    let service = PushService::start().await;
    let keys = PushBrowser::new();
    let off = Setup::new()
        .agents(NOBODY)
        .settings("[push]\nenabled = false\n");
    let server = off.start().await;
    let browser = Chromium::start().await;
    browser.resize(1366, 768).await;
    browser.permit("notifications", "granted").await;
    browser.prepare(&stand_in(&service, &keys)).await;
    browser.open(&server.http_url("/?view=setup")).await;
    browser.click("#to-notifications").await;
    browser.click("#notifications [name=push]").await;
    let said = "document.querySelector('#notifications-said').textContent.startsWith('Web Push is off on this server')";
    browser.until_true(10, said).await;
    assert_eq!(browser.run(SUBSCRIBED).await, false);
    browser.close().await;
}
