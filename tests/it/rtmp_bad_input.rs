//! Bad input to an RTMP port, each with a regular publisher in parallel that
//! loses no frame.

use std::time::Duration;

use crate::common::healthy::{AUDIO_CONFIG, Healthy, audio, mark, picture, video_config};
use crate::common::rtmp_client::{
    AUDIO, DATA, RtmpClient, SET_CHUNK_SIZE, VIDEO, chunks, closed, header,
};
use crate::common::{KEY, RtmpServer, log, take};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use watchtower::ingest::amf;
use watchtower::ingest::amf::Value;
use watchtower::media::{MediaTime, MediaUnit};

const NAME: &str = "healthy";

async fn start() -> (RtmpServer, Healthy) {
    let server = RtmpServer::start().await;
    let healthy = Healthy::start(&server, NAME).await;
    (server, healthy)
}

/// Ends every test: the other publisher is unaffected, and nothing panicked.
async fn unharmed(server: &RtmpServer, healthy: Healthy) {
    healthy.lost_nothing().await;
    assert!(server.metric("watchtower_rtmp_connections_total{end=\"panic\"}") < 1.0);
    assert_eq!(log::lines_with(&["panicked"]), Vec::<String>::new());
    assert_eq!(log::lines_with(&[KEY]), Vec::<String>::new());
}

/// Sends these as the first bytes of a connection; the server closes it.
async fn send_bytes(server: &RtmpServer, bytes: &[u8]) {
    let mut socket = TcpStream::connect(server.address).await.expect("accepted");
    let _ = socket.write_all(bytes).await;
    closed(&mut socket).await;
}

async fn publisher(server: &RtmpServer, name: &str) -> RtmpClient {
    RtmpClient::publish(server.address, &format!("live/{name}"), KEY)
        .await
        .expect("accepted")
}

/// xorshift64: random enough, and reproducible.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test]
async fn random_bytes() {
    let (server, healthy) = start().await;
    for seed in 1..40 {
        send_bytes(&server, &noise(seed, 5000)).await;
    }
    // After the handshake, and after publish.
    for seed in 40..80 {
        let mut client = RtmpClient::handshake(server.address)
            .await
            .expect("accepted");
        let _ = client.write(&noise(seed, 20_000)).await;
        drop(client);
        let mut client = publisher(&server, "noise").await;
        let _ = client.write(&noise(seed, 20_000)).await;
        drop(client);
    }
    unharmed(&server, healthy).await;
}

#[tokio::test]
async fn http_and_tls() {
    let (server, healthy) = start().await;
    send_bytes(
        &server,
        b"GET /live/team HTTP/1.1\r\nHost: example.org\r\n\r\n",
    )
    .await;
    log::line_with(&["RTMP connection closed", "that is HTTP, not RTMP"]).await;
    let client_hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &noise(7, 506)].concat();
    send_bytes(&server, &client_hello).await;
    log::line_with(&["RTMP connection closed", "that is TLS, not RTMP"]).await;
    server
        .metric_reaches("watchtower_rtmp_connections_total{end=\"not_rtmp\"}", 2.0)
        .await;
    unharmed(&server, healthy).await;
}

#[tokio::test]
async fn half_a_handshake() {
    let server = RtmpServer::with(|settings| settings.handshake = Duration::from_secs(3)).await;
    let healthy = Healthy::start(&server, NAME).await;
    let mut waiting = Vec::new();
    for bytes in [&b""[..], &[3], &[3; 1000], &[3; 1537], &[3; 2000]] {
        let mut socket = TcpStream::connect(server.address).await.expect("accepted");
        socket.write_all(bytes).await.expect("sent");
        waiting.push(socket);
    }
    // All of it, followed by silence.
    let silent = RtmpClient::connect(server.address, "live")
        .await
        .expect("accepted");
    for mut socket in waiting {
        closed(&mut socket).await;
    }
    silent.closed().await;
    log::line_with(&["RTMP connection closed", "no handshake within 3s"]).await;
    log::line_with(&["RTMP connection closed", "no publish within 3s"]).await;
    unharmed(&server, healthy).await;
}

#[tokio::test]
async fn a_publisher_that_falls_silent_is_reaped() {
    let server = RtmpServer::with(|settings| settings.idle = Duration::from_secs(3)).await;
    let healthy = Healthy::start(&server, NAME).await;
    let mut client = publisher(&server, "silent").await;
    client
        .message(4, VIDEO, 0, &video_config())
        .await
        .expect("sent");
    client.closed().await;
    server.ended("silent").await;
    log::line_with(&["stream=\"silent\"", "idle for 3s"]).await;
    unharmed(&server, healthy).await;
}

#[tokio::test]
async fn amf_nested_ten_thousand_deep() {
    let (server, healthy) = start().await;
    let deep = [10, 0, 0, 0, 1].repeat(10_000);
    for kind in [20, 18, 17] {
        let mut client = RtmpClient::handshake(server.address)
            .await
            .expect("accepted");
        let _ = client.message(3, kind, 0, &deep).await;
        client.closed().await;
    }
    let mut client = publisher(&server, "deep").await;
    let _ = client.message(3, DATA, 0, &deep).await;
    client.closed().await;
    log::line_with(&["RTMP connection closed", "AMF values nest deeper than 32"]).await;
    unharmed(&server, healthy).await;
}

#[tokio::test]
async fn interleaved_audio_and_video() {
    let (server, healthy) = start().await;
    let mut client = publisher(&server, "interleaved").await;
    client
        .message(4, VIDEO, 0, &video_config())
        .await
        .expect("sent");
    client
        .message(5, AUDIO, 0, AUDIO_CONFIG)
        .await
        .expect("sent");
    // 300 bytes of video with audio between its chunks.
    let mut video = vec![0x17, 1, 0, 0, 0];
    video.extend(291_u32.to_be_bytes());
    video.extend([0x65; 291]);
    let mut bytes = header(4, VIDEO, 10, 300);
    bytes.extend(&video[..128]);
    bytes.extend(chunks(5, AUDIO, 10, &audio(77), 128));
    bytes.push(0xc4);
    bytes.extend(&video[128..256]);
    bytes.extend(chunks(5, AUDIO, 20, &audio(78), 128));
    bytes.push(0xc4);
    bytes.extend(&video[256..]);
    client.write(&bytes).await.expect("sent");
    client
        .message(4, VIDEO, 40, &picture(true, 5))
        .await
        .expect("sent");
    let mut subscriber = server.subscribe("interleaved").await;
    // A subscriber starts at the newest keyframe; the totals count everything.
    let units = take(&mut subscriber, 1).await;
    assert_eq!(units.len(), 1);
    crate::common::eventually("all four units", || {
        let info = server.hub.streams();
        let totals = info
            .iter()
            .find(|info| info.name.as_str() == "interleaved")?
            .totals;
        ((totals.video_units, totals.audio_units) == (2, 2)).then_some(())
    })
    .await;
    unharmed(&server, healthy).await;
}

#[tokio::test]
async fn set_chunk_size_inside_a_message() {
    let (server, healthy) = start().await;
    let mut client = publisher(&server, "resized").await;
    client
        .message(4, VIDEO, 0, &video_config())
        .await
        .expect("sent");
    let mut video = vec![0x17, 1, 0, 0, 0];
    video.extend(291_u32.to_be_bytes());
    video.extend([0x65; 291]);
    let mut bytes = header(4, VIDEO, 10, 300);
    bytes.extend(&video[..128]);
    bytes.extend(chunks(2, SET_CHUNK_SIZE, 0, &4096_u32.to_be_bytes(), 128));
    bytes.push(0xc4);
    bytes.extend(&video[128..]);
    client.write(&bytes).await.expect("sent");
    let mut subscriber = server.subscribe("resized").await;
    assert_eq!(take(&mut subscriber, 1).await[0].size(), 295);
    unharmed(&server, healthy).await;
}

#[tokio::test]
async fn impossible_chunk_sizes() {
    let (server, healthy) = start().await;
    for size in [0_u32, 0x8000_0000, u32::MAX] {
        let mut client = publisher(&server, "sized").await;
        let _ = client
            .message(2, SET_CHUNK_SIZE, 0, &size.to_be_bytes())
            .await;
        client.closed().await;
    }
    log::line_with(&["RTMP connection closed", "a chunk size of 0"]).await;
    unharmed(&server, healthy).await;
}

#[tokio::test]
async fn set_data_frame_with_too_little_and_empty_commands() {
    let (server, healthy) = start().await;
    let mut client = publisher(&server, "empty").await;
    let set_data_frame = Value::string("@setDataFrame");
    let metadata = Value::string("onMetaData");
    for (kind, payload) in [
        (DATA, amf::encode(std::slice::from_ref(&set_data_frame))),
        (DATA, amf::encode(&[set_data_frame, metadata])),
        (DATA, Vec::new()),
        (20, Vec::new()),
        (17, Vec::new()),
        (17, vec![0]),
        (20, amf::encode(&[Value::Null])),
        (22, Vec::new()),
        (22, vec![9; 10]),
        (4, vec![0]),
        (5, vec![]),
        (3, vec![]),
    ] {
        client.message(3, kind, 0, &payload).await.expect("sent");
    }
    // Still connected.
    client
        .message(4, VIDEO, 0, &video_config())
        .await
        .expect("sent");
    client
        .message(4, VIDEO, 0, &picture(true, 9))
        .await
        .expect("sent");
    let mut subscriber = server.subscribe("empty").await;
    assert_eq!(mark(&take(&mut subscriber, 1).await[0]), 9);
    unharmed(&server, healthy).await;
}

#[tokio::test]
async fn a_16_mib_message() {
    let (server, healthy) = start().await;
    let mut client = publisher(&server, "huge").await;
    client.set_chunk_size(65_536).await.expect("sent");
    let _ = client.message(4, VIDEO, 0, &vec![0x27; 0xff_ffff]).await;
    client.closed().await;
    log::line_with(&[
        "RTMP connection closed",
        "a message of 16777215 bytes is longer",
    ])
    .await;
    unharmed(&server, healthy).await;
}

#[tokio::test]
async fn unfinished_messages_on_every_chunk_stream() {
    let (server, healthy) = start().await;
    let mut client = publisher(&server, "unfinished").await;
    let _ = client.set_chunk_size(1 << 20).await;
    for stream in 4..40 {
        let mut bytes = header(stream, VIDEO, 0, 8 << 20);
        bytes.extend(vec![0; 1 << 20]);
        if client.write(&bytes).await.is_err() {
            break;
        }
    }
    client.closed().await;
    log::line_with(&["RTMP connection closed", "bytes in unfinished messages"]).await;
    unharmed(&server, healthy).await;
}

#[tokio::test]
async fn a_hundred_thousand_create_streams() {
    let (server, healthy) = start().await;
    let mut client = RtmpClient::connect(server.address, "live")
        .await
        .expect("accepted");
    let values = [
        Value::string("createStream"),
        Value::Number(2.0),
        Value::Null,
    ];
    let one = chunks(3, 20, 0, &amf::encode(&values), 128);
    let _ = client.write(&one.repeat(100_000)).await;
    client.closed().await;
    log::line_with(&["RTMP connection closed", "more than 16 message streams"]).await;
    unharmed(&server, healthy).await;
}

#[tokio::test]
async fn commands_whose_answers_are_never_read() {
    let server = RtmpServer::with(|settings| settings.idle = Duration::from_secs(3)).await;
    let healthy = Healthy::start(&server, NAME).await;
    let mut client = publisher(&server, "deaf").await;
    let ping = chunks(2, 4, 0, &[0, 6, 0, 0, 0, 1], 128).repeat(10_000);
    // Until the server gives up on the responses and closes.
    while client.write(&ping).await.is_ok() {}
    server.ended("deaf").await;
    unharmed(&server, healthy).await;
}

#[tokio::test]
async fn an_unknown_codec() {
    let (server, healthy) = start().await;
    for (body, name) in [(&b"\x90vvc1\x01\x01"[..], "H.266"), (b"\x14\0", "VP6")] {
        let mut client = publisher(&server, "codec").await;
        client.message(4, VIDEO, 0, body).await.expect("sent");
        client
            .expect_status("NetStream.Publish.Rejected")
            .await
            .expect("told");
        client.closed().await;
        log::line_with(&[&format!("video codec {name} is not supported, send H.264")]).await;
    }
    // Audio that is neither AAC nor Opus is dropped alone.
    let mut client = publisher(&server, "mute").await;
    client
        .message(4, VIDEO, 0, &video_config())
        .await
        .expect("sent");
    for count in 0..10 {
        client
            .message(5, AUDIO, 0, &[0x2f, 1, 2, 3])
            .await
            .expect("sent");
        client
            .message(4, VIDEO, 0, &picture(count == 0, count))
            .await
            .expect("sent");
    }
    let mut subscriber = server.subscribe("mute").await;
    take(&mut subscriber, 10).await;
    let lines = log::lines_with(&["stream=\"mute\"", "audio codec MP3 is not supported"]);
    assert_eq!(lines.len(), 1);
    // Ten pictures, of which the last waits until the invalid record arrives
    // and is counted with it; and the truncated ones.
    assert!(server.metric("watchtower_dropped_total{where=\"media\"}") >= 11.0);
    unharmed(&server, healthy).await;
}

#[tokio::test]
async fn video_without_a_sequence_header() {
    let (server, healthy) = start().await;
    let mut client = publisher(&server, "headless").await;
    for count in 0..10 {
        client
            .message(4, VIDEO, count, &picture(count == 0, count))
            .await
            .expect("sent");
    }
    client
        .message(4, VIDEO, 20, &[0x17, 0, 0, 0, 0, 1, 2, 3])
        .await
        .expect("sent");
    client
        .message(4, VIDEO, 20, &[0x17, 1, 0])
        .await
        .expect("sent");
    client
        .message(4, VIDEO, 20, &video_config())
        .await
        .expect("sent");
    client
        .message(4, VIDEO, 20, &picture(true, 42))
        .await
        .expect("sent");
    let mut subscriber = server.subscribe("headless").await;
    assert_eq!(mark(&take(&mut subscriber, 1).await[0]), 42);
    let lines = log::lines_with(&["stream=\"headless\"", "video without its parameter sets"]);
    assert_eq!(lines.len(), 1);
    // Ten pictures, of which the last waits until the invalid record arrives
    // and is counted with it; and the truncated ones.
    assert!(server.metric("watchtower_dropped_total{where=\"media\"}") >= 11.0);
    unharmed(&server, healthy).await;
}

#[tokio::test]
async fn timestamps_that_jump_wrap_and_go_back() {
    let (server, healthy) = start().await;
    let mut client = publisher(&server, "times").await;
    client
        .message(4, VIDEO, 0, &video_config())
        .await
        .expect("sent");
    client
        .message(5, AUDIO, 0, AUDIO_CONFIG)
        .await
        .expect("sent");
    let times = [
        0,
        40,
        80,
        3_600_000,
        3_600_040,
        0,
        40,
        39,
        80,
        u32::MAX - 50,
        u32::MAX - 10,
        30,
        70,
        0x8000_0000,
        0x7fff_ffff,
        0x00ff_ffff,
        0x0100_0000,
        0,
        1_000,
    ];
    client
        .message(4, VIDEO, 0, &picture(true, 0))
        .await
        .expect("sent");
    let mut subscriber = server.subscribe("times").await;
    let mut units = take(&mut subscriber, 1).await;
    for (time, count) in times.into_iter().zip(1_u32..) {
        client
            .message(4, VIDEO, time, &picture(false, count))
            .await
            .expect("sent");
        client
            .message(5, AUDIO, time, &audio(count))
            .await
            .expect("sent");
    }
    units.extend(take(&mut subscriber, 2 * times.len()).await);
    let dts: Vec<MediaTime> = units
        .iter()
        .filter_map(|unit| match unit {
            MediaUnit::Video(unit) => Some(unit.dts),
            MediaUnit::Audio(_) => None,
        })
        .collect();
    assert_eq!(dts.len(), times.len() + 1);
    assert!(dts.is_sorted(), "{dts:?}");
    let longest = dts.windows(2).map(|pair| pair[1].ms() - pair[0].ms()).max();
    assert!(longest <= Some(10_000), "{dts:?}");
    unharmed(&server, healthy).await;
}

#[tokio::test]
async fn three_hundred_connections_from_one_address() {
    let (server, healthy) = start().await;
    let mut open = Vec::new();
    let mut turned_away = 0;
    for _ in 0..300 {
        let mut socket = TcpStream::connect(server.address)
            .await
            .expect("the port is open");
        // The first byte of a handshake makes the server respond; there is no
        // response if the connection was rejected.
        let _ = socket.write_all(&[3]).await;
        let mut answer = [0; 1];
        match socket.read(&mut answer).await {
            Ok(1) => open.push(socket),
            _ => turned_away += 1,
        }
    }
    // The regular publisher has the 256th slot.
    assert_eq!((open.len(), turned_away), (255, 45));
    log::line_with(&["RTMP connection refused: too many connections from this address"]).await;
    log::line_with(&["more RTMP connections closed (turned_away) from 127.0.0.1"]).await;
    let lines = log::lines_with(&["too many connections from this address"]).len();
    assert!(lines < 45, "{lines} lines");
    drop(open);
    server
        .metric_reaches("watchtower_rtmp_connections_total{end=\"ended\"}", 255.0)
        .await;
    drop(publisher(&server, "again").await);
    unharmed(&server, healthy).await;
}
