//! Reachability of the server: candidates of the answer, and IPv6.

use std::sync::Arc;

use crate::common::chromium::Chromium;
use crate::whep::clip::Recipe;
use crate::whep::refusals::OFFER;
use crate::whep::server::WhepServer;

/// Addresses in the answer's candidates, for a remote viewer.
async fn candidates(public: Option<&str>) -> Vec<String> {
    offered(&WhepServer::on("0.0.0.0:0", public, 10).await).await
}

async fn offered(server: &WhepServer) -> Vec<String> {
    let recipe = Recipe {
        size: "320x180",
        seconds: 2,
        ..Recipe::default()
    };
    let _playing = Arc::new(recipe.make()).play(&server.hub, &server.renditions, "team");
    let client = watchtower::base::http_client::plain()
        .no_proxy()
        .build()
        .expect("a client");
    let request = client
        .post(format!("http://127.0.0.1:{}/whep/team", server.http.port()))
        .header("content-type", "application/sdp")
        .header("host", "tower.example");
    let answer = request.body(OFFER).send().await.expect("an answer");
    assert_eq!(answer.status(), 201);
    let sdp = answer.text().await.expect("text");
    let port = server.media.port().to_string();
    let mut addresses = Vec::new();
    for line in sdp.lines().filter(|line| line.starts_with("a=candidate:")) {
        let words: Vec<_> = line.split(' ').collect();
        assert_eq!(words[5], port, "{line}");
        addresses.push(words[4].to_owned());
    }
    addresses
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_address_comes_first_in_the_answer() {
    let own = candidates(None).await;
    assert!(!own.contains(&"192.0.2.7".to_owned()));
    let by_address = candidates(Some("192.0.2.7")).await;
    assert_eq!(by_address[0], "192.0.2.7");
    assert!(own.iter().all(|own| by_address.contains(own)));
}

/// A host name resolves to those of its addresses that the socket's family can
/// reach.
#[tokio::test(flavor = "multi_thread")]
async fn a_public_name_stands_for_the_addresses_that_can_be_reached() {
    let server = WhepServer::on("127.0.0.1:0", Some("localhost"), 10).await;
    let by_name = offered(&server).await;
    assert_eq!(by_name[0], "127.0.0.1");
    assert!(
        by_name.iter().all(|address| !address.contains(':')),
        "{by_name:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chromium_plays_over_ipv6() {
    let server = WhepServer::on("[::1]:0", None, 10).await;
    let clip = Arc::new(Recipe::default().make());
    let _playing = clip.play(&server.hub, &server.renditions, "team");
    let browser = Chromium::start().await;
    browser.open(&format!("http://{}/", server.http)).await;
    browser.run("watch('team')").await;
    browser
        .until(10, "decoded frames over IPv6", |seen| {
            seen.video("framesDecoded") > 60.0
        })
        .await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_families_are_offered_and_served_by_one_socket() {
    let server = WhepServer::on("0.0.0.0:0", None, 10).await;
    let clip = Arc::new(Recipe::default().make());
    let _playing = clip.play(&server.hub, &server.renditions, "team");
    let browser = Chromium::start().await;
    let port = server.http.port();
    browser.open(&format!("http://127.0.0.1:{port}/")).await;
    browser.run("watch('team', 'ipv4')").await;
    browser
        .until(10, "decoded frames over IPv4", |seen| {
            seen.video("framesDecoded") > 60.0
        })
        .await;
    let answer = browser.run("connection.remoteDescription.sdp").await;
    assert!(
        answer.as_str().expect("text").contains(" 127.0.0.1 "),
        "{answer}"
    );
    browser.run("watch('team', 'ipv6')").await;
    let answer = browser.run("connection.remoteDescription.sdp").await;
    assert!(answer.as_str().expect("text").contains(" ::1 "), "{answer}");
    browser
        .until(10, "decoded frames", |seen| {
            seen.video("framesDecoded") > 60.0
        })
        .await;
    browser.close().await;
}
