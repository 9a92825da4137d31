//! Latency of the page, in headless Chromium.

use std::time::Duration;

use serde_json::Value;

use super::chromium::Chromium;
use super::server::{ServerProcess, finding, percentile};

const LOADS: usize = 5;
const FINDINGS: u64 = 30;
const INCIDENTS: u64 = 10_000;

pub(crate) async fn load() {
    let server = ServerProcess::start().await;
    for number in 0..200 {
        server.report(&finding(number)).await;
    }
    println!("page: first load, of {LOADS}, each in a browser of its own");
    let mut usable = Vec::new();
    for _ in 0..LOADS {
        let browser = Chromium::start().await;
        browser.resize(1366, 768).await;
        browser.open(&format!("{}/", server.base)).await;
        browser
            .until_true(10, "performance.getEntriesByName('usable').length > 0")
            .await;
        let shown = "performance.getEntriesByName('usable')[0].startTime";
        usable.push(Duration::from_secs_f64(
            number(&browser.run(shown).await) / 1e3,
        ));
        tokio::time::sleep(Duration::from_millis(500)).await;
        let transferred = "performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation')).reduce((sum, one) => sum + one.transferSize, 0)";
        let (bytes, requests) = (
            browser.run(transferred).await,
            browser
                .run("performance.getEntriesByType('resource').length + 1")
                .await,
        );
        println!("  {:.1} kB in {requests} requests", number(&bytes) / 1e3);
        browser.close().await;
    }
    println!(
        "  usable after: median {:?}, worst {:?}",
        percentile(&mut usable, 50),
        percentile(&mut usable, 100)
    );

    let browser = Chromium::start().await;
    browser.open(&format!("{}/", server.base)).await;
    browser
        .until_true(10, "performance.getEntriesByName('usable').length > 0")
        .await;
    // Both clocks are this machine's.
    browser
        .run("(window.seen = {}, new MutationObserver(() => { \
              for (const one of document.querySelectorAll('#findings [data-id]')) window.seen[one.dataset.id] ??= Date.now(); \
              }).observe(document.querySelector('#findings'), {childList: true, subtree: true}))")
        .await;
    let mut delays = Vec::new();
    for number in 0..FINDINGS {
        let finding = finding(1000 + number);
        let id = finding["id"].as_str().unwrap().to_owned();
        let sent = jiff::Timestamp::now().as_millisecond();
        server.report(&finding).await;
        browser
            .until_true(5, &format!("window.seen['{id}'] > 0"))
            .await;
        let seen = browser.run(&format!("window.seen['{id}']")).await;
        let late = seen.as_i64().unwrap() - sent;
        delays.push(Duration::from_millis(
            u64::try_from(late).unwrap_or_default(),
        ));
    }
    println!(
        "  a finding shows after: median {:?}, worst {:?}, of {FINDINGS}",
        percentile(&mut delays, 50),
        percentile(&mut delays, 100)
    );
    browser.close().await;
}

pub(crate) async fn scroll() {
    let server = ServerProcess::start().await;
    println!("scroll: {INCIDENTS} incidents");
    let reports = (0..INCIDENTS).map(|number| {
        let server = &server;
        async move { server.report(&finding(number)).await }
    });
    use futures_util::StreamExt as _;
    futures_util::stream::iter(reports)
        .buffer_unordered(32)
        .collect::<Vec<_>>()
        .await;
    let browser = Chromium::start().await;
    browser.resize(1366, 768).await;
    browser
        .prepare("window.long = []; new PerformanceObserver((list) => { for (const one of list.getEntries()) window.long.push(one.duration); }).observe({type: 'longtask'});")
        .await;
    browser
        .open(&format!("{}/?view=incidents", server.base))
        .await;
    browser
        .until_true(20, "document.querySelectorAll('#triage li').length > 0")
        .await;
    let before = browser.run("window.long.length").await;
    let end = "(async () => { \
        const list = document.querySelector('#list'); let frames = 0, still = 0, last = -1; const began = performance.now(); \
        while (still < 60) { \
            list.scrollTop += 400; frames += 1; \
            await new Promise(requestAnimationFrame); \
            still = list.scrollTop === last ? still + 1 : 0; last = list.scrollTop; \
        } \
        const rows = [...document.querySelectorAll('#triage li')]; \
        return {frames, ms: performance.now() - began, rows: rows.length, end: rows.at(-1)?.getAttribute('aria-posinset')}; })()";
    let walked = browser.run(end).await;
    let long = browser
        .run(&format!(
            "window.long.slice({before}).sort((a, b) => b - a).slice(0, 5)"
        ))
        .await;
    println!("  {walked}; tasks over 50 ms: {long}");
    browser.close().await;
}

/// Seconds of Live that are measured.
const WATCHED: u64 = 30;

pub(crate) async fn live() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let analysts = std::fs::read_to_string(root.join("agents.toml")).unwrap();
    let nobody = "[model]\nprovider = \"offline\"\n".to_owned();
    println!("live: main thread in {WATCHED} s of the sample at 1920x1080");
    for (what, agents) in [
        ("alone", nobody),
        ("with findings and boxes compared", analysts),
    ] {
        let server = ServerProcess::with(&agents).await;
        let mut publisher = tokio::process::Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i"])
            .arg(root.join("demo/demo.mp4"))
            .args(["-c", "copy", "-f", "flv"])
            .arg(format!("{}/live/demo", server.rtmp))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let browser = Chromium::start().await;
        browser.resize(1920, 1080).await;
        browser.open(&format!("{}/", server.base)).await;
        browser
            .until_true(30, "document.querySelector('video').videoWidth > 0")
            .await;
        if agents.contains("[[agent]]") {
            let boxed = "document.querySelector('#boxes .box') !== null";
            browser.until_true(120, boxed).await;
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = browser.main_thread().await;
        tokio::time::sleep(Duration::from_secs(WATCHED)).await;
        let spent = browser.main_thread().await - before;
        println!("  {what}: {spent:.2} s");
        browser.close().await;
        let _ = publisher.kill().await;
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}
