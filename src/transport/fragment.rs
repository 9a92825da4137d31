//! SDP fragments of an ICE restart (RFC 8840; RFC 9725, section 4.3.3).

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::answer;
use crate::ice_socket::IceCredentials;

/// Restart that a peer requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart<'a> {
    /// User fragment of the peer.
    pub remote: &'a str,
    /// Media line and mid that name the transport.
    media: Option<&'a str>,
    mid: Option<&'a str>,
}

impl<'a> Restart<'a> {
    /// Parses a fragment; `None` without both credentials.
    pub fn parse(text: &'a str) -> Option<Self> {
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        value("a=ice-pwd:").filter(|password| !password.is_empty())?;
        Some(Self {
            remote: value("a=ice-ufrag:").filter(|fragment| !fragment.is_empty())?,
            media: value("m="),
            mid: value("a=mid:"),
        })
    }

    /// Fragment of the answer.
    pub fn answer(&self, ours: &IceCredentials, addresses: &[IpAddr], port: u16) -> String {
        let mut text = String::from("a=ice-lite\r\n");
        for (name, value) in [("m=", self.media), ("a=mid:", self.mid)] {
            if let Some(value) = value {
                let _ = write!(text, "{name}{value}\r\n");
            }
        }
        let IceCredentials { fragment, password } = ours;
        let _ = write!(text, "a=ice-ufrag:{fragment}\r\na=ice-pwd:{password}\r\n");
        answer::candidates(&mut text, addresses, port);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_names_the_transport_and_the_new_credentials() {
        let asked =
            "a=ice-ufrag:new\r\na=ice-pwd:secret\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n";
        let restart = Restart::parse(asked).expect("complete");
        assert_eq!(restart.remote, "new");
        let ours = IceCredentials {
            fragment: "ours".to_owned(),
            password: "hidden".to_owned(),
        };
        let addresses = ["192.0.2.1".parse().expect("an address")];
        assert_eq!(
            restart.answer(&ours, &addresses, 8189),
            "a=ice-lite\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
             a=ice-ufrag:ours\r\na=ice-pwd:hidden\r\n\
             a=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host\r\n\
             a=candidate:2 1 tcp 1526726655 192.0.2.1 8189 typ host tcptype passive\r\n\
             a=end-of-candidates\r\n"
        );
        for incomplete in ["", "a=ice-ufrag:new\r\n", "a=ice-ufrag:\r\na=ice-pwd:x\r\n"] {
            assert_eq!(Restart::parse(incomplete), None);
        }
    }
}
