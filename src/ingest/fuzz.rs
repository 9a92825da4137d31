//! Entry points of the fuzz targets and of `tests/fuzz_corpus.rs` on stable
//! Rust. Each accepts any bytes and must neither panic nor break its invariant.

use bytes::Bytes;

use watchtower_media::codec::av1::Av1Reader;
use watchtower_media::codec::vpx::VpxReader;
use watchtower_media::codec::{avc, opus};
use watchtower_media::{MediaTime, MediaUnit};

use super::chunk::{ChunkError, ChunkLimits, ChunkReader, Message};
use super::flv::Demuxer;
use super::session::{PublisherEvent, RtmpSession, SessionError};

const LIMITS: ChunkLimits = ChunkLimits {
    message: 4096,
    chunk_streams: 8,
    unfinished: 8192,
};

/// Chunks: the messages do not depend on how the bytes are split.
pub fn chunk(data: &[u8]) {
    let Some((step, bytes)) = data.split_first() else {
        return;
    };
    let step = usize::from(*step).max(1);
    assert_eq!(read(bytes.chunks(step)), read(std::iter::once(bytes)));
}

fn read<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (Vec<Message>, Option<ChunkError>) {
    let mut reader = ChunkReader::new(LIMITS);
    let mut messages = Vec::new();
    for part in parts {
        reader.push(part);
        loop {
            match reader.pull() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

/// AMF round trip: decoded values are decoded again after encoding. Compared as
/// bytes, since a NaN is not equal to itself.
pub fn amf(data: &[u8]) {
    if let Ok(values) = super::amf::decode(data) {
        let bytes = super::amf::encode(&values);
        // Replacing invalid UTF-8 can make a string too long.
        if let Ok(again) = super::amf::decode(&bytes) {
            assert_eq!(super::amf::encode(&again), bytes);
        }
    }
}

/// Whole connection after the handshake, with every request accepted.
pub fn session(data: &[u8]) {
    let mut session = RtmpSession::new(LIMITS);
    let mut demuxer = Demuxer::default();
    session.push(&[3]);
    session.push(&[0; 2 * 1536]);
    for part in data.chunks(1024) {
        session.push(part);
        if drive(&mut session, &mut demuxer).is_err() {
            return;
        }
        session.take_output();
    }
}

fn drive(session: &mut RtmpSession, demuxer: &mut Demuxer) -> Result<(), SessionError> {
    while let Some(event) = session.event()? {
        while demuxer.next_unit().is_some() {}
        match event {
            PublisherEvent::Connect(connect) => session.accept_connect(&connect)?,
            PublisherEvent::Publish(publish) => session.accept_publish(&publish)?,
            PublisherEvent::Play => session.refuse_stream(None, "NetStream.Play.Failed", "no")?,
            PublisherEvent::Video(message) => {
                let _ = demuxer.video(message.timestamp, &message.payload);
            }
            PublisherEvent::Audio(message) => {
                let _ = demuxer.audio(message.timestamp, &message.payload);
            }
            PublisherEvent::Metadata(_) | PublisherEvent::Unpublish => {}
        }
    }
    Ok(())
}

/// Sequence of messages: kind, time (4 bytes), length (2 bytes), body.
/// Timestamps are monotonic.
pub fn flv_tag(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    let mut demuxer = Demuxer::default();
    let mut last = [MediaTime(i64::MIN); 2];
    let mut at = 0;
    while let Some(head) = data.get(at..at + 7) {
        let time = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let length = usize::from(u16::from_be_bytes([head[5], head[6]]));
        let end = data.len().min(at + 7 + length);
        let body = data.slice(at + 7..end);
        let _ = match head[0] & 1 {
            0 => demuxer.video(time, &body),
            _ => demuxer.audio(time, &body),
        };
        if end == data.len() || head[0] & 2 != 0 {
            let _ = demuxer.flush();
        }
        while let Some(unit) = demuxer.next_unit() {
            let (track, time) = match &unit {
                MediaUnit::Video(unit) => (0, unit.dts),
                MediaUnit::Audio(unit) => (1, unit.pts),
            };
            assert!(time >= last[track], "time went back");
            last[track] = time;
            if let MediaUnit::Video(unit) = unit {
                assert!(!unit.data.is_empty());
                unit.random_access();
            }
        }
        at = end;
    }
}

/// AVC configuration: an accepted one has valid picture dimensions.
pub fn avc_config(data: &[u8]) {
    if let Ok(config) = avc::parse_config(&Bytes::copy_from_slice(data)) {
        assert!(config.width > 0 && config.height > 0);
        assert!(!config.sps.is_empty() && !config.pps.is_empty());
        for nal in watchtower_media::codec::h264::nal_units(data, config.nal_length_size).flatten()
        {
            assert!(nal.len() <= data.len());
        }
    }
    let _ = watchtower_media::codec::h264::parse_sps(data);
}

/// Frames of VP8, VP9 and AV1, each after its length (2 bytes): a stream begins
/// with a keyframe, and its pictures have valid dimensions. And each as a packet
/// of Opus.
pub fn vpx_frames(data: &[u8]) {
    for mut reader in [VpxReader::vp8(), VpxReader::vp9()] {
        let mut begun = false;
        let mut rest = data;
        while let Some((length, next)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length)).min(next.len());
            let (frame, next) = next.split_at(length);
            rest = next;
            let at = MediaTime(0);
            if let Ok(unit) = reader.unit(at, at, Bytes::copy_from_slice(frame)) {
                assert!(unit.keyframe || begun && !reader.needs_keyframe());
                assert!((1..=16_384).contains(&unit.config.width));
                assert!((1..=16_384).contains(&unit.config.height));
                begun = true;
            }
            let mut av1 = Av1Reader::default();
            if let Ok(unit) = av1.unit(at, at, Bytes::copy_from_slice(frame)) {
                assert!(unit.keyframe && unit.config.width > 0 && unit.config.height > 0);
            }
            if let Ok(samples) = opus::duration(frame) {
                assert!((120..=5760).contains(&samples));
            }
        }
    }
}
