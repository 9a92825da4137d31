//! Times in one format, in UTC or in the local time zone.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::common::chromium::Chromium;
use crate::console::fixture::{js, quiet, report, reported};

/// Selects a time zone with the switch in the header.
async fn choose(browser: &Chromium, zone: &str) {
    let zone = js(zone);
    browser
        .run(&format!(
            "Object.assign(document.querySelector('#zone'), {{value: {zone}}}).dispatchEvent(new Event('change'))"
        ))
        .await;
}

/// Waits until an expression equals this text.
async fn wait_for_text(browser: &Chromium, expression: &str, text: &str) {
    let same = format!("{expression} === {}", js(text));
    browser.until_true(10, &same).await;
}

#[tokio::test]
async fn times_are_in_utc_or_local_as_chosen() {
    let server = quiet().await;
    let day = (Timestamp::now() - SignedDuration::from_hours(48))
        .to_zoned(TimeZone::UTC)
        .date();
    // In Kathmandu (UTC+5:45) it is already the next day.
    let next = day.tomorrow().unwrap();
    let seen = format!("{day}T20:30:05Z");
    let (utc, local) = (format!("{day} 20:30:05"), format!("{next} 02:15:05"));
    let mut old = reported(1, "Port scan");
    old["observed_at"] = json!(seen);
    report(&server, &old).await;
    report(&server, &reported(2, "Brute force")).await;

    let browser = Chromium::start().await;
    browser.resize(1366, 768).await;
    browser.time_zone("Asia/Kathmandu").await;
    browser.open(&server.http_url("/")).await;
    let id = old["id"].as_str().unwrap();
    let row = format!("document.querySelector('#findings [data-id=\"{id}\"] time')");
    let (text, title) = (format!("{row}?.textContent"), format!("{row}.title"));
    wait_for_text(&browser, &text, &utc).await;
    let both = format!("{utc} UTC ({local} GMT+5:45)");
    wait_for_text(&browser, &title, &both).await;
    let clock = |mark: &str| {
        format!("/^\\d\\d:\\d\\d {mark}$/.test(document.querySelector('#now').textContent)")
    };
    browser.until_true(10, &clock("UTC")).await;
    let reached =
        "[document.querySelector('#zone').labels.length, document.querySelector('#zone').tabIndex]";
    assert_eq!(browser.run(reached).await, json!([1, 0]));

    choose(&browser, "local").await;
    wait_for_text(&browser, &text, &local).await;
    browser.until_true(10, &clock("GMT\\+5:45")).await;
    // The setting is persistent.
    browser.run("location.reload()").await;
    wait_for_text(&browser, &text, &local).await;
    wait_for_text(&browser, &title, &both).await;
    wait_for_text(&browser, "document.querySelector('#zone').value", "local").await;

    // The end of a shift is chosen and shown in the same time zone.
    let shift = format!("/?view=handover&hours=1&until={seen}");
    browser.open(&server.http_url(&shift)).await;
    let field = "document.querySelector('#shift input').value";
    let ends = "document.querySelector('#report p')?.textContent.split(' to ')[1]";
    wait_for_text(&browser, ends, &format!("{local} GMT+5:45.")).await;
    wait_for_text(&browser, field, &format!("{next} 02:15")).await;
    choose(&browser, "utc").await;
    wait_for_text(&browser, ends, &format!("{utc} UTC.")).await;
    wait_for_text(&browser, field, &format!("{day} 20:30")).await;
    browser
        .run(&format!(
            "Object.assign(document.querySelector('#shift input'), {{value: '{day}T10:00'}}).dispatchEvent(new Event('change'))"
        ))
        .await;
    wait_for_text(&browser, ends, &format!("{day} 10:00:00 UTC.")).await;
    let until = "new URLSearchParams(location.search).get('until')";
    wait_for_text(&browser, until, &format!("{day}T10:00:00Z")).await;

    // New incidents show their age in minutes.
    browser.open(&server.http_url("/?view=incidents")).await;
    let ago = "/^\\d+ (s|min) ago$/.test([...document.querySelectorAll('#triage li')]\
        .find((row) => row.textContent.includes('Brute force'))?.querySelector('time').textContent)";
    browser.until_true(10, ago).await;
    browser.close().await;
}
