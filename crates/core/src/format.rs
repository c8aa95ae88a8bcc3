//! Every label, offset, size and limit of the format, version 1.
//!
//! ```text
//! token     = version(1) | seal_key_id(4) | fingerprint_key_id(4) | nonce(24) | ciphertext | tag(16) | issue(16)
//! plaintext = session_id(16) | handoff_key(32) | generation(u32) | issued_at(u64 ms) | expires_at(u64 ms)
//!           | meta_len(u16) | meta | data_len(u16) | data | bloat
//! mark key  = HKDF-SHA256(salt = subkey "mark" of the seal key, ikm = subkey "fingerprint" of the fingerprint key,
//!           info "secure-sessions/v1/mark")
//! mac       = HMAC-SHA256(mark key, "secure-sessions/v1/fingerprint" | 0x00 | u16 length | context
//!           | token without issue);   issue = mac[0..16];   fingerprint = mac[16..32]
//! handoff   = seal_key_id(4) | nonce(24) | XChaCha20(K, successor token)
//! K         = HMAC-SHA256(subkey "handoff" of the seal key, "secure-sessions/v1/handoff" | 0x01 | session_id
//!           | u16 length | context | handoff_key)
//! subject   = HMAC-SHA256(subkey "subject" of the fingerprint key, u16 length | context of the cookie | name)[0..16]
//! group     = HMAC-SHA256(subkey "group" of the fingerprint key, u16 length | context of the cookie | provider session)[0..16]
//! provider session = SHA-256("secure-sessions/v1/provider session" | u16 length | issuer | sid)[0..16]
//! label     = fingerprint_key_id(4) | nonce(24) | ciphertext | tag(16)
//! reference = secret(32) | length(u16)                                              in the meta map, entry 10: text key -> it
//! blob      = version(1) | ciphertext | tag(16)                                     the AEAD's nonce is 0: a key is used once
//! blob id   = HKDF-SHA256(salt "secure-sessions/v1", ikm secret, info "vault id", 16);   its key: info "vault key", 32
//!
//! device     = SHA-256(algorithm(1)=0x01 | public key(64))[0..16]
//! identifier = algorithm(1) | handle(16) | public key(64) | stamp(20)
//! ticket     = not_after(u64 ms) | device(16) | handle(16) | stamp(20)
//! challenge  = issued_at(u64 ms) | stamp(20)
//! stamp      = fingerprint_key_id(4) | HMAC-SHA256(subkey "device" of the fingerprint key,
//!            u8 length | purpose | the fields before the stamp)[0..16]
//! ```
//!
//! The stamp of a challenge also covers the handle or the device that it is for. A nonce of DPoP is a challenge of the
//! purpose "dpop", for no device: 16 zero bytes.
//!
//! Integers are big-endian. The mark covers every byte of a token under a key that is derived from both of our keys, so the
//! mark authenticates the token. The tag of the AEAD is evidence: if the mark is wrong, it tells a stolen seal key from noise.

/// The version byte that every token starts with.
pub const VERSION: u8 = 0x01;

/// Bytes of a [`SealKey`](crate::SealKey) or [`FingerprintKey`](crate::FingerprintKey).
pub const KEY_LEN: usize = 32;
/// Bytes of a key id.
pub const KEY_ID_LEN: usize = 4;
/// Bytes of an XChaCha20 nonce.
pub const NONCE_LEN: usize = 24;
/// Bytes of a Poly1305 tag.
pub const TAG_LEN: usize = 16;
/// Bytes of the issue mark, the first half of the HMAC over the token.
pub const ISSUE_LEN: usize = 16;
/// Bytes of the fingerprint, the second half of the HMAC over the token.
pub const FINGERPRINT_LEN: usize = 16;
/// Bytes of a session id.
pub const SESSION_ID_LEN: usize = 16;
/// Bytes of a bucket's handoff key.
pub const HANDOFF_KEY_LEN: usize = 32;
/// Bytes of a subject tag and of a public handle, before text encoding.
pub const TAG_TRUNCATED_LEN: usize = 16;
/// Bytes of a CSRF secret, and of the mask in front of each masked CSRF token.
pub const CSRF_LEN: usize = 32;

/// The least number of random bytes in every plaintext.
pub const MIN_BLOAT: usize = 32;
/// Bytes of the seed that a token's bloat is expanded from.
pub const SEED_LEN: usize = 32;
/// The random bytes that sealing a token draws: a nonce and a seed.
pub const SEAL_RANDOM_LEN: usize = NONCE_LEN + SEED_LEN;

/// The most that browsers keep of a cookie: name and value together, in bytes (RFC 6265bis, section 5.6).
pub const BROWSER_LIMIT: usize = 4096;
/// The default limit of name and value together, in bytes. With it, a response's head fits the one memory page (4096 bytes)
/// that nginx reads it into by default, beside 1 kB of other headers.
pub const DEFAULT_LIMIT: usize = 2800;
/// The default step between size classes of the plaintext, in bytes.
pub const DEFAULT_SIZE_STEP: usize = 128;
/// The most bytes of a context (a cookie's name, or `bearer:` and a header's name).
pub const MAX_CONTEXT_LEN: usize = 256;

/// The deepest nesting of a value in the data map.
pub const MAX_DEPTH: usize = 32;
/// The first meta key that is critical: a reader that does not know it refuses the token.
pub const CRITICAL_META: u64 = 32;
/// The longest key of the data map, in bytes.
pub const MAX_KEY_LEN: usize = 256;
/// The longest subject, in bytes.
pub const MAX_SUBJECT_LEN: usize = 512;
/// The longest issuer, and the longest id of a session there, of a [`ProviderSession`](crate::ProviderSession), in bytes.
pub const MAX_PROVIDER_LEN: usize = 2048;
/// Bytes of the digest that a token carries of the session at an identity provider.
pub const PROVIDER_SESSION_LEN: usize = 16;
/// The longest label, in bytes.
pub const MAX_LABEL_LEN: usize = 512;
/// The longest text of a flash message, in bytes.
pub const MAX_FLASH_LEN: usize = 512;
/// The longest binding digest, in bytes.
pub const MAX_BINDING_LEN: usize = 64;
/// Bytes of the digest that [`Keyring::bind`](crate::Keyring::bind) returns: a key id and a truncated HMAC.
pub const BINDING_LEN: usize = KEY_ID_LEN + TAG_TRUNCATED_LEN;

/// Bytes of the secret that a value in the vault is sealed under.
pub const VAULT_SECRET_LEN: usize = 32;
/// Bytes of a reference in a token: the secret, and the length of the value.
pub const REFERENCE_LEN: usize = VAULT_SECRET_LEN + 2;
/// Bytes of the name of a vault, and of the name of a blob in it.
pub const VAULT_ID_LEN: usize = 16;
/// The longest value in the vault, in bytes of its encoding.
pub const MAX_VAULT_VALUE_LEN: usize = u16::MAX as usize;
/// The most bytes that all values of one session take in the vault, before padding.
pub const MAX_VAULT_LEN: usize = 256 * 1024;
/// The most values of one session in the vault.
pub const MAX_VAULT_VALUES: usize = 64;
/// The step between the lengths of blobs, up to [`VAULT_EXACT_UP_TO`].
pub(crate) const VAULT_STEP: usize = 256;
/// The length of a value up to which blobs differ by one step; above, steps grow.
pub(crate) const VAULT_EXACT_UP_TO: usize = 4096;
/// The version byte of a blob.
pub(crate) const BLOB_VERSION: u8 = 0x01;
/// Bytes in front of a blob's ciphertext.
pub(crate) const BLOB_HEAD_LEN: usize = 1;
/// Bytes of a device: the truncated hash of its public key.
pub const DEVICE_LEN: usize = 16;
/// Bytes of a P-256 public key: both coordinates, without the leading 0x04 of SEC 1.
pub const DEVICE_KEY_LEN: usize = 64;
/// Bytes of the stamp at the end of an identifier, a ticket or a challenge: a key id and a truncated HMAC.
pub const DEVICE_STAMP_LEN: usize = KEY_ID_LEN + TAG_TRUNCATED_LEN;
/// Bytes of a device ticket, before text encoding.
pub const DEVICE_TICKET_LEN: usize = 8 + DEVICE_LEN + TAG_TRUNCATED_LEN + DEVICE_STAMP_LEN;
/// Bytes of the identifier that a browser knows a device-bound session by, before text encoding.
pub const DEVICE_IDENTIFIER_LEN: usize = 1 + TAG_TRUNCATED_LEN + DEVICE_KEY_LEN + DEVICE_STAMP_LEN;
/// Bytes of a challenge to a device, before text encoding.
pub const DEVICE_CHALLENGE_LEN: usize = 8 + DEVICE_STAMP_LEN;
/// The longest proof that a device may send, in characters. Browsers send fewer than 700.
pub const MAX_PROOF_LEN: usize = 4096;

/// The most superseded tokens that a bucket remembers as alive.
pub const MAX_RETIRED: usize = 128;

/// The text in front of a seal key.
pub const SEAL_KEY_PREFIX: &str = "sealk1_";
/// The text in front of a fingerprint key.
pub const FINGERPRINT_KEY_PREFIX: &str = "fpk1_";

pub(crate) const KDF_SALT: &[u8] = b"secure-sessions/v1";
pub(crate) const INFO_KEY_ID: &[u8] = b"key id";
pub(crate) const INFO_SEAL: &[u8] = b"seal";
pub(crate) const INFO_MARK: &[u8] = b"mark";
pub(crate) const INFO_HANDOFF: &[u8] = b"handoff";
pub(crate) const INFO_FINGERPRINT: &[u8] = b"fingerprint";
pub(crate) const INFO_SUBJECT: &[u8] = b"subject";
pub(crate) const INFO_GROUP: &[u8] = b"group";
pub(crate) const INFO_CSRF: &[u8] = b"csrf";
/// The bytes that the HMAC of a CSRF token covers before the ids, if the request presents sessions and is served none of them.
pub(crate) const CSRF_REFUSED: &[u8] = b"refused";
pub(crate) const INFO_LABEL: &[u8] = b"label";
pub(crate) const INFO_HANDLE: &[u8] = b"handle";
pub(crate) const INFO_BINDING: &[u8] = b"binding";
pub(crate) const INFO_VAULT_ID: &[u8] = b"vault id";
pub(crate) const INFO_VAULT_KEY: &[u8] = b"vault key";
pub(crate) const INFO_VAULT_OWNER: &[u8] = b"vault";
pub(crate) const INFO_DEVICE: &[u8] = b"device";

pub(crate) const TOKEN_LABEL: &[u8] = b"secure-sessions/v1/token";
pub(crate) const MARK_LABEL: &[u8] = b"secure-sessions/v1/mark";
pub(crate) const FINGERPRINT_LABEL: &[u8] = b"secure-sessions/v1/fingerprint";
pub(crate) const HANDOFF_LABEL: &[u8] = b"secure-sessions/v1/handoff";
pub(crate) const HANDOFF_VERSION: u8 = 0x01;
pub(crate) const PROVIDER_LABEL: &[u8] = b"secure-sessions/v1/provider session";
pub(crate) const LABEL_LABEL: &[u8] = b"secure-sessions/v1/label";
pub(crate) const VAULT_LABEL: &[u8] = b"secure-sessions/v1/vault";

/// The algorithm ES256 in an identifier, and in the hash of a device's key.
pub(crate) const ES256: u8 = 0x01;
// The purposes of stamps.
pub(crate) const STAMP_IDENTIFIER: &[u8] = b"identifier";
pub(crate) const STAMP_TICKET: &[u8] = b"ticket";
pub(crate) const STAMP_REGISTRATION: &[u8] = b"registration";
pub(crate) const STAMP_REFRESH: &[u8] = b"refresh";
pub(crate) const STAMP_DPOP: &[u8] = b"dpop";

// Offsets in a token.
pub(crate) const SEAL_KEY_ID_AT: usize = 1;
pub(crate) const FINGERPRINT_KEY_ID_AT: usize = SEAL_KEY_ID_AT + KEY_ID_LEN;
pub(crate) const NONCE_AT: usize = FINGERPRINT_KEY_ID_AT + KEY_ID_LEN;
pub(crate) const CIPHERTEXT_AT: usize = NONCE_AT + NONCE_LEN;

// Offsets in a plaintext.
pub(crate) const HANDOFF_KEY_AT: usize = SESSION_ID_LEN;
pub(crate) const GENERATION_AT: usize = HANDOFF_KEY_AT + HANDOFF_KEY_LEN;
pub(crate) const ISSUED_AT_AT: usize = GENERATION_AT + 4;
pub(crate) const EXPIRES_AT_AT: usize = ISSUED_AT_AT + 8;
pub(crate) const META_LEN_AT: usize = EXPIRES_AT_AT + 8;
pub(crate) const META_AT: usize = META_LEN_AT + 2;

/// Bytes that a token adds to its plaintext.
pub const TOKEN_OVERHEAD: usize = CIPHERTEXT_AT + TAG_LEN + ISSUE_LEN;
/// Bytes of a plaintext besides meta, data and bloat.
pub const PLAINTEXT_FIXED: usize = META_AT + 2;
/// The shortest plaintext: an empty map each for meta and data, and the least bloat.
pub const MIN_PLAINTEXT: usize = PLAINTEXT_FIXED + 1 + 1 + MIN_BLOAT;
/// The shortest token, in bytes.
pub const MIN_TOKEN: usize = TOKEN_OVERHEAD + MIN_PLAINTEXT;
/// The longest token, in bytes: as base64url, beside a name of one byte, it just fits [`BROWSER_LIMIT`].
pub const MAX_TOKEN: usize = (BROWSER_LIMIT - 1) * 3 / 4;
/// Bytes that a handoff adds to the token that it seals.
pub const HANDOFF_OVERHEAD: usize = KEY_ID_LEN + NONCE_LEN;
/// Bytes that sealing adds to a label's text.
pub const LABEL_OVERHEAD: usize = KEY_ID_LEN + NONCE_LEN + TAG_LEN;

const _: () = {
    assert!(TOKEN_OVERHEAD == 65);
    assert!(PLAINTEXT_FIXED == 72);
    assert!(DEFAULT_LIMIT <= BROWSER_LIMIT);
    assert!(MIN_TOKEN < MAX_TOKEN);
    // Every length in a plaintext fits its u16.
    assert!(MAX_TOKEN <= u16::MAX as usize);
    assert!(ISSUE_LEN + FINGERPRINT_LEN == 32);
    assert!(MAX_PROVIDER_LEN <= u16::MAX as usize);
    assert!(MAX_DEPTH < 256);
    assert!(MAX_VAULT_VALUE_LEN <= u16::MAX as usize && MAX_VAULT_VALUE_LEN <= MAX_VAULT_LEN);
    assert!(BINDING_LEN < MAX_BINDING_LEN);
    // The HMAC of a ticket is one that every request of a bound session computes: it takes one block, with padding.
    assert!(1 + STAMP_TICKET.len() + DEVICE_TICKET_LEN - DEVICE_STAMP_LEN <= 64 - 9);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_page_has_every_label_that_a_reader_of_tokens_needs() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../session/src/guide/protocol.md");
        let page = std::fs::read_to_string(page).expect("the page");
        for label in [
            SEAL_KEY_PREFIX.as_bytes(),
            FINGERPRINT_KEY_PREFIX.as_bytes(),
            KDF_SALT,
            INFO_KEY_ID,
            INFO_SEAL,
            INFO_MARK,
            INFO_HANDOFF,
            INFO_FINGERPRINT,
            INFO_SUBJECT,
            INFO_GROUP,
            INFO_CSRF,
            CSRF_REFUSED,
            INFO_HANDLE,
            INFO_VAULT_ID,
            INFO_VAULT_KEY,
            INFO_VAULT_OWNER,
            TOKEN_LABEL,
            MARK_LABEL,
            FINGERPRINT_LABEL,
            HANDOFF_LABEL,
            PROVIDER_LABEL,
            VAULT_LABEL,
        ] {
            let quoted = format!("\"{}\"", label.escape_ascii());
            assert!(page.contains(&quoted), "{quoted}");
        }
        for length in [MIN_TOKEN, MAX_TOKEN] {
            assert!(page.contains(&length.to_string()), "{length}");
        }
    }
}
