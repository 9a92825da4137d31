//! Watchtower: a shared screen comes in over RTMP, a panel of AI analysts
//! looks at it, and what they find goes out with proof.
//!
//! ```text
//! Zoom / OBS / ffmpeg
//!    | RTMP
//!  rtmp ------> StreamHub ---> whep ---> WebRTC viewers
//!  (session)    (encoded) |
//!                         +--> av (one decode thread per stream)
//!                                  |
//!                                  v  Frame
//!                              FrameBus <---> vision (reads the screen's text, once for all)
//!                                  |
//!                                  v
//!                               agents ---> models (Gemini | OpenAI-style | offline rules)
//!                                  |
//!                                  v  Finding
//!                             FindingsBus + store (durable first, then fan out)
//!                                  |
//!                 logs/findings.jsonl, logs/<agent>.log, console (HTTP, SSE), sinks
//! ```
//!
//! A remote agent (`watchtower agent`) is the same house with other ends:
//! [`whep::client`] publishes on its hub what another server sends, and
//! [`report`] posts its findings to that server's console.
//!
//! # The one rule
//!
//! Three layers, and imports only ever point downwards:
//!
//! - **Words** are plain data without I/O: [`config`], [`media`], [`finding`],
//!   [`incident`], [`model`], [`masking`], [`screen`], [`metrics`], [`bits`],
//!   [`h264`], [`bearer`], [`backoff`],
//!   [`transcript`], [`admission`].
//! - **Meeting points** import words only: [`stream_hub`], [`frame_bus`],
//!   [`store`], [`budget`], [`roster`], [`deliveries`], [`tls`]; and [`findings_bus`], which stands on
//!   [`store`].
//! - **Edges** touch the outside; they import words and meeting points and
//!   never another edge: [`rtmp`], [`av`], [`vision`], [`models`], [`agents`],
//!   [`report`], [`sinks`], [`console`], [`eval`],
//!   [`history`], [`watchdog`], [`whep`].
//!
//! Only [`app`] knows everyone, and nobody imports [`app`] but the command
//! line. Each heavy dependency is named in one room. `tests/architecture.rs`
//! holds all of this against the code.

pub mod app;
pub mod cli;

pub mod agents;
pub mod av;
pub mod console;
pub mod eval;
pub mod history;
pub mod models;
pub mod report;
pub mod rtmp;
pub mod sinks;
pub mod vision;
pub mod watchdog;
pub mod whep;

pub mod budget;
pub mod deliveries;
pub mod findings_bus;
pub mod frame_bus;
pub mod roster;
pub mod store;
pub mod stream_hub;
pub mod tls;

pub mod admission;
pub mod backoff;
pub mod bearer;
pub mod bits;
pub mod config;
pub mod finding;
pub mod h264;
pub mod incident;
pub mod masking;
pub mod media;
pub mod metrics;
pub mod model;
pub mod screen;
pub mod transcript;
