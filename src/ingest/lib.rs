//! Ingest: from a publisher to access units in the hub, by RTMP or WHIP
//! ([`whip`]).
//!
//! Owns the listener, one task per connection, the protocol and the
//! authorization of publishers. The media belongs to others once it is in the
//! hub.
//!
//! ```text
//! TcpStream -> Connection -> Session -> ChunkReader     messages
//!                  |            `-----> amf             commands
//!                  |-> Access                           who may, under which name
//!                  `-> flv::Demuxer -> hub Publisher    audio and video
//!                          `-> Pictures                 tags to access units
//! ```
//!
//! Everything below `Connection` is free of I/O and is fuzzed unmodified.

mod access;
mod aggregate;
pub mod amf;
pub mod chunk;
mod connection;
mod enhanced;
pub mod flv;
#[doc(hidden)]
pub mod fuzz;
mod gate;
mod key_guesses;
pub mod metrics;
mod pictures;
mod server;
pub mod session;
pub mod settings;
#[cfg(test)]
mod shapes;
mod timestamps;
pub mod whip;

pub use gate::PublishGate;
pub use server::{BindError, RtmpListenerSettings, RtmpListeners};
