//! The WebRTC edge: viewers ask by WHEP, shake hands by ICE and DTLS, and get
//! their stream from one UDP port.
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
//! Only this room names the `webrtc` and `rtc` crates. It owns viewers and
//! their packets; it decides nothing about who may ask (the console's guard)
//! and re-encodes nothing (see [`crate::stream_hub::renditions`]).

mod answer;
pub mod client;
mod clock;
mod fan;
mod feedback;
pub mod fuzz;
mod gateway;
mod handlers;
mod hello;
mod history;
mod line;
mod link;
mod offer;
mod outlet;
mod packetizer;
mod peer;
mod port;
mod problem;
mod secrets;
mod slate;
mod small;
mod srtp;
mod stun;
mod tcp;
mod viewer;

pub use gateway::{Gateway, GatewaySettings};
pub use handlers::router;
