//! Conformance tests: third-party receivers of findings, and published schemas.

#[path = "../common/mod.rs"]
mod common;

mod sinks;
