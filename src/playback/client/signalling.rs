//! WHEP requests (draft-ietf-wish-whep, section 4) of the client.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Client, Method, RequestBuilder, Response};
use url::Url;

use watchtower_base::bearer::{Bearer, shown};
use watchtower_base::http_client::{HttpClientBuilder, innermost_cause};
use watchtower_base::retry_after::retry_after;
use watchtower_base::url::is_loopback;
use watchtower_domain::finding::printable;

const SDP: &str = "application/sdp";
const TIMEOUT: Duration = Duration::from_secs(15);
/// Timeout of the `DELETE` that ends a session.
const GOODBYE: Duration = Duration::from_secs(2);
const MOST_REDIRECTS: usize = 3;
/// Maximum size of an SDP answer in bytes; usual are 1 to 4 kB.
const LARGEST_ANSWER: usize = 256 << 10;
const LONGEST_DETAIL: usize = 200;

#[derive(Debug)]
pub(super) struct Signalling {
    client: Client,
    url: Url,
    bearer: Bearer,
}

/// Session created by the server.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) answer: String,
    /// Session URL, to `DELETE` at the end.
    pub(super) session: Option<Url>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SignallingError {
    #[error("{url} answered {status}: {detail}")]
    Status {
        url: String,
        status: u16,
        detail: String,
        retry_after: Option<Duration>,
    },
    #[error("failed to reach {url}: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("{url} answered {what}; expected an SDP answer of at most {LARGEST_ANSWER} bytes")]
    NoSdp { url: String, what: &'static str },
}

impl Signalling {
    pub(super) fn new(url: Url, bearer: Bearer) -> Result<Self, String> {
        // Redirects are followed manually, so that the token is never sent to
        // another origin.
        let client = HttpClientBuilder::new(is_loopback(&url), TIMEOUT).build();
        let client = client.map_err(|error| reason(&error))?;
        Ok(Self {
            client,
            url,
            bearer,
        })
    }

    /// Sends an offer to the server, following redirects (307 and 308).
    pub(super) async fn open(&self, offer: &str) -> Result<Opened, SignallingError> {
        let mut url = self.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let request = self
                .request(Method::POST, &url)
                .header(CONTENT_TYPE, SDP)
                .header(ACCEPT, SDP)
                .body(offer.to_owned());
            let response = request
                .send()
                .await
                .map_err(|error| unreachable(&url, &error))?;
            let status = response.status().as_u16();
            let location = location(&response, &url);
            match (status, location) {
                (201, session) => {
                    let answer = body(response, &url).await?;
                    if !answer.starts_with("v=0") {
                        return Err(no_sdp(&url, "something else"));
                    }
                    return Ok(Opened { answer, session });
                }
                (307 | 308, Some(other)) => url = other,
                _ => return Err(refused(response, &url).await),
            }
        }
        Err(no_sdp(&self.url, "with too many redirects"))
    }

    /// Ends a session. If the request is lost the server times the session out.
    pub(super) async fn end(&self, session: Url) {
        let request = self.request(Method::DELETE, &session).timeout(GOODBYE);
        if let Err(error) = request.send().await {
            tracing::debug!("failed to end the session: {}", reason(&error));
        }
    }

    /// Adds the token, if this URL is of the server's origin.
    fn request(&self, method: Method, url: &Url) -> RequestBuilder {
        let request = self.client.request(method, url.clone());
        let value = self.bearer.for_url(url);
        let value = value.and_then(|value| HeaderValue::from_str(value.expose()).ok());
        match value {
            Some(mut value) => {
                value.set_sensitive(true);
                request.header(AUTHORIZATION, value)
            }
            None => request,
        }
    }
}

/// Resolves a location relative to the request's URL (RFC 9110, section
/// 10.2.2).
fn location(response: &Response, base: &Url) -> Option<Url> {
    let value = response.headers().get(LOCATION)?.to_str().ok()?;
    let url = base.join(value).ok()?;
    matches!(url.scheme(), "http" | "https").then_some(url)
}

async fn body(mut response: Response, url: &Url) -> Result<String, SignallingError> {
    let mut body = Vec::new();
    while let Some(piece) = response
        .chunk()
        .await
        .map_err(|error| unreachable(url, &error))?
    {
        if body.len() + piece.len() > LARGEST_ANSWER {
            return Err(no_sdp(url, "more"));
        }
        body.extend_from_slice(&piece);
    }
    String::from_utf8(body).map_err(|_| no_sdp(url, "no text"))
}

async fn refused(response: Response, url: &Url) -> SignallingError {
    let status = response.status();
    let advised = retry_after(response.headers());
    let text = body(response, url).await.unwrap_or_default();
    let problem: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let detail = problem
        .as_ref()
        .and_then(|problem| problem["detail"].as_str())
        .or(status.canonical_reason())
        .unwrap_or("no reason given");
    let detail: String = printable(detail).chars().take(LONGEST_DETAIL).collect();
    SignallingError::Status {
        url: shown(url),
        status: status.as_u16(),
        detail,
        retry_after: advised,
    }
}

fn unreachable(url: &Url, error: &reqwest::Error) -> SignallingError {
    SignallingError::Unreachable {
        url: shown(url),
        reason: reason(error),
    }
}

fn no_sdp(url: &Url, what: &'static str) -> SignallingError {
    SignallingError::NoSdp {
        url: shown(url),
        what,
    }
}

/// Innermost cause: the error's own text repeats the URL, including the query.
fn reason(error: &reqwest::Error) -> String {
    match innermost_cause(error) {
        Some(cause) => printable(&cause).into_owned(),
        None if error.is_timeout() => format!("no answer within {} s", TIMEOUT.as_secs()),
        None => "connection failed".to_owned(),
    }
}
