//! Cursors: position of each named reader of findings or of the outbox.

use rusqlite::params;

use super::{StoreWriter, Write, WriteError};

/// Position of a named reader, which has handled all up to `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorAdvance {
    pub name: String,
    pub seq: u64,
    /// Length of its file in bytes, where it writes one; else 0.
    pub place: u64,
}

impl CursorAdvance {
    /// Position of a reader without a file.
    pub fn new(name: impl Into<String>, seq: u64) -> Self {
        Self {
            name: name.into(),
            seq,
            place: 0,
        }
    }
}

impl Write for CursorAdvance {
    type Out = ();

    fn apply(&self, writer: &mut StoreWriter) -> Result<(), WriteError> {
        let mut advance = writer.db.prepare_cached(
            "INSERT INTO cursors (name, seq, place) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET seq = ?2, place = ?3",
        )?;
        advance.execute(params![self.name, self.seq as i64, self.place as i64])?;
        Ok(())
    }
}

/// Removal of a named reader: if it returns, it is a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorRemoval {
    pub name: String,
}

impl Write for CursorRemoval {
    type Out = ();

    fn apply(&self, writer: &mut StoreWriter) -> Result<(), WriteError> {
        let mut forget = writer
            .db
            .prepare_cached("DELETE FROM cursors WHERE name = ?1")?;
        forget.execute([&self.name])?;
        Ok(())
    }
}
