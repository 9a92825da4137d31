//! kill -9 of the sender and of the receiver while thousands of events are in
//! flight: nothing is missing, and duplicates have one id. `WATCHTOWER_EVENTS`
//! sets how many (scripts/soak.sh: 10,000).

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use watchtower::domain::sink_status::SinkBoard;
use watchtower::record::store::Readers;
use watchtower::sinks::Sinks;

use crate::common::PATIENCE;
use crate::sinks::fake::{Fake, reply};
use crate::sinks::files::lines;
use crate::sinks::harness::{numbered, open, settings};
use crate::sinks::nats::free_port;

const FOLDER: &str = "WATCHTOWER_TEST_FOLDER";
const RECEIVER: &str = "WATCHTOWER_TEST_RECEIVER";

fn count() -> usize {
    let count = std::env::var("WATCHTOWER_EVENTS").ok();
    count.and_then(|count| count.parse().ok()).unwrap_or(1500)
}

fn sinks(folder: &str, port: &str) -> String {
    format!(
        "[sinks.file]\nkind = 'jsonl'\naddress = '{folder}/out.jsonl'\nbatch = 40\nrotate_megabytes = 1\nkeep_files = 100\n\
         [sinks.hook]\nkind = 'splunk_hec'\naddress = 'http://127.0.0.1:{port}'\nbatch = 40\ntimeout = '2s'"
    )
}

/// Child process of the tests, to be killed. Publishes the missing findings and
/// delivers them.
#[tokio::test]
#[ignore = "started by another test"]
async fn sender() {
    let (Ok(folder), Ok(port)) = (std::env::var(FOLDER), std::env::var(RECEIVER)) else {
        return;
    };
    let (bus, _writer) = open(folder.as_ref());
    let board = SinkBoard::default();
    let settings = settings(&sinks(&folder, &port));
    let sinks = Sinks::open(&settings, &bus, &board, &Arc::default())
        .await
        .unwrap();
    let running = tokio::spawn(sinks.run(bus.clone(), CancellationToken::new()));
    let first = bus.read_for_sink(Readers::last_happened).await;
    let first = first.unwrap() as usize;
    for number in first..count() {
        bus.publish(numbered(number)).await.unwrap();
        if number % 50 == 0 {
            println!("published {number}");
        }
    }
    println!("published all");
    loop {
        let rows = board.list();
        if rows.iter().all(|row| row.told as usize >= count()) {
            println!("delivered all");
        }
        assert!(!running.is_finished());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Child process of the tests. Stores the ids it received, then acknowledges
/// them.
#[tokio::test]
#[ignore = "started by another test"]
async fn receiver() {
    let (Ok(folder), Ok(port)) = (std::env::var(FOLDER), std::env::var(RECEIVER)) else {
        return;
    };
    use std::io::Write as _;
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(format!("{folder}/taken"))
        .unwrap();
    let file = std::sync::Mutex::new(file);
    let _fake = Fake::at(port.parse().unwrap(), move |request| {
        let mut text = String::new();
        for event in serde_json::Deserializer::from_slice(&request.body).into_iter::<Value>() {
            let event = &event.unwrap()["event"];
            text += &format!(
                "{} {}\n",
                event["metadata"]["uid"].as_str().unwrap(),
                event["finding_info"]["uid"].as_str().unwrap()
            );
        }
        file.lock().unwrap().write_all(text.as_bytes()).unwrap();
        reply(200, json!({ "code": 0 }))
    })
    .await;
    println!("receiving");
    std::future::pending::<()>().await;
}

struct Victim(Child);

impl Victim {
    fn start(name: &str, folder: &str, port: u16) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                &format!("sinks::durability::{name}"),
                "--ignored",
                "--nocapture",
            ])
            .env(FOLDER, folder)
            .env(RECEIVER, port.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    /// Waits until that text was printed.
    fn wait_for_line(&mut self, text: &str) {
        let mut stdout = BufReader::new(self.0.stdout.as_mut().unwrap());
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert!(
                stdout.read_line(&mut line).unwrap() > 0,
                "it died by itself before {text:?}"
            );
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // SIGKILL.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn kill_9_of_either_side_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    let port = free_port();
    let theirs = folder.clone();
    let ran = tokio::task::spawn_blocking(move || {
        let count = count();
        let mut receiver = Victim::start("receiver", &theirs, port);
        receiver.wait_for_line("receiving");
        for part in 1..=3 {
            let mut sender = Victim::start("sender", &theirs, port);
            sender.wait_for_line(&format!("published {}", count * part / 4 / 50 * 50));
            if part == 2 {
                drop(receiver);
                sender.wait_for_line(&format!("published {}", (count * part / 4 / 50 + 2) * 50));
                receiver = Victim::start("receiver", &theirs, port);
                receiver.wait_for_line("receiving");
            }
        }
        let mut last = Victim::start("sender", &theirs, port);
        last.wait_for_line("delivered all");
    });
    tokio::time::timeout(PATIENCE * 2, ran)
        .await
        .unwrap()
        .unwrap();
    let (bus, _writer) = open(dir.path());
    let all: HashMap<String, String> = {
        let entries = bus.read_for_sink(|store| store.happened_after(0, usize::MAX >> 1));
        let entries = entries.await.unwrap();
        entries
            .iter()
            .map(|entry| (entry.id.to_string(), entry.incident.id.to_string()))
            .collect()
    };
    assert_eq!(all.len(), count());
    let mut filed = Vec::new();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let path = file.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("out.jsonl")
        {
            filed.extend(lines(&path).into_iter().map(|event| {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                (
                    text(&event["metadata"]["uid"]),
                    text(&event["finding_info"]["uid"]),
                )
            }));
        }
    }
    let taken = std::fs::read_to_string(dir.path().join("taken")).unwrap();
    let taken: Vec<(String, String)> = taken
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, incident)| incident.len() == 36)
        .map(|(id, incident)| (id.to_owned(), incident.to_owned()))
        .collect();
    for (name, events) in [("file", filed), ("hook", taken)] {
        // An incident per event: an event received twice has the same.
        assert!(
            events
                .iter()
                .all(|(id, incident)| all.get(id) == Some(incident)),
            "{name}"
        );
        let ids: HashSet<_> = events.iter().map(|(id, _)| id).collect();
        assert_eq!(ids.len(), all.len(), "{name}: events are missing");
        println!(
            "{name}: {} events, {} came twice",
            ids.len(),
            events.len() - ids.len()
        );
    }
}
