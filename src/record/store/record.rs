//! Recording a finding: which incident it belongs to, and whether that is
//! news.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use uuid::Uuid;

use super::{Publication, Recorded, Writer};
use crate::domain::finding::{Finding, Severity};
use crate::domain::incident::{
    BestEvidence, Change, Decision, Fingerprint, Incident, News, Status,
};
use crate::record::store::incident_cache::Known;
use crate::record::store::sql;
use crate::screen::redact::RedactedJpeg;

/// New lines of evidence that one incident may speak up for; then they add
/// quietly, or a changing dashboard would never be still.
const MOST_TOLD: u32 = 8;
/// An answer may be this late. What lies further back is a clock that jumped.
const LATE: Duration = Duration::from_secs(15 * 60);

/// A lesson as the writer compares with it.
#[derive(Debug)]
pub(super) struct KnownLesson {
    pub(super) seq: i64,
    pub(super) id: Uuid,
    by: String,
    why: String,
    severity: Severity,
    subject: Fingerprint,
}

impl KnownLesson {
    pub(super) fn all(db: &Connection) -> rusqlite::Result<Vec<Self>> {
        let mut all = db.prepare(
            "SELECT seq, id, learned_by, why, severity, subject FROM lessons ORDER BY seq",
        )?;
        let lessons = all.query_map([], |row| {
            Ok(Self {
                seq: row.get(0)?,
                id: sql::id(row, 1)?,
                by: row.get(2)?,
                why: row.get(3)?,
                severity: sql::severity_at(row, 4)?,
                subject: sql::json(row, 5)?,
            })
        })?;
        lessons.collect()
    }

    /// Surely the same, and no worse than what was called false.
    fn covers(&self, finding: &Finding, subject: &Fingerprint) -> bool {
        finding.severity >= self.severity && self.subject.covers(subject)
    }
}

impl Writer {
    pub(super) fn record(&mut self, publication: &Publication) -> rusqlite::Result<Recorded> {
        let (finding, still) = (&publication.finding, publication.still.as_ref());
        if let Some(recorded) = self.recorded(finding.id)? {
            return Ok(recorded);
        }
        let subject = Fingerprint::of(finding);
        let (mut known, news) = match self.cache.find(&self.db, &subject)? {
            Some(known) => self.add(known, finding, &subject)?,
            None => self.open_incident(finding, subject)?,
        };
        known.version += u64::from(matches!(
            news,
            News::Opened | News::Reopened | News::SeverityRose
        ));
        let own_count = self.count(&mut known, finding)?;
        let revision = self.next_revision();
        known.update(&self.db, revision)?;
        let mut finding = finding.clone();
        finding.incident = Some(known.incident.id);
        let seq = self.insert(&finding, known.seq)?;
        if let Some(still) = still.filter(|_| self.settings.keep_stills) {
            let worst = finding.severity < known.worst_before;
            if !known.has_still || worst {
                known.has_still |= self.keep(&known, seq, still)?;
            }
        }
        if let Some(asked) = &publication.asked {
            self.keep_transcript(known.seq, &asked.transcript, asked.share)?;
        }
        if let Some(lesson) = known.lesson {
            self.suppressed(lesson, finding.observed_at)?;
        }
        let change = Change {
            revision,
            change: news,
            loud: news.is_loud(),
            finding: Some(finding.id),
            version: known.version,
            incident: known.incident.clone(),
        };
        self.post(&change, Some(seq), None)?;
        known.worst_before = known.incident.severity;
        self.cache.put(known);
        Ok(Recorded {
            seq: seq as u64,
            finding: Arc::new(finding),
            change: Some(change),
            own_count,
        })
    }

    /// An agent that could not tell whether it was written tries again.
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

    fn open_incident(
        &mut self,
        finding: &Finding,
        subject: Fingerprint,
    ) -> rusqlite::Result<(Known, News)> {
        let lesson = self
            .lessons
            .iter()
            .find(|lesson| lesson.covers(finding, &subject));
        let decision = lesson.map(|lesson| Decision {
            status: Status::Closed,
            by: Decision::WATCHTOWER.to_owned(),
            at: Timestamp::now(),
            why: format!(
                "suppressed by {}, false positive: {}",
                lesson.by, lesson.why
            ),
            false_positive: true,
        });
        let incident = Incident {
            id: Uuid::now_v7(),
            stream: finding.stream.clone(),
            title: finding.title.clone(),
            category: finding.category,
            severity: finding.severity,
            status: decision
                .as_ref()
                .map_or(Status::New, |decision| decision.status),
            count: 0,
            agents: Vec::new(),
            first_seen: finding.observed_at,
            last_seen: finding.observed_at,
            entities: subject.entities().cloned().collect(),
            grounded: None,
            opinions: Vec::new(),
            verdict: None,
        };
        let mut known = Known {
            seq: 0,
            incident,
            subject,
            proof: None,
            version: 0,
            lesson: lesson.map(|lesson| lesson.seq),
            reopens: false,
            told: 0,
            has_still: false,
            worst_before: finding.severity,
        };
        known.insert(&self.db, self.position.revision)?;
        let news = match decision {
            Some(decision) => {
                self.note(known.seq, &decision)?;
                News::Repeated
            }
            None => News::Opened,
        };
        Ok((known, news))
    }

    /// Entity of a finding that was unknown when the incident was closed: of a
    /// false alarm only the entities of the suppression are known.
    fn stranger(&self, known: &Known, subject: &Fingerprint) -> Option<String> {
        if known.incident.status != Status::Closed {
            return None;
        }
        let lesson = known.lesson.and_then(|seq| {
            let mut lessons = self.lessons.iter();
            lessons.find(|lesson| lesson.seq == seq)
        });
        let closed = lesson.map_or(&known.subject, |lesson| &lesson.subject);
        closed.stranger(subject)
    }

    /// Adds a finding to an existing incident; returns the kind of change.
    fn add(
        &mut self,
        mut known: Known,
        finding: &Finding,
        subject: &Fingerprint,
    ) -> rusqlite::Result<(Known, News)> {
        let stranger = self.stranger(&known, subject);
        let incident = &mut known.incident;
        let quiet = finding.observed_at.duration_since(incident.last_seen);
        let returned = quiet >= signed(self.settings.quiet_time);
        let rose = finding.severity < incident.severity;
        let new_agent = !incident.agents.contains(&finding.agent);
        let learned = known.subject.absorb(subject);
        if learned || known.subject.entities().count() != incident.entities.len() {
            incident.entities = known.subject.entities().cloned().collect();
            known.store_subject(&self.db)?;
        }
        let incident = &mut known.incident;
        let before = incident.severity;
        if rose {
            incident.severity = finding.severity;
            incident.title.clone_from(&finding.title);
        }
        if incident.status == Status::Closed {
            let why = if rose {
                Some(format!(
                    "severity rose from {before} to {}",
                    finding.severity
                ))
            } else if let Some(stranger) = stranger {
                Some(format!("new entity: {stranger}"))
            } else if known.lesson.is_some() {
                None
            } else if known.reopens {
                Some("suppression removed, still active".to_owned())
            } else if returned {
                let minutes = quiet.as_secs() / 60;
                Some(format!("recurred after {minutes} min"))
            } else {
                None
            };
            let Some(why) = why else {
                return Ok((known, News::Repeated));
            };
            incident.status = Status::New;
            known.lesson = None;
            known.reopens = false;
            let decision = Decision {
                status: Status::New,
                by: Decision::WATCHTOWER.to_owned(),
                at: Timestamp::now(),
                why,
                false_positive: false,
            };
            self.note(known.seq, &decision)?;
            return Ok((known, News::Reopened));
        }
        let grounded = finding
            .evidence
            .iter()
            .any(|piece| piece.grounded != Some(false));
        let news = if returned {
            News::Returned
        } else if rose {
            News::SeverityRose
        } else if new_agent {
            News::NewAgent
        } else if learned && grounded && known.told < MOST_TOLD {
            known.told += 1;
            News::NewEvidence
        } else {
            News::Repeated
        };
        Ok((known, news))
    }

    /// Counts a finding in; returns how many of them are of its agent.
    fn count(&self, known: &mut Known, finding: &Finding) -> rusqlite::Result<u64> {
        let incident = &mut known.incident;
        incident.count += 1;
        if !incident.agents.contains(&finding.agent) {
            incident.agents.push(finding.agent.clone());
        }
        incident.last_seen = incident.last_seen.max(finding.observed_at);
        let back = incident.first_seen.duration_since(finding.observed_at);
        if back.is_positive() && back <= signed(LATE) {
            incident.first_seen = finding.observed_at;
        }
        for piece in &finding.evidence {
            incident.grounded = incident.grounded.max(piece.grounded);
        }
        if let Some(proof) = BestEvidence::of(finding)
            && known
                .proof
                .as_ref()
                .is_none_or(|best| proof.is_better_than(best))
        {
            known.proof = Some(proof);
        }
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
        Ok(seq)
    }

    /// Keeps a picture as the incident's worst moment, and as its first if
    /// there is none. A picture that can't be kept costs no finding.
    fn keep(
        &mut self,
        known: &Known,
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

    /// Puts a picture where it can be referred to by its sum; `None` when the
    /// disk does not take it.
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

    /// Lets a still go if nothing refers to it any more.
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

fn signed(span: Duration) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(span).unwrap_or(jiff::SignedDuration::MAX)
}
