//! WebRTC edge: viewers connect by WHEP, ICE and DTLS, and get their stream
//! from one UDP port.
//!
//! ```text
//!  POST /whep/{stream}                      StreamHub, Renditions
//!        |                                          |
//!     handlers --> gateway --> peer (webrtc)       fan: packetized once, one
//!                     |         ICE DTLS RTCP       |   task per stream
//!                     |            |                |  viewer: header, SRTP
//!                     |          line               |  outlet: one batch
//!                     |            |                |
//!                     +--------- port (one UDP socket) --------> viewers
//! ```
//!
//! [`client`] is the other end: it receives from such a server, ours or not.
//!
//! Only this wing names the `webrtc` and `rtc` crates. It owns viewers and
//! their packets; access control is the console's (its guard) and re-encodes
//! nothing (see [`watchtower_media::hub::renditions`]).

pub mod client;
mod fanout;
pub mod fuzz;
mod gateway;
mod link;
pub mod metrics;
mod packet_cache;
mod peer;
mod placeholder;
mod problem;
mod routes;
mod rtcp;
pub mod settings;
mod small_rendition;
mod viewer;

pub use crate::routes::router;
pub use gateway::{Gateway, GatewaySettings};
