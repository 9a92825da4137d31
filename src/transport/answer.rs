//! SDP answer to the peer: webrtc's answer to the normalized offer, mapped to
//! the peer's media sections (RFC 3264, section 6: the same number and order).

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::offer::{Offer, Offered, OfferedCodec};

const TRANSPORT: [&str; 4] = ["a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=setup:"];

/// Builds the answer to the peer, with the server's candidates: UDP, and TCP
/// for networks that block UDP.
pub fn translated(offer: &Offer, answer: &str, addresses: &[IpAddr], port: u16) -> String {
    let mut parts = answer.split("\nm=");
    let mut sdp = String::with_capacity(answer.len() + 1024);
    let session = parts.next().unwrap_or_default();
    for line in session.lines().filter(|line| !line.starts_with("a=group:")) {
        let _ = write!(sdp, "{line}\r\n");
    }
    let served: Vec<_> = offer
        .bundle
        .iter()
        .filter(|mid| {
            let mut served = offer.sections.iter().filter(|one| one.served.is_some());
            served.any(|section| section.mid.as_ref() == Some(mid))
        })
        .map(String::as_str)
        .collect();
    if !served.is_empty() {
        let _ = write!(sdp, "a=group:BUNDLE {}\r\n", served.join(" "));
    }
    let made: Vec<_> = parts.collect();
    let transport = transport_lines(made.first().copied().unwrap_or_default());
    let mut candidates_written = false;
    for section in &offer.sections {
        let codec = section.served.as_ref();
        let ours = codec.and_then(|codec| {
            let ours = made.iter().find(|one| one.starts_with(codec.track.name()));
            Some((codec, *ours?))
        });
        match ours {
            Some((codec, ours)) => {
                accept(&mut sdp, section, codec, ours);
                if !std::mem::replace(&mut candidates_written, true) {
                    candidates(&mut sdp, addresses, port);
                }
            }
            None => refuse(&mut sdp, section, &transport),
        }
    }
    sdp
}

/// Lines of a section about its transport.
pub(crate) fn transport_lines(section: &str) -> Vec<&str> {
    let lines = section.lines();
    lines
        .filter(|line| TRANSPORT.iter().any(|name| line.starts_with(name)))
        .collect()
}

fn accept(sdp: &mut String, section: &Offered, codec: &OfferedCodec, ours: &str) {
    let mut lines = ours.lines();
    let formats = lines.next().and_then(|line| line.splitn(4, ' ').nth(3));
    let formats = formats.unwrap_or_default();
    let _ = write!(
        sdp,
        "m={} 9 {} {formats}\r\n",
        section.kind, section.protocol
    );
    for line in lines {
        let attribute = line.split_once(' ').map_or(line, |(name, _)| name);
        if attribute.starts_with("a=candidate:") || attribute.starts_with("a=end-of-candidates") {
            continue;
        }
        if attribute.starts_with("a=mid:") {
            if let Some(mid) = &section.mid {
                let _ = write!(sdp, "a=mid:{mid}\r\n");
            }
        } else if attribute.starts_with("a=rtpmap:") {
            let _ = write!(sdp, "{attribute} {}\r\n", codec.name);
        } else if attribute.starts_with("a=fmtp:") {
            if !codec.parameters.is_empty() {
                let _ = write!(sdp, "{attribute} {}\r\n", codec.parameters);
            }
        } else {
            let _ = write!(sdp, "{line}\r\n");
        }
    }
}

/// Rejects a section, repeating the transport attributes of the others, which
/// have no meaning here: GStreamer rejects an answer in which some section has
/// none.
fn refuse(sdp: &mut String, section: &Offered, transport: &[&str]) {
    let Offered {
        kind,
        protocol,
        formats,
        ..
    } = section;
    let _ = write!(
        sdp,
        "m={kind} 0 {protocol} {formats}\r\nc=IN IP4 0.0.0.0\r\n"
    );
    if let Some(mid) = &section.mid {
        let _ = write!(sdp, "a=mid:{mid}\r\n");
    }
    for line in transport {
        let _ = write!(sdp, "{line}\r\n");
    }
    sdp.push_str("a=inactive\r\n");
}

pub(crate) fn candidates(sdp: &mut String, addresses: &[IpAddr], port: u16) {
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
    sdp.push_str("a=end-of-candidates\r\n");
}

/// Addresses advertised to viewers as candidates.
pub fn advertised(local: SocketAddr, public: &[IpAddr], own: Vec<IpAddr>) -> (Vec<IpAddr>, u16) {
    let mut addresses = public.to_vec();
    for ip in own {
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    (addresses, local.port())
}
