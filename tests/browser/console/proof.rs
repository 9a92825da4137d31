//! Evidence as evidence: what makes the severity is marked, what was invented is
//! struck, and pictures can be looked at closely.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use watchtower::base::stream_name::StreamName;
use watchtower::codec::encode_jpeg;
use watchtower::domain::finding::{Evidence, Finding, Severity};
use watchtower::domain::incident::{Exchange, Opinion, PanelVerdict, Stance};
use watchtower::media::MediaTime;
use watchtower::record::Record;
use watchtower::record::settings::StoreSettings;
use watchtower::record::store::{PanelExchange, Publication, Snapshot};
use watchtower::screen::frame::Frame;
use watchtower::screen::picture::Picture;
use watchtower::screen::redact::{Redact, RedactedFrame, RedactedJpeg};

use crate::common::chromium::Chromium;
use crate::common::serve::{Setup, TestServer};
use crate::console::accessible::{axe, look};
use crate::console::fixture::{NOBODY, opened, press, report, reported};

const FAILED: &str = "Failed password for admin from 203.0.113.45 port 51502 ssh2";
const AGAIN: &str = "Failed password for admin from 203.0.113.45 port 51508 ssh2";
const ACCEPTED: &str = "Accepted password for admin from 203.0.113.45 port 51544 ssh2";
const INVENTED: &str = "model exfiltration job started";

/// Places of the lines, one below the other: 16 pixels high at 1080p, 24 apart.
pub(crate) const ROWS: [[u16; 4]; 3] = [
    [300, 280, 315, 620],
    [322, 280, 337, 620],
    [344, 280, 359, 620],
];

/// Still of a screen with bars for those lines.
pub(crate) fn still(rows: &[[u16; 4]]) -> RedactedJpeg {
    let (width, height) = (1920_u32, 1080_u32);
    let mut picture = Picture::grey(width, height);
    for [top, left, bottom, right] in rows {
        for y in u32::from(*top) * height / 1000..u32::from(*bottom) * height / 1000 {
            let row = (y * width) as usize;
            let at = |thousandths: u16| row + usize::from(thousandths) * width as usize / 1000;
            picture.y[at(*left)..at(*right)].fill(230);
        }
    }
    let (stream, at) = (StreamName::new("team").unwrap(), Timestamp::UNIX_EPOCH);
    let frame = Frame::new(stream, 1, MediaTime(0), at, Arc::new(picture), encode_jpeg);
    let redacted = RedactedFrame::of(&Arc::new(frame), Redact::Off).unwrap();
    redacted.still().unwrap()
}

pub(crate) fn piece(quote: &str, bounds: Option<[u16; 4]>, grounded: bool) -> Evidence {
    Evidence {
        quote: quote.to_owned(),
        bounds,
        grounded: Some(grounded),
    }
}

/// Finding on a still, with its evidence.
pub(crate) fn publication(
    finding: Finding,
    still: &RedactedJpeg,
    evidence: Vec<Evidence>,
) -> Publication {
    let mut finding = finding;
    finding.frame.sha256 = still.sha256().to_owned();
    finding.evidence = evidence;
    Publication {
        finding,
        still: Some(still.clone()),
        asked: None,
    }
}

fn opinion(of: &Finding, agent: &str, stance: Stance) -> Opinion {
    Opinion {
        agent: agent.to_owned(),
        to: of.agent.clone(),
        reported: Some(of.severity),
        stance,
        failed: false,
        text: "As I see it.".to_owned(),
        severity: Some(Severity::High),
        confidence: Some(0.8),
        evidence: vec![piece(INVENTED, None, false)],
        at: of.observed_at,
        model: of.model.clone(),
    }
}

/// Server with an incident of two findings on one picture, the second of which
/// made it critical, that three of four analysts dispute and the panel settled
/// as high; and stills of before and after.
async fn disputed() -> (TestServer, String) {
    let setup = Setup::new().agents(NOBODY);
    let folder = setup.folder.path();
    let (record, writer) = Record::open(
        &folder.join("data"),
        &folder.join("logs"),
        &[],
        &StoreSettings::default(),
    )
    .unwrap();
    let now = Timestamp::now();
    let first = Finding {
        observed_at: now,
        title: "Burst of failed logins".to_owned(),
        ..Finding::sample()
    };
    let worst = Finding {
        id: uuid::Uuid::now_v7(),
        severity: Severity::Critical,
        title: "Login succeeded after a burst of failures".to_owned(),
        ..first.clone()
    };
    let shown = still(&ROWS);
    let evidence = vec![
        piece(FAILED, Some(ROWS[0]), true),
        piece(AGAIN, Some(ROWS[1]), true),
    ];
    let opened = record.publish(publication(first, &shown, evidence)).await;
    let evidence = vec![
        piece(FAILED, Some(ROWS[0]), true),
        piece(INVENTED, Some([10, 10, 900, 900]), false),
        piece(ACCEPTED, Some(ROWS[2]), true),
    ];
    let worst = record.publish(publication(worst, &shown, evidence)).await;
    let worst = worst.unwrap();
    assert_eq!(worst.incident, opened.unwrap().incident);
    for (seconds, rows) in [(-10, &ROWS[..1]), (10, &ROWS[..])] {
        let snapshot = Snapshot {
            stream: worst.stream.clone(),
            seen_at: now + SignedDuration::from_secs(seconds),
            frame_seq: 1,
            still: still(rows),
        };
        record.write(snapshot).await.unwrap();
    }
    let opinions = vec![
        opinion(&worst, "DevOps", Stance::Dispute),
        opinion(&worst, "CloudSec", Stance::Dispute),
        opinion(&worst, "AISec", Stance::Confirm),
        opinion(&worst, "Architect", Stance::Dispute),
        opinion(&worst, "Outpost", Stance::NoView),
    ];
    let verdict = PanelVerdict {
        by: "Evidence reviewer".to_owned(),
        reported: Some(worst.severity),
        severity: Severity::High,
        confidence: 0.9,
        text: "Not critical.".to_owned(),
        dissent: vec![worst.agent.clone()],
        at: now,
        model: worst.model.clone(),
    };
    let incident = worst.incident.unwrap();
    let exchange = Exchange {
        opinions,
        verdict: Some(verdict),
        transcripts: Vec::new(),
    };
    let settled = PanelExchange { incident, exchange };
    record.write(settled).await.unwrap();
    drop(record);
    tokio::task::spawn_blocking(move || writer.join().unwrap())
        .await
        .unwrap();
    (setup.start().await, incident.to_string())
}

/// Browser with that incident open.
async fn with_incident() -> (TestServer, Chromium, String) {
    let (server, id) = disputed().await;
    let browser = opened(&server, &format!("/?view=incidents&incident={id}")).await;
    pictures(&browser).await;
    (server, browser, id)
}

async fn pictures(browser: &Chromium) {
    let there = "document.querySelector('#incident .proof img')?.naturalWidth === 1920";
    browser.until_true(20, there).await;
}

const STRUCK: &str = "[...document.querySelectorAll('.invented')].filter((one) => one.checkVisibility()).map((one) => \
    `${one.querySelector('s q').textContent} ${getComputedStyle(one.querySelector('s')).textDecorationLine} ${one.querySelector('.unfounded').textContent}`)";

#[tokio::test]
async fn invented_quote_is_struck_wherever_it_is_quoted() {
    let (server, browser, id) = with_incident().await;
    let struck = format!("{INVENTED} line-through not on screen");
    let all = |count: usize| {
        let (browser, expected) = (&browser, json!(vec![struck.clone(); count]));
        async move {
            let same = format!("JSON.stringify({STRUCK}) === JSON.stringify({expected})");
            browser.until_true(10, &same).await;
        }
    };
    // Summary, and four opinions: one analyst has none.
    all(5).await;
    let quotes = "[...document.querySelectorAll('#incident q')].filter((one) => !one.closest('s')).map((one) => one.textContent)";
    assert_eq!(browser.run(quotes).await, json!([FAILED, ACCEPTED]));
    // The file says so, too.
    browser
        .run("(URL.createObjectURL = (blob) => { blob.text().then((text) => { window.saved = text; }); return 'blob:none'; }, \
              [...document.querySelectorAll('#incident .actions button')].find((one) => one.textContent === 'Export Markdown').click())")
        .await;
    browser.until_true(10, "Boolean(window.saved)").await;
    let saved = browser.run("window.saved").await;
    let saved = saved.as_str().unwrap();
    let line = format!("- ~~\"{INVENTED}\"~~ (not on screen)\n");
    assert!(saved.contains(&line), "{saved}");
    assert!(saved.contains("- severity: critical → high, 3 of 4 dispute\n"));
    assert!(!saved.contains(&format!("- \"{INVENTED}")), "{saved}");

    // Discussion of the analysts.
    press(&browser, "3").await;
    all(4).await;
    // Live: the quote that was found is preferred; where there is none, what
    // was invented is struck.
    press(&browser, "1").await;
    let card = "document.querySelectorAll('#findings li').length > 1";
    browser.until_true(10, card).await;
    all(0).await;
    let mut finding = reported(7, "Exfiltration");
    finding["evidence"] = json!([{"quote": INVENTED, "box": null, "grounded": false}]);
    report(&server, &finding).await;
    all(1).await;
    assert!(!id.is_empty());
    browser.close().await;
}

#[tokio::test]
async fn severity_of_the_list_is_as_settled_with_the_original_beside_it() {
    let (server, browser, id) = with_incident().await;
    report(&server, &reported(1, "Slow login")).await;
    let mut lower = reported(2, "Open port");
    lower["severity"] = json!("medium");
    report(&server, &lower).await;
    let head =
        "document.querySelector('#incident header .settled').textContent.replace(/\\s+/g, ' ')";
    assert_eq!(
        browser.run(head).await,
        "was critical → high 3 of 4 dispute"
    );
    browser
        .open(&server.http_url("/?view=incidents&sort=severity"))
        .await;
    let rows = "[...document.querySelectorAll('#triage li')].map((row) => [row.dataset.severity, row.querySelector('a').textContent])";
    let named = "Login succeeded after a burst of failures";
    let sorted = json!([
        ["high", "Slow login"],
        ["high", named],
        ["medium", "Open port"]
    ]);
    let same = format!("JSON.stringify({rows}) === JSON.stringify({sorted})");
    browser.until_true(10, &same).await;
    let row = format!("document.querySelector(\"#triage [data-id='{id}'] .settled\")");
    assert_eq!(
        browser.run(&format!("{row}.title")).await,
        "critical → high, 3 of 4 dispute"
    );
    assert_eq!(
        browser
            .run(&format!("{row}.querySelector('s').textContent"))
            .await,
        "critical"
    );
    // It is not among the critical ones, in the list nor in the title.
    browser
        .open(&server.http_url("/?view=incidents&severity=critical"))
        .await;
    browser
        .until_true(10, "!document.querySelector('#calm').hidden")
        .await;
    assert_eq!(browser.run("document.title").await, "Watchtower: Incidents");
    browser.close().await;
}

/// Boxes of the proof: place, whether strong, and the distance in pixels from
/// what it marks to the inner edge of its line.
const BOXES: &str = "[...document.querySelectorAll('#incident .proof .box')].map((box) => { \
    const [frame, place, line] = [box.parentElement.getBoundingClientRect(), box.getBoundingClientRect(), getComputedStyle(box, '::after')]; \
    const gap = Math.min(...['top', 'left', 'bottom', 'right'].map((side) => -parseFloat(line[side]) - parseFloat(line.borderTopWidth))); \
    const at = (value, from, size) => Math.round((value - from) / size * 1000); \
    return {top: at(place.top, frame.top, frame.height), bottom: at(place.bottom, frame.top, frame.height), \
      strong: !box.classList.contains('thin'), severity: box.dataset.severity, gap, width: parseFloat(line.borderTopWidth)}; })";

#[tokio::test]
async fn boxes_show_what_makes_the_severity_and_cross_no_text() {
    let (_server, browser, _) = with_incident().await;
    for (width, height) in [(1920, 1080), (1366, 768), (390, 844)] {
        browser.resize(width, height).await;
        let shown = browser.run(BOXES).await;
        let shown = shown.as_array().unwrap();
        let of = |one: &Value| json!([one["top"], one["bottom"], one["strong"], one["severity"]]);
        // One picture for both moments, and nothing of the invented quote.
        let places: Vec<Value> = shown.iter().map(of).collect();
        assert_eq!(
            json!(places),
            json!([
                [322, 337, false, "high"],
                [300, 315, true, "critical"],
                [344, 359, true, "critical"],
            ]),
            "{width}x{height}"
        );
        for one in shown {
            let (gap, line) = (one["gap"].as_f64().unwrap(), one["width"].as_f64().unwrap());
            assert!(gap >= 0.5 && line >= 0.5, "{width}x{height}: {one}");
        }
    }
    browser.close().await;
}

const ZOOMED: &str = "(() => { const {a, e, f} = new DOMMatrix(getComputedStyle(document.querySelector('#viewer .picture')).transform); return {scale: a, x: e, y: f}; })()";

async fn zoomed(browser: &Chromium, condition: &str) {
    let is = format!("(({{scale, x, y}}) => {condition})({ZOOMED})");
    browser.until_true(10, &is).await;
}

#[tokio::test]
async fn evidence_is_enlarged_zoomed_and_panned_with_a_mouse_and_with_keys() {
    let (_server, browser, _) = with_incident().await;
    browser.click("#incident .proof .enlarge").await;
    let opened = "document.querySelector('#viewer').open && document.querySelector('#viewer img').naturalWidth === 1920";
    browser.until_true(10, opened).await;
    zoomed(&browser, "scale === 1").await;
    browser.wheel("#viewer .frame", -300.0).await;
    zoomed(&browser, "scale > 2.5").await;
    let before = browser.run(ZOOMED).await;
    browser.drag("#viewer .frame", 120.0, 60.0).await;
    let moved = format!(
        "Math.abs(x - ({}) - 120) < 2 && Math.abs(y - ({}) - 60) < 2",
        before["x"], before["y"]
    );
    zoomed(&browser, &moved).await;
    browser.wheel("#viewer .frame", 3000.0).await;
    zoomed(&browser, "scale === 1").await;
    let link = "(({href, download}) => [new URL(href).pathname.endsWith('.jpg'), download])(document.querySelector('#viewer a[download]'))";
    let link = browser.run(link).await;
    assert_eq!(link[0], true);
    let name = link[1].as_str().unwrap();
    assert!(
        name.starts_with("team_20") && name.ends_with(".jpg"),
        "{name}"
    );
    browser.click("#viewer form button").await;

    // Keys: the evidence, closer, along it, and all of it again.
    browser
        .run("document.querySelector('#incident .proof .enlarge').focus()")
        .await;
    browser.strike("Enter", false).await;
    browser.until_true(10, opened).await;
    browser.strike("e", false).await;
    // Both strong boxes are seen, and large.
    let evidence = "(() => { const frame = document.querySelector('#viewer .frame').getBoundingClientRect(); \
        return [...document.querySelectorAll('#viewer .box:not(.thin)')].every((one) => { const {left, right, top, bottom} = one.getBoundingClientRect(); \
        return left >= frame.left && right <= frame.right && top >= frame.top && bottom <= frame.bottom && right - left > frame.width / 2; }); })()";
    browser.until_true(10, evidence).await;
    let before = browser.run(ZOOMED).await;
    browser.strike("+", false).await;
    zoomed(&browser, &format!("scale > 1.3 * {}", before["scale"])).await;
    let before = browser.run(ZOOMED).await;
    browser.strike("ArrowRight", false).await;
    zoomed(&browser, &format!("x < ({}) - 20", before["x"])).await;
    browser.strike("0", false).await;
    zoomed(&browser, "scale === 1").await;
    browser.strike("Escape", false).await;
    let back = "!document.querySelector('#viewer').open && document.activeElement.classList.contains('enlarge')";
    browser.until_true(10, back).await;
    browser.close().await;
}

#[tokio::test]
async fn evidence_is_pinched_on_a_touch_screen() {
    let (_server, browser, _) = with_incident().await;
    browser.touch_screen(390, 844).await;
    browser.tap("#incident .proof .enlarge").await;
    let opened = "document.querySelector('#viewer').open && document.querySelector('#viewer img').naturalWidth === 1920";
    browser.until_true(10, opened).await;
    browser.pinch("#viewer .frame", 60.0, 180.0).await;
    zoomed(&browser, "scale > 2.5 && scale < 3.5").await;
    browser.tap("#viewer [aria-label=Evidence]").await;
    zoomed(&browser, "scale > 1.5").await;
    browser.tap("#viewer [aria-label=Fit]").await;
    zoomed(&browser, "scale === 1").await;
    browser.tap("#viewer form button").await;
    browser
        .until_true(10, "!document.querySelector('#viewer').open")
        .await;
    browser.close().await;
}

#[tokio::test]
async fn before_and_after_are_compared_by_a_slider() {
    let (_server, browser, _) = with_incident().await;
    let loaded = "[...document.querySelectorAll('#incident .compare img')].filter((one) => one.naturalWidth === 1920).length === 2";
    browser
        .run("document.querySelector('#incident .compare').scrollIntoView()")
        .await;
    browser.until_true(10, loaded).await;
    let cut = "getComputedStyle(document.querySelector('#incident .compare .after')).clipPath";
    let at = |percent: u32| {
        let browser = &browser;
        async move {
            let is = format!("{cut} === 'inset(0px 0px 0px {percent}%)'");
            browser.until_true(10, &is).await;
        }
    };
    at(50).await;
    browser
        .run("document.querySelector('#incident .compare input').focus()")
        .await;
    for _ in 0..3 {
        browser.strike("ArrowRight", false).await;
    }
    at(53).await;
    browser.strike("ArrowLeft", false).await;
    at(52).await;
    let said = "document.querySelector('#incident .compare input').ariaValueText";
    assert_eq!(browser.run(said).await, "left 52 % before, rest after");
    // With the mouse, on the picture itself.
    let width = browser
        .run("document.querySelector('#incident .compare .picture').getBoundingClientRect().width")
        .await;
    let width = width.as_f64().unwrap();
    browser
        .drag("#incident .compare .picture", width / 4.0, 0.0)
        .await;
    at(75).await;
    browser
        .click("#incident .compare .ends button:last-child")
        .await;
    browser
        .until_true(10, "document.querySelector('#viewer').open")
        .await;
    browser.close().await;
}

#[tokio::test]
async fn incident_with_its_evidence_is_accessible() {
    let axe = axe();
    let (_server, browser, _) = with_incident().await;
    let mut found = Vec::new();
    for theme in ["dark", "light"] {
        browser.theme(theme).await;
        for (width, height) in [(1920, 1080), (1366, 768), (390, 844)] {
            browser.resize(width, height).await;
            pictures(&browser).await;
            // Colours of the other theme fade.
            let still = "document.getAnimations().every((one) => one.playState !== 'running')";
            browser.until_true(10, still).await;
            let what = format!("{theme}, {width}x{height}");
            found.extend(look(&browser, &axe, &what).await);
            browser
                .run("document.querySelector('#incident .proof .enlarge').click()")
                .await;
            found.extend(look(&browser, &axe, &format!("enlarged, {what}")).await);
            browser
                .run("document.querySelector('#viewer').close()")
                .await;
        }
    }
    browser.close().await;
    assert!(found.is_empty(), "{found:#?}");
}
