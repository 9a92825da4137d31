//! Sinks against real receivers where available (rsyslog, syslog-ng,
//! nats-server), otherwise against servers that validate requests against the
//! documented formats.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod chat;
mod check;
mod durability;
mod fake;
mod files;
pub(crate) mod harness;
mod inbound;
mod incident_lifecycle;
mod mutual_tls;
mod nats;
mod ocsf;
mod otlp;
mod poison;
mod siem;
mod speed;
mod syslog;
mod syslog_disconnects;
