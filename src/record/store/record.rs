//! Storage of a finding, with the incident that it joins or opens.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};
use uuid::Uuid;

use watchtower_domain::finding::Finding;
use watchtower_domain::incident::{Change, Decision, FindingEffect, Fingerprint, JoinRules};
use watchtower_screen::redact::RedactedJpeg;

use super::{Announcement, Publication, Recorded, StoreWriter, Write, WriteError};
use crate::store::incident_cache::CachedIncident;
use crate::store::migrations::forms;
use crate::store::sql;

impl Write for Publication {
    type Out = Recorded;

    fn apply(&self, writer: &mut StoreWriter) -> Result<Recorded, WriteError> {
        Ok(writer.record(self)?)
    }

    fn announcement<'a>(&'a self, recorded: &'a Recorded) -> Option<Announcement<'a>> {
        Some(Announcement::Finding {
            seq: recorded.seq,
            finding: &recorded.finding,
            // Without one the finding was announced when it was first recorded.
            change: recorded.change.as_ref()?,
            own_count: recorded.own_count,
        })
    }
}

impl StoreWriter {
    fn record(&mut self, publication: &Publication) -> rusqlite::Result<Recorded> {
        let (finding, still) = (&publication.finding, publication.still.as_ref());
        if let Some(recorded) = self.recorded(finding.id)? {
            return Ok(recorded);
        }
        let (mut known, effect) = self.join(finding)?;
        let own_count = self.count(&known, finding)?;
        let revision = self.next_revision();
        known.update(&self.db, revision)?;
        let mut finding = finding.clone();
        finding.incident = Some(known.state.incident.id);
        let seq = self.insert(&finding, known.seq)?;
        if let Some(still) = still.filter(|_| self.settings.keep_stills)
            && (!known.has_still || effect.rose)
        {
            known.has_still |= self.keep(&known, seq, still)?;
        }
        if let Some(asked) = &publication.asked {
            self.keep_transcript(known.seq, &asked.transcript, asked.share)?;
        }
        if let Some(lesson) = known.state.suppression {
            self.suppressed(lesson, finding.observed_at)?;
        }
        let change = Change {
            revision,
            change: effect.news,
            loud: effect.news.is_loud(),
            finding: Some(finding.id),
            version: known.state.version,
            incident: known.state.incident.clone(),
        };
        self.post(&change, Some(seq), None)?;
        self.cache.put(known);
        Ok(Recorded {
            seq: seq as u64,
            finding: Arc::new(finding),
            change: Some(change),
            own_count,
        })
    }

    /// Finding already stored under that id, for an agent that retries.
    fn recorded(&self, id: Uuid) -> rusqlite::Result<Option<Recorded>> {
        let mut find = self
            .db
            .prepare_cached("SELECT seq, json FROM findings WHERE id = ?1")?;
        let found = find.query_row([id.as_bytes()], |row| {
            Ok(Recorded {
                seq: row.get::<_, i64>(0)? as u64,
                finding: Arc::new(sql::json(row, 1)?),
                change: None,
                own_count: 0,
            })
        });
        found.optional()
    }

    /// Adds a finding to the incident it belongs to, or opens one.
    fn join(&mut self, finding: &Finding) -> rusqlite::Result<(CachedIncident, FindingEffect)> {
        let subject = Fingerprint::of(finding);
        let found = self.cache.find(&self.db, &subject)?;
        let rules = JoinRules {
            suppressions: &self.suppressions,
            quiet_time: self.settings.quiet_time,
            now: Timestamp::now(),
        };
        let (known, effect) = match found {
            Some(mut known) => {
                let effect = rules.join(&mut known.state, finding, &subject);
                if effect.learned {
                    known.store_subject(&self.db)?;
                }
                (known, effect)
            }
            None => {
                let (opened, effect) = rules.open(finding, subject, Uuid::now_v7());
                let known = CachedIncident::insert(opened, &self.db, self.position.revision)?;
                (known, effect)
            }
        };
        if let Some(decision) = &effect.decision {
            self.note(known.seq, decision)?;
        }
        Ok((known, effect))
    }

    /// Counts a finding of its agent; returns their number.
    fn count(&self, known: &CachedIncident, finding: &Finding) -> rusqlite::Result<u64> {
        let mut count = self.db.prepare_cached(
            "INSERT INTO incident_agents (incident, agent, count) VALUES (?1, ?2, 1)
             ON CONFLICT (incident, agent) DO UPDATE SET count = count + 1 RETURNING count",
        )?;
        let own: i64 = count.query_row(params![known.seq, finding.agent], |row| row.get(0))?;
        Ok(own as u64)
    }

    fn insert(&mut self, finding: &Finding, incident: i64) -> rusqlite::Result<i64> {
        let stored_at = self.trust.stamp();
        let mut insert = self.db.prepare_cached(
            "INSERT INTO findings (id, incident, agent, stream, severity, stored_at, json)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        insert.execute(params![
            finding.id.as_bytes(),
            incident,
            finding.agent,
            finding.stream.as_str(),
            sql::badness(finding.severity),
            stored_at,
            sql::to_json(finding),
        ])?;
        drop(insert);
        let seq = self.db.last_insert_rowid();
        self.position.seq = seq as u64;
        self.index(seq, finding)?;
        Ok(seq)
    }

    /// Makes the words of a finding searchable.
    fn index(&self, seq: i64, finding: &Finding) -> rusqlite::Result<()> {
        let mut words = vec![&finding.agent, &finding.title, &finding.detail];
        words.extend(finding.evidence.iter().map(|evidence| &evidence.quote));
        let words: Vec<_> = words.into_iter().map(String::as_str).collect();
        let text = words.join(" ");
        self.db
            .prepare_cached("INSERT INTO finding_text (rowid, text, forms) VALUES (?1, ?2, ?3)")?
            .execute(params![seq, text, forms(&text)])?;
        Ok(())
    }

    /// Stores a picture as the incident's peak, and as its first if there is
    /// none. A picture that can't be stored loses no finding.
    fn keep(
        &mut self,
        known: &CachedIncident,
        finding: i64,
        still: &RedactedJpeg,
    ) -> rusqlite::Result<bool> {
        let Some(sha256) = self.put(still)? else {
            return Ok(false);
        };
        let old: Option<String> = self
            .db
            .prepare_cached("SELECT sha256 FROM stills WHERE incident = ?1 AND moment = 1")?
            .query_row([known.seq], |row| row.get(0))
            .optional()?;
        self.db
            .prepare_cached(
                "INSERT OR IGNORE INTO stills (incident, moment, finding, sha256) VALUES (?1, 0, ?2, ?3)",
            )?
            .execute(params![known.seq, finding, sha256])?;
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO stills (incident, moment, finding, sha256) VALUES (?1, 1, ?2, ?3)",
            )?
            .execute(params![known.seq, finding, sha256])?;
        if let Some(old) = old {
            self.release(&old)?;
        }
        Ok(true)
    }

    /// Stores a picture under its SHA-256; `None` when it can't be written.
    pub(super) fn put(&mut self, still: &RedactedJpeg) -> rusqlite::Result<Option<String>> {
        let sha256 = match self.evidence.put(still.bytes()) {
            Ok(sha256) => sha256,
            Err(error) => {
                tracing::error!(%error, "failed to store a still");
                return Ok(None);
            }
        };
        self.unneeded.retain(|other| *other != sha256);
        let mut add = self.db.prepare_cached(
            "INSERT OR IGNORE INTO evidence (sha256, bytes, stored_at) VALUES (?1, ?2, ?3)",
        )?;
        let now = sql::nanos(Timestamp::now());
        let new = add.execute(params![sha256, still.bytes().len() as i64, now])? > 0;
        drop(add);
        if new {
            self.added.push(sha256.clone());
        }
        Ok(Some(sha256))
    }

    /// Deletes a still if nothing refers to it any more.
    pub(super) fn release(&mut self, sha256: &str) -> rusqlite::Result<()> {
        let mut release = self.db.prepare_cached(
            "DELETE FROM evidence WHERE sha256 = ?1
             AND NOT EXISTS (SELECT 1 FROM stills WHERE stills.sha256 = ?1)
             AND NOT EXISTS (SELECT 1 FROM moments WHERE moments.sha256 = ?1)",
        )?;
        if release.execute([sha256])? > 0 {
            self.unneeded.push(sha256.to_owned());
            self.added.retain(|other| other != sha256);
        }
        Ok(())
    }

    fn suppressed(&self, lesson: i64, at: Timestamp) -> rusqlite::Result<()> {
        let mut count = self.db.prepare_cached(
            "UPDATE lessons SET quieted = quieted + 1, last_quieted = ?2 WHERE seq = ?1",
        )?;
        count.execute(params![lesson, sql::nanos(at)])?;
        Ok(())
    }

    pub(super) fn note(&self, incident: i64, decision: &Decision) -> rusqlite::Result<()> {
        let mut note = self.db.prepare_cached(
            "INSERT INTO decisions (incident, status, decided_by, at, why, false_positive)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        note.execute(params![
            incident,
            sql::code(decision.status),
            decision.by,
            sql::nanos(decision.at),
            decision.why,
            decision.false_positive,
        ])?;
        Ok(())
    }
}
