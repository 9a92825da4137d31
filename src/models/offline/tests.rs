use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use bytes::Bytes;
use jiff::SignedDuration;

use watchtower_media::MediaTime;
use watchtower_screen::frame::Frame;
use watchtower_screen::picture::{Picture, Rect, TextLine};
use watchtower_screen::redact::Redact;

use super::screen::drawn;
use super::*;

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let rules = Rules::load(&[]);
    Arc::new(rules.unwrap_or_else(|error| panic!("{error}")))
});

fn analyst(agent: &str, indicators: &[&str]) -> Offline {
    let persona = Persona {
        name: agent.to_owned(),
        personality: String::new(),
        focus: String::new(),
        indicators: indicators.iter().map(|text| (*text).to_owned()).collect(),
    };
    Offline::new(Arc::clone(&RULES), &persona)
}

fn frame(lines: &[&str]) -> RedactedFrame {
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
    let lines = (0..).zip(lines).map(line).collect();
    captured(Timestamp::UNIX_EPOCH, lines)
}

/// As rules look at it: they are to find the secrets.
fn captured(at: Timestamp, lines: Arc<[TextLine]>) -> RedactedFrame {
    let picture = Picture {
        width: 1920,
        height: 1080,
        y: vec![],
        u: vec![],
        v: vec![],
    };
    let stream = StreamName::new("team").unwrap();
    let frame = Frame::new(stream, 1, MediaTime(0), at, Arc::new(picture), |_| {
        Ok(Bytes::new())
    });
    let read = Arc::new(frame.read(lines, Arc::from([])));
    RedactedFrame::of(&read, Redact::Off).unwrap()
}

#[test]
fn a_screen_that_is_read_again_and_again_is_reported_once() {
    let devops = analyst("DevOps", &[]);
    let around = "NAME  READY  STATUS  RESTARTS\npayments-api-1  1/1  Running  0";
    let row = "ledger-worker-7  0/1  CrashLoopBackOff  27";
    let shown = drawn(&format!("{around}\n{row}"));
    let covered = drawn(around);
    let mut told = Vec::new();
    for half in 0..60 {
        let at = Timestamp::UNIX_EPOCH + SignedDuration::from_millis(500 * half);
        // A mouse is in front of the row for a second and a half.
        let lines = if (20..23).contains(&half) {
            &covered
        } else {
            &shown
        };
        let seen = devops.observe(&captured(at, lines.clone().into()));
        told.extend(seen.into_iter().map(|seen| (half, seen.title)));
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, 0);
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

/// A log tail that shows three rows at a time, a new one every `step` seconds:
/// when SecOps spoke of a burst of failed logins, and how many it counted.
fn tail(step: i64) -> Vec<(i64, String)> {
    let secops = analyst("SecOps", &[]);
    let row = |n: i64| format!("{:02}:{:02} sshd: Failed password for root", n / 60, n % 60);
    let mut said = Vec::new();
    for n in 0..30 {
        let rows: Vec<_> = (n.max(2) - 2..=n).map(|n| row(n * step)).collect();
        let at = Timestamp::from_second(n * step).unwrap();
        let text = drawn(&rows.join("\n")).into();
        let seen = secops.observe(&captured(at, text));
        said.extend(seen.into_iter().map(|seen| (n * step, seen.title)));
    }
    said
}

#[test]
fn rows_that_scrolled_away_count_for_as_long_as_the_window() {
    assert_eq!(
        tail(1),
        [
            (4, "Burst of failed logins (5 in a minute)".to_owned()),
            (9, "Burst of failed logins (10 in a minute)".to_owned()),
            (19, "Burst of failed logins (20 in a minute)".to_owned()),
        ]
    );
    assert_eq!(tail(30), [], "one every half a minute is no burst");
}

const PERSONAS: [&str; 5] = ["SecOps", "DevOps", "CloudSec", "AISec", "Architect"];

/// Quotes the five report of a screen drawn in characters, by rule.
fn said(screen: &str) -> BTreeMap<String, Vec<String>> {
    let mut said: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for agent in PERSONAS.map(|name| analyst(name, &[])) {
        for (after, text) in examples::screens(screen) {
            let at = Timestamp::UNIX_EPOCH + after;
            for seen in agent.observe(&captured(at, drawn(&text).into())) {
                let rule = seen.detail.split('`').nth(1).unwrap().to_owned();
                let quotes = seen.evidence.into_iter().map(|evidence| evidence.quote);
                said.entry(rule).or_default().extend(quotes);
            }
        }
    }
    said
}

/// The files of a folder of fixtures, with their names.
fn fixtures(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures")
        .join(folder);
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> = entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_healthy_screen_yields_nothing() {
    let files = fixtures("healthy");
    assert!(files.len() >= 12);
    let wrong: Vec<_> = files
        .iter()
        .map(|(name, screen)| (name, said(screen)))
        .filter(|(_, said)| !said.is_empty())
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The first line of each names the rules that speak, and no other may.
#[test]
fn an_alarming_screen_yields_what_its_first_line_says() {
    let files = fixtures("alarming");
    assert!(files.len() >= 12);
    let mut wrong = Vec::new();
    for (name, text) in &files {
        let (rules, screen) = text.split_once('\n').unwrap();
        let expected: BTreeSet<_> = rules.split_whitespace().collect();
        let said = said(screen);
        let spoke: BTreeSet<_> = said.keys().map(String::as_str).collect();
        if spoke != expected {
            let silent: Vec<_> = expected.difference(&spoke).collect();
            let unasked: BTreeMap<_, _> = said
                .iter()
                .filter(|(rule, _)| !expected.contains(rule.as_str()))
                .collect();
            wrong.push(format!("{name}: silent {silent:?}, unasked {unasked:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn any_text_is_taken() {
    use proptest::prelude::*;
    let agents = PERSONAS.map(|agent| analyst(agent, &["x"]));
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
