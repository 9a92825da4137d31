//! Well-behaved publisher beside a misbehaving one: it counts the units sent,
//! and a subscriber those received.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use watchtower::media::MediaUnit;
use watchtower::media::hub::{Received, Subscriber};

use super::rtmp_client::{AUDIO, RtmpClient, VIDEO};
use super::{KEY, RtmpServer};

/// x264's parameter sets for 640x360, Baseline.
pub const AVC_RECORD: &[u8] = &[
    0x01, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0x00, 0x19, 0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x2f,
    0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x3c, 0x0f, 0x16, 0x2e,
    0x48, 0x01, 0x00, 0x05, 0x68, 0xcb, 0x83, 0xcb, 0x20,
];

/// FLV tag body of an H.264 configuration.
pub fn video_config() -> Vec<u8> {
    let mut body = vec![0x17, 0, 0, 0, 0];
    body.extend(AVC_RECORD);
    body
}

/// FLV tag body of a picture whose single NAL unit ends in `mark`.
pub fn picture(keyframe: bool, mark: u32) -> Vec<u8> {
    let (first, nal) = if keyframe { (0x17, 0x65) } else { (0x27, 0x41) };
    let mut body = vec![first, 1, 0, 0, 0];
    body.extend(5_u32.to_be_bytes());
    body.push(nal);
    body.extend(mark.to_be_bytes());
    body
}

/// FLV tag body of AAC LC's configuration, 44.1 kHz stereo.
pub const AUDIO_CONFIG: &[u8] = &[0xaf, 0, 0x12, 0x10];

pub fn audio(mark: u32) -> Vec<u8> {
    let mut body = vec![0xaf, 1];
    body.extend(mark.to_be_bytes());
    body
}

/// Mark at the end of a unit built above.
pub fn mark(unit: &MediaUnit) -> u32 {
    let bytes = match unit {
        MediaUnit::Video(unit) => &unit.data,
        MediaUnit::Audio(unit) => &unit.data,
    };
    let mark = bytes.last_chunk().expect("four bytes at the end");
    u32::from_be_bytes(*mark)
}

/// Publisher that runs until stopped.
pub struct Healthy {
    stop: oneshot::Sender<()>,
    publishing: JoinHandle<u32>,
    receiving: JoinHandle<Vec<u32>>,
}

impl Healthy {
    /// Starts at once, with 100 pictures and 100 audio frames a second.
    pub async fn start(server: &RtmpServer, name: &str) -> Self {
        let client = RtmpClient::publish(server.address, &format!("live/{name}"), KEY)
            .await
            .expect("a healthy publisher is accepted");
        let subscriber = server.subscribe(name).await;
        let (stop, stopped) = oneshot::channel();
        Self {
            stop,
            publishing: tokio::spawn(publish(client, stopped)),
            receiving: tokio::spawn(receive(subscriber)),
        }
    }

    /// Stops, and fails unless every unit arrived, in order.
    pub async fn lost_nothing(self) {
        // Some more units after the test's action.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let _ = self.stop.send(());
        let sent = self.publishing.await.expect("the publisher is well");
        let received = self.receiving.await.expect("the subscriber is well");
        assert!(sent > 0);
        // The first picture may continue in the next tag and waits for it;
        // audio doesn't, so its first frame is gone before a subscriber can
        // start.
        for (kind, first) in [("pictures", 0), ("sounds", 3)] {
            let of_kind = |number: &u32| number % 2 == first % 2;
            let received: Vec<u32> = received.iter().copied().filter(of_kind).collect();
            let expected: Vec<u32> = (first..sent).step_by(2).collect();
            assert_eq!(received, expected, "{kind}\n{}", super::log::text());
        }
    }
}

async fn publish(mut client: RtmpClient, mut stopped: oneshot::Receiver<()>) -> u32 {
    let sent: Result<u32, std::io::Error> = async {
        client.message(4, VIDEO, 0, &video_config()).await?;
        client.message(5, AUDIO, 0, AUDIO_CONFIG).await?;
        let mut count = 0;
        loop {
            let time = count / 2 * 10;
            if count % 2 == 0 {
                let picture = picture(count % 100 == 0, count);
                client.message(4, VIDEO, time, &picture).await?;
            } else {
                client.message(5, AUDIO, time, &audio(count)).await?;
            }
            count += 1;
            if count % 2 == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            if stopped.try_recv().is_ok() {
                return Ok(count);
            }
        }
    }
    .await;
    sent.unwrap_or_else(|error| {
        panic!(
            "the healthy publisher failed: {error}\n{}",
            super::log::text()
        )
    })
}

async fn receive(mut subscriber: Subscriber) -> Vec<u32> {
    let mut marks = Vec::new();
    while let Some(received) = subscriber.recv().await {
        match received {
            Received::Unit(unit) => marks.push(mark(&unit)),
            other => panic!("{other:?} in a stream that is healthy"),
        }
    }
    marks
}
