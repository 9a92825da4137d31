use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use watchtower_media::MediaTime;
use watchtower_screen::frame::Frame;
use watchtower_screen::picture::{Picture, Rect, TextLine};
use watchtower_screen::redact::Redact;

use super::screen::drawn;
use super::*;
use crate::stream_context::NormalState;

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let rules = Rules::load(&[]);
    Arc::new(rules.unwrap_or_else(|error| panic!("{error}")))
});

pub(super) fn analyst(agent: &str, indicators: &[&str]) -> Offline {
    let persona = Persona {
        name: agent.to_owned(),
        indicators: indicators.iter().map(|text| (*text).to_owned()).collect(),
        ..Persona::default()
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

/// Frame as passed to rules, unredacted: they have to find the secrets.
fn captured(at: Timestamp, lines: Arc<[TextLine]>) -> RedactedFrame {
    shown(at, Picture::grey(1920, 1080), lines)
}

pub(super) fn shown(at: Timestamp, picture: Picture, lines: Arc<[TextLine]>) -> RedactedFrame {
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
        // A mouse covers the row for a second and a half.
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
fn personas_report_their_own_rules_only() {
    let screen = frame(&["ledger-worker 0/1 CrashLoopBackOff 27"]);
    assert_eq!(analyst("DevOps", &[]).observe(&screen).len(), 1);
    assert_eq!(analyst("CloudSec", &[]).observe(&screen).len(), 0);
}

#[test]
fn persona_without_rules_reports_its_indicators() {
    let network = analyst("Network", &["packet loss", "  "]);
    let screen = frame(&["eth0: 12 % Packet Loss to gw-1", "all fine"]);
    let seen = network.observe(&screen);
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].evidence[0].quote, "eth0: 12 % Packet Loss to gw-1");
    assert_eq!(seen[0].severity, Severity::Low);
    assert!(
        network.observe(&screen).is_empty(),
        "reported once while it stays"
    );
}

#[test]
fn what_is_normal_on_a_stream_is_quiet_there_only() {
    let reported = |stream: &str, normal: &str| {
        let persona = Persona {
            name: "DevOps".to_owned(),
            streams: Arc::new([StreamContext {
                name: StreamName::new(stream).unwrap(),
                context: String::new(),
                normal: vec![NormalState::parse(normal)],
            }]),
            ..Persona::default()
        };
        let analyst = Offline::new(Arc::clone(&RULES), &persona);
        let screen = frame(&["ledger-worker 0/1 CrashLoopBackOff 27"]);
        analyst.observe(&screen).len()
    };
    assert_eq!(reported("team", "ledger-worker 0/1 CrashLoopBackOff"), 0);
    assert_eq!(reported("team", "other-worker 0/1 CrashLoopBackOff"), 1);
    assert_eq!(reported("other", "ledger-worker 0/1 CrashLoopBackOff"), 1);
}

#[test]
fn reading_is_shared_by_the_analysts_of_a_panel() {
    let screen = frame(&["ledger-worker 0/1 CrashLoopBackOff 27"]);
    let (secops, devops) = (analyst("SecOps", &[]), analyst("DevOps", &[]));
    assert!(Arc::ptr_eq(&secops.read(&screen), &devops.read(&screen)));
    let alone = analyst("DevOps", &[]).among(&["DevOps".to_owned()]);
    assert!(!Arc::ptr_eq(&secops.read(&screen), &alone.read(&screen)));
    let later = frame(&["ledger-worker 0/1 CrashLoopBackOff 27"]);
    assert!(!Arc::ptr_eq(&secops.read(&screen), &secops.read(&later)));
}

#[test]
fn one_problem_is_reported_by_its_first_owner_on_the_panel() {
    let told = |agent: &str, panel: &[&str], rows: &[&str]| {
        let panel: Vec<_> = panel.iter().map(|name| (*name).to_owned()).collect();
        let seen = analyst(agent, &[]).among(&panel).observe(&frame(rows));
        seen.into_iter().map(|seen| seen.title).collect::<Vec<_>>()
    };
    let expired = ["x509: certificate has expired or is not yet valid"];
    assert_eq!(told("DevOps", &PERSONAS, &expired), ["Expired certificate"]);
    assert_eq!(told("CloudSec", &PERSONAS, &expired), [""; 0]);
    assert_eq!(
        told("CloudSec", &["SecOps", "CloudSec"], &expired),
        ["Expired certificate"]
    );
    // Two rules of two analysts in the same places.
    let untagged = [
        "a  Untagged image in use",
        "b  Untagged image in use",
        "c  Untagged image in use",
    ];
    assert_eq!(
        told("DevOps", &PERSONAS, &untagged),
        ["Untagged image in use (3 on screen)"]
    );
    assert_eq!(told("Architect", &PERSONAS, &untagged), [""; 0]);
    assert_eq!(
        told("Architect", &["Architect"], &untagged),
        ["3 images without tags"]
    );
}

#[test]
fn a_bound_of_a_stream_replaces_the_threshold_of_its_measure() {
    let reported = |normal: &[&str], lines: &[&str]| -> Vec<(String, Severity)> {
        let persona = Persona {
            name: "DevOps".to_owned(),
            streams: Arc::new([StreamContext {
                name: StreamName::new("team").unwrap(),
                context: String::new(),
                normal: normal.iter().map(|text| NormalState::parse(text)).collect(),
            }]),
            ..Persona::default()
        };
        let analyst = Offline::new(Arc::clone(&RULES), &persona);
        let seen = analyst.observe(&frame(lines)).into_iter();
        seen.map(|one| (one.title, one.severity)).collect()
    };
    // Below the usual threshold of errors.
    assert_eq!(reported(&[], &["Error rate: 3.4 %"]), []);
    let failing = ["checkout: fault rate of 8.2 %"];
    assert_eq!(reported(&[], &failing).len(), 1);
    let strict = ["error rate up to 3 %"];
    assert_eq!(reported(&strict, &["Error rate: 2.9 %"]), []);
    assert_eq!(
        reported(&strict, &["Error rate: 3.4 %"]),
        [("Beyond normal: Error rate 3.4 %".to_owned(), Severity::High)]
    );
    let lax = ["fault rate up to 10 % is normal"];
    assert_eq!(reported(&lax, &failing), []);
    let worse = ["checkout: fault rate of 12.2 %"];
    assert_eq!(reported(&lax, &worse).len(), 1, "once");
    let tail = ["p99 below 900 ms is normal"];
    assert_eq!(reported(&tail, &["p99 latency: 0.8 s"]), []);
    let slow = reported(&tail, &["p99 latency: 0.95 s"]);
    let titles: Vec<&str> = slow.iter().map(|(title, _)| title.as_str()).collect();
    assert_eq!(titles, ["Beyond normal: p99 latency 950 ms"]);
    assert_eq!(reported(&tail, &["p95 latency: 0.95 s"]), []);
    // A number that is no measure, and one below its least.
    let own = ["parcels waiting at most 40", "replicas at least 3"];
    assert_eq!(reported(&own, &["Parcels waiting: 31", "Replicas: 3"]), []);
    assert_eq!(
        reported(&own, &["Parcels waiting: 312", "Replicas: 2"]).len(),
        2
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

/// Log tail of three rows, with a new one every `step` seconds: times and
/// counts of SecOps' findings on a burst of failed logins.
fn tail(step: i64) -> Vec<(i64, String)> {
    let secops = analyst("SecOps", &[]);
    let row = |n: i64| format!("{:02}:{:02} sshd: Failed password for root", n / 60, n % 60);
    let mut by_rule = Vec::new();
    for n in 0..30 {
        let rows: Vec<_> = (n.max(2) - 2..=n).map(|n| row(n * step)).collect();
        let at = Timestamp::from_second(n * step).unwrap();
        let text = drawn(&rows.join("\n")).into();
        let seen = secops.observe(&captured(at, text));
        by_rule.extend(seen.into_iter().map(|seen| (n * step, seen.title)));
    }
    by_rule
}

#[test]
fn scrolled_rows_count_within_the_window() {
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

pub(super) const PERSONAS: [&str; 5] = ["SecOps", "DevOps", "CloudSec", "AISec", "Architect"];

/// Quotes by rule in the reports of the five personas on a screen drawn in
/// characters.
fn reports(screen: &str) -> BTreeMap<String, Vec<String>> {
    let mut by_rule: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for agent in PERSONAS.map(|name| analyst(name, &[])) {
        for (after, text) in examples::screens(screen) {
            let at = Timestamp::UNIX_EPOCH + after;
            for seen in agent.observe(&captured(at, drawn(&text).into())) {
                let rule = seen.detail.split('`').nth(1).unwrap().to_owned();
                let quotes = seen.evidence.into_iter().map(|evidence| evidence.quote);
                by_rule.entry(rule).or_default().extend(quotes);
            }
        }
    }
    by_rule
}

/// Files of a folder of fixtures, with their names.
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
fn healthy_screens_have_no_findings() {
    let files = fixtures("healthy");
    assert!(files.len() >= 12);
    let wrong: Vec<_> = files
        .iter()
        .map(|(name, screen)| (name, reports(screen)))
        .filter(|(_, by_rule)| !by_rule.is_empty())
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The first line of each fixture names the rules that match; no others may.
#[test]
fn alarming_screens_match_their_listed_rules() {
    let files = fixtures("alarming");
    assert!(files.len() >= 12);
    let mut wrong = Vec::new();
    for (name, text) in &files {
        let (rules, screen) = text.split_once('\n').unwrap();
        let expected: BTreeSet<_> = rules.split_whitespace().collect();
        let by_rule = reports(screen);
        let matched: BTreeSet<_> = by_rule.keys().map(String::as_str).collect();
        if matched != expected {
            let missing: Vec<_> = expected.difference(&matched).collect();
            let unexpected: BTreeMap<_, _> = by_rule
                .iter()
                .filter(|(rule, _)| !expected.contains(rule.as_str()))
                .collect();
            wrong.push(format!(
                "{name}: missing {missing:?}, unexpected {unexpected:#?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn arbitrary_text_is_accepted() {
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
