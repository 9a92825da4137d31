//! Several streams at once: each is scanned in its turn, and only streams
//! assigned to an analyst are decoded.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use crate::common::encoder::Encoder;
use crate::common::serve::{Setup, TestServer};
use serde_json::Value;

const STREAMS: usize = 6;
/// Bound on the median latency of findings, in seconds, while all other tests
/// and their encoders share the cores: OCR of the six clips alone takes more
/// than half of two cores.
const MEDIAN_WITHIN: &str = "60.0";

/// Number of findings of rules within that many seconds, and of all of them.
async fn latencies(server: &TestServer) -> (f64, f64) {
    let page = server.get("/metrics").await.text().await.unwrap();
    let value = |start: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(start));
        line.map_or(0.0, |value| value.trim().parse().unwrap())
    };
    let name = "watchtower_finding_latency_seconds";
    let within = format!("{name}_bucket{{le=\"{MEDIAN_WITHIN}\",provider=\"offline\"}}");
    let all = format!("{name}_count{{provider=\"offline\"}}");
    (value(&within), value(&all))
}

#[tokio::test]
async fn six_looped_streams_are_each_looked_at_in_time() {
    let server = Setup::new().start().await;
    let names: Vec<String> = (1..=STREAMS).map(|nth| format!("s{nth}")).collect();
    let urls = names.iter().map(|name| format!("live/{name}"));
    let encoders: Vec<_> = urls
        .map(|url| Encoder::demo(&server.rtmp_url(&url)))
        .collect();
    server
        .until("a finding on each stream", async |server| {
            let findings = server.findings_of_analysts();
            let streams: BTreeSet<_> = findings.iter().map(|one| one["stream"].as_str()).collect();
            let known = |name: &String| streams.contains(&Some(name.as_str()));
            names.iter().all(known).then_some(())
        })
        .await;
    let (within, all) = latencies(&server).await;
    assert!(all >= STREAMS as f64, "{all}");
    assert!(
        within * 2.0 >= all,
        "{within} of {all} within {MEDIAN_WITHIN} s"
    );
    drop(encoders);
}

#[tokio::test]
async fn a_stream_that_no_analyst_looks_at_is_not_decoded_until_one_does() {
    let agents = |streams: &str| {
        format!(
            "[[agent]]\nname = \"SecOps\"\npersonality = \"wary\"\nfocus = \"threats\"\n\
             streams = [{streams}]\n"
        )
    };
    let server = Setup::new().agents(&agents("\"seen\"")).start().await;
    let _seen = Encoder::ffmpeg(&server.rtmp_url("live/seen"), &[]);
    let _idle = Encoder::ffmpeg(&server.rtmp_url("live/idle"), &[]);
    let frame_of = async |server: &TestServer, name: &str| -> Option<Value> {
        let streams = server.json("/api/streams").await;
        let items = streams["items"].as_array().unwrap();
        let stream = items.iter().find(|stream| stream["name"] == name)?;
        Some(stream["frame"].clone())
    };
    server
        .until("both, and frames of one", async |server| {
            frame_of(server, "idle").await?;
            let frame = frame_of(server, "seen").await?;
            (frame["seq"].as_u64()? >= 5).then_some(())
        })
        .await;
    assert_eq!(frame_of(&server, "idle").await, Some(Value::Null));
    let agents = agents("\"seen\", \"idle\"");
    std::fs::write(server.folder.path().join("agents.toml"), agents).unwrap();
    server
        .until("frames of the other", async |server| {
            frame_of(server, "idle").await?["seq"].as_u64()
        })
        .await;
}
