//! Tests of the server with Chromium: playback and the console.

#[path = "../common/mod.rs"]
mod common;

mod ai_screens;
mod console;
mod injection;
mod playback;
mod redaction;
mod share;
mod tls;
mod whep;
mod whip;
