//! Other people's programs as judges: receivers of findings, and published schemas.

#[path = "../common/mod.rs"]
mod common;

mod sinks;
