use proptest::prelude::*;

use super::*;

fn chunks(kind: u8, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![3];
    bytes.extend(&timestamp.to_be_bytes()[1..]);
    bytes.extend(&(payload.len() as u32).to_be_bytes()[1..]);
    bytes.push(kind);
    bytes.extend(1_u32.to_le_bytes());
    for (index, part) in payload.chunks(128).enumerate() {
        if index > 0 {
            bytes.push(0xc3);
        }
        bytes.extend(part);
    }
    bytes
}

fn command(name: &str, arguments: &[Value]) -> Vec<u8> {
    let mut values = vec![Value::string(name), Value::Number(1.0)];
    values.extend_from_slice(arguments);
    chunks(kind::COMMAND, 0, &amf::encode(&values))
}

fn object(properties: &[(&str, &str)]) -> Value {
    Value::Object(
        properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::string(value)))
            .collect(),
    )
}

fn handshake() -> Vec<u8> {
    let mut bytes = vec![3];
    bytes.extend([0; 2 * 1536]);
    bytes
}

fn connect() -> Vec<u8> {
    command("connect", &[object(&[("app", "live/team")])])
}

fn publish() -> Vec<u8> {
    let name = Value::string("s3cret");
    command("publish", &[Value::Null, name, Value::string("live")])
}

/// Server that accepts everything; returns the events as a list.
fn drive(session: &mut RtmpSession, seen: &mut Vec<String>) -> Result<(), SessionError> {
    while let Some(event) = session.event()? {
        match &event {
            PublisherEvent::Connect(connect) => session.accept_connect(connect)?,
            PublisherEvent::Publish(publish) => session.accept_publish(publish)?,
            _ => {}
        }
        seen.push(format!("{event:?}"));
    }
    Ok(())
}

fn run(parts: &[Vec<u8>]) -> (Vec<String>, Option<SessionError>) {
    let mut session = RtmpSession::new(ChunkLimits::default());
    let mut seen = Vec::new();
    for part in parts {
        session.push(part);
        if let Err(error) = drive(&mut session, &mut seen) {
            return (seen, Some(error));
        }
    }
    (seen, None)
}

fn error_after(parts: &[Vec<u8>]) -> Option<SessionError> {
    run(&[&[handshake()], parts].concat()).1
}

fn kinds(parts: &[Vec<u8>]) -> Vec<String> {
    let (seen, error) = run(&[&[handshake(), connect()], parts].concat());
    assert_eq!(error, None);
    let kind = |event: &String| {
        event
            .split([' ', '('])
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    seen.iter().skip(1).map(kind).collect()
}

#[test]
fn a_publisher_comes_and_goes() {
    let events = kinds(&[
        command("releaseStream", &[Value::Null, Value::string("s3cret")]),
        command("FCPublish", &[Value::Null, Value::string("s3cret")]),
        command("createStream", &[Value::Null]),
        command("_checkbw", &[Value::Null]),
        chunks(kind::VIDEO, 0, b"too early"),
        publish(),
        chunks(kind::VIDEO, 0, b"video"),
        chunks(kind::AUDIO, 5, b"audio"),
        command("FCUnpublish", &[Value::Null, Value::string("s3cret")]),
        command("deleteStream", &[Value::Null, Value::Number(1.0)]),
        chunks(kind::VIDEO, 9, b"too late"),
        publish(),
    ]);
    assert_eq!(
        events,
        ["Publish", "Video", "Audio", "Unpublish", "Publish"]
    );
}

#[test]
fn other_protocols_are_recognised() {
    for (bytes, error) in [
        (&b"GET / HTTP/1.1\r\n"[..], SessionError::Http),
        (b"PO", SessionError::Http),
        (&[0x16, 3, 1, 2, 0], SessionError::Tls),
        (&[6, 1, 2], SessionError::Rtmpe),
        (b"SSH-2.0", SessionError::NotRtmp),
        (&[0], SessionError::NotRtmp),
    ] {
        assert_eq!(run(&[bytes.to_vec()]).1, Some(error));
    }
}

#[test]
fn what_makes_rml_panic_is_harmless() {
    let data = |values: &[Value]| chunks(kind::DATA, 0, &amf::encode(values));
    let events = kinds(&[
        publish(),
        chunks(kind::COMMAND, 0, &[]),
        chunks(kind::COMMAND_AMF3, 0, &[]),
        data(&[]),
        data(&[Value::string("@setDataFrame")]),
        data(&[Value::string("@setDataFrame"), Value::string("onMetaData")]),
        data(&[Value::string("@setDataFrame"), Value::Null, Value::Null]),
    ]);
    assert_eq!(events, ["Publish", "Metadata"]);
}

#[test]
fn metadata_may_come_again_and_in_any_dress() {
    let values = object(&[("encoder", "obs-output module"), ("Title", "x")]);
    let events = kinds(&[
        publish(),
        chunks(
            kind::DATA,
            0,
            &amf::encode(&[
                Value::string("@setDataFrame"),
                Value::string("onMetaData"),
                values.clone(),
            ]),
        ),
        chunks(
            kind::DATA,
            0,
            &amf::encode(&[Value::string("onMetaData"), values]),
        ),
        chunks(kind::DATA, 0, &[2, 0, 10]),
        chunks(kind::DATA_AMF3, 0, &[0, 0x11, 1]),
    ]);
    assert_eq!(events, ["Publish", "Metadata", "Metadata"]);
}

#[test]
fn amf3_commands_and_odd_connects_are_understood() {
    let object = object(&[("app", "live"), ("tcurl", "\"rtmp://host/live\"")]);
    let mut values = amf::encode(&[Value::string("connect"), Value::Number(1.0)]);
    // The object as an ECMA array.
    values.extend([8, 0, 0, 0, 0]);
    values.extend(&amf::encode(&[object])[1..]);
    let plain = chunks(kind::COMMAND, 0, &values);
    values.insert(0, 0);
    let amf3 = chunks(kind::COMMAND_AMF3, 0, &values);
    for connect in [plain, amf3] {
        let (seen, error) = run(&[handshake(), connect]);
        assert_eq!(error, None);
        assert!(
            seen[0].contains(r#"properties: ["app", "tcurl"]"#),
            "{seen:?}"
        );
    }
}

#[test]
fn aggregates_are_unpacked() {
    let mut payload = Vec::new();
    for (kind, time) in [(kind::VIDEO, 100_u8), (kind::AUDIO, 110), (kind::DATA, 120)] {
        payload.extend([kind, 0, 0, 1, 0, 0, time, 0, 0, 0, 0, 7, 0, 0, 0, 12]);
    }
    let events = kinds(&[publish(), chunks(kind::AGGREGATE, 40, &payload)]);
    assert_eq!(events, ["Publish", "Video", "Audio"]);
}

#[test]
fn out_of_turn_is_an_error() {
    let out_of_turn = SessionError::OutOfTurn;
    assert_eq!(error_after(&[publish()]), Some(out_of_turn("publish")));
    let twice = [connect(), publish(), publish()];
    assert_eq!(error_after(&twice), Some(out_of_turn("publish")));
    assert_eq!(
        error_after(&[connect(), connect()]),
        Some(out_of_turn("connect"))
    );
    let no_app = command("connect", &[Value::Null]);
    assert_eq!(error_after(&[no_app]), Some(SessionError::NoApp));
}

#[test]
fn limits_hold() {
    let create = command("createStream", &[Value::Null]).repeat(17);
    assert_eq!(error_after(&[create]), Some(SessionError::TooManyStreams));
    let deep = [10, 0, 0, 0, 1].repeat(10_000);
    let too_deep = SessionError::Amf(AmfError::TooDeep);
    for kind in [kind::COMMAND, kind::DATA, kind::COMMAND_AMF3] {
        let deep = chunks(kind, 0, &deep);
        assert_eq!(error_after(&[deep]), Some(too_deep.clone()));
    }
    // Memory limits are lower before authentication.
    let long = chunks(kind::VIDEO, 0, &vec![0; 100_000]);
    assert!(matches!(
        error_after(&[connect(), long.clone()]),
        Some(SessionError::Chunk(ChunkError::MessageTooLong { .. }))
    ));
    assert_eq!(error_after(&[connect(), publish(), long]), None);
    let long = chunks(kind::COMMAND, 0, &vec![5; MAX_CONTROL + 1]);
    let size = MAX_CONTROL + 1;
    let too_long = SessionError::ControlTooLong { size };
    assert_eq!(error_after(&[connect(), publish(), long]), Some(too_long));
}

#[test]
fn nothing_shown_holds_the_key() {
    let (seen, _) = run(&[handshake(), connect(), publish()]);
    assert_eq!(seen.len(), 2);
    assert!(!seen.concat().contains("s3cret"), "{seen:?}");
}

/// The server's messages after its side of the handshake.
fn replies(session: &mut RtmpSession) -> Vec<Message> {
    let output = session.take_output();
    let mut reader = ChunkReader::new(ChunkLimits::default());
    reader.push(&output[1 + 2 * 1536..]);
    std::iter::from_fn(|| reader.pull().expect("valid")).collect()
}

#[test]
fn acknowledgements_carry_the_total() {
    let mut session = RtmpSession::new(ChunkLimits::default());
    let mut seen = Vec::new();
    session.push(&[handshake(), connect(), publish()].concat());
    session.push(&chunks(kind::WINDOW_SIZE, 0, &5000_u32.to_be_bytes()));
    drive(&mut session, &mut seen).expect("valid");
    for _ in 0..9 {
        session.push(&chunks(kind::VIDEO, 0, &[0; 1000]));
        drive(&mut session, &mut seen).expect("valid");
    }
    let total = session.total_received();
    let acks: Vec<u64> = replies(&mut session)
        .iter()
        .filter(|message| message.kind == 3)
        .filter_map(|message| leading_u32(&message.payload).map(u64::from))
        .collect();
    assert_eq!(acks.len(), 2);
    assert!(
        acks[0] >= 5000 && acks[1] - acks[0] >= 5000 && acks[1] <= total,
        "{acks:?}"
    );
}

#[test]
fn a_ping_is_answered_with_its_time() {
    let mut session = RtmpSession::new(ChunkLimits::default());
    session.push(&handshake());
    session.push(&chunks(kind::USER_CONTROL, 0, &[0, 6, 1, 2, 3, 4]));
    session.push(&chunks(kind::USER_CONTROL, 0, &[0, 6, 1]));
    drive(&mut session, &mut Vec::new()).expect("valid");
    let pongs = replies(&mut session);
    assert_eq!(pongs.len(), 1);
    assert_eq!(pongs[0].payload[..], [0, 7, 1, 2, 3, 4]);
}

/// Plausible messages after the handshake.
fn conversation() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![Just(0.0), Just(1.0), any::<f64>()];
    let name = prop_oneof![
        Just("connect"),
        Just("createStream"),
        Just("publish"),
        Just("deleteStream"),
        Just("play"),
        Just("@setDataFrame"),
        Just("onMetaData"),
        Just(""),
    ];
    let argument = prop_oneof![
        Just(Value::Null),
        Just(Value::string("onMetaData")),
        Just(Value::Object(vec![(
            "app".to_owned(),
            Value::string("live/x")
        )])),
    ];
    let values = (name, number, prop::collection::vec(argument, 0..4));
    let values = values.prop_map(|(name, number, arguments)| {
        let mut values = vec![Value::string(name), Value::Number(number)];
        values.extend(arguments);
        amf::encode(&values)
    });
    let kind = prop_oneof![
        Just(20_u8),
        Just(20),
        Just(18),
        Just(17),
        Just(15),
        3_u8..23
    ];
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    let payload = prop_oneof![values.clone(), values, bytes];
    let one = (kind, any::<u32>(), payload);
    let one = one.prop_map(|(kind, time, payload)| chunks(kind, time & 0xff_ffff, &payload));
    let all = prop::collection::vec(one, 0..12);
    (any::<bool>(), all).prop_map(|(polite, messages)| {
        let mut bytes = handshake();
        if polite {
            bytes.extend([connect(), publish()].concat());
        }
        bytes.extend(messages.concat());
        bytes
    })
}

proptest! {
    #[test]
    fn any_split_gives_the_same(
        bytes in conversation(),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let parts: Vec<_> = cuts.windows(2).map(|at| bytes[at[0]..at[1]].to_vec()).collect();
        prop_assert_eq!(run(&parts), run(&[bytes]));
    }
}
