//! Files that are replaced whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Writes an owner-only file atomically, replacing an existing one.
pub fn write_private(file: &Path, content: &[u8]) -> io::Result<()> {
    replace(file, content, |_| Ok(()))
}

/// Writes a file atomically, replacing an existing one. It is owner-only until
/// `prepare` gives it another owner or mode, before it takes its place.
pub fn replace(
    file: &Path,
    content: &[u8],
    prepare: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let part = beside(file, &format!(".{}", std::process::id()));
    // Left of a process that ended while it wrote.
    let _ = fs::remove_file(&part);
    let written = write(&part, content, prepare).and_then(|()| fs::rename(&part, file));
    if written.is_err() {
        // Most likely it was not made at all.
        let _ = fs::remove_file(&part);
    }
    written
}

/// Path of a file with something added to its name.
pub fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn write(
    part: &Path,
    content: &[u8],
    prepare: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let mut options = OpenOptions::new();
    // Does not follow a symbolic link of another user.
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(part)?;
    file.write_all(content)?;
    prepare(&file)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn private_file_is_atomic_and_owner_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ready");
        fs::write(&file, "older and longer").expect("written");
        write_private(&file, b"pid=1\n").expect("written");
        assert_eq!(fs::read_to_string(&file).expect("readable"), "pid=1\n");
        let mode = fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_prepared_leaves_the_one_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("kept");
        fs::write(&file, "before").expect("written");
        let refused = |_: &File| Err(io::Error::from(io::ErrorKind::PermissionDenied));
        assert!(replace(&file, b"after", refused).is_err());
        assert_eq!(fs::read_to_string(&file).expect("readable"), "before");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }
}
