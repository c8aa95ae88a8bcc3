//! One server, from its start to its end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::port::free_port;
use crate::process::Process;
use crate::ready::is_ready;
use crate::reaper::Reaper;
use crate::{Engine, Error, http, resp};

/// A server that does not answer by then is not going to, even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(20);
/// Someone else may take the port between our look at it and the server's start.
const TRIES: u32 = 5;

/// A throwaway server. Dropped, it is killed, and its directory removed.
#[derive(Debug)]
pub struct Service {
    engine: Engine,
    port: u16,
    url: String,
    directory: PathBuf,
    arguments: Vec<String>,
    running: Mutex<Running>,
}

#[derive(Debug)]
struct Running {
    process: Option<Process>,
    reaper: Reaper,
}

/// The setup of a server that needs other settings than the defaults.
///
/// ```no_run
/// use services::{Engine, Setup};
///
/// let small = Setup::new(Engine::Postgres).arguments(["-c", "max_connections=5"]).start()?;
/// # Ok::<(), services::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Setup {
    engine: Engine,
    arguments: Vec<String>,
    files: Vec<(String, String)>,
    parent: PathBuf,
}

impl Setup {
    /// The defaults of this engine.
    pub fn new(engine: Engine) -> Self {
        Self { engine, arguments: Vec::new(), files: Vec::new(), parent: std::env::temp_dir() }
    }

    /// More arguments for the server's program; of two that contradict each other the later counts.
    pub fn arguments<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// A file that only the server's user can read. Arguments name it `../NAME`: servers work in a folder beside it.
    pub fn file(mut self, name: impl Into<String>, contents: impl Into<String>) -> Self {
        self.files.push((name.into(), contents.into()));
        self
    }

    /// The folder in which the server's directory is made: for instance a small file system, to fill it.
    pub fn within(self, parent: impl Into<PathBuf>) -> Self {
        Self { parent: parent.into(), ..self }
    }

    /// Starts the server, and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the machine does not have it; another [`Error`] if it does not come up.
    pub fn start(self) -> Result<Service, Error> {
        let directory = tempfile::Builder::new().prefix("secure-sessions-").tempdir_in(&self.parent);
        // From here on the reaper removes it.
        let directory = directory.map_err(Error::io("make a temporary directory"))?.keep();
        let reaper = Reaper::new(&directory)?;
        self.engine.prepare(&directory)?;
        for (name, contents) in &self.files {
            self.engine.keep_for_itself(&directory.join(name), contents)?;
        }
        let mut service = Service {
            engine: self.engine,
            port: 0,
            url: String::new(),
            directory,
            arguments: self.arguments,
            running: Mutex::new(Running { process: None, reaper }),
        };
        let mut last = None;
        for _ in 0..TRIES {
            service.port = free_port()?;
            service.url = service.engine.url(service.port);
            match service.launch() {
                Err(error @ Error::NotReady { .. }) => last = Some(error),
                other => return other.map(|()| service),
            }
        }
        Err(last.unwrap_or(Error::NotReady { server: service.engine.name(), log: String::new() }))
    }
}

impl Service {
    /// Starts a PostgreSQL.
    ///
    /// # Errors
    ///
    /// As [`Setup::start`].
    pub fn postgres() -> Result<Self, Error> {
        Setup::new(Engine::Postgres).start()
    }

    /// Starts a MariaDB.
    ///
    /// # Errors
    ///
    /// As [`Setup::start`].
    pub fn mariadb() -> Result<Self, Error> {
        Setup::new(Engine::MariaDb).start()
    }

    /// Starts a Redis.
    ///
    /// # Errors
    ///
    /// As [`Setup::start`].
    pub fn redis() -> Result<Self, Error> {
        Setup::new(Engine::Redis).start()
    }

    /// Starts a Redis that follows another one, and waits until it has caught up.
    ///
    /// # Errors
    ///
    /// As [`Setup::start`].
    pub fn redis_replica_of(primary: &Self) -> Result<Self, Error> {
        let port = primary.port.to_string();
        let replica = Setup::new(Engine::Redis).arguments(["--replicaof", "127.0.0.1", &port]).start()?;
        replica.wait_until("the replica to catch up", || {
            Ok(replica.redis_call(&["INFO", "replication"])?.contains("master_link_status:up"))
        })?;
        Ok(replica)
    }

    /// Starts a sentinel of Redis that decides alone: it replaces a primary at this port that is silent for a second.
    ///
    /// # Errors
    ///
    /// As [`Setup::start`].
    pub fn redis_sentinel(name: &str, primary: u16) -> Result<Self, Error> {
        let sentinel = Setup::new(Engine::Sentinel).start()?;
        sentinel.redis_call(&["SENTINEL", "MONITOR", name, "127.0.0.1", &primary.to_string(), "1"])?;
        for (setting, value) in [("down-after-milliseconds", "1000"), ("failover-timeout", "3000")] {
            sentinel.redis_call(&["SENTINEL", "SET", name, setting, value])?;
        }
        Ok(sentinel)
    }

    /// Returns the kind of the server.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Returns its address in the form that its drivers take. A restart does not change it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the directory of its data, log and configuration.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Ends it as a crash would (SIGKILL), and all of its processes.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system refuses.
    pub fn kill(&self) -> Result<(), Error> {
        let mut running = self.running();
        if let Some(process) = running.process.take() {
            process.kill()?;
            running.reaper.watch(None)?;
        }
        Ok(())
    }

    /// Starts it again, with the same data on the same port, and waits until it answers. One that still runs is killed
    /// before.
    ///
    /// # Errors
    ///
    /// [`Error::NotReady`] if it does not come up.
    pub fn restart(&self) -> Result<(), Error> {
        self.kill()?;
        let mut outcome = self.launch();
        for _ in 1..TRIES {
            if !matches!(outcome, Err(Error::NotReady { .. })) {
                break;
            }
            // The rest of the server before may need another moment to vanish.
            sleep(Duration::from_millis(500));
            outcome = self.launch();
        }
        outcome
    }

    /// Stops it in its tracks (SIGSTOP): connections stay open, and nothing is answered.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system refuses.
    pub fn pause(&self) -> Result<(), Error> {
        self.running().process.as_ref().map_or(Ok(()), Process::pause)
    }

    /// Lets it go on after a [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system refuses.
    pub fn resume(&self) -> Result<(), Error> {
        self.running().process.as_ref().map_or(Ok(()), Process::resume)
    }

    /// Sends a command to a Redis, over a connection of its own. A list is answered with an item on each line.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] with what Redis said; [`Error::Io`] if it cannot be reached.
    pub fn redis_call(&self, words: &[&str]) -> Result<String, Error> {
        resp::call(self.port, words).map_err(Error::io("talk to Redis"))?.map_err(Error::Command)
    }

    /// Sends JSON to an etcd, for instance `{}` to `maintenance/status`.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] with what etcd said; [`Error::Io`] if it cannot be reached.
    pub fn etcd_call(&self, path: &str, json: &str) -> Result<String, Error> {
        http::call(self.port, path, json).map_err(Error::io("talk to etcd"))?.map_err(Error::Command)
    }

    /// Waits until a condition holds.
    pub(crate) fn wait_until(&self, what: &str, mut holds: impl FnMut() -> Result<bool, Error>) -> Result<(), Error> {
        let start = Instant::now();
        while !holds()? {
            if start.elapsed() > DEADLINE {
                let log = format!("waited for {what}\n{}", self.log());
                return Err(Error::NotReady { server: self.engine.name(), log });
            }
            sleep(POLL);
        }
        Ok(())
    }

    fn launch(&self) -> Result<(), Error> {
        let log = File::options().create(true).append(true).open(self.log_file()).map_err(Error::io("open the log"))?;
        let command = self.engine.command(&self.directory, self.port, &self.arguments)?;
        let mut running = self.running();
        let mut process = Process::start(command, &log)?;
        running.reaper.watch(Some(process.id()))?;
        let start = Instant::now();
        while !process.has_ended() && start.elapsed() < DEADLINE {
            if is_ready(self.engine, self.port) {
                // It was this one that answered, and not another one that has the port.
                sleep(POLL);
                if !process.has_ended() {
                    running.process = Some(process);
                    return Ok(());
                }
            }
            sleep(POLL);
        }
        process.kill()?;
        running.reaper.watch(None)?;
        Err(Error::NotReady { server: self.engine.name(), log: self.log() })
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log_file(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// The end of the log.
    fn log(&self) -> String {
        let log = std::fs::read(self.log_file()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The reaper kills a server that cannot be killed here.
        let _ = self.kill();
    }
}
