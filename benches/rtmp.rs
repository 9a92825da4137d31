//! The chunk reader beside rml_rtmp's own on the same bytes, and what fifty
//! publishers cost.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rml_rtmp::chunk_io::{ChunkDeserializer, ChunkSerializer};
use rml_rtmp::messages::{MessagePayload, RtmpMessage};
use rml_rtmp::time::RtmpTimestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use watchtower::ingest::amf;
use watchtower::ingest::amf::Value;
use watchtower::ingest::chunk::{ChunkLimits, ChunkReader};
use watchtower::ingest::{RtmpListenerSettings, RtmpListeners};
use watchtower::media::hub::StreamHub;

/// Bytes per read of a socket.
const READ: usize = 16 << 10;

/// Media of one second: 30 video and 47 audio messages, about `bytes` in all.
fn second_of_media(bytes: usize) -> Vec<MessagePayload> {
    let picture = bytes / 36;
    let mut messages = Vec::new();
    for index in 0..77_u32 {
        let (type_id, size) = match index % 5 {
            0 | 2 if index == 0 => (9, picture * 6),
            0 | 2 => (9, picture),
            _ => (8, 200),
        };
        let mut data = vec![0x27; size];
        let nal = (size as u32).saturating_sub(9);
        if type_id == 9 {
            data[..9]
                .copy_from_slice(&[[0x27, 1, 0, 0, 0].as_slice(), &nal.to_be_bytes()].concat());
        } else {
            data[..2].copy_from_slice(&[0xaf, 1]);
        }
        messages.push(MessagePayload {
            timestamp: RtmpTimestamp::new(index * 13),
            type_id,
            message_stream_id: 1,
            data: data.into(),
        });
    }
    messages
}

/// Messages, the change of the chunk size first.
fn packets(messages: &[MessagePayload], chunk_size: u32) -> Vec<Vec<u8>> {
    let mut serializer = ChunkSerializer::new();
    let start = RtmpTimestamp::new(0);
    let resize = serializer.set_max_chunk_size(chunk_size, start);
    let mut packets = vec![resize.expect("a legal size").bytes];
    for message in messages {
        let packet = serializer.serialize(message, false, false);
        packets.push(packet.expect("short enough").bytes);
    }
    packets
}

fn in_chunks(messages: &[MessagePayload], chunk_size: u32) -> Vec<u8> {
    packets(messages, chunk_size).concat()
}

fn ours(bytes: &[u8]) -> usize {
    let mut reader = ChunkReader::new(ChunkLimits::default());
    let mut total = 0;
    for part in bytes.chunks(READ) {
        reader.push(part);
        while let Some(message) = reader.pull().expect("valid") {
            total += black_box(message).payload.len();
        }
    }
    total
}

fn theirs(bytes: &[u8]) -> usize {
    let mut reader = ChunkDeserializer::new();
    let mut total = 0;
    for part in bytes.chunks(READ) {
        let mut part = part;
        while let Some(message) = reader.get_next_message(part).expect("valid") {
            part = &[];
            if let Ok(RtmpMessage::SetChunkSize { size }) = message.to_rtmp_message() {
                reader.set_max_chunk_size(size as usize).expect("legal");
            } else {
                total += black_box(message).data.len();
            }
        }
    }
    total
}

/// 128 is the protocol's default, 4,096 OBS', 60,000 what ffmpeg sets.
fn chunk_readers(c: &mut Criterion) {
    let mut group = c.benchmark_group("chunk_reader");
    for chunk_size in [128, 4096, 60_000] {
        let messages: Vec<_> = (0..4).flat_map(|_| second_of_media(312_500)).collect();
        let bytes = in_chunks(&messages, chunk_size);
        assert_eq!(ours(&bytes), theirs(&bytes));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_with_input(BenchmarkId::new("ours", chunk_size), &bytes, |b, bytes| {
            b.iter(|| ours(bytes));
        });
        group.bench_with_input(
            BenchmarkId::new("rml_rtmp", chunk_size),
            &bytes,
            |b, bytes| {
                b.iter(|| theirs(bytes));
            },
        );
    }
    group.finish();
}

/// Ingest of one second of media of fifty publishers, interleaved by message as
/// in reality, but without pauses; the sending side is included. On one thread
/// it must take well under a second.
fn fifty_publishers(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let second = packets(&second_of_media(62_500), 4096);
    let hub = StreamHub::new();
    let (_shutdown, mut publishers) = runtime.block_on(publishers(&hub, 50));
    let mut group = c.benchmark_group("publishers");
    group.sample_size(20);
    group.bench_function("fifty_at_500_kbps_one_second", |b| {
        b.iter_custom(|rounds| {
            let mut took = Duration::ZERO;
            for _ in 0..rounds {
                let before = received(&hub);
                let start = Instant::now();
                runtime.block_on(async {
                    for packet in &second {
                        for socket in &mut publishers {
                            socket.write_all(packet).await.expect("the server reads");
                        }
                        tokio::task::yield_now().await;
                    }
                    while received(&hub) < before + 50 * 77 {
                        tokio::task::yield_now().await;
                    }
                });
                took += start.elapsed();
            }
            took
        });
    });
    group.finish();
}

fn received(hub: &StreamHub) -> u64 {
    let units = |info: &watchtower::media::hub::StreamInfo| {
        info.totals.video_units + info.totals.audio_units
    };
    hub.streams().iter().map(units).sum()
}

async fn publishers(hub: &StreamHub, count: usize) -> (CancellationToken, Vec<TcpStream>) {
    let settings = RtmpListenerSettings::new((Ipv4Addr::LOCALHOST, 0).into());
    let server = RtmpListeners::bind(settings, hub.clone(), Arc::default())
        .await
        .expect("a free port");
    let address = server.local_addr();
    let shutdown = CancellationToken::new();
    tokio::spawn(server.run(shutdown.clone()));
    let mut publishers = Vec::new();
    for index in 0..count {
        let mut socket = TcpStream::connect(address).await.expect("accepted");
        let mut hello = vec![3];
        hello.extend([0; 2 * 1536]);
        let app = Value::Object(vec![(
            "app".to_owned(),
            Value::String(format!("live/bench-{index}")),
        )]);
        let connect = [Value::string("connect"), Value::Number(1.0), app];
        let publish = [
            Value::string("publish"),
            Value::Number(2.0),
            Value::Null,
            Value::Null,
        ];
        let message = |type_id, data: Vec<u8>| MessagePayload {
            timestamp: RtmpTimestamp::new(0),
            type_id,
            message_stream_id: 1,
            data: data.into(),
        };
        hello.extend(in_chunks(
            &[
                message(20, amf::encode(&connect)),
                message(20, amf::encode(&publish)),
                message(9, [&[0x17, 0, 0, 0, 0], AVC_RECORD].concat()),
                message(8, vec![0xaf, 0, 0x12, 0x10]),
            ],
            4096,
        ));
        socket.write_all(&hello).await.expect("the server reads");
        let mut answer = vec![0; 3073];
        socket.read_exact(&mut answer).await.expect("an answer");
        publishers.push(socket);
    }
    while hub.streams().len() < count {
        tokio::task::yield_now().await;
    }
    (shutdown, publishers)
}

/// SPS of x264 for 640x360, Baseline.
const AVC_RECORD: &[u8] =
    b"\x01\x42\xc0\x1e\xff\xe1\x00\x19\x67\x42\xc0\x1e\xd9\x00\xa0\x2f\xf9\x70\
    \x11\x00\x00\x03\x00\x01\x00\x00\x03\x00\x3c\x0f\x16\x2e\x48\x01\x00\x05\x68\xcb\x83\xcb\x20";

criterion_group!(benches, chunk_readers, fifty_publishers);
criterion_main!(benches);
