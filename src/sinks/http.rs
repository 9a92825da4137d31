//! HTTP requests of a sink, and the interpretation of the responses.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode};
use url::Url;

use watchtower_base::http_client::{HttpClientBuilder, innermost_cause};
use watchtower_base::retry_after::retry_after;
use watchtower_base::tls::Identity;
use watchtower_base::url::is_loopback;
use watchtower_domain::finding::printable;

use super::{Blame, DeliveryOutcome};
use crate::settings::SinkSettings;

/// Maximum bytes read of a response body.
const LARGEST_BODY: usize = 4 << 20;
const LONGEST_DETAIL: usize = 300;

#[derive(Clone)]
pub(super) struct SinkHttpClient {
    client: Client,
    url: Url,
}

pub(super) struct SinkResponse {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
    pub(super) after: Option<Duration>,
}

impl SinkHttpClient {
    /// Opens a client. `path` is relative to the address; empty means the
    /// address itself.
    pub(super) fn open(settings: &SinkSettings, path: &str) -> Result<Self, String> {
        let address = settings
            .address
            .as_ref()
            .map_or("", |address| address.expose());
        let mut url = Url::parse(address)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            // Not shown: a chat webhook's address is its credential.
            .ok_or("address must be a URL such as https://host:port")?;
        if url.scheme() == "http" && settings.token.is_some() && !is_loopback(&url) {
            return Err("address must be https://: a token is sent there".to_owned());
        }
        if !path.is_empty() && !url.path().ends_with(path) {
            let whole = format!("{}{path}", url.path().trim_end_matches('/'));
            url.set_path(&whole);
        }
        let mut builder = HttpClientBuilder::new(is_loopback(&url), settings.timeout);
        if let Some(file) = &settings.ca_file {
            builder = builder.trust(file)?;
        }
        if let Some(identity) = Identity::of(settings.client_pair.as_ref())? {
            if url.scheme() == "http" {
                return Err("address must be https://: client_certificate is set".to_owned());
            }
            builder = builder
                .identify(&identity)
                .map_err(|error| format!("client_certificate can't be used: {}", reason(error)))?;
        }
        let client = builder.build();
        let client = client.map_err(|error| format!("failed to set up HTTP: {}", reason(error)))?;
        Ok(Self { client, url })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) async fn post(
        &self,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<SinkResponse, DeliveryOutcome> {
        self.post_to(self.url.clone(), headers, body).await
    }

    pub(super) async fn post_to(
        &self,
        url: Url,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<SinkResponse, DeliveryOutcome> {
        let request = self.client.post(url).headers(headers).body(body);
        let response = request
            .send()
            .await
            .map_err(|error| DeliveryOutcome::retry(format!("unreachable: {}", reason(error))))?;
        SinkResponse::read(response, LARGEST_BODY).await
    }
}

impl SinkResponse {
    /// Reads a response, and about so many bytes of its body.
    pub(super) async fn read(
        mut response: reqwest::Response,
        most: usize,
    ) -> Result<Self, DeliveryOutcome> {
        let after = retry_after(response.headers());
        let status = response.status();
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(piece)) if body.len() < most => body.extend_from_slice(&piece),
                Ok(_) => break,
                // A success response that breaks off is ambiguous.
                Err(error) => {
                    return Err(DeliveryOutcome::retry(format!(
                        "response truncated: {}",
                        reason(error)
                    )));
                }
            }
        }
        Ok(Self {
            status,
            body,
            after,
        })
    }

    /// Default interpretation of a status (RFC 9110).
    pub(super) fn outcome(self) -> DeliveryOutcome {
        if self.status.is_success() {
            return DeliveryOutcome::Delivered;
        }
        let why = self.why();
        let (why, blame) = match self.status.as_u16() {
            400 | 413 | 415 | 422 => (why, Blame::Event),
            300..=399 => (
                format!("{why}: redirects are not followed; name the address that it leads to"),
                Blame::Receiver,
            ),
            401 | 403 => (format!("{why} (check the token)"), Blame::Unclear),
            404 | 410 => (format!("{why} (check the address)"), Blame::Unclear),
            429 | 503 => (why, Blame::Receiver),
            502 | 504 => (why, Blame::Silence),
            _ => (why, Blame::Unclear),
        };
        DeliveryOutcome::Retry {
            why,
            after: self.after,
            blame,
        }
    }

    /// True for an HTML page, which does not come from the receiver.
    pub(super) fn is_page(&self) -> bool {
        self.body.trim_ascii_start().starts_with(b"<")
    }

    pub(super) fn why(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let text: String = printable(&text).chars().take(LONGEST_DETAIL).collect();
        format!("HTTP {} {}", self.status, text.trim())
            .trim_end()
            .to_owned()
    }
}

/// Innermost cause, without the URL.
pub(super) fn reason(error: reqwest::Error) -> String {
    match innermost_cause(&error) {
        _ if error.is_timeout() => "no answer in time".to_owned(),
        Some(cause) => printable(&cause).into_owned(),
        None => error.without_url().to_string(),
    }
}

pub(super) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory does not fail.
    drop(encoder.write_all(body));
    encoder.finish().unwrap_or_default()
}

pub(super) fn headers<const N: usize>(pairs: [(&'static str, &str); N]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers
}

/// Value for `Authorization`, marked sensitive so that it is never printed.
pub(super) fn secret(value: &str) -> Result<HeaderValue, String> {
    let value = HeaderValue::from_str(value);
    let mut value = value.map_err(|_| "the token has characters no header may have".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}
