//! Cookie headers: tokens of two sessions, older ones, ended ones, changed ones and garbage, in any order and number.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use secure_sessions_core::{DecodeError, Token};
use secure_sessions_fuzz::site::{CONTEXT, Known, Site};

/// The most tokens with a wrong mark whose buckets one request asks.
const MAX_SUSPECTS: u64 = 4;

#[derive(Arbitrary, Debug)]
enum Piece<'a> {
    /// One of our cookies, as it was set.
    Ours(Known),
    /// The same with one byte replaced.
    Changed(Known, u16, u8),
    /// Garbage under our name.
    Garbage(&'a [u8]),
    /// Another cookie, or something that is none at all.
    Other(&'a [u8]),
    /// The next cookie stands in a header of its own.
    NewHeader,
}

thread_local! {
    static SITE: Site = Site::new();
}

fuzz_target!(|pieces: Vec<Piece<'_>>| SITE.with(|site| check(site, &pieces)));

fn check(site: &Site, pieces: &[Piece<'_>]) {
    let mut headers: Vec<Vec<u8>> = vec![Vec::new()];
    let mut values: Vec<Value> = Vec::new();
    for piece in pieces {
        let cookie = match piece {
            Piece::Ours(known) => {
                values.push(Value::Token(*known));
                ours(site.token(*known).as_bytes())
            }
            Piece::Changed(known, at, byte) => {
                let mut token = site.token(*known).as_bytes().to_vec();
                let at = usize::from(*at) % token.len();
                // The header would be cut there.
                let unchanged = token[at] == *byte || *byte == b';';
                token[at] = if unchanged { token[at] } else { *byte };
                values.push(if unchanged { Value::Token(*known) } else { Value::Changed });
                ours(&token)
            }
            Piece::Garbage(bytes) => {
                let bytes = without_semicolons(bytes);
                // A blank at an end, or a later version of the format, makes a value that is left alone.
                let is_sure = bytes.trim_ascii().len() == bytes.len()
                    && !matches!(Token::decode(&bytes), Err(DecodeError::LaterVersion { .. }));
                values.push(if is_sure { Value::Garbage } else { Value::Changed });
                ours(&bytes)
            }
            Piece::Other(bytes) => {
                let bytes = without_semicolons(bytes);
                if bytes.trim_ascii_start().starts_with(ours(b"").as_slice()) {
                    continue;
                }
                bytes
            }
            Piece::NewHeader => {
                headers.push(Vec::new());
                continue;
            }
        };
        let Some(header) = headers.last_mut() else { continue };
        if !header.is_empty() {
            header.extend_from_slice(b"; ");
        }
        header.extend_from_slice(&cookie);
    }
    // There are fewer sessions than one request may ask about, and whatever does not open does not count.
    let looked_at = &values[..];
    let seen = site.visit(&headers);

    let has = |known| looked_at.contains(&Value::Token(known));
    let alice = has(Known::Alice) || has(Known::AliceEarlier);
    let subject = match (alice, has(Known::Bob)) {
        (true, false) => Some("alice"),
        (false, true) => Some("bob"),
        // Two sessions at once are nobody.
        _ => None,
    };
    assert_eq!(seen.subject.as_deref(), subject, "{looked_at:?}");
    assert_eq!(seen.name.as_deref(), subject, "the data of somebody else");
    assert_eq!(seen.writes, 0, "a read wrote");

    // Only issued tokens reach the store, each session once; a token whose mark alone was changed asks its bucket once. The
    // holder of an older token is given the newest one of the response's own time: the store is asked for it again.
    let outdated = subject == Some("alice") && !has(Known::Alice);
    let asked = [alice, has(Known::Bob), has(Known::Ended), outdated];
    let asked = asked.iter().filter(|asked| **asked).count() as u64;
    let changed = looked_at.iter().filter(|value| **value == Value::Changed).count() as u64;
    assert!((asked..=asked + changed.min(MAX_SUSPECTS)).contains(&seen.loads), "{} loads of {looked_at:?}", seen.loads);

    match seen.set_cookie.as_deref() {
        // A removal.
        Some(cookie) if cookie.contains("Max-Age=0") => {
            assert!(!looked_at.iter().any(|value| matches!(value, Value::Token(_))), "removed {looked_at:?}");
        }
        // The newest token, for someone who does not have it.
        Some(cookie) => {
            assert!(outdated, "set with {looked_at:?}");
            assert!(cookie.starts_with(&format!("{CONTEXT}={}; ", site.token(Known::Alice))), "not the newest token");
        }
        None => {
            let only_garbage = !looked_at.is_empty() && looked_at.iter().all(|value| *value == Value::Garbage);
            assert!(!only_garbage && !outdated, "no cookie with {looked_at:?}");
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    Token(Known),
    Changed,
    Garbage,
}

fn ours(value: &[u8]) -> Vec<u8> {
    [CONTEXT.as_bytes(), b"=", value].concat()
}

fn without_semicolons(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| *byte != b';').collect()
}
