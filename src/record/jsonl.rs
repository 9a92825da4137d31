//! `findings.jsonl`: one finding a line, whole lines only.
//!
//! The store is authoritative; this file is written after it and completed at
//! the start: findings missing in the file are appended, none twice. To find
//! them without reading a long file, the store keeps a cursor of the file (a
//! finding and a length, both synced).

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use uuid::Uuid;

use watchtower_domain::finding::Finding;

use crate::line_file::{LineFile, put_aside_last};
use crate::settings::LogSettings;
use crate::store::{Readers, StoreError};

/// Name of the file, and of its cursor in the store.
pub(super) const NAME: &str = "findings.jsonl";
/// Interval of cursor updates: after a crash the lines since the last one are
/// read again.
const NOTED_EVERY: Duration = Duration::from_secs(5);
const PAGE: usize = 1000;

#[derive(Debug)]
pub(super) struct JsonLines {
    path: PathBuf,
    file: LineFile,
    /// Last finding in the file.
    seq: u64,
    /// Flag: the store has findings that could not be written here.
    behind: bool,
    noted: u64,
    noted_at: Instant,
    /// Flag: the file was rotated, so that the cursor points into another file.
    moved: bool,
}

/// Error of an incomplete file.
#[derive(Debug, thiserror::Error)]
pub(super) enum JsonlError {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Deserialize)]
struct FindingLine {
    id: Uuid,
}

impl JsonLines {
    pub(super) fn open(path: &Path, rotation: LogSettings) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: LineFile::open(path.to_owned(), rotation)?,
            seq: 0,
            behind: false,
            noted: 0,
            noted_at: Instant::now(),
            moved: false,
        })
    }

    /// Appends the findings missing in the file; returns it.
    pub(super) fn make_whole(&mut self, readers: &Readers) -> Result<Vec<Finding>, JsonlError> {
        let (seq, place) = readers.cursor(NAME)?.unwrap_or_default();
        (self.seq, self.noted) = (seq, seq);
        let mut page = readers.findings_after(self.seq, PAGE)?;
        if page.is_empty() {
            return Ok(Vec::new());
        }
        let written = self.ids_there(seq, place, readers)?;
        let mut lacking = Vec::new();
        while let Some(last) = page.last().map(|(seq, _)| *seq) {
            page.retain(|(_, finding)| !written.contains(&finding.id));
            self.write(page.iter().map(|(_, finding)| finding))?;
            self.seq = last;
            lacking.extend(page.into_iter().map(|(_, finding)| finding));
            page = readers.findings_after(self.seq, PAGE)?;
        }
        Ok(lacking)
    }

    /// Appends new findings. Those that can't be written now follow with a
    /// later batch from the store.
    pub(super) fn append<'a>(
        &mut self,
        found: impl Iterator<Item = (u64, &'a Finding)>,
        readers: &Readers,
    ) {
        if self.behind {
            return self.catch_up(readers);
        }
        let mut last = self.seq;
        let found = found.map(|(seq, finding)| {
            last = seq;
            finding
        });
        match self.write(found) {
            Ok(()) => self.seq = last,
            Err(error) => {
                self.behind = true;
                tracing::error!(%error, "failed to write to {NAME}; findings are in the database and will be written later");
            }
        }
    }

    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    pub(super) fn catch_up(&mut self, readers: &Readers) {
        let mut follow = || -> Result<u64, JsonlError> {
            let mut count = 0;
            loop {
                let page = readers.findings_after(self.seq, PAGE)?;
                let Some(last) = page.last().map(|(seq, _)| *seq) else {
                    return Ok(count);
                };
                self.write(page.iter().map(|(_, finding)| finding))?;
                self.seq = last;
                count += page.len() as u64;
            }
        };
        // Logged once at the first failure, not at each retry.
        if let Ok(count) = follow() {
            self.behind = false;
            tracing::info!(count, "{NAME} has caught up with the database");
        }
    }

    /// Cursor of the file (sequence number, bytes), when an update is due.
    pub(super) fn due_note(&mut self, closing: bool) -> Option<(u64, u64)> {
        let late = closing || self.noted_at.elapsed() >= NOTED_EVERY;
        let due = self.moved || self.seq != self.noted && late;
        if !due || self.file.sync().is_err() {
            return None;
        }
        (self.noted, self.noted_at, self.moved) = (self.seq, Instant::now(), false);
        Some((self.seq, self.file.length()))
    }

    /// Appends all lines or none: on an error the file is unchanged.
    fn write<'a>(&mut self, findings: impl Iterator<Item = &'a Finding>) -> io::Result<()> {
        let mut lines = Vec::new();
        for finding in findings {
            serde_json::to_writer(&mut lines, finding)?;
            lines.push(b'\n');
        }
        self.moved |= self.file.append(&lines)?;
        Ok(())
    }

    /// Findings written after the cursor: behind its offset, or, if the file
    /// was rotated since, anywhere in this file and the last rotated one.
    fn ids_there(&self, seq: u64, place: u64, readers: &Readers) -> io::Result<HashSet<Uuid>> {
        let last = readers.findings_after(seq.saturating_sub(1), 1).ok();
        let last = last.and_then(|page| page.into_iter().next());
        let noted = last.filter(|(at, _)| *at == seq);
        let noted = noted.map(|(_, finding)| finding.id);
        let mut ids = HashSet::new();
        if noted.is_some() && id_before(&self.path, place)? == noted {
            ids_from(&self.path, place, &mut ids)?;
            return Ok(ids);
        }
        ids_from(&self.path, 0, &mut ids)?;
        if let Some(aside) = put_aside_last(&self.path) {
            ids_from(&aside, 0, &mut ids)?;
        }
        Ok(ids)
    }
}

fn ids_from(path: &Path, place: u64, ids: &mut HashSet<Uuid>) -> io::Result<()> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(place))?;
    for line in BufReader::new(file).split(b'\n') {
        // Lines of other origin are kept.
        if let Ok(line) = serde_json::from_slice::<FindingLine>(&line?) {
            ids.insert(line.id);
        }
    }
    Ok(())
}

/// Finding whose line ends at an offset.
fn id_before(path: &Path, place: u64) -> io::Result<Option<Uuid>> {
    /// The longest possible line is shorter.
    const LONGEST: u64 = 1 << 20;
    let mut file = File::open(path)?;
    if place == 0 || file.metadata()?.len() < place {
        return Ok(None);
    }
    let start = place.saturating_sub(LONGEST);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(place - start).read_to_end(&mut tail)?;
    let Some((b'\n', lines)) = tail.split_last() else {
        return Ok(None);
    };
    let line = lines.rsplit(|byte| *byte == b'\n').next();
    let line = line.and_then(|line| serde_json::from_slice::<FindingLine>(line).ok());
    Ok(line.map(|line| line.id))
}
