//! Watchtower: a shared screen comes in over RTMP, a panel of AI analysts
//! looks at it, and what they find goes out with proof.
//!
//! ```text
//! Zoom / OBS / ffmpeg
//!    | RTMP
//! ingest --> media::hub --> playback --> WebRTC viewers
//!            (encoded)  |
//!                       +--> codec (decodes, one thread a stream)
//!                              |
//!                              v
//!                     screen::frames <--> screen (reads the text, once for all)
//!                              |
//!                              v
//!                          analysts --> models (Gemini | OpenAI-style | offline rules)
//!                              |
//!                              v
//!                           record (durable first, then told to all)
//!                              |
//!             logs/findings.jsonl, logs/<agent>.log, console (HTTP, SSE), sinks
//! ```
//!
//! A remote agent (`watchtower agent`) is the same house with other ends:
//! [`playback::client`] publishes on its hub what another server sends, and
//! [`sinks::watchtower`] posts its findings to that server's console.
//!
//! # The one rule
//!
//! A wing imports only wings on lower floors. `tests/architecture.rs` holds
//! it, and `ARCHITECTURE.md` draws it.

// From the top floor down.
pub mod app;

pub mod console;

pub mod analysts;
pub mod sinks;

pub mod codec;
pub mod models;
pub mod record;

pub mod ingest;
pub mod playback;
pub mod screen;

pub mod transport;

pub mod domain;
pub mod media;

pub mod base;
