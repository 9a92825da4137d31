//! Incident list: columns, facets, groups, and rows that no longer match.

use serde_json::{Value, json};

use crate::common::chromium::Chromium;
use crate::common::serve::TestServer;
use crate::console::fixture::{answer, js, opened, press, quiet, report, reported};

/// Title, severity, stream, agent, category and quote of each incident.
const SIX: [[&str; 6]; 6] = [
    [
        "Reverse shell",
        "critical",
        "team",
        "Outpost",
        "suspicious_command",
        "bash -i connects out of host web-01",
    ],
    [
        "Disk full",
        "critical",
        "demo",
        "Outpost",
        "availability",
        "no space left on device of host db-04",
    ],
    [
        "Brute force",
        "high",
        "team",
        "Lookout",
        "policy",
        "900 wrong passwords at host web-01",
    ],
    [
        "Slow login",
        "medium",
        "team",
        "Outpost",
        "performance",
        "sign-in takes nine seconds at host web-02",
    ],
    [
        "Old package",
        "low",
        "demo",
        "Lookout",
        "vulnerability",
        "openssl 1.0 installed on host db-04",
    ],
    [
        "Port scan",
        "info",
        "demo",
        "Outpost",
        "anomaly",
        "knocking at every port comes from host db-09",
    ],
];

async fn six() -> TestServer {
    let server = quiet().await;
    // The mildest is seen last.
    for (number, [title, severity, stream, agent, category, quote]) in SIX.into_iter().enumerate() {
        let mut finding = reported(number, title);
        finding["severity"] = json!(severity);
        finding["stream"] = json!(stream);
        finding["agent"] = json!(agent);
        finding["category"] = json!(category);
        finding["evidence"][0]["quote"] = json!(quote);
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

/// Counts of a facet, by name.
async fn counts(browser: &Chromium, facet: &str) -> Value {
    let counts = format!(
        "Object.fromEntries([...document.querySelectorAll('#facets [name={facet}]')].map((one) => \
         [one.value, Number(one.parentElement.querySelector('.count').textContent)]))"
    );
    browser.run(&counts).await
}

async fn until_counts(browser: &Chromium, facet: &str, expected: Value) {
    for _ in 0..100 {
        if counts(browser, facet).await == expected {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(counts(browser, facet).await, expected);
}

fn chip(facet: &str, value: &str) -> String {
    format!("#facets label:has([name={facet}][value='{value}'])")
}

#[tokio::test]
async fn rows_have_columns_and_the_worst_come_first() {
    let server = six().await;
    let browser = opened(&server, "/?view=incidents").await;
    browser.resize(1920, 1080).await;
    // Of one severity the newest comes first.
    let mut titles: Vec<_> = SIX.iter().map(|one| one[0]).collect();
    titles.swap(0, 1);
    shows(&browser, &titles).await;
    let row = "[...document.querySelectorAll('#triage li')].find((one) => one.textContent.includes('Brute force'))";
    let cells = format!(
        "['.severity', '.subject .foreign', '.stream .foreign', '.total', '.analysts .foreign'].map((one) => {row}.querySelector(one).textContent)"
    );
    assert_eq!(
        browser.run(&cells).await,
        json!(["high", "web-01", "team", "1×", "Lookout"])
    );
    let height = format!("{row}.getBoundingClientRect().height");
    assert_eq!(browser.run(&height).await, 36);
    // Findings of the last hour: one, in the last column.
    let spark = format!("{row}.querySelector('.spark path')?.getAttribute('d')");
    browser
        .until_true(10, &format!("/^M19 10v-10/.test({spark})"))
        .await;
    let title = format!("{row}.querySelector('.spark').title");
    assert_eq!(browser.run(&title).await, "1 finding in the last hour");
    browser.close().await;
}

#[tokio::test]
async fn facets_filter_and_count() {
    let server = six().await;
    let browser = opened(&server, "/?view=incidents").await;
    let all = json!({"critical": 2, "high": 1, "medium": 1, "low": 1, "info": 1});
    until_counts(&browser, "severities", all.clone()).await;
    until_counts(&browser, "agent", json!({"Outpost": 4, "Lookout": 2})).await;
    until_counts(&browser, "owner", json!({"-": 6})).await;
    browser.click(&chip("severities", "critical")).await;
    shows(&browser, &["Disk full", "Reverse shell"]).await;
    // Of its own facet all are counted, to add another.
    until_counts(&browser, "severities", all).await;
    until_counts(&browser, "agent", json!({"Outpost": 2})).await;
    browser.click(&chip("severities", "low")).await;
    shows(&browser, &["Disk full", "Reverse shell", "Old package"]).await;
    browser.click(&chip("agent", "Lookout")).await;
    shows(&browser, &["Old package"]).await;
    let address = "location.search";
    assert_eq!(
        browser.run(address).await,
        "?view=incidents&severities=critical%2Clow&agent=Lookout"
    );
    browser.run("location.reload()").await;
    shows(&browser, &["Old package"]).await;
    browser.run("history.back()").await;
    shows(&browser, &["Disk full", "Reverse shell", "Old package"]).await;

    // By the keyboard: a chip keeps the focus while its counts change.
    browser
        .run("document.querySelector('#facets [value=high]').focus()")
        .await;
    browser.strike(" ", false).await;
    shows(
        &browser,
        &["Disk full", "Reverse shell", "Brute force", "Old package"],
    )
    .await;
    until_counts(&browser, "agent", json!({"Outpost": 2, "Lookout": 2})).await;
    let focused = "document.activeElement.value";
    assert_eq!(browser.run(focused).await, "high");

    // The stream is that of the page.
    browser
        .run("Object.assign(document.querySelector('#only'), {value: 'demo'}).dispatchEvent(new Event('change'))")
        .await;
    shows(&browser, &["Disk full", "Old package"]).await;
    let named = "new URLSearchParams(location.search).get('stream')";
    assert_eq!(browser.run(named).await, "demo");
    browser.close().await;
}

#[tokio::test]
async fn closed_rows_stay_until_they_are_hidden() {
    let server = six().await;
    let browser = opened(&server, "/?view=incidents").await;
    browser
        .run("localStorage.setItem('watchtower.who', 'Ann')")
        .await;
    browser
        .until_true(10, &format!("{TITLES}.startsWith('Disk full')"))
        .await;
    press(&browser, "c").await;
    answer(&browser, "why", "Cleaned up").await;
    let gone = "document.querySelector('#gone:not([hidden])')?.textContent";
    browser
        .until_true(10, &format!("{gone} === '1 closed · hide'"))
        .await;
    let rows = "document.querySelectorAll('#triage li').length";
    assert_eq!(browser.run(rows).await, 6);
    browser.click("#gone").await;
    browser.until_true(5, &format!("{rows} === 5")).await;
    assert_eq!(
        browser.run("document.querySelector('#gone').hidden").await,
        true
    );
    until_counts(
        &browser,
        "status",
        json!({"new": 5, "acknowledged": 0, "closed": 1}),
    )
    .await;
    // The next row is the one that keys act on.
    let current = "document.querySelector('#triage [aria-current] a').textContent";
    assert_eq!(browser.run(current).await, "Reverse shell");
    browser.close().await;
}

/// Headers of the groups: name, number of incidents, and whether it is unfolded.
const GROUPS: &str = "[...document.querySelectorAll('#triage .group')].map((one) => \
    `${one.querySelector('b').textContent} ${one.querySelector('.total').textContent} ${one.querySelector('.fold').ariaExpanded}`).join()";

async fn grouped(browser: &Chromium, groups: &[&str]) {
    let shown = format!("{GROUPS} === {}", js(&groups.join(",")));
    browser.until_true(10, &shown).await;
}

#[tokio::test]
async fn incidents_are_grouped_and_unfolded() {
    let server = six().await;
    let browser = opened(&server, "/?view=incidents").await;
    let choose = async |by: &str| {
        browser
            .run(&format!(
                "(document.querySelector('#filters [name=group]').value = '{by}', \
                 document.querySelector('#filters [name=group]').dispatchEvent(new Event('change', {{bubbles: true}})))"
            ))
            .await;
    };
    browser
        .until_true(10, &format!("{TITLES}.startsWith('Disk full')"))
        .await;
    choose("stream").await;
    grouped(
        &browser,
        &["demo 3 incidents false", "team 3 incidents false"],
    )
    .await;
    choose("subject").await;
    grouped(
        &browser,
        &[
            "db-04 2 incidents false",
            "web-01 2 incidents false",
            "web-02 1 incident false",
            "db-09 1 incident false",
        ],
    )
    .await;
    // With the mouse, then with the keyboard.
    browser.click("#triage .group:nth-child(2) .fold").await;
    shows(&browser, &["Reverse shell", "Brute force"]).await;
    browser.strike("ArrowLeft", false).await;
    shows(&browser, &[]).await;
    let current = "document.querySelector('#triage [aria-current]')?.dataset.id";
    browser
        .until_true(5, &format!("{current} === 'group:web-01'"))
        .await;
    browser.strike("ArrowRight", false).await;
    shows(&browser, &["Reverse shell", "Brute force"]).await;
    browser.strike("j", false).await;
    browser.strike("Enter", false).await;
    let opened = "document.querySelector('#incident h2')?.textContent === 'Reverse shell'";
    browser.until_true(5, opened).await;
    // A new one is counted in its group; rows do not move by themselves.
    let mut finding = reported(77, "Cron job");
    finding["evidence"][0]["quote"] = json!("crontab edited by hand on host web-02");
    report(&server, &finding).await;
    let counted = format!("{GROUPS}.includes('web-02 2 incidents false')");
    browser.until_true(10, &counted).await;
    browser.close().await;
}

/// Direction of the head of a column, as a screen reader hears it.
async fn headed(browser: &Chromium, column: &str, direction: &str) {
    let sorted = format!(
        "document.querySelector('#heads .{column}').getAttribute('aria-sort') === '{direction}'"
    );
    browser.until_true(5, &sorted).await;
}

#[tokio::test]
async fn list_is_sorted_by_the_head_of_a_column() {
    let server = six().await;
    let browser = opened(&server, "/?view=incidents").await;
    browser.resize(1920, 1080).await;
    let mut titles: Vec<_> = SIX.iter().map(|one| one[0]).collect();
    titles.swap(0, 1);
    shows(&browser, &titles).await;
    headed(&browser, "worst", "descending").await;
    headed(&browser, "naming", "none").await;
    let mut by_title = titles.clone();
    by_title.sort_unstable();
    browser.click("#heads .naming button").await;
    shows(&browser, &by_title).await;
    headed(&browser, "naming", "ascending").await;
    headed(&browser, "worst", "none").await;
    // The focus stays on the head; Enter turns the order round.
    browser.strike("Enter", false).await;
    by_title.reverse();
    shows(&browser, &by_title).await;
    headed(&browser, "naming", "descending").await;
    let address = "location.search";
    assert_eq!(
        browser.run(address).await,
        "?view=incidents&sort=title&order=desc"
    );
    browser.run("location.reload()").await;
    shows(&browser, &by_title).await;
    headed(&browser, "naming", "descending").await;
    // A new one is where its title belongs, once it is shown.
    report(&server, &reported(90, "Cron job")).await;
    browser
        .until_true(10, "!document.querySelector('#fresh').hidden")
        .await;
    browser.click("#fresh").await;
    by_title.push("Cron job");
    by_title.sort_unstable_by(|one, other| other.cmp(one));
    shows(&browser, &by_title).await;
    // Without heads, by the button beside the choice.
    browser.touch_screen(390, 844).await;
    browser.tap("#order").await;
    by_title.reverse();
    shows(&browser, &by_title).await;
    assert_eq!(browser.run(address).await, "?view=incidents&sort=title");
    browser.close().await;
}
