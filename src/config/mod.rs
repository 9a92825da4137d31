//! What the person running Watchtower decides.

mod secret;

pub use secret::Secret;
