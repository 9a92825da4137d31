//! Numbers of the screens over time at the running server, compared with what
//! was drawn; and watches on them.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::Value;

use crate::common::encoder::Encoder;
use crate::common::serve::{Setup, TestServer};

const FONT: &str = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";
const BOLD: &str = "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf";
/// Seconds of the drawn stream: normal, outside, normal, covered.
const OUTSIDE: u32 = 15;
const NORMAL: u32 = 45;
const COVERED: u32 = 75;

const AGENTS: &str = r#"
[model]
provider = "offline"
[[agent]]
name = "DevOps"
personality = "calm"
focus = "services"
[[watch]]
stream = "team"
label = "Checkout error rate"
above = "5 %"
for = "6s"
agent = "DevOps"
severity = "high"
[[watch]]
label = "Healthy replicas"
below = 2
for = "0s"
agent = "DevOps"
"#;

/// Text drawn from one second on until before another.
pub(crate) fn text(line: u32, text: &str, from: u32, until: u32) -> String {
    let text = text.replace(':', "\\:");
    let y = 80 + line * 90;
    format!(
        "drawtext=fontfile={FONT}:expansion=none:text='{text}':x=100:y={y}:fontsize=34:\
         enable='between(t,{from},{until}-0.01)'"
    )
}

/// Label without the blanks and signs that OCR may leave out.
fn bare(label: &Value) -> String {
    let label = label.as_str().unwrap().to_lowercase();
    label.chars().filter(|c| c.is_alphanumeric()).collect()
}

pub(crate) async fn series(server: &TestServer, query: &str) -> Vec<Value> {
    let page = server.json(&format!("/api/series?{query}")).await;
    page["items"].as_array().unwrap().clone()
}

/// Values of a series in the order they were there, gaps as `None`, each once.
async fn values(server: &TestServer, series: &Value) -> Vec<Option<f64>> {
    let page = server
        .json(&format!("/api/series/{}?step=2", series["id"]))
        .await;
    let items = page["items"].as_array().unwrap().clone();
    // A step in which the value changed has a mean of both.
    let whole = items.iter().filter(|item| item["min"] == item["max"]);
    let mut values: Vec<_> = whole.map(|item| item["mean"].as_f64()).collect();
    values.dedup();
    values
}

/// Seconds from the time that a finding says the value was outside since, to the
/// picture it was made on.
fn lasted(finding: &Value) -> i64 {
    let detail = finding["detail"].as_str().unwrap();
    let (_, since) = detail.rsplit_once("since ").unwrap();
    let since: jiff::Timestamp = since.trim_end_matches('.').parse().unwrap();
    let seen: jiff::Timestamp = finding["observed_at"].as_str().unwrap().parse().unwrap();
    // The text has whole seconds.
    seen.as_second() - since.as_second()
}

#[tokio::test]
async fn a_watched_number_is_reported_once_after_its_time_and_its_end_is_told() {
    let server = Setup::new().agents(AGENTS).start().await;
    let drawn = [
        text(0, "Checkout error rate: 0.4 %", 0, OUTSIDE),
        text(0, "Checkout error rate: 12.4 %", OUTSIDE, NORMAL),
        text(0, "Checkout error rate: 0.7 %", NORMAL, COVERED),
        text(1, "Healthy replicas: 3", 0, COVERED),
        text(2, "password=hunter2hunter2 login 48", 0, COVERED),
        text(3, "Window in front", COVERED, 1000),
    ];
    let graph = format!("color=white:s=1280x720:r=5:d=200,{}", drawn.join(","));
    let _publisher = Encoder::drawn(&server.rtmp_url("live/team"), &graph);

    let finding = server
        .until("the watch", async |server| {
            server.findings().into_iter().next()
        })
        .await;
    assert_eq!(finding["title"], "Checkout error rate above 5 %: 12.4 %");
    assert_eq!(
        (&finding["agent"], &finding["severity"]),
        (&"DevOps".into(), &"high".into())
    );
    assert_eq!(finding["model"]["name"], "watch");
    let lasted = lasted(&finding);
    assert!((6..20).contains(&lasted), "after its time: {lasted} s");
    let quotes = finding["evidence"].as_array().unwrap();
    let quoted: String = quotes
        .iter()
        .map(|one| one["quote"].as_str().unwrap())
        .collect();
    assert!(
        quoted.contains("error rate") && quoted.contains("12.4"),
        "{quoted}"
    );
    assert!(
        quotes
            .iter()
            .all(|one| one["grounded"] == true && one["box"][0].is_number())
    );
    // The picture of the moment is kept.
    let sha256 = finding["frame"]["sha256"].as_str().unwrap();
    let picture = server.get(&format!("/api/evidence/{sha256}.jpg")).await;
    assert_eq!(picture.status(), 200);
    let metrics = server.get("/metrics").await.text().await.unwrap();
    let shown = metrics
        .lines()
        .find(|line| line.contains("label=\"Checkout error rate\""));
    assert!(
        shown.is_some_and(|line| line.ends_with(" 12.4")),
        "{shown:?}"
    );

    let closed = server.until("its end", async |server| {
        let page = server.json("/api/incidents").await;
        let incident = page["items"][0].clone();
        (incident["status"] == "closed").then_some(incident)
    });
    let closed = closed.await;
    assert_eq!(closed["id"], finding["incident"]);
    let whole = server
        .json(&format!(
            "/api/incidents/{}",
            closed["id"].as_str().unwrap()
        ))
        .await;
    let why = whole["decisions"].to_string();
    assert!(
        why.contains("back to normal: Checkout error rate 0.7 %, from "),
        "{why}"
    );
    assert!(
        server
            .log("devops.log")
            .contains("back to normal: Checkout error rate")
    );

    // Covered: a gap, which is no zero.
    server
        .until("the gap", async |server| {
            let rate = series(server, "label=checkout").await.pop()?;
            let values = values(server, &rate).await;
            // Before the stream there is a gap too.
            (values.len() > 2 && values.last() == Some(&None)).then_some(())
        })
        .await;
    let rate = series(&server, "stream=team&label=checkout")
        .await
        .pop()
        .unwrap();
    assert_eq!(
        (&rate["label"], &rate["unit"]),
        (&"Checkout error rate".into(), &"percent".into())
    );
    assert_eq!(rate["value"], 0.7);
    let seen = values(&server, &rate).await;
    assert_eq!(seen, [None, Some(0.4), Some(12.4), Some(0.7), None]);
    let replicas = series(&server, "label=replicas").await.pop().unwrap();
    assert_eq!(values(&server, &replicas).await, [None, Some(3.0), None]);
    server
        .until("metrics without what is gone", async |server| {
            let metrics = server.get("/metrics").await.text().await.unwrap();
            (!metrics.contains("Checkout error rate")).then_some(())
        })
        .await;
    let told = server.findings();
    assert_eq!(told.len(), 1, "once: {told:?}");
    let all = server.json("/api/series?limit=1000").await.to_string();
    assert!(!all.contains("hunter2"), "{all}");
}

/// Seconds of the held page of the demo until its p99 is drawn as normal.
const HELD: u32 = 20;

/// Page of the demo with its metrics, held, whose p99 latency becomes normal.
fn metrics_page(folder: &std::path::Path) -> String {
    let still = folder.join("metrics.png");
    let made = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-ss", "22", "-i"])
        .arg(crate::common::encoder::demo())
        .args(["-frames:v", "1"])
        .arg(&still)
        .status();
    assert!(made.unwrap().success());
    // Over "4.8 s" of the card.
    let from = format!("enable='gte(t,{HELD})'");
    format!(
        "movie={},loop=loop=-1:size=1,setpts=N/5/TB,fps=5,\
         drawbox=x=415:y=205:w=200:h=70:color=0x171a1e:t=fill:{from},\
         drawtext=fontfile={BOLD}:text='0.3 s':x=419:y=218:fontsize=48:fontcolor=0x6fdc8c:{from}",
        still.display()
    )
}

#[tokio::test]
async fn the_numbers_of_the_demo_are_series_and_its_p99_is_watched() {
    let watch = "[[watch]]\nlabel = \"p99 latency\"\nabove = \"800 ms\"\nfor = \"5s\"\nagent = \"DevOps\"\n";
    let shipped =
        std::fs::read_to_string(crate::common::serve::root().join("agents.toml")).unwrap();
    let server = Setup::new()
        .agents(&format!("{shipped}\n{watch}"))
        .start()
        .await;
    let publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    // As demo/labels.json has them.
    for (label, unit, value) in [
        ("Failed logins, 1 minute", "none", 48.0),
        ("5xx error rate", "percent", 12.4),
        ("p99 latency", "seconds", 4.8),
    ] {
        let found = server.until(label, async |server| {
            let found = series(server, "limit=1000").await.into_iter();
            let mut named = found
                .filter(|one| bare(&one["label"]) == bare(&label.into()) && one["unit"] == unit);
            named.next()
        });
        assert_eq!(found.await["value"], value, "{label}");
    }
    drop(publisher);

    // The demo never shows it normal.
    let graph = metrics_page(server.folder.path());
    let _publisher = Encoder::drawn(&server.rtmp_url("live/held"), &graph);
    let told = |server: &TestServer| -> Vec<Value> {
        let mut told = server.findings();
        told.retain(|finding| finding["model"]["name"] == "watch" && finding["stream"] == "held");
        told
    };
    let finding = server
        .until("the watch", async |server| told(server).pop())
        .await;
    assert_eq!(finding["title"], "p99 latency above 800 ms: 4.8 s");
    assert!((5..20).contains(&lasted(&finding)), "{finding}");
    server
        .until("its end", async |server| {
            let log = server.log("devops.log");
            log.contains("back to normal: p99 latency 300 ms, from ")
                .then_some(())
        })
        .await;
    assert_eq!(told(&server).len(), 1, "once");
}

#[tokio::test]
async fn queries_have_bounds() {
    let server = Setup::new().agents("").start().await;
    assert_eq!(series(&server, "").await, [Value::Null; 0]);
    let long_label = format!("/api/series?label={}", "x".repeat(201));
    for (path, status) in [
        ("/api/series?limit=0", 400),
        (long_label.as_str(), 400),
        ("/api/series?limit=1001", 400),
        ("/api/series?cursor=x", 400),
        ("/api/series?colour=red", 400),
        ("/api/series/x", 400),
        ("/api/series/1", 404),
        ("/api/series/18446744073709551615", 404),
        ("/api/series/1?step=0", 400),
        (
            "/api/series/1?since=2026-01-01T00:00:00Z&until=2025-01-01T00:00:00Z",
            400,
        ),
        (
            "/api/series/1?since=2026-01-01T00:00:00Z&until=2026-02-01T00:00:00Z&step=1",
            400,
        ),
    ] {
        assert_eq!(server.get(path).await.status(), status, "{path}");
    }
}
