//! `agents.toml` edited while the server runs: no stream or request in flight
//! is dropped, and an invalid file leaves the panel unchanged.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::encoder::Encoder;
use crate::common::gemini::{CannedReply, FakeGemini};
use crate::common::serve::{Setup, TestServer};
use serde_json::{Value, json};

const ALPHA: &str =
    "[[agent]]\nname = \"Alpha\"\npersonality = \"calm\"\nfocus = \"banners\"\ninterval = \"1s\"\n";
const BETA: &str =
    "[[agent]]\nname = \"Beta\"\npersonality = \"brisk\"\nfocus = \"queues\"\ninterval = \"1s\"\n";

fn setup(gemini: &FakeGemini) -> Setup {
    Setup::new()
        .env("GOOGLE_API_KEY", "AIzaFakeKeyOfTheTests0123456789abcdefgh")
        .env("GOOGLE_GEMINI_BASE_URL", &gemini.base_url())
}

fn agents(server: &TestServer) -> std::path::PathBuf {
    server.folder.path().join("agents.toml")
}

/// Replaces the file atomically, as editors do.
fn save(file: &Path, text: &str) {
    let beside = file.with_extension("toml~");
    std::fs::write(&beside, text).expect("the file is written");
    std::fs::rename(beside, file).expect("the file is written");
}

async fn names(server: &TestServer) -> Vec<String> {
    let page = server.json("/api/agents").await;
    let items = page["items"].as_array().expect("a page has items").iter();
    items
        .map(|item| {
            item["name"]
                .as_str()
                .expect("an agent has a name")
                .to_owned()
        })
        .collect()
}

fn has_ended(server: &TestServer) -> bool {
    let findings = server.findings();
    findings.iter().any(|f| f["title"] == "Alpha's last word")
}

#[tokio::test]
async fn personas_come_change_and_go_while_a_stream_and_a_request_go_on() {
    let gemini = FakeGemini::start().await;
    let parting = json!([{
        "evidence": "", "box_2d": [], "category": "other", "title": "Alpha's last word",
        "detail": "d", "mitre_techniques": [], "severity": "low", "confidence": 0.9,
        "recommended_action": "a"
    }]);
    // In flight while its persona is removed.
    let slow = CannedReply::findings(&parting).slow(Duration::from_secs(30));
    gemini.script("You are Alpha", [slow]);
    let server = setup(&gemini).agents(ALPHA).start().await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    server
        .until("a question in flight", async |_| {
            gemini
                .requests()
                .iter()
                .any(|r| r.system().contains("You are Alpha"))
                .then_some(())
        })
        .await;
    let since = stream(&server).await["since"].clone();

    let edited = Instant::now();
    save(&agents(&server), BETA);
    server
        .until("Beta in Alpha's place", async |server| {
            (names(server).await == ["Beta"]).then_some(())
        })
        .await;
    let took = edited.elapsed();
    // Without waiting for requests in flight.
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert!(!has_ended(&server), "the answer is still to come");
    server
        .until("Beta's first question", async |_| {
            gemini
                .requests()
                .iter()
                .any(|r| r.system().contains("You are Beta"))
                .then_some(())
        })
        .await;
    server
        .until("Alpha's answer", async |server| {
            has_ended(server).then_some(())
        })
        .await;
    let log = server.log("watchtower.log");
    assert!(
        log.contains("reloaded; added: Beta; removed: Alpha"),
        "{log}"
    );

    // Changed, and in effect at the next request.
    gemini.take_requests();
    save(
        &agents(&server),
        &BETA.replace("queues", "payments and nothing else"),
    );
    server
        .until("Beta with a new focus", async |_| {
            let new = |system: String| system.contains("payments and nothing else");
            gemini
                .requests()
                .iter()
                .any(|r| new(r.system()))
                .then_some(())
        })
        .await;
    let settled = gemini.take_requests().len();
    let old = |r: &crate::common::gemini::CapturedRequest| r.system().contains("queues");
    assert!(
        settled >= 1 && !gemini.take_requests().iter().any(old),
        "the old one is gone"
    );

    let now = stream(&server).await;
    assert_eq!(now["since"], since, "the stream went on all the time");
    assert_eq!(gemini.faults(), Vec::<String>::new());
}

async fn stream(server: &TestServer) -> Value {
    server.json("/api/streams").await["items"][0].clone()
}

#[tokio::test]
async fn what_is_broken_changes_nothing_and_is_named() {
    let gemini = FakeGemini::start().await;
    let server = setup(&gemini).agents(ALPHA).start().await;
    let file = agents(&server);
    let complains = async |words: &str| {
        server
            .until(words, async |server| {
                server.log("watchtower.log").contains(words).then_some(())
            })
            .await;
        assert_eq!(names(&server).await, ["Alpha"], "{words}");
    };
    save(&file, &ALPHA.replace("1s", "no time"));
    complains("agents[0].interval").await;
    save(&file, "[[agent]\nname = ");
    complains("is not TOML").await;
    save(&file, &format!("{ALPHA}{ALPHA}"));
    complains("is taken by another agent").await;
    std::fs::write(&file, vec![b'#'; 2 * 1024 * 1024]).unwrap();
    complains("maximum 1048576").await;
    std::fs::write(&file, [0xff, 0xfe, b'x']).unwrap();
    complains("valid UTF-8").await;
    std::fs::remove_file(&file).unwrap();
    complains("No such file").await;

    // A partial file is ignored until it is complete.
    let whole = format!("{ALPHA}{BETA}");
    let (half, _) = whole.split_at(whole.len() - 30);
    std::fs::write(&file, half).unwrap();
    std::fs::write(&file, &whole).unwrap();
    server
        .until("both", async |server| {
            (names(server).await == ["Alpha", "Beta"]).then_some(())
        })
        .await;
    let log = server.log("watchtower.log");
    assert_eq!(
        log.matches("analyst configuration not reloaded").count(),
        6,
        "{log}"
    );
    // Each is logged once.
    assert_eq!(log.matches("No such file").count(), 1, "{log}");
}
