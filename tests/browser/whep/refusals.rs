//! Rejected requests: before a session exists, with a reason.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Method, Response, StatusCode};
use tokio::net::UdpSocket;

use crate::whep::clip::{Playing, Recipe};
use crate::whep::server::WhepServer;

/// SDP offer of Chromium, reduced to one codec each.
pub(crate) const OFFER: &str = include_str!("offer.sdp");

async fn live(max_viewers: usize) -> (WhepServer, Playing) {
    let server = WhepServer::start(max_viewers).await;
    let recipe = Recipe {
        size: "320x180",
        seconds: 2,
        ..Recipe::default()
    };
    let playing = Arc::new(recipe.make()).play(&server.hub, &server.renditions, "team");
    (server, playing)
}

async fn send(
    server: &WhepServer,
    method: Method,
    path: &str,
    kind: &str,
    body: String,
) -> Response {
    let client = watchtower::base::http_client::plain()
        .no_proxy()
        .build()
        .expect("a client");
    let url = format!("http://{}{path}", server.http);
    let request = client.request(method, url).header("content-type", kind);
    request.body(body).send().await.expect("an answer")
}

async fn offer(server: &WhepServer, body: &str) -> Response {
    send(
        server,
        Method::POST,
        "/whep/team",
        "application/sdp",
        body.to_owned(),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_met_is_refused_before_a_session_exists() {
    let (server, _playing) = live(10).await;
    let post = |path: &'static str, kind: &'static str, body: String| {
        let server = &server;
        async move { send(server, Method::POST, path, kind, body).await }
    };
    let sdp = "application/sdp";
    for (path, kind, body, status) in [
        ("/whep/nobody", sdp, OFFER.to_owned(), 404),
        ("/whep/..%2fteam", sdp, OFFER.to_owned(), 404),
        ("/whep/team", "text/plain", OFFER.to_owned(), 415),
        ("/whep/team", sdp, "garbage".to_owned(), 422),
        (
            "/whep/team",
            sdp,
            OFFER.replace("recvonly", "sendonly"),
            422,
        ),
        ("/whep/team", sdp, OFFER.replace("H264", "VP8"), 422),
        ("/whep/team", sdp, OFFER.replace("sha-256", "sha-999"), 422),
    ] {
        let answer = post(path, kind, body).await;
        assert_eq!(answer.status().as_u16(), status, "{path} {kind}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    let client = watchtower::base::http_client::plain()
        .no_proxy()
        .build()
        .expect("a client");
    let huge = client
        .post(format!("http://{}/whep/team", server.http))
        .header("content-type", sdp)
        .body("v=0\r\n".repeat(2_000_000))
        .send();
    // A body rejected while it is still sent may also see a closed connection.
    if let Ok(answer) = huge.await {
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    let answer = client
        .post(format!("http://{}/whep/team", server.http))
        .header("content-type", sdp)
        .header("accept", "text/html")
        .body(OFFER)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), StatusCode::NOT_ACCEPTABLE);
    assert_eq!(server.metric("watchtower_viewers"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_answers_to_its_own_name_only() {
    let (server, _playing) = live(10).await;
    let answer = offer(&server, OFFER).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(answer.headers()["content-type"], "application/sdp");
    let etag = answer.headers()["etag"].to_str().expect("text").to_owned();
    let location = answer.headers()["location"]
        .to_str()
        .expect("text")
        .to_owned();
    let sdp = answer.text().await.expect("text");
    assert!(sdp.contains("a=ice-lite"), "{sdp}");
    assert!(sdp.contains(&format!(" {} typ host", server.media.port())));

    let fragment = "application/trickle-ice-sdpfrag";
    let trickle = "a=ice-ufrag:abcd\r\na=candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype passive";
    let patch = |path: String, body: &'static str| {
        let server = &server;
        async move { send(server, Method::PATCH, &path, fragment, body.to_owned()).await }
    };
    let status = |answer: Response| answer.status().as_u16();
    assert_eq!(status(patch(location.clone(), trickle).await), 204);
    let restart = patch(location.clone(), "a=ice-ufrag:other\r\n").await;
    assert_eq!(status(restart), 422);
    let elsewhere = location.replace("/team/", "/other/");
    assert_eq!(status(patch(elsewhere.clone(), trickle).await), 404);
    let client = watchtower::base::http_client::plain()
        .no_proxy()
        .build()
        .expect("a client");
    let stale = client
        .patch(format!("http://{}{location}", server.http))
        .header("content-type", fragment)
        .header("if-match", "\"stale\"")
        .body(trickle)
        .send();
    assert_eq!(status(stale.await.expect("an answer")), 412);
    let fresh = client
        .patch(format!("http://{}{location}", server.http))
        .header("content-type", fragment)
        .header("if-match", format!("\"another, of two\" , {etag}"))
        .body(trickle)
        .send();
    assert_eq!(status(fresh.await.expect("an answer")), 204);
    // A weak tag matches nothing (RFC 9110, section 13.1.1).
    let weak = client
        .patch(format!("http://{}{location}/", server.http))
        .header("content-type", fragment)
        .header("if-match", format!("W/{etag}"))
        .body(trickle)
        .send();
    assert_eq!(status(weak.await.expect("an answer")), 412);

    let delete = |path: String| {
        let server = &server;
        async move { send(server, Method::DELETE, &path, "", String::new()).await }
    };
    assert_eq!(status(delete("/whep/team/0123".to_owned()).await), 404);
    assert_eq!(status(delete(elsewhere).await), 404);
    assert_eq!(status(delete(location.clone()).await), 200);
    // It is gone as soon as its end has been processed.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let gone = status(delete(location.clone()).await);
        if gone == 404 {
            break;
        }
        assert!(Instant::now() < deadline, "deleted, it answers {gone}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Ports of the answer's sections, and their codecs.
fn answered(sdp: &str) -> (Vec<&str>, Vec<&str>) {
    let ports = sdp.lines().filter(|line| line.starts_with("m="));
    let codecs = sdp.lines().filter(|line| {
        ["a=rtpmap:", "a=fmtp:", "a=group:", "a=mid:"]
            .iter()
            .any(|a| line.starts_with(a))
    });
    let ports = ports.filter_map(|line| line.split(' ').nth(1)).collect();
    (ports, codecs.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_are_answered_in_their_own_words() {
    let (server, _playing) = live(20).await;
    let bundle_only = include_str!("../../../fuzz/corpus/whep_offer/gstreamer_max_bundle.sdp");
    let sdp = offer(&server, bundle_only)
        .await
        .text()
        .await
        .expect("text");
    let gstreamer = [
        "a=group:BUNDLE audio0 video1",
        "a=mid:audio0",
        "a=rtpmap:111 OPUS/48000/2",
        "a=fmtp:111 minptime=10;useinbandfec=1",
        "a=mid:video1",
        "a=rtpmap:101 H264/90000",
    ];
    assert_eq!(
        answered(&sdp),
        (vec!["9", "9"], gstreamer.to_vec()),
        "{sdp}"
    );
    let apart = include_str!("../../../fuzz/corpus/whep_offer/gstreamer_no_group.sdp");
    let sdp = offer(&server, apart).await.text().await.expect("text");
    let main_profile = [
        "a=mid:video0",
        "a=rtpmap:101 H264/90000",
        "a=fmtp:101 profile-level-id=4d0028",
        "a=mid:audio1",
    ];
    assert_eq!(
        answered(&sdp),
        (vec!["9", "0"], main_profile.to_vec()),
        "{sdp}"
    );
    // GStreamer rejects an answer in which a section has no ICE, rejected or
    // not.
    assert_eq!(sdp.matches("a=ice-ufrag:").count(), 2, "{sdp}");
    // A section of another kind before them, without mids or group.
    let bare = OFFER
        .replace("a=mid:0\r\n", "")
        .replace("a=mid:0\n", "")
        .replace("a=group:BUNDLE 0 1", "a=x")
        .replace(
            "m=video",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nm=video",
        );
    let sdp = offer(&server, &bare).await.text().await.expect("text");
    assert_eq!(answered(&sdp).0, ["0", "9", "0"], "{sdp}");
    assert!(!sdp.contains("a=group"), "{sdp}");
    let none = offer(&server, &OFFER.replace("H264", "VP8")).await;
    let why = none.text().await.expect("text");
    assert!(why.contains("VP8/90000"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_path_names_its_own_methods() {
    let (server, _playing) = live(10).await;
    for (path, methods, accepts) in [
        ("/whep/team", ["POST", "OPTIONS"].as_slice(), "accept-post"),
        ("/whep/team/", &["POST", "OPTIONS"], "accept-post"),
        (
            "/whep/team/abc",
            &["PATCH", "DELETE", "OPTIONS"],
            "accept-patch",
        ),
    ] {
        for method in [Method::OPTIONS, Method::PUT] {
            let answer = send(&server, method.clone(), path, "", String::new()).await;
            let expected = if method == Method::OPTIONS { 204 } else { 405 };
            assert_eq!(answer.status().as_u16(), expected, "{method} {path}");
            let allow = answer.headers()["allow"].to_str().expect("text");
            let mut allowed: Vec<_> = allow.split(',').map(str::trim).collect();
            let mut methods = methods.to_vec();
            allowed.sort_unstable();
            methods.sort_unstable();
            assert_eq!(allowed, methods, "{method} {path}");
            let accept_headers = answer
                .headers()
                .keys()
                .filter(|name| name.as_str().starts_with("accept-"));
            let accept_headers: Vec<_> =
                accept_headers.map(axum::http::HeaderName::as_str).collect();
            assert!(
                method == Method::PUT || accept_headers == [accepts],
                "{path}: {accept_headers:?}"
            );
        }
    }
    let answer = send(
        &server,
        Method::POST,
        "/whep/team/",
        "application/sdp",
        OFFER.to_owned(),
    )
    .await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let location = answer.headers()["location"].to_str().expect("text");
    assert!(
        location.starts_with("/whep/team/") && !location.contains("//"),
        "{location}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_viewer_too_many_is_refused() {
    let (server, _playing) = live(2).await;
    assert_eq!(offer(&server, OFFER).await.status(), StatusCode::CREATED);
    assert_eq!(offer(&server, OFFER).await.status(), StatusCode::CREATED);
    let refused = offer(&server, OFFER).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    let why = refused.text().await.expect("text");
    assert!(why.contains("max_viewers"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_requests_is_bounded() {
    let (server, _playing) = live(5000).await;
    let client = watchtower::base::http_client::plain()
        .no_proxy()
        .build()
        .expect("a client");
    let url = format!("http://{}/whep/team", server.http);
    let posts = (0..1000).map(|_| {
        let request = client.post(&url).header("content-type", "application/sdp");
        tokio::spawn(request.body(OFFER).send())
    });
    let mut created = 0;
    for post in posts.collect::<Vec<_>>() {
        let answer = post.await.expect("not cancelled").expect("an answer");
        match answer.status() {
            StatusCode::CREATED => created += 1,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {}
            other => panic!("{other}"),
        }
    }
    assert!((100..=400).contains(&created), "{created} sessions");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_never_completes_the_handshake_is_removed() {
    let (server, _playing) = live(1).await;
    assert_eq!(offer(&server, OFFER).await.status(), StatusCode::CREATED);
    let full = offer(&server, OFFER).await.status();
    assert_eq!(full, StatusCode::SERVICE_UNAVAILABLE);
    // Its slot is free again after 15 s.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let status = offer(&server, OFFER).await.status();
        if status == StatusCode::CREATED {
            break;
        }
        assert!(Instant::now() < deadline, "still {status}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_at_the_port_is_counted_and_dropped() {
    let (server, _playing) = live(10).await;
    let answer = offer(&server, OFFER).await.text().await.expect("text");
    let fragment = answer
        .lines()
        .find_map(|line| line.strip_prefix("a=ice-ufrag:"))
        .expect("ours");
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
    let name = format!("{fragment}:abcd");
    let mut check = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    check.extend([7; 12]);
    check.extend([0, 6, 0, name.len() as u8]);
    check.extend(name.as_bytes());
    check.resize(check.len().next_multiple_of(4), 0);
    check[3] = (check.len() - 20) as u8;
    // A check without integrity, DTLS, SRTCP and random bytes, all from an
    // unknown address.
    for datagram in [&check[..], &[22, 254, 253, 0], &[0x80, 201, 0, 1], b"noise"] {
        for _ in 0..25 {
            socket
                .send_to(datagram, server.media)
                .await
                .expect("loopback");
        }
    }
    let dropped = "watchtower_dropped_total{where=\"datagram\"}";
    server.wait_for(dropped, 100.0, 5).await;
    let mut reply = [0; 64];
    let silent = tokio::time::timeout(Duration::from_millis(300), socket.recv(&mut reply)).await;
    assert!(silent.is_err(), "a stranger got an answer");
}
