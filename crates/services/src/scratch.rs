//! Names the folder for files of tests that need not reach the disk.

use std::path::{Path, PathBuf};

/// Returns a folder for the files of tests: one in memory if the system has it, so that a database there does not wait for
/// the disk, or the system's temporary folder.
#[must_use]
pub fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}
