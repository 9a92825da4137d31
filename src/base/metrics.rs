//! Registry of the counters that `/metrics` shows.
//!
//! Each wing has a struct of its own counters, registered here by the names
//! that page shows. There is no global registry, so that two servers in one
//! process (the tests) don't add up. Labels come from closed sets or from
//! validated names, so that no publisher or screen can add series.

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Metric, Registry};

/// Metrics of one server, in the order they were registered in.
#[derive(Debug)]
pub struct MetricsRegistry {
    registry: Registry,
    /// Shared by the wings, each with its own values of `where`.
    dropped: Family<DropLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DropLabel {
    r#where: &'static str,
}

impl Default for MetricsRegistry {
    fn default() -> Self {
        let mut registry = Self {
            registry: Registry::with_prefix("watchtower"),
            dropped: Family::default(),
        };
        registry.dropped = registry.register("dropped", "Items dropped due to backpressure");
        registry
    }
}

impl MetricsRegistry {
    /// Registers a metric shown as `watchtower_<name>`; the text format appends
    /// `_total` to a counter's name, and a full stop to `help`, by itself. A
    /// name is registered once.
    pub fn register<M>(&mut self, name: &'static str, help: &'static str) -> M
    where
        M: Metric + Clone + Default,
    {
        self.register_made(name, help, M::default())
    }

    /// The same with a metric that has no default, as a histogram.
    pub fn register_made<M>(&mut self, name: &'static str, help: &'static str, metric: M) -> M
    where
        M: Metric + Clone,
    {
        self.registry.register(name, help, metric.clone());
        metric
    }

    /// Counter of items dropped by `place` at a full queue, shown as
    /// `watchtower_dropped_total{where="<place>"}`.
    pub fn dropped(&self, place: &'static str) -> Counter {
        self.dropped
            .get_or_create_owned(&DropLabel { r#where: place })
    }

    /// The OpenMetrics text (version 1.0.0).
    pub fn render(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.registry).expect("writing to a String does not fail");
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_text_contains_registered_metrics() {
        let mut registry = MetricsRegistry::default();
        let frames: Counter = registry.register("frames", "Pictures decoded");
        frames.inc();
        let dropped = registry.dropped("decoder");
        registry.dropped("decoder").inc_by(2);
        assert_eq!(dropped.get(), 2);
        assert_eq!(
            registry.render(),
            "# HELP watchtower_dropped Items dropped due to backpressure.\n\
             # TYPE watchtower_dropped counter\n\
             watchtower_dropped_total{where=\"decoder\"} 2\n\
             # HELP watchtower_frames Pictures decoded.\n\
             # TYPE watchtower_frames counter\n\
             watchtower_frames_total 1\n\
             # EOF\n"
        );
    }
}
