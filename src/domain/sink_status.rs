//! Delivery status of each sink: reported by the sinks, shown by the console.
//!
//! A few short rows, copied under a lock.

use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;
use uuid::Uuid;

use watchtower_base::sync::Locked as _;

/// Delivery status of one sink.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Delivery {
    pub name: String,
    pub kind: &'static str,
    /// Human-readable state.
    pub state: String,
    /// Last event it has handled.
    #[serde(skip)]
    pub told: u64,
    /// Events accepted by the receiver since the start.
    pub delivered: u64,
    /// Attempts that failed since the start.
    pub failed: u64,
    /// Dead letters kept.
    pub dead: u64,
    pub last_error: Option<String>,
    /// Time of the first failed attempt after the last delivery; null while it
    /// delivers.
    pub failing_since: Option<Timestamp>,
    /// Time of the first delivery since then; null while it does not deliver.
    pub delivering_since: Option<Timestamp>,
    pub last_delivered_at: Option<Timestamp>,
}

impl Delivery {
    pub fn new(name: &str, kind: &'static str, told: u64, dead: u64) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            state: "starting".to_owned(),
            told,
            delivered: 0,
            failed: 0,
            dead,
            last_error: None,
            failing_since: None,
            delivering_since: None,
            last_delivered_at: None,
        }
    }
}

/// Status board of all sinks. Cheap to clone; all clones share their state.
#[derive(Debug, Clone, Default)]
pub struct SinkBoard {
    rows: Arc<Mutex<Vec<Delivery>>>,
    /// Dead letters queued for redelivery: sink and event.
    again: Arc<watch::Sender<Vec<(String, Uuid)>>>,
}

impl SinkBoard {
    pub fn add(&self, delivery: Delivery) {
        self.rows().push(delivery);
    }

    /// Removes a sink that has ended.
    pub fn remove(&self, name: &str) {
        self.rows().retain(|row| row.name != name);
    }

    pub fn update(&self, name: &str, change: impl FnOnce(&mut Delivery)) {
        if let Some(row) = self.rows().iter_mut().find(|row| row.name == name) {
            change(row);
        }
    }

    /// Sinks in the order of the configuration, then push subscriptions.
    pub fn list(&self) -> Vec<Delivery> {
        self.rows().clone()
    }

    /// Queues a dead letter of a sink for redelivery.
    pub fn send_again(&self, sink: &str, event: Uuid) {
        let dead_letter = (sink.to_owned(), event);
        self.again.send_if_modified(|all| {
            let new = !all.contains(&dead_letter);
            if new {
                all.push(dead_letter);
            }
            new
        });
    }

    /// Receiver that changes when a dead letter is queued for redelivery.
    pub fn redeliveries(&self) -> watch::Receiver<Vec<(String, Uuid)>> {
        self.again.subscribe()
    }

    /// Takes the dead letters queued for a sink.
    pub fn take_redeliveries(&self, sink: &str) -> Vec<Uuid> {
        let mut taken = Vec::new();
        self.again.send_if_modified(|all| {
            all.retain(|(name, event)| {
                let own = name == sink;
                if own {
                    taken.push(*event);
                }
                !own
            });
            false
        });
        taken
    }

    fn rows(&self) -> MutexGuard<'_, Vec<Delivery>> {
        self.rows.locked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_changed_and_removed_by_name() {
        let board = SinkBoard::default();
        board.add(Delivery::new("siem", "syslog", 0, 0));
        board.add(Delivery::new("chat", "webhook", 0, 0));
        board.update("chat", |row| row.delivered = 3);
        board.update("nobody", |row| row.delivered = 9);
        let counts: Vec<_> = board.list().iter().map(|row| row.delivered).collect();
        assert_eq!(counts, [0, 3]);
        board.remove("siem");
        let names: Vec<_> = board.list().into_iter().map(|row| row.name).collect();
        assert_eq!(names, ["chat"]);
    }

    #[test]
    fn dead_letters_are_taken_once_by_their_sink() {
        let board = SinkBoard::default();
        let mut queued = board.redeliveries();
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        board.send_again("siem", one);
        board.send_again("chat", two);
        assert!(queued.has_changed().expect("open"));
        queued.mark_unchanged();
        board.send_again("siem", one);
        assert!(!queued.has_changed().expect("open"), "it is queued already");
        assert_eq!(board.take_redeliveries("siem"), [one]);
        assert!(board.take_redeliveries("siem").is_empty());
        assert_eq!(board.take_redeliveries("chat"), [two]);
    }
}
