//! Counters of each sink's deliveries.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use watchtower_base::metrics::MetricsRegistry;

#[derive(Debug)]
pub struct SinkMetrics {
    sink_delivered: Family<SinkLabel, Counter>,
    sink_failed: Family<SinkLabel, Counter>,
    sink_dead: Family<SinkLabel, Counter>,
    sink_lost: Family<SinkLabel, Counter>,
    sink_behind: Family<SinkLabel, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SinkLabel {
    sink: String,
}

impl SinkMetrics {
    pub fn new(registry: &mut MetricsRegistry) -> Self {
        Self {
            sink_delivered: registry.register("sink_delivered", "Events delivered by a sink"),
            sink_failed: registry.register("sink_failed", "Failed delivery attempts of a sink"),
            sink_dead: registry.register("sink_dead", "Events moved to dead letters"),
            sink_lost: registry
                .register("sink_lost", "Events removed by retention before delivery"),
            sink_behind: registry.register("sink_behind", "Pending events of a sink"),
        }
    }

    /// Creates a sink's series at the start.
    pub fn introduce_sink(&self, sink: &str) {
        let label = sink_label(sink);
        for family in [
            &self.sink_delivered,
            &self.sink_failed,
            &self.sink_dead,
            &self.sink_lost,
        ] {
            drop(family.get_or_create(&label));
        }
        drop(self.sink_behind.get_or_create(&label));
    }

    /// Removes the series of a sink that has ended.
    pub fn remove_sink(&self, sink: &str) {
        let label = sink_label(sink);
        for family in [
            &self.sink_delivered,
            &self.sink_failed,
            &self.sink_dead,
            &self.sink_lost,
        ] {
            family.remove(&label);
        }
        self.sink_behind.remove(&label);
    }

    pub fn sink_delivered(&self, sink: &str, count: u64) {
        let label = sink_label(sink);
        self.sink_delivered.get_or_create(&label).inc_by(count);
    }

    pub fn sink_failed(&self, sink: &str) {
        self.sink_failed.get_or_create(&sink_label(sink)).inc();
    }

    pub fn sink_dead(&self, sink: &str) {
        self.sink_dead.get_or_create(&sink_label(sink)).inc();
    }

    pub fn sink_lost(&self, sink: &str, count: u64) {
        self.sink_lost
            .get_or_create(&sink_label(sink))
            .inc_by(count);
    }

    pub fn sink_behind(&self, sink: &str, behind: u64) {
        let behind = i64::try_from(behind).unwrap_or(i64::MAX);
        self.sink_behind
            .get_or_create(&sink_label(sink))
            .set(behind);
    }
}

impl Default for SinkMetrics {
    fn default() -> Self {
        Self::new(&mut MetricsRegistry::default())
    }
}

fn sink_label(sink: &str) -> SinkLabel {
    SinkLabel {
        sink: sink.to_owned(),
    }
}
