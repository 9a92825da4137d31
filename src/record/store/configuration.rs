//! Changes of the configuration made in the console: who, when and what.

use jiff::Timestamp;
use rusqlite::params;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Readers, StoreError, StoreWriter, Write, WriteError};
use crate::store::sql;

/// Changes kept.
const MOST: i64 = 10_000;

/// Change of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ConfigurationChange {
    pub at: Timestamp,
    pub by: String,
    /// Such as "analyst SecOps paused".
    pub what: String,
}

impl Write for ConfigurationChange {
    type Out = ();

    fn apply(&self, writer: &mut StoreWriter) -> Result<(), WriteError> {
        writer
            .db
            .prepare_cached(
                "INSERT INTO configuration_changes (at, changed_by, what) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![sql::nanos(self.at), self.by, self.what])?;
        let last = writer.db.last_insert_rowid();
        writer
            .db
            .prepare_cached("DELETE FROM configuration_changes WHERE seq <= ?1")?
            .execute([last - MOST])?;
        Ok(())
    }
}

impl Readers {
    /// Changes at or after one time and before the other, newest first.
    pub fn configuration_changes(
        &self,
        since: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<ConfigurationChange>, StoreError> {
        self.with(|db| {
            let mut all = db.prepare_cached(
                "SELECT at, changed_by, what FROM configuration_changes
                 WHERE at >= ?1 AND at < ?2 ORDER BY seq DESC LIMIT ?3",
            )?;
            let bounds = params![sql::nanos(since), sql::nanos(until), limit as i64];
            let found = all.query_map(bounds, |row| {
                Ok(ConfigurationChange {
                    at: sql::timestamp(row.get(0)?),
                    by: row.get(1)?,
                    what: row.get(2)?,
                })
            })?;
            found.collect()
        })
    }
}
