//! Settings common to all HTTP clients.
//!
//! A client connects to one server. The caller sets its timeouts, the
//! authorities it trusts besides the system's, and its certificate.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, redirect, retry};

use crate::tls::{self, Identity};

/// Builder of a client with reqwest's defaults and this process' cryptography
/// provider, without which reqwest can't build one.
pub fn plain() -> ClientBuilder {
    tls::install_crypto();
    Client::builder()
}

const USER_AGENT: &str = concat!("watchtower/", env!("CARGO_PKG_VERSION"));

/// Builder of a client that follows no redirect and repeats no request.
#[derive(Debug)]
#[must_use]
pub struct HttpClientBuilder(ClientBuilder);

impl HttpClientBuilder {
    /// Client of a server on this machine (`loopback`: proxies are bypassed) or
    /// elsewhere. `timeout` bounds a whole exchange, with the body of the
    /// response.
    pub fn new(loopback: bool, timeout: Duration) -> Self {
        let builder = plain()
            .user_agent(USER_AGENT)
            // A redirect could send the body and the token to another server.
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .timeout(timeout);
        Self(if loopback {
            builder.no_proxy()
        } else {
            builder
        })
    }

    /// Time limit for connecting alone, TLS included.
    pub fn connect_timeout(self, limit: Duration) -> Self {
        Self(self.0.connect_timeout(limit))
    }

    /// Resolves names of hosts by this alone. A proxy resolves by itself.
    pub fn resolver(self, resolver: impl reqwest::dns::Resolve + 'static) -> Self {
        Self(self.0.dns_resolver(resolver))
    }

    /// Trusts the authorities of a PEM file besides the system's. An error
    /// names the file.
    pub fn trust(self, file: &Path) -> Result<Self, String> {
        let pem =
            std::fs::read(file).map_err(|error| format!("ca_file {}: {error}", file.display()))?;
        let found = Certificate::from_pem_bundle(&pem).ok();
        let found = found.filter(|found| !found.is_empty());
        let found =
            found.ok_or_else(|| format!("ca_file {}: holds no PEM certificate", file.display()))?;
        Ok(Self(self.0.tls_certs_merge(found)))
    }

    /// Presents a client certificate to servers that request one.
    pub fn identify(self, identity: &Identity) -> Result<Self, reqwest::Error> {
        let identity = reqwest::Identity::from_pem(identity.pem())?;
        Ok(Self(self.0.identity(identity)))
    }

    pub fn build(self) -> Result<Client, reqwest::Error> {
        self.0.build()
    }
}

/// Innermost cause of an error, without the number that it has in the operating
/// system. The error's own text repeats the URL with its query. Text of the
/// server in it is not sanitised.
pub fn innermost_cause(error: &reqwest::Error) -> Option<String> {
    let mut cause = error.source()?;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = cause.to_string();
    let end = text.find(" (os error ").unwrap_or(text.len());
    Some(text[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[test]
    fn file_without_certificates_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        let trusting = |file: &Path| HttpClientBuilder::new(true, TIMEOUT).trust(file);
        let missing = trusting(&file).expect_err("missing");
        assert!(missing.contains("ca.pem"), "{missing}");
        std::fs::write(&file, "no certificate").expect("written");
        let empty = trusting(&file).expect_err("empty");
        assert!(empty.ends_with("holds no PEM certificate"), "{empty}");
    }

    #[tokio::test]
    async fn redirects_are_not_followed_and_the_user_agent_is_set() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a client");
            let mut request = [0; 4096];
            let read = socket.read(&mut request).expect("a request");
            let answer = b"HTTP/1.1 302 Found\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n";
            socket.write_all(answer).expect("written");
            String::from_utf8_lossy(&request[..read]).to_lowercase()
        });
        let client = HttpClientBuilder::new(true, TIMEOUT).build();
        let response = client.expect("a client").get(format!("http://{address}/"));
        let status = response.send().await.expect("an answer").status();
        assert_eq!(status.as_u16(), 302);
        let request = serving.join().expect("served");
        assert!(request.contains("user-agent: watchtower/"), "{request}");
    }

    #[tokio::test]
    async fn the_innermost_cause_has_no_url() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let client = HttpClientBuilder::new(true, TIMEOUT).build();
        let request = client.expect("a client");
        let sent = request.get(format!("http://{address}/?k3y")).send().await;
        let cause = innermost_cause(&sent.expect_err("nobody listens")).expect("a cause");
        assert!(!cause.contains("k3y"), "{cause}");
        assert_eq!(cause, "Connection refused");
    }
}
