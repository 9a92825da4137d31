//! Owner-only files: the record, its stills, the logs.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Restricts new files and folders to this user, whatever the shell's umask.
pub fn close_new_files() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// Warns of existing folders that other users can read. Their mode is kept, as
/// access for a log shipper's group may be intended.
pub(super) fn warn_of_readers<const N: usize>(folders: [&Path; N]) {
    for folder in folders {
        let Ok(metadata) = fs::metadata(folder) else {
            continue;
        };
        if let Some(mode) = open_to_others(metadata.permissions().mode()) {
            tracing::warn!(
                "{} has mode {mode:04o}: readable by other users of this machine; restrict it with \
                 chmod -R go= {}",
                folder.display(),
                folder.display()
            );
        }
    }
}

fn open_to_others(mode: u32) -> Option<u32> {
    (mode & 0o077 != 0).then_some(mode & 0o7777)
}

/// Writes an owner-only file atomically, replacing an existing one.
pub(super) fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let part = Path::new(&name);
    let mut options = OpenOptions::new();
    // Does not follow a symbolic link of another user.
    options.write(true).create_new(true).mode(0o600);
    options.open(part)?.write_all(text.as_bytes())?;
    fs::rename(part, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_file_is_atomic_and_owner_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ready");
        fs::write(&file, "older and longer").expect("written");
        write(&file, "pid=1\n").expect("written");
        assert_eq!(fs::read_to_string(&file).expect("readable"), "pid=1\n");
        let mode = fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn folders_others_can_enter_are_reported() {
        assert_eq!(open_to_others(0o40700), None);
        assert_eq!(open_to_others(0o40755), Some(0o755));
        assert_eq!(open_to_others(0o40750), Some(0o750));
    }
}
