//! What we need to know of an offer before a session exists (RFC 8866, RFC
//! 8829), and the little we change in offers and answers.
//!
//! webrtc parses the offer for good later; what is refused here is refused
//! with a reason the caller can act on.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// A browser's offer for one video and one audio track is 6 kB; with all its
/// codecs, candidates and extensions 20 kB.
pub(super) const MOST_BYTES: usize = 64 << 10;
const MOST_MEDIA: usize = 16;
/// What fingerprints are made with (RFC 8122, section 5), the weak ones apart.
const HASHES: [&str; 3] = ["sha-256", "sha-384", "sha-512"];

/// An offer that can be met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    /// Without candidates: viewers come to us, we never go to them.
    pub(super) sdp: String,
    /// The caller's ICE user fragment.
    pub(super) fragment: String,
    /// Opus is wanted too.
    pub(super) audio: bool,
}

/// Why an offer can't be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unmet {
    #[error("not a session description: expected v=0 in the first line")]
    NotSdp,
    #[error("more than {MOST_MEDIA} media sections")]
    TooManySections,
    #[error("no video section that receives: expected m=video with a=recvonly or a=sendrecv")]
    NoVideo,
    #[error("no H.264 with packetization-mode=1 and a baseline profile among the video codecs")]
    NoH264,
    #[error("no a=ice-ufrag and a=ice-pwd")]
    NoIce,
    #[error("no a=fingerprint by sha-256 or stronger: media is sent over DTLS-SRTP only")]
    NoFingerprint,
    #[error("a=setup must be actpass or active: the server is passive")]
    WrongSetup,
}

#[derive(Default)]
struct Section<'a> {
    kind: &'a str,
    rejected: bool,
    receives: Option<bool>,
    /// Payload type and what it stands for.
    codecs: Vec<(&'a str, &'a str)>,
    parameters: Vec<(&'a str, &'a str)>,
    fragment: Option<&'a str>,
    password: Option<&'a str>,
    fingerprint: bool,
    setup: Option<&'a str>,
}

impl Offer {
    pub(super) fn parse<'a>(text: &'a str) -> Result<Self, Unmet> {
        let mut lines = text.lines();
        if lines.next() != Some("v=0") {
            return Err(Unmet::NotSdp);
        }
        // The first holds what is said for the whole session.
        let mut sections = vec![Section::default()];
        for line in lines {
            if let Some(media) = line.strip_prefix("m=") {
                if sections.len() > MOST_MEDIA {
                    return Err(Unmet::TooManySections);
                }
                sections.push(Section::media(media));
            } else if let (Some(attribute), Some(section)) =
                (line.strip_prefix("a="), sections.last_mut())
            {
                section.note(attribute);
            }
        }
        let (session, media) = sections.split_first().ok_or(Unmet::NotSdp)?;
        let video = media
            .iter()
            .find(|section| section.kind == "video" && section.is_wanted(session))
            .ok_or(Unmet::NoVideo)?;
        if !video.takes_h264() {
            return Err(Unmet::NoH264);
        }
        // All goes over the transport of the first section (RFC 8843, section
        // 7.2), whatever the others say they would use alone.
        let first = |of: fn(&Section<'a>) -> Option<&'a str>| sections.iter().find_map(of);
        let fragment = first(|section| section.fragment).ok_or(Unmet::NoIce)?;
        let password = first(|section| section.password).ok_or(Unmet::NoIce)?;
        if !video.fingerprint && !session.fingerprint {
            return Err(Unmet::NoFingerprint);
        }
        match video.setup.or(session.setup) {
            Some("actpass" | "active") => {}
            _ => return Err(Unmet::WrongSetup),
        }
        let audio = media.iter().any(|section| {
            section.kind == "audio"
                && section.is_wanted(session)
                && section.has_codec("opus/48000/2")
        });
        Ok(Self {
            sdp: cleaned(text, fragment, password),
            fragment: fragment.to_owned(),
            audio,
        })
    }
}

impl<'a> Section<'a> {
    fn media(line: &'a str) -> Self {
        let mut words = line.split(' ');
        let kind = words.next().unwrap_or_default();
        Self {
            kind,
            rejected: words.next() == Some("0"),
            ..Self::default()
        }
    }

    fn note(&mut self, attribute: &'a str) {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name {
            "recvonly" | "sendrecv" => self.receives = Some(true),
            "sendonly" | "inactive" => self.receives = Some(false),
            "rtpmap" => self.codecs.extend(value.split_once(' ')),
            "fmtp" => self.parameters.extend(value.split_once(' ')),
            "ice-ufrag" => self.fragment = Some(value),
            "ice-pwd" => self.password = Some(value),
            "fingerprint" => {
                let hash = value.split(' ').next().unwrap_or_default();
                self.fingerprint |= HASHES.iter().any(|known| known.eq_ignore_ascii_case(hash));
            }
            "setup" => self.setup = Some(value),
            _ => {}
        }
    }

    fn is_wanted(&self, session: &Self) -> bool {
        // Without a word it is sendrecv (RFC 8866, section 6.7).
        !self.rejected && self.receives.or(session.receives).unwrap_or(true)
    }

    fn has_codec(&self, wanted: &str) -> bool {
        self.codecs
            .iter()
            .any(|(_, codec)| codec.eq_ignore_ascii_case(wanted))
    }

    fn takes_h264(&self) -> bool {
        let payload_types = self
            .codecs
            .iter()
            .filter(|(_, codec)| codec.eq_ignore_ascii_case("H264/90000"))
            .map(|(payload_type, _)| *payload_type);
        payload_types.into_iter().any(|wanted| {
            self.parameters
                .iter()
                .filter(|(payload_type, _)| *payload_type == wanted)
                .any(|(_, parameters)| is_playable(parameters))
        })
    }
}

/// Packetization mode 1 and a profile of the baseline family (RFC 6184,
/// section 8.1).
fn is_playable(parameters: &str) -> bool {
    let value = |name: &str| {
        parameters.split(';').find_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let baseline = value("profile-level-id").is_none_or(|profile| profile.starts_with("42"));
    value("packetization-mode") == Some("1") && baseline
}

/// Without candidates, and with the same ICE credentials throughout: webrtc
/// takes no others.
fn cleaned(sdp: &str, fragment: &str, password: &str) -> String {
    let mut kept = String::with_capacity(sdp.len());
    for line in sdp.lines() {
        if line.starts_with("a=candidate:") || line.starts_with("a=end-of-candidates") {
            continue;
        }
        if line.starts_with("a=ice-ufrag:") {
            let _ = write!(kept, "a=ice-ufrag:{fragment}\r\n");
        } else if line.starts_with("a=ice-pwd:") {
            let _ = write!(kept, "a=ice-pwd:{password}\r\n");
        } else {
            let _ = write!(kept, "{line}\r\n");
        }
    }
    kept
}

/// The answer with the candidates that really lead here, in every section that
/// had one: over UDP, and over TCP for networks that let nothing else through.
pub(super) fn with_candidates(answer: &str, addresses: &[IpAddr], port: u16) -> String {
    let mut sdp = String::with_capacity(answer.len() + 512);
    let mut done = false;
    for line in answer.lines() {
        if line.starts_with("m=") {
            done = false;
        }
        if !line.starts_with("a=candidate:") {
            sdp.push_str(line);
            sdp.push_str("\r\n");
        } else if !done {
            done = true;
            candidates(&mut sdp, addresses, port);
        }
    }
    sdp
}

fn candidates(sdp: &mut String, addresses: &[IpAddr], port: u16) {
    for (nth, ip) in addresses.iter().enumerate() {
        // RFC 8445, section 5.1.2.1: type, local and component preference;
        // UDP before TCP, and the earlier address before the later.
        let nth = u32::try_from(nth).unwrap_or(u32::MAX).min(8191);
        let udp = 126 << 24 | (65_535 - nth) << 8 | 255;
        let tcp = 90 << 24 | (65_535 - nth) << 8 | 255;
        let _ = write!(
            sdp,
            "a=candidate:{} 1 udp {udp} {ip} {port} typ host\r\n\
             a=candidate:{} 1 tcp {tcp} {ip} {port} typ host tcptype passive\r\n",
            2 * nth + 1,
            2 * nth + 2
        );
    }
}

/// Where viewers are told to come to.
pub(super) fn advertised(
    local: SocketAddr,
    public: &[IpAddr],
    own: Vec<IpAddr>,
) -> (Vec<IpAddr>, u16) {
    let mut addresses = public.to_vec();
    for ip in own {
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    (addresses, local.port())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        a=recvonly\r\n\
        a=candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype passive\r\n\
        a=rtpmap:96 VP8/90000\r\n\
        a=rtpmap:97 H264/90000\r\n\
        a=fmtp:97 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
        a=recvonly\r\n\
        a=rtpmap:111 opus/48000/2\r\n";

    #[test]
    fn a_browsers_offer_is_met() {
        let offer = Offer::parse(GOOD).expect("good");
        assert_eq!(offer.fragment, "abcd");
        assert!(offer.audio && !offer.sdp.contains("candidate"));
    }

    #[test]
    fn what_cannot_be_met_is_refused_with_a_reason() {
        let without = |what: &str, with: &str| Offer::parse(&GOOD.replace(what, with));
        assert_eq!(Offer::parse("hello"), Err(Unmet::NotSdp));
        assert_eq!(without("m=video", "m=text"), Err(Unmet::NoVideo));
        assert_eq!(without("a=recvonly", "a=sendonly"), Err(Unmet::NoVideo));
        assert_eq!(without("m=video 9", "m=video 0"), Err(Unmet::NoVideo));
        assert_eq!(without("H264", "VP9"), Err(Unmet::NoH264));
        assert_eq!(without("mode=1", "mode=0"), Err(Unmet::NoH264));
        assert_eq!(without("42e01f", "640c1f"), Err(Unmet::NoH264));
        assert_eq!(without("a=ice-ufrag", "a=x"), Err(Unmet::NoIce));
        assert_eq!(without("a=fingerprint", "a=x"), Err(Unmet::NoFingerprint));
        assert_eq!(without("actpass", "passive"), Err(Unmet::WrongSetup));
        let many = format!("{GOOD}{}", "m=audio 9 x 0\r\n".repeat(20));
        assert_eq!(Offer::parse(&many), Err(Unmet::TooManySections));
    }

    #[test]
    fn the_answer_names_where_viewers_get_in() {
        let answer = "v=0\r\nm=video 9 x 1\r\na=candidate:1 1 udp 1 127.0.0.1 40000 typ host\r\n\
            a=candidate:2 1 udp 1 127.0.0.1 40001 typ host\r\na=end-of-candidates\r\n";
        let ips = ["192.0.2.1".parse().expect("an address")];
        let sdp = with_candidates(answer, &ips, 8189);
        let lines: Vec<_> = sdp.lines().filter(|l| l.contains("candidate:")).collect();
        assert_eq!(
            lines,
            [
                "a=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host",
                "a=candidate:2 1 tcp 1526726655 192.0.2.1 8189 typ host tcptype passive"
            ]
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = Offer::parse(&text);
            let _ = Offer::parse(&format!("v=0\n{text}"));
        }
    }
}
