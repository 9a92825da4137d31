//! Command line, configuration, and the commands that combine the wings. Only
//! `main.rs` imports this wing.

mod agents_file;
mod build_agents;
mod check;
pub mod cli;
pub mod commands;
pub mod config;
mod decoders;
pub mod eval;
mod explain;
mod metrics;
pub mod print;
pub mod private;
mod reload;
mod remote_agent;
pub mod replay;
pub mod serve;
mod sink_test;
mod tail;
pub mod tasks;
