//! `findings.jsonl`: one finding a line, whole lines only.
//!
//! The store is the record; this file is written after it and made whole again
//! at a start: what the store has and the file lacks is appended, and nothing
//! twice. To know that without reading a long file, the store notes from time
//! to time how far the file has got (a finding and a length, both synced).

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read, Seek, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use uuid::Uuid;

use crate::finding::Finding;
use crate::store::{Readers, StoreError};

/// The file's name, and that of its cursor in the store.
pub(super) const NAME: &str = "findings.jsonl";
/// A crash costs re-reading what was written since the last note.
const NOTED_EVERY: Duration = Duration::from_secs(5);
const PAGE: usize = 1000;

#[derive(Debug)]
pub(super) struct Export {
    file: File,
    /// Length up to the last whole line.
    len: u64,
    /// The last finding in the file.
    seq: u64,
    /// The store has findings that could not be written here.
    behind: bool,
    noted: u64,
    noted_at: Instant,
}

/// Why the file is not whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Deserialize)]
struct Line {
    id: Uuid,
}

impl Export {
    /// Opens or creates the file and cuts a torn last line off.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).open(path)?;
        let len = whole_lines(&mut file)?;
        file.set_len(len)?;
        Ok(Self {
            file,
            len,
            seq: 0,
            behind: false,
            noted: 0,
            noted_at: Instant::now(),
        })
    }

    /// Appends what the store has and the file lacks; returns it.
    pub(super) fn make_whole(&mut self, readers: &Readers) -> Result<Vec<Finding>, Trouble> {
        let (seq, place) = readers.cursor(NAME)?.unwrap_or_default();
        (self.seq, self.noted) = (seq, seq);
        let mut page = readers.findings_after(self.seq, PAGE)?;
        if page.is_empty() {
            return Ok(Vec::new());
        }
        // A shorter file is another one: it was rotated or cleared.
        let place = if self.len < place { 0 } else { place };
        let there = self.ids_from(place)?;
        let mut lacking = Vec::new();
        while let Some(last) = page.last().map(|(seq, _)| *seq) {
            page.retain(|(_, finding)| !there.contains(&finding.id));
            self.write(page.iter().map(|(_, finding)| finding))?;
            self.seq = last;
            lacking.extend(page.into_iter().map(|(_, finding)| finding));
            page = readers.findings_after(self.seq, PAGE)?;
        }
        Ok(lacking)
    }

    /// Appends what was just recorded. What can't be written now follows with
    /// a later batch: the store has it.
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
                tracing::error!(%error, "failed to write to {NAME}; the findings are in the store and follow when it can be written");
            }
        }
    }

    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    pub(super) fn catch_up(&mut self, readers: &Readers) {
        let mut follow = || -> Result<u64, Trouble> {
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
        // Said once when it began; each further try would say the same.
        if let Ok(count) = follow() {
            self.behind = false;
            tracing::info!(count, "{NAME} has caught up with the store");
        }
    }

    /// How far the file has got, when that is worth noting.
    pub(super) fn due_note(&mut self, closing: bool) -> Option<(u64, u64)> {
        let due = self.seq != self.noted && (closing || self.noted_at.elapsed() >= NOTED_EVERY);
        if !due || self.file.sync_data().is_err() {
            return None;
        }
        (self.noted, self.noted_at) = (self.seq, Instant::now());
        Some((self.seq, self.len))
    }

    /// All or nothing: on an error the file is as it was.
    fn write<'a>(&mut self, findings: impl Iterator<Item = &'a Finding>) -> io::Result<()> {
        let mut lines = Vec::new();
        for finding in findings {
            serde_json::to_writer(&mut lines, finding)?;
            lines.push(b'\n');
        }
        let written = self.file.write_all(&lines);
        match written {
            Ok(()) => self.len += lines.len() as u64,
            // What can't be cut now is cut at the next start.
            Err(_) => drop(self.file.set_len(self.len)),
        }
        written
    }

    fn ids_from(&mut self, place: u64) -> io::Result<HashSet<Uuid>> {
        self.file.seek(SeekFrom::Start(place))?;
        let mut ids = HashSet::new();
        for line in BufReader::new(&mut self.file).split(b'\n') {
            // A line by another hand is left where it is.
            if let Ok(line) = serde_json::from_slice::<Line>(&line?) {
                ids.insert(line.id);
            }
        }
        Ok(ids)
    }
}

/// The length of the file up to and including its last line feed.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    const STEP: u64 = 64 << 10;
    let mut end = file.metadata()?.len();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        file.seek(SeekFrom::Start(start))?;
        let mut block = Vec::new();
        Read::by_ref(file)
            .take(end - start)
            .read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
