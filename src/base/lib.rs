//! Shared infrastructure without domain knowledge: no streams, findings or
//! models.

pub mod accept;
pub mod atomic_file;
pub mod backoff;
pub mod bearer;
pub mod config;
pub mod connection_limit;
pub mod cpu_time;
pub mod failure_limit;
pub mod http_client;
pub mod log_limit;
pub mod metrics;
pub mod publish_tokens;
pub mod retry_after;
pub mod secret;
pub mod stream_name;
pub mod sync;
pub mod text;
pub mod tls;
pub mod token_bucket;
pub mod url;
pub mod webhook_signature;
