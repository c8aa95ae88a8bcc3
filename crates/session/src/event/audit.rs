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

/// A destination for audit records, such as a file, a table or a socket. It runs on a thread of its own, so it may
/// block.
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
    /// Writes one record.
    ///
    /// # Errors
    ///
    /// Fails if the record could not be written. It is counted as lost, and the count is written as soon as the sink
    /// works again.
    fn append(&mut self, record: &AuditRecord) -> io::Result<()>;

    /// Ensures that all written records survive a power failure.
    ///
    /// # Errors
    ///
    /// Returns the error that prevented it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An observer that passes each event to a sink as an [`AuditRecord`]. All clones share one log.
///
/// Requests never wait for the sink: records queue up for its thread. Events that an attacker could flood the sink with
/// are [limited](EventLimit), and records that find no room in the queue are counted. Both leave a line with their
/// number. No record lets a reader into a session: see [`AuditRecord`].
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
    /// Creates a builder with this sink and the default settings.
    pub fn builder<S: AuditSink>(sink: S) -> AuditBuilder<S> {
        AuditBuilder {
            sink,
            application: None,
            clock: Arc::new(SystemClock),
            limit: Some(EventLimit::default()),
            queue: 4096,
        }
    }

    /// Waits until every event so far is written, and survives a power failure. It blocks the thread. Dropping the last
    /// clone also waits, but does not flush the sink.
    ///
    /// # Errors
    ///
    /// Returns the sink's error, or an error if its thread is gone.
    pub fn flush(&self) -> io::Result<()> {
        self.0.report_suppressed();
        self.0.writer.flush()
    }
}

impl<S: AuditSink> AuditBuilder<S> {
    /// Sets the application's name, which every record then has as `appid`.
    pub fn application(mut self, name: impl Into<String>) -> Self {
        self.application = Some(Arc::from(name.into()));
        self
    }

    /// Sets the source of the time.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Limits how many events of one kind pass; `None` lets all of them pass.
    pub fn event_limit(mut self, limit: impl Into<Option<EventLimit>>) -> Self {
        self.limit = limit.into();
        self
    }

    /// Sets how many records may wait for the sink, at least 1. The default is 4096.
    pub fn queue(mut self, records: usize) -> Self {
        self.queue = records.max(1);
        self
    }

    /// Starts the sink's thread, which ends with the last clone.
    ///
    /// # Errors
    ///
    /// Fails if the thread cannot be started.
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

/// The sending side of the sink's thread.
struct Writer {
    // `None` only while the writer is dropped.
    queue: Option<SyncSender<Message>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The number of records that found no room.
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
        // A full queue costs a record; waiting would cost the request.
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
        // A sink that panicked has already reported it on standard error.
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
                    // The caller may no longer be waiting.
                    let _ = done.send(flushed);
                }
            }
        }
        // The log already has an error from when records began to be lost.
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
                // Reported once until the sink works again, so that the log is not flooded.
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
