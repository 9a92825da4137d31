//! Entries that are shown: by severity, stream and time.

use std::collections::HashMap;

use jiff::Timestamp;
use uuid::Uuid;

use watchtower_domain::finding::Severity;
use watchtower_domain::incident::Stance;

use super::entry::{EntryKind, LogEntry};

/// Most incidents whose severity and stream are known: a few megabytes, and more
/// than a log of 100 MB has.
const INCIDENTS: usize = 50_000;

#[derive(Debug)]
pub(super) struct EntryFilter {
    least: Severity,
    stream: Option<String>,
    since: Option<Timestamp>,
    /// Severity and stream by incident: entries after the first name neither.
    known: HashMap<Uuid, (Severity, Option<String>)>,
}

impl EntryFilter {
    pub(super) fn new(least: Severity, stream: Option<String>, since: Option<Timestamp>) -> Self {
        Self {
            least,
            stream,
            since,
            known: HashMap::new(),
        }
    }

    /// True if the entry is to be shown. All entries must be given, in their
    /// order.
    pub(super) fn passes(&mut self, entry: &LogEntry) -> bool {
        if let (EntryKind::Finding(severity), Some(id)) = (&entry.kind, entry.incident) {
            if self.known.len() >= INCIDENTS {
                self.known.clear();
            }
            let incident = self
                .known
                .entry(id)
                .or_insert_with(|| (*severity, entry.stream.clone()));
            // Severities are ordered worst first.
            incident.0 = incident.0.min(*severity);
        }
        if self.since.is_some_and(|since| entry.at < since) || is_no_opinion(entry) {
            return false;
        }
        let known = entry.incident.and_then(|id| self.known.get(&id));
        let severity = match entry.kind {
            EntryKind::Finding(severity) => Some(severity),
            _ => known.map(|(severity, _)| *severity),
        };
        let stream = entry
            .stream
            .as_ref()
            .or_else(|| known.and_then(|(_, stream)| stream.as_ref()));
        match (severity, entry.incident) {
            // Messages of the server, about no finding: the analyst failed.
            (None, None) => true,
            // Of an incident from before the log began: unknown.
            (None, Some(_)) => self.least == Severity::Info && self.stream.is_none(),
            (Some(severity), _) => {
                severity <= self.least && (self.stream.is_none() || stream == self.stream.as_ref())
            }
        }
    }
}

/// True for an opinion that is none, which the offline analysts have of nearly
/// everything: `DevOps -> SecOps: no opinion: ...`
fn is_no_opinion(entry: &LogEntry) -> bool {
    let said = entry.text.split_once(": ");
    entry.kind == EntryKind::Remark
        && entry.incident.is_some()
        && said.is_some_and(|(from, text)| {
            from.contains(" -> ") && text.starts_with(&Stance::NoView.to_string())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "019ab300-0000-7000-8000-000000000001";
    const SECOND: &str = "019ab300-0000-7000-8000-000000000002";

    fn entry(at: i64, kind: EntryKind, text: &str, of: Option<(&str, Option<&str>)>) -> LogEntry {
        LogEntry {
            at: Timestamp::from_second(at).unwrap(),
            kind,
            text: text.to_owned(),
            stream: of.and_then(|(_, stream)| stream).map(str::to_owned),
            count: None,
            incident: of.map(|(id, _)| id.parse().unwrap()),
            details: Vec::new(),
        }
    }

    /// Texts of the sample that pass.
    fn shown(mut filter: EntryFilter) -> Vec<String> {
        use EntryKind::{Finding, Remark, Repeat};
        let sample = [
            entry(
                10,
                Finding(Severity::High),
                "a",
                Some((FIRST, Some("team"))),
            ),
            entry(
                20,
                Finding(Severity::Low),
                "b",
                Some((SECOND, Some("demo"))),
            ),
            entry(30, Repeat, "a again", Some((FIRST, None))),
            entry(
                40,
                Remark,
                "DevOps -> SecOps: disputes: b",
                Some((SECOND, None)),
            ),
            entry(
                50,
                Remark,
                "DevOps -> SecOps: no opinion: x",
                Some((FIRST, None)),
            ),
            entry(60, Remark, "failed", None),
        ];
        let passed = sample.into_iter().filter(|entry| filter.passes(entry));
        passed.map(|entry| entry.text).collect()
    }

    #[test]
    fn later_entries_of_an_incident_are_filtered_by_its_first() {
        let disputed = "DevOps -> SecOps: disputes: b";
        let all = |severity, stream: Option<&str>, since: Option<i64>| {
            shown(EntryFilter::new(
                severity,
                stream.map(str::to_owned),
                since.map(|at| Timestamp::from_second(at).unwrap()),
            ))
        };
        assert_eq!(
            all(Severity::Info, None, None),
            ["a", "b", "a again", disputed, "failed"]
        );
        assert_eq!(all(Severity::High, None, None), ["a", "a again", "failed"]);
        assert_eq!(
            all(Severity::Info, Some("demo"), None),
            ["b", disputed, "failed"]
        );
        assert_eq!(
            all(Severity::Low, Some("team"), Some(20)),
            ["a again", "failed"]
        );
        assert_eq!(all(Severity::Critical, Some("none"), None), ["failed"]);
    }
}
