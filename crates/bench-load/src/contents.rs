//! The contents of a session: 2048 bytes in five keys, of which a request reads or changes the first.

use std::sync::atomic::{AtomicU64, Ordering};

/// The route that logs in and fills a session.
pub const FILL: &str = "/fill";
/// The route that reads one value.
pub const READ: &str = "/read";
/// The route that changes one value.
pub const WRITE: &str = "/write";

/// The key of a number, which takes 8 bytes.
pub const COUNT: &str = "count";
/// The number's first value: a session that is lost begins at 0.
pub const FIRST_COUNT: u64 = 4711 << 32;
/// The keys of the texts.
pub const TEXTS: [&str; 4] = ["name", "cart", "recent", "note"];
/// The bytes of each text.
pub const TEXT_LEN: usize = 510;

const _: () = assert!(TEXT_LEN * TEXTS.len() + 8 == 2048, "2 KB in all");

/// A text like no other: what a session holds does not get smaller by compression, which PostgreSQL would try.
#[must_use]
pub fn text() -> String {
    static SEED: AtomicU64 = AtomicU64::new(0);
    let seed = SEED.fetch_add(1, Ordering::Relaxed);
    (0..TEXT_LEN as u64).map(|at| letter(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(at))).collect()
}

/// One of 64 letters, digits and signs.
fn letter(number: u64) -> char {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    char::from(LETTERS[usize::try_from(mixed >> 58).unwrap_or_default()])
}

/// A handler's status: whether it saw its session.
#[must_use]
pub fn status(count: Option<u64>) -> u16 {
    if count >= Some(FIRST_COUNT) { 200 } else { 401 }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn texts_are_as_long_as_they_should_be_and_differ() {
        let (one, other) = (text(), text());
        assert_eq!([one.len(), other.len()], [TEXT_LEN; 2]);
        assert_ne!(one, other);
    }
}
