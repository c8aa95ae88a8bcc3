//! The binding of a session to its client: a keyed digest of properties that every request shows.
//!
//! ```text
//! binding = fingerprint_key_id(4) | HMAC-SHA256(binding subkey, session_id(16) | properties)[0..16]
//! ```
//!
//! The digest is keyed, so an attacker who opens a captured token with the seal key cannot try out addresses against it. It
//! covers the session's id, so two sessions of one client do not look alike.

use subtle::ConstantTimeEq;

use crate::format::{BINDING_LEN, KEY_ID_LEN};
use crate::ids::{KeyId, SessionId};
use crate::keyring::{FingerprintSubkeys, Keyring};

impl Keyring {
    /// Returns the digest of a client's properties that a token of this session carries, under the active key.
    #[must_use]
    pub fn bind(&self, id: &SessionId, properties: &[u8]) -> [u8; BINDING_LEN] {
        digest(self.active_fingerprint(), id, properties)
    }

    /// Returns `true` if `binding` is the digest of these properties under the key that it names; compares in constant time.
    #[must_use]
    pub fn is_bound_to(&self, binding: &[u8], id: &SessionId, properties: &[u8]) -> bool {
        let Some(key_id) = binding.first_chunk::<KEY_ID_LEN>() else { return false };
        self.fingerprint(KeyId::from_bytes(*key_id))
            .is_some_and(|key| digest(key, id, properties).as_slice().ct_eq(binding).into())
    }
}

fn digest(key: &FingerprintSubkeys, id: &SessionId, properties: &[u8]) -> [u8; BINDING_LEN] {
    let mut binding = [0; BINDING_LEN];
    let (key_id, mac) = binding.split_at_mut(KEY_ID_LEN);
    key_id.copy_from_slice(key.id.as_bytes());
    mac.copy_from_slice(&key.binding.truncated(&[id.as_bytes(), properties]));
    binding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::ring;

    #[test]
    fn a_binding_is_of_one_session_one_client_and_a_key_that_is_still_there() {
        let (old, both, new) = (ring(&[1]), ring(&[2, 1]), ring(&[2]));
        let (a, b) = (SessionId::from_bytes([1; 16]), SessionId::from_bytes([2; 16]));
        let binding = old.bind(&a, b"firefox");
        assert!(old.is_bound_to(&binding, &a, b"firefox"));
        assert!(both.is_bound_to(&binding, &a, b"firefox"), "an accepted key still checks");
        assert!(!new.is_bound_to(&binding, &a, b"firefox"), "a dropped one does not");
        assert!(!old.is_bound_to(&binding, &a, b"chrome"));
        assert!(!old.is_bound_to(&binding, &b, b"firefox"));
        assert_ne!(binding, old.bind(&b, b"firefox"), "two sessions of one client do not look alike");
        for cut in 0..BINDING_LEN {
            assert!(!old.is_bound_to(&binding[..cut], &a, b"firefox"));
        }
        let longer = [&binding[..], &[0]].concat();
        assert!(!old.is_bound_to(&longer, &a, b"firefox"));
    }
}
