//! `watchtower agent`: analysts in processes of their own, fed by WebRTC.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::PATIENCE;
use crate::common::encoder::Encoder;
use crate::common::serve::{Setup, TestServer, command, root};
use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Child;
use tokio_util::sync::CancellationToken;
use watchtower::base::bearer::{Bearer, address};
use watchtower::base::secret::Secret;
use watchtower::base::stream_name::StreamName;
use watchtower::media::hub::StreamHub;
use watchtower::playback::client::{ClientSettings, WhepClient};

const TOKEN: &str = "t0ken-of-tests";
/// The demo runs for 78 s, so that a scene may be that far away.
const ROUND: Duration = Duration::from_secs(180);
const NOBODY: &str = "[model]\nprovider = \"offline\"\n";

/// Agent process, killed when dropped.
struct AgentProcess {
    folder: TempDir,
    child: Child,
}

impl AgentProcess {
    fn start(folder: TempDir, persona: &str, http: SocketAddr, token: &str) -> Self {
        fs::copy(
            root().join("agents.toml"),
            folder.path().join("agents.toml"),
        )
        .unwrap();
        let output = File::options()
            .create(true)
            .append(true)
            .open(folder.path().join("said"))
            .unwrap();
        let child = command("agent", folder.path())
            .args(["--persona", persona])
            .args(["--whep", &format!("http://{http}/whep/team")])
            .args(["--report", &format!("http://{http}")])
            .env("WATCHTOWER_CONSOLE_TOKEN", token)
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self { folder, child }
    }

    fn output(&self) -> String {
        fs::read_to_string(self.folder.path().join("said")).unwrap()
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        let sent = std::process::Command::new("kill")
            .args([signal, &pid])
            .status();
        assert!(sent.unwrap().success());
    }

    async fn wait(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended
            .unwrap_or_else(|_| panic!("{}", self.output()))
            .unwrap()
    }
}

async fn server(folder: &TempDir, http: &str) -> TestServer {
    fs::write(folder.path().join("agents.toml"), NOBODY).unwrap();
    Setup::of(command("serve", folder.path()))
        .args(&["--http", http])
        .env("WATCHTOWER_CONSOLE_TOKEN", TOKEN)
        .start()
        .await
}

async fn get(server: &TestServer, path: &str) -> Value {
    let request = server.client.get(server.http_url(path)).bearer_auth(TOKEN);
    request.send().await.unwrap().json().await.unwrap()
}

/// Findings of each agent in the server's list.
async fn counts(server: &TestServer) -> HashMap<String, usize> {
    let page = get(server, "/api/findings?limit=1000").await;
    let mut counts = HashMap::new();
    for item in page["items"].as_array().unwrap() {
        *counts
            .entry(item["agent"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    counts
}

async fn reaches(server: &TestServer, agent: &AgentProcess, name: &str, least: usize) {
    let wait = async {
        while counts(server).await.get(name).copied().unwrap_or(0) < least {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    if tokio::time::timeout(ROUND, wait).await.is_err() {
        panic!(
            "{name} did not reach {least} findings; it said:\n{}",
            agent.output()
        );
    }
}

#[tokio::test]
async fn two_agents_report_and_outlive_themselves_and_their_server() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = server(&folder, "127.0.0.1:0").await;
    let http = first.http;
    let encoder = Encoder::demo(&first.rtmp_url("live/team"));
    let new = || tempfile::tempdir().unwrap();
    let mut secops = AgentProcess::start(new(), "secops", http, TOKEN);
    let mut devops = AgentProcess::start(new(), "DevOps", http, TOKEN);
    reaches(&first, &secops, "SecOps", 1).await;
    reaches(&first, &devops, "DevOps", 1).await;
    let agents = get(&first, "/api/agents").await;
    for agent in agents["items"].as_array().unwrap() {
        assert_eq!(agent["state"], "remote", "{agent}");
        assert!(agent["last_seen"].is_string(), "{agent}");
    }

    // A new process continues where the killed one stopped.
    secops.signal("-KILL");
    secops.wait().await;
    let before = counts(&first).await["SecOps"];
    let mut secops = AgentProcess::start(secops.folder, "SecOps", http, TOKEN);
    reaches(&first, &secops, "SecOps", before + 1).await;

    // The same processes survive a server that is killed.
    let before = counts(&first).await;
    first.signal("-KILL");
    first.wait().await;
    drop(encoder);
    let second = server(&folder, &http.to_string()).await;
    let _encoder = Encoder::demo(&second.rtmp_url("live/team"));
    reaches(&second, &secops, "SecOps", before["SecOps"] + 1).await;
    reaches(&second, &devops, "DevOps", before["DevOps"] + 1).await;
    // Pending reports may arrive before they receive the stream again.
    second
        .until("two viewers", async |server| {
            let request = server.client.get(server.http_url("/metrics"));
            let metrics = request.bearer_auth(TOKEN).send().await.unwrap();
            let metrics = metrics.text().await.unwrap();
            metrics.contains("watchtower_viewers 2\n").then_some(())
        })
        .await;

    for agent in [&mut secops, &mut devops] {
        agent.signal("-TERM");
        assert!(agent.wait().await.success(), "{}", agent.output());
        assert!(!agent.output().contains(TOKEN));
    }
    second.logged("ended by request").await;
    let logs = folder.path().join("logs");
    let journal = fs::read_to_string(logs.join("findings.jsonl")).unwrap();
    let mut ids = BTreeSet::new();
    for line in journal.lines() {
        let finding: Value = serde_json::from_str(line).unwrap();
        let id = finding["id"].as_str().unwrap().to_owned();
        assert!(ids.insert(id), "twice: {line}");
        assert_eq!(finding["stream"], "team");
    }
    for log in ["secops.log", "devops.log"] {
        assert!(fs::read_to_string(logs.join(log)).unwrap().contains("team"));
    }
}

#[tokio::test]
async fn permanent_errors_are_reported_and_end_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder, "127.0.0.1:0").await;
    for token in ["wr0ng-token", ""] {
        let folder = tempfile::tempdir().unwrap();
        let mut agent = AgentProcess::start(folder, "SecOps", server.http, token);
        assert!(!agent.wait().await.success());
        let output = agent.output();
        assert!(
            output.contains("401") && output.contains("WATCHTOWER_CONSOLE_TOKEN"),
            "{output}"
        );
        assert!(!output.contains("wr0ng-token"), "{output}");
    }
    let mut agent = AgentProcess::start(tempfile::tempdir().unwrap(), "Nobody", server.http, TOKEN);
    assert!(!agent.wait().await.success());
    let output = agent.output();
    assert!(
        output.contains("\"Nobody\"") && output.contains("SecOps, "),
        "{output}"
    );
}

fn finding() -> Value {
    json!({
        "id": uuid::Uuid::now_v7(),
        "incident": null,
        "agent": "Outpost",
        "stream": "team",
        "observed_at": "2026-01-01T00:00:00Z",
        "frame": {"seq": 1, "pts_ms": 40, "sha256": "ab".repeat(32)},
        "severity": "high",
        "confidence": 0.5,
        "category": "intrusion",
        "title": "Brute\u{1b}[31m force",
        "detail": "d",
        "evidence": [{"quote": "q", "box": [1, 2, 3, 4], "grounded": true}],
        "mitre": ["T1110.001"],
        "recommended_action": "",
        "model": {"provider": "offline", "name": "rules", "version": "1", "prompt": "v\u{1b}2"},
    })
}

#[tokio::test]
async fn a_reported_finding_is_checked_cleaned_and_stored_once() {
    let panel =
        format!("{NOBODY}[[agent]]\nname = \"SecOps\"\npersonality = \"p\"\nfocus = \"f\"\n");
    let server = Setup::new().agents(&panel).start().await;
    let post = async |body: &Value| {
        let request = server.client.post(server.http_url("/api/findings"));
        let response = request.json(body).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json::<Value>().await.unwrap())
    };
    let good = finding();
    let (status, stored) = post(&good).await;
    assert_eq!((status, &stored["title"]), (201, &json!("Brute[31m force")));
    assert_eq!(stored["model"]["prompt"], "v2");
    assert_eq!(post(&good).await, (200, stored));
    assert_eq!(server.findings().len(), 1);
    assert!(server.log("outpost.log").contains("Brute[31m force"));

    let long = "x".repeat(9_000);
    for (pointer, bad, status, field) in [
        ("/agent", json!("secops"), 409, "secops"),
        ("/agent", json!("../etc"), 422, "agent"),
        ("/agent", json!("watchTOWER"), 409, "reserved"),
        ("/model/prompt", json!(long), 422, "model.prompt"),
        ("/stream", json!("a b"), 422, "stream"),
        ("/severity", json!("awful"), 422, "severity"),
        ("/confidence", json!(1.5), 422, "confidence"),
        ("/title", json!(" "), 422, "title"),
        ("/detail", json!(long), 422, "detail"),
        (
            "/evidence/0/box",
            json!([1, 2, 3, 1001]),
            422,
            "evidence[0].box",
        ),
        ("/evidence/0/quote", json!(long), 422, "evidence[0].quote"),
        ("/mitre/0", json!("T1"), 422, "mitre"),
        (
            "/observed_at",
            json!("2999-01-01T00:00:00Z"),
            422,
            "observed_at",
        ),
        ("/id", json!(uuid::Uuid::nil()), 422, "id"),
        ("/frame/sha256", json!("zz"), 422, "frame.sha256"),
        ("/detail", json!("x".repeat(80_000)), 413, ""),
    ] {
        let mut finding = finding();
        *finding.pointer_mut(pointer).unwrap() = bad;
        let (got, problem) = post(&finding).await;
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            got == status && detail.contains(field),
            "{pointer}: {got} {problem}"
        );
    }
    // Request that another site's form could send.
    let request = server.client.post(server.http_url("/api/findings"));
    let plain = request
        .header(header::CONTENT_TYPE.as_str(), "text/plain")
        .body(good.to_string());
    assert_eq!(plain.send().await.unwrap().status().as_u16(), 415);
    assert_eq!(server.findings().len(), 1);
}

/// Method of a request and its credentials.
type Ask = (String, Option<String>);

/// Requests received by a third-party HTTP server.
#[derive(Clone, Default)]
struct ReceivedRequests(Arc<Mutex<Vec<Ask>>>);

async fn other_server(
    answer: impl Fn() -> Response + Clone + Send + Sync + 'static,
) -> (String, ReceivedRequests) {
    let received = ReceivedRequests::default();
    let notes = received.clone();
    let router = Router::new().fallback(move |request: Request| {
        let token = request.headers().get(header::AUTHORIZATION);
        let token = token.map(|value| value.to_str().unwrap().to_owned());
        notes
            .0
            .lock()
            .unwrap()
            .push((request.method().to_string(), token));
        let answer = answer();
        async move { answer }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (place, received)
}

#[tokio::test]
async fn no_location_leads_the_token_elsewhere() {
    let (elsewhere, received_elsewhere) =
        other_server(|| StatusCode::NO_CONTENT.into_response()).await;
    for status in [StatusCode::CREATED, StatusCode::TEMPORARY_REDIRECT] {
        received_elsewhere.0.lock().unwrap().clear();
        let location = format!("{elsewhere}/session");
        let (place, received) = other_server(move || {
            let headers = [(header::LOCATION, location.clone())];
            (status, headers, "v=0\r\n").into_response()
        })
        .await;
        let url = address(&format!("{place}/whep/team")).unwrap();
        let bearer = Bearer::new(Secret::new(TOKEN), &[&url]);
        let stream = StreamName::new("team").unwrap();
        let client = WhepClient::new(ClientSettings {
            url,
            bearer,
            stream,
        })
        .unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(client.run(StreamHub::new(), shutdown.clone()));
        crate::common::eventually("the other place to be asked", || {
            (!received_elsewhere.0.lock().unwrap().is_empty()).then_some(())
        })
        .await;
        shutdown.cancel();
        running.await.unwrap().unwrap();
        let (method, token) = received.0.lock().unwrap()[0].clone();
        assert_eq!(method, "POST");
        assert_eq!(token, Some(format!("Bearer {TOKEN}")));
        let received = received_elsewhere.0.lock().unwrap().clone();
        assert!(
            received.iter().all(|(_, token)| token.is_none()),
            "{received:?}"
        );
    }
}
