//! The page on `/` in a real browser: ffmpeg publishes to the real server,
//! Chromium watches.

use std::time::Duration;

use crate::common::chromium::{Chromium, PlaybackStats};
use crate::common::encoder::Encoder;
use crate::common::enhanced::{EnhancedCodec, LoopingPublisher};
use crate::common::serve::{Setup, TestServer};

/// Script that records the page's connections and their statistics.
const LOOK: &str = r"
    const Real = RTCPeerConnection;
    window.connections = [];
    window.RTCPeerConnection = class extends Real {
      constructor(...args) { super(...args); connections.push(this); }
      setRemoteDescription(answer) {
        let { type, sdp } = answer;
        if (window.detour) sdp = window.detour(sdp);
        if (window.WITHOUT_UDP) sdp = sdp.replace(/a=candidate:.* udp .*\r\n/g, '');
        return super.setRemoteDescription({ type, sdp });
      }
    };
    window.look = async () => {
      const seen = { connections: connections.length };
      for (const report of (await connections.at(-1)?.getStats() ?? new Map()).values()) {
        if (report.type === 'inbound-rtp') seen[report.kind] = report;
        if (report.type === 'candidate-pair' && report.nominated) seen.pair = report;
        if (report.type === 'local-candidate' && report.protocol === 'tcp') seen.tcp = true;
      }
      return seen;
    };
";

async fn open(server: &TestServer, prelude: &str) -> Chromium {
    let browser = Chromium::start().await;
    browser.prepare(&format!("{prelude};{LOOK}")).await;
    browser.open(&server.http_url("/")).await;
    browser
}

async fn pictures(browser: &Chromium) -> PlaybackStats {
    browser
        .until(20, "decoded pictures", |seen| {
            seen.video("framesDecoded") > 50.0
        })
        .await
}

/// Waits for some seconds of picture and sound at the source's rate, without
/// silence. Before that a browser on a busy machine may have fallen behind, and
/// then shows more than are sent while it catches up.
async fn plays(browser: &Chromium, rate: f64, what: &str) {
    if browser.run("video.muted").await == true {
        browser
            .run("document.querySelector('#sound').click()")
            .await;
    }
    let mut first = pictures(browser).await;
    let mut measured = Vec::new();
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        let second = browser.look().await;
        let since = |name: &str| second.video(name) - first.video(name);
        let seconds = since("timestamp") / 1000.0;
        let seen = since("framesReceived") / seconds;
        // A browser on a busy machine decodes fewer than come to it.
        let decoded = since("framesDecoded") / seconds;
        let energy = second.audio("totalAudioEnergy") - first.audio("totalAudioEnergy");
        println!(
            "{what}: {seen:.1} pictures a second, {decoded:.1} decoded, {} freezes, sound energy {energy:.4}",
            since("freezeCount"),
        );
        if (seen - rate).abs() < 0.1 * rate && decoded > rate / 3.0 && energy > 0.0 {
            return;
        }
        measured.push((seen, decoded, energy));
        first = second;
    }
    panic!("{what}: pictures a second, decoded, and sound: {measured:?}; {first:#?}");
}

/// Asserts that the browser shows `testsrc2` unchanged: its six bars, red to
/// cyan, each compared in the middle of its width.
async fn shows_the_source(browser: &Chromium, what: &str) {
    // RGB of the source itself, decoded by ffmpeg.
    const BARS: [[i64; 3]; 6] = [
        [255, 25, 0],
        [0, 217, 0],
        [255, 242, 0],
        [0, 13, 255],
        [255, 38, 255],
        [0, 230, 255],
    ];
    // Tolerance for two matrices, ranges and lossy coding; grey is 128 away.
    const NEAR: i64 = 45;
    let script = "(() => {
      const canvas = document.createElement('canvas');
      canvas.width = 600; canvas.height = 100;
      const context = canvas.getContext('2d');
      context.drawImage(video, 0, 0, 600, 100);
      return [50, 150, 250, 350, 450, 550]
        .map((x) => [...context.getImageData(x, 30, 1, 1).data].slice(0, 3));
    })()";
    // A moving part of the picture may cover it.
    let mut wrong = Vec::new();
    for _ in 0..10 {
        let seen = browser.run(script).await;
        wrong = (0..BARS.len())
            .filter(|bar| {
                let channels = (0..3).map(|channel| {
                    let value = seen[bar][channel].as_i64().unwrap_or(-1000);
                    (value - BARS[*bar][channel]).abs()
                });
                channels.max() > Some(NEAR)
            })
            .map(|bar| (bar, seen[bar].clone()))
            .collect();
        if wrong.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    panic!("{what}: bars that are not the source's: {wrong:?}");
}

#[tokio::test]
async fn the_page_plays_picture_and_sound_and_shows_findings() {
    let server = Setup::new().start().await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/team"));
    let browser = open(&server, "").await;
    pictures(&browser).await;
    browser
        .until_true(5, "document.querySelector('#state').textContent === 'live'")
        .await;
    browser
        .until_true(5, "document.querySelector('#streams').value === 'team'")
        .await;
    let agents = "document.querySelectorAll('#agents li').length === 5";
    browser.until_true(5, agents).await;
    // The newest finding of the API is the one on the page.
    let shown = "document.querySelector('#findings h3')?.textContent?.length > 0";
    browser.until_true(60, shown).await;
    let newest = browser
        .run("fetch('/api/findings?limit=1').then((r) => r.json())")
        .await;
    let title = newest["items"][0]["title"].as_str().unwrap().to_owned();
    let titles = format!(
        "[...document.querySelectorAll('#findings h3')].some((t) => t.textContent === {})",
        serde_json::to_string(&title).unwrap()
    );
    browser.until_true(5, &titles).await;
    assert_eq!(browser.run("video.muted").await, true);
    browser
        .run("document.querySelector('#sound').click()")
        .await;
    assert_eq!(browser.run("video.muted").await, false);
    if let Some(file) = std::env::var_os("WATCHTOWER_SCREENSHOT") {
        tokio::time::sleep(Duration::from_secs(25)).await;
        std::fs::write(file, browser.screenshot().await).unwrap();
    }
    browser.close().await;
}

/// Streams as OBS and Zoom send them, and codecs that browsers can't play
/// without transcoding.
#[tokio::test]
async fn the_page_plays_what_encoders_send() {
    let server = Setup::new().agents("").start().await;
    let zoom = "-profile:v high -bf 0 -ar 48000 -b:a 128k";
    let obs = "-preset veryfast -profile:v high -bf 2 -x264-params b-adapt=0 -ar 48000 -g 250";
    let cases = ["zoom", "obs", "hevc", "av1", "vp8", "vp9"];
    let mut publishers = Vec::new();
    for (name, options) in cases.into_iter().zip([zoom, obs]) {
        let options: Vec<_> = options.split(' ').collect();
        let url = server.rtmp_url(&format!("live/{name}"));
        publishers.push(Encoder::ffmpeg(&url, &options));
    }
    let _hevc = LoopingPublisher::start(server.rtmp, "hevc", EnhancedCodec::Hevc);
    let _av1 = LoopingPublisher::start(server.rtmp, "av1", EnhancedCodec::Av1);
    // With Opus, which is not transcoded.
    let _vp8 = LoopingPublisher::start(server.rtmp, "vp8", EnhancedCodec::Vp8);
    let _vp9 = LoopingPublisher::start(server.rtmp, "vp9", EnhancedCodec::Vp9);
    server
        .until("the streams", async |server| {
            let streams = server.json("/api/streams").await;
            (streams["items"].as_array()?.len() == cases.len()).then_some(())
        })
        .await;
    // The analysts' decoder supports all of them.
    for name in cases {
        let still = format!("/api/frames/{name}/latest.jpg");
        server
            .until("a still", async |server| {
                (server.get(&still).await.status() == 200).then_some(())
            })
            .await;
    }
    let browser = open(&server, "").await;
    for name in cases {
        browser
            .open(&server.http_url(&format!("/healthz#{name}")))
            .await;
        browser.open(&server.http_url(&format!("/#{name}"))).await;
        let chosen = format!("document.querySelector('#streams').value === '{name}'");
        browser.until_true(10, &chosen).await;
        pictures(&browser).await;
        shows_the_source(&browser, name).await;
        plays(&browser, 25.0, name).await;
        shows_the_source(&browser, name).await;
    }
    let metrics = server.get("/metrics").await.text().await.unwrap();
    let cost: Vec<_> = metrics
        .lines()
        .filter(|line| line.starts_with("watchtower_transcode"))
        .collect();
    println!("{}", cost.join("\n"));
    // Transcodes run only while there are viewers.
    browser.close().await;
    server
        .until("the end of the transcodes", async |server| {
            let metrics = server.get("/metrics").await.text().await.unwrap();
            metrics.contains("watchtower_transcodes 0\n").then_some(())
        })
        .await;
}

/// Media address and port of an answer.
async fn media(server: &TestServer) -> std::net::SocketAddr {
    let offer = server
        .client
        .post(server.http_url("/whep/team"))
        .header("content-type", "application/sdp")
        .body(include_str!("whep/offer.sdp"));
    let answer = offer.send().await.expect("an answer");
    let location = answer.headers()["location"]
        .to_str()
        .expect("an answer")
        .to_owned();
    let sdp = answer.text().await.expect("an answer");
    let words = sdp.lines().find(|line| line.starts_with("a=candidate:"));
    let port = words
        .expect("an answer")
        .split(' ')
        .nth(5)
        .expect("an answer");
    let end = server.client.delete(server.http_url(&location));
    end.send().await.expect("an answer");
    format!("127.0.0.1:{port}").parse().expect("an answer")
}

/// ICE continues but media stops: only the page itself can detect that.
#[tokio::test]
async fn the_page_notices_a_stall_and_comes_back() {
    // An empty variable means the default level.
    let setup = Setup::new().agents("").env("RUST_LOG", "");
    let server = setup.start().await;
    let _publisher = Encoder::ffmpeg(&server.rtmp_url("live/team"), &["-bf", "0"]);
    server
        .until("the stream", async |server| {
            let streams = server.json("/api/streams").await;
            (streams["items"][0]["name"] == "team").then_some(())
        })
        .await;
    let relay = crate::whep::relay::Relay::start(media(&server).await).await;
    // The first connection uses the relay, the others the direct address.
    let prelude = format!(
        "window.detour = (sdp) => connections.length > 1 ? sdp :
           sdp.replace(/a=candidate:.* tcp .*\\r\\n/g, '').replace(/127.0.0.1 \\d+ typ/g, '127.0.0.1 {} typ')",
        relay.address.port()
    );
    let lines_before = server.output().lines().count();
    let browser = open(&server, &prelude).await;
    pictures(&browser).await;
    // A few log lines per viewer at the default level, not a page.
    let output = server.output();
    let new_lines: Vec<_> = output.lines().skip(lines_before).collect();
    assert!(new_lines.len() <= 4, "{new_lines:#?}");
    relay.mute();
    browser
        .until(40, "another connection", |seen| seen.0["connections"] == 2)
        .await;
    pictures(&browser).await;
    browser
        .until_true(5, "document.querySelector('#state').textContent === 'live'")
        .await;
    browser.close().await;
}

/// Without transcoding a viewer gets an error, not an endless wait.
#[tokio::test]
async fn without_transcoding_what_can_not_play_is_refused() {
    let setup = Setup::new()
        .agents("")
        .settings("[webrtc]\ntranscode = \"never\"");
    let server = setup.start().await;
    let _hevc = LoopingPublisher::start(server.rtmp, "hevc", EnhancedCodec::Hevc);
    server
        .until("a picture", async |server| {
            let streams = server.json("/api/streams").await;
            (streams["items"][0]["codec"] == "HEVC").then_some(())
        })
        .await;
    let answer = server
        .client
        .post(server.http_url("/whep/hevc"))
        .header("content-type", "application/sdp")
        .body(include_str!("whep/offer.sdp"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 406);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: serde_json::Value = answer.json().await.unwrap();
    let why = problem["detail"].as_str().unwrap();
    assert!(
        why.contains("HEVC") && why.contains("webrtc.transcode"),
        "{why}"
    );
}

#[tokio::test]
async fn the_page_takes_tcp_where_udp_does_not_get_through() {
    let server = Setup::new().agents("").start().await;
    let _publisher = Encoder::ffmpeg(&server.rtmp_url("live/team"), &["-bf", "0"]);
    let browser = open(&server, "window.WITHOUT_UDP = true").await;
    plays(&browser, 25.0, "over TCP").await;
    assert_eq!(browser.look().await.0["tcp"], true);
    browser.close().await;
}

/// A publisher that is killed and returns, without a reload of the page.
#[tokio::test]
async fn the_page_goes_on_when_the_publisher_returns() {
    let server = Setup::new().agents("").start().await;
    let url = server.rtmp_url("live/team");
    let mut publisher = Encoder::ffmpeg(&url, &["-bf", "0"]);
    let browser = open(&server, "").await;
    plays(&browser, 25.0, "before the kill").await;
    let before = server.json("/api/streams").await["items"][0].clone();
    publisher.kill();
    let lost = "document.querySelector('#state').textContent.startsWith('signal lost')";
    browser.until_true(20, lost).await;
    browser.until_true(5, "video.videoWidth === 1280").await;
    // A stream waits half a minute for its publisher; a slow browser needs most
    // of it.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let _publisher = Encoder::ffmpeg(&url, &["-bf", "0"]);
    browser.until_true(20, "video.videoWidth === 320").await;
    plays(&browser, 25.0, "after the return").await;
    assert_eq!(
        browser.look().await.0["connections"],
        1,
        "no new connection"
    );
    // For the analysts too it is the same stream, continued.
    let after = server.json("/api/streams").await["items"][0].clone();
    assert_eq!(after["since"], before["since"]);
    assert!(after["frame"]["seq"].as_u64() > before["frame"]["seq"].as_u64());
    browser.close().await;
}

#[tokio::test]
async fn with_a_token_the_page_asks_for_it_once() {
    const TOKEN: &str = "t0ken-5e6f7a8b";
    const FORM: &str = "application/x-www-form-urlencoded";
    let setup = Setup::new()
        .agents("")
        .env("WATCHTOWER_CONSOLE_TOKEN", TOKEN);
    let mut server = setup.start().await;
    let browser = open(&server, "").await;
    assert_eq!(browser.run("document.title").await, "Watchtower: sign in");
    let give = |token: &str| {
        format!("(document.querySelector('#token').value = '{token}', document.forms[0].submit())")
    };
    browser.run(&give("wrong")).await;
    browser
        .until_true(
            10,
            "document.querySelector('[role=alert]')?.textContent === 'Invalid token'",
        )
        .await;
    browser.run(&give(TOKEN)).await;
    browser
        .until_true(10, "document.title === 'Watchtower'")
        .await;
    assert_eq!(browser.run("document.cookie").await, "", "HttpOnly");
    browser
        .until_true(
            10,
            "document.querySelector('#state').textContent.startsWith('no stream')",
        )
        .await;
    // Another site's page can't use the browser's cookie.
    let answer = server
        .client
        .post(server.http_url("/login"))
        .header("origin", "https://other.example")
        .header("content-type", FORM)
        .body(format!("token={TOKEN}"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 403);
    // Guessing is rate-limited.
    let mut statuses = Vec::new();
    for _ in 0..15 {
        let guess = server.client.post(server.http_url("/login"));
        let guess = guess.header("content-type", FORM).body("token=guess");
        let guess = guess.send().await.unwrap();
        statuses.push(guess.status().as_u16());
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    browser.close().await;
    server.signal("-TERM");
    assert!(server.wait().await.success());
    assert!(!server.output().contains(TOKEN));
}
