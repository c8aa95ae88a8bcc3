//! The sealer: seals a session's content into a token, and opens tokens.

use core::ops::Range;
use std::sync::Arc;

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use rand_core::TryCryptoRng;

use crate::aead::{Aead, STRIDE, in_strides};
use crate::context::{Context, ContextError};
use crate::data::DataMap;
use crate::format::{
    CIPHERTEXT_AT, FINGERPRINT_LABEL, GENERATION_AT, ISSUE_LEN, MIN_TOKEN, NONCE_AT, NONCE_LEN, PLAINTEXT_FIXED,
    SEAL_RANDOM_LEN, SEED_LEN, TAG_LEN, TOKEN_OVERHEAD, VERSION,
};
use crate::ids::{Fingerprint, GroupTag, HandoffKey, RandomError, SessionId, SubjectTag, same};
use crate::kdf::mark_key;
use crate::keyring::{KeyKind, KeyState, Keyring, SealSubkeys};
use crate::mac::{MacKey, halves};
use crate::meta::{Meta, MetaError};
use crate::opened::{Opened, SealedUnder};
use crate::refusal::{Refusal, Suspect};
use crate::secret::{SecretArray, SecretBytes};
use crate::sizes::Sizes;
use crate::time::Timestamp;
use crate::token::Token;

/// Seals and opens the tokens of one context (one cookie name) under one keyring.
#[derive(Debug)]
pub struct Sealer {
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) context: Context,
    /// The context whose subjects ours are.
    pub(crate) subjects: Context,
    aead: Aead,
    sizes: Sizes,
    /// The mark keys of all pairs, with label and context already hashed; those of the first seal key come first.
    marks: Vec<MacKey>,
}

/// The content of a token, besides the keys and the random bytes that it is sealed with.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// The id of the bucket that vouches for the token.
    pub session_id: SessionId,
    /// The bucket's handoff key.
    pub handoff_key: &'a HandoffKey,
    /// The number of this token within its bucket.
    pub generation: u32,
    /// The time when this token is issued.
    pub issued_at: Timestamp,
    /// The bucket's absolute deadline, after which the token is refused without asking the store.
    pub expires_at: Timestamp,
    /// The engine's own entries.
    pub meta: &'a Meta,
    /// The application's data.
    pub data: &'a DataMap,
}

/// A token that was just sealed, with its fingerprint for the bucket.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The token, for the client.
    pub token: Token,
    /// The fingerprint, for the bucket.
    pub fingerprint: Fingerprint,
    /// The tag of the subject, for the bucket; the token carries it, too.
    pub subject: Option<SubjectTag>,
    /// The tag of the session at the identity provider, for the bucket. The token carries a digest of that session, so that
    /// the tag follows a change of the fingerprint key.
    pub group: Option<GroupTag>,
}

/// The reason why nothing was sealed.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The cookie would be larger than the limit.
    #[error(
        "the session takes {size} bytes of cookie name and value, more than the limit of {limit}; store less in the session, or keep large values elsewhere and store only their ids"
    )]
    TooLarge {
        /// The size that name and value would have, in bytes.
        size: usize,
        /// The most that they may have, in bytes.
        limit: usize,
    },
    /// An entry of the engine's own is too long.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The source of randomness failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Sealer {
    /// Returns a sealer for tokens of the given context: a cookie's name, or `bearer:` and a header's name.
    ///
    /// It seals by [`Aead::RustCrypto`], and its subjects are those of the same context.
    ///
    /// # Errors
    ///
    /// [`ContextError`] if the context is empty or longer than [`MAX_CONTEXT_LEN`](crate::format::MAX_CONTEXT_LEN).
    pub fn new(keyring: Arc<Keyring>, context: &str, sizes: Sizes) -> Result<Self, ContextError> {
        let context = Context::new(context)?;
        let marks = marks(&keyring, &context);
        Ok(Self { keyring, subjects: context.clone(), context, aead: Aead::default(), sizes, marks })
    }

    /// Returns a sealer that uses another implementation of the same bytes.
    #[must_use]
    pub fn with_aead(mut self, aead: Aead) -> Self {
        self.aead = aead;
        self
    }

    /// Returns a sealer for another context whose sessions belong to the same subjects, such as bearer tokens beside a
    /// cookie.
    ///
    /// # Errors
    ///
    /// [`ContextError`] if the context is empty or longer than [`MAX_CONTEXT_LEN`](crate::format::MAX_CONTEXT_LEN).
    pub fn for_context(&self, context: &str, sizes: Sizes) -> Result<Self, ContextError> {
        let context = Context::new(context)?;
        let (keyring, subjects) = (Arc::clone(&self.keyring), self.subjects.clone());
        Ok(Self { marks: marks(&keyring, &context), keyring, context, subjects, aead: self.aead, sizes })
    }

    /// Returns the same sealer with other keys.
    #[must_use]
    pub fn with_keyring(&self, keyring: Arc<Keyring>) -> Self {
        let (context, subjects) = (self.context.clone(), self.subjects.clone());
        let marks = marks(&keyring, &context);
        Self { keyring, context, subjects, aead: self.aead, sizes: self.sizes.clone(), marks }
    }

    /// Returns the keys in force.
    #[must_use]
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// Returns the implementation that seals.
    #[must_use]
    pub fn aead(&self) -> Aead {
        self.aead
    }

    /// Returns the limit and the classes.
    #[must_use]
    pub fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// Checks that meta and data fit one token, without making one.
    ///
    /// # Errors
    ///
    /// [`SealError::TooLarge`] or [`SealError::Meta`], as [`seal`](Self::seal) would give.
    pub fn check_size(&self, meta: &Meta, data: &DataMap) -> Result<(), SealError> {
        self.fill(meta, data).map(|_| ())
    }

    /// Returns the size of name and value of a cookie with this content and `more` bytes, within the limit or not.
    #[must_use]
    pub fn cookie_size_with(&self, meta: &Meta, data: &DataMap, more: usize) -> usize {
        let content = content_len(meta, data) + more;
        self.sizes.cookie_len(self.sizes.fill(content).unwrap_or(content + crate::format::MIN_BLOAT))
    }

    /// Returns the keys that the next token is made with.
    #[must_use]
    pub fn active_keys(&self) -> SealedUnder {
        let (seal, fingerprint) = (self.keyring.active_seal(), self.keyring.active_fingerprint());
        SealedUnder { seal: (seal.id, seal.state), fingerprint: (fingerprint.id, fingerprint.state) }
    }

    fn fill(&self, meta: &Meta, data: &DataMap) -> Result<usize, SealError> {
        meta.check()?;
        let content = content_len(meta, data);
        self.sizes.fill(content).ok_or_else(|| SealError::TooLarge {
            size: self.sizes.cookie_len(content + crate::format::MIN_BLOAT),
            limit: self.sizes.limit(),
        })
    }

    /// Seals a token under the active keys, unlike any other. The tags of subject and group are computed anew.
    ///
    /// Draws [`SEAL_RANDOM_LEN`](crate::format::SEAL_RANDOM_LEN) random bytes at once: the nonce, and a seed that is expanded
    /// to the bloat and forgotten.
    ///
    /// # Errors
    ///
    /// [`SealError`]; no token was made then.
    pub fn seal(&self, content: &Content<'_>, rng: &mut (impl TryCryptoRng + ?Sized)) -> Result<Issued, SealError> {
        let plaintext_len = self.fill(content.meta, content.data)?;
        let mut random = SecretArray([0; SEAL_RANDOM_LEN]);
        rng.try_fill_bytes(&mut random.0).map_err(|_| RandomError)?;
        let (nonce, seed) = random.split();

        let (seal, fingerprint) = (self.keyring.active_seal(), self.keyring.active_fingerprint());
        let subject = content.meta.subject.as_deref().map(|subject| self.subject_tag(subject));
        let group = content.meta.provider_session.as_ref().map(|session| self.group_tag(session));

        // The buffer never moves, and is encrypted in place: no plaintext is left behind.
        let mut bytes = Vec::with_capacity(TOKEN_OVERHEAD + plaintext_len + STRIDE);
        bytes.push(VERSION);
        bytes.extend_from_slice(seal.id.as_bytes());
        bytes.extend_from_slice(fingerprint.id.as_bytes());
        bytes.extend_from_slice(nonce);
        write_plaintext(content, subject.as_ref(), &mut bytes);
        let bloat_at = bytes.len();
        bytes.resize(CIPHERTEXT_AT + plaintext_len, 0);
        // Each seed is drawn for one token, so that no nonce is needed beside it.
        let mut cipher = ChaCha20::new(seed.into(), &[0; 12].into());
        in_strides(&mut bytes, bloat_at, |bloat| cipher.apply_keystream(bloat));

        let (header, plaintext) = bytes.split_at_mut(CIPHERTEXT_AT);
        let associated_data = self.context.associated_data(&header[..NONCE_AT]);
        let tag = seal.aead.seal(self.aead, nonce, associated_data.as_slice(), plaintext);
        bytes.extend_from_slice(&tag);
        // The active keys are the first of their kinds.
        let [issue, kept] = halves(&self.marks[0].mac(&[&bytes]));
        bytes.extend_from_slice(&issue);

        let token = match Token::from_bytes(bytes) {
            Ok(token) => token,
            Err(_) => unreachable!("a plaintext that fits the size classes makes a token within its bounds"),
        };
        Ok(Issued { token, fingerprint: Fingerprint::from_bytes(kept), subject, group })
    }

    /// Opens a token. Do not act on its content yet: see [`admit`](Self::admit).
    ///
    /// The mark authenticates the token, so it is decrypted without verifying the tag of the AEAD. The tag is verified only if
    /// the mark is wrong, or one of the two keys is compromised, to find out what has happened.
    ///
    /// # Errors
    ///
    /// [`Refusal`] says why the token was not opened.
    #[inline]
    pub fn open(&self, token: Token) -> Result<Opened, Refusal> {
        let (seal_id, fingerprint_id) = (token.seal_key_id(), token.fingerprint_key_id());
        let (seal_keys, fingerprint_keys) = (self.keyring.seal_keys(), self.keyring.fingerprint_keys());
        let seal_at = seal_keys.iter().position(|key| key.id == seal_id);
        let seal_at = seal_at.ok_or(Refusal::UnknownKey { kind: KeyKind::Seal, id: seal_id })?;
        let fingerprint_at = fingerprint_keys.iter().position(|key| key.id == fingerprint_id);
        let fingerprint_at =
            fingerprint_at.ok_or(Refusal::UnknownKey { kind: KeyKind::Fingerprint, id: fingerprint_id })?;
        let seal = &seal_keys[seal_at];
        let keys = SealedUnder {
            seal: (seal_id, seal.state),
            fingerprint: (fingerprint_id, fingerprint_keys[fingerprint_at].state),
        };

        let mark = &self.marks[seal_at * fingerprint_keys.len() + fingerprint_at];
        let [issue, kept] = halves(&mark.mac(&[token.unmarked()]));
        let fingerprint = Fingerprint::from_bytes(kept);
        if !same(&issue, token.issue_mark()) {
            return Err(self.unmarked(token, seal, fingerprint));
        }
        if keys.compromised().is_some() {
            return self.open_fully(token, seal, fingerprint, keys);
        }
        let (nonce, range) = (*token.nonce(), token.ciphertext_range());
        let mut buffer = SecretBytes::from(token.into_bytes());
        buffer.as_mut_vec().truncate(range.end);
        seal.aead.decrypt(&nonce, buffer.as_mut_vec(), range.start);
        Opened::parse(buffer, range, fingerprint, keys).ok_or(Refusal::Malformed)
    }

    /// Tells garbage from a token that was sealed with our seal key, after its mark proved wrong.
    #[cold]
    fn unmarked(&self, token: Token, seal: &SealSubkeys, fingerprint: Fingerprint) -> Refusal {
        let Some((buffer, range)) = self.verify(token, seal) else { return Refusal::NotAuthentic };
        let plaintext = &buffer[range];
        let suspect = plaintext.first_chunk().zip(plaintext.get(GENERATION_AT..).and_then(<[u8]>::first_chunk));
        match suspect {
            Some((id, generation)) => Refusal::Unmarked(Suspect {
                key: seal.id,
                session_id: SessionId::from_bytes(*id),
                generation: u32::from_be_bytes(*generation),
                fingerprint,
            }),
            None => unreachable!("a token has at least {MIN_TOKEN} bytes"),
        }
    }

    /// Opens a token whose mark is right under a key that has leaked: its tag must be right, too.
    #[cold]
    fn open_fully(
        &self,
        token: Token,
        seal: &SealSubkeys,
        fingerprint: Fingerprint,
        keys: SealedUnder,
    ) -> Result<Opened, Refusal> {
        let Some((buffer, range)) = self.verify(token, seal) else {
            // A mark takes both keys, and one is known to have leaked: report the other one.
            let (kind, id) = match keys.fingerprint {
                (id, KeyState::Active | KeyState::Accepted) => (KeyKind::Fingerprint, id),
                (_, KeyState::Compromised) => (KeyKind::Seal, keys.seal.0),
            };
            return Err(Refusal::Forged { kind, id });
        };
        Opened::parse(buffer, range, fingerprint, keys).ok_or(Refusal::Malformed)
    }

    /// Verifies the tag of the AEAD, and returns the buffer with the plaintext's range in it.
    fn verify(&self, token: Token, seal: &SealSubkeys) -> Option<(SecretBytes, Range<usize>)> {
        let associated_data = self.context.associated_data(token.header());
        let (nonce, tag, range) = (*token.nonce(), *token.tag(), token.ciphertext_range());
        let mut buffer = SecretBytes::from(token.into_bytes());
        let ciphertext = &mut buffer.as_mut_slice()[range.clone()];
        seal.aead.open(self.aead, &nonce, associated_data.as_slice(), ciphertext, &tag).ok()?;
        Some((buffer, range))
    }
}

/// Derives a mark key for each pair of keys.
fn marks(keyring: &Keyring, context: &Context) -> Vec<MacKey> {
    let pairs =
        keyring.seal_keys().iter().flat_map(|seal| keyring.fingerprint_keys().iter().map(move |key| (seal, key)));
    pairs
        .map(|(seal, key)| {
            mark_key(&seal.mark, &key.fingerprint.0).prefixed(&[FINGERPRINT_LABEL, &[0], context.with_length()])
        })
        .collect()
}

impl SecretArray<SEAL_RANDOM_LEN> {
    fn split(&self) -> (&[u8; NONCE_LEN], &[u8; SEED_LEN]) {
        match (self.0.first_chunk(), self.0.last_chunk()) {
            (Some(nonce), Some(seed)) => (nonce, seed),
            _ => unreachable!("it is as long as both"),
        }
    }
}

/// Returns the length of a plaintext without its bloat.
pub(crate) fn content_len(meta: &Meta, data: &DataMap) -> usize {
    PLAINTEXT_FIXED + meta.encoded_len() + data.encoded_len()
}

pub(crate) fn write_plaintext(content: &Content<'_>, subject: Option<&SubjectTag>, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(content.session_id.as_bytes());
    bytes.extend_from_slice(content.handoff_key.as_bytes());
    bytes.extend_from_slice(&content.generation.to_be_bytes());
    bytes.extend_from_slice(&content.issued_at.as_millis().to_be_bytes());
    bytes.extend_from_slice(&content.expires_at.as_millis().to_be_bytes());
    with_length(bytes, |bytes| content.meta.append_to(bytes, subject));
    with_length(bytes, |bytes| content.data.append_to(bytes));
}

/// Appends a u16 length and the bytes that it counts.
fn with_length(bytes: &mut Vec<u8>, append: impl FnOnce(&mut Vec<u8>)) {
    let at = bytes.len();
    bytes.extend_from_slice(&[0; 2]);
    append(bytes);
    // Sizes::fill bounds both lengths far below 2^16.
    let length = u16::try_from(bytes.len() - at - 2).unwrap_or(u16::MAX);
    bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
}

// `Sealer::seal` reserves exactly these parts of a token's length.
const _: () = assert!(TOKEN_OVERHEAD == CIPHERTEXT_AT + TAG_LEN + ISSUE_LEN);
