//! The analysts.

mod governor;

pub use governor::{Governor, GovernorSettings, Permit};
