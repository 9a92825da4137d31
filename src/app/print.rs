//! Findings on standard output.

use tokio::sync::broadcast::error::RecvError;

use watchtower_domain::finding::{Finding, printable};
use watchtower_record::Record;

/// Prints each finding as a line.
pub(crate) async fn print_findings(findings: Record) {
    let mut receiver = findings.subscribe();
    drop(findings);
    loop {
        match receiver.recv().await {
            Ok(finding) => tracing::info!(target: "finding", "{}", line(&finding)),
            Err(RecvError::Lagged(count)) => {
                tracing::warn!(count, "too many findings to print; see findings.jsonl");
            }
            Err(RecvError::Closed) => return,
        }
    }
}

pub(crate) fn line(finding: &Finding) -> String {
    let quote = finding
        .evidence
        .iter()
        .find(|evidence| !evidence.quote.is_empty());
    let quote = quote
        .map(|evidence| format!(" | {}", printable(&evidence.quote)))
        .unwrap_or_default();
    let (agent, stream, title) = (&finding.agent, &finding.stream, printable(&finding.title));
    format!(
        "{} {agent} {stream}: {title}{quote}",
        finding.severity.as_str().to_uppercase()
    )
}
