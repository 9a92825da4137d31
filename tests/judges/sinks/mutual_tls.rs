//! Receivers that require a client certificate.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio_rustls::server::TlsStream;
use watchtower::app::config::Settings;
use watchtower::sinks;

use crate::sinks::fake::{Fake, reply};
use crate::sinks::harness::{SinkHarness, TOKEN, numbered, settings};
use crate::sinks::nats::{free_port, started};
use crate::sinks::syslog::certificates;

/// TLS acceptor that requires client certificates of its CA.
fn acceptor(folder: &Path, version: &'static SupportedProtocolVersion) -> TlsAcceptor {
    let read = |name: &str| CertificateDer::from_pem_file(folder.join(name)).unwrap();
    let provider = watchtower::base::tls::crypto();
    let mut roots = RootCertStore::empty();
    roots.add(read("ca.pem")).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![read("cert.pem")], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Client certificate and key for a sink's settings.
fn pair(folder: &Path) -> String {
    let dir = folder.display();
    format!("client_certificate = '{dir}/client.pem'\nclient_key = '{dir}/client-key.pem'")
}

async fn rejected_then_accepted(version: &'static SupportedProtocolVersion, reason: &str) {
    let folder = tempfile::tempdir().unwrap();
    let ca = certificates(folder.path(), "localhost");
    let acceptor = acceptor(folder.path(), version);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let lines = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&lines);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let lines = Arc::clone(&theirs);
            tokio::spawn(async move {
                let mut piece = vec![0; 8192];
                while let Ok(count @ 1..) = stream.read(&mut piece).await {
                    let ends = piece[..count].iter().filter(|byte| **byte == b'\n').count();
                    lines.fetch_add(ends, Ordering::SeqCst);
                }
            });
        }
    });
    let sink = format!(
        "[sinks.log]\nkind = 'syslog'\nframing = 'newline'\naddress = 'tls://localhost:{port}'\nca_file = '{}'",
        ca.display()
    );
    let mut harness = SinkHarness::with(&sink).await;
    for number in 0..4 {
        harness.finding(numbered(number)).await;
    }
    harness
        .until("refusals", |harness| harness.sink("log").failed >= 2)
        .await;
    let row = harness.sink("log");
    assert_eq!((row.delivered, row.told), (0, 0), "{row:?}");
    assert!(
        row.state.starts_with("retrying: ") && row.state.contains(reason),
        "{}",
        row.state
    );
    assert_eq!(lines.load(Ordering::SeqCst), 0);
    harness.stop().await;
    harness
        .start(&format!("{sink}\n{}", pair(folder.path())))
        .await;
    harness.caught_up("log").await;
    assert_eq!(harness.sink("log").delivered, 4);
    assert_eq!(lines.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn without_a_certificate_nothing_is_delivered_and_an_error_reported() {
    tokio::join!(
        rejected_then_accepted(
            &TLS13,
            "client certificate required: set client_certificate and client_key"
        ),
        rejected_then_accepted(&TLS12, "TLS failed with localhost"),
    );
}

struct Guarded {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Guarded {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, from) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[tokio::test]
async fn every_http_sink_presents_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let ca = certificates(folder.path(), "localhost");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = acceptor(folder.path(), &TLS13);
    let fake = Fake::on(Guarded { listener, acceptor }, address, |_| {
        reply(200, json!({ "took": 1, "errors": false }))
    });
    let kinds = [
        "splunk_hec",
        "elasticsearch",
        "otlp",
        "webhook",
        "pagerduty",
    ];
    let sinks = |pair: &str| {
        let of = |kind| {
            format!(
                "[sinks.{kind}]\nkind = '{kind}'\naddress = 'https://localhost:{}'\nca_file = '{}'\n{pair}\n",
                address.port(),
                ca.display()
            )
        };
        kinds.map(of).concat()
    };
    let mut harness = SinkHarness::with(&sinks("")).await;
    harness.finding(numbered(0)).await;
    for kind in kinds {
        harness
            .until("a refusal", |harness| harness.sink(kind).failed > 0)
            .await;
        assert_eq!(harness.sink(kind).delivered, 0, "{kind}");
    }
    assert!(fake.seen(|_| ()).is_empty());
    harness.stop().await;
    harness.start(&sinks(&pair(folder.path()))).await;
    for kind in kinds {
        harness.caught_up(kind).await;
        let sink = harness.sink(kind);
        assert_eq!((sink.delivered, sink.failed), (1, 0), "{sink:?}");
    }
    assert_eq!(fake.seen(|_| ()).len(), kinds.len());
}

#[tokio::test]
async fn nats_is_shown_the_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let ca = certificates(folder.path(), "localhost");
    let port = free_port();
    let file = folder.path().join("nats.conf");
    let dir = folder.path().display();
    std::fs::write(
        &file,
        format!(
            "tls {{ cert_file: \"{dir}/cert.pem\", key_file: \"{dir}/key.pem\", ca_file: \"{dir}/ca.pem\", verify: true }}\n"
        ),
    )
    .unwrap();
    let _server = started(folder.path(), port, &["-c", file.to_str().unwrap()]).await;
    let sink = format!(
        "[sinks.bus]\nkind = 'nats'\naddress = 'tls://localhost:{port}'\nca_file = '{}'",
        ca.display()
    );
    let mut harness = SinkHarness::with(&sink).await;
    harness.finding(numbered(0)).await;
    harness
        .until("a refusal", |harness| harness.sink("bus").failed > 0)
        .await;
    assert_eq!(harness.sink("bus").delivered, 0);
    harness.stop().await;
    harness
        .start(&format!("{sink}\n{}", pair(folder.path())))
        .await;
    harness.caught_up("bus").await;
    assert_eq!(harness.sink("bus").delivered, 1);
}

#[test]
fn a_pair_that_is_none_is_refused_at_the_start_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path(), "localhost");
    let dir = folder.path().display();
    let fault = |kind: &str, address: &str, certificate: &str, key: &str| {
        let sink = format!(
            "[sinks.it]\nkind = '{kind}'\naddress = '{address}'\nclient_certificate = '{dir}/{certificate}'\nclient_key = '{dir}/{key}'"
        );
        sinks::check(&settings(&sink)[0]).unwrap_err()
    };
    let all = [
        ("syslog", "tls://localhost:1"),
        ("webhook", "https://localhost:1"),
        ("nats", "tls://localhost:1"),
    ];
    for (kind, address) in all {
        let missing = fault(kind, address, "nowhere.pem", "client-key.pem");
        assert_eq!(
            missing,
            format!("client_certificate {dir}/nowhere.pem: there is no such file")
        );
        let other = fault(kind, address, "client.pem", "key.pem");
        assert_eq!(
            other,
            format!("client_key {dir}/key.pem: is not the key of {dir}/client.pem")
        );
        assert!(!other.contains(TOKEN));
    }
    let plain = fault(
        "webhook",
        "http://localhost:1",
        "client.pem",
        "client-key.pem",
    );
    assert!(plain.contains("https://"), "{plain}");
    let plain = fault(
        "syslog",
        "tcp://localhost:1",
        "client.pem",
        "client-key.pem",
    );
    assert!(plain.contains("tls://"), "{plain}");
    let half = "[sinks.it]\nkind = 'webhook'\nclient_key = 'key.pem'";
    let half = Settings::parse(half, "watchtower.toml").unwrap_err();
    assert!(half.to_string().contains("client_certificate"), "{half}");
}
