//! History of a whole day: a still every five seconds, and an incident every
//! few minutes.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::common::chromium::Chromium;
use crate::common::serve::TestServer;
use crate::console::fixture::{opened, press, report, reported, stopped_with_still};

const HOUR: i64 = 3600;
const INCIDENTS: usize = 120;

/// Copies of a real still, as if the stream had run for a day.
async fn a_day() -> TestServer {
    let (server, db) = stopped_with_still().await;
    let day_ago = (Timestamp::now() - SignedDuration::from_secs(24 * HOUR)).as_second();
    db.execute_batch(&format!(
        "CREATE TEMP TABLE real AS SELECT * FROM moments LIMIT 1;
         DELETE FROM moments;
         WITH RECURSIVE steps (step) AS (SELECT 1 UNION ALL SELECT step + 1 FROM steps WHERE step < 17278)
         INSERT INTO moments (stream, seen_at, frame_seq, sha256)
         SELECT stream, ({day_ago} + step * 5) * 1000000000, step, sha256 FROM steps, real;"
    ))
    .unwrap();
    drop(db);
    let server = server.again().await;
    for number in 0..INCIDENTS {
        let mut finding = reported(number, &format!("Hourly trouble {number}"));
        let seconds = day_ago + 24 * HOUR * number as i64 / INCIDENTS as i64 + 30;
        finding["observed_at"] = json!(Timestamp::from_second(seconds).unwrap().to_string());
        report(&server, &finding).await;
    }
    server
}

/// Seconds from the oldest still to the newest, and their number.
async fn shown(browser: &Chromium) -> (i64, usize) {
    let times = "[...document.querySelectorAll('#moments time')].map((one) => Date.parse(one.dateTime) / 1000)";
    let times: Vec<f64> = serde_json::from_value(browser.run(times).await).unwrap();
    assert!(times.is_sorted_by(|newer, older| newer > older));
    let span = times.first().unwrap() - times.last().unwrap();
    (span as i64, times.len())
}

async fn shows_text(browser: &Chromium, what: &str) {
    let contains = format!("document.querySelector('#past').textContent.includes('{what}')");
    browser.until_true(10, &contains).await;
}

#[tokio::test]
async fn a_day_is_looked_through_from_afar_and_from_near() {
    let server = a_day().await;
    // A link of an earlier version.
    let browser = opened(&server, "/?view=history&hours=24").await;
    shows_text(&browser, "one per 7 min and stream").await;
    let (span, count) = shown(&browser).await;
    assert!(span > 23 * HOUR && count >= 198, "{span} s, {count}");
    let marks = "document.querySelectorAll('#lanes .tick').length";
    browser.until_true(10, &format!("{marks} > 25")).await;
    // Minimum target size (WCAG 2.2, 2.5.8), however narrow the window is.
    let nearest = "Math.min(...[...document.querySelectorAll('#lanes .tick')].map((one) => \
        one.getBoundingClientRect().left).map((left, at, all) => at ? left - all[at - 1] : 100))";
    assert!(browser.run(nearest).await.as_f64().unwrap() >= 24.0);
    browser.resize(390, 844).await;
    browser
        .until_true(10, &format!("{marks} < 20 && {nearest} >= 24"))
        .await;
    browser.resize(1366, 768).await;
    browser.until_true(10, &format!("{marks} > 25")).await;

    // A brush zooms in.
    browser.brush("#scale .bars", 0.34, 0.66).await;
    shows_text(&browser, "one per 2 min").await;
    let (span, count) = shown(&browser).await;
    assert!((7 * HOUR..=9 * HOUR).contains(&span), "{span} s, {count}");
    // The range shown is the one that the link names, to the millisecond.
    let requested = |name: &str| {
        format!(
            "performance.getEntriesByType('resource').map((one) => new URL(one.name))\
             .filter((one) => one.pathname === '/api/moments').pop().searchParams.get('{name}')"
        )
    };
    let named = |name: &str| {
        format!("new Date(new URLSearchParams(location.search).get('{name}')).toISOString()")
    };
    for (one, other) in [("since", "from"), ("until", "to")] {
        let asked = browser.run(&requested(one)).await;
        assert_eq!(asked, browser.run(&named(other)).await);
    }
    // A quarter of an hour shows every still.
    let to = Timestamp::now() - SignedDuration::from_secs(12 * HOUR);
    let from = to - SignedDuration::from_mins(15);
    let quarter = format!("/?view=history&from={from:.0}&to={to:.0}");
    browser.open(&server.http_url(&quarter)).await;
    shows_text(&browser, "180 screenshots").await;
    let (span, _) = shown(&browser).await;
    assert_eq!(span, 15 * 60 - 5);

    // A link leads to the time of a still, and navigation works both ways.
    let first = "document.querySelector('#moments time').dateTime";
    let middle = browser.run(first).await;
    browser.run("location.reload()").await;
    shows_text(&browser, "180 screenshots").await;
    assert_eq!(browser.run(first).await, middle);
    browser.click("#earlier").await;
    browser.until_true(10, &format!("{first} < {middle}")).await;
    browser.click("#later").await;
    browser
        .until_true(10, &format!("{first} === {middle}"))
        .await;
    browser.click("#range").await;
    browser.click("#ranges [data-range='15m']").await;
    let newest = format!("Date.now() - Date.parse({first}) < 10 * 60e3");
    browser.until_true(10, &newest).await;

    // Yesterday's shift, by its link.
    let until = Timestamp::now() - SignedDuration::from_secs(12 * HOUR);
    let shift = format!("/?view=handover&hours=1&until={until:.0}");
    browser.open(&server.http_url(&shift)).await;
    let began = "[...document.querySelectorAll('#report h3')].map((one) => one.textContent).join()";
    let of_that_hour = format!("/New this shift \\([456]\\)/.test({began})");
    browser.until_true(10, &of_that_hour).await;

    // Further pages of results are loaded on request, each once.
    press(&browser, "4").await;
    browser
        .open(&server.http_url("/?view=search&q=trouble"))
        .await;
    let found = |count: usize| {
        format!(
            "new Set([...document.querySelectorAll('#matches a')].map((one) => one.href)).size === {count}"
        )
    };
    browser.until_true(10, &found(50)).await;
    browser
        .run("document.querySelectorAll('.more')[1].click()")
        .await;
    browser.until_true(10, &found(100)).await;
    browser
        .run("document.querySelectorAll('.more')[1].click()")
        .await;
    browser.until_true(10, &found(INCIDENTS)).await;
    let rest = "document.querySelectorAll('.more')[1].hidden";
    assert_eq!(browser.run(rest).await, true);
    browser.close().await;
}
