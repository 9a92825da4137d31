//! Lanes of History: what began when on each stream, with its still.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::common::serve::TestServer;
use crate::console::fixture::{js, opened, report, reported, stopped_with_still};

/// Server with stills of a stream `cam`, a minute apart: copies of a real one.
async fn with_stills() -> TestServer {
    let (server, db) = stopped_with_still().await;
    let now = Timestamp::now().as_second();
    db.execute_batch(&format!(
        "CREATE TEMP TABLE real AS SELECT sha256 FROM moments LIMIT 1;
         WITH RECURSIVE steps (step) AS (SELECT 0 UNION ALL SELECT step + 1 FROM steps WHERE step < 10)
         INSERT INTO moments (stream, seen_at, frame_seq, sha256)
         SELECT 'cam', ({now} - step * 60) * 1000000000, step, sha256 FROM steps, real;"
    ))
    .unwrap();
    drop(db);
    server.again().await
}

#[tokio::test]
async fn lanes_show_what_began_on_each_stream_and_its_still() {
    let server = with_stills().await;
    // Two on one stream at the same time, one on another long before.
    let now = Timestamp::now();
    let begun = [
        ("Reverse shell", "critical", "cam", 0),
        ("Slow login", "medium", "cam", 0),
        ("Disk full", "high", "other", 40),
    ];
    for (number, (title, severity, stream, minutes)) in begun.into_iter().enumerate() {
        let mut finding = reported(number, title);
        finding["severity"] = json!(severity);
        finding["stream"] = json!(stream);
        let seen = now - SignedDuration::from_mins(minutes);
        finding["observed_at"] = json!(seen.to_string());
        report(&server, &finding).await;
    }
    let browser = opened(&server, "/?view=history").await;
    let lanes = "[...document.querySelectorAll('#lanes .lane')].filter((one) => ['cam', 'other'].includes(one.firstChild.textContent)).map((one) => \
        `${one.firstChild.textContent} ${[...one.querySelectorAll('.tick')].map((tick) => tick.dataset.severity + tick.textContent).join(' ')}`).join()";
    browser
        .until_true(10, &format!("{lanes} === 'cam critical2,other highH'"))
        .await;
    let named = "document.querySelector(`#lanes [aria-label='Stream cam'] .tick`).ariaLabel";
    let named = browser.run(named).await;
    let named = named.as_str().unwrap();
    for part in [
        "2 incidents",
        "critical: Reverse shell",
        "medium: Slow login",
    ] {
        assert!(named.contains(part), "{named}");
    }

    // By the pointer, and by the focus.
    let peek = "document.querySelector('#peek')";
    let shown = format!(
        "{peek}.checkVisibility() && {peek}.textContent.includes('Reverse shell') && {peek}.querySelector('img')?.naturalWidth > 0"
    );
    browser
        .hover("#lanes [aria-label='Stream cam'] .tick")
        .await;
    browser.until_true(10, &shown).await;
    browser.hover("#past").await;
    browser.until_true(5, &format!("{peek}.hidden")).await;
    browser
        .run("document.querySelector(`#lanes [aria-label='Stream cam'] .tick`).focus()")
        .await;
    browser.until_true(10, &shown).await;

    // One mark leads to its incident; of several, to the list of them.
    browser.strike("Enter", false).await;
    let titles =
        "[...document.querySelectorAll('#triage li a')].map((one) => one.textContent).join()";
    browser
        .until_true(10, &format!("{titles} === 'Reverse shell,Slow login'"))
        .await;
    browser.run("history.back()").await;
    browser
        .until_true(10, &format!("{lanes}.startsWith('cam critical2')"))
        .await;
    browser
        .click("#lanes [aria-label='Stream other'] .tick")
        .await;
    let opened = "document.querySelector('#incident h2')?.textContent === 'Disk full'";
    browser.until_true(10, opened).await;

    // From an incident back to its moment.
    browser.run("history.back()").await;
    browser
        .until_true(10, &format!("{lanes}.startsWith('cam critical2')"))
        .await;
    let list = server.json("/api/incidents?stream=cam&sort=severity").await;
    let incident = &list["items"][0];
    let id = incident["id"].as_str().unwrap();
    browser
        .open(&server.http_url(&format!("/?view=incidents&incident={id}")))
        .await;
    browser.click("#incident a.moment").await;
    let chosen = "document.querySelector('#moments .chosen')?.dataset.at";
    browser
        .until_true(10, &format!("{chosen} !== undefined"))
        .await;
    let range =
        "['from', 'to'].map((name) => Date.parse(new URLSearchParams(location.search).get(name)))";
    let range = browser.run(range).await;
    let began = js(incident["first_seen"].as_str().unwrap());
    let inside = format!(
        "{} <= Date.parse({began}) && Date.parse({began}) <= {}",
        range[0], range[1]
    );
    assert_eq!(browser.run(&inside).await, true);
    let nearest = format!(
        "[...document.querySelectorAll('#moments li')].every((one) => Math.abs(Date.parse(one.dataset.at) - Date.parse({began})) >= Math.abs(Date.parse({chosen}) - Date.parse({began})))"
    );
    assert_eq!(browser.run(&nearest).await, true);
    assert_eq!(
        browser
            .run("document.querySelector('#lanes .moment-line') !== null")
            .await,
        true
    );
    browser.close().await;
}
