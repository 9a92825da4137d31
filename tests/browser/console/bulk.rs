//! Bulk operations: filtering, sorting, deciding and exporting incidents.

use serde_json::json;

use crate::console::fixture::{answer, opened, press, quiet, report, reported};

const ROWS: &str = "document.querySelectorAll('#triage li').length";

/// Script that captures the files the page would have saved.
const SAVED: &str = "(() => { window.saved = []; \
    URL.createObjectURL = (blob) => { window.saved.push(blob); return '#'; }; \
    HTMLAnchorElement.prototype.click = () => {}; })()";

#[tokio::test]
async fn many_are_filtered_sorted_decided_at_once_and_exported() {
    let server = quiet().await;
    let kinds = ["low", "critical", "medium", "high", "info"];
    for (number, severity) in kinds.iter().enumerate() {
        let mut finding = reported(number, &format!("Kind {severity}"));
        finding["severity"] = json!(severity);
        report(&server, &finding).await;
    }
    let browser = opened(&server, "/?view=incidents").await;
    browser.until_true(10, &format!("{ROWS} === 5")).await;
    let order =
        "[...document.querySelectorAll('#triage li')].map((row) => row.dataset.severity).join()";
    browser
        .until_true(10, &format!("{order} === 'critical,high,medium,low,info'"))
        .await;
    let chip = async |value: &str| {
        let chip = format!("document.querySelector('#facets [value={value}]').click()");
        browser.run(&chip).await;
    };
    chip("critical").await;
    chip("high").await;
    browser
        .until_true(10, &format!("{order} === 'critical,high'"))
        .await;
    chip("Outpost").await;
    browser
        .run("Object.assign(document.querySelector('#only'), {value: 'team'}).dispatchEvent(new Event('change'))")
        .await;
    browser.until_true(10, &format!("{ROWS} === 2")).await;

    // All loaded rows.
    press(&browser, "*").await;
    let chosen = "document.querySelector('#chosen').textContent";
    browser
        .until_true(5, &format!("{chosen} === '2 selected'"))
        .await;
    press(&browser, "a").await;
    answer(&browser, "name", "Ann").await;
    let count = async |status: &str, wanted: usize| {
        let path = format!("/api/incidents?status={status}");
        server
            .until(status, async |server| {
                let page = server.json(&path).await;
                (page["items"].as_array()?.len() == wanted).then_some(())
            })
            .await;
    };
    count("acknowledged", 2).await;
    browser.until_true(5, &format!("{chosen} === ''")).await;

    // A range of rows.
    chip("high").await;
    chip("critical").await;
    browser.until_true(10, &format!("{ROWS} === 5")).await;
    let last = "document.querySelector('#triage [aria-current]')?.dataset.severity === 'info'";
    for key in ["j", "j", "x", "j", "j", "X"] {
        press(&browser, key).await;
    }
    browser.until_true(5, last).await;
    browser
        .until_true(5, &format!("{chosen} === '3 selected'"))
        .await;
    press(&browser, "c").await;
    answer(&browser, "why", "Noise").await;
    count("closed", 3).await;
    // Closed rows stay in place until the list is reloaded.
    assert_eq!(browser.run(ROWS).await, 5);
    press(&browser, ".").await;
    browser.until_true(10, &format!("{ROWS} === 2")).await;

    // Export as data and as text.
    press(&browser, "Enter").await;
    browser
        .until_true(
            5,
            "document.querySelector('#incident h2')?.textContent === 'Kind critical'",
        )
        .await;
    browser.run(SAVED).await;
    let exports = "[...document.querySelectorAll('#incident .actions button')].filter((one) => one.textContent.startsWith('Export')).forEach((one) => one.onclick())";
    browser.run(exports).await;
    let kept = browser
        .run("Promise.all(window.saved.map((blob) => blob.text()))")
        .await;
    let data: serde_json::Value = serde_json::from_str(kept[0].as_str().unwrap()).unwrap();
    assert_eq!(
        (&data["title"], &data["status"]),
        (&json!("Kind critical"), &json!("acknowledged"))
    );
    assert_eq!(data["findings"]["items"].as_array().unwrap().len(), 1);
    let text = kept[1].as_str().unwrap();
    assert!(
        text.starts_with("# Kind critical\n") && text.contains("acknowledged"),
        "{text}"
    );

    // Handover report as text.
    press(&browser, "6").await;
    browser
        .until_true(
            5,
            "document.querySelector('#report').textContent.includes('closed: Noise')",
        )
        .await;
    browser.run(SAVED).await;
    browser.run("document.querySelector('#save').onclick?.() ?? document.querySelector('#save').dispatchEvent(new Event('click'))").await;
    let report = browser.run("window.saved[0].text()").await;
    let report = report.as_str().unwrap();
    assert!(
        report.starts_with("# Handover") && report.contains("Ann closed: Noise"),
        "{report}"
    );
    browser.close().await;
}
