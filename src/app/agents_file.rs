//! `agents.toml` on disk: written atomically, with the version before it beside
//! it.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use watchtower_base::atomic_file;

/// Ending of the version before.
const BEFORE: &str = ".bak";

/// Reason why a file can't be replaced; `None` if it can.
pub(super) fn unwritable(file: &Path) -> Option<String> {
    let target = match fs::canonicalize(file) {
        Ok(target) => target,
        Err(error) => return Some(error.to_string()),
    };
    let folder = folder_of(&target);
    // Root may write a file of mode 0444, which is read-only by intention.
    if fs::metadata(&target).is_ok_and(|metadata| metadata.permissions().readonly()) {
        return Some("the file is read-only".to_owned());
    }
    if is_mounted(&target) {
        return Some("the file is mounted by itself: mount its folder instead".to_owned());
    }
    let writable = |path: &Path| access(path, Access::WRITE_OK);
    let denied = |what: &str, error: rustix::io::Errno| {
        let error = io::Error::from(error).kind();
        Some(format!("the {what} is not writable: {error}"))
    };
    match (writable(&target), writable(&folder)) {
        (Err(error), _) => denied("file", error),
        (_, Err(error)) => denied("folder", error),
        (Ok(()), Ok(())) => None,
    }
}

/// Replaces the text of a file, which a symbolic link may lead to; the text
/// before stays as `.bak`. Owner and mode are kept.
pub(super) fn replace(file: &Path, before: &str, text: &str) -> io::Result<()> {
    let target = fs::canonicalize(file)?;
    let like = fs::metadata(&target)?;
    put(&atomic_file::beside(&target, BEFORE), before, &like)?;
    put(&target, text, &like)?;
    File::open(folder_of(&target))?.sync_all()
}

fn put(file: &Path, text: &str, like: &Metadata) -> io::Result<()> {
    atomic_file::replace(file, text.as_bytes(), |new| {
        // Only root may give a file away; another user's own stays its own.
        let _ = fchown(new, Some(like.uid()), Some(like.gid()));
        new.set_permissions(Permissions::from_mode(like.mode() & 0o777))
    })
}

fn folder_of(target: &Path) -> PathBuf {
    target.parent().unwrap_or(Path::new("/")).to_owned()
}

/// True for a file that is a mount of its own, as containers get one: it can't
/// be replaced by renaming.
fn is_mounted(target: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let escaped = target.to_string_lossy().replace(' ', "\\040");
    places.into_iter().any(|place| place == escaped)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).into_string().expect("a name"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn replaced_file_keeps_mode_link_and_its_text_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("real.toml"), folder.path().join("link"));
        fs::write(&file, "one").expect("written");
        fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("set");
        symlink(&file, &link).expect("linked");
        assert_eq!(unwritable(&link), None);
        replace(&link, "one", "two").expect("replaced");
        replace(&link, "two", "three").expect("replaced");
        assert_eq!(fs::read_to_string(&file).expect("text"), "three");
        let before = folder.path().join("real.toml.bak");
        assert_eq!(fs::read_to_string(&before).expect("text"), "two");
        for file in [&file, &before] {
            let mode = fs::metadata(file).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o640);
        }
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(names(folder.path()), ["link", "real.toml", "real.toml.bak"]);
    }

    #[test]
    fn read_only_and_missing_files_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("agents.toml");
        assert!(unwritable(&file).is_some());
        fs::write(&file, "").expect("written");
        fs::set_permissions(&file, Permissions::from_mode(0o444)).expect("set");
        assert_eq!(unwritable(&file).as_deref(), Some("the file is read-only"));
        assert!(is_mounted(Path::new("/proc")));
        assert!(!is_mounted(&file));
    }

    #[test]
    fn nothing_is_left_of_a_failed_write() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("agents.toml");
        fs::write(&file, "one").expect("written");
        // A folder in the place of the text before.
        fs::create_dir(folder.path().join("agents.toml.bak")).expect("made");
        assert!(replace(&file, "one", "two").is_err());
        assert_eq!(fs::read_to_string(&file).expect("text"), "one");
        assert_eq!(names(folder.path()), ["agents.toml", "agents.toml.bak"]);
    }
}
