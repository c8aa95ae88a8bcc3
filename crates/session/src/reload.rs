//! Key changes while the process runs: loads the keys again from their source.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secure_sessions_core::{KeyKind, KeyState};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::event::Event;
use crate::keyring::{KeySourceError, Keyring};
use crate::manager::SessionManager;
use crate::transport::Transport;

impl SessionManager {
    /// Returns the current keys.
    #[must_use]
    pub fn keyring(&self) -> Keyring {
        Keyring(Arc::clone(self.sealer(Transport::Cookie).keyring()))
    }

    /// Loads the keys again, and activates them if they differ from the current ones. Returns `true` if they did.
    ///
    /// Sessions continue. A token that is sealed under a key of the ring is still accepted, and is sealed under the new
    /// active key at its next rotation. A token that is sealed under a compromised key is replaced by the next
    /// response.
    ///
    /// ```
    /// # use secure_sessions::{Keyring, MemoryStore, SessionManager};
    /// # let directory = std::env::temp_dir().join(format!("keys-{}", std::process::id()));
    /// # std::fs::create_dir_all(&directory)?;
    /// # let path = directory.join("keys.txt");
    /// # let (seal, fingerprint) = Keyring::generate_texts()?;
    /// # std::fs::write(&path, format!("{}\n{}\n", seal.as_str(), fingerprint.as_str()))?;
    /// let manager = SessionManager::builder(Keyring::from_file(&path)?, MemoryStore::new()).build()?;
    /// assert!(!manager.reload_keys(|| Keyring::from_file(&path))?, "nothing has changed");
    /// # std::fs::remove_dir_all(&directory)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeySourceError`] says what is wrong with the source. The current keys stay, and [`Event::KeyReloadFailed`] is
    /// raised.
    pub fn reload_keys(&self, load: impl FnOnce() -> Result<Keyring, KeySourceError>) -> Result<bool, KeySourceError> {
        let outcome = load().and_then(|keyring| self.adopt(keyring));
        if let Err(error) = &outcome {
            self.emit(&Event::KeyReloadFailed { message: error.to_string() });
        }
        outcome
    }

    /// Watches a key file (see [`Keyring::from_file`]): reads it at this interval, in a task of its own, and activates
    /// its keys if they differ from the current ones.
    ///
    /// Replace the file by renaming a new one into its place, as editors and Kubernetes do. A file that is read half
    /// written may lack keys for one interval.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn watch_key_file(&self, path: impl Into<PathBuf>, interval: Duration) -> KeyWatch {
        let path = path.into();
        self.watch_keys(interval, move || Keyring::from_file(&path))
    }

    /// Loads the keys again at this interval, in a task of its own, for example from a vault. `load` may block.
    ///
    /// A failing source is reported once for each reason, and retried; the current keys stay.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn watch_keys(
        &self,
        interval: Duration,
        load: impl Fn() -> Result<Keyring, KeySourceError> + Send + Sync + 'static,
    ) -> KeyWatch {
        let (signal, stop) = watch::channel(false);
        let task = tokio::spawn(watch(self.clone(), interval, Arc::new(load), stop));
        KeyWatch { signal, task: Some(task) }
    }

    /// Activates a ring unless it is the current one. Returns `true` if it was activated.
    fn adopt(&self, keyring: Keyring) -> Result<bool, KeySourceError> {
        // Equal ids mean equal keys, since an id is derived from its key.
        if keyring.states().eq(self.keyring().states()) {
            return Ok(false);
        }
        self.set_keyring(keyring).map_err(|error| KeySourceError::Refused { problem: error.to_string() })?;
        Ok(true)
    }

    /// Reports to operators which keys are active from now on.
    pub(crate) fn report_keys(&self) {
        let keyring = self.keyring();
        let active = |kind| keyring.states().find(|(of, _, state)| *of == kind && *state == KeyState::Active);
        let compromised = keyring.states().filter(|(_, _, state)| *state == KeyState::Compromised).count();
        if let (Some((_, seal, _)), Some((_, fingerprint, _))) = (active(KeyKind::Seal), active(KeyKind::Fingerprint)) {
            self.emit(&Event::KeysChanged { seal, fingerprint, compromised });
        }
    }
}

type Load = dyn Fn() -> Result<Keyring, KeySourceError> + Send + Sync;

async fn watch(manager: SessionManager, interval: Duration, load: Arc<Load>, mut stop: watch::Receiver<bool>) {
    let mut reported = None;
    while !stopped_within(&mut stop, interval).await {
        let load = Arc::clone(&load);
        let loaded = tokio::task::spawn_blocking(move || load()).await;
        let outcome = match loaded {
            Ok(loaded) => loaded.and_then(|keyring| manager.adopt(keyring)).map_err(|error| error.to_string()),
            Err(_) => Err("the function that loads the keys panicked".to_owned()),
        };
        match outcome {
            Ok(_) => reported = None,
            Err(message) if reported.as_ref() != Some(&message) => {
                manager.emit(&Event::KeyReloadFailed { message: message.clone() });
                reported = Some(message);
            }
            // The same reason as at the last try, already reported.
            Err(_) => {}
        }
    }
}

/// The handle of the task that watches the keys. Dropping it stops the task; [`detach`](Self::detach) lets it run on.
#[derive(Debug)]
#[must_use = "the task stops when the handle is dropped; `detach` lets it run for as long as the process"]
pub struct KeyWatch {
    signal: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl KeyWatch {
    /// Stops the task, and waits until it has ended.
    pub async fn stop(mut self) {
        self.signal.send_replace(true);
        if let Some(task) = self.task.take()
            && task.await.is_err()
        {
            tracing::warn!(target: "secure_sessions", "the watch over the keys had ended early: an observer panicked");
        }
    }

    /// Lets the task run as long as the runtime does.
    pub fn detach(mut self) {
        self.task = None;
    }
}

impl Drop for KeyWatch {
    fn drop(&mut self) {
        if self.task.is_some() {
            self.signal.send_replace(true);
        }
    }
}

/// Waits for this time. Returns `true` if the task must stop. A sender that was dropped without a signal has detached
/// the task.
async fn stopped_within(stop: &mut watch::Receiver<bool>, wait: Duration) -> bool {
    let waiting = async {
        if stop.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    timeout(wait, waiting).await.is_ok()
}
