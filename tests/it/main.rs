//! Black-box tests of the server: command line, RTMP, API and files.

#[path = "../common/mod.rs"]
mod common;

mod access;
mod agent_settings;
mod eval;
mod exchange;
mod explain;
mod fallback;
mod gemini;
mod incidents;
mod language;
mod odd_pictures;
mod outgoing_redaction;
mod panel;
mod panes;
mod push;
mod reload;
mod remote;
mod rtmp;
mod rtmp_bad_input;
mod series;
mod serve;
mod sharing;
mod sound;
mod store;
mod stream_context;
mod streams;
mod told_structure;
mod watchdog;
mod watches;
mod whip;
