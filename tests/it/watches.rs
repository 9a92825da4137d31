//! Watches over a restart, a changed configuration and in a replay.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::encoder::Encoder;
use crate::common::serve::{Setup, TestServer, models};
use crate::series::{series, text};

const DEVOPS: &str = r#"
[model]
provider = "offline"
[[agent]]
name = "DevOps"
personality = "calm"
focus = "services"
"#;

/// `[[watch]]` of that label and condition, that lasts 3 s.
fn watch(label: &str, condition: &str) -> String {
    format!("[[watch]]\nlabel = {label:?}\n{condition}\nfor = \"3s\"\nagent = \"DevOps\"\n")
}

/// Filter graph of these texts on white.
fn graph(seconds: u32, texts: &[String]) -> String {
    format!("color=white:s=1280x720:r=5:d={seconds},{}", texts.join(","))
}

fn publish(server: &TestServer, texts: &[String]) -> Encoder {
    Encoder::drawn(&server.rtmp_url("live/team"), &graph(600, texts))
}

/// Titles of what watches have reported.
fn told(server: &TestServer) -> Vec<String> {
    let findings = server.findings().into_iter();
    let of_watches = findings.filter(|finding| finding["model"]["name"] == "watch");
    of_watches
        .map(|finding| finding["title"].as_str().unwrap().to_owned())
        .collect()
}

async fn told_of(server: &TestServer, count: usize) -> Vec<String> {
    let told = server.until("findings of watches", async |server| {
        let told = told(server);
        (told.len() >= count).then_some(told)
    });
    told.await
}

/// Ends the server and starts it again in the same folder.
async fn restarted(mut server: TestServer) -> TestServer {
    server.signal("-TERM");
    assert!(server.wait().await.success());
    server.again().await
}

async fn incident(server: &TestServer) -> Value {
    let page = server.json("/api/incidents").await;
    let id = page["items"][0]["id"].as_str().unwrap().to_owned();
    server.json(&format!("/api/incidents/{id}")).await
}

#[tokio::test]
async fn what_fired_before_a_restart_is_not_repeated_and_clears_after_it() {
    let agents = format!("{DEVOPS}{}", watch("Parcels late", "above = 5"));
    let server = Setup::new().agents(&agents).start().await;
    let publisher = publish(&server, &[text(0, "Parcels late: 12", 0, 600)]);
    told_of(&server, 1).await;
    drop(publisher);

    let server = restarted(server).await;
    let texts = [
        text(0, "Parcels late: 12", 0, 20),
        text(0, "Parcels late: 2", 20, 600),
    ];
    let publisher = publish(&server, &texts);
    server
        .until("its end", async |server| {
            (incident(server).await["status"] == "closed").then_some(())
        })
        .await;
    let why = incident(&server).await["decisions"].to_string();
    assert!(
        why.contains("back to normal: Parcels late 2, from "),
        "{why}"
    );
    assert_eq!(told(&server), ["Parcels late above 5: 12"]);
    drop(publisher);

    // It has cleared: after the next restart it is reported as any other.
    let server = restarted(server).await;
    let _publisher = publish(&server, &[text(0, "Parcels late: 12", 0, 600)]);
    told_of(&server, 2).await;
    server
        .until("the incident is open again", async |server| {
            (incident(server).await["status"] != "closed").then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_changed_configuration_repeats_nothing_and_ends_what_is_removed() {
    let agents = format!("{DEVOPS}{}", watch("Parcels late", "above = 5"));
    let server = Setup::new().agents(&agents).start().await;
    let texts = [
        text(0, "Parcels late: 12", 0, 600),
        text(1, "Drivers at work: 1", 0, 600),
    ];
    let _publisher = publish(&server, &texts);
    told_of(&server, 1).await;
    let save = |watches: &str| {
        let file = server.folder.path().join("agents.toml");
        let beside = file.with_extension("toml~");
        std::fs::write(&beside, format!("{DEVOPS}{watches}")).unwrap();
        std::fs::rename(beside, file).unwrap();
    };

    // Another limit, and a watch before it: the first one is the same still.
    let drivers = watch("Drivers at work", "below = 3");
    save(&format!("{drivers}{}", watch("Parcels late", "above = 8")));
    let both = ["Parcels late above 5: 12", "Drivers at work below 3: 1"];
    assert_eq!(told_of(&server, 2).await, both);

    // Removed while the value is outside: nobody will tell its end.
    save(&drivers);
    let noted = server.until("the note", async |server| {
        let page = server.json("/api/incidents").await;
        let items = page["items"].as_array().unwrap().clone();
        for item in items {
            let id = item["id"].as_str().unwrap();
            let whole = server.json(&format!("/api/incidents/{id}")).await;
            if whole["notes"].to_string().contains("watch removed") {
                return Some(whole);
            }
        }
        None
    });
    let noted = noted.await;
    assert_ne!(noted["status"], "closed", "the value is still outside");
    assert_eq!(noted["notes"].as_array().unwrap().len(), 1, "{noted}");

    // Added anew: it lasts long enough already.
    save(&format!("{drivers}{}", watch("Parcels late", "above = 8")));
    let third = told_of(&server, 3).await;
    assert_eq!(third[2], "Parcels late above 8: 12");
    assert_eq!(third.len(), 3, "{third:?}");
}

#[tokio::test]
async fn what_is_usual_is_known_after_a_restart() {
    let agents = format!("{DEVOPS}{}", watch("Parcels waiting", "changes = 6"));
    let server = Setup::new().agents(&agents).start().await;
    let publisher = publish(&server, &[text(0, "Parcels waiting: 100", 0, 600)]);
    let stored = server.until("the series", async |server| {
        series(server, "label=waiting").await.pop()
    });
    let id = stored.await["id"].as_u64().unwrap();
    drop(publisher);
    let mut server = server;
    server.signal("-TERM");
    assert!(server.wait().await.success());
    // As if it had been there for two hours before, changing each minute.
    let file = server.folder.path().join("data/watchtower.db");
    let db = rusqlite::Connection::open(file).unwrap();
    db.execute_batch(&format!(
        "WITH RECURSIVE steps (step) AS (SELECT 1 UNION ALL SELECT step + 1 FROM steps WHERE step < 120)
         INSERT INTO series_raw
         SELECT {id}, first_at - step * 60000000000, first_at - step * 60000000000 + 59000000000,
           98 + step % 5, 98 + step % 5, 98 + step % 5 FROM steps, series WHERE id = {id};"
    ))
    .unwrap();
    drop(db);

    let server = server.again().await;
    let _publisher = publish(&server, &[text(0, "Parcels waiting: 500", 0, 600)]);
    let told = told_of(&server, 1).await;
    assert_eq!(told, ["Unusual Parcels waiting: 500"]);
    let detail = server.findings()[0]["detail"].to_string();
    assert!(detail.contains("from its median 100 by"), "{detail}");
}

fn watchtower(folder: &Path, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_watchtower"))
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("WATCHTOWER_MODELS", models())
        .env("RUST_LOG", "warn")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    text
}

#[test]
fn watches_go_by_the_time_of_a_recording() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let texts = [
        text(0, "Parcels late: 1", 0, 10),
        text(0, "Parcels late: 12", 10, 30),
        text(0, "Parcels late: 2", 30, 50),
    ];
    let drawn = graph(50, &texts);
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", &drawn])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-g", "10"])
        .args(["-pix_fmt", "yuv420p", "clip.mp4"])
        .current_dir(folder)
        .status();
    assert!(made.unwrap().success());
    let condition = "above = 5\nseverity = \"high\"";
    let agents = format!("{DEVOPS}{}", watch("Parcels late", condition));
    std::fs::write(folder.join("agents.toml"), agents).unwrap();

    let printed = watchtower(folder, &["replay", "clip.mp4", "--out", "kept"]);
    let found = |line: &&str| line.contains("Parcels late above 5: 12");
    let lines: Vec<&str> = printed.lines().filter(found).collect();
    assert_eq!(lines.len(), 1, "{printed}");
    let second: f64 = lines[0].split_whitespace().next().unwrap().parse().unwrap();
    assert!((13.0..16.0).contains(&second), "{printed}");
    let log = std::fs::read_to_string(folder.join("kept/logs/devops.log")).unwrap();
    assert!(
        log.contains("back to normal: Parcels late 2, from "),
        "{log}"
    );

    let labels = json!({"scenes": [{"start": 0.0, "end": 50.0, "healthy": false, "events": [{
        "start": 10.0, "end": 30.0, "agents": ["DevOps"], "category": "anomaly",
        "severity": "high", "title": "parcels", "strings": ["Parcels late: 12"]
    }]}]});
    std::fs::write(folder.join("labels.json"), labels.to_string()).unwrap();
    let args = [
        "eval",
        "clip.mp4",
        "--labels",
        "labels.json",
        "--json",
        "scores.json",
    ];
    watchtower(folder, &args);
    let scores = std::fs::read_to_string(folder.join("scores.json")).unwrap();
    let scores: Value = serde_json::from_str(&scores).unwrap();
    assert_eq!(
        (&scores["all"]["found"], &scores["all"]["wrong"]),
        (&json!(1), &json!(0)),
        "{scores}"
    );
}
