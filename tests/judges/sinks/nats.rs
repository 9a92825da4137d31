//! NATS sink with a real nats-server.

use std::process::Stdio;
use std::time::Duration;

use async_nats::jetstream;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::common::PATIENCE;
use crate::sinks::harness::{SinkHarness, numbered};

async fn server(dir: &std::path::Path, port: u16) -> Child {
    started(dir, port, &[]).await
}

pub(crate) async fn started(dir: &std::path::Path, port: u16, args: &[&str]) -> Child {
    let port_text = port.to_string();
    let mut all = vec!["-a", "127.0.0.1", "-p", &port_text];
    all.extend(args);
    all.extend(["-js", "-sd"]);
    spawned(&all, dir, port).await
}

async fn spawned(args: &[&str], last: &std::path::Path, port: u16) -> Child {
    let child = Command::new("nats-server")
        .args(args)
        .arg(last)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("nats-server is there: scripts/setup.sh --tests installs it");
    let open = async {
        while tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, open).await.unwrap();
    child
}

pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn nats_has_every_event_once_over_a_kill_of_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut first = server(dir.path(), port).await;
    let client = async_nats::connect(format!("127.0.0.1:{port}"))
        .await
        .unwrap();
    let stream = jetstream::new(client);
    stream
        .create_stream(jetstream::stream::Config {
            name: "SOC".to_owned(),
            subjects: vec!["soc.>".to_owned()],
            ..Default::default()
        })
        .await
        .unwrap();
    let harness = SinkHarness::with(&format!(
        "[sinks.bus]\nkind = 'nats'\naddress = 'nats://127.0.0.1:{port}'\nindex = 'soc.watchtower'\nacknowledge = true\nbatch = 50\ntimeout = '3s'"
    ))
    .await;
    for number in 0..200 {
        harness.finding(numbered(number)).await;
    }
    harness
        .until("some are told", |harness| harness.sink("bus").delivered > 0)
        .await;
    first.kill().await.unwrap();
    for number in 200..400 {
        harness.finding(numbered(number)).await;
    }
    harness
        .until("the failure", |harness| harness.sink("bus").failed > 0)
        .await;
    let _second = server(dir.path(), port).await;
    harness.caught_up("bus").await;
    let client = async_nats::connect(format!("127.0.0.1:{port}"))
        .await
        .unwrap();
    let stream = jetstream::new(client).get_stream("SOC").await.unwrap();
    let consumer = stream.create_consumer(jetstream::consumer::pull::Config::default());
    let mut messages = consumer
        .await
        .unwrap()
        .fetch()
        .max_messages(1000)
        .messages()
        .await
        .unwrap();
    let mut users = Vec::new();
    while let Some(message) = messages.next().await {
        let message = message.unwrap();
        let event: Value = serde_json::from_slice(&message.payload).unwrap();
        let id = message
            .headers
            .as_ref()
            .unwrap()
            .get("Nats-Msg-Id")
            .unwrap()
            .to_string();
        assert_eq!(event["metadata"]["uid"], id);
        users.push(
            event["evidences"][0]["data"]["quote"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    assert_eq!(users.len(), 400);
    for (number, quote) in users.iter().enumerate() {
        assert!(
            quote.contains(&format!("user{number} ")),
            "{number}: {quote}"
        );
    }
}

#[tokio::test]
async fn with_a_login_and_one_event_that_is_too_large_the_others_are_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let file = dir.path().join("nats.conf");
    std::fs::write(
        &file,
        "max_payload: 9000\nauthorization { user: wt, password: \"pl+in 1&\" }\n",
    )
    .unwrap();
    let _server = started(dir.path(), port, &["-c", file.to_str().unwrap()]).await;
    let client = async_nats::ConnectOptions::new()
        .user_and_password("wt".to_owned(), "pl+in 1&".to_owned())
        .connect(format!("127.0.0.1:{port}"))
        .await
        .unwrap();
    let stream = jetstream::new(client)
        .create_stream(jetstream::stream::Config {
            name: "SOC".to_owned(),
            subjects: vec!["watchtower.>".to_owned()],
            ..Default::default()
        })
        .await
        .unwrap();
    let harness = SinkHarness::with(&format!(
        "[sinks.bus]\nkind = 'nats'\naddress = 'nats://wt:pl+in%201&@127.0.0.1:{port}'"
    ))
    .await;
    harness.finding(numbered(0)).await;
    let mut large = numbered(1);
    large.detail = "x".repeat(30_000);
    large.recommended_action = "y".repeat(30_000);
    harness.finding(large).await;
    harness.finding(numbered(2)).await;
    harness.caught_up("bus").await;
    let sink = harness.sink("bus");
    assert_eq!((sink.delivered, sink.dead), (2, 1), "{sink:?}");
    let dead = harness.bus.dead("bus", None, 3).await.unwrap().items;
    assert!(dead[0].body.to_string().contains("user1 "));
    for (place, user) in [(1, "user0 "), (2, "user2 ")] {
        let message = stream.get_raw_message(place).await.unwrap();
        assert!(String::from_utf8_lossy(&message.payload).contains(user));
    }
}

/// Starts a server with that configuration and without JetStream.
async fn plain(dir: &std::path::Path, port: u16, conf: &str) -> Child {
    let file = dir.join("plain.conf");
    std::fs::write(&file, conf).unwrap();
    spawned(
        &["-a", "127.0.0.1", "-p", &port.to_string(), "-c"],
        &file,
        port,
    )
    .await
}

async fn no_stream(jetstream: bool) {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let _server = match jetstream {
        true => server(dir.path(), port).await,
        false => plain(dir.path(), port, "").await,
    };
    let client = async_nats::connect(format!("127.0.0.1:{port}"))
        .await
        .unwrap();
    let mut subscription = client.subscribe("watchtower.>").await.unwrap();
    client.flush().await.unwrap();
    let sink = format!("[sinks.bus]\nkind = 'nats'\naddress = 'nats://127.0.0.1:{port}'");
    let mut harness = SinkHarness::with(&sink).await;
    for number in 0..3 {
        harness.finding(numbered(number)).await;
    }
    harness.caught_up("bus").await;
    let row = harness.sink("bus");
    assert_eq!((row.delivered, row.failed), (3, 0), "{row:?}");
    for number in 0..3 {
        let message = subscription.next().await.unwrap();
        let text = String::from_utf8_lossy(&message.payload);
        assert!(text.contains(&format!("user{number} ")), "{text}");
    }
    harness.stop().await;
    // A sink that requires JetStream (`acknowledge = true`) waits for it.
    harness
        .start(&format!("{sink}\nacknowledge = true\ntimeout = '1s'"))
        .await;
    harness.finding(numbered(3)).await;
    harness
        .until("it waits", |harness| harness.sink("bus").failed > 0)
        .await;
    assert_eq!(harness.sink("bus").delivered, 0);
}

#[tokio::test]
async fn without_a_stream_each_subscriber_gets_each_event_once() {
    tokio::join!(no_stream(false), no_stream(true));
}

#[tokio::test]
async fn a_denied_permission_delivers_nothing() {
    for (permissions, delivered) in [
        // No permission to subscribe either, which is not needed.
        ("publish: \"watchtower.>\", subscribe: \"none\"", 1),
        ("publish: \"elsewhere.>\", subscribe: \">\"", 0),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let user = format!("user: wt, password: secret, permissions: {{ {permissions} }}");
        let conf = format!("authorization {{ users: [ {{ {user} }} ] }}\n");
        let _server = plain(dir.path(), port, &conf).await;
        let harness = SinkHarness::with(&format!(
            "[sinks.bus]\nkind = 'nats'\naddress = 'nats://wt:secret@127.0.0.1:{port}'\ntimeout = '8s'"
        ))
        .await;
        harness.finding(numbered(0)).await;
        harness
            .until("an outcome", |harness| {
                let sink = harness.sink("bus");
                sink.delivered + sink.failed > 0
            })
            .await;
        let sink = harness.sink("bus");
        assert_eq!(sink.delivered, delivered, "{sink:?}");
        if delivered == 0 {
            assert!(sink.state.contains("ermissions"), "{}", sink.state);
        }
    }
}
