//! Holds a request's session and translates changes into its operations, for both versions of tower-sessions.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secure_sessions::json::{self, Stored};
use secure_sessions::{DeferredSession, Session, SessionError as EngineError, Snapshot, StoreError, Timestamp};
use serde_json::Value;
use time::{Duration, OffsetDateTime};

/// The data of a session, as tower-sessions keeps it.
pub(crate) type Data = HashMap<String, Value>;

/// Returns the subject of a session's data, or `None` if nobody is logged in.
pub(crate) type SubjectOf = Arc<dyn Fn(&Data) -> Option<String> + Send + Sync>;

/// One request's session, as a store of tower-sessions sees it.
pub(crate) struct Bridge {
    deferred: DeferredSession,
    subject: Option<SubjectOf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: Known,
    /// The id of the record that was deleted, until a record is saved or created.
    deleted: Option<i128>,
    /// `true` once the handler has returned: the session's layer then commits.
    finishing: bool,
    failure: Option<EngineError>,
    /// The reason why the request's DPoP proof was refused.
    refused: Option<&'static str>,
}

/// The data that the peer's session had when it was loaded or saved last.
#[derive(Default)]
enum Known {
    /// It was not loaded.
    #[default]
    Nothing,
    /// It was loaded. Most requests change nothing, so it stays encoded.
    Loaded(Snapshot),
    Saved(Data),
}

/// A loaded session: its data and its absolute deadline.
pub(crate) type Record = (Data, Timestamp);

/// A call of the peer's session to its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To save the record under the id that it was loaded with.
    Save,
    /// To create the record with this id, which is another one after the session's id was cycled.
    Create(i128),
    /// To save a record after its session was deleted.
    Recreate,
}

/// When a session ends, as both versions of tower-sessions say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expires {
    WithTheBrowser,
    After(Duration),
    At(OffsetDateTime),
}

impl Bridge {
    pub(crate) fn new(deferred: DeferredSession, subject: Option<SubjectOf>) -> Self {
        Self { deferred, subject, state: Mutex::default() }
    }

    /// Returns the id of the session that the request presented, as 128 bits that are written as its handle is.
    pub(crate) fn presented(&self) -> Option<i128> {
        self.deferred.presented().map(|handle| i128::from_le_bytes(handle.to_bytes()))
    }

    pub(crate) async fn load(&self) -> Result<Option<Record>, EngineError> {
        let session = self.session().await?;
        let Some(expires_at) = session.expires_at() else { return Ok(None) };
        let snapshot = session.snapshot();
        let mut data = json::values(&snapshot);
        // Those that a spill-over or the native session moved to the vault. Most sessions have none, and ask nobody.
        let private = session.vault().data().await?;
        let known = if private.is_empty() {
            Known::Loaded(snapshot)
        } else {
            data.extend(private.into_iter().filter_map(|(key, value)| Some((key, json::value(&value)?))));
            Known::Saved(data.clone())
        };
        self.state().known = known;
        Ok(Some((data, expires_at)))
    }

    /// Returns the native session. A refused proof is kept, because the peer's error would lose it.
    async fn session(&self) -> Result<Session, EngineError> {
        let session = self.deferred.session().await;
        if let Err(EngineError::ProofRefused { reason }) = &session {
            self.state().refused = Some(reason);
        }
        session
    }

    /// Returns the error of a request whose DPoP proof was refused, if its handler asked for the session.
    pub(crate) fn refusal(&self) -> Option<EngineError> {
        self.state().refused.map(|reason| EngineError::ProofRefused { reason })
    }

    /// Notes that the record was deleted. Only what follows tells why: a new id or the end of the session.
    pub(crate) fn delete(&self, id: i128) {
        self.state().deleted = Some(id);
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.state().deleted.is_some()
    }

    /// Leaves the commit to the session's layer from now on.
    pub(crate) fn finish(&self) {
        self.state().finishing = true;
    }

    /// Returns the error that kept a change from being made after the handler had returned.
    pub(crate) fn take_failure(&self) -> Option<EngineError> {
        self.state().failure.take()
    }

    /// Ends the session. Changes that follow belong to a new one.
    pub(crate) async fn end(&self) -> Result<(), EngineError> {
        self.session().await?.logout()
    }

    pub(crate) async fn expire(&self, expires: Expires) -> Result<(), EngineError> {
        let session = self.session().await?;
        let positive = |duration: Duration| std::time::Duration::try_from(duration).unwrap_or_default();
        match expires {
            Expires::WithTheBrowser => session.set_persistent(false),
            Expires::After(duration) => {
                session.set_persistent(true)?;
                session.set_idle_timeout(positive(duration))
            }
            Expires::At(end) => {
                session.set_persistent(true)?;
                // A lifetime counts from the session's creation, which is now for one that this request creates.
                let since = session.created_at().map_or_else(OffsetDateTime::now_utc, at);
                session.set_lifetime(positive(end - since))
            }
        }
    }

    /// Makes the changes of a record. Inside the handler they are also committed. Returns the session's id if it has
    /// one already.
    pub(crate) async fn write(&self, asked: Asked, data: &Data) -> Result<Option<i128>, EngineError> {
        match self.try_write(asked, data).await {
            Err(error) if self.is_finishing() => {
                let text = error.to_string();
                self.state().failure = Some(error);
                Err(EngineError::Store(StoreError::rejected(text)))
            }
            written => written,
        }
    }

    async fn try_write(&self, asked: Asked, data: &Data) -> Result<Option<i128>, EngineError> {
        let session = self.session().await?;
        match self.translate(&session, asked, data) {
            Ok(()) if self.is_finishing() => {}
            Ok(()) => session.save().await?,
            Err(error) => {
                // All or nothing: the record is one value to its session.
                session.discard();
                return Err(error);
            }
        }
        Ok(session.id().map(|handle| i128::from_le_bytes(handle.to_bytes())))
    }

    fn is_finishing(&self) -> bool {
        self.state().finishing
    }

    fn translate(&self, session: &Session, asked: Asked, data: &Data) -> Result<(), EngineError> {
        let (known, deleted) = {
            let mut state = self.state();
            (std::mem::take(&mut state.known), state.deleted.take())
        };
        let before = match known {
            // Cleared before it was loaded. What the vault holds is known by name alone, and equals no value.
            Known::Nothing if asked == Asked::Save => {
                let mut before = json::values(&session.snapshot());
                before.extend(session.vault().keys().into_iter().map(|key| (key, Value::Null)));
                before
            }
            Known::Nothing => Data::new(),
            Known::Loaded(snapshot) => json::values(&snapshot),
            Known::Saved(data) => data,
        };
        let written = self.apply(session, asked, deleted, &before, data);
        let mut state = self.state();
        if written.is_err() {
            (state.known, state.deleted) = (Known::Saved(before), deleted);
        } else if !state.finishing {
            state.known = Known::Saved(data.clone());
        }
        written
    }

    fn apply(
        &self,
        session: &Session,
        asked: Asked,
        deleted: Option<i128>,
        before: &Data,
        data: &Data,
    ) -> Result<(), EngineError> {
        // A flushed session is created again under the id that was deleted, one with a new id under another.
        let is_over = match asked {
            Asked::Save => false,
            Asked::Create(id) => deleted == Some(id),
            Asked::Recreate => true,
        };
        if is_over {
            session.logout()?;
        } else if deleted.is_some() {
            session.renew()?;
        }
        let starts_over = self.follow_subject(session, before, data)? || is_over;
        // Removed first, to make room.
        for key in before.keys().filter(|key| !data.contains_key(*key)) {
            session.remove(key)?;
        }
        for (key, value) in data.iter().filter(|(key, value)| starts_over || before.get(*key) != Some(value)) {
            session.insert(key, Stored(value))?;
        }
        Ok(())
    }

    /// Logs in or out if the data's subject has changed. Returns `true` if the data goes on in a session of nobody. A
    /// session of another subject gets only what this request put there: one subject's data is none of another's.
    fn follow_subject(&self, session: &Session, before: &Data, data: &Data) -> Result<bool, EngineError> {
        let Some(subject_of) = &self.subject else { return Ok(false) };
        let subject = subject_of(data);
        if subject == subject_of(before) {
            return Ok(false);
        }
        match subject {
            Some(subject) => session.login(&subject).map(|()| false),
            None if session.subject().is_some() => session.logout().map(|()| true),
            None => Ok(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge").field("deferred", &self.deferred).finish_non_exhaustive()
    }
}

pub(crate) fn at(time: Timestamp) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH.saturating_add(Duration::milliseconds(time.as_millis().try_into().unwrap_or(i64::MAX)))
}
