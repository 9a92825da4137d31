//! Conversion of values to and from the database.

use jiff::Timestamp;
use rusqlite::Row;
use rusqlite::types::{FromSqlError, Type};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use watchtower_base::stream_name::StreamName;
use watchtower_domain::finding::{Category, Severity};
use watchtower_domain::incident::{Incident, Status};

/// Columns that [`incident`] reads, in its order.
pub(super) const INCIDENT: &str = "id, stream, title, category, severity, status, count, agents, \
     first_seen, last_seen, entities, grounded, opinions, verdict, owner, snoozed_until";
/// Number of these columns.
pub(super) const INCIDENT_COLUMNS: usize = 16;

pub(super) fn incident(row: &Row<'_>) -> rusqlite::Result<Incident> {
    let stream: String = row.get(1)?;
    let category: String = row.get(3)?;
    let category = Category::ALL
        .into_iter()
        .find(|known| known.as_str() == category);
    let mut incident = Incident {
        id: id(row, 0)?,
        stream: StreamName::new(&stream).map_err(|error| unreadable(1, error))?,
        title: row.get(2)?,
        category: category.ok_or(FromSqlError::InvalidType)?,
        severity: severity(row.get(4)?),
        status: status(row.get(5)?),
        count: row.get::<_, i64>(6)? as u64,
        agents: json(row, 7)?,
        first_seen: timestamp(row.get(8)?),
        last_seen: timestamp(row.get(9)?),
        entities: json(row, 10)?,
        grounded: row.get(11)?,
        opinions: json(row, 12)?,
        verdict: optional_json(row, 13)?,
        settled_severity: None,
        owner: row.get(14)?,
        snoozed_until: row.get::<_, Option<i64>>(15)?.map(timestamp),
    };
    incident.settle();
    Ok(incident)
}

pub(super) fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    Ok(Uuid::from_bytes(row.get(column)?))
}

pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| unreadable(column, error))
}

fn optional_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    match row.get_ref(column)?.as_str_or_null()? {
        Some(_) => json(row, column).map(Some),
        None => Ok(None),
    }
}

pub(super) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data has only text for keys")
}

fn unreadable(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

pub(super) fn badness(severity: Severity) -> i64 {
    match severity {
        Severity::Critical => 4,
        Severity::High => 3,
        Severity::Medium => 2,
        Severity::Low => 1,
        Severity::Info => 0,
    }
}

pub(super) fn severity(badness: i64) -> Severity {
    match badness {
        4.. => Severity::Critical,
        3 => Severity::High,
        2 => Severity::Medium,
        1 => Severity::Low,
        _ => Severity::Info,
    }
}

pub(super) fn severity_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Severity> {
    row.get(column).map(severity)
}

pub(super) fn code(status: Status) -> i64 {
    match status {
        Status::New => 0,
        Status::Acknowledged => 1,
        Status::Closed => 2,
    }
}

pub(super) fn status(code: i64) -> Status {
    match code {
        0 => Status::New,
        1 => Status::Acknowledged,
        _ => Status::Closed,
    }
}

/// Timestamp in nanoseconds of the Unix epoch, valid from 1677 to 2262.
pub(super) fn nanos(at: Timestamp) -> i64 {
    let nanos = at.as_nanosecond();
    i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
}

pub(super) fn timestamp(nanos: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanos.into()).unwrap_or(Timestamp::UNIX_EPOCH)
}
