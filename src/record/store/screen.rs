//! Screen text, line by line as it appeared, and its full-text search.

use jiff::Timestamp;
use rusqlite::{Row, params};
use serde::Serialize;
use utoipa::ToSchema;

use watchtower_domain::screen_text::ScreenText;
use watchtower_screen::text::{is_unspaced, number_of, pairs, runs, shape_of};

use super::age::RetentionCutoff;
use super::migrations::forms;
use super::moments::{self, Moment};
use super::retention::first_after;
use super::{Page, Readers, StoreError, StoreWriter, Write, WriteError};
use crate::store::sql;

/// Lines removed in one batch.
pub(super) const STEP: i64 = 2000;
/// Maximum search words; more of them cost more and hardly change the result.
pub(super) const MOST_WORDS: usize = 16;
/// Maximum letters searched of a text without blanks: a longer one is as rare.
const MOST_LETTERS: usize = 32;

/// Line of screen text found by a search: an item of `/api/search`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Hit {
    pub stream: String,
    /// When it appeared.
    pub observed_at: Timestamp,
    pub frame_seq: u64,
    pub pts_ms: i64,
    pub text: String,
    #[serde(rename = "box")]
    #[schema(schema_with = watchtower_domain::finding::box_of_thousandths)]
    pub bounds: [u16; 4],
    /// First still stored from then on, if there is one within 30 s.
    #[serde(skip)]
    pub still: Option<Moment>,
}

/// Query of screen lines, the newest first.
#[derive(Debug, Clone, Default)]
pub struct TextQuery {
    /// Words that must all match, each by its prefix; the first 16 count.
    pub words: String,
    pub stream: Option<String>,
    /// Range of the time it appeared: at or after, and before.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// `next` of the previous page.
    pub before: Option<u64>,
    pub limit: usize,
}

impl Write for ScreenText {
    type Out = ();

    fn apply(&self, writer: &mut StoreWriter) -> Result<(), WriteError> {
        let mut insert = writer.db.prepare_cached(
            "INSERT INTO screen_text (text, stream, observed_at, frame_seq, pts_ms, bounds, forms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        for line in &self.lines {
            let [top, left, bottom, right] = line.bounds;
            insert.execute(params![
                line.text,
                self.stream.as_str(),
                sql::nanos(self.observed_at),
                self.frame_seq as i64,
                self.pts_ms,
                format!("{top} {left} {bottom} {right}"),
                forms(&line.text),
            ])?;
        }
        Ok(())
    }
}

impl StoreWriter {
    /// Removes a batch of the text that appeared before a time, or of the
    /// oldest whatever its time; returns the lines and bytes of text removed.
    pub(super) fn forget_text(
        &self,
        age: &RetentionCutoff,
        any: bool,
        step: i64,
    ) -> rusqlite::Result<(u64, u64)> {
        let mut oldest = self.db.prepare_cached(
            "SELECT rowid, observed_at, length(text) FROM screen_text ORDER BY rowid LIMIT ?1",
        )?;
        let oldest: Vec<(i64, i64, i64)> = oldest
            .query_map([step], |row| {
                let at: Option<i64> = row.get(1)?;
                Ok((row.get(0)?, at.unwrap_or_default(), row.get(2)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        let mut forget = self
            .db
            .prepare_cached("DELETE FROM screen_text WHERE rowid = ?1")?;
        let times: Vec<i64> = oldest.iter().map(|(_, at, _)| *at).collect();
        let last = oldest.last().map(|(rowid, ..)| *rowid);
        let old = age.old(&times, |ahead| {
            let next = "SELECT observed_at FROM screen_text WHERE rowid > ?1
                        AND observed_at <= ?2 ORDER BY rowid LIMIT 1";
            first_after(&self.db, next, last, ahead)
        })?;
        let (mut lines, mut bytes) = (0, 0);
        for ((rowid, _, length), old) in oldest.into_iter().zip(old) {
            if any || old {
                forget.execute([rowid])?;
                (lines, bytes) = (lines + 1, bytes + length as u64);
            }
        }
        Ok((lines, bytes))
    }
}

impl Readers {
    /// Query of lines of screen text.
    pub fn search(&self, query: &TextQuery) -> Result<Page<Hit, u64>, StoreError> {
        let Some(terms) = fts(&query.words) else {
            return Ok(Page {
                items: Vec::new(),
                next: None,
            });
        };
        let before = query.before.map_or(i64::MAX, |before| before as i64);
        let hits = self.with(|db| {
            let mut find = db.prepare_cached(
                "SELECT rowid, stream, observed_at, frame_seq, pts_ms, text, bounds
                 FROM screen_text
                 WHERE screen_text MATCH ?1 AND rowid < ?2 AND (?3 IS NULL OR stream = ?3)
                   AND coalesce(observed_at, 0) >= ?5 AND coalesce(observed_at, 0) < ?6
                 ORDER BY rowid DESC LIMIT ?4",
            )?;
            let limit = query.limit as i64 + 1;
            let since = query.since.map_or(i64::MIN, sql::nanos);
            let until = query.until.map_or(i64::MAX, sql::nanos);
            let mut hits = find
                .query_map(
                    params![terms, before, query.stream, limit, since, until],
                    hit,
                )?
                .collect::<rusqlite::Result<Vec<(u64, Hit)>>>()?;
            for (_, hit) in &mut hits {
                hit.still = moments::soon_after(db, &hit.stream, hit.observed_at)?;
            }
            Ok(hits)
        })?;
        Ok(Page::of(hits, query.limit))
    }
}

pub(super) fn hit(row: &Row<'_>) -> rusqlite::Result<(u64, Hit)> {
    let bounds: String = row.get(6)?;
    let mut numbers = bounds.split(' ').map(|number| number.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    let hit = Hit {
        stream: row.get(1)?,
        observed_at: sql::timestamp(row.get(2)?),
        frame_seq: row.get::<_, i64>(3)? as u64,
        pts_ms: row.get(4)?,
        text: row.get(5)?,
        bounds: [next(), next(), next(), next()],
        still: None,
    };
    Ok((row.get::<_, i64>(0)? as u64, hit))
}

/// FTS5 query of a user's search words: every word in quotes, so that
/// none is an operator, and as a prefix; the first [`MOST_WORDS`] count. Each is
/// found as OCR may have read it too: a number that was read as letters only
/// where it is all of a word. Chinese, Japanese and Korean are found wherever
/// they stand. `None` without a word.
pub(super) fn fts(words: &str) -> Option<String> {
    let words = words
        .split(|c: char| !c.is_alphanumeric() && c != '|')
        .map(|word| word.trim_matches('|'))
        .filter(|word| !word.is_empty())
        .flat_map(runs)
        .take(MOST_WORDS)
        .map(ways);
    let wanted = words.collect::<Vec<_>>().join(" AND ");
    (!wanted.is_empty()).then_some(wanted)
}

/// A word as it is, and as OCR may have read it.
fn ways(word: &str) -> String {
    if word.chars().next().is_some_and(is_unspaced) {
        return part(word);
    }
    let shape = shape_of(word);
    let mut ways = vec![format!("\"{word}\"*")];
    if word.chars().all(|c| c.is_ascii_digit()) {
        ways.push(format!("\"{shape}\""));
    } else if shape != word.to_lowercase() && !shape.is_empty() {
        ways.push(format!("\"{shape}\"*"));
    }
    ways.extend(number_of(word).map(|number| format!("\"{number}\"")));
    match ways.as_slice() {
        [one] => one.clone(),
        ways => format!("({})", ways.join(" OR ")),
    }
}

/// Any part of a text without blanks, as a sequence of its pairs of letters.
fn part(run: &str) -> String {
    let letters = run.char_indices().nth(MOST_LETTERS);
    let pairs = pairs(&run[..letters.map_or(run.len(), |(end, _)| end)]);
    match pairs.split_last() {
        Some((_, pairs)) if !pairs.is_empty() => format!("\"{}\"", pairs.join(" ")),
        Some((one, _)) => format!("\"{one}\"*"),
        None => format!("\"{run}\"*"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_blanks_is_searched_by_its_parts() {
        assert_eq!(fts("使用率").as_deref(), Some("\"使用 用率\""));
        assert_eq!(fts("高").as_deref(), Some("\"高\"*"));
        assert_eq!(
            fts("第3章").as_deref(),
            Some("\"第\"* AND (\"3\"* OR \"3\") AND \"章\"*")
        );
        let long = fts(&"漢".repeat(5000)).unwrap();
        assert_eq!(long.chars().filter(|c| *c == ' ').count(), MOST_LETTERS - 2);
        let mixed = fts(&"漢a".repeat(5000)).unwrap();
        assert_eq!(mixed.split(" AND ").count(), MOST_WORDS);
    }

    #[test]
    fn search_input_is_never_an_operator() {
        assert_eq!(
            fts("failed AND \"x").as_deref(),
            Some("(\"failed\"* OR \"falled\"*) AND \"AND\"* AND \"x\"*")
        );
        assert_eq!(fts(" -- "), None);
        let many = fts(&"x ".repeat(200)).unwrap();
        assert_eq!(many.split(" AND ").count(), MOST_WORDS);
    }
}
