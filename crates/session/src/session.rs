//! The session as a handler sees it: its data, its lifecycle, its settings.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use arc_swap::Guard;
use getrandom::SysRng;
use secure_sessions_core::{DataError, DataMap, Handle, Millis, SessionId, Timestamp, encode};
use secure_sessions_store::{Entry, SessionStore};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::SessionError;
use crate::remember::Sealing;
use crate::request::cell::Request;
use crate::request::ops::{Change, Ending, Mark, Operation, Why};
use crate::request::state::{Base, State};
use crate::session::key::KeyToRemove;
use crate::session::vault::encode_for;
use crate::transport::Transport;

pub(crate) mod access;
pub(crate) mod cross_origin;
pub(crate) mod csrf;
pub(crate) mod device;
mod flash;
pub(crate) mod key;
mod lasting;
pub(crate) mod login;
pub(crate) mod names;
mod once;
pub(crate) mod snapshot;
pub(crate) mod typed;
pub(crate) mod vault;

/// One request's session: data under text keys, and its lifecycle. Clones refer to the same session.
///
/// Values are encoded as CBOR. A type that has one form for people and one for machines, such as `IpAddr` or `Uuid`, is written
/// in the one for people, so that it also comes back from untagged, tagged and flattened types. Inserting an equal value changes nothing: two values are equal if they encode alike,
/// whatever the order of a map's entries. A `HashSet` encodes as a list in a new order each time, so it counts as
/// changed; use a `BTreeSet`.
///
/// Changes are logged, and committed when the handler's response is below 500, and neither 408 nor 499. The commit
/// applies them to the newest state, so parallel requests that change different keys, or use [`update`](Self::update), lose nothing to one
/// another.
///
/// Only the methods that return a future wait for the store.
#[derive(Clone)]
pub struct Session(Arc<Request>);

type Result<T, E = SessionError> = std::result::Result<T, E>;

impl Session {
    pub(crate) fn new(request: Arc<Request>) -> Self {
        Self(request)
    }

    /// Returns the value of `key`, or `None` if it is absent.
    ///
    /// # Errors
    ///
    /// [`SessionError::Data`] if the value is of another type: it stays as it is. [`SessionError::InVault`] if the value is
    /// in the [vault](Self::vault): read it with `session.vault().get(key).await`.
    #[doc(alias = "get_value")]
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let state = self.state();
        let value = state.data().map(|data| data.get(key)).transpose()?.flatten();
        if value.is_none() {
            Self::refuse_private(&state, key)?;
        }
        Ok(value)
    }

    /// Sets `key` to `value`. An equal value changes nothing. With [`spill_over`](crate::Builder::spill_over), a large value
    /// goes to the [vault](Self::vault).
    ///
    /// # Errors
    ///
    /// [`SessionError::TooLarge`] if the session would outgrow its cookie, [`SessionError::Data`] if the value cannot
    /// be encoded, or holds a `u128` or `i128` in or beside `#[serde(flatten)]`, which serde cannot read back,
    /// [`SessionError::Finished`] if the response's headers are already sent. Nothing is changed then.
    #[doc(alias = "set")]
    pub fn insert<T: Serialize>(&self, key: &str, value: T) -> Result<()> {
        let (value, spills) =
            encode_for(&value, self.0.manager.spill_over()).map_err(|error| self.refused(error).of_key(key))?;
        if spills {
            return self.keep_private(key, value).map_err(|error| error.of_key(key));
        }
        self.mutate(|data| {
            let changed = data.insert_encoded(key, &value)?;
            Ok((changed.then(|| Operation::Insert { key: key.into(), value: value.clone() }), ()))
        })
        .map_err(|error| error.of_key(key))
    }

    /// Removes `key`. Returns `true` if it was present. [`take`](Self::take) also returns its value.
    ///
    /// # Errors
    ///
    /// [`SessionError::Finished`] if the response's headers are already sent.
    pub fn remove<K: KeyToRemove>(&self, key: K) -> Result<bool> {
        let key = key.as_ref();
        let is_private = self.state().references().get(key).is_some();
        self.mutate(|data| {
            let removed = data.remove(key) || is_private;
            Ok((removed.then(|| Operation::Remove { key: key.into() }), removed))
        })
    }

    /// Removes `key` and returns its value. Two parallel requests may both get it.
    ///
    /// ```
    /// # use secure_sessions::{Session, SessionError};
    /// fn check_out(session: &Session) -> Result<Vec<u32>, SessionError> {
    ///     Ok(session.take::<Vec<u32>>("cart")?.unwrap_or_default())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::Data`] if the value is of another type: it stays. [`SessionError::Finished`] if the response's
    /// headers are already sent.
    #[doc(alias = "remove_as")]
    pub fn take<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        Self::refuse_private(&self.state(), key)?;
        self.mutate(|data| {
            let value = data.get(key)?;
            Ok((data.remove(key).then(|| Operation::Remove { key: key.into() }), value))
        })
    }

    /// Changes the value of `key` in place, starting from the type's default if it is absent. No update is lost: if
    /// another request commits first, the closure runs again on the newer value.
    ///
    /// Returns the result of the closure's first run. The closure must have no side effects, and must not change the
    /// session.
    ///
    /// The closure may run again after this request's handler has returned, so it must own everything that it uses: write
    /// `move`, and clone in it whatever it would give away.
    ///
    /// ```
    /// # use secure_sessions::{Session, SessionError};
    /// fn visit(session: &Session) -> Result<u64, SessionError> {
    ///     session.update("visits", |visits: &mut u64| {
    ///         *visits += 1;
    ///         *visits
    ///     })
    /// }
    ///
    /// fn add(session: &Session, article: u32) -> Result<(), SessionError> {
    ///     session.update("cart", move |cart: &mut Vec<u32>| cart.push(article))
    /// }
    ///
    /// fn rename(session: &Session, name: String) -> Result<(), SessionError> {
    ///     // The closure is an `Fn`: it keeps `name` for its next run, and gives away a clone.
    ///     session.update("names", move |names: &mut Vec<String>| names.push(name.clone()))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`get`](Self::get) and [`insert`](Self::insert), and [`SessionError::ChangedInsideUpdate`] if the
    /// closure changes the session.
    pub fn update<T, R, F>(&self, key: &str, change: F) -> Result<R>
    where
        T: Serialize + DeserializeOwned + Default + 'static,
        F: Fn(&mut T) -> R + Send + Sync + 'static,
    {
        self.update_or(key, T::default, change)
    }

    /// Changes the value of `key` as [`update`](Self::update) does, starting from `default()` if it is absent.
    ///
    /// # Errors
    ///
    /// The errors of [`update`](Self::update).
    pub fn update_or<T, R, D, F>(&self, key: &str, default: D, change: F) -> Result<R>
    where
        T: Serialize + DeserializeOwned,
        D: Fn() -> T + Send + Sync + 'static,
        F: Fn(&mut T) -> R + Send + Sync + 'static,
    {
        Self::refuse_private(&self.state(), key)?;
        let owned: Box<str> = key.into();
        let changed = self.change(move |data| {
            let mut value = data.get(&owned)?.unwrap_or_else(&default);
            let result = change(&mut value);
            data.insert_encoded(&owned, &encode(&value)?)?;
            Ok(result)
        });
        changed.map_err(|error| error.of_key(key))
    }

    /// Runs a change of the whole map now, and again after a conflict, without holding a lock.
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

    /// Removes all keys, also those in the [vault](Self::vault). The session continues, and its subject stays logged in.
    ///
    /// # Errors
    ///
    /// [`SessionError::Finished`] if the response's headers are already sent.
    pub fn clear(&self) -> Result<()> {
        let has_private = !self.state().references().is_empty();
        self.mutate(|data| {
            let changed = !data.is_empty() || has_private;
            *data = DataMap::new();
            Ok((changed.then_some(Operation::Clear), ()))
        })
    }

    /// Returns `true` if `key` is present.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        let state = self.state();
        state.data().is_some_and(|data| data.contains_key(key)) || state.references().get(key).is_some()
    }

    /// Returns all keys, those in the [vault](Self::vault) last.
    #[doc(alias = "entries")]
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let state = self.state();
        let mut keys: Vec<_> = state.data().map(|data| data.keys().map(str::to_owned).collect()).unwrap_or_default();
        for (key, _) in state.references().iter() {
            if !state.data().is_some_and(|data| data.contains_key(key)) {
                keys.push(key.to_owned());
            }
        }
        keys
    }

    /// Returns `true` if there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let state = self.state();
        state.data().is_none_or(DataMap::is_empty) && state.references().is_empty()
    }

    /// Returns all data in the cookie, each value in its CBOR encoding. [`DataMap::to_json`] shows it to a developer.
    ///
    /// ```
    /// # use secure_sessions::{Session, SessionError};
    /// fn debug_page(session: &Session) -> String {
    ///     session.data().to_json()
    /// }
    /// ```
    ///
    #[must_use]
    pub fn data(&self) -> DataMap {
        self.state().data().cloned().unwrap_or_default()
    }

    /// Returns the size of the cookie's name and value as they would be sent now, in bytes.
    #[must_use]
    pub fn cookie_size(&self) -> usize {
        let state = self.state();
        let data = state.data().cloned().unwrap_or_default();
        self.sealer(&state).cookie_size_with(&state.meta(), &data, 0)
    }

    /// Moves the session to a new id at commit. Call it after any change of privilege. The old cookie is refused from
    /// then on; data and deadline stay.
    ///
    /// # Errors
    ///
    /// [`SessionError::Finished`] if the response's headers are already sent.
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
    /// 1. If another request renews the session at the same time, the renewed session ends too: the logout follows it
    ///    to its new id. If it cannot, the commit fails with [`SessionError::Conflict`] (409), so the user learns that
    ///    they may still be logged in.
    /// 2. If the browser sent several live sessions, all of them end.
    /// 3. Changes that you make after this call, in the same request, begin a new anonymous session with a new id: a
    ///    message for the next page, for example. [`logout_keeping_data`](Self::logout_keeping_data) copies the data to
    ///    it.
    ///
    /// # Errors
    ///
    /// [`SessionError::Finished`] if the response's headers are already sent.
    #[doc(alias = "flush")]
    #[doc(alias = "purge")]
    #[doc(alias = "destroy")]
    #[doc(alias = "delete")]
    pub fn logout(&self) -> Result<()> {
        self.end(Ending { why: Why::Logout, keeps_data: false, everywhere: None })
    }

    /// Ends the session as [`logout`](Self::logout) does, and begins a new anonymous one with its data: a basket, a
    /// language. The subject, messages, label and lifetime are not copied, and the old cookie is refused from then on.
    ///
    /// If the response's status discards changes, the session still ends, and the new one has the data as it was before
    /// the request. If another request has ended the session meanwhile, no new one begins.
    ///
    /// ```
    /// # use secure_sessions::{Session, SessionError};
    /// fn sign_out(session: &Session) -> Result<(), SessionError> {
    ///     session.remove("address")?; // The next visitor at this browser must not see it.
    ///     session.logout_keeping_data()
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::Finished`] if the response's headers are already sent.
    pub fn logout_keeping_data(&self) -> Result<()> {
        self.end(Ending { why: Why::Logout, keeps_data: true, everywhere: None })
    }

    /// Discards every change of this request that is not saved yet, except a logout.
    pub fn discard(&self) {
        self.state().discard();
    }

    /// Commits now, inside the handler. Saved changes survive a later panic or 5xx.
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] if the store fails, [`SessionError::Ended`] if the session has ended,
    /// [`SessionError::Conflict`] if its newest state cannot be opened any more, [`SessionError::TooLarge`] if the
    /// merge with other requests' changes outgrows the cookie. On an error all changes stay pending, and are retried at
    /// the end of the request.
    pub fn save(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let finished = self.0.is_finished();
        let save = self.0.save();
        async move { if finished { Err(SessionError::Finished) } else { save.await } }
    }

    /// Asks the store, and returns `true` if the session is still alive. Use it on long connections (WebSocket,
    /// server-sent events), whose session may end while they last.
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] if the store fails.
    pub fn is_live(&self) -> impl Future<Output = Result<bool>> + Send + use<> {
        let request = Arc::clone(&self.0);
        let live = self.state().live().map(|live| (live.bucket.id, live.newest.issued_at));
        async move {
            let Some((id, issued_at)) = live else { return Ok(false) };
            let manager = &request.manager;
            if manager.refuses_of(issued_at).await? {
                return Ok(false);
            }
            let entry = manager.store().load(&id).await.map_err(|error| manager.store_failed("load", error))?;
            Ok(
                matches!(entry, Some(Entry::Bucket(bucket)) if !bucket.is_expired(manager.now(), &manager.times().bucket)),
            )
        }
    }

    /// Returns the session's public handle, safe to show to its owner, or `None` if the session is not created yet.
    /// Login and renew change it.
    #[must_use]
    pub fn id(&self) -> Option<Handle> {
        let state = self.state();
        current_id(&state).map(|id| self.0.manager.handle(&id))
    }

    /// Returns the subject passed to [`login`](Self::login), or `None` if nobody is logged in.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        self.state().subject().map(str::to_owned)
    }

    /// Returns `true` if this request came without a session, or with one that was refused.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.state().kept().is_none()
    }

    /// Returns `true` if this request came with the cookie of a session that is over: logged out, renewed, revoked or
    /// expired. While the browser may be about to get a newer session's cookie, the request's changes are kept only if
    /// it also logs in.
    #[must_use]
    pub fn was_ended(&self) -> bool {
        matches!(&self.state().base, Base::Anonymous(anonymous) if anonymous.was_ended)
    }

    /// Returns the time of the subject's last authentication.
    #[must_use]
    pub fn authenticated_at(&self) -> Option<Timestamp> {
        self.state().meta().authenticated_at
    }

    /// Returns the time at which the session was created, or at which its subject logged in. A lifetime counts from then.
    #[must_use]
    pub fn created_at(&self) -> Option<Timestamp> {
        self.state().kept().map(|live| live.bucket.created_at)
    }

    /// Returns the time at which the session's newest token was issued.
    #[must_use]
    pub fn issued_at(&self) -> Option<Timestamp> {
        self.state().kept().map(|live| live.newest.issued_at)
    }

    /// Returns the session's absolute deadline.
    #[doc(alias = "expiry_date")]
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.state().kept().map(|live| live.bucket.expires_at)
    }

    /// Sets this session's own absolute lifetime, counted from its creation or login.
    ///
    /// # Errors
    ///
    /// [`SessionError::Finished`] if the response's headers are already sent.
    pub fn set_lifetime(&self, lifetime: Duration) -> Result<()> {
        self.set(|state| state.pending.settings.lifetime = Some(Millis::from(lifetime)))
    }

    /// Sets this session's own idle timeout.
    ///
    /// # Errors
    ///
    /// [`SessionError::Finished`] if the response's headers are already sent.
    pub fn set_idle_timeout(&self, timeout: Duration) -> Result<()> {
        self.set(|state| state.pending.settings.idle_timeout = Some(Millis::from(timeout)))
    }

    /// Sets whether this session's cookie outlives the browser session: "remember me".
    ///
    /// # Errors
    ///
    /// [`SessionError::Finished`] if the response's headers are already sent.
    pub fn set_persistent(&self, persistent: bool) -> Result<()> {
        self.set(|state| state.pending.settings.persistent = Some(persistent))
    }

    /// Sets the session's label in its owner's list of sessions: a device, a rough place. The store holds it sealed.
    ///
    /// # Errors
    ///
    /// [`SessionError::Label`] if it is longer than 512 bytes, [`SessionError::Finished`] if the response's headers are
    /// already sent.
    pub fn set_label(&self, label: &str) -> Result<()> {
        Self::check_label(label)?;
        self.set(|state| state.pending.label = Some(label.to_owned()))
    }

    /// Returns the transport of this session: a cookie or a bearer token.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.state().caller.transport
    }

    /// Sends the session that this request creates as a bearer token. Call it in the login route of an API where both
    /// transports are on ([`Builder::bearer`](crate::Builder::bearer)). It changes nothing if the request already uses
    /// bearer tokens.
    ///
    /// # Errors
    ///
    /// [`SessionError::NoBearer`] if bearer tokens are off, or if the request came with a live session in a cookie:
    /// such a session never becomes a bearer token. [`SessionError::Finished`] if the response's headers are already
    /// sent.
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
        // The request presented a cookie, but the response sends bearer tokens alone: it must not remove that cookie.
        (state.presented, state.remove_cookie) = (false, false);
        Ok(())
    }

    pub(crate) fn request(&self) -> &Arc<Request> {
        &self.0
    }

    /// Returns the bucket's id, if there is a bucket.
    pub(crate) fn session_id(&self) -> Option<SessionId> {
        self.state().live().map(|live| live.bucket.id)
    }

    pub(crate) fn end(&self, ending: Ending) -> Result<()> {
        self.changeable()?.end(ending);
        Ok(())
    }

    /// Turns the error for a value larger than any cookie into [`SessionError::TooLarge`], with both sizes.
    fn refused(&self, error: SessionError) -> SessionError {
        match error {
            SessionError::Data(DataError::ValueTooLarge { length }) => {
                let data = self.data();
                let state = self.state();
                let (sealer, meta) = (self.sealer(&state), state.meta());
                let size = sealer.cookie_size_with(&meta, &data, length);
                SessionError::TooLarge { key: None, size, limit: sealer.sizes().limit() }
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

    /// Returns the sealer of the session's transport.
    pub(crate) fn sealer(&self, state: &State) -> Guard<Arc<Sealing>> {
        self.0.manager.sealer(state.caller.transport)
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

    /// Changes the data by `change`, which returns the operation to log, or `None` if nothing changed.
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

/// Returns the id that the session has, or will have after the commit.
pub(crate) fn current_id(state: &State) -> Option<SessionId> {
    state.next_id.or_else(|| state.kept().map(|live| live.bucket.id))
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id()).finish_non_exhaustive()
    }
}
