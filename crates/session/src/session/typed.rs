//! A typed view of a session: the fields of one type are its top-level keys.

use std::fmt;
use std::ops::Deref;

use secure_sessions_core::{DataError, DataMap, decode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::SessionError;
use crate::session::Session;

/// A struct whose fields are a session's top-level keys. Every type with serde's traits and a default is one.
///
/// ```
/// use secure_sessions::{Session, SessionError, Typed};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Shop {
///     cart: Vec<u32>,
///     currency: Option<String>,
/// }
///
/// fn add(session: &Session, article: u32) -> Result<usize, SessionError> {
///     let mut shop = Typed::<Shop>::new(session.clone())?;
///     shop.update(move |shop| {
///         shop.cart.push(article);
///         shop.cart.len()
///     })
/// }
/// ```
pub trait SessionData: Serialize + DeserializeOwned + Default + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Default + Send + Sync + 'static> SessionData for T {}

/// A session seen as a `T`. It dereferences to the `T` as of when the view was created or last changed through it.
///
/// Fields that the session lacks come from `T::default()`. Keys that are not fields of `T` are left alone, so several
/// views, and keyed access, can share one session.
pub struct Typed<T> {
    session: Session,
    value: T,
}

impl<T: SessionData> Typed<T> {
    /// Creates a view by decoding the session's data.
    ///
    /// # Errors
    ///
    /// [`SessionError::Data`] if a field is of another type. Nothing is changed.
    pub fn new(session: Session) -> Result<Self, SessionError> {
        let value = read(&session.data())?;
        Ok(Self { session, value })
    }

    /// Changes the value in place. If another request commits first, the closure runs again on the newer value. Only
    /// the fields that the closure changed are written.
    ///
    /// Returns the result of the closure's first run. The closure must have no side effects, and must not change the
    /// session.
    ///
    /// # Errors
    ///
    /// The errors of [`Session::update`].
    pub fn update<R>(&mut self, change: impl Fn(&mut T) -> R + Send + Sync + 'static) -> Result<R, SessionError> {
        let result = self.session.change(move |data| {
            let mut value: T = read(data)?;
            let before = fields(&value)?;
            let result = change(&mut value);
            write(data, &before, &fields(&value)?)?;
            Ok(result)
        })?;
        self.value = read(&self.session.data())?;
        Ok(result)
    }

    /// Replaces the value; only the fields that differ from the view are written.
    ///
    /// # Errors
    ///
    /// The errors of [`Session::insert`].
    pub fn set(&mut self, value: T) -> Result<(), SessionError> {
        let (before, after) = (fields(&self.value)?, fields(&value)?);
        self.session.change(move |data| write(data, &before, &after))?;
        self.value = value;
        Ok(())
    }

    /// Returns the session itself.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }
}

impl<T> Deref for Typed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> fmt::Debug for Typed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed").field("session", &self.session).finish_non_exhaustive()
    }
}

/// Decodes a `T` from the data, with the default's fields for those that are absent.
fn read<T: SessionData>(data: &DataMap) -> Result<T, DataError> {
    if data.is_empty() {
        return Ok(T::default());
    }
    if let Ok(value) = decode(&data.to_cbor()) {
        return Ok(value);
    }
    let mut whole = fields(&T::default())?;
    for (key, value) in data.iter() {
        whole.insert_encoded(key, value)?;
    }
    decode(&whole.to_cbor())
}

/// Returns a value's fields by name.
fn fields<T: SessionData>(value: &T) -> Result<DataMap, DataError> {
    DataMap::from_fields(value)
}

/// Writes the fields that changed, and removes those that are absent after the change.
fn write(data: &mut DataMap, before: &DataMap, after: &DataMap) -> Result<(), SessionError> {
    for (key, value) in after.iter() {
        if before.get_encoded(key) != Some(value) {
            data.insert_encoded(key, value)?;
        }
    }
    for key in before.keys().filter(|key| !after.contains_key(key)) {
        data.remove(key);
    }
    Ok(())
}
