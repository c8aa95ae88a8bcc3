//! Key texts, as they come from an environment: one spelling for each key, and no message repeats a secret.

#![no_main]

use libfuzzer_sys::fuzz_target;
use secure_sessions_core::{FingerprintKey, KeyState, Keyring, SealKey};

/// The number of characters in a row that are more of a key than the words of any message: 90 bits.
const TELLING: usize = 15;

fuzz_target!(|text: &str| {
    let mut lists = text.splitn(3, ';');
    let mut list = || lists.next().unwrap_or_default();
    let (seal, fingerprint, compromised) = (list(), list(), list());

    for word in words(text) {
        if let Ok(key) = word.parse::<SealKey>() {
            assert_eq!(key.to_text().as_str(), word, "two spellings of one key");
        }
        if let Ok(key) = word.parse::<FingerprintKey>() {
            assert_eq!(key.to_text().as_str(), word, "two spellings of one key");
        }
    }

    let built = Keyring::builder().parse(seal, fingerprint, compromised).and_then(|builder| builder.build());
    match built {
        Ok(keyring) => {
            let states: Vec<_> = keyring.states().collect();
            assert_eq!(states.iter().filter(|(_, _, state)| *state == KeyState::Active).count(), 2);
            let mut ids: Vec<_> = states.iter().map(|(_, id, _)| id).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), states.len(), "two keys with one id");
            assert!(states.len() <= words(text).count());
        }
        Err(error) => {
            let message = error.to_string();
            for word in text.split(|c: char| !is_base64url(c)).filter(|word| word.len() >= TELLING) {
                let leaked = (0..=word.len() - TELLING).find(|at| message.contains(&word[*at..at + TELLING]));
                assert!(leaked.is_none(), "the error repeats what may be a key");
            }
        }
    }
});

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c == ';' || c.is_whitespace()).filter(|word| !word.is_empty())
}

fn is_base64url(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}
