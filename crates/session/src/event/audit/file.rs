//! The sink that appends JSON lines to a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use super::{AuditRecord, AuditSink};

/// A sink that appends one JSON object per line to a file. Several processes may share the file.
///
/// Only the owner can read a new file. To rotate it, copy and truncate (logrotate: `copytruncate`).
#[derive(Debug)]
pub struct AuditFile {
    file: File,
    /// `true` if the last line may be cut short.
    is_torn: bool,
}

impl AuditFile {
    /// Opens the file, or creates it.
    ///
    /// # Errors
    ///
    /// Fails if the file can be neither opened nor created.
    pub fn append_to(path: impl AsRef<Path>) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Self { file: options.open(path)?, is_torn: false })
    }
}

impl AuditSink for AuditFile {
    fn append(&mut self, record: &AuditRecord) -> io::Result<()> {
        // Ends a line that a failed write cut short.
        let opening = if self.is_torn { "\n" } else { "" };
        // One write per line, so that the lines of several processes do not mix.
        let line = format!("{opening}{}\n", record.to_json());
        let written = self.file.write_all(line.as_bytes());
        self.is_torn = written.is_err();
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}
