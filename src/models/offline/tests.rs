use bytes::Bytes;
use jiff::Timestamp;

use super::*;
use crate::media::{MediaTime, Picture, Rect, TextLine};

fn analyst(agent: &str, indicators: &[&str]) -> Offline {
    let persona = Persona {
        name: agent.to_owned(),
        personality: String::new(),
        focus: String::new(),
        indicators: indicators.iter().map(|text| (*text).to_owned()).collect(),
    };
    let rules = Rules::load(&[]).unwrap_or_else(|error| panic!("{error}"));
    Offline::new(Arc::new(rules), &persona)
}

fn frame(lines: &[&str]) -> Arc<Frame> {
    let picture = Picture {
        width: 1920,
        height: 1080,
        y: vec![],
        u: vec![],
        v: vec![],
    };
    let stream = StreamName::new("team").unwrap();
    let frame = Frame::new(
        stream,
        1,
        MediaTime(0),
        Timestamp::UNIX_EPOCH,
        Arc::new(picture),
        |_| Ok(Bytes::new()),
    );
    let line = |(row, text): (u32, &&str)| TextLine {
        text: (*text).to_owned(),
        rect: Rect {
            x: 100,
            y: 100 + row * 30,
            width: 800,
            height: 20,
        },
        confidence: 0.97,
    };
    Arc::new(frame.read((0..).zip(lines).map(line).collect(), Arc::from([])))
}

#[test]
fn a_finding_quotes_the_screen_masked_and_names_its_rule() {
    let secops = analyst("SecOps", &[]);
    let seen = secops.observe(&frame(&["export AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE"]));
    insta::assert_json_snapshot!(seen);
}

#[test]
fn one_persona_does_not_speak_for_another() {
    let screen = frame(&["ledger-worker 0/1 CrashLoopBackOff 27"]);
    assert_eq!(analyst("DevOps", &[]).observe(&screen).len(), 1);
    assert_eq!(analyst("CloudSec", &[]).observe(&screen).len(), 0);
}

#[test]
fn a_persona_without_rules_reports_its_indicators() {
    let network = analyst("Network", &["packet loss", "  "]);
    let screen = frame(&["eth0: 12 % Packet Loss to gw-1", "all fine"]);
    let seen = network.observe(&screen);
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].evidence[0].quote, "eth0: 12 % Packet Loss to gw-1");
    assert_eq!(seen[0].severity, Severity::Low);
    assert!(
        network.observe(&screen).is_empty(),
        "said once while it stays"
    );
}

#[test]
fn a_passed_check_is_no_finding() {
    let cloudsec = analyst("CloudSec", &[]);
    let passed = frame(&[
        "PASS  S3 bucket is not publicly accessible  Critical",
        "PASS  Root account has MFA  Critical",
    ]);
    assert!(cloudsec.observe(&passed).is_empty());
}

#[test]
fn any_text_is_taken() {
    use proptest::prelude::*;
    let agents =
        ["SecOps", "DevOps", "CloudSec", "AISec", "Architect"].map(|agent| analyst(agent, &["x"]));
    proptest!(ProptestConfig::with_cases(64), |(lines in proptest::collection::vec("\\PC{0,120}", 0..20))| {
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        for agent in &agents {
            for observation in agent.observe(&frame(&lines)) {
                prop_assert!(observation.title.chars().count() <= 80);
                prop_assert!((0.0..=1.0).contains(&observation.confidence));
            }
        }
    });
}
