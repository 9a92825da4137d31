//! Invalid input from untrusted peers and misbehaving viewers: a regular viewer
//! is not affected.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use crate::common::chromium::Chromium;
use crate::whep::Stretch;
use crate::whep::clip::{Playing, Recipe};
use crate::whep::refusals::OFFER;
use crate::whep::relay::{Relay, TcpRelay, is_dtls};
use crate::whep::server::WhepServer;

async fn start(max_viewers: usize) -> (WhepServer, Playing) {
    let server = WhepServer::start(max_viewers).await;
    let clip = Arc::new(Recipe::default().make());
    let playing = clip.play(&server.hub, &server.renditions, "team");
    (server, playing)
}

/// Viewer that has its picture; `change` as in page.html.
async fn viewer(server: &WhepServer, change: &str) -> Chromium {
    let browser = Chromium::start().await;
    browser.open(&format!("http://{}/", server.http)).await;
    browser.run(&format!("watch('team', '{change}')")).await;
    browser
        .until(15, "decoded frames", |seen| {
            seen.video("framesDecoded") > 30.0
        })
        .await;
    browser
}

/// Asserts full rate without a freeze for some seconds of the action. A browser
/// on a busy machine may stall by itself, so it is repeated until there was no
/// freeze: a real effect would show each time.
async fn plays_on(browser: &Chromium, during: impl AsyncFn()) {
    let mut rounds = Vec::new();
    for _ in 0..6 {
        let first = browser.look().await;
        during().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let second = browser.look().await;
        assert_eq!(second.0["state"], "connected");
        let stretch = Stretch::between(&first, &second);
        if stretch.is_at_full_rate() {
            return;
        }
        rounds.push(stretch);
    }
    panic!("{rounds:#?}");
}

/// First byte of STUN (RFC 7983, section 7).
fn is_stun(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(0..=3))
}

fn is_rtp(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(128..=191))
}

/// Datagrams received on a socket until then.
async fn received(socket: &UdpSocket, until: Instant) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    let mut buffer = [0; 2048];
    while let Ok(length) = timeout_at(until, socket.recv(&mut buffer)).await {
        datagrams.push(buffer[..length.expect("loopback")].to_vec());
    }
    datagrams
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_and_replayed_datagrams_move_nothing() {
    let (server, _playing) = start(10).await;
    let relay = Relay::start(server.media).await;
    let browser = viewer(&server, &relay.address.port().to_string()).await;
    // A check, the handshake and a first report have to have come by.
    let kinds = [is_stun, is_dtls, is_rtp];
    let deadline = Instant::now() + Duration::from_secs(15);
    let datagrams = loop {
        let datagrams = relay.sent_by_viewer();
        if kinds.iter().all(|is| datagrams.iter().any(|d| is(d))) {
            break datagrams;
        }
        assert!(Instant::now() < deadline, "the viewer said too little");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let checks: Vec<_> = datagrams
        .iter()
        .filter(|datagram| is_stun(datagram))
        .collect();

    // The right user fragment, a wrong integrity, from another address. The
    // integrity ends before the 8 bytes of the fingerprint (RFC 8489, section
    // 14).
    let forger = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
    plays_on(&browser, async || {
        for check in &checks {
            let mut forged = check.to_vec();
            let at = forged.len() - 8 - 10;
            forged[at] ^= 0x55;
            forger
                .send_to(&forged, server.media)
                .await
                .expect("loopback");
        }
        let soon = Instant::now() + Duration::from_secs(1);
        let got = received(&forger, soon).await;
        assert!(got.is_empty(), "a forger got {} answers", got.len());
    })
    .await;

    // Everything that the viewer ever sent, replayed from another address. Only
    // authentic checks are answered.
    let parrot = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
    plays_on(&browser, async || {
        for datagram in &datagrams {
            parrot
                .send_to(datagram, server.media)
                .await
                .expect("loopback");
        }
        let soon = Instant::now() + Duration::from_secs(2);
        let got = received(&parrot, soon).await;
        let media = got.iter().filter(|datagram| !is_stun(datagram)).count();
        assert_eq!(media, 0, "a parrot got {media} of {} datagrams", got.len());
    })
    .await;

    // The same from the viewer's own address, and random bytes of every kind.
    plays_on(&browser, async || {
        for datagram in &datagrams {
            relay.inject(datagram).await;
        }
        for nth in 0..=255_u8 {
            for first in [0, 20, 22, 23, 63, 0x80, 0x81, 0xbf, 0xff] {
                let datagram: Vec<u8> = (0..nth).map(|n| n.wrapping_mul(31) ^ nth).collect();
                relay
                    .inject(&[&[first, 200 + nth % 8][..], &datagram].concat())
                    .await;
            }
        }
    })
    .await;
    assert_eq!(server.metric("watchtower_viewers"), 1.0);
    browser.close().await;
}

async fn post(server: &WhepServer) -> u16 {
    let client = watchtower::base::http_client::plain()
        .no_proxy()
        .build()
        .expect("a client");
    let request = client
        .post(format!("http://{}/whep/team", server.http))
        .header("content-type", "application/sdp");
    let answer = request.body(OFFER).send().await.expect("an answer");
    answer.status().as_u16()
}

/// ICE continues, DTLS stops in the middle of the handshake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_never_completes_gives_its_place_back() {
    let (server, _playing) = start(1).await;
    let relay = Relay::start(server.media).await;
    relay.dtls_left(1);
    let browser = Chromium::start().await;
    browser.open(&format!("http://{}/", server.http)).await;
    let began = Instant::now();
    browser
        .run(&format!("watch('team', {})", relay.address.port()))
        .await;
    assert_eq!(post(&server).await, 503);
    let status = loop {
        let status = post(&server).await;
        if status != 503 || began.elapsed() > Duration::from_secs(60) {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    };
    assert_eq!(status, 201);
    let took = began.elapsed();
    assert!(took > Duration::from_secs(10), "after {took:?}");
    let dtls = relay.sent_by_viewer().iter().filter(|d| is_dtls(d)).count();
    assert!(dtls > 1, "it had begun and went on trying");
    assert_eq!(server.metric("watchtower_viewers"), 0.0);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_stops_reading_tcp_holds_up_no_other() {
    let (server, _playing) = start(10).await;
    let relay = TcpRelay::start(server.media).await;
    let slow = viewer(&server, &format!("tcp {}", relay.port)).await;
    let other = viewer(&server, "").await;
    let skipped = "watchtower_dropped_total{where=\"viewer\"}";
    plays_on(&other, async || {
        // Left from an earlier round: it must be blocked until it is dropped.
        relay.stall(false);
        let before = slow.look().await.video("framesDecoded");
        slow.until(20, "picture", |seen| seen.video("framesDecoded") > before)
            .await;
        relay.stall(true);
        let before = server.metric(skipped);
        // At most half a megabyte is queued for it: 3 s of this clip.
        for _ in 0..300 {
            if server.metric(skipped) > before {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("nothing was skipped for the slow one");
    })
    .await;
    // It reads again, and is back at the live edge.
    relay.stall(false);
    let before = slow.look().await.video("framesDecoded");
    slow.until(20, "picture after the stall", |seen| {
        seen.video("framesDecoded") > before + 60.0
    })
    .await;
    slow.close().await;
    other.close().await;
}

/// Detected after 8 s of silence; webrtc itself would wait for 16.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_vanishes_is_removed_soon() {
    let (server, _playing) = start(10).await;
    let relay = Relay::start(server.media).await;
    let browser = viewer(&server, &relay.address.port().to_string()).await;
    assert_eq!(server.metric("watchtower_viewers"), 1.0);
    relay.cut();
    server.wait_for("watchtower_viewers", 0.0, 15).await;
    browser.close().await;
}

/// Closed by DTLS (close_notify), without a WHEP request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_closes_the_connection_is_removed_at_once() {
    let (server, _playing) = start(10).await;
    let browser = viewer(&server, "").await;
    assert_eq!(server.metric("watchtower_viewers"), 1.0);
    browser.run("connection.close()").await;
    // The idle timeout alone would take 8 s.
    server.wait_for("watchtower_viewers", 0.0, 6).await;
    browser.close().await;
}
