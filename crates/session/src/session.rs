//! The session as a handler has it.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, MutexGuard};
use std::thread::ThreadId;
use std::time::Duration;

use arc_swap::Guard;
use getrandom::SysRng;
use secure_sessions_core::{DataError, DataMap, Handle, Millis, SessionId, Timestamp, decode, encode};
use secure_sessions_store::{Entry, SessionStore};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::SessionError;
use crate::login::Login;
use crate::ops::{Change, Ending, Mark, Operation, Why};
use crate::remember::Sealing;
use crate::request::Request;
use crate::state::{Base, State};
use crate::transport::Transport;

/// One request's session: data under text keys, and its life. Clones are the same session.
///
/// Values are kept as CBOR. Inserting an equal one changes nothing: one of the same encoding, the order of a map's entries
/// aside. A `HashSet` is a list in a new order each time, and so counts as changed; use a `BTreeSet`. All
/// changes are kept in a log and committed when the handler's response is below 500: applied to the newest state, so
/// that requests that change different keys, or use [`update`](Self::update), lose nothing to one another.
///
/// No method waits for the store, but for those that are `async`.
#[derive(Clone)]
pub struct Session(Arc<Request>);

type Result<T, E = SessionError> = std::result::Result<T, E>;

impl Session {
    pub(crate) fn new(request: Arc<Request>) -> Self {
        Self(request)
    }

    /// The value under the key, if it is there.
    ///
    /// # Errors
    ///
    /// [`SessionError::Data`] if the value is of another type. It stays as it is.
    #[doc(alias = "get_value")]
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        Ok(self.state().data().map(|data| data.get(key)).transpose()?.flatten())
    }

    /// Puts a value under the key. An equal one changes nothing.
    ///
    /// # Errors
    ///
    /// [`SessionError::TooLarge`] if the session would outgrow its cookie, [`SessionError::Data`] if the value cannot be
    /// encoded, [`SessionError::Finished`] if the response's headers are gone. Nothing is changed then.
    #[doc(alias = "set")]
    pub fn insert<T: Serialize>(&self, key: &str, value: T) -> Result<()> {
        let value = encode(&value).map_err(|error| self.refused(error.into()))?;
        self.mutate(|data| {
            let changed = data.insert_encoded(key, &value)?;
            Ok((changed.then(|| Operation::Insert { key: key.into(), value: value.clone() }), ()))
        })
    }

    /// Takes the key out. Whether it was there.
    ///
    /// # Errors
    ///
    /// [`SessionError::Finished`] if the response's headers are gone.
    pub fn remove(&self, key: &str) -> Result<bool> {
        self.mutate(|data| {
            let removed = data.remove(key);
            Ok((removed.then(|| Operation::Remove { key: key.into() }), removed))
        })
    }

    /// Takes the key out and gives its value. Two requests at the same time may both get it.
    ///
    /// # Errors
    ///
    /// [`SessionError::Data`] if the value is of another type: it stays. [`SessionError::Finished`] if the response's
    /// headers are gone.
    #[doc(alias = "remove_as")]
    pub fn take<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.mutate(|data| {
            let value = data.get(key)?;
            Ok((data.remove(key).then(|| Operation::Remove { key: key.into() }), value))
        })
    }

    /// Changes the value under the key, or its type's default, in place. Nothing is lost: if another request commits
    /// first, the closure runs again on what that one left.
    ///
    /// The result is what the closure returned when it first ran. It must have no side effects, and must not change the
    /// session.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get) and [`insert`](Self::insert); [`SessionError::ChangedInsideUpdate`] if the closure changes
    /// the session.
    pub fn update<T, R, F>(&self, key: &str, change: F) -> Result<R>
    where
        T: Serialize + DeserializeOwned + Default + 'static,
        F: Fn(&mut T) -> R + Send + Sync + 'static,
    {
        self.update_or(key, T::default, change)
    }

    /// As [`update`](Self::update), with another value where there is none.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    pub fn update_or<T, R, D, F>(&self, key: &str, default: D, change: F) -> Result<R>
    where
        T: Serialize + DeserializeOwned,
        D: Fn() -> T + Send + Sync + 'static,
        F: Fn(&mut T) -> R + Send + Sync + 'static,
    {
        let key: Box<str> = key.into();
        self.change(move |data| {
            let mut value = match data.get_encoded(&key) {
                Some(encoded) => decode(encoded)?,
                None => default(),
            };
            let result = change(&mut value);
            data.insert_encoded(&key, &encode(&value)?)?;
            Ok(result)
        })
    }

    /// Runs a change of the whole map, now and again after a conflict, without holding a lock.
    pub(crate) fn change<R>(&self, change: impl Fn(&mut DataMap) -> Result<R> + Send + Sync + 'static) -> Result<R> {
        let mut first_result = None;
        loop {
            let (mut data, version) = {
                let state = self.changeable()?;
                (state.data().cloned().unwrap_or_default(), state.version)
            };
            let result = {
                let _guard = self.0.enter_closure();
                change(&mut data).map_err(|error| self.refused(error))?
            };
            let result = first_result.get_or_insert(Some(result));
            let mut state = self.changeable()?;
            if state.version != version {
                continue; // Another thread of this request was faster.
            }
            if state.data() != Some(&data) {
                let change: Change = Arc::new(move |data| change(data).map(|_| ()));
                let sealer = self.sealer(&state);
                state.change(Operation::Change(change), data, &sealer)?;
            }
            // The loop ends here, so the first result is taken once.
            return result.take().ok_or(SessionError::Conflict);
        }
    }

    /// Takes all keys out. The session stays, and so does who is logged in.
    ///
    /// # Errors
    ///
    /// [`SessionError::Finished`] if the response's headers are gone.
    pub fn clear(&self) -> Result<()> {
        self.mutate(|data| {
            let changed = !data.is_empty();
            *data = DataMap::new();
            Ok((changed.then_some(Operation::Clear), ()))
        })
    }

    /// Whether the key is there.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.state().data().is_some_and(|data| data.contains_key(key))
    }

    /// All keys.
    #[doc(alias = "entries")]
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.state().data().map(|data| data.keys().map(str::to_owned).collect()).unwrap_or_default()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state().data().is_none_or(DataMap::is_empty)
    }

    /// All data, each value in its encoding.
    #[must_use]
    pub fn data(&self) -> DataMap {
        self.state().data().cloned().unwrap_or_default()
    }

    /// What name and value of the cookie would take now, in bytes.
    #[must_use]
    pub fn cookie_size(&self) -> usize {
        let state = self.state();
        let data = state.data().cloned().unwrap_or_default();
        self.sealer(&state).cookie_size_with(&state.meta(), &data, 0)
    }

    /// Logs a subject in: at commit the session moves to a new id, with a fresh absolute life, and the old cookie is
    /// refused from then on.
    ///
    /// 1. The data stays, unless *another* subject was logged in: then nothing of that session is left, neither data nor
    ///    messages, label, persistence or lifetime.
    /// 2. The session is logged in afterwards even if it ended meanwhile, as by a double click.
    /// 3. If a browser sent several live sessions, all of them end.
    ///
    /// # Errors
    ///
    /// [`SessionError::Meta`] if the subject is longer than 512 bytes, [`SessionError::TooLarge`] if it outgrows the
    /// cookie, [`SessionError::Finished`] if the response's headers are gone.
    pub fn login(&self, subject: &str) -> Result<()> {
        self.login_with(Login::new(subject))
    }

    /// Moves the session to a new id at commit, as after any change of privilege. The old cookie is good for nothing
    /// then. Data and deadline stay.
    ///
    /// # Errors
    ///
    /// [`SessionError::Finished`] if the response's headers are gone.
    #[doc(alias = "cycle_id")]
    pub fn renew(&self) -> Result<()> {
        let mut state = self.changeable()?;
        if state.pending.mark.is_some() || state.kept().is_none() {
            return Ok(()); // A new session gets a new id anyway.
        }
        self.mark(&mut state, Mark::Renew)
    }

    /// Ends the session at commit, whatever the response's status, and removes the browser's cookie.
    ///
    /// 1. If another request renews the session at the same time, the renewed one ends too: the logout follows it to its
    ///    new id. If it cannot, the commit fails with [`SessionError::Conflict`] (409), and the user is told.
    /// 2. Every live session that the request presented ends, if a browser sent two.
    /// 3. What you write after this call, in the same request, is of a new anonymous session with a new id: a message for
    ///    the next page, say. [`logout_keeping_data`](Self::logout_keeping_data) takes the data along.
    ///
    /// # Errors
    ///
    /// [`SessionError::Finished`] if the response's headers are gone.
    #[doc(alias = "flush")]
    #[doc(alias = "purge")]
    #[doc(alias = "destroy")]
    #[doc(alias = "delete")]
    pub fn logout(&self) -> Result<()> {
        self.end(Ending { why: Why::Logout, keeps_data: false, everywhere: None })
    }

    /// Ends the session as [`logout`](Self::logout) does, and begins a new anonymous one with its data: a basket, a
    /// language. Who was logged in, messages, label and lifetime are left behind, and the old cookie stays dead.
    ///
    /// The ending is kept if the response's status is one that discards changes; the new session then has the data as it
    /// was before the request. If the session was ended by somebody else meanwhile, there is no new one.
    ///
    /// ```
    /// # use secure_sessions::{Session, SessionError};
    /// fn sign_out(session: &Session) -> Result<(), SessionError> {
    ///     session.remove("address")?; // Not for whoever comes next.
    ///     session.logout_keeping_data()
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::Finished`] if the response's headers are gone.
    pub fn logout_keeping_data(&self) -> Result<()> {
        self.end(Ending { why: Why::Logout, keeps_data: true, everywhere: None })
    }

    /// Forgets everything that this request changed and that is not saved yet, but for a logout.
    pub fn discard(&self) {
        self.state().discard();
    }

    /// Commits now, inside the handler. What is saved survives a later panic or 5xx.
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] if the store fails, [`SessionError::Ended`] if the session is gone,
    /// [`SessionError::Conflict`] if its newest state is out of reach, [`SessionError::TooLarge`] if it outgrew the cookie
    /// together with what others committed. Everything stays pending then, and is tried again at the end.
    pub fn save(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let finished = self.0.is_finished();
        let save = self.0.save();
        async move { if finished { Err(SessionError::Finished) } else { save.await } }
    }

    /// Asks the store whether the session is still alive: for long connections (WebSocket, server-sent events), whose
    /// session may end while they last.
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] if the store fails.
    pub fn is_live(&self) -> impl Future<Output = Result<bool>> + Send + use<> {
        let request = Arc::clone(&self.0);
        let id = self.state().live().map(|live| live.bucket.id);
        async move {
            let Some(id) = id else { return Ok(false) };
            let manager = &request.manager;
            let entry = manager.store().load(&id).await.map_err(|error| manager.store_failed("load", error))?;
            Ok(
                matches!(entry, Some(Entry::Bucket(bucket)) if !bucket.is_expired(manager.now(), &manager.times().bucket)),
            )
        }
    }

    /// The session's public name, safe to show to its owner; `None` for one that is not made yet. Login and renew change
    /// it.
    #[must_use]
    pub fn id(&self) -> Option<Handle> {
        let state = self.state();
        current_id(&state).map(|id| self.0.manager.handle(&id))
    }

    /// Whom the session belongs to, after [`login`](Self::login).
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        self.state().subject().map(str::to_owned)
    }

    /// Whether this request came without a session, or with one that was refused.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.state().kept().is_none()
    }

    /// Whether this request came with a cookie of a session that is over: logged out, renewed, revoked or expired. What
    /// it stores is kept only if it also logs in, as long as the browser may be about to get a newer session's cookie.
    #[must_use]
    pub fn was_ended(&self) -> bool {
        matches!(&self.state().base, Base::Anonymous(anonymous) if anonymous.was_ended)
    }

    /// When the subject logged in.
    #[must_use]
    pub fn authenticated_at(&self) -> Option<Timestamp> {
        self.state().meta().authenticated_at
    }

    /// When the session's newest token was issued.
    #[must_use]
    pub fn issued_at(&self) -> Option<Timestamp> {
        self.state().kept().map(|live| live.newest.issued_at)
    }

    /// The session's absolute deadline.
    #[doc(alias = "expiry_date")]
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.state().kept().map(|live| live.bucket.expires_at)
    }

    /// Gives this session its own absolute lifetime, counted from its making or login.
    ///
    /// # Errors
    ///
    /// [`SessionError::Finished`] if the response's headers are gone.
    pub fn set_lifetime(&self, lifetime: Duration) -> Result<()> {
        self.set(|state| state.pending.settings.lifetime = Some(Millis::from(lifetime)))
    }

    /// Gives this session its own idle timeout.
    ///
    /// # Errors
    ///
    /// [`SessionError::Finished`] if the response's headers are gone.
    pub fn set_idle_timeout(&self, timeout: Duration) -> Result<()> {
        self.set(|state| state.pending.settings.idle_timeout = Some(Millis::from(timeout)))
    }

    /// Lets this session's cookie outlive the browser session, or not: "remember me".
    ///
    /// # Errors
    ///
    /// [`SessionError::Finished`] if the response's headers are gone.
    pub fn set_persistent(&self, persistent: bool) -> Result<()> {
        self.set(|state| state.pending.settings.persistent = Some(persistent))
    }

    /// Writes on the session, for its owner's list of sessions: a device, a rough place. Sealed in the store.
    ///
    /// # Errors
    ///
    /// [`SessionError::Label`] if it is longer than 512 bytes, [`SessionError::Finished`] if the response's headers are
    /// gone.
    pub fn set_label(&self, label: &str) -> Result<()> {
        Self::check_label(label)?;
        self.set(|state| state.pending.label = Some(label.to_owned()))
    }

    /// How this session travels.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.state().caller.transport
    }

    /// Lets the session that this request makes travel as a bearer token: for the login route of an API, where both
    /// transports are on ([`Builder::bearer`](crate::Builder::bearer)). Changes nothing if it does so already.
    ///
    /// # Errors
    ///
    /// [`SessionError::NoBearer`] if that transport is off, or if the request came with a live session in a cookie: it
    /// never becomes a bearer token. [`SessionError::Finished`] if the response's headers are gone.
    pub fn use_bearer(&self) -> Result<()> {
        let mut state = self.changeable()?;
        if self.0.manager.bearer().is_none() {
            return Err(SessionError::NoBearer("call `bearer()` on the builder"));
        }
        if state.caller.transport == Transport::Bearer {
            return Ok(());
        }
        if state.live().is_some() {
            return Err(SessionError::NoBearer("the request came with a session in a cookie"));
        }
        state.caller.transport = Transport::Bearer;
        // What it came with was a cookie, and the response speaks of bearer tokens alone.
        (state.presented, state.remove_cookie) = (false, false);
        Ok(())
    }

    pub(crate) fn request(&self) -> &Arc<Request> {
        &self.0
    }

    /// The bucket's id, if there is one.
    pub(crate) fn session_id(&self) -> Option<SessionId> {
        self.state().live().map(|live| live.bucket.id)
    }

    pub(crate) fn end(&self, ending: Ending) -> Result<()> {
        self.changeable()?.end(ending);
        Ok(())
    }

    /// A value that is larger than any cookie is refused as one that is too large for this one: with both sizes.
    fn refused(&self, error: SessionError) -> SessionError {
        match error {
            SessionError::Data(DataError::ValueTooLarge { length }) => {
                let data = self.data();
                let state = self.state();
                let (sealer, meta) = (self.sealer(&state), state.meta());
                let size = sealer.cookie_size_with(&meta, &data, length);
                SessionError::TooLarge { size, limit: sealer.sizes().limit() }
            }
            error => error,
        }
    }

    pub(crate) fn check_label(label: &str) -> Result<()> {
        let length = label.len();
        if length > secure_sessions_core::format::MAX_LABEL_LEN {
            return Err(SessionError::Label(secure_sessions_core::LabelError::TooLong { length }));
        }
        Ok(())
    }

    /// The sealer of the session's transport.
    pub(crate) fn sealer(&self, state: &State) -> Guard<Arc<Sealing>> {
        self.0.manager.sealer_for(state.caller.transport)
    }

    fn set(&self, set: impl FnOnce(&mut State)) -> Result<()> {
        set(&mut *self.changeable()?);
        Ok(())
    }

    pub(crate) fn mark(&self, state: &mut State, mark: Mark) -> Result<()> {
        state.next_id = Some(SessionId::random(&mut SysRng)?);
        state.pending.mark = Some(mark);
        Ok(())
    }

    /// Changes the data by `change`, which gives the operation to log, or none if nothing changed.
    fn mutate<R>(&self, change: impl FnOnce(&mut DataMap) -> Result<(Option<Operation>, R)>) -> Result<R> {
        let mut state = self.changeable()?;
        let mut data = state.data().cloned().unwrap_or_default();
        let (operation, result) = change(&mut data)?;
        if let Some(operation) = operation {
            let sealer = self.sealer(&state);
            state.change(operation, data, &sealer)?;
        }
        Ok(result)
    }

    pub(crate) fn changeable(&self) -> Result<MutexGuard<'_, State>> {
        if self.0.is_finished() {
            return Err(SessionError::Finished);
        }
        let state = self.state();
        state.check_changeable()?;
        Ok(state)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        match self.0.loaded_state() {
            Some(state) => state,
            None => unreachable!("a Session is made only of a request that is loaded"),
        }
    }
}

/// The id that the session has, or will have after the commit.
pub(crate) fn current_id(state: &State) -> Option<SessionId> {
    state.next_id.or_else(|| state.kept().map(|live| live.bucket.id))
}

impl Request {
    /// Marks this thread as running a closure of the application's, until the guard is dropped.
    pub(crate) fn enter_closure(&self) -> ClosureGuard<'_> {
        let thread = std::thread::current().id();
        if let Some(mut state) = self.loaded_state() {
            state.closures.push(thread);
        }
        ClosureGuard { request: self, thread }
    }
}

pub(crate) struct ClosureGuard<'r> {
    request: &'r Request,
    thread: ThreadId,
}

impl Drop for ClosureGuard<'_> {
    fn drop(&mut self) {
        if let Some(mut state) = self.request.loaded_state()
            && let Some(index) = state.closures.iter().position(|thread| *thread == self.thread)
        {
            state.closures.swap_remove(index);
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id()).finish_non_exhaustive()
    }
}
