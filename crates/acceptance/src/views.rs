//! The JSON that the handlers answer about a session.

use ciborium::Value as Cbor;
use secure_sessions::{Session, SessionError};
use serde_json::{Map, Value, json};

/// The session as the handler sees it.
///
/// # Errors
///
/// None in practice: any value can be read as CBOR.
pub fn state(session: &Session) -> Result<Value, SessionError> {
    let mut data = Map::new();
    for (key, _) in session.snapshot().iter() {
        let value = session.get::<Cbor>(key)?.unwrap_or(Cbor::Null);
        data.insert(key.to_owned(), shown(&value));
    }
    Ok(json!({
        "data": data,
        "subject": session.subject(),
        "new": session.is_new(),
        "ended": session.was_ended(),
    }))
}

/// Counts one more under the key.
pub(crate) fn incremented(session: &Session, key: &str) -> Result<u64, SessionError> {
    session.update(key, |n: &mut u64| {
        *n += 1;
        *n
    })
}

/// Any value as JSON; what JSON does not know becomes an object that names its kind.
#[must_use]
pub fn shown(value: &Cbor) -> Value {
    match value {
        Cbor::Null => Value::Null,
        Cbor::Bool(value) => json!(value),
        Cbor::Text(text) => json!(text),
        Cbor::Bytes(bytes) => json!({ "bytes": bytes }),
        Cbor::Float(float) => json!(float),
        Cbor::Integer(integer) => {
            let integer = i128::from(*integer);
            u64::try_from(integer)
                .map(|n| json!(n))
                .or_else(|_| i64::try_from(integer).map(|n| json!(n)))
                .unwrap_or_else(|_| json!({ "integer": integer.to_string() }))
        }
        Cbor::Array(items) => items.iter().map(shown).collect(),
        Cbor::Map(entries) => {
            let text = |key: &Cbor| key.as_text().map_or_else(|| shown(key).to_string(), str::to_owned);
            Value::Object(entries.iter().map(|(key, value)| (text(key), shown(value))).collect())
        }
        Cbor::Tag(tag, value) => json!({ "tag": tag, "value": shown(value) }),
        other => json!({ "other": format!("{other:?}") }),
    }
}
