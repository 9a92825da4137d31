//! Conformance tests: third-party receivers of findings, published schemas, and
//! the metrics by another's parser.

#[path = "../common/mod.rs"]
mod common;

mod open_metrics;
mod sinks;
