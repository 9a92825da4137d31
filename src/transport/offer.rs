//! SDP offer parsing, before a session exists (RFC 8866, RFC 8829).
//!
//! webrtc gets a normalized offer: one bundle with one section for each track
//! that will be sent. So the form of the peer's offer does not matter (bundled
//! or not, bundle-only, without mids or H.264 parameters, with a dozen sections
//! more); [`super::answer`] maps the answer back. A rejection carries a reason
//! the peer can act on.

use std::fmt::Write as _;

/// Maximum size of an offer in bytes. A browser's for one video and one audio
/// track is 6 kB; with all its codecs, candidates and extensions 20 kB.
pub const MOST_BYTES: usize = 64 << 10;
const MOST_MEDIA: usize = 16;
/// Accepted hash functions of fingerprints (RFC 8122, section 5), without weak
/// ones.
const HASHES: [&str; 3] = ["sha-256", "sha-384", "sha-512"];
/// Maximum number of codec names in the error to a peer without a common codec.
const MOST_NAMED: usize = 12;
/// Format parameters for webrtc, those of its own configurations.
pub(crate) const H264: &str =
    "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
const OPUS: &str = "minptime=10;useinbandfec=1";

/// Tracks of a stream; both if it has just begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamTracks {
    pub picture: bool,
    pub sound: bool,
}

/// Acceptable offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// SDP for webrtc. Without candidates: viewers connect to the server, never
    /// the reverse.
    pub sdp: String,
    /// ICE user fragment of the peer.
    pub fragment: String,
    /// All media sections, in the peer's order.
    pub sections: Vec<Offered>,
    /// Mids that may share the transport, in the order of their group; empty
    /// without a group.
    pub(crate) bundle: Vec<String>,
}

/// Media section of the offer, as repeated in its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    pub(crate) kind: String,
    pub(crate) protocol: String,
    pub(crate) formats: String,
    pub(crate) mid: Option<String>,
    /// Codec that will be sent in it; `None` if the section is rejected.
    pub(crate) served: Option<OfferedCodec>,
}

/// Codec from the peer's offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OfferedCodec {
    pub(crate) track: MediaKind,
    payload_type: u8,
    /// Encoding `H264/90000` or the like, in the peer's spelling.
    pub(crate) name: String,
    /// Parameters that have to be symmetric (RFC 6184, section 8.2.2), in the
    /// peer's spelling.
    pub(crate) parameters: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaKind {
    Video,
    Audio,
}

impl MediaKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
        }
    }
}

/// Reason an offer can't be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    #[error("not a session description: expected v=0 in the first line")]
    NotSdp,
    #[error("more than {MOST_MEDIA} media sections")]
    TooManySections,
    #[error(
        "no section that receives: expected m=video or m=audio with a=recvonly or a=sendrecv, and \
         a port that is not 0 unless it is a=bundle-only in a BUNDLE group"
    )]
    NothingWanted,
    #[error(
        "no H.264 (H264/90000, packetization-mode 0 or 1) among the video codecs, which are {0}"
    )]
    NoH264(String),
    #[error("no Opus (opus/48000/2) among the audio codecs, which are {0}")]
    NoOpus(String),
    #[error("the stream has no video, and the offer has no audio section")]
    NoPicture,
    #[error("the stream has no audio, and the offer has no video section")]
    NoSound,
    #[error("no a=ice-ufrag and a=ice-pwd")]
    NoIce,
    #[error("a=ice-lite: the server is an ICE-lite agent too")]
    BothLite,
    #[error("no a=fingerprint by sha-256 or stronger: media is sent over DTLS-SRTP only")]
    NoFingerprint,
    #[error("a=setup must be actpass or active: the server is passive")]
    WrongSetup,
    #[error("a=setup must be actpass, active or passive")]
    UnknownSetup,
    #[error(
        "no video is sent: expected m=video with a=sendonly or a=sendrecv, and a port that is not \
         0 unless it is a=bundle-only in a BUNDLE group"
    )]
    NoVideoSent,
    #[error("none of the video codecs is accepted: expected {accepted}; offered are {offered}")]
    NoPublishedCodec { accepted: String, offered: String },
}

#[derive(Default)]
struct SdpSection<'a> {
    kind: &'a str,
    protocol: &'a str,
    formats: &'a str,
    mid: Option<&'a str>,
    port_zero: bool,
    bundle_only: bool,
    direction: Option<&'a str>,
    lite: bool,
    /// Payload type and its encoding.
    codecs: Vec<(&'a str, &'a str)>,
    parameters: Vec<(&'a str, &'a str)>,
    feedback: Vec<(&'a str, &'a str)>,
    extensions: Vec<&'a str>,
    /// Values of `a=simulcast`.
    simulcast: Option<&'a str>,
    /// Mids of bundle groups; in the session section only.
    bundles: Vec<Vec<&'a str>>,
    fragment: Option<&'a str>,
    password: Option<&'a str>,
    fingerprint: Option<&'a str>,
    setup: Option<&'a str>,
}

/// Tracks that one transport could carry, as indices of the sections.
struct Transport<'a, C = OfferedCodec> {
    bundle: Vec<&'a str>,
    members: Vec<usize>,
    video: Option<(usize, C)>,
    audio: Option<(usize, C)>,
}

/// Attributes of a transport (RFC 8839, RFC 8122).
struct TransportAttributes<'a> {
    fragment: &'a str,
    password: &'a str,
    fingerprint: &'a str,
    setup: &'a str,
}

impl<'a, C> Transport<'a, C> {
    fn new(bundle: Vec<&'a str>, members: Vec<usize>) -> Self {
        Self {
            bundle,
            members,
            video: None,
            audio: None,
        }
    }

    fn attributes(
        &self,
        session: &SdpSection<'a>,
        media: &[SdpSection<'a>],
    ) -> Result<TransportAttributes<'a>, Unmet> {
        let members = || self.members.iter().map(|member| &media[*member]);
        // All tracks use the transport of the group's first section (RFC 8843,
        // section 7.2), whatever the others specify.
        let fragment = members().find_map(|section| section.fragment);
        let fragment = fragment.or(session.fragment).ok_or(Unmet::NoIce)?;
        let password = members().find_map(|section| section.password);
        let password = password.or(session.password).ok_or(Unmet::NoIce)?;
        if session.lite {
            return Err(Unmet::BothLite);
        }
        let fingerprint = members().find_map(|section| section.fingerprint);
        let fingerprint = fingerprint
            .or(session.fingerprint)
            .ok_or(Unmet::NoFingerprint)?;
        let setup = members().find_map(|section| section.setup);
        let setup = setup.or(session.setup).unwrap_or_default();
        Ok(TransportAttributes {
            fragment,
            password,
            fingerprint,
            setup,
        })
    }
}

impl Offer {
    pub fn parse(text: &str, stream: StreamTracks) -> Result<Self, Unmet> {
        let (session, media) = sections(text)?;
        let transport = choose(&session, &media, stream)?;
        let TransportAttributes {
            fragment,
            password,
            fingerprint,
            setup,
        } = transport.attributes(&session, &media)?;
        if !matches!(setup, "actpass" | "active") {
            return Err(Unmet::WrongSetup);
        }
        let served: Vec<_> = [&transport.video, &transport.audio]
            .into_iter()
            .flatten()
            .collect();
        let mut sdp = String::from("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n");
        let mids: Vec<_> = served.iter().map(|(_, codec)| codec.track.name()).collect();
        let _ = write!(sdp, "a=group:BUNDLE {}\r\n", mids.join(" "));
        for (place, codec) in &served {
            media[*place].restate(codec, &mut sdp);
            let _ = write!(
                sdp,
                "a=ice-ufrag:{fragment}\r\na=ice-pwd:{password}\r\n\
                 a=fingerprint:{fingerprint}\r\na=setup:{setup}\r\n"
            );
        }
        let offered = media.iter().enumerate().map(|(place, section)| {
            let served = served.iter().find(|(taken, _)| *taken == place);
            section.offered(served.map(|(_, codec)| codec.clone()))
        });
        Ok(Self {
            sections: offered.collect(),
            bundle: transport
                .bundle
                .iter()
                .map(|mid| (*mid).to_owned())
                .collect(),
            sdp,
            fragment: fragment.to_owned(),
        })
    }

    pub fn takes(&self, track: MediaKind) -> bool {
        self.sections
            .iter()
            .filter_map(|section| section.served.as_ref())
            .any(|codec| codec.track == track)
    }
}

/// Splits SDP into the session section and the media sections.
fn sections(text: &str) -> Result<(SdpSection<'_>, Vec<SdpSection<'_>>), Unmet> {
    // A stray CR might end a line for the parser of the answer.
    let mut lines = text.lines().filter(|line| !line.contains(char::is_control));
    if lines.next() != Some("v=0") {
        return Err(Unmet::NotSdp);
    }
    let mut session = SdpSection::default();
    let mut media: Vec<SdpSection<'_>> = Vec::new();
    for line in lines {
        if let Some(media_line) = line.strip_prefix("m=") {
            if media.len() == MOST_MEDIA {
                return Err(Unmet::TooManySections);
            }
            media.push(SdpSection::media(media_line));
        } else if let Some(attribute) = line.strip_prefix("a=") {
            media.last_mut().unwrap_or(&mut session).note(attribute);
        }
    }
    Ok((session, media))
}

/// Selects the transport that carries most tracks of the stream: a viewer has
/// only one, and video takes precedence over audio.
fn choose<'a>(
    session: &SdpSection<'a>,
    media: &[SdpSection<'a>],
    stream: StreamTracks,
) -> Result<Transport<'a>, Unmet> {
    let wanted = |kind: &str| {
        let of_kind = media.iter().filter(move |section| section.kind == kind);
        let wanted = of_kind.filter(|section| section.is_wanted(session));
        wanted.collect::<Vec<_>>()
    };
    let (videos, audios) = (wanted("video"), wanted("audio"));
    let mut best = None;
    let served = |section: &SdpSection<'a>| {
        let wanted = section.is_wanted(session);
        wanted.then(|| section.codec()).flatten()
    };
    for transport in transports(session, media, served) {
        let worth = 2 * u8::from(stream.picture && transport.video.is_some())
            + u8::from(stream.sound && transport.audio.is_some());
        if worth > best.as_ref().map_or(0, |(most, _)| *most) {
            best = Some((worth, transport));
        }
    }
    let shows = best.as_ref().is_some_and(|(worth, _)| *worth >= 2);
    if stream.picture && !shows && !videos.is_empty() {
        return Err(Unmet::NoH264(named(&videos)));
    }
    match best {
        Some((_, transport)) => Ok(transport),
        None if stream.sound && !audios.is_empty() => Err(Unmet::NoOpus(named(&audios))),
        None if !videos.is_empty() => Err(Unmet::NoPicture),
        None if !audios.is_empty() => Err(Unmet::NoSound),
        None => Err(Unmet::NothingWanted),
    }
}

/// Transports of the offer: one for each group, and one for each ungrouped
/// section.
///
/// `served` selects the codec of a section; `None` leaves the section out.
fn transports<'a, C>(
    session: &SdpSection<'a>,
    media: &[SdpSection<'a>],
    served: impl Fn(&SdpSection<'a>) -> Option<C>,
) -> Vec<Transport<'a, C>> {
    let place = |mid: &str| media.iter().position(|section| section.mid == Some(mid));
    let mut found: Vec<Transport<'a, C>> = Vec::new();
    let mut grouped = vec![false; media.len()];
    for bundle in &session.bundles {
        let mut transport = Transport::new(bundle.clone(), Vec::new());
        for member in bundle.iter().filter_map(|mid| place(mid)) {
            if !std::mem::replace(&mut grouped[member], true) {
                transport.members.push(member);
            }
        }
        found.push(transport);
    }
    let alone = (0..media.len()).filter(|place| !grouped[*place]);
    found.extend(alone.map(|place| Transport::new(Vec::new(), vec![place])));
    // Earlier sections take precedence.
    found.sort_by_key(|transport| transport.members.iter().copied().min());
    for transport in &mut found {
        let mut members = transport.members.clone();
        members.sort_unstable();
        for place in members {
            let section = &media[place];
            let free = match section.kind {
                "video" => &mut transport.video,
                "audio" => &mut transport.audio,
                _ => continue,
            };
            if free.is_none() {
                *free = served(section).map(|codec| (place, codec));
            }
        }
    }
    found
}

fn named(sections: &[&SdpSection<'_>]) -> String {
    let codecs = sections.iter().flat_map(|section| &section.codecs);
    let mut names: Vec<_> = codecs.map(|(_, codec)| *codec).collect();
    names.dedup();
    names.truncate(MOST_NAMED);
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join(", ")
}

impl<'a> SdpSection<'a> {
    fn media(line: &'a str) -> Self {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default();
        Self {
            kind: word(),
            port_zero: word() == "0",
            protocol: word(),
            formats: word(),
            ..Self::default()
        }
    }

    fn note(&mut self, attribute: &'a str) {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name {
            "recvonly" | "sendrecv" | "sendonly" | "inactive" => self.direction = Some(name),
            "rtpmap" => self.codecs.extend(value.split_once(' ')),
            "fmtp" => self.parameters.extend(value.split_once(' ')),
            "rtcp-fb" => self.feedback.extend(value.split_once(' ')),
            "extmap" => self.extensions.push(value),
            "simulcast" => self.simulcast = Some(value),
            "mid" => self.mid = Some(value),
            "bundle-only" => self.bundle_only = true,
            "ice-lite" => self.lite = true,
            "group" => {
                let mut words = value.split_ascii_whitespace();
                if words.next() == Some("BUNDLE") {
                    self.bundles.push(words.collect());
                }
            }
            "ice-ufrag" => self.fragment = Some(value),
            "ice-pwd" => self.password = Some(value),
            "fingerprint" => {
                let hash = value.split(' ').next().unwrap_or_default();
                if HASHES.iter().any(|known| known.eq_ignore_ascii_case(hash)) {
                    self.fingerprint.get_or_insert(value);
                }
            }
            "setup" => self.setup = Some(value),
            _ => {}
        }
    }

    /// True if the peer wants to receive in this section.
    fn is_wanted(&self, session: &Self) -> bool {
        // Without an attribute it is sendrecv (RFC 8866, section 6.7).
        let direction = self.direction.or(session.direction).unwrap_or("sendrecv");
        self.is_open(session) && matches!(direction, "recvonly" | "sendrecv")
    }

    /// True unless the section is rejected.
    fn is_open(&self, session: &Self) -> bool {
        // Port 0 is a rejection, except for a bundled section without a
        // transport of its own (RFC 8843, section 6).
        let bundled = || {
            self.mid
                .is_some_and(|mid| session.bundles.iter().flatten().any(|other| *other == mid))
        };
        !self.port_zero || self.bundle_only && bundled()
    }

    fn codec(&self) -> Option<OfferedCodec> {
        match self.kind {
            "video" => self.h264(),
            _ => self.opus(),
        }
    }

    fn codecs(&self, track: MediaKind) -> impl Iterator<Item = OfferedCodec> {
        self.codecs.iter().filter_map(move |(number, name)| {
            let payload_type = number.parse().ok().filter(|number| *number < 128)?;
            let offered = self.formats.split(' ').any(|format| format == *number);
            let parameters = self.parameters.iter().find(|(of, _)| of == number);
            offered.then(|| OfferedCodec {
                track,
                payload_type,
                name: (*name).to_owned(),
                parameters: parameters.map_or(String::new(), |(_, fmtp)| (*fmtp).to_owned()),
            })
        })
    }

    /// Offered codec closest to the stream's. The profile is ignored: decoders
    /// accept more than they declare, and most streams fit all of them.
    fn h264(&self) -> Option<OfferedCodec> {
        let of_kind = self
            .codecs(MediaKind::Video)
            .filter(|codec| codec.name.eq_ignore_ascii_case("H264/90000"));
        let best = of_kind
            .filter_map(|codec| Some((h264_rank(&codec.parameters)?, codec)))
            .min_by_key(|(rank, _)| *rank);
        best.map(|(_, codec)| OfferedCodec {
            parameters: symmetric(&codec.parameters),
            ..codec
        })
    }

    /// Matches Opus without channels too: some peers omit the 2 that RFC 7587
    /// requires.
    fn opus(&self) -> Option<OfferedCodec> {
        let is_opus = |name: &str| {
            ["opus/48000/2", "opus/48000"]
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name))
        };
        self.codecs(MediaKind::Audio)
            .find(|codec| is_opus(&codec.name))
            .map(|codec| OfferedCodec {
                parameters: OPUS.to_owned(),
                ..codec
            })
    }

    /// Media section for webrtc, with the one codec.
    fn restate(&self, codec: &OfferedCodec, sdp: &mut String) {
        let number = codec.payload_type;
        let (name, parameters) = match codec.track {
            MediaKind::Video => ("H264/90000", H264),
            MediaKind::Audio => ("opus/48000/2", OPUS),
        };
        let track = codec.track.name();
        let _ = write!(
            sdp,
            "m={track} 9 UDP/TLS/RTP/SAVPF {number}\r\nc=IN IP4 0.0.0.0\r\na=mid:{track}\r\n\
             a=recvonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:{number} {name}\r\n\
             a=fmtp:{number} {parameters}\r\n"
        );
        for (_, feedback) in self
            .feedback
            .iter()
            .filter(|(of, _)| *of == "*" || of.parse() == Ok(number))
        {
            let _ = write!(sdp, "a=rtcp-fb:{number} {feedback}\r\n");
        }
        for extension in &self.extensions {
            let _ = write!(sdp, "a=extmap:{extension}\r\n");
        }
    }

    fn offered(&self, served: Option<OfferedCodec>) -> Offered {
        Offered {
            kind: self.kind.to_owned(),
            protocol: self.protocol.to_owned(),
            formats: self.formats.to_owned(),
            mid: self.mid.map(ToOwned::to_owned),
            served,
        }
    }
}

fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    parameters.split(';').find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Rank of H.264 parameters, lower is better; `None` for interleaved mode,
/// which is not sent.
///
/// Without parameters mode 0 and the baseline profile are implied (RFC 6184,
/// section 8.1), in which a large picture could not be sent at all; in practice
/// a receiver that reassembles packets does so in either mode.
fn h264_rank(parameters: &str) -> Option<(u8, u8)> {
    let mode = match parameter(parameters, "packetization-mode") {
        Some("1") => 0,
        Some("0") | None => 1,
        Some(_) => return None,
    };
    let profile = parameter(parameters, "profile-level-id").unwrap_or("42");
    let number = |at| {
        profile
            .get(at..at + 2)
            .map(|hex| u8::from_str_radix(hex, 16))
    };
    let constrained = matches!(number(2), Some(Ok(flags)) if flags & 0x40 != 0);
    let rank = match number(0) {
        Some(Ok(66)) if constrained => 0,
        Some(Ok(66)) => 1,
        Some(Ok(77)) => 2,
        Some(Ok(100)) => 3,
        _ => 4,
    };
    Some((mode, rank))
}

/// Parameters that the answer has to repeat (RFC 6184, section 8.2.2).
fn symmetric(parameters: &str) -> String {
    let kept = [
        "level-asymmetry-allowed",
        "packetization-mode",
        "profile-level-id",
    ];
    let pairs = kept
        .iter()
        .filter_map(|name| Some(format!("{name}={}", parameter(parameters, name)?)));
    pairs.collect::<Vec<_>>().join(";")
}

pub mod publish;
#[cfg(test)]
mod tests;
