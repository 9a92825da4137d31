//! Analysts changed over the API: comments and order of `agents.toml` stay, the
//! change takes effect at once, and what can't be written is refused whole.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::common::serve::{Setup, TestServer};

const FILE: &str = "\
# Kept above all.
[model]
provider = \"offline\" # kept beside it

# The first one.
[[agent]]
name = \"Alpha\"
personality = \"calm\"
focus = \"banners\"
indicators = [
  \"red banner\", # as in the runbook
]

# The second one.
[[agent]]
name = \"Beta\"
personality = \"brisk\"
focus = \"queues\"

# Kept below all.
[[watch]]
label = \"p99 latency\"
above = \"800 ms\"
agent = \"Beta\"
";

fn file(server: &TestServer) -> PathBuf {
    server.folder.path().join("agents.toml")
}

fn text(server: &TestServer) -> String {
    std::fs::read_to_string(file(server)).expect("the file is there")
}

async fn settings(server: &TestServer) -> Value {
    server.json("/api/agent-settings").await
}

async fn version(server: &TestServer) -> Value {
    settings(server).await["version"].clone()
}

async fn send(server: &TestServer, method: Method, path: &str, body: &Value) -> Response {
    let request = server.client.request(method, server.http_url(path));
    request.json(body).send().await.expect("an answer")
}

async fn refused(response: Response, status: StatusCode) -> Value {
    let found = response.status();
    let kind = response.headers()["content-type"].clone();
    let body: Value = response.json().await.expect("a problem");
    assert_eq!(found, status, "{body}");
    assert_eq!(kind, "application/problem+json");
    body
}

async fn done(response: Response) -> Value {
    let status = response.status();
    let body: Value = response.json().await.expect("JSON");
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

/// Names and states of the analysts that run.
async fn running(server: &TestServer) -> Vec<(String, bool)> {
    let page = server.json("/api/agents").await;
    let items = page["items"].as_array().expect("a list").iter();
    let agent = |item: &Value| {
        let name = item["name"].as_str().expect("a name").to_owned();
        (name, item["enabled"] == true)
    };
    items.map(agent).collect()
}

fn agent(name: &str) -> Value {
    json!({"name": name, "personality": "wary", "focus": "keys"})
}

async fn add(server: &TestServer, agent: &Value) -> Response {
    let body = json!({"by": "Ann", "version": version(server).await, "agent": agent});
    send(server, Method::POST, "/api/agent-settings", &body).await
}

#[tokio::test]
async fn analyst_is_added_paused_renamed_and_removed() {
    let server = Setup::new().agents(FILE).start().await;
    let shown = settings(&server).await;
    assert_eq!(shown["in_force"], true);
    assert_eq!(
        (&shown["faults"], &shown["unwritable"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(shown["items"][0]["indicators"], json!(["red banner"]));

    let mut gamma = agent("Gamma");
    gamma["indicators"] = json!(["a \"quoted\" one", "]\n[[agent]]".replace('\n', " ")]);
    gamma["interval"] = json!("20s");
    let added = done(add(&server, &gamma).await).await;
    assert_eq!(added["written"], true);
    let all = |enabled: [bool; 3]| -> Vec<(String, bool)> {
        let names = ["Alpha", "Beta", "Gamma"].map(str::to_owned);
        names.into_iter().zip(enabled).collect()
    };
    // In force once it is answered.
    assert_eq!(running(&server).await, all([true; 3]));
    let block = added["block"].as_str().expect("a block");
    let at = FILE.find("\n# Kept below all").expect("there");
    assert_eq!(
        text(&server),
        format!("{}\n{block}{}", &FILE[..at], &FILE[at..])
    );
    assert_eq!(added["version"], version(&server).await);
    let before = std::fs::read_to_string(file(&server).with_extension("toml.bak"));
    assert_eq!(before.expect("the version before"), FILE);

    // Paused: one line more, and all else as it was.
    let mut alpha = settings(&server).await["items"][0].clone();
    alpha["enabled"] = json!(false);
    let was = text(&server);
    let body = json!({"by": "Bea", "version": added["version"], "agent": alpha});
    let paused = send(&server, Method::PUT, "/api/agent-settings/Alpha", &body).await;
    let paused = done(paused).await;
    assert_eq!(running(&server).await, all([false, true, true]));
    let expected = was.replacen("runbook\n]\n", "runbook\n]\nenabled = false\n", 1);
    assert_eq!(text(&server), expected);

    // Renamed, with its watch.
    let mut beta = settings(&server).await["items"][1].clone();
    beta["name"] = json!("Delta");
    let body = json!({"by": "Bea", "version": paused["version"], "agent": beta});
    let renamed = send(&server, Method::PUT, "/api/agent-settings/Beta", &body).await;
    let renamed = done(renamed).await;
    assert!(
        text(&server).ends_with("agent = \"Delta\"\n"),
        "{}",
        text(&server)
    );

    // A watch still needs Delta.
    let removal = |version: &Value| json!({"by": "Bea", "version": version});
    let path = "/api/agent-settings/Delta/remove";
    let kept = send(&server, Method::POST, path, &removal(&renamed["version"])).await;
    let problem = refused(kept, StatusCode::UNPROCESSABLE_ENTITY).await;
    let detail = problem["detail"].as_str().expect("a reason");
    assert!(detail.contains("watch[0].agent"), "{detail}");
    let path = "/api/agent-settings/Gamma/remove";
    let gone = send(&server, Method::POST, path, &removal(&renamed["version"])).await;
    assert_eq!(done(gone).await["block"], Value::Null);
    let expected = expected
        .replace(&format!("\n{block}"), "")
        .replace("\"Beta\"", "\"Delta\"");
    assert_eq!(text(&server), expected);

    let changes = settings(&server).await["changes"].clone();
    let what = |nth: usize| (changes[nth]["by"].clone(), changes[nth]["what"].clone());
    assert_eq!(
        [what(0), what(1), what(2), what(3)],
        [
            (json!("Bea"), json!("analyst Gamma removed")),
            (json!("Bea"), json!("analyst Beta renamed to Delta")),
            (json!("Bea"), json!("analyst Alpha paused")),
            (json!("Ann"), json!("analyst Gamma added")),
        ]
    );
    let log = server.log("watchtower.log");
    assert!(log.contains("(analyst Alpha paused by Bea)"), "{log}");
}

#[tokio::test]
async fn change_of_an_older_version_shows_both() {
    let server = Setup::new().agents(FILE).start().await;
    let old = version(&server).await;
    let edited = FILE.replace("\"calm\"", "\"calmer\"");
    std::fs::write(file(&server), &edited).expect("written");
    let mut alpha = agent("Alpha");
    alpha["personality"] = json!("mine");
    let body = json!({"by": "Ann", "version": old, "agent": alpha});
    let refusal = send(&server, Method::PUT, "/api/agent-settings/Alpha", &body).await;
    let problem = refused(refusal, StatusCode::CONFLICT).await;
    let (current, wanted) = (&problem["current"], &problem["wanted"]);
    assert!(current.as_str().expect("text").contains("\"calmer\""));
    assert!(wanted.as_str().expect("text").contains("\"mine\""));
    assert_eq!(text(&server), edited);
    // With the version on disk it is written.
    let body = json!({"by": "Ann", "version": problem["version"], "agent": alpha});
    done(send(&server, Method::PUT, "/api/agent-settings/Alpha", &body).await).await;
    assert!(text(&server).contains("\"mine\""));
}

#[tokio::test]
async fn hostile_settings_are_refused_and_nothing_is_written() {
    let server = Setup::new().agents(FILE).start().await;
    let version = version(&server).await;
    let with = |key: &str, value: Value| {
        let mut agent = agent("Gamma");
        agent[key] = value;
        agent
    };
    let key = "AIzaFakeKeyOfTheTests0123456789abcdefgh";
    for (agent, reason) in [
        (agent("alpha"), "is taken by another agent"),
        (agent("../../etc/passwd"), "agents[2].name"),
        (agent("a/b"), "agents[2].name"),
        (agent(""), "agents[2].name"),
        (agent(&"x".repeat(33)), "agents[2].name"),
        (agent("Gam\u{0}ma"), "control characters, got U+0000"),
        (
            with("personality", json!("x".repeat(4001))),
            "at most 4000 characters long, got 4001",
        ),
        (with("personality", json!(" ")), "agents[2].personality"),
        (with("focus", json!("a\u{1b}[2Jb")), "got U+001B"),
        (
            with("focus", json!(format!("key {key}"))),
            "must not contain a secret",
        ),
        (
            with("indicators", json!(vec!["x"; 65])),
            "at most 64 items, got 65",
        ),
        (with("streams", json!(["../live"])), "agents[2].streams[0]"),
        (with("interval", json!("soon")), "agents[2].interval"),
        (
            with("requests_per_interval", json!(-1)),
            "agents[2].requests_per_interval",
        ),
        (with("model", json!("gpt:x y")), "agents[2].model"),
        (with("api_key", json!("x")), "unknown field `api_key`"),
        (with("enabled", json!("yes")), "enabled"),
    ] {
        let body = json!({"by": "Ann", "version": version, "agent": agent});
        let refusal = send(&server, Method::POST, "/api/agent-settings", &body).await;
        let problem = refused(refusal, StatusCode::UNPROCESSABLE_ENTITY).await;
        let detail = problem["detail"].as_str().expect("a reason");
        assert!(detail.contains(reason), "{reason}: {detail}");
        assert!(!detail.contains(key), "{detail}");
    }
    let body =
        json!({"by": "Ann", "version": version, "agent": with("focus", json!("x".repeat(70_000)))});
    let refusal = send(&server, Method::POST, "/api/agent-settings", &body).await;
    refused(refusal, StatusCode::PAYLOAD_TOO_LARGE).await;
    let path = "/api/agent-settings/..%2F..%2Fetc/remove";
    let body = json!({"by": "Ann", "version": version});
    let refusal = send(&server, Method::POST, path, &body).await;
    refused(refusal, StatusCode::NOT_FOUND).await;
    for by in ["", "Watchtower", "a\nb"] {
        let body = json!({"by": by, "version": version, "agent": agent("Gamma")});
        let refusal = send(&server, Method::POST, "/api/agent-settings", &body).await;
        refused(refusal, StatusCode::BAD_REQUEST).await;
    }
    // As other writes: of this site only.
    let body = json!({"by": "Ann", "version": version, "agent": agent("Gamma")});
    let foreign = server.client.post(server.http_url("/api/agent-settings"));
    let foreign = foreign.header("origin", "https://evil.example").json(&body);
    let answer = foreign.send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(text(&server), FILE);
    assert_eq!(settings(&server).await["changes"], json!([]));
}

#[tokio::test]
async fn analysts_have_a_limit() {
    let block = |nth: usize| {
        format!(
            "[[agent]]\nname = \"A{nth}\"\npersonality = \"p\"\nfocus = \"f\"\nenabled = false\n\n"
        )
    };
    let many: String = (0..64).map(block).collect();
    let server = Setup::new().agents(&many).start().await;
    let problem = refused(
        add(&server, &agent("Gamma")).await,
        StatusCode::UNPROCESSABLE_ENTITY,
    )
    .await;
    let detail = problem["detail"].as_str().expect("a reason");
    assert!(
        detail.contains("agent: must be at most 64 blocks, got 65"),
        "{detail}"
    );
    let too_many: String = (0..500).map(block).collect();
    std::fs::write(file(&server), &too_many).expect("written");
    let shown = settings(&server).await;
    let faults = shown["faults"].as_str().expect("faults");
    assert!(
        faults.contains("must be at most 64 blocks, got 500"),
        "{faults}"
    );
    assert_eq!(shown["items"], json!([]));
    assert_eq!(running(&server).await.len(), 64);
}

#[tokio::test]
async fn read_only_file_gives_the_text_to_paste() {
    let server = Setup::new().agents(FILE).start().await;
    std::fs::set_permissions(file(&server), std::fs::Permissions::from_mode(0o444)).expect("set");
    assert_eq!(
        settings(&server).await["unwritable"],
        "the file is read-only"
    );
    let problem = refused(add(&server, &agent("Gamma")).await, StatusCode::FORBIDDEN).await;
    let expected = "[[agent]]\nname = \"Gamma\"\npersonality = \"wary\"\nfocus = \"keys\"\n";
    assert_eq!(problem["wanted"], expected);
    let body = json!({
        "by": "Ann", "version": version(&server).await, "agent": agent("Gamma"), "dry_run": true
    });
    let planned = send(&server, Method::POST, "/api/agent-settings", &body).await;
    let planned = done(planned).await;
    assert_eq!(
        (
            &planned["written"],
            &planned["block"],
            &planned["in_force_since"]
        ),
        (&json!(false), &json!(expected), &Value::Null)
    );
    assert_eq!(text(&server), FILE);
    assert_eq!(running(&server).await.len(), 2);
}

#[tokio::test]
async fn invalid_file_is_shown_with_its_faults() {
    let server = Setup::new().agents(FILE).start().await;
    let broken = FILE.replace("name = \"Beta\"", "name = \"Be ta\"\ntempo = 1");
    std::fs::write(file(&server), &broken).expect("written");
    let shown = settings(&server).await;
    let faults = shown["faults"].as_str().expect("faults");
    assert!(faults.contains("agents[1].tempo"), "{faults}");
    assert_eq!(
        (&shown["items"], &shown["in_force"]),
        (&json!([]), &json!(false))
    );
    let refusal = add(&server, &agent("Gamma")).await;
    let problem = refused(refusal, StatusCode::UNPROCESSABLE_ENTITY).await;
    let detail = problem["detail"].as_str().expect("a reason");
    assert!(detail.contains("agents[1].tempo"), "{detail}");
    assert_eq!(text(&server), broken);
    assert_eq!(running(&server).await.len(), 2);
}
