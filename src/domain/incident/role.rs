//! Roles of addresses: attacker or target.
//!
//! Two attackers of one server share the server's address, and many incidents
//! share a resolver's. So an address alone is no evidence; the word before it,
//! as tools write it, gives its role.

use std::collections::BTreeSet;

use super::entity;

/// Addresses by role. One seen in both roles is in neither.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Roles {
    pub(super) sources: BTreeSet<String>,
    pub(super) targets: BTreeSet<String>,
}

impl Roles {
    pub(super) fn learn(&mut self, other: &Self) {
        // Seen in both roles: not used to distinguish subjects.
        let both = |ours: &BTreeSet<String>, theirs: &BTreeSet<String>| {
            ours.intersection(theirs).cloned().collect::<Vec<_>>()
        };
        let mut turned = both(&self.sources, &other.targets);
        turned.extend(both(&self.targets, &other.sources));
        self.sources.extend(other.sources.iter().cloned());
        self.targets.extend(other.targets.iter().cloned());
        for name in turned {
            self.sources.remove(&name);
            self.targets.remove(&name);
        }
    }
}

const SOURCE: [&str; 26] = [
    "from",
    "src",
    "source",
    "src_ip",
    "source_ip",
    "source.ip",
    "srcip",
    "saddr",
    "src_addr",
    "sourceip",
    "sourceipaddress",
    "client",
    "client_ip",
    "client.ip",
    "clientip",
    "rhost",
    "remote",
    "remote_ip",
    "remote_addr",
    "remoteip",
    "attacker",
    "origin",
    "peer",
    "id.orig_h",
    "by",
    "c-ip",
];

const TARGET: [&str; 35] = [
    "to",
    "dst",
    "dest",
    "destination",
    "dst_ip",
    "dest_ip",
    "destination_ip",
    "destination.ip",
    "dstip",
    "daddr",
    "dst_addr",
    "destip",
    "target",
    "target_ip",
    "targetip",
    "victim",
    "against",
    "on",
    "at",
    "server",
    "server_ip",
    "server.ip",
    "serverip",
    "local",
    "laddr",
    "resolver",
    "dns",
    "nameserver",
    "via",
    "id.resp_h",
    "scanning",
    "s-ip",
    "host.ip",
    "hits",
    "probes",
];

/// Words between a role and its address: `source IP address: 192.0.2.1`.
const BETWEEN: [&str; 10] = [
    "ip", "ipv4", "ipv6", "address", "addr", "host", "hosts", "the", "is", "attacker",
];
const ARROW: &str = "->";

/// Roles in a line.
pub(super) fn roles(text: &str) -> Roles {
    let text = text
        .to_lowercase()
        .replace("-->", " \u{1} ")
        .replace("->", " \u{1} ")
        .replace("=>", " \u{1} ")
        .replace(" > ", " \u{1} ")
        .replace(['→', '➜', '»'], " \u{1} ")
        .replace('\u{1}', ARROW);
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || "\"'`()[]{},;|=".contains(c))
        .map(|word| match word {
            ARROW => word,
            word => word.trim_matches(|c: char| ".:!?*&<>".contains(c)),
        })
        .filter(|word| !word.is_empty())
        .collect();
    let mut roles = Roles::default();
    for (at, word) in words.iter().enumerate() {
        let Some(ip) = entity::ip(word) else {
            continue;
        };
        let mut before = words[..at].iter().rev();
        let label = before.find(|word| !BETWEEN.contains(word)).copied();
        let nearest = at.checked_sub(1).map_or("", |at| words[at]);
        let label = if nearest == "attacker" {
            nearest
        } else {
            label.unwrap_or_default()
        };
        let behind = words.get(at + 1).copied().unwrap_or_default();
        if SOURCE.contains(&label) || (behind == ARROW && label != ARROW) {
            roles.sources.insert(ip);
        } else if TARGET.contains(&label) || label == ARROW {
            roles.targets.insert(ip);
        }
    }
    let both: Vec<_> = roles
        .sources
        .intersection(&roles.targets)
        .cloned()
        .collect();
    for name in both {
        roles.sources.remove(&name);
        roles.targets.remove(&name);
    }
    roles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_from_tool_output() {
        for (text, sources, targets) in [
            (
                "Failed password for admin from 203.0.113.45 port 51502 ssh2",
                &["203.0.113.45"][..],
                &[][..],
            ),
            (
                "kernel: IN=eth0 SRC=203.0.113.45 DST=192.0.2.10 LEN=60 PROTO=TCP",
                &["203.0.113.45"],
                &["192.0.2.10"],
            ),
            (
                "203.0.113.45:51502 -> 192.0.2.10:22 SYN",
                &["203.0.113.45"],
                &["192.0.2.10"],
            ),
            (
                "IP 203.0.113.45.51502 > 192.0.2.10.22: Flags [S]",
                &["203.0.113.45"],
                &["192.0.2.10"],
            ),
            (
                r#"{"src_ip":"203.0.113.45","dest_ip":"192.0.2.10"}"#,
                &["203.0.113.45"],
                &["192.0.2.10"],
            ),
            (
                "Port scan from host 203.0.113.45 against 192.0.2.10, resolver 192.0.2.53",
                &["203.0.113.45"],
                &["192.0.2.10", "192.0.2.53"],
            ),
            ("203.0.113.45 192.0.2.10 tcp 22", &[], &[]),
            (
                "from 192.0.2.1 to 192.0.2.2, from 192.0.2.2 to 192.0.2.1",
                &[],
                &[],
            ),
        ] {
            let found = roles(text);
            assert!(found.sources.iter().eq(sources), "{text}: {found:?}");
            assert!(found.targets.iter().eq(targets), "{text}: {found:?}");
        }
    }
}
