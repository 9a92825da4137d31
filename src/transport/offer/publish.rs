//! Offer of a publisher (WHIP, RFC 9725), and the answer to it.
//!
//! Takes one video and one audio section, each with the first
//! codec in its list that is known here, and of simulcast layers the first. The
//! other sections are rejected in the answer. webrtc gets an offer of one
//! section that stands for the transport alone: tracks are told apart by their
//! payload types in [`crate::reception`].

use std::fmt::Write as _;
use std::net::IpAddr;

use super::{
    H264, MediaKind, SdpSection, Transport, TransportAttributes, Unmet, named, parameter, sections,
    symmetric, transports,
};
use crate::answer;

/// RTP header extensions (RFC 8285) that are read.
pub const TRANSPORT_WIDE_NUMBER: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
pub const STREAM_ID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
pub const REPAIRED_STREAM_ID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
/// Extension that peers need for BUNDLE, and that is not read.
const MEDIA_ID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
/// Feedback that is sent.
const FEEDBACK: [&str; 4] = ["nack", "nack pli", "ccm fir", "transport-cc"];
/// Level of H.264 in the answer, 5.2: pictures up to 4096x2304. Some senders
/// scale down to the receiver's level, which may differ from theirs.
const HIGHEST_LEVEL: &str = "34";

/// Codec of a publisher's track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublishCodec {
    H264,
    Vp8,
    Vp9,
    Av1,
    Opus,
}

/// Codecs that are accepted, apart from H.264.
#[derive(Debug, Clone, Copy, Default)]
pub struct AcceptedCodecs {
    pub vp8: bool,
    pub vp9: bool,
    pub av1: bool,
    pub opus: bool,
}

/// Acceptable offer of a publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishOffer {
    /// SDP for webrtc.
    pub sdp: String,
    /// ICE user fragment and password of the peer.
    pub fragment: String,
    pub password: String,
    /// True if the peer waits for the DTLS handshake (`a=setup:passive`).
    pub peer_is_passive: bool,
    pub video: PublishedTrack,
    pub audio: Option<PublishedTrack>,
    sections: Vec<PublishSection>,
    bundle: Vec<String>,
}

/// Track that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedTrack {
    pub codec: PublishCodec,
    pub payload_type: u8,
    /// Payload type of its retransmissions (RFC 4588).
    pub rtx: Option<u8>,
    /// Layer of simulcast that was taken (RFC 8853).
    pub layer: Option<String>,
    pub extensions: PublishExtensions,
    /// Encoding, such as `H264/90000`, in the peer's spelling.
    name: String,
    /// Format parameters of the answer.
    parameters: String,
    feedback: Vec<String>,
}

/// Ids of the header extensions, by what is read from them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PublishExtensions {
    pub transport_wide_number: Option<u8>,
    pub stream_id: Option<u8>,
    pub repaired_stream_id: Option<u8>,
    media_id: Option<u8>,
}

/// Media section of the offer, as repeated in its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PublishSection {
    kind: String,
    protocol: String,
    formats: String,
    mid: Option<String>,
    /// Track that was accepted in it.
    accepted: Option<MediaKind>,
}

impl PublishOffer {
    pub fn parse(text: &str, accepted: AcceptedCodecs) -> Result<Self, Unmet> {
        let (session, media) = sections(text)?;
        let sent = |section: &&SdpSection<'_>| section.is_sent(&session);
        let videos: Vec<_> = media
            .iter()
            .filter(|section| section.kind == "video")
            .filter(sent)
            .collect();
        if videos.is_empty() {
            return Err(Unmet::NoVideoSent);
        }
        let served = |section: &SdpSection<'_>| {
            let sent = section.is_sent(&session);
            sent.then(|| section.published(accepted)).flatten()
        };
        let transport = transports(&session, &media, served)
            .into_iter()
            .filter(|transport| transport.video.is_some())
            .max_by_key(|transport| {
                let first = transport.members.iter().min().copied();
                (transport.audio.is_some(), std::cmp::Reverse(first))
            });
        let Some(Transport {
            bundle,
            members,
            video: Some((video_place, video)),
            audio,
        }) = transport
        else {
            return Err(Unmet::NoPublishedCodec {
                accepted: accepted.named(),
                offered: named(&videos),
            });
        };
        let attributes = Transport::<()>::new(bundle.clone(), members).attributes(&session, &media);
        let TransportAttributes {
            fragment,
            password,
            fingerprint,
            setup,
        } = attributes?;
        let peer_is_passive = setup == "passive";
        if !peer_is_passive && !matches!(setup, "actpass" | "active") {
            return Err(Unmet::UnknownSetup);
        }
        // With the payload type of the video, webrtc tells its packets apart
        // once, not each.
        let number = video.payload_type;
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE video\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF {number}\r\nc=IN IP4 0.0.0.0\r\na=mid:video\r\na=sendonly\r\n\
             a=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:{number} H264/90000\r\na=fmtp:{number} {H264}\r\n\
             a=ice-ufrag:{fragment}\r\na=ice-pwd:{password}\r\na=fingerprint:{fingerprint}\r\n\
             a=setup:{setup}\r\n"
        );
        let audio_place = audio.as_ref().map(|(place, _)| *place);
        let sections = media.iter().enumerate().map(|(place, section)| {
            let accepted = match place {
                _ if place == video_place => Some(MediaKind::Video),
                _ if Some(place) == audio_place => Some(MediaKind::Audio),
                _ => None,
            };
            PublishSection {
                kind: section.kind.to_owned(),
                protocol: section.protocol.to_owned(),
                formats: section.formats.to_owned(),
                mid: section.mid.map(ToOwned::to_owned),
                accepted,
            }
        });
        Ok(Self {
            sdp,
            fragment: fragment.to_owned(),
            password: password.to_owned(),
            peer_is_passive,
            sections: sections.collect(),
            video,
            audio: audio.map(|(_, track)| track),
            bundle: bundle.into_iter().map(ToOwned::to_owned).collect(),
        })
    }

    /// Answer to the peer; `made` is webrtc's.
    pub fn answer(&self, made: &str, addresses: &[IpAddr], port: u16) -> String {
        let mut parts = made.split("\nm=");
        let mut sdp = String::with_capacity(made.len() + 2048);
        let session = parts.next().unwrap_or_default();
        for line in session.lines().filter(|line| !line.starts_with("a=group:")) {
            let _ = write!(sdp, "{line}\r\n");
        }
        let accepted = |mid: &&String| {
            let mut sections = self.sections.iter();
            sections.any(|one| one.accepted.is_some() && one.mid.as_ref() == Some(mid))
        };
        let bundled: Vec<_> = self.bundle.iter().filter(accepted).cloned().collect();
        if !bundled.is_empty() {
            let _ = write!(sdp, "a=group:BUNDLE {}\r\n", bundled.join(" "));
        }
        let transport = answer::transport_lines(parts.next().unwrap_or_default());
        let mut candidates_written = false;
        for section in &self.sections {
            let track = match section.accepted {
                Some(MediaKind::Video) => Some(&self.video),
                Some(MediaKind::Audio) => self.audio.as_ref(),
                None => None,
            };
            section.answer(track, &transport, &mut sdp);
            if track.is_some() && !std::mem::replace(&mut candidates_written, true) {
                answer::candidates(&mut sdp, addresses, port);
            }
        }
        sdp
    }
}

impl PublishSection {
    fn answer(&self, track: Option<&PublishedTrack>, transport: &[&str], sdp: &mut String) {
        let formats = match track {
            Some(track) => {
                let rtx = track.rtx.map(|rtx| format!(" {rtx}")).unwrap_or_default();
                format!("{}{rtx}", track.payload_type)
            }
            None => self.formats.clone(),
        };
        let port = if track.is_some() { 9 } else { 0 };
        let (kind, protocol) = (&self.kind, &self.protocol);
        let _ = write!(
            sdp,
            "m={kind} {port} {protocol} {formats}\r\nc=IN IP4 0.0.0.0\r\n"
        );
        if let Some(mid) = &self.mid {
            let _ = write!(sdp, "a=mid:{mid}\r\n");
        }
        for line in transport {
            let _ = write!(sdp, "{line}\r\n");
        }
        match track {
            Some(track) => track.answer(sdp),
            None => sdp.push_str("a=inactive\r\n"),
        }
    }
}

impl PublishedTrack {
    /// True if the peer sends packets again on request.
    pub(crate) fn is_retransmitted(&self) -> bool {
        self.feedback.iter().any(|feedback| feedback == "nack")
    }

    fn answer(&self, sdp: &mut String) {
        let number = self.payload_type;
        sdp.push_str("a=recvonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\n");
        let _ = write!(sdp, "a=rtpmap:{number} {}\r\n", self.name);
        if !self.parameters.is_empty() {
            let _ = write!(sdp, "a=fmtp:{number} {}\r\n", self.parameters);
        }
        for feedback in &self.feedback {
            let _ = write!(sdp, "a=rtcp-fb:{number} {feedback}\r\n");
        }
        if let Some(rtx) = self.rtx {
            let _ = write!(
                sdp,
                "a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={number}\r\n"
            );
        }
        let extensions = &self.extensions;
        for (id, uri) in [
            (extensions.transport_wide_number, TRANSPORT_WIDE_NUMBER),
            (extensions.media_id, MEDIA_ID),
            (extensions.stream_id, STREAM_ID),
            (extensions.repaired_stream_id, REPAIRED_STREAM_ID),
        ] {
            if let Some(id) = id {
                let _ = write!(sdp, "a=extmap:{id} {uri}\r\n");
            }
        }
        if let Some(layer) = &self.layer {
            let _ = write!(sdp, "a=rid:{layer} recv\r\na=simulcast:recv {layer}\r\n");
        }
    }
}

impl AcceptedCodecs {
    fn named(self) -> String {
        let mut names = vec!["H.264 (H264/90000, packetization-mode 1)"];
        for (accepted, name) in [(self.vp8, "VP8"), (self.vp9, "VP9"), (self.av1, "AV1")] {
            names.extend(accepted.then_some(name));
        }
        names.join(", ")
    }

    /// Codec of an encoding name and its parameters, if it is accepted.
    fn codec(self, name: &str, parameters: &str) -> Option<PublishCodec> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let profile = |name| parameter(parameters, name).unwrap_or("0");
        // Eight bits and 4:2:0 only, as for every browser (RFC 9628, section 6;
        // AV1's RTP payload, section 7.2.1).
        let (accepted, codec) = match parameter(parameters, "packetization-mode") {
            Some("1") if is("H264/90000") => (true, PublishCodec::H264),
            _ if is("VP8/90000") => (self.vp8, PublishCodec::Vp8),
            _ if is("VP9/90000") => (self.vp9 && profile("profile-id") == "0", PublishCodec::Vp9),
            _ if is("AV1/90000") => (self.av1 && profile("profile") == "0", PublishCodec::Av1),
            _ if is("opus/48000/2") => (self.opus, PublishCodec::Opus),
            _ => return None,
        };
        accepted.then_some(codec)
    }
}

impl SdpSection<'_> {
    /// True if the peer sends in this section.
    fn is_sent(&self, session: &Self) -> bool {
        let direction = self.direction.or(session.direction).unwrap_or("sendrecv");
        self.is_open(session) && matches!(direction, "sendonly" | "sendrecv")
    }

    /// First codec in the peer's order that is accepted.
    fn published(&self, accepted: AcceptedCodecs) -> Option<PublishedTrack> {
        let parameters = |number: &str| {
            let found = self.parameters.iter().find(|(of, _)| *of == number);
            found.map_or("", |(_, parameters)| *parameters)
        };
        let (number, name, codec) = self.formats.split(' ').find_map(|number| {
            let (_, name) = self.codecs.iter().find(|(of, _)| *of == number)?;
            let codec = accepted.codec(name, parameters(number))?;
            let of_kind = (codec == PublishCodec::Opus) == (self.kind == "audio");
            of_kind.then_some((number, *name, codec))
        })?;
        let payload_type = number.parse::<u8>().ok().filter(|number| *number < 128)?;
        let rtx = self.codecs.iter().find_map(|(rtx, name)| {
            let repairs = parameter(parameters(rtx), "apt") == Some(number);
            let is_rtx = name.eq_ignore_ascii_case("rtx/90000") && repairs;
            is_rtx.then(|| rtx.parse::<u8>().ok()).flatten()
        });
        let feedback = self
            .feedback
            .iter()
            .filter(|(of, what)| (*of == "*" || *of == number) && FEEDBACK.contains(what));
        Some(PublishedTrack {
            codec,
            payload_type,
            rtx: rtx.filter(|rtx| *rtx < 128 && *rtx != payload_type),
            layer: self.first_layer(),
            extensions: self.publish_extensions(),
            name: name.to_owned(),
            parameters: match codec {
                PublishCodec::H264 => highest_level(&symmetric(parameters(number))),
                PublishCodec::Opus => "minptime=10;useinbandfec=1;stereo=1".to_owned(),
                _ => parameters(number).to_owned(),
            },
            feedback: feedback.map(|(_, what)| (*what).to_owned()).collect(),
        })
    }

    /// First layer that is sent, which the peer prefers (RFC 8853, section
    /// 5.1). Of alternatives the first; a `~` marks a paused one.
    fn first_layer(&self) -> Option<String> {
        let mut words = self.simulcast?.split_ascii_whitespace();
        words.find(|word| *word == "send")?;
        let layers = words.next()?;
        let first = layers.split([';', ',']).next()?.trim_start_matches('~');
        let is_id = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let valid = !first.is_empty() && first.len() <= 255 && first.chars().all(is_id);
        valid.then(|| first.to_owned())
    }

    fn publish_extensions(&self) -> PublishExtensions {
        let id = |wanted: &str| {
            self.extensions.iter().find_map(|extension| {
                let mut words = extension.split_ascii_whitespace();
                let id = words.next()?.split('/').next()?;
                let known = words.next() == Some(wanted);
                // Ids of the one-byte form.
                let id = id.parse::<u8>().ok().filter(|id| (1..=14).contains(id));
                known.then_some(id).flatten()
            })
        };
        PublishExtensions {
            transport_wide_number: id(TRANSPORT_WIDE_NUMBER),
            stream_id: id(STREAM_ID),
            repaired_stream_id: id(REPAIRED_STREAM_ID),
            media_id: id(MEDIA_ID),
        }
    }
}

/// Parameters of the answer, with the highest level where it may differ from
/// the offer's (RFC 6184, section 8.2.2).
fn highest_level(parameters: &str) -> String {
    let level = parameter(parameters, "profile-level-id").filter(|level| {
        parameter(parameters, "level-asymmetry-allowed") == Some("1")
            && level.len() == 6
            && level.is_ascii()
    });
    match level {
        Some(level) => {
            let raised = format!("{}{HIGHEST_LEVEL}", &level[..4]);
            parameters.replace(level, &raised)
        }
        None => parameters.to_owned(),
    }
}

#[cfg(test)]
mod tests;
