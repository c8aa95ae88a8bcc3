//! A store that can be stopped and made to fail, and a log that can be read.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rocket::tokio::sync::Notify;
use secure_sessions_rocket::store::Bucket;
use secure_sessions_rocket::{MemoryStore, SessionStore, StoreError};
use tracing_subscriber::fmt::MakeWriter;

/// Clones are one store.
#[derive(Clone, Default)]
pub(crate) struct GatedStore(Arc<Gated>);

#[derive(Default)]
pub(crate) struct Gated {
    pub(crate) inner: MemoryStore,
    pub(crate) calls: AtomicU64,
    pub(crate) down: AtomicBool,
    /// An insert tells that it arrived, waits until it is let in, and tells that it was done.
    pub(crate) closed: AtomicBool,
    pub(crate) arrived: Notify,
    pub(crate) opened: Notify,
    pub(crate) inserted: Notify,
}

impl std::ops::Deref for GatedStore {
    type Target = Gated;

    fn deref(&self) -> &Gated {
        &self.0
    }
}

impl Gated {
    fn called(&self) -> Result<&MemoryStore, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) { Err(StoreError::unavailable("down")) } else { Ok(&self.inner) }
    }
}

impl SessionStore for GatedStore {
    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        let inner = self.called()?;
        if self.closed.load(Ordering::SeqCst) {
            self.arrived.notify_one();
            self.opened.notified().await;
        }
        inner.insert(bucket).await?;
        self.inserted.notify_one();
        Ok(())
    }

    secure_sessions_rocket::store::forward_methods!(self => self.called()?;
        load, replace, renew_into, remove, list, count, remove_all, purge_expired);
}

/// The log of this thread while the value of `capture` lives.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn capture(&self) -> impl Sized {
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(self.clone()).finish();
        tracing_subscriber::util::SubscriberInitExt::set_default(subscriber)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
