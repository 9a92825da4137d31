//! `findings.jsonl`: one finding a line, whole lines only.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::finding::Finding;

/// How far back a start looks for findings to keep: 10,000 of 1.5 kB.
const TAIL_BYTES: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// Length up to the last whole line.
    len: u64,
}

impl Journal {
    /// Opens or creates the file, cuts a torn last line off, and reads the
    /// newest findings back.
    pub(super) fn open(path: &Path, keep: usize) -> io::Result<(Self, VecDeque<Arc<Finding>>)> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        // Two who write would tear each other's lines.
        file.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another watchtower writes there; give each a folder of its own",
            ),
        })?;
        let len = whole_lines(&mut file)?;
        file.set_len(len)?;
        let from = len.saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(from))?;
        let mut lines = BufReader::new(&mut file).split(b'\n');
        if from > 0 {
            // Most likely the second half of a line.
            lines.next();
        }
        let mut kept = VecDeque::new();
        for line in lines {
            // A line by another hand is left where it is and not listed.
            if let Ok(finding) = serde_json::from_slice(&line?) {
                kept.push_back(Arc::new(finding));
                if kept.len() > keep {
                    kept.pop_front();
                }
            }
        }
        kept.make_contiguous()
            .sort_by_key(|finding: &Arc<Finding>| finding.id);
        Ok((
            Self {
                path: path.to_owned(),
                file,
                len,
            },
            kept,
        ))
    }

    pub(super) fn file(&self) -> &Path {
        &self.path
    }

    /// All or nothing: on an error the file is as it was.
    pub(super) fn append<'a>(
        &mut self,
        findings: impl Iterator<Item = &'a Finding>,
    ) -> io::Result<()> {
        let mut lines = Vec::new();
        for finding in findings {
            serde_json::to_writer(&mut lines, finding)?;
            lines.push(b'\n');
        }
        if lines.is_empty() {
            return Ok(());
        }
        let written = self
            .file
            .write_all(&lines)
            .and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.len += lines.len() as u64,
            // What can't be cut now is cut at the next start.
            Err(_) => drop(self.file.set_len(self.len)),
        }
        written
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
