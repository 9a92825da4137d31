#![expect(clippy::unwrap_used, reason = "a test may panic")]
//! TLS in both directions, against the real binary: ffmpeg over RTMPS, reqwest
//! and Chromium over HTTPS, with a CA of the test's own.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::common::PATIENCE;
use crate::common::chromium::Chromium;
use crate::common::encoder::Encoder;
use crate::common::rtmp_client::closed;
use crate::common::serve::{Setup, TestServer, command};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::tls::TlsInfo;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

const KEY: &str = "k3y-of-tests";

/// Certificate authority of the test.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// Certificate for `localhost`, in a folder.
struct Issued {
    der: Vec<u8>,
    /// SHA-256 of its public key, in Chromium's format.
    key_hash: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Writes `fullchain.pem` and `privkey.pem`.
    fn issue(&self, folder: &Path, days: i64) -> Issued {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(days * 24);
        let end = end.to_zoned(jiff::tz::TimeZone::UTC);
        params.not_after = rcgen::date_time_ymd(
            end.year().into(),
            end.month().unsigned_abs(),
            end.day().unsigned_abs(),
        );
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        fs::write(folder.join("fullchain.pem"), certificate.pem()).unwrap();
        fs::write(folder.join("privkey.pem"), key.serialize_pem()).unwrap();
        let key_hash = Sha256::digest(rcgen::PublicKeyData::subject_public_key_info(&key));
        Issued {
            der: certificate.der().to_vec(),
            key_hash: BASE64_STANDARD.encode(key_hash),
        }
    }

    fn file(&self, folder: &Path) -> PathBuf {
        let file = folder.join("authority.pem");
        fs::write(&file, self.0.pem()).unwrap();
        file
    }

    /// HTTP client that trusts this CA alone, with a connection of its own.
    fn client(&self) -> reqwest::Client {
        let root = reqwest::Certificate::from_pem(self.0.pem().as_bytes()).unwrap();
        watchtower::base::http_client::plain()
            .no_proxy()
            .tls_certs_only([root])
            .tls_info(true)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap()
    }
}

/// Timeout on a busy machine, far below the deadline of [`SETTINGS`].
const AT_ONCE: Duration = Duration::from_secs(5);
const SETTINGS: &str = r#"
[tls]
certificate = "fullchain.pem"
key = "privkey.pem"
[rtmp]
handshake_timeout = "10s"
max_connections_per_address = 20
"#;

async fn start(authority: &Authority) -> (TestServer, SocketAddr, Issued) {
    let setup = Setup::new().agents("").settings(SETTINGS);
    let issued = authority.issue(setup.folder.path(), 90);
    let setup = setup.env("WATCHTOWER_STREAM_KEY", KEY);
    let mut server = setup.args(&["--rtmps", "127.0.0.1:0"]).start().await;
    server.client = authority.client();
    let rtmps = server.address("RTMPS listening on ").await;
    (server, rtmps, issued)
}

fn rtmps_url(rtmps: SocketAddr) -> String {
    format!("rtmps://localhost:{}/live/team/{KEY}", rtmps.port())
}

async fn live(server: &TestServer) {
    server
        .until("stream team", async |server| {
            let streams = server.json("/api/streams").await;
            (streams["items"][0]["name"] == "team").then_some(())
        })
        .await;
}

async fn count(server: &TestServer, series: &str) -> f64 {
    let page = server.get("/metrics").await.text().await.unwrap();
    page.lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
        .map_or(0.0, |number| number.parse().unwrap())
}

#[tokio::test]
async fn ffmpeg_publishes_over_rtmps_to_a_trusted_server() {
    let authority = Authority::new();
    let (server, rtmps, _) = start(&authority).await;
    let folder = tempfile::tempdir().unwrap();
    let untrusted = Authority::new().file(folder.path());
    let url = rtmps_url(rtmps);
    let verify = |file: &Path| {
        let file = file.to_str().unwrap();
        Encoder::ffmpeg(&url, &["-tls_verify", "1", "-ca_file", file])
    };
    assert!(
        !verify(&untrusted).wait().await,
        "it trusts nobody it should"
    );
    let published = "RTMP publisher accepted";
    assert!(!server.output().contains(published));

    let trusted = authority.file(server.folder.path());
    let mut encoder = verify(&trusted);
    live(&server).await;
    // Media flows, more than one TLS record of it.
    server
        .until("a megabyte of media", async |server| {
            (count(server, "watchtower_rtmp_media_bytes_total").await > 200_000.0).then_some(())
        })
        .await;
    // Plain RTMP stays available in parallel.
    let plain = server.rtmp_url(&format!("live/other/{KEY}"));
    let _other = Encoder::ffmpeg(&plain, &[]);
    server.logged("stream=other").await;
    encoder.kill();
    server.logged("RTMP connection closed").await;
    assert!(!server.output().contains(KEY));
}

#[tokio::test]
async fn https_answers_whom_it_should_and_plain_http_is_refused() {
    let authority = Authority::new();
    let (server, ..) = start(&authority).await;
    let answer = server.get("/healthz").await;
    assert_eq!(answer.text().await.unwrap(), "ok");

    let distrustful = Authority::new().client();
    let error = distrustful.get(server.http_url("/healthz")).send().await;
    assert!(error.unwrap_err().is_connect());

    let plain = format!("http://{}/healthz", server.http);
    let answer = server.client.get(plain).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let text = answer.text().await.unwrap();
    assert!(text.contains("use https://"), "{text}");

    for (scheme, status) in [("https", 200), ("http", 403)] {
        let origin = format!("{scheme}://{}", server.http);
        let request = server.client.get(server.http_url("/api/streams"));
        let answer = request.header("origin", origin).send().await.unwrap();
        assert_eq!(answer.status(), status, "{scheme}");
    }
}

/// Certificate that a new connection gets.
async fn shown(authority: &Authority, server: &TestServer) -> Vec<u8> {
    let request = authority.client().get(server.http_url("/healthz"));
    let answer = request.send().await.unwrap();
    let info = answer.extensions().get::<TlsInfo>().unwrap();
    info.peer_certificate().unwrap().to_vec()
}

#[tokio::test]
async fn new_files_are_taken_up_and_bad_ones_kept_out() {
    let authority = Authority::new();
    let setup = Setup::new().agents("");
    let folder = setup.folder.path().to_owned();
    // As certbot stores them: links into an archive.
    for name in ["first", "second", "bad"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    let first = authority.issue(&folder.join("first"), 90);
    let second = authority.issue(&folder.join("second"), 90);
    fs::write(folder.join("bad/fullchain.pem"), "not a certificate").unwrap();
    fs::write(folder.join("bad/privkey.pem"), "not a key").unwrap();
    let live_files = folder.join("live");
    symlink("first", &live_files).unwrap();
    let swap = |name: &str| {
        symlink(name, folder.join("next")).unwrap();
        fs::rename(folder.join("next"), &live_files).unwrap();
    };
    let setup =
        setup.settings("[tls]\ncertificate = \"live/fullchain.pem\"\nkey = \"live/privkey.pem\"");
    let mut server = setup.args(&["--rtmps", "127.0.0.1:0"]).start().await;
    server.client = authority.client();
    let rtmps = server.address("RTMPS listening on ").await;
    let _encoder = Encoder::ffmpeg(&rtmps_url(rtmps).replace(&format!("/{KEY}"), ""), &[]);
    live(&server).await;
    assert_eq!(shown(&authority, &server).await, first.der);

    swap("bad");
    let line = server.logged("new certificate rejected").await;
    assert!(
        line.contains("live/fullchain.pem: there is no PEM certificate"),
        "{line}"
    );
    assert_eq!(shown(&authority, &server).await, first.der);

    swap("second");
    server
        .logged("certificate reloaded: for localhost, 127.0.0.1")
        .await;
    assert_eq!(shown(&authority, &server).await, second.der);

    // The publisher is not affected.
    let before = count(&server, "watchtower_rtmp_media_bytes_total").await;
    server
        .until("more media", async |server| {
            let now = count(server, "watchtower_rtmp_media_bytes_total").await;
            (now > before).then_some(())
        })
        .await;
    assert!(!server.output().contains("RTMP connection closed"));
}

#[tokio::test]
async fn what_is_no_tls_is_closed_in_time_and_logged_sparingly() {
    let authority = Authority::new();
    let (server, rtmps, _) = start(&authority).await;
    let plain_rtmp = [&[3][..], &[7; 1536]].concat();
    let broken = [&[22, 3, 1, 2, 0][..], &[0xaa; 600]].concat();
    // A ClientHello that would be 16 MB, in endless records.
    let endless = [&[22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff][..], &[0; 20_000]].concat();
    for (name, bytes) in [
        ("RTMP", &plain_rtmp),
        ("broken", &broken),
        ("endless", &endless),
    ] {
        let mut socket = TcpStream::connect(rtmps).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let took = closed(&mut socket).await;
        assert!(took < AT_ONCE, "{name} took {took:?}");
    }
    server
        .logged("not a TLS client; this address takes rtmps:// only")
        .await;

    // A silent connection is closed at the deadline and holds a slot until
    // then; without a free slot a connection is closed at once.
    let mut silent = Vec::new();
    for _ in 0..30 {
        let mut socket = TcpStream::connect(rtmps).await.unwrap();
        silent.push(tokio::spawn(async move { closed(&mut socket).await }));
    }
    let mut took = Vec::new();
    for socket in silent {
        took.push(socket.await.unwrap());
    }
    let turned = took.iter().filter(|took| **took < AT_ONCE);
    assert!((10..=13).contains(&turned.count()), "{took:?}");
    let late = AT_ONCE..Duration::from_secs(60);
    let late = took.iter().filter(|took| late.contains(*took));
    assert!((17..=20).contains(&late.count()), "{took:?}");

    // A flood at both ports.
    for address in [rtmps, server.http] {
        for _ in 0..300 {
            let mut socket = TcpStream::connect(address).await.unwrap();
            let _ = socket.write_all(&broken).await;
            closed(&mut socket).await;
        }
    }
    let lines = server.output();
    let lines = |text: &str| {
        lines
            .lines()
            .filter(|line| line.contains(text))
            .collect::<Vec<_>>()
    };
    let seconds = |lines: &[&str]| {
        // To the second: 2026-11-23T03:38:56
        let second = |line: &&str| line[..19].to_owned();
        lines.iter().map(second).collect::<HashSet<_>>().len()
    };
    let at_rtmps = lines("the TLS handshake failed");
    let logged_lines = lines("HTTPS connection closed");
    assert!(!logged_lines.is_empty());
    assert!(
        logged_lines.len() <= seconds(&logged_lines) + 1,
        "{logged_lines:#?}"
    );
    // Five in full, then one that counts the others.
    let at_rtmps: Vec<_> = at_rtmps
        .into_iter()
        .filter(|line| !line.contains("HTTPS"))
        .collect();
    assert!(
        at_rtmps.len() <= 6 * (seconds(&at_rtmps) + 1),
        "{at_rtmps:#?}"
    );
    assert_eq!(server.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn chromium_watches_over_https_what_came_in_over_rtmps() {
    const TOKEN: &str = "t0ken-5e6f7a8b";
    let authority = Authority::new();
    let setup = Setup::new().agents("").settings(SETTINGS);
    let issued = authority.issue(setup.folder.path(), 90);
    let setup = setup.env("WATCHTOWER_CONSOLE_TOKEN", TOKEN);
    let mut server = setup.args(&["--rtmps", "127.0.0.1:0"]).start().await;
    server.client = authority.client();
    let rtmps = server.address("RTMPS listening on ").await;
    let url = format!("rtmps://localhost:{}/live/team", rtmps.port());
    let _encoder = Encoder::ffmpeg(&url, &["-bf", "0"]);
    server.logged("RTMP publisher accepted").await;

    // Trusts this key besides the usual authorities.
    let flag = format!("--ignore-certificate-errors-spki-list={}", issued.key_hash);
    let browser = Chromium::with(&[&flag]).await;
    let page = format!("https://localhost:{}/", server.http.port());
    browser.open(&page).await;
    let sign_in =
        format!("(document.querySelector('#token').value = '{TOKEN}', document.forms[0].submit())");
    browser.run(&sign_in).await;
    let plays = "document.querySelector('video')?.videoWidth === 320";
    browser.until_true(20, plays).await;
    let goes_on = "document.querySelector('video').currentTime > 1";
    browser.until_true(20, goes_on).await;
    assert_eq!(browser.run("window.isSecureContext").await, true);
    browser.close().await;

    let form = server.client.post(server.http_url("/login"));
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    let answer = form.body(format!("token={TOKEN}")).send().await.unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.ends_with("; Secure"), "{cookie}");
}

#[tokio::test]
async fn invalid_settings_are_reported_at_the_start() {
    let files = "[tls]\ncertificate = \"fullchain.pem\"\nkey = \"privkey.pem\"";
    let half = "[tls]\ncertificate = \"fullchain.pem\"";
    let cases = [
        ("", "--rtmps 127.0.0.1:0 needs a certificate"),
        (half, "tls.key: is missing: the certificate needs its key"),
        (
            files,
            "tls.certificate fullchain.pem: there is no such file",
        ),
    ];
    for (settings, expected) in cases {
        let setup = Setup::new().agents("").settings(settings);
        let (status, text) = setup.args(&["--rtmps", "127.0.0.1:0"]).fail().await;
        assert_eq!(status.code(), Some(1), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn check_reports_how_long_the_certificate_is_valid() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("agents.toml"), "").unwrap();
    fs::write(path.join("watchtower.toml"), SETTINGS).unwrap();
    for (days, verdict) in [(90, "ok"), (9, "warn"), (-3, "ERROR")] {
        authority.issue(path, days);
        let mut check = command("check", path);
        let output = tokio::time::timeout(PATIENCE, check.output()).await;
        let output = output.unwrap().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let row = text.lines().find(|line| line.starts_with("certificate"));
        let row = row.unwrap_or_else(|| panic!("{text}"));
        assert!(row.contains(&format!(" {verdict} ")), "{row}");
        assert!(row.contains("for localhost, 127.0.0.1, "), "{row}");
        assert_eq!(output.status.success(), verdict != "ERROR", "{text}");
        println!("{row}");
    }
}
