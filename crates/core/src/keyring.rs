//! The keys in force, each with its state and its subkeys.

use core::fmt;

use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use crate::aead::AeadKey;
use crate::format::{
    FINGERPRINT_KEY_PREFIX, INFO_BINDING, INFO_CSRF, INFO_DEVICE, INFO_FINGERPRINT, INFO_GROUP, INFO_HANDLE,
    INFO_HANDOFF, INFO_LABEL, INFO_MARK, INFO_SEAL, INFO_SUBJECT, KEY_LEN,
};
use crate::ids::{KeyId, RandomError};
use crate::keys::{FingerprintKey, KeyParseError, SealKey};
use crate::mac::MacKey;
use crate::secret::wipe_stack;

/// The state of a key: its permitted uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyState {
    /// The first key of its kind: seals and opens.
    Active,
    /// A key that opens; the next rotation seals again under the active key.
    Accepted,
    /// A leaked key. Opens tokens that a bucket vouches for; they are issued again at once under the active key.
    Compromised,
}

/// The kind of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// A [`SealKey`].
    Seal,
    /// A [`FingerprintKey`].
    Fingerprint,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seal => "seal",
            Self::Fingerprint => "fingerprint",
        })
    }
}

/// An error in keys that do not make a keyring.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// There is no key of this kind to seal with.
    #[error(
        "no active {kind} key: list at least one {kind} key that is not compromised (the first in the list is the active one)"
    )]
    NoActiveKey {
        /// The kind that is missing.
        kind: KeyKind,
    },
    /// The first key of a list is also listed as compromised.
    #[error(
        "the active {kind} key {id} is listed as compromised: put a new key first in the list, and keep {id} in the list of compromised keys"
    )]
    ActiveKeyCompromised {
        /// The kind of the key.
        kind: KeyKind,
        /// The key.
        id: KeyId,
    },
    /// The same key, or two keys with the same id, are in the ring.
    #[error("key {id} stands twice in the keyring: remove one of the two, or generate a new key if they differ")]
    Duplicate {
        /// The id of both keys.
        id: KeyId,
    },
    /// One of the texts is no key.
    #[error("{kind} key number {position} of the list: {source}")]
    Parse {
        /// The list that has the text: `seal`, `fingerprint` or `compromised`.
        kind: &'static str,
        /// The place in that list, from 1.
        position: usize,
        /// The error in the text.
        source: KeyParseError,
    },
}

/// A builder that collects keys. The first of each kind becomes the active one.
///
/// Each key is in a box of its own and never leaves it: a vector that grows leaves copies of its content behind.
#[derive(Debug, Default, Clone)]
#[expect(clippy::vec_box, reason = "see above")]
pub struct KeyringBuilder {
    seal: Vec<Box<SealKey>>,
    fingerprint: Vec<Box<FingerprintKey>>,
    compromised_seal: Vec<Box<SealKey>>,
    compromised_fingerprint: Vec<Box<FingerprintKey>>,
}

impl KeyringBuilder {
    /// Adds a seal key: the active one if it is the first, else an accepted one.
    #[must_use]
    pub fn seal_key(mut self, key: SealKey) -> Self {
        self.seal.push(Box::new(key));
        self
    }

    /// Adds a fingerprint key: the active one if it is the first, else an accepted one.
    #[must_use]
    pub fn fingerprint_key(mut self, key: FingerprintKey) -> Self {
        self.fingerprint.push(Box::new(key));
        self
    }

    /// Adds a leaked seal key. It may also stand among the accepted ones; this list wins.
    #[must_use]
    pub fn compromised_seal_key(mut self, key: SealKey) -> Self {
        self.compromised_seal.push(Box::new(key));
        self
    }

    /// Adds a leaked fingerprint key. It may also stand among the accepted ones; this list wins.
    #[must_use]
    pub fn compromised_fingerprint_key(mut self, key: FingerprintKey) -> Self {
        self.compromised_fingerprint.push(Box::new(key));
        self
    }

    /// Adds the keys of three lists, separated by commas or white space: seal keys, fingerprint keys, and
    /// compromised keys of either kind.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Parse`] names the list and the place of a text that is no key.
    pub fn parse(mut self, seal: &str, fingerprint: &str, compromised: &str) -> Result<Self, KeyringError> {
        for (position, text) in numbered(seal) {
            let parsed = text.parse().map_err(|source| KeyringError::Parse { kind: "seal", position, source })?;
            self = self.seal_key(parsed);
        }
        for (position, text) in numbered(fingerprint) {
            let parsed =
                text.parse().map_err(|source| KeyringError::Parse { kind: "fingerprint", position, source })?;
            self = self.fingerprint_key(parsed);
        }
        for (position, text) in numbered(compromised) {
            let in_list = |source| KeyringError::Parse { kind: "compromised", position, source };
            self = if text.starts_with(FINGERPRINT_KEY_PREFIX) {
                self.compromised_fingerprint_key(text.parse().map_err(in_list)?)
            } else {
                self.compromised_seal_key(text.parse().map_err(in_list)?)
            };
        }
        Ok(self)
    }

    /// Derives every subkey and checks that the keys make a ring.
    ///
    /// # Errors
    ///
    /// [`KeyringError`] if a kind has no active key, if the active one is compromised, or if two keys are equal or
    /// have the same id.
    pub fn build(self) -> Result<Keyring, KeyringError> {
        let keyring = self.derive();
        // Deriving moves subkeys about. What is built next might take the bytes that they left along to the heap.
        wipe_stack();
        keyring
    }

    #[inline(never)]
    fn derive(self) -> Result<Keyring, KeyringError> {
        let seal = states(KeyKind::Seal, &self.seal, &self.compromised_seal, SealKey::id)?;
        let fingerprint =
            states(KeyKind::Fingerprint, &self.fingerprint, &self.compromised_fingerprint, FingerprintKey::id)?;

        let mut ids: Vec<KeyId> = seal.iter().map(|(_, id, _)| *id).collect();
        ids.extend(fingerprint.iter().map(|(_, id, _)| *id));
        ids.sort_unstable();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(KeyringError::Duplicate { id: pair[0] });
        }
        Ok(Keyring {
            seal: seal.into_iter().map(|(key, id, state)| SealSubkeys::derive(key, id, state)).collect(),
            fingerprint: fingerprint
                .into_iter()
                .map(|(key, id, state)| FingerprintSubkeys::derive(key, id, state))
                .collect(),
        })
    }
}

fn numbered(list: &str) -> impl Iterator<Item = (usize, &str)> {
    list.split(|c: char| c == ',' || c.is_whitespace())
        .filter(|text| !text.is_empty())
        .enumerate()
        .map(|(index, text)| (index + 1, text))
}

type Stated<'k, K> = (&'k K, KeyId, KeyState);

fn states<'k, K>(
    kind: KeyKind,
    usable: &'k [Box<K>],
    compromised: &'k [Box<K>],
    id: impl Fn(&K) -> KeyId,
) -> Result<Vec<Stated<'k, K>>, KeyringError> {
    let leaked: Vec<KeyId> = compromised.iter().map(|key| id(key)).collect();
    let mut keys: Vec<Stated<'k, K>> = Vec::with_capacity(usable.len() + compromised.len());
    for (position, key) in usable.iter().enumerate() {
        let id = id(key);
        match (position, leaked.contains(&id)) {
            (0, true) => return Err(KeyringError::ActiveKeyCompromised { kind, id }),
            (0, false) => keys.push((key, id, KeyState::Active)),
            (_, false) => keys.push((key, id, KeyState::Accepted)),
            (_, true) => {} // Comes with the compromised ones below.
        }
    }
    if keys.is_empty() {
        return Err(KeyringError::NoActiveKey { kind });
    }
    for (key, id) in compromised.iter().zip(leaked) {
        keys.push((key, id, KeyState::Compromised));
    }
    Ok(keys)
}

/// The keys in force. The first of each kind is active; there is always one.
///
/// ```
/// use secure_sessions_core::{Keyring, KeyringError};
///
/// # let (seal, fingerprint) = (
/// #     "sealk1_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
/// #     "fpk1_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8");
/// let keyring = Keyring::builder().parse(seal, fingerprint, "")?.build()?;
/// # Ok::<_, KeyringError>(())
/// ```
#[derive(Debug)]
pub struct Keyring {
    seal: Vec<SealSubkeys>,
    fingerprint: Vec<FingerprintSubkeys>,
}

impl Keyring {
    /// Returns a builder without keys.
    #[must_use]
    pub fn builder() -> KeyringBuilder {
        KeyringBuilder::default()
    }

    /// Generates one new key of each kind. Nobody else has them: after a restart every session is anonymous again.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if the source of randomness fails.
    pub fn generate(rng: &mut (impl TryCryptoRng + ?Sized)) -> Result<Self, RandomError> {
        let (seal, fingerprint) = (SealKey::generate(rng)?, FingerprintKey::generate(rng)?);
        Ok(Self {
            seal: vec![SealSubkeys::derive(&seal, seal.id(), KeyState::Active)],
            fingerprint: vec![FingerprintSubkeys::derive(&fingerprint, fingerprint.id(), KeyState::Active)],
        })
    }

    /// Returns every key's kind, id and state, the active one first of its kind.
    pub fn states(&self) -> impl Iterator<Item = (KeyKind, KeyId, KeyState)> + '_ {
        let seal = self.seal.iter().map(|key| (KeyKind::Seal, key.id, key.state));
        seal.chain(self.fingerprint.iter().map(|key| (KeyKind::Fingerprint, key.id, key.state)))
    }

    pub(crate) fn active_seal(&self) -> &SealSubkeys {
        &self.seal[0]
    }

    pub(crate) fn active_fingerprint(&self) -> &FingerprintSubkeys {
        &self.fingerprint[0]
    }

    pub(crate) fn seal_keys(&self) -> &[SealSubkeys] {
        &self.seal
    }

    pub(crate) fn seal(&self, id: KeyId) -> Option<&SealSubkeys> {
        self.seal.iter().find(|key| key.id == id)
    }

    pub(crate) fn fingerprint(&self, id: KeyId) -> Option<&FingerprintSubkeys> {
        self.fingerprint.iter().find(|key| key.id == id)
    }

    pub(crate) fn fingerprint_keys(&self) -> &[FingerprintSubkeys] {
        &self.fingerprint
    }
}

/// The subkeys of one seal key.
#[derive(Debug)]
pub(crate) struct SealSubkeys {
    pub(crate) id: KeyId,
    pub(crate) state: KeyState,
    pub(crate) aead: AeadKey,
    /// One half of every mark key; the other comes from a fingerprint key.
    pub(crate) mark: MacKey,
    pub(crate) handoff: MacKey,
}

impl SealSubkeys {
    fn derive(key: &SealKey, id: KeyId, state: KeyState) -> Self {
        let schedule = key.schedule();
        Self {
            id,
            state,
            aead: AeadKey::new(schedule.subkey(INFO_SEAL)),
            mark: MacKey::new(&schedule.subkey(INFO_MARK)),
            handoff: MacKey::new(&schedule.subkey(INFO_HANDOFF)),
        }
    }
}

/// The subkeys of one fingerprint key.
#[derive(Debug)]
pub(crate) struct FingerprintSubkeys {
    pub(crate) id: KeyId,
    pub(crate) state: KeyState,
    /// The other half of every mark key.
    pub(crate) fingerprint: Subkey,
    pub(crate) subject: MacKey,
    pub(crate) group: MacKey,
    pub(crate) csrf: MacKey,
    pub(crate) handle: MacKey,
    pub(crate) binding: MacKey,
    pub(crate) device: MacKey,
    pub(crate) label: AeadKey,
}

impl FingerprintSubkeys {
    fn derive(key: &FingerprintKey, id: KeyId, state: KeyState) -> Self {
        let schedule = key.schedule();
        let mac = |info| MacKey::new(&schedule.subkey(info));
        Self {
            id,
            state,
            fingerprint: Subkey(schedule.subkey(INFO_FINGERPRINT)),
            subject: mac(INFO_SUBJECT),
            group: mac(INFO_GROUP),
            csrf: mac(INFO_CSRF),
            handle: mac(INFO_HANDLE),
            binding: mac(INFO_BINDING),
            device: mac(INFO_DEVICE),
            label: AeadKey::new(schedule.subkey(INFO_LABEL)),
        }
    }
}

/// A subkey that only another derivation uses.
pub(crate) struct Subkey(pub(crate) Zeroizing<[u8; KEY_LEN]>);

impl fmt::Debug for Subkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subkey(..)")
    }
}

/// Makes a ring with these fingerprint keys, the active one first.
#[cfg(test)]
pub(crate) fn ring(keys: &[u8]) -> Keyring {
    let builder = Keyring::builder().seal_key(SealKey::from_bytes([99; 32]));
    let with = |builder: KeyringBuilder, key: &u8| builder.fingerprint_key(FingerprintKey::from_bytes([*key; 32]));
    keys.iter().fold(builder, with).build().expect("a ring")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(byte: u8) -> SealKey {
        SealKey::from_bytes([byte; 32])
    }

    fn fingerprint(byte: u8) -> FingerprintKey {
        FingerprintKey::from_bytes([byte; 32])
    }

    #[test]
    fn the_first_key_is_active_the_others_accepted_and_the_leaked_compromised() {
        let ring = Keyring::builder()
            .seal_key(seal(1))
            .seal_key(seal(2))
            .seal_key(seal(3))
            .fingerprint_key(fingerprint(4))
            .compromised_seal_key(seal(3))
            .compromised_fingerprint_key(fingerprint(5))
            .build()
            .expect("a ring");
        let states: Vec<_> = ring.states().collect();
        assert_eq!(
            states,
            [
                (KeyKind::Seal, seal(1).id(), KeyState::Active),
                (KeyKind::Seal, seal(2).id(), KeyState::Accepted),
                (KeyKind::Seal, seal(3).id(), KeyState::Compromised),
                (KeyKind::Fingerprint, fingerprint(4).id(), KeyState::Active),
                (KeyKind::Fingerprint, fingerprint(5).id(), KeyState::Compromised),
            ]
        );
    }

    #[test]
    fn keys_that_make_no_ring_are_errors_that_say_what_to_change() {
        let ring = Keyring::builder;
        let cases = [
            (ring(), "no active seal key"),
            (ring().seal_key(seal(1)), "no active fingerprint key"),
            (ring().seal_key(seal(1)).seal_key(seal(1)).fingerprint_key(fingerprint(2)), "stands twice"),
            // The same 32 bytes in both kinds: losing one would be losing both.
            (ring().seal_key(seal(1)).fingerprint_key(fingerprint(1)), "stands twice"),
            (
                ring().seal_key(seal(1)).fingerprint_key(fingerprint(2)).compromised_seal_key(seal(1)),
                "put a new key first",
            ),
            (
                ring().seal_key(seal(1)).fingerprint_key(fingerprint(2)).compromised_fingerprint_key(fingerprint(1)),
                "stands twice",
            ),
        ];
        for (builder, expected) in cases {
            let error = builder.build().expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn lists_take_commas_and_white_space_and_errors_name_the_place() {
        let list = format!("{},\n {}", seal(1).to_text().as_str(), seal(2).to_text().as_str());
        let fingerprints = fingerprint(3).to_text();
        let ring = ring_of(&list, &fingerprints, "").expect("a ring");
        assert_eq!(ring.states().count(), 3);
        let error = ring_of(&format!("{list} nonsense"), &fingerprints, "").expect_err("no key").to_string();
        assert!(error.starts_with("seal key number 3"), "{error}");
    }

    fn ring_of(seal: &str, fingerprint: &str, compromised: &str) -> Result<Keyring, KeyringError> {
        Keyring::builder().parse(seal, fingerprint, compromised)?.build()
    }
}
