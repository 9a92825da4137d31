//! Sinks against receivers of the real world where there are any (rsyslog,
//! syslog-ng, nats-server), and against servers that hold requests against
//! the documented formats where there are none.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod chat;
mod check;
mod durability;
mod fake;
mod files;
mod harness;
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
