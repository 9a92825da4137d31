//! NATS, with the real nats-server.

use std::process::Stdio;
use std::time::Duration;

use async_nats::jetstream;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::common::PATIENCE;
use crate::house::{House, numbered};

async fn server(dir: &std::path::Path, port: u16) -> Child {
    started(dir, port, &[]).await
}

async fn started(dir: &std::path::Path, port: u16, args: &[&str]) -> Child {
    let child = Command::new("nats-server")
        .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
        .arg(dir)
        .args(args)
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
    let house = House::with(&format!(
        "[sinks.bus]\nkind = 'nats'\naddress = 'nats://127.0.0.1:{port}'\nindex = 'soc.watchtower'\nacknowledge = true\nbatch = 50\ntimeout = '3s'"
    ))
    .await;
    for number in 0..200 {
        house.finding(numbered(number)).await;
    }
    house
        .until("some are told", |house| house.sink("bus").delivered > 0)
        .await;
    first.kill().await.unwrap();
    for number in 200..400 {
        house.finding(numbered(number)).await;
    }
    house
        .until("the failure", |house| house.sink("bus").failed > 0)
        .await;
    let _second = server(dir.path(), port).await;
    house.told("bus").await;
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
async fn with_a_login_and_one_event_that_is_too_large_the_others_are_told() {
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
    let house = House::with(&format!(
        "[sinks.bus]\nkind = 'nats'\naddress = 'nats://wt:pl+in%201&@127.0.0.1:{port}'"
    ))
    .await;
    house.finding(numbered(0)).await;
    let mut large = numbered(1);
    large.detail = "x".repeat(30_000);
    large.recommended_action = "y".repeat(30_000);
    house.finding(large).await;
    house.finding(numbered(2)).await;
    house.told("bus").await;
    let sink = house.sink("bus");
    assert_eq!((sink.delivered, sink.dead), (2, 1), "{sink:?}");
    let dead = house.bus.dead("bus", None, 3).await.unwrap().items;
    assert!(dead[0].body.to_string().contains("user1 "));
    for (place, user) in [(1, "user0 "), (2, "user2 ")] {
        let message = stream.get_raw_message(place).await.unwrap();
        assert!(String::from_utf8_lossy(&message.payload).contains(user));
    }
}
