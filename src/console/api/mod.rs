//! Handlers of the JSON API and its event stream, one file per resource.

pub(super) mod agent_settings;
pub(super) mod ask;
pub(super) mod event_broadcast;
pub(super) mod events;
pub(super) mod findings;
pub(super) mod handling;
pub(super) mod handovers;
pub(super) mod health;
pub(super) mod history;
pub(super) mod inbound;
pub(super) mod incident_filter;
mod incident_order;
pub(super) mod incidents;
pub(super) mod live;
pub(super) mod overview;
pub(super) mod push;
pub(super) mod regions;
pub(super) mod remote_findings;
pub(super) mod series;
pub(super) mod setup;
pub(super) mod share_session;
pub(super) mod shares;
pub(super) mod sinks;
pub(super) mod stills;
pub(super) mod suppressions;
