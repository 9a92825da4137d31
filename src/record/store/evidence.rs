//! Stills on disk: `evidence/<sha256>.jpg`.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

#[derive(Debug)]
pub(super) struct EvidenceFolder {
    folder: PathBuf,
}

impl EvidenceFolder {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Writes a picture atomically, and returns its name: its SHA-256, computed
    /// here.
    pub(super) fn put(&self, jpeg: &[u8]) -> io::Result<String> {
        let digest = Sha256::digest(jpeg);
        let sha256: String = hex::encode(digest);
        let path = file(&self.folder, &sha256);
        if fs::metadata(&path).is_ok_and(|meta| meta.len() == jpeg.len() as u64) {
            return Ok(sha256);
        }
        let unfinished = self.folder.join(format!("{sha256}.part"));
        let written = File::create(&unfinished).and_then(|mut part| {
            part.write_all(jpeg)?;
            part.sync_data()?;
            fs::rename(&unfinished, &path)?;
            // The name is durable once its folder is synced.
            File::open(&self.folder)?.sync_all()
        });
        if let Err(error) = written {
            // Leftovers are removed at the next start.
            drop(fs::remove_file(&unfinished));
            return Err(error);
        }
        Ok(sha256)
    }

    /// Removes a still; a missing one is no error.
    pub(super) fn remove(&self, sha256: &str) {
        match fs::remove_file(file(&self.folder, sha256)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(sha256, %error, "failed to remove a still; retrying at the next start");
            }
            _ => {}
        }
    }

    /// Removes leftovers of a crash: unreferenced stills, and unfinished ones.
    /// Files of other names are kept.
    pub(super) fn clear(&self, mut is_referenced: impl FnMut(&str) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                continue;
            };
            let stale = match name.rsplit_once('.') {
                Some((sha256, "jpg")) if is_sha256(sha256) => !is_referenced(sha256),
                Some((sha256, "part")) => is_sha256(sha256),
                _ => false,
            };
            if stale {
                drop(fs::remove_file(entry.path()));
            }
        }
        Ok(())
    }
}

pub(super) fn file(folder: &Path, sha256: &str) -> PathBuf {
    folder.join(format!("{sha256}.jpg"))
}

/// True for lower-case hexadecimal of the right length, so that it is safe in a
/// path.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn still_is_named_by_its_sha256_and_leftovers_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = EvidenceFolder::open(dir.path()).unwrap();
        let kept = folder.put(b"abc").unwrap();
        assert_eq!(
            kept,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let orphan = folder.put(b"orphan").unwrap();
        let part = dir.path().join(format!("{orphan}.part"));
        fs::write(&part, "half").unwrap();
        fs::write(dir.path().join("notes.txt"), "mine").unwrap();
        folder.clear(|sha256| sha256 == kept).unwrap();
        assert!(file(dir.path(), &kept).exists());
        assert!(!file(dir.path(), &orphan).exists() && !part.exists());
        assert!(dir.path().join("notes.txt").exists());
        assert!(!is_sha256("../../etc/passwd") && !is_sha256(&"A".repeat(64)));
    }
}
