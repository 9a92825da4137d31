//! HTTP infrastructure: server with deadlines, TLS, problem documents (RFC
//! 9457), conditional requests (RFC 9110, section 13), pages of lists, the
//! OpenAPI document.

pub(super) mod body;
pub(super) mod conditional;
pub(super) mod list;
pub(super) mod openapi;
pub(super) mod problem;
pub(super) mod public;
pub(super) mod server;
pub(super) mod tls;
pub(super) mod write_deadline;
