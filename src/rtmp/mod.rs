//! RTMP ingest: from a publisher's socket to access units in the hub.
//!
//! Owns the listener, one task per connection, the protocol and the rules of
//! who may publish. Owns nothing of what happens to the media afterwards.
//!
//! ```text
//! TcpStream -> Connection -> Session -> ChunkReader     messages
//!                  |            `-----> amf             commands
//!                  |-> Access                           who may, under which name
//!                  `-> flv::Demuxer -> hub Publisher    audio and video
//!                          `-> Pictures                 tags to access units
//! ```
//!
//! Everything below `Connection` is free of I/O and is fuzzed as it stands.

mod access;
mod aggregate;
pub mod amf;
mod av1;
mod avc;
pub mod chunk;
mod clock;
mod codec;
mod connection;
mod enhanced;
mod flood;
pub mod flv;
#[doc(hidden)]
pub mod fuzz;
mod hevc;
mod nal;
mod pictures;
mod server;
pub mod session;
mod sets;
#[cfg(test)]
mod shapes;

pub use server::{BindError, Server, Settings};
