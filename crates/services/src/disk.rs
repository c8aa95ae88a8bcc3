//! A small file system, which a test fills.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A small file system in memory. It is unmounted when it is dropped.
#[derive(Debug)]
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts one. If this process may not mount anything, prints `SKIPPED` and returns `None`.
    ///
    /// # Panics
    ///
    /// If there cannot be a folder to mount it at.
    #[must_use]
    #[expect(clippy::expect_used, reason = "for tests, which fail by it")]
    pub fn mount(megabytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder to mount a file system at");
        // Servers may write to it as another user.
        let options = format!("size={megabytes}m,mode=1777");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        eprintln!("SKIPPED a full disk: only root can mount a small file system");
        None
    }

    /// Returns the folder that it is mounted at.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the room that is left.
    ///
    /// # Panics
    ///
    /// If it cannot hold another file.
    #[expect(clippy::expect_used, reason = "for tests, which fail by it")]
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("a file that fills the disk");
        while ballast.write_all(&[0; 4096]).is_ok() {}
    }

    /// Gives back the room that [`fill`](Self::fill) has taken.
    ///
    /// # Panics
    ///
    /// If it was not full.
    #[expect(clippy::expect_used, reason = "for tests, which fail by it")]
    pub fn free(&self) {
        fs::remove_file(self.ballast()).expect("the file that fills the disk");
    }

    /// Runs `work` while no room is left.
    pub async fn while_full<T>(&self, work: impl Future<Output = T>) -> T {
        self.fill();
        let outcome = work.await;
        self.free();
        outcome
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the last files of a server may be on their way out.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
