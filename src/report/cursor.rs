//! `reported.json`: up to which finding the server knows.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ReportError;

#[derive(Debug)]
pub(super) struct Cursor {
    file: PathBuf,
    content: Content,
}

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    /// Whom it was told.
    to: String,
    /// The newest finding told.
    id: Uuid,
}

impl Cursor {
    /// At the beginning when nothing was told yet, or to somebody else.
    pub(super) fn open(folder: &Path, to: &str) -> Result<Self, ReportError> {
        let file = folder.join("reported.json");
        let broken = |reason: String| ReportError::Cursor {
            file: file.display().to_string(),
            reason,
        };
        let known = match fs::read(&file) {
            Ok(bytes) => {
                let known = serde_json::from_slice::<Content>(&bytes);
                Some(known.map_err(|error| broken(error.to_string()))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(broken(error.to_string())),
        };
        let content = known.filter(|known| known.to == to).unwrap_or(Content {
            to: to.to_owned(),
            id: Uuid::nil(),
        });
        Ok(Self { file, content })
    }

    pub(super) fn at(&self) -> Uuid {
        self.content.id
    }

    /// Whole or not at all: written aside, then renamed.
    pub(super) fn advance(&mut self, id: Uuid) -> io::Result<()> {
        self.content.id = id;
        let aside = self.file.with_extension("json.new");
        let mut new = File::create(&aside)?;
        new.write_all(&serde_json::to_vec(&self.content)?)?;
        new.sync_data()?;
        fs::rename(&aside, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_goes_on_and_another_server_hears_all() {
        let dir = tempfile::tempdir().unwrap();
        let mut cursor = Cursor::open(dir.path(), "http://a/").unwrap();
        assert_eq!(cursor.at(), Uuid::nil());
        let id = Uuid::now_v7();
        cursor.advance(id).unwrap();
        assert_eq!(Cursor::open(dir.path(), "http://a/").unwrap().at(), id);
        let other = Cursor::open(dir.path(), "http://b/").unwrap();
        assert_eq!(other.at(), Uuid::nil());
        fs::write(dir.path().join("reported.json"), "{").unwrap();
        let error = Cursor::open(dir.path(), "http://a/").unwrap_err();
        assert!(error.to_string().contains("reported.json"), "{error}");
    }
}
