//! Incidents of a time range: by its length, or by a brush over the histogram
//! with mouse, keyboard and finger.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::common::chromium::Chromium;
use crate::common::serve::TestServer;
use crate::console::fixture::{js, opened, quiet, report, reported};

/// Title, age in minutes and severity of each incident.
const FIVE: [(&str, i64, &str); 5] = [
    ("Port scan", 170, "low"),
    ("Disk full", 110, "medium"),
    ("Slow login", 40, "critical"),
    ("Brute force", 8, "high"),
    ("Reverse shell", 3, "critical"),
];

async fn five() -> TestServer {
    let server = quiet().await;
    for (number, (title, age, severity)) in FIVE.into_iter().enumerate() {
        let mut finding = reported(number, title);
        let seen = Timestamp::now() - SignedDuration::from_mins(age);
        finding["observed_at"] = json!(seen.to_string());
        finding["severity"] = json!(severity);
        report(&server, &finding).await;
    }
    server
}

const TITLES: &str =
    "[...document.querySelectorAll('#triage li a')].map((one) => one.textContent).join()";

async fn shows(browser: &Chromium, titles: &[&str]) {
    let shown = format!("{TITLES} === {}", js(&titles.join(",")));
    browser.until_true(10, &shown).await;
}

/// Waits until the histogram counts that many, and shows no brush.
async fn charted(browser: &Chromium, count: usize) {
    let heights = format!(
        "[...document.querySelectorAll('#when rect')].reduce((sum, one) => sum + one.height.baseVal.value, 0) === {count}"
    );
    browser.until_true(10, &heights).await;
}

const RECENT: [&str; 2] = ["Reverse shell", "Brute force"];
/// The worst first, then the newest.
const ALL: [&str; 5] = [
    "Reverse shell",
    "Slow login",
    "Brute force",
    "Disk full",
    "Port scan",
];

async fn until_length(browser: &Chromium, length: &str) {
    let range = format!(
        "new URLSearchParams(location.search).get('range') === {}",
        js(length)
    );
    browser.until_true(5, &range).await;
}

#[tokio::test]
async fn range_is_that_of_the_views_and_of_the_link() {
    let server = five().await;
    let browser = opened(&server, "/").await;
    let offered = "document.querySelector('#range').checkVisibility()";
    assert_eq!(browser.run(offered).await, false);
    browser.click("#views [data-view=incidents]").await;
    shows(&browser, &ALL).await;
    browser.click("#range").await;
    browser.click("#ranges [data-range='10m']").await;
    shows(&browser, &RECENT).await;
    charted(&browser, 2).await;
    until_length(&browser, "10m").await;
    let closed = "document.querySelector('#ranges:popover-open') === null";
    assert_eq!(browser.run(closed).await, true);
    // It is the range of the other views too, and of the link.
    browser.click("#views [data-view=history]").await;
    let past = "document.querySelector('#past').textContent.startsWith('2 incidents')";
    browser.until_true(10, past).await;
    until_length(&browser, "10m").await;
    browser.click("#views [data-view=live]").await;
    browser.click("#views [data-view=incidents]").await;
    shows(&browser, &RECENT).await;
    browser.run("location.reload()").await;
    shows(&browser, &RECENT).await;
    browser.click("#zoomout").await;
    shows(&browser, &RECENT).await;
    browser.click("#zoomout").await;
    browser.click("#zoomout").await;
    browser.click("#zoomout").await;
    shows(&browser, &["Reverse shell", "Slow login", "Brute force"]).await;
    browser.close().await;
}

/// Titles of the incidents that began within the range of the URL.
async fn within(server: &TestServer, browser: &Chromium) -> (Vec<String>, i64) {
    let query = "Object.fromEntries(new URLSearchParams(location.search))";
    let query = browser.run(query).await;
    let time = |name: &str| -> Timestamp { query[name].as_str().unwrap().parse().unwrap() };
    let (from, to) = (time("from"), time("to"));
    let path = format!("/api/incidents?sort=severity&from={from}&to={to}");
    let page = server.json(&path).await;
    let titles = page["items"].as_array().unwrap().iter();
    let titles = titles.map(|one| one["title"].as_str().unwrap().to_owned());
    (titles.collect(), to.duration_since(from).as_secs() / 60)
}

/// Waits for a range with both ends.
async fn ranged(browser: &Chromium) {
    let range = "['from', 'to'].every((name) => new URLSearchParams(location.search).has(name))";
    browser.until_true(5, range).await;
}

async fn shows_those_within(server: &TestServer, browser: &Chromium) -> (usize, i64) {
    ranged(browser).await;
    let (titles, minutes) = within(server, browser).await;
    let titles: Vec<_> = titles.iter().map(String::as_str).collect();
    shows(browser, &titles).await;
    charted(browser, titles.len()).await;
    (titles.len(), minutes)
}

#[tokio::test]
async fn histogram_is_brushed_with_every_hand() {
    let server = five().await;
    let browser = opened(&server, "/?view=incidents").await;
    shows(&browser, &ALL).await;
    charted(&browser, 5).await;
    // The last third of three hours, with a mouse.
    browser.brush("#when .bars", 0.66, 0.999).await;
    let (count, minutes) = shows_those_within(&server, &browser).await;
    assert_eq!(count, 3);
    assert!((50..=70).contains(&minutes), "{minutes} minutes");
    browser.run("history.back()").await;
    shows(&browser, &ALL).await;
    charted(&browser, 5).await;

    // With the keyboard: the end is moved to the left.
    browser
        .run("document.querySelector('#when [role=slider]').focus()")
        .await;
    browser.strike("Tab", false).await;
    let end = "document.activeElement.getAttribute('aria-label')";
    assert_eq!(browser.run(end).await, "End of range");
    browser.strike("Home", false).await;
    for _ in 0..2 {
        browser.strike("ArrowRight", false).await;
    }
    let now = "document.activeElement.getAttribute('aria-valuenow')";
    assert_eq!(browser.run(now).await, "2");
    browser.strike("Enter", false).await;
    let (count, _) = shows_those_within(&server, &browser).await;
    assert_eq!(count, 1);
    browser.run("history.back()").await;
    shows(&browser, &ALL).await;
    charted(&browser, 5).await;
    // One that is given up changes nothing.
    let address = browser.run("location.href").await;
    browser
        .run("document.querySelector('#when [role=slider]').focus()")
        .await;
    browser.strike("ArrowRight", false).await;
    browser
        .until_true(5, "!document.querySelector('#when .shade').hidden")
        .await;
    browser.strike("Escape", false).await;
    browser
        .until_true(5, "document.querySelector('#when .shade').hidden")
        .await;
    assert_eq!(browser.run("location.href").await, address);

    // With a finger.
    browser.touch_screen(390, 844).await;
    browser.swipe("#when .bars", 0.66, 0.999).await;
    let (count, _) = shows_those_within(&server, &browser).await;
    assert_eq!(count, 3);
    browser.close().await;
}

#[tokio::test]
async fn range_is_entered_in_the_zone_of_the_page() {
    let server = five().await;
    let browser = Chromium::start().await;
    browser.resize(1366, 768).await;
    browser.time_zone("Asia/Kathmandu").await;
    browser.open(&server.http_url("/?view=incidents")).await;
    shows(&browser, &ALL).await;
    for (zone, hours) in [("utc", 0), ("local", 5)] {
        browser
            .run(&format!(
                "Object.assign(document.querySelector('#zone'), {{value: '{zone}'}}).dispatchEvent(new Event('change'))"
            ))
            .await;
        let quarter = if hours == 0 { 0 } else { 45 };
        let offset = SignedDuration::from_mins(hours * 60 + quarter);
        let field = |age: i64| {
            let then = Timestamp::now() - SignedDuration::from_mins(age) + offset;
            then.strftime("%Y-%m-%dT%H:%M:%S").to_string()
        };
        browser.click("#range").await;
        let entered = format!(
            "(document.querySelector('#ranges [name=from]').value = '{}', document.querySelector('#ranges [name=to]').value = '{}')",
            field(60),
            field(20)
        );
        browser.run(&entered).await;
        browser.click("#ranges form button").await;
        shows(&browser, &["Slow login"]).await;
        let (titles, minutes) = within(&server, &browser).await;
        assert_eq!(titles, ["Slow login"], "{zone}");
        assert_eq!(minutes, 40, "{zone}");
        // No AM, no PM.
        let label = "document.querySelector('#range').textContent";
        let label: Value = browser.run(label).await;
        let label = label.as_str().unwrap().to_owned();
        assert!(!label.contains('M') && label.contains(" to "), "{label}");
    }
    // An end before the beginning is refused, and nothing changes.
    let address = browser.run("location.href").await;
    browser.click("#range").await;
    browser
        .run("document.querySelector('#ranges [name=to]').value = '2020-01-01T00:00:00'")
        .await;
    browser.click("#ranges form button").await;
    let alert = "document.querySelector('#ranges [role=alert]:not([hidden])')?.textContent.includes('after')";
    browser.until_true(5, alert).await;
    assert_eq!(browser.run("location.href").await, address);
    browser.close().await;
}
