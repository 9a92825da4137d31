//! Web Push against a push service that speaks the protocol: it verifies the
//! server's token (RFC 8292) and decrypts each message with the keys of the
//! browser (RFC 8291), both by other code than the server's.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::common::push_service::{PushBrowser, PushService};
use crate::common::serve::{Setup, TestServer};

const NOBODY: &str = "[model]\nprovider = \"offline\"\n";
const PATH: &str = "s3cret-capability";

async fn started(service: &PushService) -> TestServer {
    setup(service).start().await
}

fn setup(service: &PushService) -> Setup {
    Setup::new().agents(NOBODY).settings(&format!(
        "[push]\ncontact = 'mailto:soc@example.com'\nservices = ['{}']\n",
        service.address
    ))
}

async fn report(server: &TestServer, number: usize, severity: &str, stream: &str) {
    let title = format!("Reverse shell {number}");
    let finding = json!({
        "id": uuid::Uuid::now_v7(), "incident": null, "agent": "Outpost", "stream": stream,
        "observed_at": Timestamp::now().to_string(),
        "frame": {"seq": number, "pts_ms": 40, "sha256": "ab".repeat(32)},
        "severity": severity, "confidence": 0.5, "category": "intrusion",
        "title": title, "detail": "Detail from the screen",
        "evidence": [{"quote": format!("bash -i on host-{number:05}"), "box": [1, 2, 3, 4], "grounded": true}],
        "mitre": [], "recommended_action": "Isolate the host",
        "model": {"provider": "offline", "name": "rules", "version": "1"},
    });
    let url = server.http_url("/api/findings");
    let sent = server.client.post(url).json(&finding).send().await.unwrap();
    assert_eq!(sent.status().as_u16(), 201);
}

async fn post(server: &TestServer, path: &str, body: &Value) -> (u16, Value) {
    let url = server.http_url(path);
    let answer = server.client.post(url).json(body).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or(Value::Null))
}

/// Subscribes a browser; returns the answer.
async fn subscribed(server: &TestServer, body: &Value) -> Value {
    let (status, answer) = post(server, "/api/push/subscriptions", body).await;
    assert_eq!(status, 201, "{answer}");
    answer
}

fn wish(service: &PushService, browser: &PushBrowser, severity: &str, streams: &[&str]) -> Value {
    json!({
        "endpoint": service.endpoint(PATH), "keys": browser.keys(),
        "minimum_severity": severity, "streams": streams, "by": "Ann",
    })
}

#[tokio::test]
async fn browser_is_notified_of_what_it_wants() {
    let service = PushService::start().await;
    let server = started(&service).await;
    let browser = PushBrowser::new();
    service.knows(PATH, &browser);
    let one = subscribed(&server, &wish(&service, &browser, "high", &["team"])).await;
    assert_eq!(one["service"], "127.0.0.1");
    for (number, severity, stream) in [
        (1, "medium", "team"),
        (2, "critical", "other"),
        (3, "high", "team"),
        (4, "critical", "team"),
    ] {
        report(&server, number, severity, stream).await;
    }
    let messages = service.taken(2).await;
    let incidents = server.json("/api/incidents?stream=team").await;
    let id_of = |title: &str| {
        let mut items = incidents["items"].as_array().unwrap().iter();
        items.find(|one| one["title"] == title).unwrap()["id"].clone()
    };
    let public = server.json("/api/push").await["public_key"].clone();
    for (message, (title, severity)) in messages
        .iter()
        .zip([("Reverse shell 3", "high"), ("Reverse shell 4", "critical")])
    {
        // Nothing of the screen beyond the title.
        let expected = json!({
            "title": title, "severity": severity, "stream": "team", "incident": id_of(title),
        });
        assert_eq!(message.text, expected);
        assert_eq!(message.public_key, public);
        assert_eq!(message.claims["aud"], format!("http://{}", service.address));
        assert_eq!(message.claims["sub"], "mailto:soc@example.com");
        let ends = message.claims["exp"].as_i64().unwrap() - Timestamp::now().as_second();
        assert!((1..=24 * 60 * 60).contains(&ends), "{ends}");
        let ttl: u64 = message.header("ttl").parse().unwrap();
        assert!((1..=4 * 60 * 60).contains(&ttl), "{ttl}");
        assert_eq!(message.header("urgency"), "high");
        // RFC 8030, section 5.4.
        let topic = message.header("topic");
        let sound = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(topic.len() <= 32 && topic.chars().all(sound), "{topic}");
    }
    assert_ne!(messages[0].header("topic"), messages[1].header("topic"));

    // A test message, at once; and nothing once it has ended.
    let id = one["id"].as_str().unwrap();
    let path = format!("/api/push/subscriptions/{id}");
    let (status, _) = post(&server, &format!("{path}/test"), &json!({})).await;
    assert_eq!(status, 204);
    let last = service.taken(3).await.pop().unwrap();
    assert_eq!(last.text["title"], "Test notification");
    let ended = server.client.delete(server.http_url(&path));
    assert_eq!(ended.send().await.unwrap().status().as_u16(), 204);
    server
        .until("the sink of the subscription is gone", async |server| {
            let sinks = server.json("/api/sinks").await;
            sinks["items"].as_array()?.is_empty().then_some(())
        })
        .await;
    let (status, _) = post(&server, &format!("{path}/test"), &json!({})).await;
    assert_eq!(status, 404);

    // Its address is a credential.
    for path in ["/api/push", "/api/sinks", "/api/health", "/metrics"] {
        let text = server.get(path).await.text().await.unwrap();
        assert!(!text.contains(PATH), "{path}: {text}");
    }
    assert!(!server.output().contains(PATH));
}

#[tokio::test]
async fn refusals_of_the_push_service_are_told_apart() {
    let service = PushService::start().await;
    let server = started(&service).await;
    let browser = PushBrowser::new();
    service.knows(PATH, &browser);
    let one = subscribed(&server, &wish(&service, &browser, "high", &[])).await;
    let sink = async || server.json("/api/sinks").await["items"][0].clone();

    // Busy: the same message again, not before the time it asks for.
    service.answers([(429, Some("2")), (503, None)]);
    report(&server, 1, "critical", "team").await;
    let start = Instant::now();
    let messages = service.taken(1).await;
    assert_eq!(messages[0].text["title"], "Reverse shell 1");
    assert_eq!(service.refused(), [429, 503]);
    assert!(start.elapsed() >= Duration::from_secs(2));

    // Too large: never again, and the next one goes on.
    service.answers([(413, None)]);
    report(&server, 2, "critical", "team").await;
    report(&server, 3, "critical", "team").await;
    let messages = service.taken(2).await;
    assert_eq!(messages[1].text["title"], "Reverse shell 3");
    server
        .until("a dead letter", async |_| {
            (sink().await["dead"] == 1).then_some(())
        })
        .await;
    assert_eq!(service.refused(), [429, 503, 413]);
    let health = server.json("/api/health").await;
    let mut items = health["items"].as_array().unwrap().iter();
    let part = items.find(|one| one["kind"] == "integration").unwrap();
    assert_eq!(
        (&part["name"], &part["health"]),
        (&one["sink"], &json!("degraded"))
    );

    // Gone: it ends, of itself.
    service.answers([(410, None)]);
    report(&server, 4, "critical", "team").await;
    server
        .until("the subscription has ended", async |server| {
            let push = server.json("/api/push").await;
            let none = push["subscriptions"].as_array()?.is_empty() && sink().await.is_null();
            none.then_some(())
        })
        .await;
    report(&server, 5, "critical", "team").await;
    assert_eq!(service.refused(), [429, 503, 413, 410]);
    assert_eq!(service.taken(2).await.len(), 2);
}

#[tokio::test]
async fn subscriptions_are_validated_and_bounded() {
    let service = PushService::start().await;
    let server = started(&service).await;
    let browser = PushBrowser::new();
    let sound = wish(&service, &browser, "high", &[]);
    let with = |field: &str, value: Value| {
        let mut body = sound.clone();
        body[field] = value;
        body
    };
    let keys = |p256dh: &str, auth: &str| json!({"p256dh": p256dh, "auth": auth});
    let (p256dh, auth) = (
        browser.keys()["p256dh"].clone(),
        browser.keys()["auth"].clone(),
    );
    let (p256dh, auth) = (p256dh.as_str().unwrap(), auth.as_str().unwrap());
    let off_the_curve = format!("{}A", &p256dh[..p256dh.len() - 1]);
    for (body, expected) in [
        (with("endpoint", json!("https://10.0.0.8/x")), "public host"),
        (
            with("endpoint", json!("https://169.254.169.254/x")),
            "public host",
        ),
        (
            with("endpoint", json!("https://localhost/x")),
            "public host",
        ),
        (
            with("endpoint", json!("http://push.example.net/x")),
            "https://",
        ),
        (with("endpoint", json!("gopher://x")), "https://"),
        (with("endpoint", json!("x")), "URL"),
        (with("endpoint", json!("")), "empty"),
        (with("keys", keys(&off_the_curve[1..], auth)), "P-256"),
        (with("keys", keys(p256dh, "AAAA")), "16 bytes"),
        (with("streams", json!(["a b/c"])), "stream name"),
        (with("by", json!("")), "by must be"),
    ] {
        let (status, answer) = post(&server, "/api/push/subscriptions", &body).await;
        assert_eq!(status, 400, "{body} {answer}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains(expected), "{detail}");
    }
    for body in [
        json!({}),
        with("minimum_severity", json!("dreadful")),
        with("more", json!(1)),
    ] {
        let (status, _) = post(&server, "/api/push/subscriptions", &body).await;
        assert_eq!(status, 422, "{body}");
    }
    for number in 0..64 {
        let body = with("endpoint", json!(service.endpoint(&number.to_string())));
        subscribed(&server, &body).await;
    }
    let (status, answer) = post(&server, "/api/push/subscriptions", &sound).await;
    assert_eq!(status, 409);
    assert!(
        answer["detail"].as_str().unwrap().contains("limit of 64"),
        "{answer}"
    );
    // A known one is replaced, not added.
    let mut known = with("endpoint", json!(service.endpoint("7")));
    known["minimum_severity"] = json!("low");
    subscribed(&server, &known).await;
    let push = server.json("/api/push").await;
    assert_eq!(push["subscriptions"].as_array().unwrap().len(), 64);
}

#[tokio::test]
async fn subscription_outlives_a_restart() {
    let service = PushService::start().await;
    let mut server = started(&service).await;
    let browser = PushBrowser::new();
    service.knows(PATH, &browser);
    subscribed(&server, &wish(&service, &browser, "high", &[])).await;
    report(&server, 1, "critical", "team").await;
    service.taken(1).await;
    let before = server.json("/api/push").await;
    for name in ["push.key", "push.json"] {
        let file = server.folder.path().join("data").join(name);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    // What it could not deliver is delivered after the restart, once.
    service.answers([(503, None), (503, None), (503, None)]);
    report(&server, 2, "critical", "team").await;
    service.refusals(1).await;
    server.signal("-TERM");
    server.wait().await;
    let server = server.again().await;
    assert_eq!(server.json("/api/push").await, before);
    let messages = service.taken(2).await;
    assert_eq!(messages[1].text["title"], "Reverse shell 2");
}

#[tokio::test]
async fn push_can_be_off() {
    let setup = Setup::new().agents(NOBODY);
    let server = setup.settings("[push]\nenabled = false\n").start().await;
    let push = server.json("/api/push").await;
    assert_eq!(push, json!({"public_key": null, "subscriptions": []}));
    let body = json!({"endpoint": "https://push.example.net/x"});
    let (status, _) = post(&server, "/api/push/subscriptions", &body).await;
    assert_eq!(status, 404);
    assert!(!server.folder.path().join("data/push.key").exists());
}
