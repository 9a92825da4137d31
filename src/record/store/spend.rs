//! Spend on models.

use jiff::Timestamp;
use rusqlite::{Row, params};

use watchtower_domain::cost::Spend;

use super::{Readers, StoreError, StoreWriter, Write, WriteError};

const MINUTE: i64 = 60;

/// Spend on models, added to the stored amounts.
#[derive(Debug, Clone, PartialEq)]
pub struct SpendBatch(pub Vec<Spend>);

impl Write for SpendBatch {
    type Out = ();

    /// Adds to the amounts of the minutes.
    fn apply(&self, writer: &mut StoreWriter) -> Result<(), WriteError> {
        let mut add = writer.db.prepare_cached(
            "INSERT INTO spend VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (minute, provider, model) DO UPDATE SET
               requests = requests + excluded.requests,
               prompt_tokens = prompt_tokens + excluded.prompt_tokens,
               output_tokens = output_tokens + excluded.output_tokens,
               micro_usd = micro_usd + excluded.micro_usd",
        )?;
        for row in &self.0 {
            add.execute(params![
                row.minute.as_second().div_euclid(MINUTE),
                row.provider,
                row.model,
                row.requests,
                row.prompt_tokens,
                row.output_tokens,
                row.micro_usd,
            ])?;
        }
        Ok(())
    }
}

impl StoreWriter {
    /// Removes the minutes before a time.
    pub(super) fn forget_spend(&self, before: Timestamp) -> rusqlite::Result<()> {
        let before = before.as_second().div_euclid(MINUTE);
        self.db
            .prepare_cached("DELETE FROM spend WHERE minute < ?1")?
            .execute([before])?;
        self.db
            .prepare_cached("DELETE FROM agent_spend WHERE day < ?1")?
            .execute([before.div_euclid(24 * 60)])?;
        Ok(())
    }
}

impl Readers {
    /// Spend from a minute on, oldest first.
    pub fn spent_since(&self, since: Timestamp) -> Result<Vec<Spend>, StoreError> {
        self.with(|db| {
            let mut find = db.prepare_cached(
                "SELECT minute, provider, model, requests, prompt_tokens, output_tokens, micro_usd
                 FROM spend WHERE minute >= ?1 ORDER BY minute, provider, model",
            )?;
            let rows = find.query_map([since.as_second().div_euclid(MINUTE)], spend)?;
            rows.collect()
        })
    }
}

fn spend(row: &Row<'_>) -> rusqlite::Result<Spend> {
    let minute: i64 = row.get(0)?;
    Ok(Spend {
        minute: Timestamp::from_second(minute.saturating_mul(MINUTE)).unwrap_or_default(),
        provider: row.get(1)?,
        model: row.get(2)?,
        requests: row.get(3)?,
        prompt_tokens: row.get(4)?,
        output_tokens: row.get(5)?,
        micro_usd: row.get(6)?,
    })
}
