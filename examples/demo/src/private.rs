//! Directories and files that only this user can use. In a folder that users share, anybody may have put something else
//! in their place.
//!
//! On Unix the owner and the permissions are checked. On other systems a new file gets the permissions of its directory;
//! on Windows the default directory lies in the user's own profile.

use std::fs::{DirBuilder, File, FileType, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Something lies at the path that is not private, or nothing could be made there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivateError {
    /// There is no directory to make it in.
    #[error(
        "{path} cannot be made, because its directory does not exist: make that first (`mkdir -p`), or name another one"
    )]
    NoDirectory {
        /// The directory or file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{path} cannot be made or examined: {source}")]
    System {
        /// The directory or file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The path leads elsewhere, or is of another kind.
    #[error("{path} is a symbolic link, or not a {expected}: remove it, or name another one")]
    Kind {
        /// The directory or file.
        path: PathBuf,
        /// The kind that it must have.
        expected: &'static str,
    },
    /// Another user made it.
    #[error("{path} belongs to another user: name another one")]
    Owner {
        /// The directory or file.
        path: PathBuf,
    },
    /// Its permissions let other users in.
    #[error("other users have access to {path}: remove it, or forbid them with `chmod go= {path}`")]
    Permissions {
        /// The directory or file.
        path: PathBuf,
    },
}

/// Makes a directory that only this user can use, or checks the one that is there.
///
/// # Errors
///
/// [`PrivateError`] says what is wrong with it.
pub fn directory(path: &Path) -> Result<(), PrivateError> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check(path, "directory", FileType::is_dir),
        Err(error) => Err(system(path, error)),
    }
}

/// Makes an empty file that only this user can use, and returns it; `None` if there is one already, and it is private.
///
/// # Errors
///
/// [`PrivateError`] says what is wrong with it.
pub fn file(path: &Path) -> Result<Option<File>, PrivateError> {
    match new_file(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            check(path, "file", FileType::is_file).map(|()| None)
        }
        Err(error) => Err(system(path, error)),
    }
}

/// Makes an empty file that only this user can use.
///
/// # Errors
///
/// [`io::Error`] if something is there already, even a symbolic link that leads nowhere, or if the system refuses.
pub fn new_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn check(path: &Path, expected: &'static str, is_expected: impl Fn(&FileType) -> bool) -> Result<(), PrivateError> {
    // Asks for the metadata of the link itself, if it is one: its target can change.
    let metadata = path.symlink_metadata().map_err(|error| system(path, error))?;
    if !is_expected(&metadata.file_type()) {
        return Err(PrivateError::Kind { path: path.to_owned(), expected });
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;

        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(PrivateError::Owner { path: path.to_owned() });
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(PrivateError::Permissions { path: path.to_owned() });
        }
    }
    Ok(())
}

fn system(path: &Path, source: io::Error) -> PrivateError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => PrivateError::NoDirectory { path },
        _ => PrivateError::System { path, source },
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().expect("it exists").mode() & 0o777
    }

    #[test]
    fn a_new_directory_and_file_are_for_their_owner_alone_and_accepted_again() {
        let parent = tempfile::tempdir().expect("a directory");
        let (path, inner) = (parent.path().join("demo"), parent.path().join("demo/file"));
        directory(&path).expect("made");
        directory(&path).expect("ours");
        assert!(file(&inner).expect("made").is_some());
        assert!(file(&inner).expect("ours").is_none());
        assert_eq!((mode(&path), mode(&inner)), (0o700, 0o600));
    }

    #[test]
    fn a_directory_or_file_that_others_can_use_is_refused() {
        let parent = tempfile::tempdir().expect("a directory");
        let (path, inner) = (parent.path().join("demo"), parent.path().join("file"));
        fs::create_dir(&path).expect("made");
        fs::write(&inner, "").expect("made");
        for bits in [0o740, 0o710, 0o702, 0o777] {
            fs::set_permissions(&path, Permissions::from_mode(bits)).expect("set");
            fs::set_permissions(&inner, Permissions::from_mode(bits)).expect("set");
            assert!(matches!(directory(&path), Err(PrivateError::Permissions { .. })), "{bits:o}");
            assert!(matches!(file(&inner), Err(PrivateError::Permissions { .. })), "{bits:o}");
        }
    }

    #[test]
    fn a_symbolic_link_is_refused_even_if_it_leads_to_what_is_ours() {
        let parent = tempfile::tempdir().expect("a directory");
        let at = |name| parent.path().join(name);
        directory(&at("demo")).expect("made");
        file(&at("file")).expect("made");
        for (target, link) in [("demo", "to-demo"), ("file", "to-file"), ("nothing", "to-nothing")] {
            symlink(at(target), at(link)).expect("a link");
            assert!(matches!(directory(&at(link)), Err(PrivateError::Kind { .. })), "{link}");
            assert!(matches!(file(&at(link)), Err(PrivateError::Kind { .. })), "{link}");
        }
        assert!(!at("nothing").exists(), "nothing was made through a link");
    }

    #[test]
    fn a_directory_of_another_user_is_refused() {
        let parent = tempfile::tempdir().expect("a directory");
        let path = parent.path().join("demo");
        directory(&path).expect("made");
        // Only root can give a directory away; for everybody else, root's own one is somebody else's.
        let path = if rustix::process::geteuid().is_root() {
            chown(&path, Some(65_534), None).expect("given away");
            path
        } else {
            PathBuf::from("/")
        };
        assert!(matches!(directory(&path), Err(PrivateError::Owner { .. })));
    }
}
