//! The audit trail: every event that matters as one record, kept by a sink of the application's choice.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::clock::{Clock, SystemClock};
use crate::event::throttle::{EventLimit, Throttle};
use crate::event::{Event, Observer};

mod file;
mod record;

pub use self::file::AuditFile;
pub use self::record::AuditRecord;

/// Keeps records: a file, a table, a socket. It runs on a thread of its own, so it may block.
///
/// ```
/// use secure_sessions::{AuditLog, AuditRecord, AuditSink};
///
/// // A table, by whatever database library the application has.
/// struct Table(Vec<(u64, &'static str, String)>);
///
/// impl AuditSink for Table {
///     fn append(&mut self, record: &AuditRecord) -> std::io::Result<()> {
///         self.0.push((record.at.as_millis(), record.event, record.to_json()));
///         Ok(())
///     }
/// }
///
/// let audit = AuditLog::builder(Table(Vec::new())).start()?;
/// # Ok::<_, std::io::Error>(())
/// ```
pub trait AuditSink: Send + 'static {
    /// Keeps one record.
    ///
    /// # Errors
    ///
    /// If it could not be kept: it is counted as lost, and the count is kept as soon as the sink works again.
    fn append(&mut self, record: &AuditRecord) -> io::Result<()>;

    /// Makes sure that what was appended outlives a power failure.
    ///
    /// # Errors
    ///
    /// If that failed.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An observer that gives each event to a sink as an [`AuditRecord`]. Clones are the same log.
///
/// Requests never wait for the sink: records queue up for its thread. What an attacker could flood it with is
/// [limited](EventLimit), and what the queue has no room for is counted; both leave a line that says how many. Nothing in a
/// record lets anyone into a session: see [`AuditRecord`].
///
/// ```
/// use secure_sessions::{AuditFile, AuditLog, Keyring, MemoryStore, SessionManager};
///
/// # let path = std::env::temp_dir().join(format!("audit-{}.jsonl", std::process::id()));
/// let audit = AuditLog::builder(AuditFile::append_to(&path)?).application("shop").start()?;
/// let manager = SessionManager::builder(Keyring::generate()?, MemoryStore::new()).observer(audit.clone()).build()?;
/// // Before the process ends:
/// audit.flush()?;
/// # std::fs::remove_file(path)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct AuditLog(Arc<Log>);

struct Log {
    application: Option<Arc<str>>,
    clock: Arc<dyn Clock>,
    throttle: Option<Throttle>,
    writer: Writer,
}

/// Builds an [`AuditLog`].
#[must_use]
pub struct AuditBuilder<S> {
    sink: S,
    application: Option<Arc<str>>,
    clock: Arc<dyn Clock>,
    limit: Option<EventLimit>,
    queue: usize,
}

impl AuditLog {
    /// Starts with the sink.
    pub fn builder<S: AuditSink>(sink: S) -> AuditBuilder<S> {
        AuditBuilder {
            sink,
            application: None,
            clock: Arc::new(SystemClock),
            limit: Some(EventLimit::default()),
            queue: 4096,
        }
    }

    /// Waits until every event so far is kept, and outlives a power failure. It blocks the thread. Dropping the last clone
    /// does the same, but for the power failure.
    ///
    /// # Errors
    ///
    /// What the sink says, or that its thread is gone.
    pub fn flush(&self) -> io::Result<()> {
        self.0.report_suppressed();
        self.0.writer.flush()
    }
}

impl<S: AuditSink> AuditBuilder<S> {
    /// The application's name, which every record then has: `appid`.
    pub fn application(mut self, name: impl Into<String>) -> Self {
        self.application = Some(Arc::from(name.into()));
        self
    }

    /// Where the time comes from.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How many events of one kind pass; `None`: all.
    pub fn event_limit(mut self, limit: impl Into<Option<EventLimit>>) -> Self {
        self.limit = limit.into();
        self
    }

    /// How many records may wait for the sink, at least 1. Default: 4096.
    pub fn queue(mut self, records: usize) -> Self {
        self.queue = records.max(1);
        self
    }

    /// Starts the sink's thread. It ends with the last clone.
    ///
    /// # Errors
    ///
    /// If there is no thread to be had.
    pub fn start(self) -> io::Result<AuditLog> {
        let (clock, application) = (Arc::clone(&self.clock), self.application.clone());
        let lost = move |count| AuditRecord::lost(count, clock.now(), application.clone());
        let writer = Writer::start(self.sink, self.queue, lost)?;
        let throttle = self.limit.map(Throttle::new);
        Ok(AuditLog(Arc::new(Log { application: self.application, clock: self.clock, throttle, writer })))
    }
}

impl Observer for AuditLog {
    fn observe(&self, event: &Event) {
        let log = &self.0;
        match &log.throttle {
            Some(throttle) => throttle.pass(event, log.clock.now().as_millis(), |event| log.keep(event)),
            None => log.keep(event),
        }
    }
}

impl Log {
    fn keep(&self, event: &Event) {
        self.writer.send(AuditRecord::new(event, self.clock.now(), self.application.clone()));
    }

    fn report_suppressed(&self) {
        if let Some(throttle) = &self.throttle {
            throttle.flush(|event| self.keep(event));
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.report_suppressed();
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("application", &self.0.application).finish_non_exhaustive()
    }
}

enum Message {
    Record(Box<AuditRecord>),
    Flush(SyncSender<io::Result<()>>),
}

/// The way to the sink's thread.
struct Writer {
    // `None` only while it is dropped.
    queue: Option<SyncSender<Message>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Records that found no room.
    lost: Arc<AtomicU64>,
}

impl Writer {
    fn start(
        sink: impl AuditSink,
        queue: usize,
        lost_record: impl Fn(u64) -> AuditRecord + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, records) = sync_channel(queue);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        let thread = std::thread::Builder::new().name("session audit".to_owned());
        let thread = thread.spawn(move || Keeper { sink, lost: counter, lost_record, works: true }.run(&records))?;
        Ok(Self { queue: Some(queue), thread: Mutex::new(Some(thread)), lost })
    }

    fn send(&self, record: AuditRecord) {
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            queue.try_send(Message::Record(Box::new(record)))
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) -> io::Result<()> {
        let gone = || io::Error::other("the audit log's thread is gone");
        let queue = self.queue.as_ref().ok_or_else(gone)?;
        let (done, wait) = sync_channel(1);
        queue.send(Message::Flush(done)).map_err(|_| gone())?;
        wait.recv().map_err(|_| gone())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // A sink that panicked has said so on standard error.
        let _ = thread.map(JoinHandle::join);
    }
}

/// The sink's thread.
struct Keeper<S, F> {
    sink: S,
    lost: Arc<AtomicU64>,
    lost_record: F,
    works: bool,
}

impl<S: AuditSink, F: Fn(u64) -> AuditRecord> Keeper<S, F> {
    fn run(mut self, messages: &Receiver<Message>) {
        while let Ok(message) = messages.recv() {
            match message {
                Message::Record(record) => {
                    if self.report_lost().and_then(|()| self.sink.append(&record)).is_err() {
                        self.lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Message::Flush(done) => {
                    let flushed = self.report_lost().and_then(|()| self.sink.flush());
                    // Whoever asked may have gone.
                    let _ = done.send(flushed);
                }
            }
        }
        // What is lost now was told on the log when it began.
        let _ = self.report_lost();
    }

    fn report_lost(&mut self) -> io::Result<()> {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost == 0 {
            return Ok(());
        }
        let told = self.sink.append(&(self.lost_record)(lost));
        match &told {
            Ok(()) => self.works = true,
            Err(error) => {
                self.lost.fetch_add(lost, Ordering::Relaxed);
                if std::mem::take(&mut self.works) {
                    tracing::error!(target: "secure_sessions", %error, "the audit log cannot be written: records are lost");
                }
            }
        }
        told
    }
}

#[cfg(test)]
mod tests;
