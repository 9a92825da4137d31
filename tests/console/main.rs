//! The console as a person meets it: a real server, real publishers, and a
//! real browser.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;
mod desk;

mod accessible;
mod bulk;
mod day;
mod dead;
mod described;
mod hand;
mod hostile;
mod lost;
mod many;
mod models;
mod shift;
mod waiting;
