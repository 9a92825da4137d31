//! Pause of a stream by a share link's holder, on the running server.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::common::encoder::Encoder;
use crate::common::serve::{Setup, TestServer};

const TOKEN: &str = "t0ken-of-the-console-91c2";
const STILL: &str = "/api/share/team/latest.jpg";

async fn held(server: &TestServer, method: Method, path: &str, token: &str) -> reqwest::Response {
    let request = server.client.request(method, server.http_url(path));
    request.bearer_auth(token).send().await.unwrap()
}

async fn paused(server: &TestServer, token: &str, paused: bool) -> StatusCode {
    let url = server.http_url("/api/share/team/paused");
    let request = server.client.put(url).bearer_auth(token);
    let request = request.json(&json!({"paused": paused}));
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn paused_stream_is_neither_shown_nor_kept() {
    let server = Setup::new()
        .env("WATCHTOWER_CONSOLE_TOKEN", TOKEN)
        .start()
        .await;
    let url = server.http_url("/api/shares");
    let request = server.client.post(url).bearer_auth(TOKEN);
    let request = request.json(&json!({"stream": "team", "uses": "hours", "findings": true}));
    let made: Value = request.send().await.unwrap().json().await.unwrap();
    let link = made["token"].as_str().unwrap();
    // The link opens its own view and nothing else.
    for path in ["/api/streams", "/api/shares", "/api/frames/team/latest.jpg"] {
        let answer = held(&server, Method::GET, path, link).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(
        paused(&server, link, true).await,
        StatusCode::CONFLICT,
        "not live"
    );

    let _publisher = Encoder::demo(&server.rtmp_url("live/team"));
    let seen = async |server: &TestServer| -> Value {
        let answer = held(server, Method::GET, "/api/share/team", link).await;
        answer.json().await.unwrap()
    };
    let shown = server.until("a picture is shown to the holder", async |server| {
        let still = held(server, Method::GET, STILL, link).await;
        let seen = seen(server).await;
        (still.status() == 200 && seen["state"] == "live").then_some(seen)
    });
    let shown = shown.await;
    assert_eq!(shown["reads_screens"], true);
    let analysts: Vec<_> = shown["analysts"].as_array().unwrap().iter().collect();
    assert!(
        analysts.iter().any(|one| one["name"] == "SecOps"),
        "{shown}"
    );
    let found = server.until("a finding is shown to the holder", async |server| {
        let seen = seen(server).await;
        (!seen["findings"].as_array()?.is_empty()).then_some(seen)
    });
    assert!(found.await["findings"][0]["title"].is_string());

    assert_eq!(paused(&server, link, true).await, StatusCode::NO_CONTENT);
    // At once for whoever asks; and the decoder has stopped before long.
    let still = held(&server, Method::GET, STILL, link).await;
    assert_eq!(still.status(), StatusCode::NOT_FOUND);
    let now = seen(&server).await;
    assert_eq!(
        (&now["state"], &now["frame"]),
        (&json!("paused"), &Value::Null)
    );
    let live = async |server: &TestServer| -> Value {
        let url = server.http_url("/api/streams");
        let answer = server
            .client
            .get(url)
            .bearer_auth(TOKEN)
            .send()
            .await
            .unwrap();
        answer.json::<Value>().await.unwrap()["items"][0].clone()
    };
    let stopped = server.until("the decoder stops", async |server| {
        let live = live(server).await;
        live["frame"].is_null().then_some(live)
    });
    let stopped = stopped.await;
    assert_eq!(stopped["state"], "paused");
    assert!(stopped["paused_since"].is_string());
    let (units, sounds) = (
        stopped["video_units"].as_u64(),
        stopped["audio_units"].as_u64(),
    );
    let later = server.until("pictures still arrive", async |server| {
        let live = live(server).await;
        (live["video_units"].as_u64() > units.map(|units| units + 50)).then_some(live)
    });
    let later = later.await;
    assert_eq!(later["audio_units"].as_u64(), sounds, "no sound");
    assert_eq!(later["frame"], Value::Null, "nothing decoded");

    assert_eq!(paused(&server, link, false).await, StatusCode::NO_CONTENT);
    server
        .until("the picture is back", async |server| {
            let still = held(server, Method::GET, STILL, link).await;
            (still.status() == 200).then_some(())
        })
        .await;
    assert_eq!(live(&server).await["state"], "live");
    assert!(!server.output().contains(link), "never logged");
}
