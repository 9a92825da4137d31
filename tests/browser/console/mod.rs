//! The console end to end: a real server, real publishers, and a real browser.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;

pub(crate) mod accessible;
mod acting;
mod analysts;
mod boxes;
mod bulk;
mod decisions;
mod described;
mod description;
mod handover;
mod history;
mod hostile;
mod lanes;
mod links;
mod listing;
mod load;
mod models;
mod notifications;
mod overview_reads;
mod proof;
mod push;
mod reconnect;
mod series_view;
mod setup_view;
mod share_calls;
mod statistics;
mod tiles;
mod time_range;
mod times;
mod waiting;
mod walk;
mod whip_calls;
