//! Accessibility of every view by axe-core, in both themes, on a desktop, a
//! laptop and a phone.

use crate::common::chromium::Chromium;
use crate::common::encoder::Encoder;
use crate::common::gemini::{CannedReply, FakeGemini};
use crate::common::serve::Setup;
use crate::console::fixture::{opened, press, report, reported, submit};

/// Source of axe-core, installed by `scripts/check-page.sh`.
pub(crate) fn axe() -> String {
    let file = concat!(
        env!("CARGO_TARGET_TMPDIR"),
        "/page/node_modules/axe-core/axe.min.js"
    );
    std::fs::read_to_string(file)
        .unwrap_or_else(|error| panic!("{error}: {file}: run scripts/check-page.sh"))
}

/// Violations found, as text.
pub(crate) async fn look(browser: &Chromium, axe: &str, what: &str) -> Vec<String> {
    let run = "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})";
    let wanted = format!(
        "{axe}; return {run}.then(({{violations}}) => violations.map(({{id, help, nodes}}) => \
         `${{id}}: ${{help}}: ${{nodes.slice(0, 3).map((one) => one.html.slice(0, 160) + ' ' + one.failureSummary).join(' | ')}}`))"
    );
    let found = browser.script(&wanted).await;
    let found = found.as_array().unwrap().iter();
    found.map(|one| format!("{what}: {one}")).collect()
}

#[tokio::test]
async fn every_view_passes_in_both_themes_and_sizes() {
    let axe = axe();
    let gemini = FakeGemini::start().await;
    let finding = serde_json::json!([{
        "evidence": "All systems operational", "box_2d": [], "category": "anomaly",
        "title": "The platform claims to be well", "detail": "It says so itself.",
        "mitre_techniques": ["T1499"], "severity": "high", "confidence": 0.9,
        "recommended_action": "Ask somebody else."
    }]);
    gemini.script(
        "SecOps",
        std::iter::repeat_n(CannedReply::findings(&finding), 50),
    );
    let server = Setup::new()
        .env("GOOGLE_API_KEY", "AIzaFakeKeyOfTheTests0123456789abcdefgh")
        .env("GOOGLE_GEMINI_BASE_URL", &gemini.base_url())
        .start()
        .await;
    let browser = opened(&server, "/").await;
    browser
        .run("localStorage.setItem('watchtower.who', 'Ann')")
        .await;
    let waiting = "document.querySelector('#waiting table') !== null";
    browser.until_true(10, waiting).await;
    let mut found = look(&browser, &axe, "waiting for a stream").await;

    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    let settled = "document.querySelectorAll('#findings li').length > 0";
    browser.until_true(60, settled).await;
    // On two streams, some at the same time and some not.
    for (number, minutes) in [0, 0, 1, 20, 21, 50].into_iter().enumerate() {
        let mut finding = reported(number, &format!("Trouble {number}"));
        let seen = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(minutes);
        finding["observed_at"] = serde_json::json!(seen.to_string());
        finding["severity"] = ["critical", "high", "medium", "low", "info", "high"][number].into();
        finding["stream"] = ["demo", "team"][number % 2].into();
        report(&server, &finding).await;
    }
    for theme in ["dark", "light"] {
        browser.theme(theme).await;
        for (width, height) in [(1920, 1080), (1366, 768), (390, 844)] {
            browser.resize(width, height).await;
            for (key, view) in [
                ("1", "live"),
                ("2", "incidents"),
                ("3", "panel"),
                ("4", "search"),
                ("5", "history"),
                ("6", "handover"),
                ("7", "setup"),
                ("8", "suppressions"),
                ("9", "series"),
            ] {
                press(&browser, key).await;
                if view == "incidents" {
                    browser
                        .until_true(10, "document.querySelectorAll('#triage li').length > 0")
                        .await;
                    press(&browser, "Enter").await;
                    browser
                        .until_true(10, "document.querySelector('#incident .transcripts, #incident h2') !== null")
                        .await;
                    browser
                        .run("document.querySelector('#incident .transcripts')?.setAttribute('open', '')")
                        .await;
                }
                if view == "history" {
                    browser
                        .until_true(10, "document.querySelectorAll('#lanes .tick').length > 3")
                        .await;
                }
                if view == "search" {
                    submit(&browser, "query", "operational").await;
                    submit(&browser, "question", "Is the platform operational?").await;
                }
                tokio::time::sleep(std::time::Duration::from_millis(400)).await;
                let what = format!("{view}, {theme}, {width}x{height}");
                found.extend(look(&browser, &axe, &what).await);
            }
            // The bar of the selected incidents, a notice, the list behind the
            // mark of health, and the palette.
            press(&browser, "2").await;
            press(&browser, "Escape").await;
            press(&browser, "x").await;
            browser
                .run("document.querySelector(`#bar [data-key=${document.querySelector('#triage [aria-current]').dataset.status === 'new' ? 'a' : 'r'}]`).click()")
                .await;
            browser
                .until_true(10, "document.querySelector('#bar').hidden && !document.querySelector('#toast').hidden")
                .await;
            press(&browser, "x").await;
            browser
                .until_true(10, "!document.querySelector('#bar').hidden")
                .await;
            browser
                .run("document.querySelector('#parts').showPopover()")
                .await;
            found.extend(
                look(
                    &browser,
                    &axe,
                    &format!("acting, {theme}, {width}x{height}"),
                )
                .await,
            );
            press(&browser, "Escape").await;
            browser
                .run("(document.querySelector('#parts').hidePopover(), document.querySelector('#commands').click())")
                .await;
            found.extend(
                look(
                    &browser,
                    &axe,
                    &format!("palette, {theme}, {width}x{height}"),
                )
                .await,
            );
            browser
                .run("document.querySelector('#palette').close()")
                .await;
            press(&browser, "?").await;
            found.extend(look(&browser, &axe, &format!("keys, {theme}, {width}x{height}")).await);
            browser.run("document.querySelector('#ask').close()").await;
            // Groups, facets that are unfolded, and the time ranges.
            browser
                .open(&server.http_url("/?view=incidents&group=stream&pictures=1"))
                .await;
            browser
                .until_true(10, "document.querySelectorAll('#triage .fold').length > 1")
                .await;
            browser
                .run("(document.querySelector('#triage .fold').click(), document.querySelector('#refine').click())")
                .await;
            browser
                .until_true(10, "document.querySelectorAll('#triage .pick').length > 0")
                .await;
            found.extend(
                look(
                    &browser,
                    &axe,
                    &format!("groups, {theme}, {width}x{height}"),
                )
                .await,
            );
            press(&browser, "t").await;
            found.extend(
                look(
                    &browser,
                    &axe,
                    &format!("ranges, {theme}, {width}x{height}"),
                )
                .await,
            );
            // Without the grouping, which stays while the page does.
            browser.open(&server.http_url("/")).await;
        }
    }
    browser.close().await;
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test]
async fn the_way_in_passes() {
    let axe = axe();
    let server = Setup::new()
        .agents(crate::console::fixture::NOBODY)
        .env("WATCHTOWER_CONSOLE_TOKEN", "t0ken-of-the-console-4d3c2b1a")
        .start()
        .await;
    let browser = opened(&server, "/").await;
    let mut found = Vec::new();
    for theme in ["dark", "light"] {
        browser.theme(theme).await;
        found.extend(look(&browser, &axe, theme).await);
    }
    browser.close().await;
    assert!(found.is_empty(), "{found:#?}");
}
