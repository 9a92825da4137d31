//! WebRTC playback: viewers connect by WHEP, ICE and DTLS, and receive their
//! stream from one UDP port.
//!
//! ```text
//!  POST /whep/{stream}                      StreamHub, Renditions
//!        |                                          |
//!      routes --> gateway --> peer (webrtc)       fanout: packetized once, one
//!                     |         ICE DTLS RTCP       |   task per stream
//!                     |            |                |  viewer: header, SRTP
//!                     |        IceSocket            |  GsoBatch: one send call
//!                     |            |                |
//!                     +--------- UdpMux (one UDP socket) ------> viewers
//! ```
//!
//! [`client`] is the receiving side, for servers of any make.
//!
//! The only wing that depends on the `webrtc` and `rtc` crates, apart from
//! transport. Owns viewers and their packets. Access control is the console's
//! (its guard), and re-encoding codec's (see
//! [`watchtower_media::hub::renditions`]).

pub mod client;
mod fanout;
pub mod fuzz;
mod gateway;
mod link;
pub mod metrics;
mod packet_cache;
mod peer;
mod placeholder;
mod routes;
mod rtcp;
pub mod settings;
mod small_rendition;
mod viewer;

pub use crate::routes::router;
pub use gateway::{Gateway, GatewaySettings};
