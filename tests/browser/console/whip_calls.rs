//! Requests of WHIP, for the test of the API's description.

use reqwest::Method;

use crate::common::serve::TestServer;
use crate::console::description::Described;

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// Publishes, patches and ends a session of a stream, validly and not.
pub(super) async fn whip_calls(server: &TestServer, api: &mut Described) {
    let (publish, session) = ("/whip/{stream}", "/whip/{stream}/{session}");
    let offer = include_str!("../whep/offer.sdp").replace("a=recvonly", "a=sendonly");
    let post = |stream: &str, kind: &str, body: String| {
        let request = server
            .client
            .post(server.http_url(&format!("/whip/{stream}")));
        request.header("content-type", kind).body(body).send()
    };
    let answered = post("shared", SDP, offer.clone()).await.unwrap();
    assert_eq!(answered.status().as_u16(), 201);
    let location = answered.headers()["location"].to_str().unwrap().to_owned();
    api.hold(publish, &Method::POST, answered).await;
    for (stream, kind, body) in [
        (".hidden", SDP, offer.clone()),
        ("shared", "text/plain", offer.clone()),
        ("shared", SDP, "nonsense".to_owned()),
        ("shared", SDP, offer.replace("a=sendonly", "a=recvonly")),
        ("shared", SDP, "v=0\r\n".repeat(20_000)),
    ] {
        let refused = post(stream, kind, body).await.unwrap();
        api.hold(publish, &Method::POST, refused).await;
    }
    let foreign = server.client.post(server.http_url("/whip/shared"));
    let foreign = foreign
        .header("origin", "http://evil.example")
        .header("content-type", SDP)
        .body(offer);
    let refused = foreign.send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 403);
    api.hold(publish, &Method::POST, refused).await;
    let url = server.http_url(&location);
    for (kind, etag, body) in [
        (FRAGMENT, "*", "a=end-of-candidates\r\n"),
        (FRAGMENT, "*", "a=ice-ufrag:other\r\n"),
        (FRAGMENT, "\"other\"", "a=end-of-candidates\r\n"),
        ("text/plain", "*", ""),
    ] {
        let request = server.client.patch(&url).header("content-type", kind);
        let patched = request.header("if-match", etag).body(body).send().await;
        api.hold(session, &Method::PATCH, patched.unwrap()).await;
    }
    for _ in 0..2 {
        let ended = server.client.delete(&url).send().await.unwrap();
        api.hold(session, &Method::DELETE, ended).await;
        server.logged("WHIP session closed").await;
    }
}
