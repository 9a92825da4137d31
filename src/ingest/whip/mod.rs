//! WHIP (RFC 9725): publishers connect by HTTP, ICE and DTLS on the viewers'
//! port.
//!
//! ```text
//!  POST /whip/{stream}   key or token        StreamHub
//!        |                                       |
//!      routes --> server --> session: reorder, depacketize, clock
//!                              |    keyframes: when to request one
//!                              |
//!                      ReceivingPeer (transport): ICE, DTLS, SRTP, feedback
//! ```

mod bearer;
mod clock;
mod intake;
mod keyframes;
mod routes;
mod server;
mod session;

pub use routes::router;
pub use server::{WhipServer, WhipSettings};
