//! Independent implementation of SRTP as the viewer: verifies that the fan-out
//! uses the keys of the DTLS handshake, and that its packets are complete.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::process::Command;
use watchtower::base::stream_name::StreamName;
use watchtower::media::hub::renditions::OpusPacket;
use watchtower::media::{AudioCodec, AudioUnit, MediaUnit};

use crate::whep::clip::Recipe;
use crate::whep::server::WhepServer;

fn sha256(packet: &Bytes) -> String {
    format!("{:x}", Sha256::digest(packet))
}

/// Python with aiortc: Debian's own, or the first found.
pub(crate) async fn python() -> &'static str {
    for python in ["python3", "/usr/bin/python3"] {
        let probe = Command::new(python)
            .args(["-c", "import aiortc"])
            .stderr(Stdio::null())
            .status();
        if probe.await.is_ok_and(|status| status.success()) {
            return python;
        }
    }
    panic!("aiortc is missing: scripts/setup.sh --tests installs it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_independent_client_decrypts_and_decodes() {
    let server = WhepServer::start(10).await;
    let recipe = Recipe {
        size: "640x360",
        bitrate: "500k",
        ..Recipe::default()
    };
    let clip = Arc::new(recipe.make());
    // With the sound as the publisher's own.
    let publisher = server.hub.publish(&StreamName::new("team").expect("valid"));
    let _playing = clip.run(publisher, |publisher, OpusPacket { pts, packet }| {
        // Another publisher ends the pictures, too.
        let _ = publisher.push(MediaUnit::Audio(AudioUnit {
            pts,
            codec: AudioCodec::Opus,
            config: Bytes::new(),
            data: packet,
        }));
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let output = Command::new(python().await)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/browser/whep/independent.py"
        ))
        .arg(format!("http://{}/whep/team", server.http))
        .arg("60")
        .kill_on_drop(true)
        .output()
        .await
        .expect("Python runs");
    assert!(output.status.success(), "{output:?}");
    let seen: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let payloads = seen["payloads"].as_array().expect("hashes");
    println!("{} packets of sound", payloads.len());
    let count = |what: &str| seen[what].as_u64().expect("a count");
    assert!(count("video") > 90, "{seen}");
    assert_eq!(count("width"), 640);
    assert!(count("audio") > 120, "{seen}");
    assert!(count("loudest") > 500, "{seen}");
    // The publisher's Opus as it was sent, without a gap.
    let sent: Vec<String> = clip.opus.iter().map(sha256).collect();
    let first = sent.iter().position(|hash| payloads[0] == hash.as_str());
    let first = first.expect("a packet that was sent");
    for (nth, seen) in payloads.iter().enumerate() {
        assert_eq!(*seen, sent[(first + nth) % sent.len()], "{nth}");
    }
    // It leaves without a WHEP request.
    server.wait_for("watchtower_viewers", 0.0, 10).await;
}
