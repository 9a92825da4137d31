//! Watches that fired and have not cleared, kept over a restart.

use jiff::Timestamp;
use rusqlite::params;
use rusqlite::types::Type;
use uuid::Uuid;

use watchtower_base::stream_name::StreamName;

use super::{Readers, StoreError, StoreWriter, Write, WriteError};
use crate::store::sql;

/// Watches that fired and have not cleared, so that a restart neither repeats
/// them nor forgets their end.
pub(super) const SCHEMA: &str = "
CREATE TABLE fired_watches (
  -- Identity of the watch, and the key of the series.
  watch TEXT NOT NULL,
  stream TEXT NOT NULL,
  key TEXT NOT NULL,
  incident BLOB NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
  -- Time since which the value was outside.
  since INTEGER NOT NULL,
  PRIMARY KEY (watch, stream, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX fired_watches_by_incident ON fired_watches (incident);
";

/// Watch that fired on a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FiredWatch {
    /// Identity of the watch, the same in every run.
    pub watch: String,
    pub stream: StreamName,
    /// Key of the series.
    pub key: String,
    pub incident: Uuid,
    /// Time since which the value was outside.
    pub since: Timestamp,
}

impl Write for FiredWatch {
    type Out = ();

    /// Keeps nothing of an incident that retention has removed.
    fn apply(&self, writer: &mut StoreWriter) -> Result<(), WriteError> {
        let mut keep = writer.db.prepare_cached(
            "INSERT OR REPLACE INTO fired_watches (watch, stream, key, incident, since)
             SELECT ?1, ?2, ?3, id, ?5 FROM incidents WHERE id = ?4",
        )?;
        keep.execute(params![
            self.watch,
            self.stream.as_str(),
            self.key,
            self.incident.as_bytes(),
            sql::nanos(self.since),
        ])?;
        Ok(())
    }
}

/// End of a fired watch: it cleared, or is not configured any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchEnd {
    pub watch: String,
    pub stream: StreamName,
    pub key: String,
}

impl Write for WatchEnd {
    type Out = ();

    fn apply(&self, writer: &mut StoreWriter) -> Result<(), WriteError> {
        let mut end = writer.db.prepare_cached(
            "DELETE FROM fired_watches WHERE watch = ?1 AND stream = ?2 AND key = ?3",
        )?;
        end.execute(params![self.watch, self.stream.as_str(), self.key])?;
        Ok(())
    }
}

impl Readers {
    /// Watches that fired and have not cleared.
    pub fn fired_watches(&self) -> Result<Vec<FiredWatch>, StoreError> {
        self.with(|db| {
            let mut all =
                db.prepare("SELECT watch, stream, key, incident, since FROM fired_watches")?;
            all.query_map([], |row| {
                let stream: String = row.get(1)?;
                let stream = StreamName::new(&stream).map_err(|error| {
                    rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(error))
                })?;
                Ok(FiredWatch {
                    watch: row.get(0)?,
                    stream,
                    key: row.get(2)?,
                    incident: sql::id(row, 3)?,
                    since: sql::timestamp(row.get(4)?),
                })
            })?
            .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use watchtower_domain::finding::Finding;

    use super::*;
    use crate::settings::StoreSettings;
    use crate::store::{PendingWrite, Publication, open, queue};

    fn done(writer: &mut StoreWriter, write: Box<dyn PendingWrite>) {
        let mut group = [write];
        writer.write(&mut group);
        assert_eq!(group[0].outcome(), Some(Ok(())));
    }

    fn kept(folder: &Path) -> Vec<FiredWatch> {
        let (_writer, readers) = open(folder, &StoreSettings::default()).unwrap();
        readers.fired_watches().unwrap()
    }

    #[test]
    fn what_fired_is_kept_over_a_restart_until_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, readers) = open(folder.path(), &StoreSettings::default()).unwrap();
        done(&mut writer, queue(Publication::from(Finding::sample())).0);
        let published = readers.findings_after(0, 1).unwrap();
        let fired = FiredWatch {
            watch: "*/p99/above/devops".to_owned(),
            stream: StreamName::new("team").unwrap(),
            key: "card//p99/seconds".to_owned(),
            incident: published[0].1.incident.unwrap(),
            since: Timestamp::from_second(1_800_000_000).unwrap(),
        };
        let of_nothing = FiredWatch {
            watch: "*/p95/above/devops".to_owned(),
            incident: Uuid::nil(),
            ..fired.clone()
        };
        done(&mut writer, queue(fired.clone()).0);
        done(&mut writer, queue(of_nothing).0);
        drop((writer, readers));
        assert_eq!(kept(folder.path()), std::slice::from_ref(&fired));

        let (mut writer, readers) = open(folder.path(), &StoreSettings::default()).unwrap();
        let end = WatchEnd {
            watch: fired.watch,
            stream: fired.stream,
            key: fired.key,
        };
        done(&mut writer, queue(end).0);
        drop((writer, readers));
        assert_eq!(kept(folder.path()), []);
    }
}
