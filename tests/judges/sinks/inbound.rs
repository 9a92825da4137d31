//! Inbound integration: a tool closes an incident; the real server, its
//! `/api/sinks`, and `sink test`.

use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::common::serve::{Setup, TestServer, command};
use crate::sinks::harness::numbered;

const SECRET: &str = "inb0und-secret";

fn signature(at: &str, body: &str, secret: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{at}.{body}").as_bytes());
    let hex: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256={hex}")
}

async fn post(server: &TestServer, at: i64, body: &Value, secret: &str) -> (u16, String) {
    let (at, body) = (at.to_string(), body.to_string());
    let request = server
        .client
        .post(server.http_url("/api/inbound"))
        .header("x-watchtower-timestamp", &at)
        .header("x-watchtower-signature", signature(&at, &body, secret))
        .body(body);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

const NOBODY: &str = "[model]\nprovider = 'offline'\n[[agent]]\nname = 'SecOps'\npersonality = 'x'\nfocus = 'y'\nenabled = false\n";

#[tokio::test]
async fn a_tool_closes_an_incident_once_and_in_time() {
    let server = Setup::new()
        .agents(NOBODY)
        .settings("[sinks.file]\nkind = 'jsonl'\naddress = 'out/events.jsonl'")
        .env("WATCHTOWER_INBOUND_SECRET", SECRET)
        .env("WATCHTOWER_CONSOLE_TOKEN", "console-t0ken")
        .start()
        .await;
    let reported = server
        .client
        .post(server.http_url("/api/findings"))
        .bearer_auth("console-t0ken")
        .json(&numbered(1))
        .send()
        .await
        .unwrap();
    assert_eq!(reported.status(), 201);
    let incident = reported.json::<Value>().await.unwrap()["incident"].clone();
    let close =
        json!({ "incident": incident, "status": "closed", "by": "Splunk/ada", "why": "ticket 7" });
    let start = now();
    assert_eq!(post(&server, start, &close, "wrong").await.0, 401);
    let (status, why) = post(&server, start - 301, &close, SECRET).await;
    assert!(status == 401 && why.contains("5 minutes"), "{why}");
    let (status, response) = post(&server, start, &close, SECRET).await;
    assert_eq!(status, 200, "{response}");
    let (status, why) = post(&server, start, &close, SECRET).await;
    assert!(status == 401 && why.contains("already"), "{why}");
    let (status, why) = post(&server, start, &json!({ "incident": incident }), SECRET).await;
    assert!(status == 400 && why.contains("status"), "{why}");
    let get = async |path: &str| -> Value {
        let request = server
            .client
            .get(server.http_url(path))
            .bearer_auth("console-t0ken");
        request.send().await.unwrap().json().await.unwrap()
    };
    let shown = get(&format!("/api/incidents/{}", incident.as_str().unwrap())).await;
    assert_eq!(shown["status"], "closed");
    assert_eq!(shown["decisions"][0]["by"], "Splunk/ada");
    let sink = server
        .until("the sink is told", async |_| {
            let sinks = get("/api/sinks").await;
            (sinks["items"][0]["behind"] == 0 && sinks["items"][0]["delivered"] == 2)
                .then(|| sinks["items"][0].clone())
        })
        .await;
    assert_eq!(
        (&sink["name"], &sink["kind"], &sink["state"], &sink["dead"]),
        (&json!("file"), &json!("jsonl"), &json!("ok"), &json!(0))
    );
    assert_eq!(get("/api/sinks/file/dead").await["items"], json!([]));
    let events = crate::sinks::files::lines(&server.folder.path().join("out/events.jsonl"));
    assert_eq!(events[1]["status_detail"], "Splunk/ada: ticket 7");
    assert!(!server.output().contains(SECRET));
}

#[tokio::test]
async fn sink_test_reports_the_receivers_response() {
    let hook = crate::sinks::fake::Fake::start(|request| {
        assert!(request.text().contains("no alert"));
        crate::sinks::fake::reply(403, json!({ "error": "not you" }))
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let toml = "[sinks.file]\nkind = 'jsonl'\naddress = 'events.jsonl'\n[sinks.hook]\nkind = 'webhook'\n[sinks.off]\nkind = 'otlp'";
    std::fs::write(folder.path().join("watchtower.toml"), toml).unwrap();
    let run = async |args: &[&str]| {
        let mut all = command("sink", folder.path());
        all.arg("test").args(args).env(
            "WATCHTOWER_SINK_HOOK_ADDRESS",
            format!("{}/s3cret-path", hook.url()),
        );
        let output = all.output().await.unwrap();
        (
            output.status.code(),
            String::from_utf8([output.stdout, output.stderr].concat()).unwrap(),
        )
    };
    let (code, response) = run(&[]).await;
    assert_eq!(code, Some(1), "{response}");
    assert!(
        response.contains("file (jsonl)  ok") && response.contains("off (otlp)  off"),
        "{response}"
    );
    assert!(
        response.contains("hook (webhook)  ERROR  HTTP 403") && response.contains("not you"),
        "{response}"
    );
    assert!(!response.contains("s3cret-path"), "{response}");
    assert_eq!(run(&["file"]).await.0, Some(0));
    let (code, response) = run(&["nobody"]).await;
    assert!(
        code == Some(1) && response.contains("configured: file, hook, off"),
        "{response}"
    );
}
