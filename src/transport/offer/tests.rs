use proptest::prelude::*;

use super::*;

const BOTH: StreamTracks = StreamTracks {
    picture: true,
    sound: true,
};
const SILENT: StreamTracks = StreamTracks {
    picture: true,
    sound: false,
};
const BLIND: StreamTracks = StreamTracks {
    picture: false,
    sound: true,
};

const GOOD: &str = "v=0\r\n\
    o=- 1 2 IN IP4 127.0.0.1\r\n\
    s=-\r\n\
    t=0 0\r\n\
    a=group:BUNDLE 0 1\r\n\
    a=ice-ufrag:abcd\r\n\
    a=ice-pwd:0123456789012345678901\r\n\
    a=fingerprint:sha-256 00:11\r\n\
    a=setup:actpass\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n\
    a=mid:0\r\n\
    a=recvonly\r\n\
    a=candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype passive\r\n\
    a=rtpmap:96 VP8/90000\r\n\
    a=rtpmap:97 H264/90000\r\n\
    a=rtcp-fb:* nack\r\n\
    a=fmtp:97 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
    a=mid:1\r\n\
    a=recvonly\r\n\
    a=rtpmap:111 opus/48000/2\r\n";

fn parse(text: &str) -> Result<Offer, Unmet> {
    Offer::parse(text, BOTH)
}

/// For each section the encoding that is sent in it, as `name parameters`.
fn served(offer: &Offer) -> Vec<String> {
    let encoding = |section: &Offered| match &section.served {
        Some(codec) => format!("{} {}", codec.name, codec.parameters),
        None => "refused".to_owned(),
    };
    offer.sections.iter().map(encoding).collect()
}

const VIDEO: &str =
    "H264/90000 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
const AUDIO: &str = "opus/48000/2 minptime=10;useinbandfec=1";

#[test]
fn a_browsers_offer_is_met() {
    let offer = parse(GOOD).expect("good");
    assert_eq!(offer.fragment, "abcd");
    assert_eq!(served(&offer), [VIDEO, AUDIO]);
    assert!(!offer.sdp.contains("candidate") && !offer.sdp.contains("VP8"));
    assert!(offer.sdp.contains("a=rtcp-fb:97 nack\r\n"), "{}", offer.sdp);
    assert!(offer.takes(MediaKind::Video) && offer.takes(MediaKind::Audio));
}

#[test]
fn what_cannot_be_met_is_refused_with_a_reason() {
    let without = |what: &str, with: &str| parse(&GOOD.replace(what, with));
    assert_eq!(parse("hello"), Err(Unmet::NotSdp));
    let nothing = Err(Unmet::NothingWanted);
    assert_eq!(without("a=recvonly", "a=sendonly"), nothing);
    assert_eq!(without(" 9 UDP", " 0 UDP"), nothing);
    let vp9 = without("H264", "VP9").expect_err("no H.264");
    assert_eq!(vp9, Unmet::NoH264("VP8/90000, VP9/90000".to_owned()));
    assert!(vp9.to_string().contains("VP8/90000, VP9/90000"), "{vp9}");
    let interleaved = without("mode=1", "mode=2");
    assert!(matches!(interleaved, Err(Unmet::NoH264(_))));
    assert_eq!(without("a=ice-ufrag", "a=x"), Err(Unmet::NoIce));
    assert_eq!(
        without("a=setup", "a=ice-lite\r\na=setup"),
        Err(Unmet::BothLite)
    );
    assert_eq!(without("a=fingerprint", "a=x"), Err(Unmet::NoFingerprint));
    assert_eq!(without("actpass", "passive"), Err(Unmet::WrongSetup));
    let many = format!("{GOOD}{}", "m=audio 9 x 0\r\n".repeat(20));
    assert_eq!(parse(&many), Err(Unmet::TooManySections));
}

/// GStreamer's max-bundle: transport in the first section alone, port 0 in the
/// others.
#[test]
fn bundle_only_sections_are_served() {
    let second = GOOD.replace(
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "m=audio 0 UDP/TLS/RTP/SAVPF 111\r\na=bundle-only",
    );
    assert_eq!(served(&parse(&second).expect("good")), [VIDEO, AUDIO]);
    let first = GOOD.replace(
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97",
        "m=video 0 UDP/TLS/RTP/SAVPF 96 97\r\na=bundle-only",
    );
    assert_eq!(served(&parse(&first).expect("good")), [VIDEO, AUDIO]);
    // Without a group no other section carries it.
    let lost = second.replace("a=group:BUNDLE 0 1\r\n", "");
    assert_eq!(served(&parse(&lost).expect("good")), [VIDEO, "refused"]);
    // Port 0 alone marks a section that was rejected before.
    let stopped = GOOD.replace("m=audio 9", "m=audio 0");
    assert_eq!(served(&parse(&stopped).expect("good")), [VIDEO, "refused"]);
}

#[test]
fn one_transport_is_served_of_those_not_bundled() {
    let apart = GOOD.replace("a=group:BUNDLE 0 1\r\n", "");
    let offer = parse(&apart).expect("good");
    assert_eq!(served(&offer), [VIDEO, "refused"]);
    assert!(offer.bundle.is_empty());
    let turned = |text: &str| {
        let (head, tail) = text.split_at(text.find("m=video").expect("there"));
        let (video, audio) = tail.split_at(tail.find("m=audio").expect("there"));
        format!("{head}{audio}{video}")
    };
    // Video, wherever its section is, and for a stream without it audio.
    let offer = parse(&turned(&apart)).expect("good");
    assert_eq!(served(&offer), ["refused", VIDEO]);
    let offer = Offer::parse(&apart, BLIND).expect("good");
    assert_eq!(served(&offer), ["refused", AUDIO]);
    // Without mids too: they only matter in a group.
    let bare = apart.replace("a=mid:0\r\n", "").replace("a=mid:1\r\n", "");
    assert_eq!(served(&parse(&bare).expect("good")), [VIDEO, "refused"]);
    let offer = parse(&turned(GOOD)).expect("good");
    assert_eq!(served(&offer), [AUDIO, VIDEO]);
}

/// Two sections, each with ICE of its own, as peers without a group have.
#[test]
fn the_transport_is_that_of_the_section_served() {
    let ice = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n";
    let apart = GOOD
        .replace("a=group:BUNDLE 0 1\r\n", "")
        .replace(ice, "")
        .replace(
            "a=mid:0",
            "a=ice-ufrag:vvvv\r\na=ice-pwd:0123456789012345678901\r\na=mid:0",
        )
        .replace(
            "a=mid:1",
            "a=ice-ufrag:aaaa\r\na=ice-pwd:0123456789012345678901\r\na=mid:1",
        );
    assert_eq!(parse(&apart).expect("good").fragment, "vvvv");
    let sound = Offer::parse(&apart, BLIND).expect("good");
    assert_eq!(sound.fragment, "aaaa");
    assert!(!sound.sdp.contains("vvvv"));
}

#[test]
fn h264_is_taken_as_the_field_names_it() {
    let fmtp =
        "a=fmtp:97 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n";
    for (parameters, repeated) in [
        ("", ""),
        (
            "a=fmtp:97 profile-level-id=4d0028\r\n",
            "profile-level-id=4d0028",
        ),
        (
            "a=fmtp:97 packetization-mode=1; profile-level-id=640c1f; max-fs=12\r\n",
            "packetization-mode=1;profile-level-id=640c1f",
        ),
        ("a=fmtp:97 packetization-mode=0\r\n", "packetization-mode=0"),
    ] {
        let offer = parse(&GOOD.replace(fmtp, parameters)).expect(parameters);
        assert_eq!(served(&offer)[0], format!("H264/90000 {repeated}"));
        // webrtc gets the encoding it knows.
        assert!(
            offer.sdp.contains(&format!("a=fmtp:97 {H264}")),
            "{parameters}"
        );
    }
    // Choice among several: the codec closest to the stream's.
    let several = GOOD.replace("96 97\r\n", "95 96 97 98\r\n").replace(
        fmtp,
        &format!(
            "a=rtpmap:95 H264/90000\r\na=fmtp:95 packetization-mode=0;profile-level-id=42e01f\r\n\
             a=rtpmap:98 h264/90000\r\na=fmtp:98 packetization-mode=1;profile-level-id=64001f\r\n\
             {fmtp}"
        ),
    );
    assert_eq!(served(&parse(&several).expect("good"))[0], VIDEO);
}

#[test]
fn opus_is_taken_without_its_channels() {
    let offer = parse(&GOOD.replace("opus/48000/2", "OPUS/48000")).expect("good");
    assert_eq!(served(&offer)[1], "OPUS/48000 minptime=10;useinbandfec=1");
    assert!(offer.sdp.contains("a=rtpmap:111 opus/48000/2\r\n"));
}

#[test]
fn an_offer_of_one_kind_gets_what_the_stream_has_of_it() {
    let (head, tail) = GOOD.split_at(GOOD.find("m=video").expect("there"));
    let (video, audio) = tail.split_at(tail.find("m=audio").expect("there"));
    let (video, audio) = (format!("{head}{video}"), format!("{head}{audio}"));
    assert_eq!(served(&parse(&audio).expect("good")), [AUDIO]);
    assert_eq!(served(&parse(&video).expect("good")), [VIDEO]);
    assert_eq!(Offer::parse(&video, BLIND), Err(Unmet::NoPicture));
    assert_eq!(Offer::parse(&audio, SILENT), Err(Unmet::NoSound));
    let other = audio.replace("opus/48000/2", "PCMU/8000");
    assert_eq!(parse(&other), Err(Unmet::NoOpus("PCMU/8000".to_owned())));
    // Tracks that may appear later are included.
    let offer = Offer::parse(GOOD, BLIND).expect("good");
    assert_eq!(served(&offer), [VIDEO, AUDIO]);
}

/// Line ending that only some parsers know, which would inject a line into the
/// answer.
#[test]
fn lines_with_control_characters_are_not_repeated() {
    let smuggled = GOOD.replace("a=mid:0", "a=mid:0\ra=x");
    let offer = parse(&smuggled).expect("good");
    assert!(
        offer
            .sections
            .iter()
            .all(|one| one.mid.as_deref() != Some("0\ra=x"))
    );
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = parse(&text);
        let _ = parse(&format!("v=0\n{text}"));
    }
}
