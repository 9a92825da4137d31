use proptest::prelude::*;

use super::*;

/// As of Chromium's, shortened.
const OFFER: &str = "v=0\r\n\
    o=- 1 2 IN IP4 127.0.0.1\r\n\
    s=-\r\n\
    t=0 0\r\n\
    a=group:BUNDLE 0 1\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\n\
    a=ice-ufrag:abcd\r\n\
    a=ice-pwd:0123456789012345678901\r\n\
    a=fingerprint:sha-256 00:11\r\n\
    a=setup:actpass\r\n\
    a=mid:0\r\n\
    a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
    a=sendonly\r\n\
    a=rtpmap:111 opus/48000/2\r\n\
    a=rtcp-fb:111 transport-cc\r\n\
    a=rtpmap:63 red/48000/2\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 45 108 109 110 111\r\n\
    a=ice-ufrag:abcd\r\n\
    a=ice-pwd:0123456789012345678901\r\n\
    a=fingerprint:sha-256 00:11\r\n\
    a=setup:actpass\r\n\
    a=mid:1\r\n\
    a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
    a=extmap:4/sendonly urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
    a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
    a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n\
    a=sendonly\r\n\
    a=rtpmap:96 VP8/90000\r\n\
    a=rtcp-fb:96 goog-remb\r\n\
    a=rtcp-fb:96 nack\r\n\
    a=rtpmap:97 rtx/90000\r\n\
    a=fmtp:97 apt=96\r\n\
    a=rtpmap:98 VP9/90000\r\n\
    a=fmtp:98 profile-id=2\r\n\
    a=rtpmap:45 AV1/90000\r\n\
    a=rtpmap:108 H264/90000\r\n\
    a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f\r\n\
    a=rtpmap:109 H264/90000\r\n\
    a=rtcp-fb:109 goog-remb\r\n\
    a=rtcp-fb:109 transport-cc\r\n\
    a=rtcp-fb:109 nack\r\n\
    a=rtcp-fb:109 nack pli\r\n\
    a=fmtp:109 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
    a=rtpmap:110 rtx/90000\r\n\
    a=fmtp:110 apt=109\r\n\
    a=rid:h send\r\n\
    a=rid:l send\r\n\
    a=simulcast:send ~h;l\r\n";
/// Part of webrtc's answer.
const MADE: &str = "v=0\r\no=- 5 6 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
    a=fingerprint:sha-256 AA:BB\r\na=group:BUNDLE video\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=ice-ufrag:serv\r\na=ice-pwd:secret\r\n\
    a=setup:passive\r\na=mid:video\r\na=candidate:1 1 udp 1 127.0.0.1 1 typ host\r\n";
const ALL: AcceptedCodecs = AcceptedCodecs {
    vp8: true,
    vp9: true,
    av1: true,
    opus: true,
};

fn codec(text: &str, accepted: AcceptedCodecs) -> Result<(PublishCodec, u8, Option<u8>), Unmet> {
    let offer = PublishOffer::parse(text, accepted)?;
    Ok((offer.video.codec, offer.video.payload_type, offer.video.rtx))
}

#[test]
fn the_first_accepted_codec_is_taken_with_its_retransmissions() {
    let of = |accepted| codec(OFFER, accepted).expect("acceptable");
    assert_eq!(of(ALL), (PublishCodec::Vp8, 96, Some(97)));
    let none = AcceptedCodecs::default();
    assert_eq!(of(none), (PublishCodec::H264, 109, Some(110)));
    // Profile 2 is not accepted.
    let vp9 = AcceptedCodecs { vp9: true, ..none };
    assert_eq!(of(vp9), (PublishCodec::H264, 109, Some(110)));
    let av1 = AcceptedCodecs { av1: true, ..none };
    assert_eq!(of(av1), (PublishCodec::Av1, 45, None));
    let offer = PublishOffer::parse(OFFER, ALL).expect("acceptable");
    let audio = offer.audio.expect("sound is offered");
    assert_eq!((audio.codec, audio.payload_type), (PublishCodec::Opus, 111));
    assert_eq!(offer.video.layer.as_deref(), Some("h"));
}

#[test]
fn the_answer_repeats_the_sections_with_what_is_taken() {
    let addresses = ["192.0.2.1".parse().expect("an address")];
    let offer = PublishOffer::parse(OFFER, AcceptedCodecs::default()).expect("acceptable");
    let answer = offer.answer(MADE, &addresses, 8189);
    let expected = "v=0\r\no=- 5 6 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
        a=fingerprint:sha-256 AA:BB\r\n\
        a=group:BUNDLE 1\r\n\
        m=audio 0 UDP/TLS/RTP/SAVPF 111 63\r\n\
        c=IN IP4 0.0.0.0\r\n\
        a=mid:0\r\n\
        a=ice-ufrag:serv\r\n\
        a=ice-pwd:secret\r\n\
        a=setup:passive\r\n\
        a=inactive\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 109 110\r\n\
        c=IN IP4 0.0.0.0\r\n\
        a=mid:1\r\n\
        a=ice-ufrag:serv\r\n\
        a=ice-pwd:secret\r\n\
        a=setup:passive\r\n\
        a=recvonly\r\n\
        a=rtcp-mux\r\n\
        a=rtcp-rsize\r\n\
        a=rtpmap:109 H264/90000\r\n\
        a=fmtp:109 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e034\r\n\
        a=rtcp-fb:109 transport-cc\r\n\
        a=rtcp-fb:109 nack\r\n\
        a=rtcp-fb:109 nack pli\r\n\
        a=rtpmap:110 rtx/90000\r\n\
        a=fmtp:110 apt=109\r\n\
        a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
        a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
        a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
        a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n\
        a=rid:h recv\r\n\
        a=simulcast:recv h\r\n\
        a=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host\r\n\
        a=candidate:2 1 tcp 1526726655 192.0.2.1 8189 typ host tcptype passive\r\n\
        a=end-of-candidates\r\n";
    assert_eq!(answer, expected);
}

#[test]
fn an_offer_that_cannot_be_used_is_refused_with_the_reason() {
    let receives = OFFER.replace("a=sendonly\r\n", "a=recvonly\r\n");
    let no_video = OFFER.replace("m=video", "m=application");
    for (text, refusal) in [
        ("", Unmet::NotSdp),
        (&receives, Unmet::NoVideoSent),
        (&no_video, Unmet::NoVideoSent),
        (&OFFER.replace("m=video 9", "m=video 0"), Unmet::NoVideoSent),
        (&OFFER.replace("sha-256", "sha-1"), Unmet::NoFingerprint),
        (&OFFER.replace("a=ice-pwd", "a=x"), Unmet::NoIce),
        (
            &OFFER.replace("setup:actpass", "setup:holdconn"),
            Unmet::UnknownSetup,
        ),
        (
            &format!("{OFFER}{}", "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n".repeat(50)),
            Unmet::TooManySections,
        ),
    ] {
        let parsed = PublishOffer::parse(text, ALL).map(|_| ());
        assert_eq!(parsed, Err(refusal), "{text}");
    }
    let h265 = OFFER.replace("H264", "H265");
    let refused = codec(&h265, AcceptedCodecs::default()).expect_err("refused");
    assert_eq!(
        refused.to_string(),
        "none of the video codecs is accepted: expected H.264 (H264/90000, packetization-mode 1); \
         offered are VP8/90000, rtx/90000, VP9/90000, AV1/90000, H265/90000, rtx/90000"
    );
}

#[test]
fn a_passive_peer_and_one_without_bundle_are_accepted() {
    let passive = OFFER.replace("setup:actpass", "setup:passive");
    let offer = PublishOffer::parse(&passive, ALL).expect("acceptable");
    assert!(offer.peer_is_passive);
    let apart = OFFER.replace("a=group:BUNDLE 0 1\r\n", "");
    let offer = PublishOffer::parse(&apart, ALL).expect("acceptable");
    // The sound would need a transport of its own.
    assert_eq!(offer.audio, None);
    assert!(!offer.answer(MADE, &[], 1).contains("BUNDLE"));
}

proptest! {
    #[test]
    fn no_text_panics(
        lines in prop::collection::vec(prop::sample::select(OFFER.split("\r\n").collect::<Vec<_>>()), 0..80),
        noise in ".{0,20}",
    ) {
        let text = format!("v=0\r\n{}\r\n{noise}", lines.join("\r\n"));
        if let Ok(offer) = PublishOffer::parse(&text, ALL) {
            offer.answer(MADE, &[], 1);
        }
    }
}
