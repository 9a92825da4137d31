//! `watchtower serve` end to end: a real server, a real publisher.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::common::PATIENCE;
use crate::common::encoder::{Encoder, demo};
use crate::common::serve::{Setup, command, root};
use serde_json::Value;
use watchtower::screen::redact::mask_secrets;

/// Two personas with rules only.
const SMALL_PANEL: &str = r#"
[[agent]]
name = "SecOps"
personality = "wary"
focus = "threats"
interval = "1s"

[[agent]]
name = "Librarian"
personality = "patient"
focus = "words"
indicators = ["All systems operational"]
interval = "1s"
"#;

/// Text on the screen of the demo clip at `pts_ms`, from its labels.
fn on_screen(pts_ms: i64) -> Vec<String> {
    let labels: Value =
        serde_json::from_str(&std::fs::read_to_string(root().join("demo/labels.json")).unwrap())
            .unwrap();
    let duration = labels["duration_s"].as_f64().unwrap();
    let at = (pts_ms as f64 / 1000.0) % duration;
    // The labels have a resolution of a second.
    let within = |span: &Value| {
        let (start, end) = (
            span["start"].as_f64().unwrap(),
            span["end"].as_f64().unwrap(),
        );
        start - 1.0 <= at && at < end + 1.0
    };
    let strings = |of: &Value| {
        let strings = of["strings"].as_array().cloned().unwrap_or_default();
        strings
            .into_iter()
            // Normalised as in quotes of findings.
            .map(|text| mask_secrets(text.as_str().unwrap()).into_owned())
            .collect::<Vec<_>>()
    };
    let scenes = labels["scenes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|scene| within(scene));
    let mut all = Vec::new();
    for scene in scenes {
        all.extend(strings(scene));
        for event in scene["events"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|event| within(event))
        {
            all.extend(strings(event));
        }
    }
    all
}

/// Letters and digits only, with characters that OCR confuses unified.
fn folded(text: &str) -> String {
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric())
        .map(|c| match c.to_ascii_lowercase() {
            '0' => 'o',
            '1' | 'i' | '|' => 'l',
            c => c,
        });
    kept.collect()
}

#[tokio::test]
async fn the_demo_is_reported_by_four_of_five_with_quotes_that_stand_there() {
    let started = Instant::now();
    // Half a core, as shipped, may be too slow to read a scene before the next.
    let server = Setup::new()
        .settings("[ocr]\ncpu_budget = 1.0\n")
        .start()
        .await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    let agents = server.until("findings of four agents", async |server| {
        let agents: BTreeSet<_> = server
            .findings_of_analysts()
            .iter()
            .map(|finding| finding["agent"].to_string())
            .collect();
        (agents.len() >= 4).then_some(agents)
    });
    let agents = agents.await;
    println!("{agents:?} after {:?}", started.elapsed());
    for finding in server.findings_of_analysts() {
        let pts = finding["frame"]["pts_ms"].as_i64().unwrap();
        let strings = on_screen(pts);
        let quotes = finding["evidence"].as_array().unwrap();
        assert!(!quotes.is_empty(), "{finding}");
        let quoted = quotes.iter().any(|evidence| {
            let quote = folded(evidence["quote"].as_str().unwrap());
            strings
                .iter()
                .map(|text| folded(text))
                .any(|text| quote.contains(&text) || text.contains(&quote))
        });
        assert!(quoted, "{finding} quotes nothing of {strings:?}");
        assert_eq!(finding["model"]["provider"], "offline");
        assert_eq!(finding["stream"], "demo");
        assert!(finding["incident"].is_string());
        assert_eq!(finding["frame"]["sha256"].as_str().unwrap().len(), 64);
    }
    // Each finding is in the server's output; in its agent's log is the finding
    // or its incident.
    for finding in server.findings_of_analysts() {
        let title = finding["title"].as_str().unwrap();
        let log = format!("{}.log", finding["agent"].as_str().unwrap().to_lowercase());
        let text = server.log(&log);
        let incident = finding["incident"].as_str().unwrap();
        assert!(
            text.contains(title) || text.contains(incident),
            "{title} is not in {log}"
        );
        server.logged(title).await;
    }
}

#[tokio::test]
async fn a_persona_added_to_the_file_reports() {
    let server = Setup::new().agents(SMALL_PANEL).start().await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    let finding = server.until("a finding of the new persona", async |server| {
        server
            .findings()
            .into_iter()
            .find(|finding| finding["agent"] == "Librarian")
    });
    let finding = finding.await;
    assert!(
        finding.to_string().contains("All systems operational"),
        "{finding}"
    );
    assert!(
        server
            .log("librarian.log")
            .contains("All systems operational")
    );
}

#[tokio::test]
async fn the_lists_the_still_and_the_events_show_a_live_stream() {
    let mut server = Setup::new().agents(SMALL_PANEL).start().await;
    assert_eq!(server.get("/healthz").await.text().await.unwrap(), "ok");
    assert_eq!(server.get("/readyz").await.status(), 200);
    assert_eq!(
        server.get("/api/frames/demo/latest.jpg").await.status(),
        404
    );
    assert_eq!(
        server.json("/api/streams").await,
        serde_json::json!({"items": [], "next": null})
    );
    let metrics = server.get("/metrics").await.text().await.unwrap();
    for zero in [
        "watchtower_model_answers_total{agent=\"SecOps\",outcome=\"findings\"} 0",
        "watchtower_model_answers_total{agent=\"Librarian\",outcome=\"fatal\"} 0",
        "watchtower_findings_total{agent=\"Librarian\",severity=\"critical\"} 0",
    ] {
        assert!(metrics.contains(zero), "{zero} is missing in\n{metrics}");
    }

    let mut events = server
        .client
        .get(server.http_url("/api/events"))
        .send()
        .await
        .unwrap();
    let publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    let still = server.until("a still", async |server| {
        let answer = server.get("/api/frames/demo/latest.jpg").await;
        (answer.status() == 200).then_some(answer)
    });
    let still = still.await;
    assert_eq!(still.headers()["content-type"], "image/jpeg");
    let still = still.bytes().await.unwrap();
    assert_eq!(&still[..2], [0xff, 0xd8]);

    let streams = server.json("/api/streams").await;
    assert_eq!(streams["items"][0]["name"], "demo");
    assert_eq!(streams["items"][0]["width"], 1920);
    let agents = server.json("/api/agents").await;
    assert_eq!(agents["items"][1]["name"], "Librarian");
    assert_eq!(agents["items"][1]["provider"], "offline");

    // The event stream contains the stream's name and an analyst's finding.
    let events = async {
        let mut text = String::new();
        while !(text.contains("event: finding")
            && text.contains(r#""agent":"Librarian""#)
            && text.contains(r#"{"name":"demo","state":"live"}"#))
        {
            let chunk = events.chunk().await.unwrap().expect("it stays open");
            text += &String::from_utf8_lossy(&chunk);
        }
    };
    tokio::time::timeout(PATIENCE, events).await.unwrap();
    let findings = server.json("/api/findings?limit=1&agent=librarian").await;
    assert_eq!(findings["items"][0]["agent"], "Librarian");
    let metrics = server.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("watchtower_streams 1"), "{metrics}");
    // The other one may still be running.
    let nothing = "watchtower_model_answers_total{agent=\"SecOps\",outcome=\"nothing\"} ";
    server
        .until("a look with no finding", async |server| {
            let metrics = server.get("/metrics").await.text().await.unwrap();
            let mut counts = metrics
                .lines()
                .filter_map(|line| line.strip_prefix(nothing));
            counts.any(|count| count != "0").then_some(())
        })
        .await;
    for bad in [
        "/api/findings?limit=0",
        "/api/findings?limit=x",
        "/api/findings?severity=awful",
        "/api/findings?colour=red",
    ] {
        let answer = server.get(bad).await;
        assert_eq!(answer.status(), 400, "{bad}");
        assert_eq!(
            answer.headers()["content-type"],
            "application/problem+json",
            "{bad}"
        );
    }
    assert_eq!(server.get("/nowhere").await.status(), 404);

    drop(publisher);
    server
        .until("the loss of the signal", async |server| {
            let streams = server.json("/api/streams").await;
            (streams["items"][0]["state"] == "signal_lost").then_some(())
        })
        .await;
    let metrics = server.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("watchtower_streams 0"), "{metrics}");
    // It waits 30 s for its publisher.
    server
        .until("the stream's end", async |server| {
            (server.json("/api/streams").await["items"] == serde_json::json!([])).then_some(())
        })
        .await;
    server
        .until("the still's end", async |server| {
            let answer = server.get("/api/frames/demo/latest.jpg").await;
            (answer.status() == 404).then_some(())
        })
        .await;

    // With an open event stream and nothing to wait for, it ends at once.
    let stopped = Instant::now();
    server.signal("-TERM");
    assert!(server.wait().await.success());
    assert!(
        stopped.elapsed() < Duration::from_secs(5),
        "{:?}",
        stopped.elapsed()
    );
}

#[tokio::test]
async fn the_key_is_required_and_appears_nowhere() {
    const KEY: &str = "k3y-4f1d9c7e2b";
    const WRONG: &str = "wr0ng-8a6b5c4d";
    let mut server = Setup::new()
        .agents("")
        .env("WATCHTOWER_STREAM_KEY", KEY)
        .start()
        .await;
    let refused = Encoder::demo(&server.rtmp_url(&format!("live/demo/{WRONG}")));
    let content = tokio::time::timeout(PATIENCE, refused.wait()).await;
    assert!(!content.unwrap());
    assert_eq!(
        server.json("/api/streams").await["items"],
        serde_json::json!([])
    );

    let _publisher = Encoder::demo(&server.rtmp_url(&format!("live/demo/{KEY}")));
    server
        .until("the stream", async |server| {
            (server.json("/api/streams").await["items"][0]["name"] == "demo").then_some(())
        })
        .await;
    let _other = Encoder::demo(&server.rtmp_url(&format!("live/second?key={KEY}")));
    server
        .until("a second stream", async |server| {
            (server.json("/api/streams").await["items"]
                .as_array()
                .unwrap()
                .len()
                == 2)
                .then_some(())
        })
        .await;
    let mut pages = String::new();
    for page in ["/api/streams", "/api/agents", "/api/findings", "/metrics"] {
        pages += &server.get(page).await.text().await.unwrap();
    }
    server.signal("-INT");
    assert!(server.wait().await.success());
    pages += &server.output();
    for secret in [KEY, WRONG] {
        assert!(!pages.contains(secret), "{secret} is in:\n{pages}");
    }
}

#[tokio::test]
async fn a_kill_leaves_whole_lines_and_a_restart_lists_them() {
    let mut server = Setup::new().agents(SMALL_PANEL).start().await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    server
        .until("a finding", async |server| {
            server.findings().first().cloned()
        })
        .await;
    server.signal("-KILL");
    server.wait().await;
    let before = server.findings();
    let again = Setup::of(command("serve", server.folder.path()))
        .start()
        .await;
    let listed = again.json("/api/findings?limit=1000").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), before.len());
}

#[tokio::test]
async fn startup_errors_take_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let cases: [(Setup, &[&str]); 7] = [
        (
            Setup::new().args(&["--rtmp", &taken]),
            &["RTMP", &taken, "--rtmp", "in use"],
        ),
        (
            Setup::new().args(&["--http", &taken]),
            &["HTTP", &taken, "--http", "in use"],
        ),
        (
            Setup::new().args(&["--http", "0.0.0.0:0"]),
            &["WATCHTOWER_CONSOLE_TOKEN"],
        ),
        (
            Setup::new().args(&["--logs", "/dev/null/logs"]),
            &["/dev/null/logs", "--logs"],
        ),
        (
            Setup::new().args(&["--models", "nowhere"]),
            &["nowhere", "scripts/fetch-models.sh"],
        ),
        (
            Setup::new().args(&["--config", "absent.toml"]),
            &["absent.toml", "--config"],
        ),
        (
            Setup::new().agents(&format!("[model]\nprovider = \"gemini\"\n{SMALL_PANEL}")),
            &["GOOGLE_API_KEY", "offline"],
        ),
    ];
    for (setup, wanted) in cases {
        let (status, output) = setup.fail().await;
        assert_eq!(status.code(), Some(1), "{output}");
        let lines: Vec<_> = output
            .lines()
            .filter(|line| line.starts_with("watchtower: "))
            .collect();
        assert_eq!(lines.len(), 1, "{output}");
        for word in wanted {
            assert!(lines[0].contains(word), "{word} is not in: {}", lines[0]);
        }
    }
}

#[tokio::test]
async fn a_broken_panel_shows_all_its_faults() {
    let agents =
        "[model]\nprovider = \"gpt\"\n[[agent]]\nname = \"A\"\ninterval = \"0s\"\nmood = 1";
    let (status, output) = Setup::new()
        .agents(agents)
        .settings("[rtmp]\nidle_timeout = 3")
        .fail()
        .await;
    assert_eq!(status.code(), Some(1));
    for path in [
        "model.provider",
        "agents[0].personality",
        "agents[0].focus",
        "agents[0].interval",
        "agents[0].mood",
        "rtmp.idle_timeout",
    ] {
        assert!(output.contains(path), "{path} is not in:\n{output}");
    }
}

#[tokio::test]
async fn no_agent_at_all_is_a_plain_media_server() {
    let server = Setup::new()
        .agents("")
        .args(&["--models", "nowhere"])
        .start()
        .await;
    let _publisher = Encoder::ffmpeg(&server.rtmp_url("live/bars"), &[]);
    server
        .until("a still", async |server| {
            (server.get("/api/frames/bars/latest.jpg").await.status() == 200).then_some(())
        })
        .await;
}

#[tokio::test]
async fn publish_pushes_a_file_with_the_key_of_the_environment() {
    const KEY: &str = "k3y-77aa55";
    let server = Setup::new()
        .agents("")
        .env("WATCHTOWER_STREAM_KEY", KEY)
        .start()
        .await;
    let url = server.rtmp_url("live/demo");
    let mut publish = command("publish", server.folder.path());
    publish
        .arg(demo())
        .args(["--to", &url, "--loop"])
        .env("WATCHTOWER_STREAM_KEY", KEY);
    let mut publish = publish.spawn().unwrap();
    server
        .until("a still", async |server| {
            (server.get("/api/frames/demo/latest.jpg").await.status() == 200).then_some(())
        })
        .await;
    let pid = publish.id().unwrap().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let status = tokio::time::timeout(Duration::from_secs(10), publish.wait())
        .await
        .unwrap();
    assert!(status.unwrap().success());

    let mut refused = command("publish", server.folder.path());
    refused
        .arg(demo())
        .args(["--to", &url])
        .env("WATCHTOWER_STREAM_KEY", "wrong-99bb33");
    let refused = tokio::time::timeout(PATIENCE, refused.output())
        .await
        .unwrap()
        .unwrap();
    let output = String::from_utf8([refused.stdout, refused.stderr].concat()).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{output}");
    assert!(output.contains(&server.rtmp.to_string()), "{output}");
    assert!(
        !output.contains("wrong-99bb33") && !server.output().contains("wrong-99bb33"),
        "{output}"
    );
}

#[tokio::test]
async fn check_reports_the_state_of_each_part() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(
        root().join("agents.toml"),
        folder.path().join("agents.toml"),
    )
    .unwrap();
    let check = async |args: &[&str]| {
        let mut check = command("check", folder.path());
        check.args(args);
        let output = check.output().await.unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, table) = check(&[]).await;
    assert_eq!(code, Some(0), "{table}");
    for row in [
        "RTMP port",
        "HTTP port",
        "log folder",
        "data folder",
        "not created yet",
        "h264 decoder",
        "OCR model",
        "5 of 5 analysts enabled",
        "offline rules",
        "\nOK\n",
    ] {
        assert!(table.contains(row), "{row} is not in\n{table}");
    }
    let (code, table) = check(&["--models", "nowhere", "--http", "0.0.0.0:0"]).await;
    assert_eq!(code, Some(1), "{table}");
    assert!(
        table.contains("scripts/fetch-models.sh") && table.contains("WATCHTOWER_CONSOLE_TOKEN"),
        "{table}"
    );
    assert!(table.contains("2 errors"), "{table}");
}

#[tokio::test]
async fn check_tells_of_each_language_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    std::fs::create_dir(&models).unwrap();
    for file in ["det.onnx", "rec.onnx", "libonnxruntime.so"] {
        std::os::unix::fs::symlink(root().join("models").join(file), models.join(file)).unwrap();
    }
    let agents = folder.path().join("agents.toml");
    std::fs::copy(root().join("agents.toml"), agents).unwrap();
    std::fs::write(models.join("rec-greek.onnx"), [8, 9, 18]).unwrap();
    std::fs::write(models.join("rec-greek.txt"), "α\nβ\n").unwrap();
    let check = async |settings: &str| {
        std::fs::write(folder.path().join("watchtower.toml"), settings).unwrap();
        let mut check = command("check", folder.path());
        check.arg("--models").arg(&models);
        let output = check.output().await.unwrap();
        let table = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), table)
    };
    // Without the model of Chinese and Japanese, which nobody asked for.
    let (code, table) = check("").await;
    assert_eq!(code, Some(0), "{table}");
    assert!(!table.contains("with Chinese and Japanese"), "{table}");
    for (languages, wanted) in [
        (
            r#"["latin", "klingon"]"#,
            &[
                "unknown language \"klingon\"",
                "latin, chinese, japanese, greek",
            ][..],
        ),
        (r#"["greek"]"#, &["rec-greek.onnx", "docs/seeing.md"]),
        (
            r#"["japanese"]"#,
            &["rec-multi.onnx", "scripts/fetch-models.sh"],
        ),
        (
            r#"["Greek"]"#,
            &["ocr.languages", "\"Greek\" is no language"],
        ),
    ] {
        let (code, table) = check(&format!("[ocr]\nlanguages = {languages}\n")).await;
        assert_eq!(code, Some(1), "{table}");
        for word in wanted {
            assert!(table.contains(word), "{word} is not in\n{table}");
        }
    }
}
