//! Requests of WHIP that are rejected, each with its reason, by raw HTTP.

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

use crate::common::KEY;
use crate::common::serve::{Setup, TestServer};

/// Offer of one H.264 track.
const OFFER: &str = "v=0\r\n\
    o=- 1 2 IN IP4 127.0.0.1\r\n\
    s=-\r\n\
    t=0 0\r\n\
    a=group:BUNDLE 0\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 109\r\n\
    c=IN IP4 0.0.0.0\r\n\
    a=ice-ufrag:abcd\r\n\
    a=ice-pwd:0123456789012345678901\r\n\
    a=fingerprint:sha-256 CF:41:23:07:2A:3E:F3:CB:17:D0:68:76:AF:85:E8:3C:38:9C:67:FB:7B:47:ED:E2:CC:6E:CD:59:FC:AB:2C:B3\r\n\
    a=setup:actpass\r\n\
    a=mid:0\r\n\
    a=sendonly\r\n\
    a=rtcp-mux\r\n\
    a=rtpmap:109 H264/90000\r\n\
    a=fmtp:109 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n";
const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// Answer to a request: status, headers and body.
struct WhipResponse {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl WhipResponse {
    async fn of(request: RequestBuilder) -> Self {
        let answer = request.send().await.expect("an answer");
        Self {
            status: answer.status(),
            headers: answer.headers().clone(),
            text: answer.text().await.expect("text"),
        }
    }

    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("ASCII"))
    }

    /// Reason in the problem document.
    fn why(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem: Value = serde_json::from_str(&self.text).expect("JSON");
        assert_eq!(problem["status"], self.status.as_u16());
        problem["detail"].as_str().expect("a reason").to_owned()
    }
}

fn post(
    server: &TestServer,
    path: &str,
    key: Option<&str>,
    body: impl Into<String>,
) -> RequestBuilder {
    let request = server.client.post(server.http_url(path));
    let request = request.header("content-type", SDP).body(body.into());
    match key {
        Some(key) => request.bearer_auth(key),
        None => request,
    }
}

async fn server() -> TestServer {
    let setup = Setup::new().env("WATCHTOWER_STREAM_KEY", KEY);
    // The console's token neither is required here nor suffices.
    setup
        .env("WATCHTOWER_CONSOLE_TOKEN", "token-of-the-console")
        .start()
        .await
}

#[tokio::test]
async fn offers_that_cannot_be_used_are_refused_with_the_reason() {
    let server = server().await;
    let no_video = OFFER.replace("m=video", "m=audio");
    let data = OFFER.replace(
        "m=video 9 UDP/TLS/RTP/SAVPF 109",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    );
    let many = format!("{OFFER}{}", "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n".repeat(50));
    let hevc = OFFER.replace("H264", "H265");
    let weak = OFFER.replace("sha-256", "sha-1");
    for (offer, status, why) in [
        ("", 400, "not a session description"),
        ("hello", 400, "not a session description"),
        (&*no_video, 422, "no video is sent"),
        (&data, 422, "no video is sent"),
        (&many, 422, "more than 16 media sections"),
        (&hevc, 422, "offered are H265/90000"),
        (&weak, 422, "no a=fingerprint by sha-256"),
        (
            &OFFER.replace("a=sendonly", "a=recvonly"),
            422,
            "no video is sent",
        ),
    ] {
        let answered = WhipResponse::of(post(&server, "/whip/team", Some(KEY), offer)).await;
        assert_eq!(answered.status, status, "{offer}");
        let given = answered.why();
        assert!(given.contains(why), "{given}");
    }
    let large = "v=0\r\n".repeat(200_000);
    let answered = WhipResponse::of(post(&server, "/whip/team", Some(KEY), large)).await;
    assert_eq!(answered.status, 413);
    answered.why();
    let url = server.http_url("/whip/team");
    let wrong = server.client.post(&url).bearer_auth(KEY).body(OFFER);
    let answered = WhipResponse::of(wrong.header("content-type", "text/plain")).await;
    assert_eq!(
        (answered.status.as_u16(), answered.why()),
        (415, format!("expected Content-Type: {SDP}"))
    );
    let excluded = post(&server, "/whip/team", Some(KEY), OFFER).header("accept", "text/html");
    assert_eq!(WhipResponse::of(excluded).await.status, 406);
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answered = WhipResponse::of(server.client.request(method, &url)).await;
        assert_eq!(answered.status, 405);
        answered.why();
    }
    // None of them is a stream; the list tells why.
    let of_console = async |path: &str| {
        let request = server.client.get(server.http_url(path));
        WhipResponse::of(request.bearer_auth("token-of-the-console"))
            .await
            .text
    };
    let refused = of_console("/api/setup").await;
    assert!(refused.contains("no video is sent"), "{refused}");
    let streams = of_console("/api/streams").await;
    assert!(!streams.contains("team"), "{streams}");
}

#[tokio::test]
async fn the_key_is_required_and_guesses_are_blocked() {
    let server = server().await;
    let missing = WhipResponse::of(post(&server, "/whip/team", None, OFFER)).await;
    assert_eq!(missing.status, 401);
    assert_eq!(
        missing.header("www-authenticate"),
        "Bearer realm=\"watchtower\""
    );
    assert!(missing.why().starts_with("no stream key was given"));
    let console = post(&server, "/whip/team", Some("token-of-the-console"), OFFER);
    let wrong = WhipResponse::of(console).await;
    assert_eq!(
        (wrong.status.as_u16(), &*wrong.why()),
        (401, "wrong stream key")
    );
    // The name is not told to those without a key.
    let hidden = WhipResponse::of(post(&server, "/whip/.hidden", Some("no"), OFFER)).await;
    assert_eq!(hidden.status, 401);
    let named = WhipResponse::of(post(&server, "/whip/.hidden", Some(KEY), OFFER)).await;
    assert_eq!(named.status, 404);
    assert!(named.why().starts_with("the stream name must be"));
    // The limit counts the guesses by RTMP too.
    let blocked = server
        .until("the address is blocked", async |server| {
            let guess = WhipResponse::of(post(server, "/whip/team", Some("guess"), OFFER)).await;
            (guess.status == 429).then_some(guess)
        })
        .await;
    assert_eq!(blocked.header("retry-after"), "1");
    assert!(blocked.why().starts_with("too many wrong stream keys"));
    let right = WhipResponse::of(post(&server, "/whip/team", Some(KEY), OFFER)).await;
    assert_eq!(right.status, 429);
    let (host, port) = (server.rtmp.ip(), server.rtmp.port());
    let mut rtmp = tokio::net::TcpStream::connect((host, port))
        .await
        .expect("it listens");
    let mut bytes = Vec::new();
    // Closed before the handshake.
    let read = tokio::io::AsyncReadExt::read_to_end(&mut rtmp, &mut bytes).await;
    assert!(read.is_err() || bytes.is_empty(), "{bytes:?}");
    server
        .logged("too many wrong stream keys from this address")
        .await;
    assert!(!server.output().contains(KEY));
}

#[tokio::test]
async fn a_session_is_patched_and_ended_by_its_location() {
    let server = server().await;
    let made = WhipResponse::of(post(&server, "/whip/team", Some(KEY), OFFER)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.header("content-type"), SDP);
    assert_eq!(made.header("accept-patch"), FRAGMENT);
    assert!(made.text.contains("a=recvonly\r\n"), "{}", made.text);
    let location = made.header("location").to_owned();
    let url = server.http_url(&location);
    let patch = |fragment: &'static str, etag: Option<&str>| {
        let request = server.client.patch(&url).header("content-type", FRAGMENT);
        let request = request.body(fragment);
        match etag {
            Some(etag) => request.header("if-match", etag),
            None => request,
        }
    };
    let candidate = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\n\
        a=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n";
    let etag = made.header("etag");
    for (fragment, etag, status) in [
        (candidate, Some(etag), 204),
        (candidate, None, 204),
        (candidate, Some("\"other\""), 412),
    ] {
        let patched = WhipResponse::of(patch(fragment, etag)).await;
        assert_eq!(patched.status, status, "{}", patched.text);
    }
    let restart = "a=ice-ufrag:efgh\r\na=ice-pwd:0123456789012345678902\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n";
    let restarted = WhipResponse::of(patch(restart, Some("*"))).await;
    assert_eq!(restarted.status, 200, "{}", restarted.text);
    assert_eq!(restarted.header("content-type"), FRAGMENT);
    let ours = |text: &str| {
        let mut lines = text.lines();
        let line = lines.find(|line| line.starts_with("a=ice-ufrag:"));
        line.expect("a user fragment").to_owned()
    };
    assert_ne!(ours(&restarted.text), ours(&made.text));
    assert!(restarted.text.contains("a=mid:0\r\n"), "{}", restarted.text);
    // The credentials are known from then on, and the tag is another.
    let tag = restarted.header("etag");
    assert_ne!(tag, etag);
    assert_eq!(
        WhipResponse::of(patch(restart, Some(tag))).await.status,
        204
    );
    assert_eq!(
        WhipResponse::of(patch(restart, Some(etag))).await.status,
        412
    );
    let no_password = WhipResponse::of(patch("a=ice-ufrag:ijkl\r\n", None)).await;
    assert_eq!(no_password.status, 422);
    let wrong = server
        .client
        .patch(&url)
        .header("content-type", SDP)
        .body(candidate);
    assert_eq!(WhipResponse::of(wrong).await.status, 415);
    let other = url.replace("/whip/team/", "/whip/other/");
    assert_eq!(
        WhipResponse::of(server.client.delete(other)).await.status,
        404
    );
    assert_eq!(
        WhipResponse::of(server.client.delete(&url)).await.status,
        200
    );
    server.logged("WHIP session closed").await;
    let gone = WhipResponse::of(patch(candidate, None)).await;
    assert_eq!(
        (gone.status.as_u16(), &*gone.why()),
        (404, "no such session")
    );
    assert_eq!(
        WhipResponse::of(server.client.delete(&url)).await.status,
        404
    );
}

#[tokio::test]
async fn a_publisher_that_never_connects_ends_and_is_listed() {
    let setup = Setup::new().settings("[rtmp]\nhandshake_timeout = \"1s\"\n");
    let server = setup.start().await;
    // Without a key programs of this machine publish, and no other site's page.
    let foreign = post(&server, "/whip/team", None, OFFER).header("origin", "https://evil.example");
    let refused = WhipResponse::of(foreign).await;
    assert_eq!(refused.status, 403);
    assert!(refused.why().starts_with("no stream key configured"));
    let made = WhipResponse::of(post(&server, "/whip/team", None, OFFER)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    server
        .until("the refusal is listed", async |server| {
            let setup = server.json("/api/setup").await.to_string();
            let listed = setup.contains("no WebRTC connection within 1s");
            listed.then_some(())
        })
        .await;
    let streams = server.json("/api/streams").await.to_string();
    assert!(!streams.contains("team"), "{streams}");
    let location = made.header("location").to_owned();
    let ended = server.client.delete(server.http_url(&location));
    assert_eq!(WhipResponse::of(ended).await.status, 404);
}
