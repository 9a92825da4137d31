//! MITRE ATT&CK ids and their names.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

/// Table with a line per technique: `uid`, tactic, name, each sub-technique;
/// separated by tabs.
const TABLE: &str = include_str!("attack.tsv");

struct Technique {
    /// Tactic, if there is exactly one.
    tactic: &'static str,
    name: &'static str,
}

static KNOWN: LazyLock<HashMap<String, Technique>> = LazyLock::new(|| {
    let mut known = HashMap::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.split('\t');
        let mut next = || fields.next().unwrap_or_default();
        let (id, tactic, name) = (next(), next(), next());
        for (sub, name) in fields.filter_map(|field| field.split_once(' ')) {
            known.insert(format!("{id}{sub}"), Technique { tactic, name });
        }
        known.insert(id.to_owned(), Technique { tactic, name });
    }
    known
});

/// OCSF's form of a technique (`T1552`), a sub-technique (`T1552.001`) or a
/// tactic (`TA0006`); `None` for anything else.
pub(super) fn attack(id: &str) -> Option<Value> {
    let digits =
        |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    if let Some(number) = id.strip_prefix("TA") {
        return digits(number, 4).then(|| json!({ "tactic": named(id) }));
    }
    let number = id.strip_prefix('T')?;
    let (technique, sub) = match number.split_once('.') {
        None => (number, None),
        Some((technique, sub)) => (technique, Some(sub)),
    };
    if !digits(technique, 4) || !sub.is_none_or(|sub| digits(sub, 3)) {
        return None;
    }
    let technique = format!("T{technique}");
    let mut attack = Map::new();
    let tactic = KNOWN.get(&technique).map_or("", |known| known.tactic);
    if !tactic.is_empty() {
        attack.insert("tactic".to_owned(), named(tactic));
    }
    attack.insert("technique".to_owned(), named(&technique));
    if sub.is_some() {
        attack.insert("sub_technique".to_owned(), named(id));
    }
    Some(Value::Object(attack))
}

/// Unknown ids (ATT&CK grows) serve as their own names: OCSF requires a name.
fn named(id: &str) -> Value {
    let name = KNOWN.get(id).map_or(id, |known| known.name);
    json!({ "uid": id, "name": name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_its_names_and_its_tactic() {
        assert_eq!(
            attack("T1110.001").unwrap(),
            json!({
                "tactic": { "uid": "TA0006", "name": "Credential Access" },
                "technique": { "uid": "T1110", "name": "Brute Force" },
                "sub_technique": { "uid": "T1110.001", "name": "Password Guessing" },
            })
        );
        // For techniques of several tactics the intended one is unknown.
        assert_eq!(
            attack("T1078").unwrap(),
            json!({ "technique": { "uid": "T1078", "name": "Valid Accounts" } })
        );
        assert_eq!(
            attack("TA0040").unwrap(),
            json!({ "tactic": { "uid": "TA0040", "name": "Impact" } })
        );
        assert_eq!(
            attack("T9999.001").unwrap(),
            json!({
                "technique": { "uid": "T9999", "name": "T9999" },
                "sub_technique": { "uid": "T9999.001", "name": "T9999.001" },
            })
        );
        for none in [
            "nonsense",
            "T",
            "T11",
            "T1110.1",
            "TA1",
            "T1110.",
            "TA0006.001",
        ] {
            assert_eq!(attack(none), None, "{none}");
        }
    }

    #[test]
    fn every_id_of_the_rules_is_known() {
        let mut ids = 0;
        for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../rules")).unwrap()
        {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            for line in text.lines().filter(|line| line.starts_with("mitre")) {
                for id in line.split('"').skip(1).step_by(2) {
                    ids += 1;
                    assert!(KNOWN.contains_key(id), "{id}");
                }
            }
        }
        assert!(ids > 50, "{ids}");
    }
}
