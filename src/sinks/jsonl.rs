//! A file, an event a line, for whoever follows files: Vector, Fluent Bit,
//! Filebeat, Wazuh.
//!
//! Durable before the cursor moves. Put aside as `NAME.1`, `NAME.2`, ... when
//! it is full; opened anew when somebody else has moved it away.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{Destination, Notice, Outcome, shaped};
use crate::config::{Format, SinkSettings};

/// The longest line there can be is far below.
const TAIL: u64 = 1 << 20;

pub(super) struct Jsonl {
    file: RotatingFile,
    format: Format,
}

#[derive(Clone)]
struct RotatingFile {
    path: PathBuf,
    most: u64,
    keep: usize,
}

impl Jsonl {
    pub(super) fn open(settings: &SinkSettings) -> Result<Self, String> {
        let path = settings
            .address
            .as_ref()
            .map_or("", |address| address.expose());
        let file = RotatingFile {
            path: PathBuf::from(path),
            most: settings.rotate_bytes,
            keep: settings.keep_files,
        };
        if let Some(folder) = file.path.parent() {
            fs::create_dir_all(folder)
                .map_err(|error| format!("address {path}: failed to make its folder: {error}"))?;
        }
        file.open().map_err(|error| {
            format!("address {path}: {error}; expected a file this user may write to")
        })?;
        Ok(Self {
            file,
            format: settings.format,
        })
    }
}

#[async_trait]
impl Destination for Jsonl {
    async fn deliver(&mut self, batch: &[Notice]) -> Outcome {
        let mut lines = Vec::with_capacity(batch.len() * 2048);
        for notice in batch {
            lines.extend_from_slice(shaped(notice, self.format).to_string().as_bytes());
            lines.push(b'\n');
        }
        let file = self.file.clone();
        let written = tokio::task::spawn_blocking(move || file.append(&lines)).await;
        match written {
            Ok(Ok(())) => Outcome::Delivered,
            Ok(Err(error)) => Outcome::retry(format!(
                "failed to write {}: {error}",
                self.file.path.display()
            )),
            Err(error) => Outcome::retry(format!("failed to write: {error}")),
        }
    }
}

impl RotatingFile {
    /// Opened for each batch: whoever has moved the file away gets no more.
    fn append(&self, lines: &[u8]) -> io::Result<()> {
        let mut file = self.open()?;
        let mut before = file.metadata()?.len();
        if before > 0 && before + lines.len() as u64 > self.most {
            drop(file);
            self.put_aside()?;
            file = self.open()?;
            before = file.metadata()?.len();
        }
        let written = file.write_all(lines).and_then(|()| file.sync_data());
        if written.is_err() {
            // All of it or nothing, so that no line is half.
            drop(file.set_len(before));
        }
        written
    }

    /// Cuts off the half line that a crash has left.
    fn open(&self) -> io::Result<File> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&self.path)?;
        let meta = file.metadata()?;
        if !meta.is_file() || meta.nlink() == 0 {
            return Err(io::Error::other("is no regular file"));
        }
        let length = meta.len();
        let start = length.saturating_sub(TAIL);
        file.seek(SeekFrom::End(-1.min(length as i64)))?;
        let mut last = [0; 1];
        if length == 0 || (file.read(&mut last)? == 1 && last[0] == b'\n') {
            return Ok(file);
        }
        file.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        let whole = tail.iter().rposition(|byte| *byte == b'\n');
        file.set_len(start + whole.map_or(0, |at| at as u64 + 1))?;
        Ok(file)
    }

    fn put_aside(&self) -> io::Result<()> {
        for number in (1..self.keep).rev() {
            let from = numbered(&self.path, number);
            if from.exists() {
                fs::rename(from, numbered(&self.path, number + 1))?;
            }
        }
        fs::rename(&self.path, numbered(&self.path, 1))
    }
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rotates_keeps_so_many_and_mends_a_half_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let file = RotatingFile {
            path: path.clone(),
            most: 10,
            keep: 2,
        };
        fs::write(&path, "{\"a\":1}\n{\"half").unwrap();
        file.append(b"2\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"a\":1}\n2\n");
        for line in ["3333333\n", "4444444\n", "5555555\n"] {
            file.append(line.as_bytes()).unwrap();
        }
        let read = |number| fs::read_to_string(numbered(&path, number)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "5555555\n");
        assert_eq!(
            (read(1), read(2)),
            ("4444444\n".to_owned(), "3333333\n".to_owned())
        );
        assert!(!numbered(&path, 3).exists());
        fs::rename(&path, dir.path().join("taken")).unwrap();
        file.append(b"6\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "6\n");
    }
}
