//! The log's bytes: a frame for each write, so that a write is read back whole or not at all.
//!
//! ```text
//! frame  = length(u32) | checksum(u64) | change...
//! change = length(u32) | key | length(u32, all ones: removed) | value
//! ```

use std::collections::BTreeMap;

/// The values as a log leaves them.
pub(crate) type Values = BTreeMap<String, Vec<u8>>;

const REMOVED: u32 = u32::MAX;
const HEAD: usize = 4 + 8;

/// Returns the frame of these changes.
pub(crate) fn of<'a>(changes: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in changes {
        body.extend_from_slice(&length(key.as_bytes()).to_be_bytes());
        body.extend_from_slice(key.as_bytes());
        body.extend_from_slice(&value.map_or(REMOVED, length).to_be_bytes());
        body.extend_from_slice(value.unwrap_or_default());
    }
    [&length(&body).to_be_bytes()[..], &checksum(&body).to_be_bytes(), &body].concat()
}

/// Returns a log that leaves these values.
pub(crate) fn of_values(values: &Values) -> Vec<u8> {
    values.iter().flat_map(|(key, value)| of([(key.as_str(), Some(value.as_slice()))].into_iter())).collect()
}

pub(crate) fn apply(values: &mut Values, key: &str, new: Option<&[u8]>) {
    match new {
        Some(value) => drop(values.insert(key.to_owned(), value.to_vec())),
        None => drop(values.remove(key)),
    }
}

/// Reads a log, up to the first frame that is not whole.
pub(crate) fn read_all(mut log: &[u8], values: &mut Values) {
    while let Some((body, rest)) = first(log) {
        let mut changes = body;
        while let Some((key, new, rest)) = change(changes) {
            apply(values, key, new);
            changes = rest;
        }
        log = rest;
    }
}

fn first(log: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = log.split_at_checked(HEAD)?;
    let (length, sum) = head.split_first_chunk::<4>()?;
    let (body, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    (sum == checksum(body).to_be_bytes()).then_some((body, rest))
}

/// The key and value of a change, and what is behind it.
type Split<'a> = (&'a str, Option<&'a [u8]>, &'a [u8]);

fn change(body: &[u8]) -> Option<Split<'_>> {
    let (length, rest) = body.split_first_chunk::<4>()?;
    let (key, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let key = str::from_utf8(key).ok()?;
    match u32::from_be_bytes(*length) {
        REMOVED => Some((key, None, rest)),
        length => {
            let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            Some((key, Some(value), rest))
        }
    }
}

/// No value comes near four gigabytes.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(REMOVED - 1)
}

/// FNV-1a: it finds what a crash has cut off, and is no protection against anybody.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
