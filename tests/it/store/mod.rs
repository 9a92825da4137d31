//! Store and its incidents end to end, with a console on a port of its own.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod bad_input;
mod decisions;
mod durability;
mod events;
mod handling;
mod handovers;
mod harness;
mod incidents;
mod panel;
mod retention;
mod settled;
mod shares;
mod suppressions;
