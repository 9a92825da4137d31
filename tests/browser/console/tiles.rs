//! Live: several streams in a grid, zoom by mouse, keys and touch, and the
//! findings of what is shown.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::common::chromium::Chromium;
use crate::common::encoder::Encoder;
use crate::common::serve::TestServer;
use crate::console::fixture::{js, opened, press, quiet, report, reported};

/// Chooses a number of streams at once.
async fn lay_out(browser: &Chromium, count: usize) {
    browser
        .run(&format!(
            "(document.querySelector('#layout').value = '{count}', \
             document.querySelector('#layout').dispatchEvent(new Event('change')))"
        ))
        .await;
}

/// Names of the tiles that are shown.
const SHOWN: &str = "[...document.querySelectorAll('.tile')].filter((one) => one.checkVisibility()).map((one) => one.dataset.stream)";

/// Mean red, green and blue of the picture that a tile shows.
fn mean(stream: &str) -> String {
    format!(
        "(() => {{ const video = document.querySelector('.tile[data-stream={}] video'); \
         if (!video?.videoWidth) return null; \
         const canvas = new OffscreenCanvas(1, 1); const context = canvas.getContext('2d'); \
         context.drawImage(video, 0, 0, 1, 1); \
         return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)]; }})()",
        js(stream)
    )
}

/// Waits until a tile shows a colour, within what video levels and chroma do.
async fn until_coloured(browser: &Chromium, stream: &str, colour: [i32; 3]) {
    let wanted = format!(
        "(({}) ?? [-999, 0, 0]).every((one, nth) => Math.abs(one - {}[nth]) < 40)",
        mean(stream),
        json!(colour)
    );
    browser.until_true(30, &wanted).await;
}

async fn until_viewers(server: &TestServer, count: usize) {
    let wanted = format!("watchtower_viewers {count}");
    server
        .until(&wanted, async |server| {
            let metrics = server.get("/metrics").await.text().await.unwrap();
            metrics.lines().any(|line| line == wanted).then_some(())
        })
        .await;
}

fn colour(server: &TestServer, name: &str, colour: &str) -> Encoder {
    Encoder::drawn(
        &server.rtmp_url(&format!("live/{name}")),
        &format!("color=c={colour}:size=640x360:rate=20"),
    )
}

#[tokio::test]
async fn streams_in_a_grid_show_their_own_pictures_and_one_is_heard() {
    let server = quiet().await;
    let _red = colour(&server, "east", "red");
    let _blue = colour(&server, "west", "blue");
    let browser = opened(&server, "/#east").await;
    let both = "document.querySelector('#streams').options.length === 2";
    browser.until_true(30, both).await;
    lay_out(&browser, 1).await;
    until_coloured(&browser, "east", [254, 0, 0]).await;
    assert_eq!(browser.run(SHOWN).await, json!(["east"]));
    until_viewers(&server, 1).await;

    // By its key, and by the list.
    press(&browser, "g").await;
    until_coloured(&browser, "east", [254, 0, 0]).await;
    until_coloured(&browser, "west", [0, 0, 254]).await;
    assert_eq!(browser.run(SHOWN).await, json!(["east", "west"]));
    until_viewers(&server, 2).await;

    // The chosen one is heard, and no other.
    let heard = "[...document.querySelectorAll('.tile')].filter((one) => !one.querySelector('video').muted).map((one) => one.dataset.stream)";
    assert_eq!(browser.run(heard).await, json!([]));
    browser.click("#sound").await;
    assert_eq!(browser.run(heard).await, json!(["east"]));
    browser.click(".tile[data-stream=west] .tile-name").await;
    assert_eq!(browser.run(heard).await, json!(["west"]));
    let chosen = "[document.querySelector('#streams').value, decodeURIComponent(location.hash)]";
    assert_eq!(browser.run(chosen).await, json!(["west", "#west"]));
    browser.strike("m", false).await;
    assert_eq!(browser.run(heard).await, json!([]));

    // A tile that is not seen has no connection.
    press(&browser, "g").await;
    assert_eq!(browser.run(SHOWN).await, json!(["west"]));
    until_coloured(&browser, "west", [0, 0, 254]).await;
    until_viewers(&server, 1).await;
    press(&browser, "2").await;
    until_viewers(&server, 0).await;
    press(&browser, "1").await;
    until_coloured(&browser, "west", [0, 0, 254]).await;

    // Full screen by its key, and back.
    browser.strike("f", false).await;
    browser
        .until_true(5, "document.fullscreenElement?.id === 'tiles'")
        .await;
    browser.strike("f", false).await;
    browser
        .until_true(5, "document.fullscreenElement === null")
        .await;
    browser.close().await;
}

#[tokio::test]
async fn more_streams_than_tiles_have_pages() {
    let server = quiet().await;
    let names = ["a", "b", "c", "d", "e"];
    let _publishers: Vec<_> = names.map(|name| colour(&server, name, "gray")).into();
    let browser = opened(&server, "/#a").await;
    let all = "document.querySelector('#streams').options.length === 5";
    browser.until_true(30, all).await;
    lay_out(&browser, 4).await;
    assert_eq!(browser.run(SHOWN).await, json!(["a", "b", "c", "d"]));
    browser.click("#tiles-after").await;
    assert_eq!(browser.run(SHOWN).await, json!(["e"]));
    let pages = "document.querySelector('#tiles-shown').textContent";
    assert_eq!(browser.run(pages).await, "5–5 of 5");
    lay_out(&browser, 9).await;
    assert_eq!(browser.run(SHOWN).await, json!(names));
    assert_eq!(
        browser
            .run("document.querySelector('#pages').checkVisibility()")
            .await,
        false
    );
    // A reload keeps the layout.
    browser.open(&server.http_url("/healthz")).await;
    browser.open(&server.http_url("/#a")).await;
    browser
        .until_true(30, &format!("({SHOWN}).length === 5"))
        .await;
    browser.close().await;
}

/// Place of the middle of a tile in its picture, in pixels of that, and the
/// scale at which it is shown.
const UNDER: &str = "(() => { const lens = document.querySelector('#screen .lens').getBoundingClientRect(); \
    const content = document.querySelector('#screen .lens-content').getBoundingClientRect(); \
    const scale = content.width / lens.width; \
    const at = (x, y) => [(lens.left + lens.width * x - content.left) / scale, (lens.top + lens.height * y - content.top) / scale]; \
    return {scale, middle: at(0.5, 0.5), corner: at(0, 0), covers: content.left <= lens.left + 0.5 && content.right >= lens.right - 0.5}; })()";

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[tokio::test]
async fn video_is_zoomed_by_wheel_keys_and_fingers() {
    let server = quiet().await;
    let _publisher = Encoder::drawn(
        &server.rtmp_url("live/team"),
        "testsrc2=size=640x360:rate=20",
    );
    let browser = opened(&server, "/").await;
    let plays = "document.querySelector('#video').videoWidth === 640";
    browser.until_true(30, plays).await;
    let whole = browser.run(UNDER).await;
    assert!((number(&whole["scale"]) - 1.0).abs() < 0.01, "{whole}");

    // What is under the pointer stays there.
    browser.wheel("#screen .lens", -240.0).await;
    let zoomed = browser.run(UNDER).await;
    assert!(number(&zoomed["scale"]) > 1.5, "{zoomed}");
    for axis in [0, 1] {
        let moved = number(&zoomed["middle"][axis]) - number(&whole["middle"][axis]);
        assert!(moved.abs() < 2.0, "{whole} became {zoomed}");
    }
    // Boxes lie on the picture: they are zoomed with it.
    let aligned = "(() => { const layer = document.querySelector('#boxes').getBoundingClientRect(); \
        const video = document.querySelector('#video').getBoundingClientRect(); \
        return Math.max(Math.abs(layer.width / layer.height - 16 / 9) * 100, Math.abs(layer.left + layer.width / 2 - video.left - video.width / 2), Math.abs(layer.top + layer.height / 2 - video.top - video.height / 2)); })()";
    let off = number(&browser.run(aligned).await);
    assert!(off < 2.0, "boxes are off by {off} pixels");

    // Keys move it, to its edge and no further, and show all of it again.
    for _ in 0..30 {
        press(&browser, "ArrowLeft").await;
        press(&browser, "ArrowUp").await;
    }
    let corner = browser.run(UNDER).await;
    assert!(
        corner["covers"] == true && number(&corner["corner"][0]).abs() < 2.0,
        "{corner}"
    );
    press(&browser, "+").await;
    let closer = browser.run(UNDER).await;
    assert!(
        number(&closer["scale"]) > number(&corner["scale"]),
        "{closer}"
    );
    press(&browser, "0").await;
    assert_eq!(browser.run(UNDER).await["scale"], 1);

    // A double click zooms in, another one shows all of it.
    browser.double_click("#screen .lens").await;
    assert!(number(&browser.run(UNDER).await["scale"]) > 1.5);
    browser.double_click("#screen .lens").await;
    assert_eq!(browser.run(UNDER).await["scale"], 1);

    // Its buttons, for a mouse without a wheel.
    browser.click("#zoom-in").await;
    assert!(number(&browser.run(UNDER).await["scale"]) > 1.2);
    browser.click("#zoom-fit").await;
    assert_eq!(browser.run(UNDER).await["scale"], 1);

    browser.touch_screen(390, 844).await;
    browser.pinch("#screen .lens", 60.0, 150.0).await;
    let pinched = browser.run(UNDER).await;
    assert!(
        (2.0..3.2).contains(&number(&pinched["scale"])),
        "fingers went from 60 to 150 pixels apart: {pinched}"
    );
    browser.close().await;
}

#[tokio::test]
async fn findings_are_those_of_what_is_shown_by_their_time() {
    let server = quiet().await;
    let _east = colour(&server, "east", "red");
    let _west = colour(&server, "west", "blue");
    let browser = opened(&server, "/#east").await;
    let both = "document.querySelector('#streams').options.length === 2";
    browser.until_true(30, both).await;
    lay_out(&browser, 1).await;
    // Reported in another order than they were seen in.
    let now = Timestamp::now();
    for (number, (stream, ago)) in [
        ("east", 30),
        ("west", 20),
        ("east", 50),
        ("east", 10),
        ("west", 40),
        ("east", 20),
    ]
    .into_iter()
    .enumerate()
    {
        let mut finding = reported(number, &format!("{stream} {ago}"));
        finding["stream"] = json!(stream);
        finding["observed_at"] = json!((now - SignedDuration::from_secs(ago)).to_string());
        report(&server, &finding).await;
    }
    let listed = async |wanted: &[&str]| {
        let titles = "[...document.querySelectorAll('#findings h3')].map((one) => one.textContent)";
        let wanted = format!(
            "JSON.stringify({titles}) === {}",
            js(&json!(wanted).to_string())
        );
        browser.until_true(10, &wanted).await;
    };
    listed(&["east 10", "east 20", "east 30", "east 50"]).await;
    let everything = [
        "east 10", "west 20", "east 20", "east 30", "west 40", "east 50",
    ];
    browser.click("#everywhere").await;
    // Two were seen at once: the one reported last is first.
    let mut by_time = everything;
    by_time.swap(1, 2);
    listed(&by_time).await;
    browser.click("#everywhere").await;
    browser
        .run("(document.querySelector('#streams').value = 'west', document.querySelector('#streams').dispatchEvent(new Event('change')))")
        .await;
    listed(&["west 20", "west 40"]).await;
    // A grid shows the findings of all of its streams.
    lay_out(&browser, 4).await;
    listed(&by_time).await;
    browser.close().await;
}

#[tokio::test]
async fn picture_in_picture_plays_on_in_other_views() {
    let server = quiet().await;
    let _publisher = Encoder::ffmpeg(&server.rtmp_url("live/team"), &["-s", "1280x720"]);
    let browser = opened(&server, "/").await;
    let plays = "document.querySelector('#state').dataset.is === 'live' && document.querySelector('#video').videoWidth > 0";
    browser.until_true(30, plays).await;
    browser.click("#pip").await;
    let floats = "document.pictureInPictureElement?.id === 'video'";
    browser.until_true(10, floats).await;
    browser.strike("2", false).await;
    // Longer than a view that was left stays connected.
    browser.run("window.left = performance.now()").await;
    browser
        .until_true(20, "performance.now() > window.left + 10_000")
        .await;
    browser
        .run("window.shown = document.querySelector('#video').currentTime")
        .await;
    let goes_on = "document.querySelector('#video').currentTime > window.shown && !document.querySelector('#video').paused";
    browser.until_true(5, goes_on).await;
    assert_eq!(browser.run(floats).await, true);
    // Back, and ended by its key.
    browser.strike("1", false).await;
    browser.strike("p", false).await;
    browser
        .until_true(10, "document.pictureInPictureElement === null")
        .await;
    browser.until_true(10, plays).await;
    browser.close().await;
}
