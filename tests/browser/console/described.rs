//! The API matches its description: every operation is called, and the
//! responses are validated against the schema, in both directions.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::common::encoder::Encoder;
use crate::common::serve::{Setup, TestServer};
use crate::console::description::Described;
use crate::console::fixture::{cropped, report, reported};
use crate::console::overview_reads::overview_reads;
use crate::console::share_calls::share_calls;
use crate::console::whip_calls::whip_calls;

const SECRET: &str = "inbound-s3cret-of-tests";

#[tokio::test]
async fn every_operation_answers_as_described() {
    let server = Setup::new()
        .env("WATCHTOWER_INBOUND_SECRET", SECRET)
        .settings("[sinks.file]\nkind = \"jsonl\"\naddress = \"out.jsonl\"\n")
        .start()
        .await;
    let document = server.json("/api/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    is_committed(&document);
    let mut api = Described {
        document: document.clone(),
        called: BTreeSet::new(),
    };
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    report(&server, &reported(1, "A reverse shell")).await;
    let incident = server
        .until("an incident with its picture", async |server| {
            let page = server.json("/api/incidents?stream=demo").await;
            let of_agents = |one: &Value| one["agents"][0] != "Watchtower";
            let found = page["items"]
                .as_array()?
                .iter()
                .find(|one| of_agents(one))
                .cloned()?;
            let moments = server.json("/api/moments").await;
            (!moments["items"].as_array()?.is_empty()).then_some(found)
        })
        .await;
    let id = incident["id"].as_str().unwrap().to_owned();
    let finding = cropped(&server).await;
    let still = server.json("/api/moments").await["items"][0]["sha256"].clone();
    let still = still.as_str().unwrap().to_owned();

    let series = server.until("a series", async |server| {
        let page = server.json("/api/series").await;
        page["items"][0]["id"].as_u64()
    });
    let series = series.await.to_string();

    // Reads, valid and invalid.
    let missing = uuid::Uuid::now_v7().to_string();
    let mut reads: Vec<(&str, String)> = vec![
        ("/api/streams", String::new()),
        ("/api/agents", String::new()),
        ("/api/budget", String::new()),
        ("/api/setup", String::new()),
        ("/api/findings", "?limit=5".to_owned()),
        ("/api/findings", "?limit=0".to_owned()),
        ("/api/findings", "?severity=dreadful".to_owned()),
        ("/api/findings", "?q=%20".to_owned()),
        ("/api/incidents", "?limit=2&sort=severity".to_owned()),
        ("/api/incidents", "?sort=luck".to_owned()),
        ("/api/incidents", "?cursor=x".to_owned()),
        ("/api/incidents", "?colour=red".to_owned()),
        ("/api/findings/{id}/regions", finding.clone()),
        ("/api/findings/{id}/regions", "x".to_owned()),
        ("/api/findings/{id}/crop.jpg", finding.clone()),
        ("/api/incidents/{id}", id.clone()),
        ("/api/incidents/{id}", missing.clone()),
        ("/api/incidents/{id}", "x".to_owned()),
        ("/api/incidents/{id}/transcripts", id.clone()),
        ("/api/incidents/{id}/transcripts", missing.clone()),
        ("/api/suppressions", String::new()),
        ("/api/incidents/counts", String::new()),
        ("/api/health", String::new()),
        ("/api/moments", "?limit=3".to_owned()),
        ("/api/moments", "?since=yesterday".to_owned()),
        ("/api/handover", "?since=2026-01-01T00:00:00Z".to_owned()),
        ("/api/handover", String::new()),
        ("/api/handovers", String::new()),
        ("/api/handovers", "?limit=0".to_owned()),
        ("/api/precision", String::new()),
        ("/api/precision", "?days=0".to_owned()),
        ("/api/agent-settings", String::new()),
        ("/api/evidence/{file}", format!("{still}.jpg")),
        ("/api/evidence/{file}", "x.jpg".to_owned()),
        ("/api/series", "?limit=5&label=e".to_owned()),
        ("/api/series", "?cursor=x".to_owned()),
        ("/api/series/{id}", series.clone()),
        ("/api/series/{id}", format!("{series}?step=0")),
        ("/api/series/{id}", "123456789".to_owned()),
        ("/api/series/{id}", "x".to_owned()),
        ("/api/search", "?q=operational".to_owned()),
        ("/api/search", "?q=".to_owned()),
        ("/api/sinks", String::new()),
        ("/api/push", String::new()),
        ("/api/sinks/{name}/dead", "file".to_owned()),
        ("/api/sinks/{name}/dead", "nowhere".to_owned()),
        ("/api/frames/{stream}/latest.jpg", "demo".to_owned()),
        ("/api/frames/{stream}/latest.jpg", "nowhere".to_owned()),
        ("/api/events", String::new()),
        ("/api/openapi.json", String::new()),
        ("/metrics", String::new()),
        ("/readyz", String::new()),
        ("/healthz", String::new()),
    ];
    reads.extend(overview_reads(&id, &missing));
    for (path, with) in reads {
        let response = server.get(&filled(path, &with)).await;
        api.hold(path, &Method::GET, response).await;
    }
    // Cached responses are not sent again.
    for (path, with) in [
        ("/api/incidents/{id}", id.clone()),
        ("/api/evidence/{file}", format!("{still}.jpg")),
    ] {
        let url = server.http_url(&filled(path, &with));
        let tag = server.client.get(&url).send().await.unwrap().headers()["etag"].clone();
        let again = server
            .client
            .get(&url)
            .header("if-none-match", tag)
            .send()
            .await
            .unwrap();
        assert_eq!(again.status().as_u16(), 304);
        api.hold(path, &Method::GET, again).await;
    }
    changes(&server, &mut api, &id).await;
    crew(&server, &mut api).await;
    share_calls(&server, &mut api).await;
    whip_calls(&server, &mut api).await;
    media(&server, &mut api).await;

    let all: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(move |method| format!("{method} {path}"))
        })
        .collect();
    let left: Vec<_> = all.difference(&api.called).collect();
    assert!(left.is_empty(), "never called: {left:?}");
    let mut ids = BTreeSet::new();
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} names two operations");
        }
    }
    let nothing = server.get("/api/nothing").await;
    assert_eq!(
        nothing.headers()["content-type"],
        "application/problem+json"
    );
}

/// The described limits are enforced: every page size, every list position, and
/// every text that must not be blank.
#[test]
fn the_description_states_the_limits() {
    let file = crate::common::serve::root().join("docs/openapi.json");
    let document: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let (mut sizes, mut places) = (0, 0);
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let schema = &parameter["schema"];
                match parameter["name"].as_str().unwrap() {
                    "limit" => {
                        assert_eq!(
                            (&schema["minimum"], &schema["maximum"]),
                            (&json!(1), &json!(1000))
                        );
                        sizes += 1;
                    }
                    "cursor" => {
                        let bounded = schema["maximum"] == json!(i64::MAX);
                        assert!(bounded || schema["pattern"].is_string(), "{schema}");
                        places += 1;
                    }
                    "every" => assert_eq!(schema["minimum"], 1),
                    "q" | "by" => assert_eq!(schema["minLength"], 1, "{parameter}"),
                    _ => {}
                }
            }
        }
    }
    assert_eq!((sizes, places), (8, 6));
    let mut boxes = 0;
    for schema in document["components"]["schemas"]
        .as_object()
        .unwrap()
        .values()
    {
        let place = &schema["properties"]["box"];
        if place.is_object() {
            assert_eq!(
                (&place["minItems"], &place["maxItems"]),
                (&json!(4), &json!(4))
            );
            assert_eq!(place["items"]["maximum"], 1000, "{place}");
            boxes += 1;
        }
    }
    assert!(boxes >= 5, "{boxes} places on a picture");
    for (body, field) in [
        ("StatusBody", "by"),
        ("NoteBody", "by"),
        ("OwnerBody", "by"),
        ("OwnerBody", "owner"),
        ("SnoozeBody", "by"),
        ("SubscribeBody", "by"),
        ("UndoBody", "by"),
        ("NoteBody", "text"),
        ("Question", "question"),
        ("Finding", "agent"),
        ("Finding", "title"),
        ("Finding", "stream"),
    ] {
        let schema = &document["components"]["schemas"][body]["properties"][field];
        assert_eq!(schema["minLength"], 1, "{body}.{field}");
    }
    let version = &document["components"]["schemas"]["StatusBody"]["properties"]["version"];
    assert_eq!(
        (&version["minimum"], &version["maximum"]),
        (&json!(0), &json!(1u64 << 53))
    );
    assert!(document["paths"]["/whep/{stream}"]["post"]["responses"]["409"].is_object());
}

/// JSON Schema counts them as integers.
#[tokio::test]
async fn a_whole_number_with_a_fraction_of_zero_is_accepted() {
    let server = Setup::new().agents("").start().await;
    let mut finding = reported(1, "A reverse shell");
    finding["frame"]["seq"] = json!(12.0);
    let url = server.http_url("/api/findings");
    let taken = server.client.post(url).json(&finding).send().await.unwrap();
    assert_eq!(taken.status().as_u16(), 201);
    let stored: Value = taken.json().await.unwrap();
    assert_eq!(stored["frame"]["seq"], json!(12));
    let id = stored["incident"].as_str().unwrap();
    let url = server.http_url(&format!("/api/incidents/{id}/status"));
    let stale = json!({"by": "Ann", "status": "acknowledged", "version": 209.0});
    let refused = server.client.post(url).json(&stale).send().await.unwrap();
    assert_eq!(
        refused.status().as_u16(),
        409,
        "another version, and a number"
    );
}

/// Analysts, and handing over.
async fn crew(server: &TestServer, api: &mut Described) {
    let settings = "/api/agent-settings";
    let version = server.json(settings).await["version"].clone();
    let agent = json!({"name": "Extra", "personality": "p", "focus": "f", "model": "offline"});
    let body = |version: &Value, agent: &Value| json!({"by": "Ann", "version": version, "agent": agent, "dry_run": true});
    let removal = json!({"by": "Ann", "version": version, "dry_run": true});
    let (one, remove) = (
        "/api/agent-settings/{name}",
        "/api/agent-settings/{name}/remove",
    );
    for (method, path, with, body) in [
        (Method::POST, settings, "", body(&version, &agent)),
        (Method::POST, settings, "", body(&json!("old"), &agent)),
        (
            Method::POST,
            settings,
            "",
            body(&version, &json!({"name": "Extra"})),
        ),
        (
            Method::POST,
            settings,
            "",
            json!({"by": " ", "version": "", "agent": agent}),
        ),
        (Method::PUT, one, "SecOps", body(&version, &agent)),
        (Method::PUT, one, "Nobody", body(&version, &agent)),
        (Method::POST, remove, "SecOps", removal.clone()),
        (Method::POST, remove, "Nobody", removal),
    ] {
        let url = server.http_url(&filled(path, with));
        let request = server.client.request(method.clone(), url).json(&body);
        api.hold(path, &method, request.send().await.unwrap()).await;
    }
    let (since, until) = ("2026-01-01T00:00:00Z", "2026-01-01T08:00:00Z");
    let shift = json!({"by": "Ann", "since": since, "until": until, "message": "Watch web-01"});
    let post = async |path: &str, body: &Value| {
        let request = server.client.post(server.http_url(path)).json(body);
        request.send().await.unwrap()
    };
    let made = post("/api/handovers", &shift).await;
    let made = api.hold("/api/handovers", &Method::POST, made).await;
    let wrong = post(
        "/api/handovers",
        &json!({"by": "Ann", "since": until, "until": since}),
    )
    .await;
    api.hold("/api/handovers", &Method::POST, wrong).await;
    let path = "/api/handovers/{id}/sign-off";
    let missing = uuid::Uuid::now_v7().to_string();
    let id = made["id"].as_str().unwrap();
    for id in [id, id, missing.as_str(), "x"] {
        let taken = post(&filled(path, id), &json!({"by": "Bob"})).await;
        api.hold(path, &Method::POST, taken).await;
    }
    let listed = server.get("/api/handovers").await;
    api.hold("/api/handovers", &Method::GET, listed).await;
}

fn filled(path: &str, with: &str) -> String {
    match (path.find('{'), path.find('}')) {
        (Some(start), Some(end)) => format!("{}{with}{}", &path[..start], &path[end + 1..]),
        _ => format!("{path}{with}"),
    }
}

/// Subscription of a browser (RFC 8291, appendix A) to what never comes.
fn subscription(endpoint: &str) -> Value {
    let point =
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    json!({
        "endpoint": endpoint, "keys": {"p256dh": point, "auth": "BTBZMqHH6r4Tts7J_aSIgg"},
        "minimum_severity": "critical", "streams": ["none"], "by": "Ann",
    })
}

async fn changes(server: &TestServer, api: &mut Described, id: &str) {
    let decided = json!({"by": "Ann", "status": "acknowledged"});
    let closed = json!({"by": "Ann", "status": "closed", "why": "A drill", "false_positive": true});
    let noted = json!({"by": "Ann", "text": "Ask the pentesters"});
    let missing = uuid::Uuid::now_v7().to_string();
    let finding = reported(2, "Another reverse shell");
    let (status, notes) = ("/api/incidents/{id}/status", "/api/incidents/{id}/notes");
    let owner = "/api/incidents/{id}/owner";
    let (snooze, undo) = ("/api/incidents/{id}/snooze", "/api/incidents/{id}/undo");
    let subscribe = "/api/push/subscriptions";
    let posts: Vec<(&str, &str, Value)> = vec![
        (status, id, decided.clone()),
        (status, id, decided.clone()),
        (status, &missing, decided.clone()),
        (status, id, json!({"by": "", "status": "closed"})),
        (status, id, json!({"status": "gone"})),
        (
            status,
            id,
            json!({"by": "Ann", "status": "new", "version": 0}),
        ),
        (status, id, closed),
        (owner, id, json!({"by": "Ann", "owner": "Bob"})),
        (owner, id, json!({"by": "Ann"})),
        (owner, &missing, json!({"by": "Ann", "owner": null})),
        (snooze, id, json!({"by": "Ann", "until": null})),
        (
            snooze,
            id,
            json!({"by": "Ann", "until": "2020-01-01T00:00:00Z"}),
        ),
        (undo, id, json!({"by": "Ann", "version": 0})),
        (undo, &missing, json!({"by": "Ann", "version": 0})),
        (notes, id, noted.clone()),
        (notes, &missing, noted),
        (notes, id, json!({"by": "Ann"})),
        (notes, id, json!({"by": "Ann", "text": "x".repeat(70_000)})),
        ("/api/findings", "", finding.clone()),
        ("/api/findings", "", finding),
        ("/api/findings", "", json!({"id": "x"})),
        (
            "/api/ask",
            "",
            json!({"question": "Are all systems operational?"}),
        ),
        (
            subscribe,
            "",
            json!({"endpoint": "https://push.example.net/x"}),
        ),
        (subscribe, "", subscription("https://10.0.0.8/x")),
        (subscribe, "", subscription("https://push.example.net/x")),
        ("/api/ask", "", json!({"question": "What was it?"})),
        ("/api/ask", "", json!({"words": 1})),
    ];
    for (path, with, body) in posts {
        let url = server.http_url(&filled(path, with));
        let response = server.client.post(url).json(&body).send().await.unwrap();
        api.hold(path, &Method::POST, response).await;
    }
    let url = server.http_url(&filled(status, id));
    let plain = server.client.post(url).body("closed").send().await.unwrap();
    assert_eq!(plain.status().as_u16(), 415);
    api.hold(status, &Method::POST, plain).await;

    let push = server.json("/api/push").await;
    let subscribed = push["subscriptions"][0]["id"].as_str().unwrap();
    for id in [subscribed, missing.as_str(), "x"] {
        let path = "/api/push/subscriptions/{id}";
        let url = server.http_url(&filled(path, id));
        let ended = server.client.delete(url).send().await.unwrap();
        api.hold(path, &Method::DELETE, ended).await;
        let path = "/api/push/subscriptions/{id}/test";
        let url = server.http_url(&filled(path, id));
        let sent = server.client.post(url).send().await.unwrap();
        api.hold(path, &Method::POST, sent).await;
    }

    let again = "/api/sinks/{name}/dead/{event}";
    for event in [missing.as_str(), "x"] {
        let url = server.http_url(&format!("/api/sinks/file/dead/{event}"));
        let response = server.client.post(url).send().await.unwrap();
        api.hold(again, &Method::POST, response).await;
    }
    let lesson = server.json("/api/suppressions").await["items"][0]["id"].clone();
    let lesson = lesson.as_str().unwrap().to_owned();
    for lesson in [lesson.as_str(), lesson.as_str(), "x"] {
        let url = server.http_url(&format!("/api/suppressions/{lesson}"));
        let response = server.client.delete(url).send().await.unwrap();
        api.hold("/api/suppressions/{id}", &Method::DELETE, response)
            .await;
        let url = server.http_url(&format!("/api/suppressions/{lesson}/restore"));
        let response = server.client.post(url).send().await.unwrap();
        api.hold("/api/suppressions/{id}/restore", &Method::POST, response)
            .await;
    }
    let unsigned = server
        .client
        .post(server.http_url("/api/inbound"))
        .json(&decided);
    api.hold(
        "/api/inbound",
        &Method::POST,
        unsigned.send().await.unwrap(),
    )
    .await;
    let form = server.client.post(server.http_url("/login")).body("");
    api.hold("/login", &Method::POST, form.send().await.unwrap())
        .await;
    let leaving = server.client.post(server.http_url("/logout"));
    let leaving = leaving.header("origin", "http://evil.example").send();
    api.hold("/logout", &Method::POST, leaving.await.unwrap())
        .await;
    let foreign = server.client.get(server.http_url("/api/streams"));
    let foreign = foreign
        .header("origin", "http://evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(foreign.status().as_u16(), 403);
    api.hold("/api/streams", &Method::GET, foreign).await;
}

async fn media(server: &TestServer, api: &mut Described) {
    let watch = "/whep/{stream}";
    let session = "/whep/{stream}/{session}";
    let post = |stream: &str, kind: &'static str, body: &'static str| {
        let url = server.http_url(&format!("/whep/{stream}"));
        server
            .client
            .post(url)
            .header("content-type", kind)
            .body(body)
            .send()
    };
    let offer = include_str!("../whep/offer.sdp");
    let answered = post("demo", "application/sdp", offer).await.unwrap();
    assert_eq!(answered.status().as_u16(), 201);
    let location = answered.headers()["location"].to_str().unwrap().to_owned();
    api.hold(watch, &Method::POST, answered).await;
    for (stream, kind, body) in [
        ("nowhere", "application/sdp", offer),
        ("demo", "text/plain", offer),
        ("demo", "application/sdp", "nonsense"),
    ] {
        let refused = post(stream, kind, body).await.unwrap();
        api.hold(watch, &Method::POST, refused).await;
    }
    let fragment = |kind: &'static str, body: &'static str| {
        let url = server.http_url(&location);
        server
            .client
            .patch(url)
            .header("content-type", kind)
            .body(body)
            .send()
    };
    for (kind, body) in [
        ("application/trickle-ice-sdpfrag", "a=end-of-candidates\r\n"),
        ("application/trickle-ice-sdpfrag", "a=ice-ufrag:other\r\n"),
        ("text/plain", ""),
    ] {
        let taken = fragment(kind, body).await.unwrap();
        api.hold(session, &Method::PATCH, taken).await;
    }
    for _ in 0..2 {
        let ended = server
            .client
            .delete(server.http_url(&location))
            .send()
            .await
            .unwrap();
        api.hold(session, &Method::DELETE, ended).await;
    }
}

/// Committed copy for readers, from which the page's types are generated.
fn is_committed(document: &Value) {
    let file = crate::common::serve::root().join("docs/openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        let text = serde_json::to_string_pretty(document).unwrap();
        std::fs::write(&file, text + "\n").unwrap();
    }
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert!(
        kept == *document,
        "docs/openapi.json is not what the server says: UPDATE_OPENAPI=1 cargo test --test browser described"
    );
}
