//! Full-text matches for a question: lines of screen text, and findings.

use rusqlite::{Connection, params};

use watchtower_domain::finding::Finding;

use super::screen::{self, Hit};
use super::{Readers, StoreError, moments};
use crate::store::sql;

/// Maximum hits of each kind: the first and the newest with all words, the best
/// and the first with any.
const EACH: i64 = 12;

/// Matches for search words; the same line on the same stream once, as first
/// seen, and an incident's findings once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recollection {
    pub lines: Vec<Hit>,
    pub findings: Vec<Finding>,
}

impl Readers {
    /// Searches by prefixes of words; the first [`screen::MOST_WORDS`] count.
    pub fn recall(&self, words: &[String]) -> Result<Recollection, StoreError> {
        let quoted = words.iter().filter_map(|word| screen::fts(word));
        let quoted: Vec<_> = quoted.take(screen::MOST_WORDS).collect();
        if quoted.is_empty() {
            return Ok(Recollection::default());
        }
        let (all, any) = (quoted.join(" AND "), quoted.join(" OR "));
        self.with(|db| {
            let ways = [
                (&all, "rowid"),
                (&all, "rowid DESC"),
                (&any, "rank"),
                // Repeated words must not hide the first.
                (&any, "rowid"),
            ];
            let mut found = Recollection::default();
            for (terms, order) in ways {
                lines(db, terms, order, &mut found.lines)?;
                findings(db, terms, order, &mut found.findings)?;
            }
            for hit in &mut found.lines {
                hit.still = moments::soon_after(db, &hit.stream, hit.observed_at)?;
            }
            Ok(found)
        })
    }
}

fn lines(db: &Connection, terms: &str, order: &str, into: &mut Vec<Hit>) -> rusqlite::Result<()> {
    let sql = format!(
        "SELECT rowid, stream, observed_at, frame_seq, pts_ms, text, bounds FROM screen_text
         WHERE screen_text MATCH ?1 ORDER BY {order} LIMIT ?2"
    );
    let mut find = db.prepare_cached(&sql)?;
    for hit in find.query_map(params![terms, EACH], screen::hit)? {
        let (_, hit) = hit?;
        let same = |known: &&mut Hit| known.text == hit.text && known.stream == hit.stream;
        match into.iter_mut().find(same) {
            Some(known) if known.observed_at <= hit.observed_at => {}
            Some(known) => *known = hit,
            None => into.push(hit),
        }
    }
    Ok(())
}

fn findings(
    db: &Connection,
    terms: &str,
    order: &str,
    into: &mut Vec<Finding>,
) -> rusqlite::Result<()> {
    let sql = format!(
        "SELECT json FROM (SELECT rowid AS place FROM finding_text
           WHERE finding_text MATCH ?1 ORDER BY {order} LIMIT ?2)
         JOIN findings ON findings.seq = place"
    );
    let mut find = db.prepare_cached(&sql)?;
    for finding in find.query_map(params![terms, EACH], |row| sql::json::<Finding>(row, 0))? {
        let finding = finding?;
        let same = |known: &&mut Finding| known.incident == finding.incident;
        match into.iter_mut().find(same) {
            Some(known) if known.observed_at <= finding.observed_at => {}
            Some(known) => *known = finding,
            None => into.push(finding),
        }
    }
    Ok(())
}
