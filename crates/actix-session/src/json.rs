//! Translates between the session's values and the JSON texts that actix-session keeps.

use secure_sessions_actix::secure_sessions::Session;
use secure_sessions_actix::{DataError, EngineError};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

/// Returns the values that JSON can hold, by key. The others, such as byte strings, are left out: only the native
/// session shows them.
pub(crate) fn values(session: &Session) -> impl Iterator<Item = (String, Value)> {
    session.keys().into_iter().filter_map(|key| Some((session.get(&key).ok()??, key))).map(|(value, key)| (key, value))
}

/// Puts a JSON text into the session as the value that it stands for.
pub(crate) fn insert(session: &Session, key: &str, text: &str) -> Result<(), EngineError> {
    let value: Value = serde_json::from_str(text).map_err(|error| DataError::Serialize(error.to_string()))?;
    session.insert(key, Stored(&value))
}

/// A JSON value as the session stores it. Numbers stay numbers, also where another crate has turned on the
/// `arbitrary_precision` of serde_json.
struct Stored<'v>(&'v Value);

impl Serialize for Stored<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), ..) => serializer.serialize_u64(number),
                (_, Some(number), _) => serializer.serialize_i64(number),
                (.., Some(number)) => serializer.serialize_f64(number),
                _ => serializer.serialize_unit(),
            },
            Value::String(text) => serializer.serialize_str(text),
            Value::Array(items) => {
                let mut sequence = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| sequence.serialize_element(&Stored(item)))?;
                sequence.end()
            }
            Value::Object(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, value)| map.serialize_entry(key, &Stored(value)))?;
                map.end()
            }
        }
    }
}
