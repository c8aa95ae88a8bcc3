//! Indexes: Memcached cannot list keys, so an index is one value, with a line for each place.
//!
//! ```text
//! until(16) | added(16) | ID/NONCE
//! ```
//!
//! Both times are milliseconds in hexadecimal digits: when the place is no longer needed, and when it was added.

use secure_sessions_core::Timestamp;

const TIME_LEN: usize = 16;

/// A place in an index.
pub(super) struct Place {
    pub(super) until: Timestamp,
    pub(super) added: Timestamp,
    /// The rest of its key, behind that of the index.
    pub(super) name: String,
}

/// Splits the key of a place, `PREFIX/i/TAG/ID/NONCE`, into that of its index and its name there.
pub(super) fn split(key: &str) -> Option<(&str, &str)> {
    let (prefix, rest) = key.split_once("/i/")?;
    let (tag, name) = rest.split_once('/')?;
    Some((&key[..prefix.len() + "/i/".len() + tag.len()], name))
}

/// Returns the key of the session that a place of this index leads to.
pub(super) fn session(index: &str, place: &Place) -> Option<String> {
    let (prefix, _) = index.split_once("/i/")?;
    let (id, _) = place.name.split_once('/')?;
    Some(format!("{prefix}/s/{id}"))
}

/// Returns the places in an index. A line that cannot be read is none.
pub(super) fn parse(value: &[u8]) -> Vec<Place> {
    let lines = value.split(|byte| *byte == b'\n').filter_map(|line| {
        let (until, rest) = line.split_first_chunk::<TIME_LEN>()?;
        let (added, name) = rest.split_first_chunk::<TIME_LEN>()?;
        Some(Place { until: time(until)?, added: time(added)?, name: String::from_utf8(name.to_vec()).ok()? })
    });
    lines.collect()
}

pub(super) fn to_bytes(places: &[Place]) -> Vec<u8> {
    let line =
        |place: &Place| format!("{:016x}{:016x}{}\n", place.until.as_millis(), place.added.as_millis(), place.name);
    places.iter().map(line).collect::<String>().into_bytes()
}

fn time(digits: &[u8]) -> Option<Timestamp> {
    let millis = u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    Some(Timestamp::from_millis(millis))
}
