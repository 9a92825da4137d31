//! Cost and latency of the console: `cargo bench --bench console`.
//!
//! A real `watchtower serve` in a folder of its own, fed through its API like
//! remote agents.
//!
//! - `listeners`: 200 event streams at 20 findings a second; the server's CPU
//!   in per cent of a core, with and without listeners, and how long after the
//!   report each heard of it.
//! - `page`: what a first load transfers, how long until it can be used, and
//!   how long until a finding shows, in headless Chromium.
//! - `scroll`: 10,000 incidents, scrolled from top to end; the longest tasks.
//! - `live`: half a minute of the sample in Live; the time of the main thread.
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

#[path = "../../tests/common/chromium.rs"]
#[expect(dead_code, unreachable_pub, reason = "the tests use the rest")]
mod chromium;
mod listeners;
mod page;
mod server;

fn main() {
    let selected: Vec<_> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let runs = |name: &str| selected.is_empty() || selected.iter().any(|one| one == name);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if runs("listeners") {
        runtime.block_on(listeners::run());
    }
    if runs("page") {
        runtime.block_on(page::load());
    }
    if runs("scroll") {
        runtime.block_on(page::scroll());
    }
    if runs("live") {
        runtime.block_on(page::live());
    }
}
