//! Requests of share links, for the test of the API's description.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::common::serve::TestServer;
use crate::console::description::Described;

/// Calls what an operator and a link's holder may, validly and not, while
/// `demo` is live.
pub(super) async fn share_calls(server: &TestServer, api: &mut Described) {
    let (shares, one) = ("/api/shares", "/api/shares/{id}");
    let post = async |body: Value| {
        let request = server.client.post(server.http_url(shares)).json(&body);
        request.send().await.unwrap()
    };
    let wanted = json!({"stream": "demo", "uses": "hours", "hours": 1, "findings": true});
    let made = api.hold(shares, &Method::POST, post(wanted).await).await;
    let once = post(json!({"stream": "demo", "uses": "once"})).await;
    let once = api.hold(shares, &Method::POST, once).await;
    for wrong in [
        json!({"stream": "demo", "uses": "hours", "hours": 200}),
        json!({"stream": "demo"}),
    ] {
        api.hold(shares, &Method::POST, post(wrong).await).await;
    }
    let plain = server.client.post(server.http_url(shares)).body("demo");
    api.hold(shares, &Method::POST, plain.send().await.unwrap())
        .await;

    let (link, used) = (
        made["token"].as_str().unwrap(),
        once["token"].as_str().unwrap(),
    );
    let holder = "/api/share/{stream}";
    let (session, still) = (
        "/api/share/{stream}/session",
        "/api/share/{stream}/latest.jpg",
    );
    for (method, path, token) in [
        (Method::GET, holder, link),
        (Method::GET, still, link),
        (Method::POST, session, link),
        (Method::POST, session, used),
        (Method::POST, session, used),
        (Method::GET, holder, used),
        (Method::GET, still, "gue55"),
    ] {
        let response = asked(server, method.clone(), path, token, None).await;
        api.hold(path, &method, response).await;
    }
    let paused = "/api/share/{stream}/paused";
    for body in [
        json!({"paused": true}),
        json!({"paused": false}),
        json!({"paused": "yes"}),
    ] {
        let response = asked(server, Method::PUT, paused, link, Some(&body)).await;
        api.hold(paused, &Method::PUT, response).await;
    }
    let listed = server.get(shares).await;
    api.hold(shares, &Method::GET, listed).await;
    for id in [made["id"].as_str().unwrap(), "x"] {
        let url = server.http_url(&format!("/api/shares/{id}"));
        let revoked = server.client.delete(url).send().await.unwrap();
        api.hold(one, &Method::DELETE, revoked).await;
    }
    let over = asked(server, Method::GET, holder, link, None).await;
    assert_eq!(over.status().as_u16(), 410);
    api.hold(holder, &Method::GET, over).await;
}

async fn asked(
    server: &TestServer,
    method: Method,
    path: &str,
    token: &str,
    body: Option<&Value>,
) -> Response {
    let url = server.http_url(&path.replace("{stream}", "demo"));
    let request = server.client.request(method, url).bearer_auth(token);
    let request = match body {
        Some(body) => request.json(body),
        None => request,
    };
    request.send().await.unwrap()
}
