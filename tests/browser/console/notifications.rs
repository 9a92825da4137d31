//! Desktop notifications and sound: one of all tabs notifies, those in the
//! background too, of what is wanted alone; the dialog by every hand.

use serde_json::{Value, json};

use crate::common::chromium::Chromium;
use crate::common::serve::TestServer;
use crate::console::accessible::{axe, look};
use crate::console::fixture::{js, opened, quiet, report, reported};

/// Notes each notification, each tone and each connection of a page, and lets
/// the time pass quickly that a hidden page keeps its connection.
const OBSERVER: &str = "
    window.made = []; window.tones = 0; window.sources = [];
    const Real = window.Notification;
    window.Notification = class extends Real {
      constructor(title, options) { super(title, options); window.made.push({title, body: options.body, tag: options.tag, one: this}); }
    };
    const oscillator = AudioContext.prototype.createOscillator;
    AudioContext.prototype.createOscillator = function () { window.tones += 1; return oscillator.call(this); };
    const Source = window.EventSource;
    window.EventSource = class extends Source { constructor(url) { super(url); window.sources.push(this); } };
    const later = window.setTimeout;
    window.setTimeout = (what, ms, ...more) => later(what, ms === 30000 ? 50 : ms, ...more);";
/// Hides a page as a browser does that shows another tab.
const HIDE: &str = "(Object.defineProperty(document, 'hidden', {get: () => true, configurable: true}), \
    document.dispatchEvent(new Event('visibilitychange')), true)";
const ON: &str = "document.querySelector('#notifications [name=desktop]').checked";
const TITLES: &str = "window.made.map(({title, body}) => `${title} | ${body}`)";

async fn observed(server: &TestServer, path: &str) -> Chromium {
    let browser = Chromium::start().await;
    browser.resize(1366, 768).await;
    browser.permit("notifications", "granted").await;
    browser.prepare(OBSERVER).await;
    browser.open(&server.http_url(path)).await;
    browser
}

fn serious(number: usize, title: &str, severity: &str) -> Value {
    let mut finding = reported(number, title);
    finding["severity"] = json!(severity);
    finding
}

/// Turns on what is named, without a dialog, and loads the page again.
async fn wanting(browser: &Chromium, what: &str) {
    let since = "since: Date.now() - 1000";
    browser
        .run(&format!(
            "(localStorage.setItem('watchtower.notifications', JSON.stringify({{{what}, {since}}})), location.reload())"
        ))
        .await;
    let usable = "performance.getEntriesByName('usable').length > 0 && window.made !== undefined";
    browser.until_true(10, usable).await;
}

/// Waits until a page has received a finding and decided on its incident.
async fn settled(browser: &Chromium, title: &str) {
    let shown = format!(
        "[...document.querySelectorAll('#findings h3')].some((one) => one.textContent === {})",
        js(title)
    );
    browser.until_true(20, &shown).await;
    // The incident's event follows the finding's; locks are given in order.
    let counted = format!(
        "fetch('/api/incidents').then((answer) => answer.json()).then(({{items}}) => items.some((one) => one.title === {}))",
        js(title)
    );
    browser.until_true(20, &counted).await;
    for _ in 0..2 {
        browser
            .run("navigator.locks.request('watchtower.notified', () => true)")
            .await;
    }
}

#[tokio::test]
async fn one_of_two_tabs_notifies_by_the_mouse() {
    let server = quiet().await;
    let browser = observed(&server, "/?view=setup").await;
    let first = browser.tab().await;
    browser.click("#to-notifications").await;
    browser.click("#notifications [name=desktop]").await;
    browser.until_true(5, ON).await;
    browser.click("#notifications-test").await;
    let test = format!("JSON.stringify({TITLES}) === '[\"Test notification | Watchtower\"]'");
    browser.until_true(5, &test).await;
    browser.run("(window.made = [], true)").await;
    browser.click("#notifications [method=dialog] button").await;
    let summary = "document.querySelector('#notified').textContent";
    assert_eq!(
        browser.run(summary).await,
        "On in this browser: desktop notifications; critical only, all streams."
    );
    // It connects by the shared worker.
    let own = "window.sources.filter(({readyState}) => readyState !== 2).length";
    browser.until_true(10, &format!("{own} === 0")).await;

    let second = browser.new_tab().await;
    browser.prepare(OBSERVER).await;
    browser.open(&server.http_url("/")).await;
    browser.until_true(10, &format!("{own} === 0")).await;
    report(&server, &serious(1, "Slow login", "high")).await;
    report(&server, &serious(2, "Reverse shell", "critical")).await;
    report(&server, &serious(3, "Ransom note", "critical")).await;
    let mut titles = Vec::new();
    for tab in [&second, &first] {
        browser.turn_to(tab).await;
        settled(&browser, "Ransom note").await;
    }
    // Either tab may be the one.
    let expected = [
        "Critical: Ransom note | Stream team",
        "Critical: Reverse shell | Stream team",
    ];
    for _ in 0..100 {
        titles.clear();
        for tab in [&first, &second] {
            browser.turn_to(tab).await;
            let made = browser.run(TITLES).await;
            titles.extend(made.as_array().unwrap().iter().cloned());
        }
        if titles.len() >= expected.len() {
            break;
        }
    }
    titles.sort_by_key(Value::to_string);
    assert_eq!(titles, expected);

    // A click opens the incident in the tab that notified.
    let list = server.json("/api/incidents").await;
    let incidents = list["items"].as_array().unwrap().iter();
    let shell = incidents
        .filter(|one| one["title"] == "Reverse shell")
        .map(|one| one["id"].as_str().unwrap().to_owned())
        .next()
        .unwrap();
    let one = format!("window.made.find(({{tag}}) => tag === '{shell}')");
    for tab in [&first, &second] {
        browser.turn_to(tab).await;
        if browser.run(&format!("{one} !== undefined")).await == true {
            break;
        }
    }
    browser.run(&format!("({one}.one.onclick(), true)")).await;
    let open = format!(
        "location.search.includes('{shell}') && document.querySelector('#incident h2') !== null"
    );
    browser.until_true(10, &open).await;
    browser.close().await;
}

#[tokio::test]
async fn severity_and_stream_decide() {
    let server = quiet().await;
    let browser = observed(&server, "/").await;
    wanting(
        &browser,
        "desktop: true, severity: 'high', streams: ['team']",
    )
    .await;
    let of = |number, title, severity, stream: &str| {
        let mut finding = serious(number, title, severity);
        finding["stream"] = json!(stream);
        finding
    };
    report(&server, &of(1, "Slow login", "medium", "team")).await;
    report(&server, &of(2, "Port scan", "critical", "other")).await;
    report(&server, &of(3, "Reverse shell", "high", "team")).await;
    report(&server, &of(4, "Late login", "low", "team")).await;
    settled(&browser, "Late login").await;
    let expected = "JSON.stringify(window.made.map(({title}) => title))";
    let one = format!("{expected} === '[\"High: Reverse shell\"]'");
    browser.until_true(10, &one).await;
    // More of the same is no news; the same at a higher severity is.
    report(&server, &of(3, "Reverse shell", "high", "team")).await;
    report(&server, &of(3, "Reverse shell", "critical", "team")).await;
    let two = format!("{expected} === '[\"High: Reverse shell\",\"Critical: Reverse shell\"]'");
    browser.until_true(10, &two).await;
    browser.close().await;
}

#[tokio::test]
async fn hidden_tab_is_called_while_that_is_wanted() {
    let server = quiet().await;
    for shared in [true, false] {
        let browser = observed(&server, "/").await;
        if !shared {
            browser.prepare("delete window.SharedWorker").await;
            browser.run("location.reload()").await;
        }
        let usable =
            "performance.getEntriesByName('usable').length > 0 && window.sources?.length === 1";
        browser.until_true(10, usable).await;
        // Not wanted: a hidden page disconnects.
        browser.run(HIDE).await;
        let open = "window.sources.filter(({readyState}) => readyState === 1).length";
        browser.until_true(10, &format!("{open} === 0")).await;
        wanting(&browser, "sound: true, desktop: true").await;
        browser.run(HIDE).await;
        let own = if shared { 0 } else { 1 };
        browser.until_true(10, &format!("{open} === {own}")).await;
        // Longer than it would have kept its connection.
        browser
            .run("new Promise((done) => setTimeout(done, 200))")
            .await;
        let title = format!("Reverse shell {shared}");
        report(
            &server,
            &serious(if shared { 1 } else { 2 }, &title, "critical"),
        )
        .await;
        let called = format!("window.made.some(({{title}}) => title === 'Critical: {title}')");
        browser.until_true(10, &called).await;
        browser.until_true(10, "window.tones === 3").await;
        browser.close().await;
    }
}

#[tokio::test]
async fn dialog_is_used_with_the_keyboard_alone() {
    let server = quiet().await;
    let browser = observed(&server, "/").await;
    browser.strike("k", true).await;
    browser
        .until_true(5, "document.activeElement.id === 'command'")
        .await;
    for letter in ["n", "o", "t", "i", "f"] {
        browser.strike(letter, false).await;
    }
    browser.strike("Enter", false).await;
    let focused = "document.activeElement.name === 'desktop'";
    browser.until_true(5, focused).await;
    browser.strike(" ", false).await;
    browser.until_true(5, &format!("{ON} && {focused}")).await;
    for name in ["push", "sound"] {
        browser.strike("Tab", false).await;
        browser
            .until_true(5, &format!("document.activeElement.name === '{name}'"))
            .await;
    }
    browser.strike("Escape", false).await;
    let closed = "!document.querySelector('#notifications').open";
    browser.until_true(5, closed).await;
    let kept = "JSON.parse(localStorage.getItem('watchtower.notifications')).desktop";
    assert_eq!(browser.run(kept).await, true);
    browser.close().await;
}

#[tokio::test]
async fn dialog_is_used_on_a_touch_screen() {
    let server = quiet().await;
    let browser = observed(&server, "/").await;
    browser.touch_screen(390, 844).await;
    browser.tap("#views [data-view=setup]").await;
    browser.tap("#to-notifications").await;
    browser
        .tap("#notifications label:has([name=desktop])")
        .await;
    browser.until_true(5, ON).await;
    browser.tap("#notifications-test").await;
    browser
        .until_true(5, &format!("{TITLES}.length === 1"))
        .await;
    browser.tap("#notifications [method=dialog] button").await;
    let closed = "!document.querySelector('#notifications').open";
    browser.until_true(5, closed).await;
    browser.close().await;
}

#[tokio::test]
async fn reasons_are_given_and_the_dialog_is_accessible() {
    let server = quiet().await;
    let axe = axe();
    let browser = opened(&server, "/?view=setup").await;
    let state = "document.querySelector('#desktop-state')?.textContent";
    let mut found = Vec::new();
    for (setting, reason, disabled) in [
        ("prompt", "The browser will ask for permission.", false),
        ("denied", "Blocked by the browser.", true),
        ("granted", "Permitted by the browser.", false),
    ] {
        browser.permit("notifications", setting).await;
        browser.click("#to-notifications").await;
        browser
            .until_true(5, &format!("{state}?.startsWith({})", js(reason)))
            .await;
        let shut = "document.querySelector('#notifications [name=desktop]').disabled";
        assert_eq!(browser.run(shut).await, disabled, "{setting}");
        for theme in ["dark", "light"] {
            browser.theme(theme).await;
            for (width, height) in [(1920, 1080), (1366, 768), (390, 844)] {
                browser.resize(width, height).await;
                let what = format!("{setting}, {theme}, {width}x{height}");
                found.extend(look(&browser, &axe, &what).await);
            }
        }
        browser.resize(1366, 768).await;
        browser.click("#notifications [method=dialog] button").await;
    }
    assert!(found.is_empty(), "{found:#?}");
    // Over plain HTTP, which from another machine is not secure.
    browser
        .prepare("Object.defineProperty(window, 'isSecureContext', {value: false})")
        .await;
    browser.run("location.reload()").await;
    browser
        .until_true(
            10,
            "performance.getEntriesByName('usable').length > 0 && !isSecureContext",
        )
        .await;
    browser.click("#to-notifications").await;
    let https = format!("{state}?.includes('over HTTPS or on localhost only')");
    browser.until_true(5, &https).await;
    browser.close().await;
}
