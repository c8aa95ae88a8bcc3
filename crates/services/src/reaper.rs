//! Cleans up after this process, however it ends: a shell waits for the other end of its pipe to close.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::Error;

/// Each line names the process to kill at the end; an empty one says that there is none.
const SCRIPT: &str = r#"
while read -r line; do pid=$line; done
[ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null
rm -rf -- "$1" 2>/dev/null || { sleep 1; rm -rf -- "$1"; }
"#;

#[derive(Debug)]
pub(crate) struct Reaper {
    shell: Child,
    line: Option<ChildStdin>,
}

impl Reaper {
    /// Watches over a directory, which is removed at the end.
    pub(crate) fn new(directory: &Path) -> Result<Self, Error> {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "reaper"]).arg(directory).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut shell = command.spawn().map_err(Error::io("start a shell"))?;
        let line = shell.stdin.take();
        Ok(Self { shell, line })
    }

    /// Names the process to kill, or that there is none.
    pub(crate) fn watch(&mut self, pid: Option<u32>) -> Result<(), Error> {
        let text = pid.map_or_else(|| "\n".to_owned(), |pid| format!("{pid}\n"));
        let Some(line) = &mut self.line else { return Ok(()) };
        line.write_all(text.as_bytes()).map_err(Error::io("tell the shell about the server"))
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.line = None;
        let _ = self.shell.wait();
    }
}
