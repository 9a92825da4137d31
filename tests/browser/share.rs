//! Page of who shares a screen, with a real capture, viewer and analysts.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use serde_json::{Value, json};

use crate::common::chromium::Chromium;
use crate::common::encoder::Encoder;
use crate::common::serve::{Setup, TestServer, command};
use crate::console::accessible::{axe, look};

const TOKEN: &str = "t0ken-of-the-console-4d3c2b1a";
/// Flags of a screen, and by which the page's own tab is chosen without the
/// browser's dialog.
const TAKES_THIS_TAB: [&str; 2] = [
    "--auto-accept-this-tab-capture",
    "--screen-info={1920x1080}",
];

async fn made(server: &TestServer, body: Value) -> Value {
    let request = server.client.post(server.http_url("/api/shares"));
    let request = request.bearer_auth(TOKEN).json(&body);
    request.send().await.unwrap().json().await.unwrap()
}

fn token(link: &Value) -> &str {
    link["token"].as_str().unwrap()
}

/// Waits until the page says so.
async fn says(browser: &Chromium, id: &str, text: &str) {
    let shown = format!(
        "document.querySelector('#{id}').textContent.includes({})",
        json!(text)
    );
    browser.until_true(20, &shown).await;
}

/// Lays a colour, or a text on it, over the page that is shared.
async fn draw(sharer: &Chromium, colour: &str, text: &str) {
    let script = format!(
        "const scene = document.querySelector('#scene') ?? document.body.appendChild(Object.assign(document.createElement('div'), {{id: 'scene', ariaHidden: 'true'}})); \
         Object.assign(scene.style, {{position: 'fixed', inset: '25% 0 25% 0', background: {}, color: '#111', font: '30px monospace', padding: '3rem', pointerEvents: 'none', zIndex: 9}}); \
         scene.textContent = {}; window.drawn = Date.now();",
        json!(colour),
        json!(text)
    );
    sharer.script(&script).await;
}

/// Notes the time at which a condition of the page is first true.
async fn note(browser: &Chromium, name: &str, condition: &str) {
    let script = format!(
        "window.{name} = 0; const wait = setInterval(() => {{ if ({condition}) {{ window.{name} = Date.now(); clearInterval(wait); }} }}, 20);"
    );
    browser.script(&script).await;
}

async fn noted(browser: &Chromium, name: &str) -> i64 {
    browser.until_true(20, &format!("window.{name} > 0")).await;
    browser
        .run(&format!("window.{name}"))
        .await
        .as_i64()
        .unwrap()
}

/// Expression of the viewer's page: mean red, green and blue of the middle of
/// the video.
const MIDDLE: &str = "(() => { const video = document.querySelector('#video'); \
    if (!video.videoWidth) return [0, 0, 0]; \
    const canvas = new OffscreenCanvas(1, 1); const brush = canvas.getContext('2d'); \
    brush.drawImage(video, video.videoWidth * 0.4, video.videoHeight * 0.4, video.videoWidth * 0.2, video.videoHeight * 0.2, 0, 0, 1, 1); \
    return [...brush.getImageData(0, 0, 1, 1).data].slice(0, 3); })()";

/// Expression that is true while the viewer's video shows the magenta scene.
fn shows_scene() -> String {
    format!("(([red, green, blue]) => red > 150 && blue > 150 && green < 100)({MIDDLE})")
}

/// Share page with the tab itself shared by a click.
async fn sharing(server: &TestServer, link: &Value, codec: &str) -> Chromium {
    let sharer = ready(server, link, codec, &[]).await;
    sharer.click("#begin").await;
    says(&sharer, "state", "sharing").await;
    sharer
}

/// Share page before the click.
async fn ready(server: &TestServer, link: &Value, codec: &str, flags: &[&str]) -> Chromium {
    let sharer = Chromium::with(&[&TAKES_THIS_TAB, flags].concat()).await;
    let path = format!("/share/team?tab=this&codec={codec}#token={}", token(link));
    sharer.open(&server.http_url(&path)).await;
    says(&sharer, "state", "ready").await;
    sharer
}

/// Console that plays the stream.
async fn viewing(server: &TestServer) -> Chromium {
    let viewer = Chromium::start().await;
    viewer.open(&server.http_url("/")).await;
    viewer
        .script(&format!("document.querySelector('#token').value = {}; document.querySelector('form').requestSubmit();", json!(TOKEN)))
        .await;
    viewer
        .until_true(20, "document.querySelector('#video')?.videoWidth > 0")
        .await;
    viewer
}

async fn shared_and_paused(codec: &str) {
    let server = Setup::new()
        .env("WATCHTOWER_CONSOLE_TOKEN", TOKEN)
        .start()
        .await;
    let wanted = json!({"stream": "team", "uses": "once", "findings": true});
    let link = made(&server, wanted).await;
    let sharer = sharing(&server, &link, codec).await;
    draw(&sharer, "#d000d0", "").await;
    let viewer = viewing(&server).await;
    viewer.until_true(30, &shows_scene()).await;
    says(&sharer, "quality", codec).await;
    // As large as it is, for text to be read.
    let whole = "document.querySelector('#own').videoWidth === innerWidth * devicePixelRatio";
    sharer.until_true(5, whole).await;
    let size = "document.querySelector('#video').videoWidth === ";
    let width = sharer.run("innerWidth").await;
    viewer.until_true(20, &format!("{size}{width}")).await;

    // The secret is said by its kind, and hidden from the analysts.
    draw(
        &sharer,
        "#ffffff",
        "aws_access_key_id = AKIAZ7QX3MPL5KD2W9TB",
    )
    .await;
    note(
        &sharer,
        "warned",
        "document.querySelector('#secrets').textContent.includes('AWS')",
    )
    .await;
    let warned = noted(&sharer, "warned").await;
    let drawn = sharer.run("window.drawn").await.as_i64().unwrap();
    // Within 5 s on a machine that is not busy; no test depends on that.
    println!("{codec}: warned after {} ms", warned - drawn);
    let said = sharer
        .run("document.querySelector('#secrets').textContent + document.title")
        .await;
    assert!(!said.as_str().unwrap().contains("AKIAZ7QX"), "{said}");
    sharer
        .until_true(10, "document.querySelector('#got').width > 600")
        .await;

    draw(&sharer, "#d000d0", "").await;
    viewer.until_true(30, &shows_scene()).await;
    let hidden = format!("!{}", shows_scene());
    note(&viewer, "hidden", &hidden).await;
    note(
        &viewer,
        "covered",
        "!document.querySelector('#screen .paused-card').hidden",
    )
    .await;
    note(
        &sharer,
        "pressed",
        "document.querySelector('#pause').textContent === 'Resume'",
    )
    .await;
    sharer.click("#pause").await;
    let (pressed, hidden) = (
        noted(&sharer, "pressed").await,
        noted(&viewer, "hidden").await,
    );
    let covered = noted(&viewer, "covered").await;
    // Within a second on a machine that is not busy.
    println!(
        "{codec}: video hidden after {} ms, covered after {} ms",
        hidden - pressed,
        covered - pressed
    );
    let still = async |server: &TestServer| {
        let url = server.http_url("/api/frames/team/latest.jpg");
        let request = server.client.get(url).bearer_auth(TOKEN);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(still(&server).await, 404, "hidden from analysts");
    assert_eq!(
        sharer
            .run("document.querySelector('#got + .covered').hidden")
            .await,
        false
    );

    sharer.click("#pause").await;
    says(&sharer, "state", "sharing").await;
    viewer.until_true(30, &shows_scene()).await;
    viewer
        .until_true(10, "document.querySelector('#screen .paused-card').hidden")
        .await;
    sharer.click("#stop").await;
    says(&sharer, "why", "Sharing has ended").await;
    assert!(!server.output().contains(token(&link)), "never logged");
    viewer.close().await;
    sharer.close().await;
}

#[tokio::test]
async fn shared_screen_is_watched_warned_of_and_paused_in_h264() {
    shared_and_paused("H264").await;
}

#[tokio::test]
async fn shared_screen_is_watched_warned_of_and_paused_in_vp9() {
    shared_and_paused("VP9").await;
}

#[tokio::test]
async fn shared_screen_is_watched_warned_of_and_paused_in_av1() {
    shared_and_paused("AV1").await;
}

#[tokio::test]
async fn sharing_goes_on_after_a_restart_of_the_server_and_stays_paused() {
    let setup = Setup::new()
        .agents("")
        .env("WATCHTOWER_CONSOLE_TOKEN", TOKEN);
    let mut server = setup.start().await;
    let link = made(&server, json!({"stream": "team", "uses": "once"})).await;
    let sharer = sharing(&server, &link, "H264").await;
    sharer.click("#pause").await;
    until_state(&server, "paused").await;
    server.signal("-KILL");
    server.wait().await;
    says(&sharer, "state", "reconnecting").await;
    let again = Setup::of(command("serve", server.folder.path()))
        .env("WATCHTOWER_CONSOLE_TOKEN", TOKEN)
        .env("WATCHTOWER_HTTP", &server.http.to_string())
        .start()
        .await;
    // By the token of its session: the link is used up.
    until_state(&again, "paused").await;
    says(&sharer, "state", "paused").await;
    sharer.click("#pause").await;
    until_state(&again, "live").await;
    says(&sharer, "state", "sharing").await;

    // Another publisher takes the stream over, and keeps it.
    let _other = Encoder::demo(&again.rtmp_url("live/team"));
    says(&sharer, "why", "Another publisher has taken over").await;
    until_state(&again, "live").await;
    sharer.close().await;
}

async fn until_state(server: &TestServer, wanted: &str) -> Value {
    let state = server.until(wanted, async |server| {
        let stream = stream(server).await?;
        (stream["state"] == wanted).then_some(stream)
    });
    state.await
}

async fn stream(server: &TestServer) -> Option<Value> {
    let url = server.http_url("/api/streams");
    let request = server.client.get(url).bearer_auth(TOKEN);
    let streams: Value = request.send().await.ok()?.json().await.ok()?;
    Some(streams["items"][0].clone())
}

/// Waits until that many more units of a kind have arrived than before.
async fn until_more(server: &TestServer, kind: &str, than: &Value, more: u64) -> Value {
    let arrived = server.until(kind, async |server| {
        let stream = stream(server).await?;
        (stream[kind].as_u64()? >= than[kind].as_u64()? + more).then_some(stream)
    });
    arrived.await
}

#[tokio::test]
async fn microphone_is_heard_and_silent_while_paused() {
    let setup = Setup::new()
        .agents("")
        .env("WATCHTOWER_CONSOLE_TOKEN", TOKEN);
    let server = setup.start().await;
    let link = made(&server, json!({"stream": "team", "uses": "once"})).await;
    let flags = [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
    ];
    let sharer = ready(&server, &link, "H264", &flags).await;
    sharer.click("#with-microphone").await;
    sharer.click("#begin").await;
    let live = until_state(&server, "live").await;
    until_more(&server, "audio_units", &live, 50).await;
    sharer.click("#pause").await;
    let paused = until_state(&server, "paused").await;
    // The card is sent all the time, and the sound was.
    let later = until_more(&server, "video_units", &paused, 5).await;
    assert_eq!(later["audio_units"], paused["audio_units"]);
    sharer.click("#pause").await;
    until_more(&server, "audio_units", &later, 50).await;
    sharer.close().await;
}

#[tokio::test]
async fn controls_stay_in_front_until_a_revoked_link_ends_sharing() {
    let server = Setup::new()
        .agents("")
        .env("WATCHTOWER_CONSOLE_TOKEN", TOKEN)
        .start()
        .await;
    let link = made(&server, json!({"stream": "team", "uses": "hours"})).await;
    let sharer = sharing(&server, &link, "H264").await;
    // Pause in a window that stays in front.
    sharer.click("#front").await;
    let front = "documentPictureInPicture.window?.document.querySelector('#pause')";
    sharer.until_true(10, &format!("Boolean({front})")).await;
    sharer.run(&format!("{front}.click()")).await;
    until_state(&server, "paused").await;
    sharer.run("documentPictureInPicture.window.close()").await;
    sharer.click("#pause").await;
    until_state(&server, "live").await;
    let url = server.http_url(&format!("/api/shares/{}", link["id"].as_str().unwrap()));
    let revoked = server
        .client
        .delete(url)
        .bearer_auth(TOKEN)
        .send()
        .await
        .unwrap();
    assert_eq!(revoked.status().as_u16(), 204);
    says(&sharer, "why", "revoked").await;
    server
        .until("the stream has no publisher", async |server| {
            let url = server.http_url("/api/streams");
            let answer = server
                .client
                .get(url)
                .bearer_auth(TOKEN)
                .send()
                .await
                .unwrap();
            let streams: Value = answer.json().await.unwrap();
            (streams["items"][0]["state"] != "live").then_some(())
        })
        .await;
    sharer.close().await;
}

#[tokio::test]
async fn page_says_why_nothing_can_be_shared() {
    let server = Setup::new()
        .agents("")
        .env("WATCHTOWER_CONSOLE_TOKEN", TOKEN)
        .start()
        .await;
    let port = server.http.port();
    let browser = Chromium::with(&["--host-resolver-rules=MAP tower.test 127.0.0.1"]).await;
    let plain = format!("http://tower.test:{port}/share/team#token=x");
    browser.open(&plain).await;
    says(&browser, "why", "HTTPS").await;
    let open = async |token: &str| {
        browser.open("about:blank").await;
        let fragment = if token.is_empty() {
            String::new()
        } else {
            format!("#token={token}")
        };
        browser
            .open(&server.http_url(&format!("/share/team{fragment}")))
            .await;
    };
    open("").await;
    says(&browser, "why", "no valid share link").await;
    open("gue55").await;
    says(&browser, "why", "No valid share link for this stream").await;
    // The token does not stay in the address, which may be on the screen.
    assert_eq!(browser.run("location.hash").await, "");
    let link = made(&server, json!({"stream": "team", "uses": "once"})).await;
    let session = server
        .client
        .post(server.http_url("/api/share/team/session"));
    let begun = session.bearer_auth(token(&link)).send().await.unwrap();
    assert_eq!(begun.status().as_u16(), 200);
    open(token(&link)).await;
    says(&browser, "why", "was used already").await;
    assert_eq!(
        browser
            .run("document.querySelector('#choose').hidden")
            .await,
        true
    );
    // A phone has no screen capture.
    let link = made(&server, json!({"stream": "team", "uses": "hours"})).await;
    browser
        .prepare("delete MediaDevices.prototype.getDisplayMedia")
        .await;
    open(token(&link)).await;
    says(&browser, "why", "on a computer").await;
    browser.close().await;
}

#[tokio::test]
async fn page_and_dialog_pass_in_both_themes_and_sizes() {
    let axe = axe();
    let server = Setup::new().start().await;
    let browser = Chromium::with(&TAKES_THIS_TAB).await;
    let mut found = Vec::new();
    let sizes = [(1920, 1080), (1366, 768), (390, 844)];
    for theme in ["dark", "light"] {
        browser.theme(theme).await;
        for (width, height) in sizes {
            let what = |page: &str| format!("{page}, {theme}, {width}x{height}");
            browser.resize(width, height).await;
            browser.open(&server.http_url("/")).await;
            browser.click("#waiting .ways button").await;
            browser
                .run("document.querySelector('#share-form').requestSubmit()")
                .await;
            browser
                .until_true(10, "document.querySelector('#share-made .qr') !== null")
                .await;
            found.extend(look(&browser, &axe, &what("dialog")).await);
            picture(&browser, &what("dialog")).await;
            browser.open(&server.http_url("/share/team?tab=this")).await;
            says(&browser, "state", "ready").await;
            found.extend(look(&browser, &axe, &what("ready")).await);
            picture(&browser, &what("ready")).await;
        }
    }
    browser.resize(1366, 768).await;
    browser.click("#begin").await;
    says(&browser, "state", "sharing").await;
    // Played by every viewer as it comes.
    says(&browser, "quality", "H264").await;
    draw(&browser, "#ffffff", "password: hunter2-Kq8z").await;
    browser
        .until_true(20, "document.querySelector('#secrets').textContent !== ''")
        .await;
    browser
        .script("document.querySelector('#scene').remove()")
        .await;
    for state in ["sharing", "paused"] {
        for theme in ["dark", "light"] {
            browser.theme(theme).await;
            for (width, height) in sizes {
                browser.resize(width, height).await;
                let what = format!("{state}, {theme}, {width}x{height}");
                found.extend(look(&browser, &axe, &what).await);
                picture(&browser, &what).await;
            }
        }
        if state == "sharing" {
            browser.click("#pause").await;
            says(&browser, "state", "paused").await;
        }
    }
    browser.close().await;
    assert!(found.is_empty(), "{found:#?}");
}

/// Keeps a screenshot where `WATCHTOWER_PICTURES` names a folder.
async fn picture(browser: &Chromium, what: &str) {
    let Some(folder) = std::env::var_os("WATCHTOWER_PICTURES") else {
        return;
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    let name = what.replace([',', ' '], "-");
    let file = std::path::Path::new(&folder).join(format!("{name}.png"));
    std::fs::write(file, browser.screenshot().await).unwrap();
}
