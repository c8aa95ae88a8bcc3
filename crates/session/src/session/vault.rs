//! Private and large values: in the vault, under keys that only the browser's cookie holds.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};

use arc_swap::Guard;
use secure_sessions_core::{DataError, Reference, SecretBytes, VaultError, decode, encode, encode_private};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::error::SessionError;
use crate::request::newest::{self, RETRY_FOR};
use crate::request::ops::Operation;
use crate::request::private::{Private, PrivateUpdate, Start};
use crate::request::state::State;
use crate::request::vault::{Found, fetch, lost};
use crate::session::Session;
use crate::session::key::KeyToRemove;

/// The session's private and large values, which its [`vault`](crate::Builder::vault) keeps.
///
/// Each value is sealed under a key of its own that only the session's cookie holds: a copy of the store, and of all your
/// keys, reads nothing of it. The store sees sizes (in steps), times and counts.
///
/// 1. A value may take 64 KiB, all of a session's 256 KiB, and there may be 64 of them. In the cookie, each takes its key's
///    name and 37 bytes.
/// 2. Nothing is read before you ask for it. A read is one round trip to the vault's store, and
///    [`get_many`](Self::get_many) is one for all.
/// 3. Changes are committed with the session's own: a response of 500 discards them, and parallel requests that change
///    different keys, or use [`update`](Self::update), lose nothing to one another.
/// 4. A key is in one place. [`Session::insert`] moves it to the cookie, and [`insert`](Self::insert) to the vault.
///
/// It is a cache, not a database: when the user clears their cookies, or the session ends, nobody can read the values any
/// more.
///
/// ```
/// # use secure_sessions::{Session, SessionError};
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize)]
/// struct Tokens {
///     access: String,
///     refresh: String,
/// }
///
/// fn keep(session: &Session, tokens: Tokens) -> Result<(), SessionError> {
///     session.vault().insert("tokens", tokens)
/// }
///
/// async fn access_token(session: &Session) -> Result<Option<String>, SessionError> {
///     let tokens = session.vault().get::<Tokens>("tokens").await?;
///     Ok(tokens.map(|tokens| tokens.access))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Vault(Session);

/// The place of one value that is asked for.
enum Place {
    Nowhere,
    /// In this request, or in the cookie.
    Here(SecretBytes),
    InVault(Reference),
}

impl Session {
    /// Returns the session's private and large values.
    #[must_use]
    pub fn vault(&self) -> Vault {
        Vault(self.clone())
    }

    /// Sets `key` to an encoded value in the vault.
    pub(super) fn keep_private(&self, key: &str, value: SecretBytes) -> Result<(), SessionError> {
        if self.request().manager.vault_store().is_none() {
            return Err(SessionError::NoVault);
        }
        let private = Arc::new(Private::new(key, value)?);
        let mut state = self.changeable()?;
        self.log(&mut state, Operation::Keep(private))
    }

    fn log(&self, state: &mut MutexGuard<'_, State>, operation: Operation) -> Result<(), SessionError> {
        let mut data = state.data().cloned().unwrap_or_default();
        operation.apply(&mut data)?;
        let sealer = self.sealer(state);
        state.change(operation, data, &sealer)
    }

    /// Refuses a key whose value is in the vault, where a method that does not wait cannot read it.
    pub(super) fn refuse_private(state: &State, key: &str) -> Result<(), SessionError> {
        if state.references().get(key).is_some() && !state.data().is_some_and(|data| data.contains_key(key)) {
            return Err(SessionError::InVault { key: key.into() });
        }
        Ok(())
    }
}

impl Vault {
    /// Sets `key` to a private value. It is sealed and put into the store by the commit; this call only encodes it and
    /// checks the limits.
    ///
    /// An equal value counts as a change: the vault is not read to compare.
    ///
    /// # Errors
    ///
    /// [`SessionError::NoVault`] if the manager has none, [`SessionError::Vault`] if the value or the session would exceed a
    /// limit, [`SessionError::TooLarge`] if the reference to it does not fit the cookie, [`SessionError::Data`] if the value
    /// cannot be encoded, [`SessionError::Finished`] if the response's headers are already sent. Nothing is changed then.
    pub fn insert<T: Serialize>(&self, key: &str, value: T) -> Result<(), SessionError> {
        let value = encode_private(&value).map_err(too_large).map_err(|error| error.of_key(key))?;
        self.0.keep_private(key, value).map_err(|error| error.of_key(key))
    }

    /// Returns the value of `key`, or `None` if it is absent. If it is in the cookie, because it was small enough for
    /// [`spill_over`](crate::Builder::spill_over) to leave it there, it is read from there.
    ///
    /// # Errors
    ///
    /// [`SessionError::VaultLost`] if the store no longer has the value, [`SessionError::Data`] if it is of another type,
    /// [`SessionError::Ended`] if the session ended meanwhile, [`SessionError::Conflict`] if other requests replaced the value
    /// for five seconds, each time before it was read, [`SessionError::NoVault`] or [`SessionError::Store`].
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, SessionError> {
        let value = self.read(&[key]).await?.pop().flatten();
        let value = value.map(|value| decode(&value)).transpose();
        value.map_err(|error| SessionError::from(error).of_key(key))
    }

    /// Returns the values of several keys in their order, `None` for each that is absent, in one round trip.
    ///
    /// # Errors
    ///
    /// The errors of [`get`](Self::get).
    pub async fn get_many<T: DeserializeOwned>(&self, keys: &[&str]) -> Result<Vec<Option<T>>, SessionError> {
        let values = self.read(keys).await?;
        let decoded = keys.iter().zip(values).map(|(key, value)| {
            let value = value.map(|value| decode(&value)).transpose();
            value.map_err(|error| SessionError::from(error).of_key(key))
        });
        decoded.collect()
    }

    /// Returns all values in the vault by their keys, each in its CBOR encoding, in one round trip.
    ///
    /// # Errors
    ///
    /// The errors of [`get`](Self::get), except for [`SessionError::Data`].
    pub async fn data(&self) -> Result<BTreeMap<String, SecretBytes>, SessionError> {
        let keys = self.keys();
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names: Vec<_> = keys.iter().map(String::as_str).collect();
        let values = self.read(&names).await?;
        Ok(keys.into_iter().zip(values).filter_map(|(key, value)| Some((key, value?))).collect())
    }

    /// Removes `key`, in the vault or in the cookie. Returns `true` if it was present.
    ///
    /// # Errors
    ///
    /// [`SessionError::Finished`] if the response's headers are already sent.
    pub fn remove<K: KeyToRemove>(&self, key: K) -> Result<bool, SessionError> {
        self.0.remove(key)
    }

    /// Removes `key` and returns its value. Two parallel requests may both get it.
    ///
    /// # Errors
    ///
    /// The errors of [`get`](Self::get): the value stays. [`SessionError::Finished`] if the response's headers are already
    /// sent.
    pub async fn take<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, SessionError> {
        let value = self.get(key).await?;
        if value.is_some() {
            self.0.remove(key)?;
        }
        Ok(value)
    }

    /// Changes the value of `key` in place, starting from the type's default if it is absent. No update is lost: if another
    /// request replaces the value first, the commit reads the newer one, and the closure runs again on it.
    ///
    /// Returns the result of the closure's first run. The closure must have no side effects, and must not change the session.
    ///
    /// ```
    /// # use secure_sessions::{Session, SessionError};
    /// async fn note(session: &Session, text: String) -> Result<usize, SessionError> {
    ///     session
    ///         .vault()
    ///         .update("notes", move |notes: &mut Vec<String>| {
    ///             notes.push(text.clone());
    ///             notes.len()
    ///         })
    ///         .await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`get`](Self::get) and [`insert`](Self::insert), and [`SessionError::ChangedInsideUpdate`] if the
    /// closure changes the session.
    pub async fn update<T, R, F>(&self, key: &str, change: F) -> Result<R, SessionError>
    where
        T: Serialize + DeserializeOwned + Default,
        F: Fn(&mut T) -> R + Send + Sync + 'static,
        R: Send,
    {
        let change = Arc::new(change);
        loop {
            let (start, version) = {
                let state = self.0.changeable()?;
                (start(&state, key), state.version)
            };
            let before = match &start.reference {
                Some(_) => self.read(&[key]).await?.pop().flatten(),
                None => start.data.clone(),
            };
            let apply = {
                let change = Arc::clone(&change);
                move |value: Option<&[u8]>| {
                    let mut value: T = value.map(decode).transpose()?.unwrap_or_default();
                    let result = change(&mut value);
                    Ok::<_, SessionError>((encode_private(&value).map_err(too_large)?, result))
                }
            };
            let (first, result) = {
                let _guard = self.0.request().enter_closure();
                apply(before.as_deref()).map_err(|error| error.of_key(key))?
            };
            let update = Arc::new(PrivateUpdate::new(key, move |value| apply(value).map(|(value, _)| value)));
            update
                .start_with(start, before.as_deref(), first)
                .map_err(|error| SessionError::from(error).of_key(key))?;
            let mut state = self.0.changeable()?;
            if state.version != version {
                continue; // Another thread of this request was faster.
            }
            if self.0.request().manager.vault_store().is_none() {
                return Err(SessionError::NoVault);
            }
            if update.result().is_some() {
                self.0.log(&mut state, Operation::Update(update)).map_err(|error| error.of_key(key))?;
            }
            return Ok(result);
        }
    }

    /// Returns `true` if `key` is present in the vault.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.0.state().references().get(key).is_some()
    }

    /// Returns the keys in the vault, in ascending order.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.0.state().references().iter().map(|(key, _)| key.to_owned()).collect()
    }

    /// Returns the encoded values of these keys, in their order.
    async fn read(&self, keys: &[&str]) -> Result<Vec<Option<SecretBytes>>, SessionError> {
        let (mut places, live, sealer) = {
            let state = self.0.state();
            let places: Vec<_> = keys.iter().map(|key| place(&state, key)).collect();
            let live = state.data_source().map(Arc::clone);
            (places, live, Guard::into_inner(self.0.sealer(&state)))
        };
        let manager = &self.0.request().manager;
        let mut live = live;
        let mut deadline = None;
        loop {
            let wanted: Vec<_> = places
                .iter()
                .enumerate()
                .filter_map(
                    |(at, place)| if let Place::InVault(reference) = place { Some((at, reference)) } else { None },
                )
                .collect();
            let Some(base) = live.take().filter(|_| !wanted.is_empty()) else { break };
            let references: Vec<_> = wanted.iter().map(|(_, reference)| *reference).collect();
            let found = fetch(manager, &sealer, &base.vault(), &references).await?;
            let wanted: Vec<_> = wanted.into_iter().map(|(at, reference)| (at, reference.clone())).collect();
            let mut lacking = Vec::new();
            for ((at, reference), found) in wanted.into_iter().zip(found) {
                match found {
                    Found::Value(value) => places[at] = Place::Here(value),
                    Found::Missing => lacking.push((at, reference, false)),
                    Found::Altered => lacking.push((at, reference, true)),
                }
            }
            if lacking.is_empty() {
                break;
            }
            let id = base.bucket.id;
            // Other requests may have replaced or removed them since this state was loaded, and may do so again.
            let newest = newest::refresh(manager, &sealer, base).await?;
            let now = Instant::now();
            let is_in_time = now < *deadline.get_or_insert(now + RETRY_FOR);
            for (at, reference, altered) in lacking {
                match newest.newest.meta.vault.get(keys[at]) {
                    Some(same) if *same == reference => return Err(lost(manager, &id, keys[at], altered)),
                    Some(_) if !is_in_time => return Err(SessionError::Conflict),
                    Some(newer) => places[at] = Place::InVault(newer.clone()),
                    None => {
                        let value = newest.newest.data.get_encoded(keys[at]);
                        places[at] =
                            value.map_or(Place::Nowhere, |value| Place::Here(SecretBytes::from(value.to_vec())));
                    }
                }
            }
            live = Some(newest);
        }
        Ok(places.into_iter().map(|place| if let Place::Here(value) = place { Some(value) } else { None }).collect())
    }
}

/// Returns the place of a key's value as this request sees it.
fn place(state: &State, key: &str) -> Place {
    let Some(reference) = state.references().get(key).cloned() else {
        let value = state.data().and_then(|data| data.get_encoded(key));
        return value.map_or(Place::Nowhere, |value| Place::Here(SecretBytes::from(value.to_vec())));
    };
    match state.pending.privates().find(|private| *private.reference() == reference) {
        Some(own) => Place::Here(own.value().clone()),
        None => Place::InVault(reference),
    }
}

/// Returns the value that an update of a key starts from.
fn start(state: &State, key: &str) -> Start {
    let value = state.data().and_then(|data| data.get_encoded(key));
    Start {
        reference: state.references().get(key).cloned(),
        data: value.map(|value| SecretBytes::from(value.to_vec())),
    }
}

/// Turns the error for a value that is too large for a cookie into that of the vault.
fn too_large(error: DataError) -> SessionError {
    match error {
        DataError::ValueTooLarge { length } => VaultError::ValueTooLarge { length }.into(),
        error => error.into(),
    }
}

/// Encodes a value for the cookie, or for the vault if it is longer than `limit`.
pub(super) fn encode_for<T: Serialize>(
    value: &T,
    spill_over: Option<usize>,
) -> Result<(SecretBytes, bool), SessionError> {
    match spill_over {
        None => Ok((encode(value)?, false)),
        Some(limit) => {
            let value = encode_private(value).map_err(too_large)?;
            let spills = value.len() > limit;
            Ok((value, spills))
        }
    }
}
