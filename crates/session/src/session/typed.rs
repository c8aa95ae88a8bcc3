//! A typed view of a session: the fields of one type are its top-level keys.

use std::fmt;
use std::ops::Deref;

use secure_sessions_core::{DataError, DataMap, decode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::SessionError;
use crate::event::Event;
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
    /// `true` if a field of another type counts as absent instead of being an error.
    lenient: bool,
    /// The keys that count as absent.
    unreadable: Vec<String>,
}

impl<T: SessionData> Typed<T> {
    /// Creates a view by decoding the session's data.
    ///
    /// # Errors
    ///
    /// [`SessionError::Data`] if a field is of another type. Nothing is changed.
    pub fn new(session: Session) -> Result<Self, SessionError> {
        let value = read(&session.data())?;
        Ok(Self { session, value, lenient: false, unreadable: Vec::new() })
    }

    /// Creates a view in which a field of another type counts as absent: it has the value of `T::default()`, and an
    /// [`Event::Unreadable`] is raised. Nothing is written before the next change through the view, which replaces
    /// those fields.
    ///
    /// Use it if a release changed the type of a field. Sessions of the release before would otherwise be answered with
    /// 500 until they end.
    ///
    /// # Changing the shape
    ///
    /// You can keep the value instead, if serde reads both shapes:
    ///
    /// | change | what to write |
    /// | --- | --- |
    /// | a new field | nothing: it comes from `T::default()` |
    /// | a field less | nothing: a key that is no field is left alone |
    /// | another name | `#[serde(alias = "old_name")]` |
    /// | another type | `#[serde(deserialize_with = "...")]`, which reads both: see the example |
    /// | a change that cannot be undone | a new name; read the old key by [`Session::take`] |
    ///
    /// While old and new releases run side by side, both must read what the other one writes: release the reading of
    /// the new shape first, and the writing of it next.
    ///
    /// ```
    /// use secure_sessions::{Session, SessionError, Typed};
    /// use serde::{Deserialize, Deserializer, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Item {
    ///     id: u32,
    ///     count: u32,
    /// }
    ///
    /// #[derive(Default, Serialize, Deserialize)]
    /// struct Shop {
    ///     /// Was a `Vec<u32>` of ids until release 2: those are read as one item each.
    ///     #[serde(deserialize_with = "items")]
    ///     cart: Vec<Item>,
    ///     /// Was a number until release 3. Nobody misses it.
    ///     currency: Option<String>,
    /// }
    ///
    /// fn items<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Item>, D::Error> {
    ///     #[derive(Deserialize)]
    ///     #[serde(untagged)]
    ///     enum Either {
    ///         New(Item),
    ///         Old(u32),
    ///     }
    ///     let items = Vec::<Either>::deserialize(deserializer)?;
    ///     Ok(items.into_iter().map(|item| match item {
    ///         Either::New(item) => item,
    ///         Either::Old(id) => Item { id, count: 1 },
    ///     }).collect())
    /// }
    ///
    /// fn first_item(session: &Session) -> Result<Option<u32>, SessionError> {
    ///     let shop = Typed::<Shop>::or_default(session.clone())?;
    ///     Ok(shop.cart.first().map(|item| item.id))
    /// }
    /// # use secure_sessions::testing;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), SessionError> {
    /// # let (manager, _) = testing::manager();
    /// # testing::session(&manager).insert("cart", [7]).insert("currency", 978).with(|session| {
    /// #     assert_eq!(first_item(session)?, Some(7));
    /// #     assert!(Typed::<Shop>::new(session.clone()).is_err());
    /// #     Ok(())
    /// # }).cookie().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::Data`] if `T::default()` itself cannot be read back.
    pub fn or_default(session: Session) -> Result<Self, SessionError> {
        let (value, unreadable) = read_or_default::<T>(&session.data())?;
        if !unreadable.is_empty() {
            // Names of the type's own. A key that is no field may hold anything.
            let own = DataMap::from_fields(&T::default())?;
            let names = unreadable.iter().filter(|key| own.contains_key(key)).cloned().collect();
            let handle = session.id();
            session.request().manager.emit(&Event::Unreadable { session: handle, fields: names });
        }
        Ok(Self { session, value, lenient: true, unreadable })
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
        let lenient = self.lenient;
        let read = move |data: &DataMap| {
            if lenient { read_or_default::<T>(data) } else { Ok((read::<T>(data)?, Vec::new())) }
        };
        let result = self.session.change(move |data| {
            let (mut value, unreadable) = read(data)?;
            let before = fields_but(&value, &unreadable)?;
            let result = change(&mut value);
            write(data, &before, &DataMap::from_fields(&value)?)?;
            Ok(result)
        })?;
        (self.value, self.unreadable) = read(&self.session.data())?;
        Ok(result)
    }

    /// Replaces the value; only the fields that differ from the view are written.
    ///
    /// # Errors
    ///
    /// The errors of [`Session::insert`].
    pub fn set(&mut self, value: T) -> Result<(), SessionError> {
        let (before, after) = (fields_but(&self.value, &self.unreadable)?, DataMap::from_fields(&value)?);
        self.session.change(move |data| write(data, &before, &after))?;
        self.value = value;
        self.unreadable.clear();
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
    let mut whole = DataMap::from_fields(&T::default())?;
    for (key, value) in data.iter() {
        whole.insert_encoded(key, value)?;
    }
    decode(&whole.to_cbor())
}

/// Decodes a `T` as [`read`] does, with the default's fields also for those that are of another type. Returns their
/// keys.
fn read_or_default<T: SessionData>(data: &DataMap) -> Result<(T, Vec<String>), DataError> {
    if let Ok(value) = read(data) {
        return Ok((value, Vec::new()));
    }
    let mut unreadable = Vec::new();
    let mut whole = DataMap::from_fields(&T::default())?;
    for (key, value) in data.iter() {
        // Tried one by one, because an error does not name the field for certain.
        let mut with = whole.clone();
        with.insert_encoded(key, value)?;
        match decode::<T>(&with.to_cbor()) {
            Ok(_) => whole = with,
            Err(_) => unreadable.push(key.to_owned()),
        }
    }
    Ok((decode(&whole.to_cbor())?, unreadable))
}

/// Returns a value's fields without those that could not be read, so that the next [`write`] replaces them.
fn fields_but<T: SessionData>(value: &T, unreadable: &[String]) -> Result<DataMap, DataError> {
    let mut fields = DataMap::from_fields(value)?;
    unreadable.iter().for_each(|key| {
        fields.remove(key);
    });
    Ok(fields)
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
