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
//! A remote agent (`watchtower agent`) runs the same code with other endpoints:
//! [`playback::client`] publishes on its hub what another server sends, and
//! [`sinks::watchtower`] posts its findings to that server's console.
//!
//! # The one rule
//!
//! A wing depends only on wings of lower floors. Each is a crate of its own, so
//! the compiler holds it; `tests/architecture.rs` holds the manifests to it, and
//! `ARCHITECTURE.md` draws it. This crate gives them all one name.

// From the top floor down.
pub use watchtower_app as app;

pub use watchtower_console as console;

pub use watchtower_analysts as analysts;
pub use watchtower_sinks as sinks;

pub use watchtower_codec as codec;
pub use watchtower_models as models;
pub use watchtower_record as record;

pub use watchtower_ingest as ingest;
pub use watchtower_playback as playback;
pub use watchtower_screen as screen;

pub use watchtower_transport as transport;

pub use watchtower_domain as domain;
pub use watchtower_media as media;

pub use watchtower_base as base;
