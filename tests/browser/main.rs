//! The server as a person meets it: Chromium watches and works the console.

#[path = "../common/mod.rs"]
mod common;

mod console;
mod injection;
mod playback;
mod redaction;
mod tls;
mod whep;
