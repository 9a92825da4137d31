//! Domain types as plain data: findings, incidents and decisions about them,
//! transcripts, the status of analysts and sinks. No I/O.

pub mod agent_name;
pub mod cost;
pub mod screen_text;
pub mod series;

pub mod agent_status;
pub mod finding;
pub mod incident;
pub mod sink_status;
pub mod transcript;
