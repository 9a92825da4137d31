//! HTTP client of the providers, with bounded responses.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Url};

use watchtower_base::http_client::{HttpClientBuilder, innermost_cause};
use watchtower_base::retry_after;
use watchtower_domain::finding::printable;

use crate::model::{Failure, Meter};

/// Maximum size of a response in bytes, far above any real one.
const MAX_BODY: usize = 1 << 20;
/// Cap of a server's `Retry-After`.
pub(super) const LONGEST_ADVICE: Duration = Duration::from_secs(24 * 3600);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Error of a client that can't be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelHttpError {
    #[error("the key contains invalid characters")]
    Key,
    #[error("failed to set up TLS: {0}")]
    Tls(String),
}

/// HTTP client of one model's server.
#[derive(Debug)]
pub(super) struct ModelHttpClient {
    client: Client,
    /// Name of the header and its value, which is marked sensitive and so never
    /// printed.
    key: Option<(HeaderName, HeaderValue)>,
    timeout: Duration,
}

#[derive(Debug)]
pub(super) struct HttpResponse {
    pub status: u16,
    pub retry_after: Option<String>,
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// Wait requested by the server, bounded.
    pub(super) fn advice(&self, now: Timestamp) -> Option<Duration> {
        let advice = retry_after::parse(self.retry_after.as_deref()?, now)?;
        Some(advice.min(LONGEST_ADVICE))
    }
}

impl ModelHttpClient {
    /// `loopback`: the server is on this machine, so that proxies are bypassed.
    pub(super) fn new(
        key: Option<(HeaderName, &str)>,
        loopback: bool,
        timeout: Duration,
    ) -> Result<Self, ModelHttpError> {
        let key = key.map(|(name, value)| {
            let mut value = HeaderValue::from_str(value).map_err(|_| ModelHttpError::Key)?;
            value.set_sensitive(true);
            Ok((name, value))
        });
        let key = key.transpose()?;
        let client = HttpClientBuilder::new(loopback, timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .build();
        Ok(Self {
            client: client.map_err(|error| ModelHttpError::Tls(reason(&error)))?,
            key,
            timeout,
        })
    }

    /// Posts a body; a request that failed to reach the server is not charged.
    pub(super) async fn post(
        &self,
        url: &Url,
        body: Vec<u8>,
        meter: &Meter,
    ) -> Result<HttpResponse, Failure> {
        let request = self
            .client
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        self.exchange(url, request, meter).await
    }

    pub(super) async fn get(&self, url: &Url) -> Result<HttpResponse, Failure> {
        let request = self.client.get(url.clone());
        self.exchange(url, request, &Meter::default()).await
    }

    async fn exchange(
        &self,
        url: &Url,
        mut request: RequestBuilder,
        meter: &Meter,
    ) -> Result<HttpResponse, Failure> {
        if let Some((name, value)) = &self.key {
            request = request.header(name, value.clone());
        }
        let sent = request.send().await;
        let mut response = sent.map_err(|error| {
            if error.is_connect() {
                meter.free();
            }
            self.connection_failure(url, &error)
        })?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| Some(value.to_str().ok()?.to_owned()));
        let mut body = Vec::new();
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(|e| self.connection_failure(url, &e))?
        {
            if body.len() + piece.len() > MAX_BODY {
                if status == 200 {
                    return Err(Failure::no_answer(format!(
                        "the response is larger than {MAX_BODY} bytes"
                    )));
                }
                // The status suffices.
                break;
            }
            body.extend_from_slice(&piece);
        }
        Ok(HttpResponse {
            status,
            retry_after,
            body,
        })
    }

    fn connection_failure(&self, url: &Url, error: &reqwest::Error) -> Failure {
        let host = url.host_str().unwrap_or_default();
        let reason = if error.is_connect() {
            format!("failed to connect to {host}: {}", reason(error))
        } else if error.is_timeout() {
            let seconds = self.timeout.as_secs_f64();
            format!("{host}: no response within {seconds} s")
        } else {
            format!("connection to {host} failed: {}", reason(error))
        };
        Failure::Transient { reason }
    }
}

/// Cause of an error, without the URL (which the error's own text repeats).
fn reason(error: &reqwest::Error) -> String {
    innermost_cause(error).map_or_else(
        || "unknown cause".to_owned(),
        |cause| printable(&cause).into_owned(),
    )
}
