//! Owner-only files: the database, its stills, the logs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_others_can_enter_are_reported() {
        assert_eq!(open_to_others(0o40700), None);
        assert_eq!(open_to_others(0o40755), Some(0o755));
        assert_eq!(open_to_others(0o40750), Some(0o750));
    }
}
