//! The sink that appends JSON lines to a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use super::{AuditRecord, AuditSink};

/// One JSON object a line, in a file that is only ever appended to. Several processes may share one.
///
/// A new file can be read by its owner alone. To rotate it, copy and truncate (logrotate: `copytruncate`).
#[derive(Debug)]
pub struct AuditFile {
    file: File,
    /// The last line may be cut short.
    is_torn: bool,
}

impl AuditFile {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    ///
    /// If it can be neither opened nor made.
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
        let opening = if self.is_torn { "\n" } else { "" };
        // One write a line, so that the lines of several processes do not mix.
        let line = format!("{opening}{}\n", record.to_json());
        let written = self.file.write_all(line.as_bytes());
        self.is_torn = written.is_err();
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}
