//! Share links: rights to share a screen as one stream, handed out as a URL.
//! Tokens are stored as digests only.

use std::fmt;

use jiff::Timestamp;
use rusqlite::types::FromSqlError;
use rusqlite::{Row, params};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use watchtower_base::stream_name::StreamName;

use super::{Readers, StoreError, StoreWriter, Write, WriteError, WriteRefusal};
use crate::store::sql;

pub(super) const SCHEMA: &str = "
CREATE TABLE shares (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id BLOB NOT NULL UNIQUE,
  stream TEXT NOT NULL,
  once INTEGER NOT NULL,
  findings INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  -- SHA-256 of the token, and of that of the session which used a link for one.
  token BLOB NOT NULL,
  session BLOB,
  used_at INTEGER,
  revoked_at INTEGER
) STRICT;
";

/// Share links kept, ended ones included: twenty a day for seven weeks.
pub const MOST_SHARES: usize = 1000;

/// SHA-256 of a token. Tokens are random, so that no salt is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ShareDigest([u8; 32]);

impl ShareDigest {
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

impl fmt::Debug for ShareDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

/// Share link; as a [`Write`], a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareLink {
    pub id: Uuid,
    pub stream: StreamName,
    /// True for a link that one session uses up.
    pub once: bool,
    /// Flag: its holder sees the findings of the stream.
    pub findings: bool,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub token: ShareDigest,
    /// Token of the session that used it up.
    pub session: Option<ShareDigest>,
    pub used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

impl Write for ShareLink {
    type Out = ();

    fn apply(&self, writer: &mut StoreWriter) -> Result<(), WriteError> {
        writer
            .db
            .prepare_cached(
                "INSERT INTO shares (id, stream, once, findings, created_at, expires_at, token)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                self.id.as_bytes(),
                self.stream.as_str(),
                self.once,
                self.findings,
                sql::nanos(self.created_at),
                sql::nanos(self.expires_at),
                self.token.0,
            ])?;
        let last = writer.db.last_insert_rowid();
        writer
            .db
            .prepare_cached("DELETE FROM shares WHERE seq <= ?1")?
            .execute([last - MOST_SHARES as i64])?;
        Ok(())
    }
}

/// Use of a link for one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareUse {
    pub id: Uuid,
    /// Token to go on with; `None` for a client that only has the link's.
    pub session: Option<ShareDigest>,
    pub at: Timestamp,
}

impl Write for ShareUse {
    type Out = ();

    fn apply(&self, writer: &mut StoreWriter) -> Result<(), WriteError> {
        let session = self.session.map(|session| session.0);
        let mut update = writer
            .db
            .prepare_cached("UPDATE shares SET used_at = ?2, session = ?3 WHERE id = ?1")?;
        let found = update.execute(params![self.id.as_bytes(), sql::nanos(self.at), session])?;
        changed(found, self.id)
    }
}

/// Revocation of a link; the first one counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareRevocation {
    pub id: Uuid,
    pub at: Timestamp,
}

impl Write for ShareRevocation {
    type Out = ();

    fn apply(&self, writer: &mut StoreWriter) -> Result<(), WriteError> {
        let mut update = writer.db.prepare_cached(
            "UPDATE shares SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1",
        )?;
        let found = update.execute(params![self.id.as_bytes(), sql::nanos(self.at)])?;
        changed(found, self.id)
    }
}

fn changed(rows: usize, id: Uuid) -> Result<(), WriteError> {
    match rows {
        0 => Err(WriteRefusal::NoShare(id).into()),
        _ => Ok(()),
    }
}

impl Readers {
    /// Share links, oldest first.
    pub fn shares(&self) -> Result<Vec<ShareLink>, StoreError> {
        self.with(|db| {
            let mut all = db.prepare_cached(
                "SELECT id, stream, once, findings, created_at, expires_at, token, session,
                   used_at, revoked_at
                 FROM shares ORDER BY seq",
            )?;
            let found = all.query_map([], share)?;
            found.collect()
        })
    }
}

fn share(row: &Row<'_>) -> rusqlite::Result<ShareLink> {
    let stream: String = row.get(1)?;
    let time = |column: usize| {
        let nanos: Option<i64> = row.get(column)?;
        Ok::<_, rusqlite::Error>(nanos.map(sql::timestamp))
    };
    Ok(ShareLink {
        id: sql::id(row, 0)?,
        stream: StreamName::new(&stream).map_err(|_| FromSqlError::InvalidType)?,
        once: row.get(2)?,
        findings: row.get(3)?,
        created_at: sql::timestamp(row.get(4)?),
        expires_at: sql::timestamp(row.get(5)?),
        token: ShareDigest(row.get(6)?),
        session: row.get::<_, Option<[u8; 32]>>(7)?.map(ShareDigest),
        used_at: time(8)?,
        revoked_at: time(9)?,
    })
}
