//! RTMP ingest from the outside: a server in this process, real encoders, and
//! what ought not to be sent.

mod common;

use common::encoder::Encoder;
use common::{RtmpServer, take};
use watchtower::media::MediaUnit;

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_publishes() {
    let server = RtmpServer::start().await;
    let mut encoder = Encoder::ffmpeg(&server.url("ffmpeg"), &[]);
    let mut subscriber = server.subscribe("ffmpeg").await;
    let units = take(&mut subscriber, 100).await;
    let video: Vec<_> = units
        .iter()
        .filter_map(|unit| match unit {
            MediaUnit::Video(unit) => Some(unit),
            MediaUnit::Audio(_) => None,
        })
        .collect();
    assert!(video[0].keyframe);
    assert_eq!((video[0].config.width, video[0].config.height), (320, 240));
    assert!(video.windows(2).all(|pair| pair[0].dts <= pair[1].dts));
    assert!(units.len() - video.len() > 20, "audio too");
    encoder.kill();
    server.ended("ffmpeg").await;
}
