//! Reporting of findings to another Watchtower: `POST /api/findings`.
//!
//! At least once and in order. The cursor is in the store, so that neither an
//! unavailable server nor a restart loses a finding; the server recognises a
//! repeated one by its id. Pending findings are read back from the store rather
//! than kept in memory.

use std::time::Duration;

use reqwest::Client;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use url::Url;

use watchtower_base::backoff::Backoff;
use watchtower_base::bearer::{Bearer, shown};
use watchtower_base::http_client::{HttpClientBuilder, innermost_cause};
use watchtower_base::retry_after::retry_after;
use watchtower_base::url::is_loopback;
use watchtower_domain::finding::{Finding, printable};
use watchtower_record::Record;
use watchtower_record::store::{CursorAdvance, WriteRefusal};

const PATH: &str = "/api/findings";
const TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum bytes read of an error response.
const LARGEST_BODY: usize = 16 << 10;
const LONGEST_DETAIL: usize = 200;
/// Findings read back at once.
const PAGE: usize = 100;
/// Retry delay after the store could not be read or written.
const STORE_AGAIN: Duration = Duration::from_secs(5);

/// Reporter to one server.
#[derive(Debug)]
pub struct Reporter {
    client: Client,
    url: Url,
    bearer: Bearer,
    /// Name of the cursor; a different server gets everything.
    name: String,
}

/// Reason the reporter can't start.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("failed to set up HTTP: {0}")]
    Http(String),
}

/// Response of the server to a finding.
enum ReportOutcome {
    Taken,
    /// Permanent rejection; its reason.
    Permanent(String),
    /// Temporary failure; its reason and `Retry-After`.
    NotNow(String, Option<Duration>),
}

impl Reporter {
    /// Creates a reporter. `server` is the other server's address, for instance
    /// `https://host:8080`.
    pub fn new(server: &Url, bearer: Bearer) -> Result<Self, ReportError> {
        let mut url = server.clone();
        let path = format!("{}{PATH}", server.path().trim_end_matches('/'));
        url.set_path(&path);
        url.set_query(None);
        url.set_fragment(None);
        let client = HttpClientBuilder::new(is_loopback(&url), TIMEOUT).build();
        Ok(Self {
            client: client.map_err(|error| ReportError::Http(reason(&error)))?,
            name: format!("report to {}", shown(&url)),
            url,
            bearer,
        })
    }

    /// Runs until `shutdown`; pending findings are sent after the next start.
    pub async fn run(self, findings: Record, shutdown: CancellationToken) {
        let mut events = findings.subscribe();
        let work = async {
            loop {
                if let Err(error) = self.catch_up(&findings).await {
                    tracing::warn!(%error, "reporting waiting for the database");
                    tokio::time::sleep(STORE_AGAIN).await;
                    continue;
                }
                match events.recv().await {
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn catch_up(&self, findings: &Record) -> Result<(), WriteRefusal> {
        let mut cursor = findings.cursor(&self.name).await?;
        loop {
            let page = findings.read(move |store| store.findings_after(cursor, PAGE));
            let page = page.await?;
            if page.is_empty() {
                return Ok(());
            }
            for (seq, finding) in page {
                self.report(&finding).await;
                findings.write(CursorAdvance::new(&self.name, seq)).await?;
                cursor = seq;
            }
        }
    }

    async fn report(&self, finding: &Finding) {
        let mut backoff = Backoff::default();
        let id = finding.id;
        loop {
            match self.post(finding).await {
                ReportOutcome::Taken => {
                    tracing::debug!(%id, "reported");
                    return;
                }
                ReportOutcome::Permanent(why) => {
                    tracing::error!(%id, "finding rejected by the server: {why}");
                    return;
                }
                ReportOutcome::NotNow(why, retry_delay) => {
                    let wait = backoff.next(retry_delay);
                    let seconds = wait.as_secs_f64();
                    tracing::warn!("failed to report: {why}; retrying in {seconds:.1} s");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn post(&self, finding: &Finding) -> ReportOutcome {
        let mut request = self.client.post(self.url.clone()).json(finding);
        let value = self.bearer.for_url(&self.url);
        let value = value.and_then(|value| HeaderValue::from_str(value.expose()).ok());
        if let Some(mut value) = value {
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let url = shown(&self.url);
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                return ReportOutcome::NotNow(
                    format!("{url} is unreachable: {}", reason(&error)),
                    None,
                );
            }
        };
        let status = response.status();
        if status.is_success() {
            return ReportOutcome::Taken;
        }
        let retry_delay = retry_after(response.headers());
        let mut body = Vec::new();
        while let Ok(Some(piece)) = response.chunk().await
            && body.len() < LARGEST_BODY
        {
            body.extend_from_slice(&piece);
        }
        let detail = detail(&body).unwrap_or_default();
        let why = format!("{url} answered {status} {detail}");
        match status.as_u16() {
            400 | 413 | 415 | 422 => ReportOutcome::Permanent(why),
            401 | 403 => ReportOutcome::NotNow(
                format!("{why} (check WATCHTOWER_CONSOLE_TOKEN)"),
                retry_delay,
            ),
            _ => ReportOutcome::NotNow(why, retry_delay),
        }
    }
}

/// Detail of a problem (RFC 9457), made printable and truncated.
fn detail(body: &[u8]) -> Option<String> {
    let problem: serde_json::Value = serde_json::from_slice(body).ok()?;
    let detail = printable(problem["detail"].as_str()?).into_owned();
    Some(detail.chars().take(LONGEST_DETAIL).collect())
}

/// Innermost cause.
fn reason(error: &reqwest::Error) -> String {
    match innermost_cause(error) {
        Some(cause) => printable(&cause).into_owned(),
        None if error.is_timeout() => format!("no answer within {} s", TIMEOUT.as_secs()),
        None => "the connection failed".to_owned(),
    }
}
