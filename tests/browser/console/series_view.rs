//! Series: list and chart with mouse and keyboard, gaps, untrusted labels.

use jiff::Timestamp;

use crate::common::chromium::Chromium;
use crate::common::serve::{Setup, TestServer};
use crate::console::accessible::{axe, look};
use crate::console::fixture::{NOBODY, js, opened, press};

/// Label as a hostile screen has it, and one that is written right to left.
const HOSTILE: &str = "<img src=x onerror='window.taken=1'> latency";
const RIGHT_TO_LEFT: &str = "معدل الأخطاء";

/// Seconds of a series: place, label, unit, and its values as first and last
/// second before now, value.
type Values = [(
    &'static str,
    &'static str,
    &'static str,
    &'static [(i64, i64, f64)],
)];

const SERIES: &Values = &[
    (
        "card",
        "p99 latency",
        "seconds",
        // Covered for 20 minutes.
        &[
            (3500, 2900, 0.24),
            (2900, 1900, 0.31),
            (700, 400, 4.8),
            (400, 120, 0.25),
            (120, 5, 0.24),
        ],
    ),
    ("table Services", HOSTILE, "none", &[(900, 5, 12.0)]),
    (
        "card",
        RIGHT_TO_LEFT,
        "percent",
        &[(3000, 2000, 12.4), (1990, 5, 0.4)],
    ),
    ("card-2/3", "Storage used", "bytes", &[(3000, 5, 1.5e12)]),
];

/// Server whose record has these series.
async fn with_series() -> TestServer {
    let mut server = Setup::new().agents(NOBODY).start().await;
    server.signal("-TERM");
    assert!(server.wait().await.success());
    let file = server.folder.path().join("data/watchtower.db");
    let db = rusqlite::Connection::open(file).unwrap();
    let now = Timestamp::now().as_nanosecond() as i64;
    let at = |before: i64| now - before * 1_000_000_000;
    for (nth, (place, label, unit, values)) in SERIES.iter().enumerate() {
        let (first, last) = (values[0], values[values.len() - 1]);
        db.execute(
            "INSERT INTO series (stream, key, place, label, unit, first_at, last_at, value)
             VALUES ('team', ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            rusqlite::params![
                nth.to_string(),
                place,
                label,
                unit,
                at(first.0),
                at(last.1),
                last.2
            ],
        )
        .unwrap();
        let id = db.last_insert_rowid();
        for (from, to, value) in *values {
            db.execute(
                "INSERT INTO series_raw VALUES (?1, ?2, ?3, ?4, ?4, ?4)",
                rusqlite::params![id, at(*from), at(*to), value],
            )
            .unwrap();
        }
    }
    drop(db);
    server.again().await
}

async fn text(browser: &Chromium, selector: &str) -> String {
    let content = format!(
        "document.querySelector({})?.textContent ?? ''",
        js(selector)
    );
    browser.run(&content).await.as_str().unwrap().to_owned()
}

async fn shows(browser: &Chromium, selector: &str, text: &str) {
    let there = format!(
        "(document.querySelector({})?.textContent ?? '').includes({})",
        js(selector),
        js(text)
    );
    browser.until_true(10, &there).await;
}

const READOUT: &str = "#series .series-readout";
const PLOT: &str = "#series .series-plot";
const VALUE: &str = "document.querySelector('#series .series-plot').getAttribute('aria-valuetext')";
const ROWS: &str = "document.querySelectorAll('#series-list tr').length";

#[tokio::test]
async fn a_series_is_found_and_read_by_mouse_and_keyboard() {
    let server = with_series().await;
    let browser = opened(&server, "/").await;
    press(&browser, "9").await;
    browser.until_true(10, &format!("{ROWS} === 4")).await;
    shows(&browser, "#series-count", "4 series").await;
    let listed = text(&browser, "#series-list").await;
    for part in [HOSTILE, RIGHT_TO_LEFT, "1.5 TB", "240 ms", "0.4 %"] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    // Text of a screen stays text.
    let made = "[document.querySelectorAll('#series img').length, window.taken ?? 0]";
    assert_eq!(browser.run(made).await, serde_json::json!([0, 0]));

    // Filter: in the address, by keyboard.
    browser.click("#series-filter [name=label]").await;
    for key in ["p", "9", "9", "Enter"] {
        browser.strike(key, false).await;
    }
    browser.until_true(10, &format!("{ROWS} === 1")).await;
    browser
        .until_true(5, "location.search === '?view=series&label=p99'")
        .await;
    browser.run("location.reload()").await;
    browser.until_true(10, &format!("{ROWS} === 1")).await;

    // Chart, by mouse.
    browser.click("#series-list a").await;
    browser
        .until_true(10, "document.querySelector('#series .chart') !== null")
        .await;
    assert_eq!(text(&browser, "#series-chart h2").await, "p99 latency");
    browser
        .until_true(5, "document.activeElement.matches('#series-chart h2')")
        .await;
    // Its line is broken where the number was covered, and that time is marked:
    // before the first value, and the 20 minutes between.
    let drawn = "[...document.querySelectorAll('#series .chart rect.gap')].map((one) => Math.round(one.getBoundingClientRect().width / document.querySelector('#series .series-plot').clientWidth * 60))";
    let minutes: Vec<i64> = serde_json::from_value(browser.run(drawn).await).unwrap();
    assert!(
        minutes.iter().any(|minutes| (17..=20).contains(minutes)),
        "{minutes:?}"
    );
    let parts =
        "document.querySelector('#series .chart path.line').getAttribute('d').match(/M/g).length";
    assert_eq!(browser.run(parts).await, 2);
    let labels =
        "[...document.querySelectorAll('#series .chart text')].map((one) => one.textContent)";
    let labels: Vec<String> = serde_json::from_value(browser.run(labels).await).unwrap();
    assert!(
        labels.contains(&"5 s".to_owned()) && labels.contains(&"0 s".to_owned()),
        "{labels:?}"
    );
    assert!(labels.iter().any(|label| label.contains(':')), "{labels:?}");

    // Value under the mouse, in a gap and beside it.
    browser
        .hover("#series .chart rect.gap:nth-of-type(2)")
        .await;
    shows(&browser, READOUT, "not on screen").await;
    browser.hover(PLOT).await;
    let of_middle = text(&browser, READOUT).await;
    assert!(of_middle.contains("UTC"), "{of_middle}");
    // By keyboard.
    browser
        .run("document.querySelector('#series .series-plot').focus()")
        .await;
    let key = |key: &str| {
        format!(
            "document.querySelector('#series .series-plot').dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}', bubbles: true}}))"
        )
    };
    browser.run(&key("Home")).await;
    browser
        .until_true(5, &format!("{VALUE}.endsWith(': not on screen')"))
        .await;
    browser.run(&key("End")).await;
    browser.run(&key("ArrowLeft")).await;
    browser
        .until_true(5, &format!("{VALUE}.endsWith(': 240 ms')"))
        .await;
    // No gap is a zero.
    browser.click("#series-chart summary").await;
    let values = text(&browser, "#series-chart tbody").await;
    assert!(
        values.contains("not on screen") && !values.contains("0 s"),
        "{values}"
    );

    // Deep link: the same chart, and back to the list.
    let address = browser.run("location.href").await;
    browser.open(address.as_str().unwrap()).await;
    shows(&browser, "#series-chart h2", "p99 latency").await;
    browser.click("#series-chart .back").await;
    browser
        .until_true(5, "document.querySelector('#series-one').hidden")
        .await;
    browser.click("#series-all").await;
    browser.until_true(10, &format!("{ROWS} === 4")).await;
    browser
        .until_true(5, "location.search === '?view=series'")
        .await;

    // Nothing found, and a series that is gone.
    browser
        .open(&server.http_url("/?view=series&label=nothing"))
        .await;
    shows(&browser, "#series-count", "No series match the filter").await;
    browser
        .open(&server.http_url("/?view=series&series=999"))
        .await;
    shows(&browser, "#series-chart [role=alert]", "series").await;
    browser.close().await;
}

#[tokio::test]
async fn the_series_pass_in_both_themes_and_three_sizes() {
    let axe = axe();
    let empty = Setup::new().agents(NOBODY).start().await;
    let browser = opened(&empty, "/?view=series").await;
    shows(&browser, "#series-count", "No series yet").await;
    browser
        .until_true(5, "!document.querySelector('#series-empty').hidden && document.querySelector('#series-table').hidden")
        .await;
    let mut found = look(&browser, &axe, "empty").await;
    browser.close().await;

    let server = with_series().await;
    let browser = opened(&server, "/?view=series").await;
    for theme in ["dark", "light"] {
        browser.theme(theme).await;
        for (width, height) in [(1920, 1080), (1366, 768), (390, 844)] {
            browser.resize(width, height).await;
            for (what, path) in [("list", ""), ("chart", "&series=1")] {
                browser
                    .open(&server.http_url(&format!("/?view=series{path}")))
                    .await;
                browser.until_true(10, &format!("{ROWS} === 4")).await;
                if what == "chart" {
                    shows(&browser, READOUT, "240 ms").await;
                }
                let what = format!("{what}, {theme}, {width}x{height}");
                found.extend(look(&browser, &axe, &what).await);
                let wide = "document.documentElement.scrollWidth - innerWidth";
                let wide = browser.run(wide).await.as_i64().unwrap();
                assert!(wide <= 0, "{what} scrolls sideways by {wide}");
            }
        }
    }
    browser.close().await;
    assert!(found.is_empty(), "{found:#?}");
}
