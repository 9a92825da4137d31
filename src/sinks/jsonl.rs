//! File of one event per line, for log shippers: Vector, Fluent Bit, Filebeat,
//! Wazuh.
//!
//! Synced before the cursor moves. Rotated to `NAME.1`, `NAME.2`, ... when
//! full; reopened when it was moved away.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use watchtower_base::sync::Locked as _;
use watchtower_record::LineFile;
use watchtower_record::settings::LogSettings;

use super::{DeliveryOutcome, Destination, SinkEvent, shaped};
use crate::settings::{Format, SinkSettings};

pub(super) struct Jsonl {
    path: PathBuf,
    file: Arc<Mutex<LineFile>>,
    format: Format,
}

impl Jsonl {
    pub(super) fn open(settings: &SinkSettings) -> Result<Self, String> {
        let path = settings
            .address
            .as_ref()
            .map_or("", |address| address.expose());
        let rotation = LogSettings {
            max_bytes: settings.rotate_bytes,
            keep: settings.keep_files,
        };
        let path = PathBuf::from(path);
        let name = path.display();
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .map_err(|error| format!("address {name}: failed to make its folder: {error}"))?;
        }
        let file = LineFile::open(path.clone(), rotation).map_err(|error| {
            format!("address {name}: {error}; expected a file this user may write to")
        })?;
        Ok(Self {
            file: Arc::new(Mutex::new(file)),
            path,
            format: settings.format,
        })
    }
}

#[async_trait]
impl Destination for Jsonl {
    async fn deliver(&mut self, batch: &[SinkEvent]) -> DeliveryOutcome {
        let mut lines = Vec::with_capacity(batch.len() * 2048);
        for sink_event in batch {
            lines.extend_from_slice(shaped(sink_event, self.format).to_string().as_bytes());
            lines.push(b'\n');
        }
        let file = Arc::clone(&self.file);
        let write = move || {
            let mut file = file.locked();
            file.append(&lines).and_then(|_| file.sync())
        };
        let written = tokio::task::spawn_blocking(write).await;
        match written {
            Ok(Ok(())) => DeliveryOutcome::Delivered,
            Ok(Err(error)) => {
                DeliveryOutcome::retry(format!("failed to write {}: {error}", self.path.display()))
            }
            Err(error) => DeliveryOutcome::retry(format!("failed to write: {error}")),
        }
    }
}
