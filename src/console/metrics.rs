//! Counters of access to the console.

use prometheus_client::metrics::counter::Counter;

use watchtower_base::metrics::MetricsRegistry;

#[derive(Debug)]
pub struct ConsoleMetrics {
    /// Wrong console tokens, and cookies made with a wrong one.
    pub wrong_tokens: Counter,
    /// Wrong tokens of share links.
    pub wrong_share_tokens: Counter,
}

impl ConsoleMetrics {
    pub fn new(registry: &mut MetricsRegistry) -> Self {
        // Always 0, since slow clients of the event stream re-read the record;
        // the series stays for existing queries.
        drop(registry.dropped("events"));
        Self {
            wrong_tokens: registry.register("wrong_tokens", "Invalid console tokens"),
            wrong_share_tokens: registry.register("wrong_share_tokens", "Invalid share tokens"),
        }
    }
}

impl Default for ConsoleMetrics {
    fn default() -> Self {
        Self::new(&mut MetricsRegistry::default())
    }
}
