//! Schema of the database, and the migrations from older versions.

use rusqlite::types::Value;
use rusqlite::{Connection, Transaction, params, params_from_iter};

use watchtower_screen::text::{is_unspaced, search_forms};

/// `WTCH`: marks the file as ours (`PRAGMA application_id`).
pub(super) const APPLICATION: i32 = 0x5754_4348;

/// Migrations, each from the version of its index to the next. Never change one
/// that was released: add another.
const MIGRATIONS: [&str; 17] = [
    FIRST,
    SCREEN_TEXT,
    VERDICT,
    OUTBOX,
    SPEND,
    LOOKING_BACK,
    TRANSCRIPTS,
    MOMENTS_BY_TIME,
    SEARCH_FORMS,
    PAIRS_OF_LETTERS,
    HANDLING,
    SERIES,
    SHIFTS,
    super::watches::SCHEMA,
    OVERVIEW,
    SETTLED,
    super::shares::SCHEMA,
];

pub(super) const NEWEST: i32 = MIGRATIONS.len() as i32;

/// Times are nanoseconds of the Unix epoch, ids the 16 bytes of a UUID,
/// severities 0 (info) to 4 (critical), statuses 0 (new) to 2 (closed).
///
/// The wide indexes on incidents let a list be filtered and sorted without
/// touching the rows it does not show.
const FIRST: &str = "
CREATE TABLE incidents (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id BLOB NOT NULL UNIQUE,
  stream TEXT NOT NULL,
  category TEXT NOT NULL,
  title TEXT NOT NULL,
  severity INTEGER NOT NULL,
  status INTEGER NOT NULL,
  count INTEGER NOT NULL,
  first_seen INTEGER NOT NULL,
  last_seen INTEGER NOT NULL,
  agents TEXT NOT NULL,
  entities TEXT NOT NULL,
  grounded INTEGER,
  opinions TEXT NOT NULL,
  -- The quote that proves it best.
  proof TEXT,
  -- Counts changes over all incidents; where listeners resume.
  revision INTEGER NOT NULL,
  -- Counts what a decision must not overlook.
  version INTEGER NOT NULL,
  -- The lesson that quiets it.
  lesson INTEGER,
  -- Its lesson was removed: the next finding reopens it.
  reopens INTEGER NOT NULL DEFAULT 0,
  -- How often new evidence spoke up.
  told INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX incidents_by_last ON incidents (last_seen, seq, status, severity, category, stream, agents);
CREATE INDEX incidents_by_first ON incidents (first_seen, seq, status, severity, category, stream, agents, last_seen);
CREATE INDEX incidents_by_severity ON incidents (severity, last_seen, seq, status, category, stream, agents);
CREATE INDEX incidents_by_count ON incidents (count, seq, status, severity, category, stream, agents, last_seen);
CREATE INDEX incidents_by_revision ON incidents (revision);
-- The highest revision of what retention removed.
CREATE TABLE removed (revision INTEGER NOT NULL) STRICT;
INSERT INTO removed VALUES (0);

-- What an incident is about, and the keys it is found by.
CREATE TABLE subjects (
  incident INTEGER PRIMARY KEY REFERENCES incidents ON DELETE CASCADE,
  json TEXT NOT NULL
) STRICT;
CREATE TABLE subject_keys (
  key INTEGER NOT NULL,
  incident INTEGER NOT NULL REFERENCES incidents ON DELETE CASCADE,
  PRIMARY KEY (key, incident)
) STRICT, WITHOUT ROWID;
CREATE INDEX subject_keys_by_incident ON subject_keys (incident);

CREATE TABLE incident_agents (
  incident INTEGER NOT NULL REFERENCES incidents ON DELETE CASCADE,
  agent TEXT NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (incident, agent)
) STRICT, WITHOUT ROWID;

CREATE TABLE decisions (
  seq INTEGER PRIMARY KEY,
  incident INTEGER NOT NULL REFERENCES incidents ON DELETE CASCADE,
  status INTEGER NOT NULL,
  decided_by TEXT NOT NULL,
  at INTEGER NOT NULL,
  why TEXT NOT NULL,
  false_positive INTEGER NOT NULL
) STRICT;
CREATE INDEX decisions_by_incident ON decisions (incident);

CREATE TABLE lessons (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id BLOB NOT NULL UNIQUE,
  -- The incident may be gone; the lesson stays.
  incident BLOB NOT NULL,
  title TEXT NOT NULL,
  severity INTEGER NOT NULL,
  learned_by TEXT NOT NULL,
  at INTEGER NOT NULL,
  why TEXT NOT NULL,
  subject TEXT NOT NULL,
  quieted INTEGER NOT NULL,
  last_quieted INTEGER
) STRICT;

CREATE TABLE findings (
  -- The order of publication; never used twice.
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id BLOB NOT NULL UNIQUE,
  incident INTEGER NOT NULL REFERENCES incidents,
  agent TEXT NOT NULL COLLATE NOCASE,
  stream TEXT NOT NULL,
  severity INTEGER NOT NULL,
  stored_at INTEGER NOT NULL,
  json TEXT NOT NULL
) STRICT;
CREATE INDEX findings_by_incident ON findings (incident, seq);
CREATE INDEX findings_by_severity ON findings (severity, seq);
CREATE INDEX findings_by_agent ON findings (agent, severity, seq);
CREATE INDEX findings_by_stream ON findings (stream, severity, seq);
CREATE INDEX findings_by_both ON findings (stream, agent, severity, seq);

-- Files in the evidence folder.
CREATE TABLE evidence (
  sha256 TEXT PRIMARY KEY,
  bytes INTEGER NOT NULL,
  stored_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- moment: 0 the incident's first, 1 its worst.
CREATE TABLE stills (
  incident INTEGER NOT NULL REFERENCES incidents ON DELETE CASCADE,
  moment INTEGER NOT NULL,
  finding INTEGER NOT NULL REFERENCES findings ON DELETE CASCADE,
  sha256 TEXT NOT NULL REFERENCES evidence,
  PRIMARY KEY (incident, moment)
) STRICT, WITHOUT ROWID;
CREATE INDEX stills_by_finding ON stills (finding);
CREATE INDEX stills_by_sha256 ON stills (sha256);

-- How far each reader of findings has got (sinks, findings.jsonl).
CREATE TABLE cursors (
  name TEXT PRIMARY KEY,
  seq INTEGER NOT NULL,
  place INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What stood on the screen. Nobody fills it yet.
CREATE VIRTUAL TABLE screen_text USING fts5 (
  text, stream UNINDEXED, observed_at UNINDEXED, frame_seq UNINDEXED, pts_ms UNINDEXED
);
";

/// Position of each line on the picture; the first column was never used.
const SCREEN_TEXT: &str = "
DROP TABLE screen_text;
CREATE VIRTUAL TABLE screen_text USING fts5 (
  text, stream UNINDEXED, observed_at UNINDEXED, frame_seq UNINDEXED, pts_ms UNINDEXED,
  bounds UNINDEXED
);
";

/// Verdicts of the panel on incidents.
const VERDICT: &str = "ALTER TABLE incidents ADD COLUMN verdict TEXT;";

/// Outbox of changes to incidents, and dead letters of the sinks.
const OUTBOX: &str = "
CREATE TABLE outbox (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id BLOB NOT NULL UNIQUE,
  at INTEGER NOT NULL,
  news TEXT NOT NULL,
  version INTEGER NOT NULL,
  -- As it was then.
  incident TEXT NOT NULL,
  -- May be gone before this is.
  finding INTEGER,
  decision TEXT
) STRICT;
CREATE TABLE dead_letters (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  sink TEXT NOT NULL,
  event BLOB NOT NULL,
  at INTEGER NOT NULL,
  why TEXT NOT NULL,
  body TEXT NOT NULL,
  UNIQUE (sink, event)
) STRICT;
CREATE INDEX dead_letters_by_sink ON dead_letters (sink, seq);
";

/// Spend on models, by the minute (of the Unix epoch).
const SPEND: &str = "
CREATE TABLE spend (
  minute INTEGER NOT NULL,
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  requests INTEGER NOT NULL,
  prompt_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  micro_usd INTEGER NOT NULL,
  PRIMARY KEY (minute, provider, model)
) STRICT, WITHOUT ROWID;
";

/// Notes, stills of the screens, and the full-text index of findings.
const LOOKING_BACK: &str = "
CREATE TABLE notes (
  seq INTEGER PRIMARY KEY,
  incident INTEGER NOT NULL REFERENCES incidents ON DELETE CASCADE,
  noted_by TEXT NOT NULL,
  at INTEGER NOT NULL,
  text TEXT NOT NULL
) STRICT;
CREATE INDEX notes_by_incident ON notes (incident);
CREATE INDEX notes_by_time ON notes (at);
CREATE INDEX decisions_by_time ON decisions (at);
CREATE TABLE moments (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  stream TEXT NOT NULL,
  seen_at INTEGER NOT NULL,
  frame_seq INTEGER NOT NULL,
  sha256 TEXT NOT NULL REFERENCES evidence
) STRICT;
CREATE INDEX moments_by_stream ON moments (stream, seen_at);
CREATE INDEX moments_by_sha256 ON moments (sha256);
-- rowid: the finding's seq.
CREATE VIRTUAL TABLE finding_text USING fts5 (text);
INSERT INTO finding_text (rowid, text) SELECT seq,
  json ->> 'agent' || ' ' || (json ->> 'title') || ' ' || (json ->> 'detail') || ' ' || coalesce(
    (SELECT group_concat(value ->> 'quote', ' ') FROM json_each(json, '$.evidence')), '')
  FROM findings;
CREATE TRIGGER finding_text_added AFTER INSERT ON findings BEGIN
  INSERT INTO finding_text (rowid, text) VALUES (new.seq,
    new.json ->> 'agent' || ' ' || (new.json ->> 'title') || ' ' || (new.json ->> 'detail') || ' ' || coalesce(
      (SELECT group_concat(value ->> 'quote', ' ') FROM json_each(new.json, '$.evidence')), ''));
END;
CREATE TRIGGER finding_text_removed AFTER DELETE ON findings BEGIN
  DELETE FROM finding_text WHERE rowid = old.seq;
END;
";

/// Transcripts of an incident's questions to models and their cost; one question
/// may have led to several incidents.
const TRANSCRIPTS: &str = "
CREATE TABLE transcripts (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id BLOB NOT NULL UNIQUE,
  json TEXT NOT NULL
) STRICT;
CREATE TABLE incident_transcripts (
  incident INTEGER NOT NULL REFERENCES incidents ON DELETE CASCADE,
  transcript INTEGER NOT NULL REFERENCES transcripts,
  PRIMARY KEY (incident, transcript)
) STRICT, WITHOUT ROWID;
CREATE INDEX incident_transcripts_by_transcript ON incident_transcripts (transcript);
CREATE TRIGGER transcript_released AFTER DELETE ON incident_transcripts
WHEN NOT EXISTS (SELECT 1 FROM incident_transcripts WHERE transcript = old.transcript) BEGIN
  DELETE FROM transcripts WHERE seq = old.transcript;
END;
ALTER TABLE incidents ADD COLUMN requests INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incidents ADD COLUMN prompt_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incidents ADD COLUMN output_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incidents ADD COLUMN micro_usd INTEGER NOT NULL DEFAULT 0;
";

/// Index for a short span of all streams.
const MOMENTS_BY_TIME: &str = "CREATE INDEX moments_by_time ON moments (seen_at);";

/// Words as they are searched beside how they were read; [`index_forms`] fills
/// in those of what is there.
const SEARCH_FORMS: &str = "
ALTER TABLE screen_text RENAME TO screen_text_before;
CREATE VIRTUAL TABLE screen_text USING fts5 (
  text, stream UNINDEXED, observed_at UNINDEXED, frame_seq UNINDEXED, pts_ms UNINDEXED,
  bounds UNINDEXED, forms
);
DROP TRIGGER finding_text_added;
-- It would follow the table to its new name.
DROP TRIGGER finding_text_removed;
ALTER TABLE finding_text RENAME TO finding_text_before;
CREATE VIRTUAL TABLE finding_text USING fts5 (text, forms);
CREATE TRIGGER finding_text_removed AFTER DELETE ON findings BEGIN
  DELETE FROM finding_text WHERE rowid = old.seq;
END;
";

/// Owners, snoozes, and what undoes the last action on an incident. A removed
/// suppression stays for a while, with the incidents it covered.
const HANDLING: &str = "
ALTER TABLE incidents ADD COLUMN owner TEXT;
ALTER TABLE incidents ADD COLUMN snoozed_until INTEGER;
CREATE INDEX incidents_open ON incidents (severity, snoozed_until) WHERE status < 2;
CREATE TABLE undo (
  incident INTEGER PRIMARY KEY REFERENCES incidents ON DELETE CASCADE,
  -- The version that the action made.
  version INTEGER NOT NULL,
  at INTEGER NOT NULL,
  before TEXT NOT NULL
) STRICT;
ALTER TABLE lessons ADD COLUMN removed_at INTEGER;
CREATE TABLE released (
  lesson INTEGER NOT NULL REFERENCES lessons ON DELETE CASCADE,
  incident INTEGER NOT NULL REFERENCES incidents ON DELETE CASCADE,
  PRIMARY KEY (lesson, incident)
) STRICT, WITHOUT ROWID;
CREATE INDEX released_by_incident ON released (incident);
";

/// Numbers of the screens over time. A row of the three tables is a time with
/// one value, or with the mean and range of several; where one ends before the
/// next begins is a gap.
const SERIES: &str = "
CREATE TABLE series (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  stream TEXT NOT NULL,
  -- Text that is the same however OCR misreads place, label and unit.
  key TEXT NOT NULL,
  place TEXT NOT NULL,
  label TEXT NOT NULL,
  unit TEXT NOT NULL,
  first_at INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  value REAL NOT NULL,
  UNIQUE (stream, key)
) STRICT;
CREATE INDEX series_by_last ON series (last_at);
CREATE TABLE series_raw (
  series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
  from_at INTEGER NOT NULL,
  to_at INTEGER NOT NULL,
  mean REAL NOT NULL,
  low REAL NOT NULL,
  high REAL NOT NULL,
  PRIMARY KEY (series, from_at)
) STRICT, WITHOUT ROWID;
CREATE TABLE series_minutes (
  series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
  from_at INTEGER NOT NULL,
  to_at INTEGER NOT NULL,
  mean REAL NOT NULL,
  low REAL NOT NULL,
  high REAL NOT NULL,
  PRIMARY KEY (series, from_at)
) STRICT, WITHOUT ROWID;
CREATE TABLE series_hours (
  series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
  from_at INTEGER NOT NULL,
  to_at INTEGER NOT NULL,
  mean REAL NOT NULL,
  low REAL NOT NULL,
  high REAL NOT NULL,
  PRIMARY KEY (series, from_at)
) STRICT, WITHOUT ROWID;
-- Times up to which minutes and hours are summarised.
CREATE TABLE series_progress (minutes INTEGER NOT NULL, hours INTEGER NOT NULL) STRICT;
INSERT INTO series_progress VALUES (0, 0);
";

/// Handovers with their sign-off, changes of the configuration, and cost of
/// analysts by the day (of the Unix epoch).
const SHIFTS: &str = "
CREATE TABLE handovers (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id BLOB NOT NULL UNIQUE,
  since INTEGER NOT NULL,
  until INTEGER NOT NULL,
  given_by TEXT NOT NULL,
  at INTEGER NOT NULL,
  message TEXT NOT NULL,
  taken_by TEXT,
  taken_at INTEGER
) STRICT;
CREATE TABLE configuration_changes (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  changed_by TEXT NOT NULL,
  what TEXT NOT NULL
) STRICT;
CREATE INDEX configuration_changes_by_time ON configuration_changes (at);
CREATE TABLE agent_spend (
  day INTEGER NOT NULL,
  agent TEXT NOT NULL,
  requests INTEGER NOT NULL,
  prompt_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  micro_usd INTEGER NOT NULL,
  PRIMARY KEY (day, agent)
) STRICT, WITHOUT ROWID;
";

/// Subject of an incident, and indexes that its counts are read from without
/// its rows. The kinds are in the order of `Incident::subject`.
const OVERVIEW: &str = include_str!("overview.sql");

/// Severities as settled by the panel, or the highest found.
const SETTLED: &str = "
ALTER TABLE incidents ADD COLUMN settled INTEGER NOT NULL DEFAULT 0; UPDATE incidents SET settled = severity;
CREATE INDEX incidents_by_settled ON incidents (settled, last_seen, seq, status, severity, category, stream, agents);
DROP INDEX incidents_overview;
CREATE INDEX incidents_overview ON incidents (first_seen, settled, status, stream, owner, snoozed_until, category, subject, severity);
DROP INDEX incidents_open; CREATE INDEX incidents_open ON incidents (settled, snoozed_until) WHERE status < 2;
";

/// Copies what was indexed before [`SEARCH_FORMS`], with its forms: about 20 s
/// of a million lines.
fn index_forms(db: &Transaction<'_>) -> rusqlite::Result<()> {
    let copies = [
        (
            "SELECT text, rowid, stream, observed_at, frame_seq, pts_ms, bounds
             FROM screen_text_before ORDER BY rowid",
            "INSERT INTO screen_text (forms, text, rowid, stream, observed_at, frame_seq, pts_ms, bounds)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        ),
        (
            "SELECT text, rowid FROM finding_text_before ORDER BY rowid",
            "INSERT INTO finding_text (forms, text, rowid) VALUES (?1, ?2, ?3)",
        ),
    ];
    for (from, to) in copies {
        let (mut select, mut insert) = (db.prepare(from)?, db.prepare(to)?);
        let columns = select.column_count();
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let text: Option<String> = row.get(0)?;
            let mut values = vec![Value::Text(forms(&text.unwrap_or_default()))];
            for column in 0..columns {
                values.push(row.get(column)?);
            }
            insert.execute(params_from_iter(values))?;
        }
    }
    db.execute_batch("DROP TABLE screen_text_before; DROP TABLE finding_text_before;")
}

/// Pairs of letters of text without blanks between its words, among the forms;
/// [`index_pairs`] adds those of what is there.
const PAIRS_OF_LETTERS: &str = "-- Rows are changed one by one.";

/// Adds the pairs of letters to the forms of what was indexed before
/// [`PAIRS_OF_LETTERS`]: of few lines, as OCR read Latin letters only.
fn index_pairs(db: &Transaction<'_>) -> rusqlite::Result<()> {
    for table in ["screen_text", "finding_text"] {
        let mut select = db.prepare(&format!("SELECT rowid, text FROM {table}"))?;
        let mut rows = select.query([])?;
        let mut changed = Vec::new();
        while let Some(row) = rows.next()? {
            let text: Option<String> = row.get(1)?;
            let text = text.filter(|text| text.chars().any(is_unspaced));
            if let Some(text) = text {
                changed.push((row.get::<_, i64>(0)?, forms(&text)));
            }
        }
        let mut update = db.prepare(&format!("UPDATE {table} SET forms = ?2 WHERE rowid = ?1"))?;
        for (rowid, forms) in changed {
            update.execute(params![rowid, forms])?;
        }
    }
    Ok(())
}

/// Column `forms` of a text.
pub(super) fn forms(text: &str) -> String {
    search_forms(text).join(" ")
}

/// Schema version found in a file.
pub(super) enum SchemaVersion {
    Empty,
    /// Schema of this version or an older one.
    Known(i32),
    Newer(i32),
    Foreign,
}

pub(super) fn age(db: &Connection) -> rusqlite::Result<SchemaVersion> {
    let version: i32 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i32 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (application, version) {
        (0, 0) if tables == 0 => SchemaVersion::Empty,
        (APPLICATION, version) if version > NEWEST => SchemaVersion::Newer(version),
        (APPLICATION, version) if version >= 0 => SchemaVersion::Known(version),
        _ => SchemaVersion::Foreign,
    })
}

/// Applies all steps or none.
pub(super) fn migrate(db: &mut Connection, from: i32) -> rusqlite::Result<()> {
    if from >= NEWEST {
        return Ok(());
    }
    let step = db.transaction()?;
    for migration in MIGRATIONS.iter().skip(from.max(0) as usize) {
        step.execute_batch(migration)?;
        match *migration {
            SEARCH_FORMS => index_forms(&step)?,
            PAIRS_OF_LETTERS => index_pairs(&step)?,
            _ => {}
        }
    }
    mark(&step)?;
    step.commit()
}

fn mark(step: &Transaction<'_>) -> rusqlite::Result<()> {
    step.pragma_update(None, "application_id", APPLICATION)?;
    step.pragma_update(None, "user_version", NEWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_blanks_of_an_older_database_is_found_by_its_parts() {
        let mut db = Connection::open_in_memory().unwrap();
        let before = MIGRATIONS.iter().position(|step| *step == PAIRS_OF_LETTERS);
        let before = before.unwrap();
        for migration in &MIGRATIONS[..before] {
            db.execute_batch(migration).unwrap();
        }
        let lines = "INSERT INTO screen_text (rowid, text, stream, forms)
                       VALUES (7, '磁盘使用率92%', 'team', ''), (8, 'db was 00MKilled', 'team', 'oomkllled');
                     INSERT INTO finding_text (rowid, text, forms) VALUES (3, '用户登录失败', '');";
        db.execute_batch(lines).unwrap();
        migrate(&mut db, before as i32).unwrap();
        for (table, words, rowid) in [
            ("screen_text", "\"使用 用率\"", Some(7)),
            ("screen_text", "92", Some(7)),
            ("screen_text", "oomkllled", Some(8)),
            ("screen_text", "\"使用 率\"", None),
            ("finding_text", "\"登录\"", Some(3)),
        ] {
            let find = format!("SELECT max(rowid) FROM {table} WHERE {table} MATCH ?1");
            let found: Option<i64> = db.query_row(&find, [words], |row| row.get(0)).unwrap();
            assert_eq!(found, rowid, "{words}");
        }
    }

    #[test]
    fn older_database_is_migrated() {
        let mut db = Connection::open_in_memory().unwrap();
        let before = MIGRATIONS.iter().position(|step| *step == SEARCH_FORMS);
        let before = before.unwrap() as i32;
        for migration in &MIGRATIONS[..before as usize] {
            db.execute_batch(migration).unwrap();
        }
        let lines =
            "INSERT INTO screen_text (rowid, text, stream) VALUES (7, 'db was 00MKilled', 'team');
                     INSERT INTO finding_text (rowid, text) VALUES (3, 'pod is 00MKilled');
                     INSERT INTO evidence VALUES ('one', 3, 0);
                     INSERT INTO moments VALUES (1, 'team', 0, 0, 'one');
                     INSERT INTO incidents (id, stream, category, title, severity, status, count,
                       first_seen, last_seen, agents, entities, opinions, revision, version)
                     VALUES (x'00', 'team', 'other', 'Down', 4, 1, 1, 0, 0, '[]',
                       '[{\"kind\":\"ip\",\"value\":\"192.0.2.1\"},{\"kind\":\"host\",\"value\":\"web-01\"},{\"kind\":\"host\",\"value\":\"web-02\"}]',
                       '[]', 1, 1);";
        db.execute_batch(lines).unwrap();
        db.pragma_update(None, "application_id", APPLICATION)
            .unwrap();
        db.pragma_update(None, "user_version", before).unwrap();
        assert!(matches!(age(&db), Ok(SchemaVersion::Known(version)) if version == before));
        migrate(&mut db, before).unwrap();
        assert!(matches!(age(&db), Ok(SchemaVersion::Known(NEWEST))));
        let found = "SELECT count(*) FROM moments INDEXED BY moments_by_time WHERE seen_at >= 0";
        let found: i64 = db.query_row(found, [], |row| row.get(0)).unwrap();
        assert_eq!(found, 1);
        let handled =
            "SELECT owner IS NULL AND snoozed_until IS NULL AND subject = 'web-01' FROM incidents";
        let unhandled: bool = db.query_row(handled, [], |row| row.get(0)).unwrap();
        assert!(unhandled);
        for (table, rowid) in [("screen_text", 7), ("finding_text", 3)] {
            let find = format!("SELECT rowid FROM {table} WHERE {table} MATCH 'oomkllled'");
            let found: i64 = db.query_row(&find, [], |row| row.get(0)).unwrap();
            assert_eq!(found, rowid);
        }
    }
}
