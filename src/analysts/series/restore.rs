//! State of watches from what the record has: after a restart, and of a watch
//! that is new.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use watchtower_base::stream_name::StreamName;
use watchtower_record::Record;
use watchtower_record::store::{FiredWatch, Readers, SampleQuery, SeriesPoint, StoreError};

use super::settings::{WatchCondition, WatchConfig};
use super::tracker::{BRIDGED, TrackedNumber};
use super::watch::{BASELINE, WatchState};

/// Step of the history that a baseline begins with, in seconds.
const HISTORY_STEP: u32 = 10;

/// Watches that fired, by watch, stream and key of the series.
#[derive(Debug, Default)]
pub(super) struct FiredWatches(HashMap<(String, StreamName, String), (Uuid, Timestamp)>);

impl FiredWatches {
    pub(super) fn new(fired: Vec<FiredWatch>) -> Self {
        let mut all = Self::default();
        all.extend(fired);
        all
    }

    pub(super) fn extend(&mut self, fired: Vec<FiredWatch>) {
        self.0.extend(fired.into_iter().map(|fired| {
            let FiredWatch {
                watch,
                stream,
                key,
                incident,
                since,
            } = fired;
            ((watch, stream, key), (incident, since))
        }));
    }

    /// Takes one out, as its state has it from now on.
    pub(super) fn take(
        &mut self,
        watch: &str,
        stream: &StreamName,
        key: &str,
    ) -> Option<(Uuid, Timestamp)> {
        let of = (watch.to_owned(), stream.clone(), key.to_owned());
        self.0.remove(&of)
    }

    /// Keeps those of these watches, and returns the others.
    pub(super) fn retain(&mut self, watches: &[String]) -> Vec<FiredWatch> {
        let others = self.0.extract_if(|(watch, ..), _| !watches.contains(watch));
        let others = others.map(|((watch, stream, key), (incident, since))| FiredWatch {
            watch,
            stream,
            key,
            incident,
            since,
        });
        others.collect()
    }
}

/// State of a watch on a series that it has not judged in this run.
pub(super) async fn restored(
    findings: &Record,
    watch: &WatchConfig,
    number: &TrackedNumber,
    key: &str,
    fired: Option<(Uuid, Timestamp)>,
) -> WatchState {
    let wants_history = matches!(watch.condition, WatchCondition::Changes(_));
    let lasts = SignedDuration::try_from(watch.lasts).unwrap_or(SignedDuration::MAX);
    let from = number.to.saturating_sub(lasts.saturating_add(BRIDGED));
    let time = (from.unwrap_or(Timestamp::MIN), number.to);
    let (stream, key) = (number.name.stream.clone(), key.to_owned());
    let stored = findings.read(move |store| stored(store, &stream, &key, time, wants_history));
    let stored = match stored.await {
        Ok(stored) => stored,
        Err(error) => {
            tracing::error!(%error, "failed to read the history of a watched number");
            StoredValues::default()
        }
    };
    let mut state = WatchState::with_history(stored.history);
    state.resume(watch, fired, &stored.lately);
    state
}

/// Values of a series in the record.
#[derive(Default)]
struct StoredValues {
    /// Values of a baseline, oldest first.
    history: Vec<f64>,
    /// Values of the time that a watch asks for.
    lately: Vec<SeriesPoint>,
}

fn stored(
    store: &Readers,
    stream: &StreamName,
    key: &str,
    (from, until): (Timestamp, Timestamp),
    wants_history: bool,
) -> Result<StoredValues, StoreError> {
    let Some(series) = store.series_of_key(stream, key)? else {
        return Ok(StoredValues::default());
    };
    let mut found = StoredValues {
        lately: store.raw_values(series.id, from, until)?,
        ..StoredValues::default()
    };
    if wants_history {
        // Up to the time it was last there, however long ago that is.
        let until = series.last_seen;
        let length = SignedDuration::from_secs(i64::from(HISTORY_STEP) * BASELINE as i64);
        let points = store.samples(&SampleQuery {
            series: series.id,
            from: until - length,
            until,
            step: HISTORY_STEP,
        })?;
        found.history = points.into_iter().map(|point| point.mean).collect();
    }
    Ok(found)
}
