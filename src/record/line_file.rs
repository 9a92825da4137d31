//! File of whole lines that tolerates external rotation, and is rotated by size
//! otherwise.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::settings::LogSettings;

/// Appender to the current file at a path: a renamed or removed one is
/// replaced, a truncated one (`copytruncate`) is continued at its new end.
#[derive(Debug)]
pub struct LineFile {
    path: PathBuf,
    rotation: LogSettings,
    file: File,
    /// Length up to the last whole line.
    length: u64,
    /// True once a failed rotation was reported.
    stuck: bool,
}

impl LineFile {
    /// Opens or creates the file and cuts a torn last line off.
    pub fn open(path: PathBuf, rotation: LogSettings) -> io::Result<Self> {
        let (file, length) = open(&path)?;
        Ok(Self {
            path,
            rotation,
            file,
            length,
            stuck: false,
        })
    }

    /// Appends whole lines, all or nothing; returns whether they are in another
    /// file or at another offset than directly after the last ones.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<bool> {
        let mut moved = self.follow()?;
        let most = self.rotation.max_bytes;
        let full = most > 0 && self.length > 0 && self.length + lines.len() as u64 > most;
        if full {
            moved |= self.put_aside()?;
        }
        match self.file.write_all(lines) {
            Ok(()) => self.length += lines.len() as u64,
            Err(error) => {
                // A failed cut is repeated before the next lines.
                let _ = self.file.set_len(self.length);
                return Err(error);
            }
        }
        Ok(moved)
    }

    /// Syncs the appended lines to disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    /// Checks the file at the path: `mv` and logrotate's `create` leave another
    /// file or none, `copytruncate` a shorter one.
    fn follow(&mut self) -> io::Result<bool> {
        let own = self.file.metadata()?;
        let same = match fs::metadata(&self.path) {
            Ok(there) => (there.dev(), there.ino()) == (own.dev(), own.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if !same {
            self.reopen()?;
            return Ok(true);
        }
        if own.len() == self.length {
            return Ok(false);
        }
        let shorter = own.len() < self.length;
        self.length = cut_torn(&mut self.file)?;
        Ok(shorter)
    }

    fn reopen(&mut self) -> io::Result<()> {
        // Lines written to the old file must be synced before it is closed.
        self.file.sync_data()?;
        (self.file, self.length) = open(&self.path)?;
        Ok(())
    }

    /// Rotates: `NAME` becomes `NAME.1`, that `NAME.2`, and so on. If the
    /// folder does not allow it, no line is lost: the file grows on.
    fn put_aside(&mut self) -> io::Result<bool> {
        if let Err(error) = shift(&self.path, self.rotation.keep) {
            if !self.stuck {
                let file = self.path.display();
                tracing::warn!(%file, %error, "failed to rotate the log");
            }
            self.stuck = true;
            return Ok(false);
        }
        self.stuck = false;
        self.reopen()?;
        Ok(true)
    }
}

/// Last rotated file, by any scheme: `NAME.1` or `NAME-20261128`.
pub(super) fn put_aside_last(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let others = fs::read_dir(path.parent()?).ok()?.flatten();
    let aside = others.filter(|other| {
        let other = other.file_name();
        let ending = other.to_str().and_then(|other| other.strip_prefix(name));
        ending.is_some_and(|ending| ending.starts_with(['.', '-']))
    });
    let dated = aside.filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file)));
    let last = dated.max_by_key(|(modified, _)| *modified)?;
    Some(last.1.path())
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    let mut file = options.read(true).append(true).create(true).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("is no regular file"));
    }
    let length = cut_torn(&mut file)?;
    Ok((file, length))
}

fn cut_torn(file: &mut File) -> io::Result<u64> {
    let whole = whole_lines(file)?;
    if whole != file.metadata()?.len() {
        file.set_len(whole)?;
    }
    Ok(whole)
}

fn shift(path: &Path, keep: usize) -> io::Result<()> {
    for number in (1..keep).rev() {
        match fs::rename(numbered(path, number), numbered(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, numbered(path, 1))
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// Length of the file up to and including its last line feed.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    const STEP: u64 = 64 << 10;
    let mut end = file.metadata()?.len();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        file.seek(SeekFrom::Start(start))?;
        let mut block = Vec::new();
        io::Read::by_ref(file)
            .take(end - start)
            .read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &Path, max_bytes: u64, keep: usize) -> LineFile {
        LineFile::open(path.to_owned(), LogSettings { max_bytes, keep }).unwrap()
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn renamed_file_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.log");
        let mut log = file(&path, 0, 5);
        assert!(!log.append(b"one\n").unwrap());
        // logrotate with `nocreate`, then with `create`, then rm.
        fs::rename(&path, numbered(&path, 1)).unwrap();
        assert!(log.append(b"two\n").unwrap());
        assert!(!log.append(b"three\n").unwrap());
        fs::rename(&path, numbered(&path, 2)).unwrap();
        File::create(&path).unwrap();
        assert!(log.append(b"four\n").unwrap());
        assert_eq!(read(&numbered(&path, 1)), "one\n");
        assert_eq!(read(&numbered(&path, 2)), "two\nthree\n");
        assert_eq!(read(&path), "four\n");
        fs::remove_file(&path).unwrap();
        assert!(log.append(b"five\n").unwrap());
        assert_eq!((read(&path).as_str(), log.length()), ("five\n", 5));
    }

    #[test]
    fn copytruncate_continues_without_a_hole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.log");
        let mut log = file(&path, 0, 5);
        log.append(b"a line before\n").unwrap();
        fs::copy(&path, numbered(&path, 1)).unwrap();
        let cut = OpenOptions::new().write(true).open(&path).unwrap();
        cut.set_len(0).unwrap();
        assert!(log.append(b"after\n").unwrap());
        assert!(!log.append(b"more\n").unwrap());
        assert_eq!(read(&numbered(&path, 1)), "a line before\n");
        assert_eq!((read(&path).as_str(), log.length()), ("after\nmore\n", 11));
    }

    #[test]
    fn rotation_by_size_keeps_a_number_and_repairs_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        fs::write(&path, "{\"a\":1}\n{\"half").unwrap();
        let mut log = file(&path, 10, 2);
        assert_eq!(log.length(), 8);
        log.append(b"2\n").unwrap();
        assert_eq!(read(&path), "{\"a\":1}\n2\n");
        for line in ["3333333\n", "4444444\n", "a line longer than any file\n"] {
            assert!(log.append(line.as_bytes()).unwrap());
        }
        assert_eq!(read(&path), "a line longer than any file\n");
        assert_eq!(read(&numbered(&path, 1)), "4444444\n");
        assert_eq!(read(&numbered(&path, 2)), "3333333\n");
        assert!(!numbered(&path, 3).exists());
        // A torn line of another process is not joined with ours.
        let mut other = OpenOptions::new().append(true).open(&path).unwrap();
        other.write_all(b"torn").unwrap();
        assert!(log.append(b"5\n").unwrap());
        assert_eq!((read(&path).as_str(), log.length()), ("5\n", 2));
    }

    #[test]
    fn failed_rotation_loses_no_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.log");
        let mut log = file(&path, 4, 1);
        log.append(b"one\n").unwrap();
        // Nothing can be renamed over a folder.
        fs::create_dir(numbered(&path, 1)).unwrap();
        assert!(!log.append(b"two\n").unwrap());
        assert_eq!(read(&path), "one\ntwo\n");
        fs::remove_dir(numbered(&path, 1)).unwrap();
        assert!(log.append(b"three\n").unwrap());
        assert_eq!(read(&path), "three\n");
    }

    #[test]
    fn last_rotated_file_is_found_by_any_scheme() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("findings.jsonl");
        file(&path, 0, 1).append(b"1\n").unwrap();
        assert_eq!(put_aside_last(&path), None);
        let dated = dir.path().join("findings.jsonl-20261128");
        fs::rename(&path, &dated).unwrap();
        fs::write(dir.path().join("findings.jsonlx"), "").unwrap();
        assert_eq!(put_aside_last(&path), Some(dated));
    }
}
