use proptest::prelude::*;
use rml_rtmp::chunk_io::ChunkSerializer;
use rml_rtmp::messages::MessagePayload;
use rml_rtmp::time::RtmpTimestamp;

use super::*;

fn read_all(reader: &mut ChunkReader) -> Vec<Message> {
    std::iter::from_fn(|| reader.pull().expect("valid")).collect()
}

fn read(bytes: &[u8]) -> Vec<Message> {
    let mut reader = ChunkReader::new(ChunkLimits::default());
    reader.push(bytes);
    read_all(&mut reader)
}

/// Result of an input split at these offsets: the messages, then the error if
/// there was one.
fn outcome(
    bytes: &[u8],
    cuts: &[usize],
    limits: ChunkLimits,
) -> (Vec<Message>, Option<ChunkError>) {
    let mut reader = ChunkReader::new(limits);
    let mut messages = Vec::new();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    for part in cuts.windows(2) {
        reader.push(&bytes[part[0]..part[1]]);
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

fn header(format: u8, stream: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![format << 6 | stream];
    bytes.extend(rest);
    bytes
}

/// Type 0 header for message stream 1.
fn full(stream: u8, time: u32, length: u32, kind: u8) -> Vec<u8> {
    let mut rest = time.min(EXTENDED).to_be_bytes()[1..].to_vec();
    rest.extend(&length.to_be_bytes()[1..]);
    rest.push(kind);
    rest.extend(1_u32.to_le_bytes());
    if time >= EXTENDED {
        rest.extend(time.to_be_bytes());
    }
    header(0, stream, &rest)
}

fn message(timestamp: u32, kind: u8, payload: impl Into<Vec<u8>>) -> Message {
    Message {
        timestamp,
        kind,
        stream_id: 1,
        payload: Bytes::from(payload.into()),
    }
}

#[test]
fn messages_of_two_chunk_streams_interleave() {
    let mut bytes = full(6, 10, 300, 9);
    bytes.extend([1; 128]);
    bytes.extend(full(4, 11, 20, 8));
    bytes.extend([2; 20]);
    bytes.push(0xc6);
    bytes.extend([1; 128]);
    bytes.push(0xc6);
    bytes.extend([1; 44]);
    assert_eq!(
        read(&bytes),
        [message(11, 8, [2; 20]), message(10, 9, [1; 300])]
    );
}

#[test]
fn the_chunk_size_may_change_amid_another_message() {
    let mut bytes = full(6, 10, 300, 9);
    bytes.extend([1; 128]);
    bytes.extend(full(2, 0, 4, SET_CHUNK_SIZE));
    bytes.extend(4096_u32.to_be_bytes());
    bytes.push(0xc6);
    bytes.extend([1; 172]);
    assert_eq!(read(&bytes), [message(10, 9, [1; 300])]);
}

#[test]
fn an_abort_forgets_what_had_come() {
    let mut bytes = full(6, 10, 300, 9);
    bytes.extend([1; 128]);
    bytes.extend(full(2, 0, 4, ABORT));
    bytes.extend(6_u32.to_be_bytes());
    bytes.extend(full(6, 20, 3, 9));
    bytes.extend([7; 3]);
    assert_eq!(read(&bytes), [message(20, 9, [7; 3])]);
}

#[test]
fn headers_of_every_type_are_read() {
    let mut bytes = full(4, 1000, 2, 8);
    bytes.extend([1; 2]);
    bytes.extend(header(1, 4, &[0, 0, 20, 0, 0, 3, 8]));
    bytes.extend([2; 3]);
    bytes.extend(header(2, 4, &[0, 0, 30]));
    bytes.extend([3; 3]);
    bytes.extend(header(3, 4, &[]));
    bytes.extend([4; 3]);
    assert_eq!(
        read(&bytes),
        [
            message(1000, 8, [1; 2]),
            message(1020, 8, [2; 3]),
            message(1050, 8, [3; 3]),
            message(1080, 8, [4; 3]),
        ]
    );
}

#[test]
fn long_chunk_stream_ids_are_read() {
    let mut bytes = vec![0, 10];
    bytes.extend(&full(0, 5, 1, 8)[1..]);
    bytes.push(1);
    bytes.extend([1, 2, 1]);
    bytes.extend(&full(0, 6, 1, 9)[1..]);
    bytes.push(2);
    assert_eq!(read(&bytes), [message(5, 8, [1]), message(6, 9, [2])]);
}

#[test]
fn an_extended_timestamp_may_or_may_not_be_repeated() {
    let time = 0x0123_4567_u32;
    for repeated in [true, false] {
        let mut bytes = full(6, time, 200, 9);
        bytes.extend([9; 128]);
        bytes.push(0xc6);
        if repeated {
            bytes.extend(time.to_be_bytes());
        }
        bytes.extend([9; 72]);
        assert_eq!(read(&bytes), [message(time, 9, [9; 200])], "{repeated}");
    }
}

#[test]
fn an_empty_message_is_a_message() {
    assert_eq!(read(&full(3, 0, 0, 20)), [message(0, 20, [])]);
}

#[test]
fn limits_hold() {
    let error = |bytes: &[u8], limits| outcome(bytes, &[], limits).1;
    let limits = ChunkLimits {
        message: 1000,
        chunk_streams: 3,
        unfinished: 300,
    };
    let long = full(6, 0, 0xff_ffff, 9);
    let too_long = ChunkError::MessageTooLong {
        size: 0xff_ffff,
        limit: 1000,
    };
    assert_eq!(error(&long, limits), Some(too_long));

    let many: Vec<u8> = (3..7).flat_map(|id| full(id, 0, 0, 9)).collect();
    let too_many = ChunkError::TooManyChunkStreams { limit: 3 };
    assert_eq!(error(&many, limits), Some(too_many));

    let begun: Vec<u8> = (3..6)
        .flat_map(|id| [full(id, 0, 500, 9), vec![0; 128]].concat())
        .collect();
    let too_much = ChunkError::TooMuchUnfinished { limit: 300 };
    assert_eq!(error(&begun, limits), Some(too_much));

    for size in [0_u32, 0x8000_0000, u32::MAX] {
        let mut bytes = full(2, 0, 4, SET_CHUNK_SIZE);
        bytes.extend(size.to_be_bytes());
        assert_eq!(
            error(&bytes, limits),
            Some(ChunkError::BadChunkSize { size })
        );
    }
    let short = [full(2, 0, 2, ABORT), vec![0, 0]].concat();
    assert_eq!(
        error(&short, limits),
        Some(ChunkError::BadControlMessage { size: 2 })
    );
    assert_eq!(error(&[0xc9], limits), Some(ChunkError::NoPreviousChunk));
}

#[test]
fn an_error_is_final() {
    let mut reader = ChunkReader::new(ChunkLimits::default());
    reader.push(&[0xc9]);
    assert!(reader.pull().is_err());
    reader.push(&full(3, 0, 0, 20));
    assert_eq!(reader.pull(), Err(ChunkError::NoPreviousChunk));
}

#[test]
fn a_message_in_one_chunk_is_not_copied() {
    let mut reader = ChunkReader::new(ChunkLimits::default());
    reader.push(&full(4, 0, 100, 8));
    reader.push(&[5; 100]);
    let at = reader.input()[12..].as_ptr();
    let message = reader.pull().expect("valid").expect("whole");
    assert_eq!(message.payload.as_ptr(), at);
}

/// Message and the chunk sizes a peer would send it in.
fn messages() -> impl Strategy<Value = Vec<Message>> {
    let one = (
        any::<u32>(),
        prop_oneof![Just(8_u8), Just(9), Just(18), Just(20)],
        prop::collection::vec(any::<u8>(), 1..700),
    );
    let one = one.prop_map(|(timestamp, kind, payload)| message(timestamp, kind, payload));
    prop::collection::vec(one, 1..12)
}

/// Random bytes that mostly resemble chunks.
fn chunk_like() -> impl Strategy<Value = Vec<u8>> {
    let chunk = (
        0_u8..4,
        2_u8..7,
        prop_oneof![0_u32..100, Just(EXTENDED), Just(EXTENDED - 1), any::<u32>()],
        0_u32..400,
        prop_oneof![Just(1_u8), Just(2), Just(8), Just(9), Just(20)],
        prop::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..200),
    );
    let chunk = chunk.prop_map(|(format, stream, time, length, kind, payload)| {
        let whole = full(stream, time, length, kind);
        let mut bytes = vec![format << 6 | stream];
        bytes.extend(match format {
            0 => &whole[1..],
            1 => &whole[1..8],
            2 => &whole[1..4],
            _ => &[],
        });
        bytes.extend(payload);
        bytes
    });
    prop::collection::vec(chunk, 1..12).prop_map(|chunks| chunks.concat())
}

/// Chunks of several messages, one per chunk stream, interleaved.
fn interleave(messages: &[Message], order: &[usize]) -> Vec<u8> {
    let mut queues: Vec<Vec<Vec<u8>>> = messages
        .iter()
        .zip(3_u8..)
        .map(|(message, stream)| {
            let length = message.payload.len() as u32;
            let mut chunks: Vec<Vec<u8>> = message
                .payload
                .chunks(INITIAL_CHUNK_SIZE)
                .map(|part| {
                    let mut chunk = header(3, stream, &[]);
                    if message.timestamp >= EXTENDED {
                        chunk.extend(message.timestamp.to_be_bytes());
                    }
                    chunk.extend(part);
                    chunk
                })
                .collect();
            let first = message.payload.len().min(INITIAL_CHUNK_SIZE);
            chunks[0] = full(stream, message.timestamp, length, message.kind);
            chunks[0].extend(&message.payload[..first]);
            chunks.reverse();
            chunks
        })
        .collect();
    let mut bytes = Vec::new();
    let mut order = order.iter().cycle();
    while queues.iter().any(|queue| !queue.is_empty()) {
        let start = order.next().copied().unwrap_or_default();
        let queue = (0..queues.len())
            .map(|offset| (start + offset) % queues.len())
            .find(|index| !queues[*index].is_empty());
        if let Some(chunk) = queue.and_then(|index| queues[index].pop()) {
            bytes.extend(chunk);
        }
    }
    bytes
}

proptest! {
    #[test]
    fn any_split_gives_the_same(
        bytes in chunk_like(),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let limits = ChunkLimits { message: 300, chunk_streams: 4, unfinished: 500 };
        let whole = outcome(&bytes, &[], limits);
        prop_assert_eq!(&outcome(&bytes, &cuts, limits), &whole);
        let every: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(&outcome(&bytes, &every, limits), &whole);
    }

    #[test]
    fn what_rml_writes_is_read(
        mut messages in messages(),
        chunk_size in 1_u32..2000,
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        // rml adds deltas up to 2^31 only; encoders' clocks run forward.
        messages.sort_by_key(|message| message.timestamp);
        messages.iter_mut().for_each(|message| message.timestamp /= 4);
        let mut serializer = ChunkSerializer::new();
        let start = RtmpTimestamp::new(0);
        let mut bytes = serializer.set_max_chunk_size(chunk_size, start).expect("valid").bytes;
        for message in &messages {
            let payload = MessagePayload {
                timestamp: RtmpTimestamp::new(message.timestamp),
                type_id: message.kind,
                message_stream_id: message.stream_id,
                data: message.payload.clone(),
            };
            bytes.extend(serializer.serialize(&payload, false, false).expect("valid").bytes);
        }
        let (read, error) = outcome(&bytes, &cuts, ChunkLimits::default());
        prop_assert_eq!(error, None);
        prop_assert_eq!(read, messages);
    }

    #[test]
    fn interleaved_messages_all_come_out(
        messages in messages(),
        order in prop::collection::vec(0_usize..12, 1..40),
    ) {
        let mut expected = messages.clone();
        let mut read = read(&interleave(&messages, &order));
        let key = |message: &Message| (message.timestamp, message.kind, message.payload.clone());
        expected.sort_by_key(key);
        read.sort_by_key(key);
        prop_assert_eq!(read, expected);
    }
}
