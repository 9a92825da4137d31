//! One request, one bounded response.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, redirect, retry};

use super::endpoint::{Endpoint, SettingsError};
use crate::config::Secret;
use crate::finding::printable;
use crate::model::Failure;

/// No answer of ours is near this; whoever sends more gets no reader.
const MAX_BODY: usize = 1 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The connection to one model.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    endpoint: Endpoint,
    /// Marked sensitive: it prints as such.
    key: HeaderValue,
    timeout: Duration,
}

#[derive(Debug)]
pub(super) struct Response {
    pub status: u16,
    pub retry_after: Option<String>,
    pub body: Vec<u8>,
}

impl Http {
    pub(super) fn new(
        endpoint: Endpoint,
        key: &Secret,
        timeout: Duration,
    ) -> Result<Self, SettingsError> {
        let mut key = HeaderValue::from_str(key.expose()).map_err(|_| SettingsError::Key)?;
        key.set_sensitive(true);
        let mut builder = Client::builder()
            .user_agent(concat!("watchtower/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .timeout(timeout);
        if endpoint.loopback {
            builder = builder.no_proxy();
        }
        let client = builder.build();
        Ok(Self {
            client: client.map_err(|error| SettingsError::Tls(chain(&error)))?,
            endpoint,
            key,
            timeout,
        })
    }

    pub(super) async fn post(&self, body: Vec<u8>) -> Result<Response, Failure> {
        let request = self
            .client
            .post(self.endpoint.generate.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        self.exchange(request).await
    }

    pub(super) async fn get_info(&self) -> Result<Response, Failure> {
        self.exchange(self.client.get(self.endpoint.info.clone()))
            .await
    }

    async fn exchange(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let request = request.header("x-goog-api-key", self.key.clone());
        let mut response = request.send().await.map_err(|e| self.trouble(&e))?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| Some(value.to_str().ok()?.to_owned()));
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|e| self.trouble(&e))? {
            if body.len() + piece.len() > MAX_BODY {
                if status == 200 {
                    return Err(Failure::no_answer(format!(
                        "the response is larger than {MAX_BODY} bytes"
                    )));
                }
                // The status says enough.
                break;
            }
            body.extend_from_slice(&piece);
        }
        Ok(Response {
            status,
            retry_after,
            body,
        })
    }

    fn trouble(&self, error: &reqwest::Error) -> Failure {
        let host = self.endpoint.generate.host_str().unwrap_or_default();
        let reason = if error.is_connect() {
            format!("failed to connect to {host}: {}", chain(error))
        } else if error.is_timeout() {
            let seconds = self.timeout.as_secs_f64();
            format!("{host} did not answer within {seconds} s")
        } else {
            format!("connection to {host} failed: {}", chain(error))
        };
        Failure::Transient { reason }
    }
}

/// The causes of an error, without the address (the error's own text).
fn chain(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(printable(&error.to_string()).into_owned());
        cause = error.source();
    }
    // The last is the one that says why.
    causes.pop().unwrap_or_else(|| "unknown cause".to_owned())
}
