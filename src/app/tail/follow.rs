//! Lines of a file that grows, is rotated or truncated, or is not there yet.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// Most of a file that is read back at first: more than a terminal shows, and
/// milliseconds of work.
const BACK: u64 = 1 << 20;
/// Longest line: an entry quotes a few lines of a screen.
const LONGEST: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct LogFollower {
    path: PathBuf,
    /// Rotated files that are read first, the oldest first.
    older: Vec<File>,
    file: Option<File>,
    position: u64,
    /// Line that is not whole yet.
    rest: Vec<u8>,
    /// True until the first line break after a start within a line.
    torn: bool,
}

impl LogFollower {
    /// Follows from the last lines on, from `since` on, or from the start.
    pub(super) fn new(path: &Path, since: Option<Timestamp>, from_start: bool) -> io::Result<Self> {
        let mut follower = Self {
            path: path.to_owned(),
            older: Vec::new(),
            file: open(path)?,
            position: 0,
            rest: Vec::new(),
            torn: false,
        };
        match (since, &mut follower.file) {
            (Some(since), _) => follower.older = rotated(path, since)?,
            (None, Some(file)) if !from_start => {
                let length = file.metadata()?.len();
                follower.position = length.saturating_sub(BACK);
                follower.torn = follower.position > 0;
                file.seek(SeekFrom::Start(follower.position))?;
            }
            _ => {}
        }
        Ok(follower)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Next whole lines; none if there are no more for now.
    pub(super) fn read(&mut self) -> io::Result<Vec<String>> {
        loop {
            let (lines, more) = self.step()?;
            if !lines.is_empty() || !more {
                return Ok(lines);
            }
        }
    }

    /// Reads a block; false at the end of what is there.
    fn step(&mut self) -> io::Result<(Vec<String>, bool)> {
        if let Some(older) = self.older.first_mut() {
            let mut block = Vec::new();
            if older.take(BACK).read_to_end(&mut block)? == 0 {
                self.older.remove(0);
            }
            return Ok((self.lines(&block), true));
        }
        if self.file.is_none() {
            self.file = open(&self.path)?;
            self.position = 0;
        }
        let Some(file) = &mut self.file else {
            return Ok((Vec::new(), false));
        };
        let mut block = Vec::new();
        let read = file.take(BACK).read_to_end(&mut block)?;
        if read > 0 {
            self.position += read as u64;
            return Ok((self.lines(&block), true));
        }
        let own = file.metadata()?;
        let there = match std::fs::metadata(&self.path) {
            Ok(there) => there,
            // Put aside, and the next one is not there yet; what is still
            // written to the old one is read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Vec::new(), false));
            }
            Err(error) => return Err(error),
        };
        if (there.dev(), there.ino()) != (own.dev(), own.ino()) {
            self.file = None;
            self.rest.clear();
            return Ok((Vec::new(), true));
        }
        if own.len() < self.position {
            // Truncated in place, as logrotate's `copytruncate` does.
            file.seek(SeekFrom::Start(0))?;
            self.position = 0;
            self.rest.clear();
            return Ok((Vec::new(), true));
        }
        Ok((Vec::new(), false))
    }

    /// Whole lines up to the end of a block; the rest waits for the next one.
    fn lines(&mut self, block: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(block);
        let whole = match self.rest.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => self.rest.drain(..=end).collect::<Vec<_>>(),
            None => Vec::new(),
        };
        if self.rest.len() > LONGEST {
            self.rest.clear();
            self.torn = true;
        }
        let text = String::from_utf8_lossy(&whole);
        let skipped = usize::from(self.torn && !whole.is_empty());
        self.torn &= whole.is_empty();
        text.lines().skip(skipped).map(str::to_owned).collect()
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Rotated files (`NAME.1` the newest) that were written to since, the oldest
/// first.
fn rotated(path: &Path, since: Timestamp) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    for number in 1.. {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        let Some(file) = open(Path::new(&name))? else {
            break;
        };
        let modified = file.metadata()?.modified()?;
        if Timestamp::try_from(modified).is_ok_and(|modified| modified < since) {
            break;
        }
        files.insert(0, file);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write as _;

    use super::*;

    fn append(path: &Path, text: &str) {
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn all(follower: &mut LogFollower) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let more = follower.read().unwrap();
            if more.is_empty() {
                return lines;
            }
            lines.extend(more);
        }
    }

    #[test]
    fn lines_are_followed_through_every_way_of_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/secops.log");
        let aside = folder.path().join("aside");
        let mut log = LogFollower::new(&path, None, false).unwrap();
        // Neither the file nor its folder is there yet.
        assert!(all(&mut log).is_empty());
        fs::create_dir(path.parent().unwrap()).unwrap();
        append(&path, "one\nhalf of ");
        assert_eq!(all(&mut log), ["one"]);
        append(&path, "two\n");
        assert_eq!(all(&mut log), ["half of two"]);
        // Put aside by another name, and written to until the new one is there.
        fs::rename(&path, &aside).unwrap();
        append(&aside, "three\n");
        assert_eq!(all(&mut log), ["three"]);
        append(&aside, "four\n");
        append(&path, "five\n");
        assert_eq!(all(&mut log), ["four", "five"]);
        // Truncated in place.
        OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(0)
            .unwrap();
        assert!(all(&mut log).is_empty());
        append(&path, "six\n");
        assert_eq!(all(&mut log), ["six"]);
        fs::remove_file(&path).unwrap();
        assert!(all(&mut log).is_empty());
        append(&path, "seven\n");
        assert_eq!(all(&mut log), ["seven"]);
    }

    #[test]
    fn long_log_is_read_from_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secops.log");
        let lines: Vec<_> = (0..100_000).map(|nth| format!("line {nth:020}")).collect();
        append(&path, &(lines.join("\n") + "\n"));
        let read = all(&mut LogFollower::new(&path, None, false).unwrap());
        let skipped = lines.len() - read.len();
        assert!(skipped > 0, "all of it was read");
        assert_eq!(read, lines[skipped..]);
        assert_eq!(
            all(&mut LogFollower::new(&path, None, true).unwrap()),
            lines
        );
    }

    #[test]
    fn rotated_files_are_read_since_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secops.log");
        for (name, text) in [
            ("secops.log.2", "one\n"),
            ("secops.log.1", "two\n"),
            ("secops.log", "three\n"),
        ] {
            append(&folder.path().join(name), text);
        }
        let read = |since| all(&mut LogFollower::new(&path, Some(since), false).unwrap());
        let now = Timestamp::now();
        let hour = jiff::SignedDuration::from_hours(1);
        assert_eq!(read(now - hour), ["one", "two", "three"]);
        assert_eq!(read(now + hour), ["three"]);
    }

    #[test]
    fn line_without_an_end_takes_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secops.log");
        append(&path, &"x".repeat(3 * LONGEST));
        let mut log = LogFollower::new(&path, None, true).unwrap();
        assert!(all(&mut log).is_empty());
        assert!(log.rest.len() <= LONGEST, "{} bytes kept", log.rest.len());
        append(&path, " its end\nnext\n");
        assert_eq!(all(&mut log), ["next"]);
    }
}
