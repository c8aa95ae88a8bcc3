//! A browser process and its profile.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::page::Page;
use crate::pipe::{PATIENCE, Pipe};

const NAMES: [&str; 5] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/// Chromium's own file descriptors for the protocol are 3 and 4; a child gets 0 and 1 from here, and they are moved.
const MOVE_STREAMS: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#;

const ARGUMENTS: [&str; 15] = [
    "--headless=new",
    "--remote-debugging-pipe",
    // Tests run as root in containers.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--noerrdialogs",
    // Cookies and keys are written without asking the desktop's keyring for a password.
    "--password-store=basic",
    // A page in the background must not be slowed down.
    "--disable-background-timer-throttling",
    "--window-size=1280,900",
    // Sites by name, without a name server.
    "--host-resolver-rules=MAP *.test 127.0.0.1",
];

/// The path of a Chromium on this machine.
#[derive(Debug, Clone)]
pub struct Installed(PathBuf);

/// Finds Chromium or Chrome in `PATH`. Without one it returns `None` and says so; with `CI=true` it panics.
#[must_use]
pub fn installed() -> Option<Installed> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    let mut candidates = NAMES.iter().flat_map(|name| directories.iter().map(move |directory| directory.join(name)));
    let found = candidates.find(|path| path.is_file());
    if found.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "chromium must be in PATH when CI=true");
        eprintln!("SKIPPED browser: chromium is not in PATH");
    }
    found.map(Installed)
}

/// A running browser. It ends when this is dropped, and its profile is removed.
pub struct Chromium {
    process: Child,
    pipe: Pipe,
    program: Installed,
    arguments: [String; 2],
    profile: Arc<TempDir>,
}

impl Chromium {
    /// Starts a browser with a new profile, and with the [arguments](crate::Front::chromium_arguments) of a front.
    pub async fn start(program: &Installed, arguments: &[String; 2]) -> Self {
        let profile = Arc::new(TempDir::new().expect("a directory"));
        Self::start_with(program.clone(), arguments.clone(), profile).await
    }

    async fn start_with(program: Installed, arguments: [String; 2], profile: Arc<TempDir>) -> Self {
        let mut command = Command::new("sh");
        command.arg("-c").arg(MOVE_STREAMS).arg(&program.0).args(ARGUMENTS).args(&arguments);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut process = command.spawn().expect("a shell");
        let streams = process.stdin.take().zip(process.stdout.take());
        let (requests, answers) = streams.expect("both are pipes");
        let pipe = Pipe::new(requests, answers);
        pipe.call(None, "Browser.getVersion", json!({})).await;
        Self { process, pipe, program, arguments, profile }
    }

    /// Ends the browser as its user does, and starts it again with the same profile.
    pub async fn restart(mut self) -> Self {
        self.pipe.call(None, "Browser.close", json!({})).await;
        timeout(PATIENCE, self.process.wait()).await.expect("the browser closes").expect("it can be waited for");
        Self::start_with(self.program.clone(), self.arguments.clone(), Arc::clone(&self.profile)).await
    }

    /// Opens a tab.
    pub async fn page(&self) -> Page {
        Page::open(self.pipe.clone()).await
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // All of its processes: one that still wrote to the profile would leave a part of it behind.
        if let Some(group) = self.process.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let until = Instant::now() + Duration::from_secs(5);
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
