//! Seal and open: between a session's content and a token.

use std::sync::Arc;

use rand_core::TryCryptoRng;

use crate::data::DataMap;
use crate::format::{
    CIPHERTEXT_AT, FINGERPRINT_LABEL, HANDOFF_LABEL, ISSUE_LEN, KEY_ID_LEN, MAX_CONTEXT_LEN, NONCE_AT, NONCE_LEN,
    PLAINTEXT_FIXED, SESSION_ID_LEN, TAG_LEN, TOKEN_LABEL, TOKEN_OVERHEAD, VERSION,
};
use crate::ids::{Fingerprint, HandoffKey, KeyId, RandomError, SessionId, same};
use crate::keyring::{KeyKind, Keyring};
use crate::mac::{MacKey, halves};
use crate::meta::{Meta, MetaError};
use crate::opened::{Opened, SealedUnder};
use crate::secret::SecretBytes;
use crate::sizes::Sizes;
use crate::time::Timestamp;
use crate::token::Token;

/// Seals and opens the tokens of one context (one cookie name) under one keyring.
#[derive(Debug)]
pub struct Sealer {
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) context: Context,
    sizes: Sizes,
    /// One for each fingerprint key, in the keyring's order, with label and context already taken in.
    macs: Vec<MacKey>,
}

/// What a token says, besides the keys and the random bytes that it is sealed with.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// The bucket that vouches for the token.
    pub session_id: SessionId,
    /// The bucket's handoff key.
    pub handoff_key: &'a HandoffKey,
    /// Counts the tokens of the bucket.
    pub generation: u32,
    /// Now.
    pub issued_at: Timestamp,
    /// When the token is refused without asking the store: the bucket's absolute deadline.
    pub expires_at: Timestamp,
    /// The engine's own entries.
    pub meta: &'a Meta,
    /// The application's data.
    pub data: &'a DataMap,
}

/// A token that was just sealed, and what the bucket keeps of it.
#[derive(Debug, Clone)]
pub struct Issued {
    /// For the client.
    pub token: Token,
    /// For the bucket.
    pub fingerprint: Fingerprint,
}

/// Why nothing was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The cookie would be larger than the limit.
    #[error(
        "the session takes {size} bytes of cookie name and value, more than the limit of {limit}; keep less in it, or large things elsewhere and their ids here"
    )]
    TooLarge {
        /// Name and value, in bytes, as they would have been.
        size: usize,
        /// The most that they may have.
        limit: usize,
    },
    /// An entry of the engine's own is too long.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// There was no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Why a token was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A key that we do not have, or not yet, or no more.
    #[error("the token names {kind} key {id}, which is not in the keyring")]
    UnknownKey {
        /// The kind of the key.
        kind: KeyKind,
        /// Its id, as the token has it.
        id: KeyId,
    },
    /// Neither the issue mark nor the seal fits: changed on the way, of another context, or made up.
    #[error("the token is not authentic")]
    NotAuthentic,
    /// Half of it fits: made with a key of ours, and not by us. **That key has leaked.**
    #[error("the token was made with {kind} key {id}, and not by us: the key has leaked")]
    Forged {
        /// The kind of the key that the forger holds.
        kind: KeyKind,
        /// The key.
        id: KeyId,
    },
    /// We sealed and marked it, and cannot read it: of a later version of this library, or both keys have leaked.
    #[error("the token's content is malformed")]
    Malformed,
}

impl Sealer {
    /// For tokens of the given context: a cookie's name, or `bearer:` and a header's name.
    ///
    /// # Errors
    ///
    /// [`ContextError`] if the context is empty or longer than [`MAX_CONTEXT_LEN`].
    pub fn new(keyring: Arc<Keyring>, context: &str, sizes: Sizes) -> Result<Self, ContextError> {
        let context = Context::new(context)?;
        let macs = keyring
            .fingerprint_keys()
            .iter()
            .map(|key| key.fingerprint.prefixed(&[FINGERPRINT_LABEL, &[0], context.with_length()]))
            .collect();
        Ok(Self { keyring, context, sizes, macs })
    }

    /// The keys in force.
    #[must_use]
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// The limit and the classes.
    #[must_use]
    pub fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// Whether meta and data fit one token; without making one.
    ///
    /// # Errors
    ///
    /// [`SealError::TooLarge`] or [`SealError::Meta`], as [`seal`](Self::seal) would give.
    pub fn check_size(&self, meta: &Meta, data: &DataMap) -> Result<(), SealError> {
        self.fill(meta, data).map(|_| ())
    }

    /// What name and value of a cookie with this content and so many more bytes take, within the limit or not.
    #[must_use]
    pub fn cookie_size_with(&self, meta: &Meta, data: &DataMap, more: usize) -> usize {
        let content = content_len(meta, data) + more;
        self.sizes.cookie_len(self.sizes.fill(content).unwrap_or(content + crate::format::MIN_BLOAT))
    }

    /// The keys that the next token comes under.
    #[must_use]
    pub fn active_keys(&self) -> SealedUnder {
        let (seal, fingerprint) = (self.keyring.active_seal(), self.keyring.active_fingerprint());
        SealedUnder { seal: (seal.id, seal.state), fingerprint: (fingerprint.id, fingerprint.state) }
    }

    /// How many random bytes [`seal`](Self::seal) draws for this content: a nonce and the bloat.
    ///
    /// # Errors
    ///
    /// [`SealError::TooLarge`] or [`SealError::Meta`], as [`seal`](Self::seal) would give.
    pub fn random_len(&self, meta: &Meta, data: &DataMap) -> Result<usize, SealError> {
        Ok(NONCE_LEN + self.fill(meta, data)? - content_len(meta, data))
    }

    fn fill(&self, meta: &Meta, data: &DataMap) -> Result<usize, SealError> {
        meta.check()?;
        let content = content_len(meta, data);
        self.sizes.fill(content).ok_or_else(|| SealError::TooLarge {
            size: self.sizes.cookie_len(content + crate::format::MIN_BLOAT),
            limit: self.sizes.limit(),
        })
    }

    /// Makes a token under the active keys, unlike any other.
    ///
    /// # Errors
    ///
    /// [`SealError`]; no token was made then.
    pub fn seal(&self, content: &Content<'_>, rng: &mut (impl TryCryptoRng + ?Sized)) -> Result<Issued, SealError> {
        let plaintext_len = self.fill(content.meta, content.data)?;
        let (seal, fingerprint) = (self.keyring.active_seal(), self.keyring.active_fingerprint());

        // The buffer never moves, and is encrypted in place: no plaintext is left behind.
        let mut bytes = Vec::with_capacity(TOKEN_OVERHEAD + plaintext_len + content.meta.capacity());
        bytes.push(VERSION);
        bytes.extend_from_slice(seal.id.as_bytes());
        bytes.extend_from_slice(fingerprint.id.as_bytes());
        bytes.extend_from_slice(&[0; NONCE_LEN]);
        write_plaintext(content, &mut bytes);
        let bloat_at = bytes.len();
        bytes.resize(CIPHERTEXT_AT + plaintext_len, 0);

        let mut nonce = [0; NONCE_LEN];
        let drawn = rng.try_fill_bytes(&mut nonce).and_then(|()| rng.try_fill_bytes(&mut bytes[bloat_at..]));
        if drawn.is_err() {
            drop(SecretBytes::from(bytes));
            return Err(RandomError.into());
        }
        bytes[NONCE_AT..CIPHERTEXT_AT].copy_from_slice(&nonce);

        let (header, plaintext) = bytes.split_at_mut(CIPHERTEXT_AT);
        let associated_data = self.context.associated_data(&header[..NONCE_AT]);
        let tag = seal.aead.seal(&nonce, associated_data.as_slice(), plaintext);
        bytes.extend_from_slice(&tag);
        let [issue, kept] = halves(&self.macs[0].mac(&bytes));
        bytes.extend_from_slice(&issue);

        let token = match Token::from_bytes(bytes) {
            Ok(token) => token,
            Err(_) => unreachable!("a plaintext that fits the size classes makes a token within its bounds"),
        };
        Ok(Issued { token, fingerprint: Fingerprint::from_bytes(kept) })
    }

    /// Opens a token. What it says is not yet to be believed: see [`admit`](Self::admit).
    ///
    /// # Errors
    ///
    /// [`Refusal`] says why not.
    #[inline]
    pub fn open(&self, token: Token) -> Result<Opened, Refusal> {
        let (seal_id, fingerprint_id) = (token.seal_key_id(), token.fingerprint_key_id());
        let seal = self.keyring.seal(seal_id).ok_or(Refusal::UnknownKey { kind: KeyKind::Seal, id: seal_id })?;
        let (fingerprint_key, mac) = self
            .keyring
            .fingerprint_keys()
            .iter()
            .zip(&self.macs)
            .find(|(key, _)| key.id == fingerprint_id)
            .ok_or(Refusal::UnknownKey { kind: KeyKind::Fingerprint, id: fingerprint_id })?;

        let [issue, kept] = halves(&mac.mac(token.unmarked()));
        let marked = same(&issue, token.issue_mark());

        let associated_data = self.context.associated_data(token.header());
        let (nonce, tag, range) = (*token.nonce(), *token.tag(), token.ciphertext_range());
        let mut buffer = SecretBytes::from(token.into_bytes());
        let opened =
            seal.aead.open(&nonce, associated_data.as_slice(), &mut buffer.as_mut_slice()[range.clone()], &tag);

        match (marked, opened) {
            (true, Ok(())) => Opened::parse(buffer, range, Fingerprint::from_bytes(kept), seal, fingerprint_key)
                .ok_or(Refusal::Malformed),
            (false, Ok(())) => Err(Refusal::Forged { kind: KeyKind::Seal, id: seal_id }),
            (true, Err(_)) => Err(Refusal::Forged { kind: KeyKind::Fingerprint, id: fingerprint_id }),
            (false, Err(_)) => Err(Refusal::NotAuthentic),
        }
    }
}

/// The length of a plaintext without its bloat.
fn content_len(meta: &Meta, data: &DataMap) -> usize {
    PLAINTEXT_FIXED + meta.encoded_len() + data.encoded_len()
}

fn write_plaintext(content: &Content<'_>, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(content.session_id.as_bytes());
    bytes.extend_from_slice(content.handoff_key.as_bytes());
    bytes.extend_from_slice(&content.generation.to_be_bytes());
    bytes.extend_from_slice(&content.issued_at.as_millis().to_be_bytes());
    bytes.extend_from_slice(&content.expires_at.as_millis().to_be_bytes());
    with_length(bytes, |bytes| content.meta.append_to(bytes));
    with_length(bytes, |bytes| content.data.append_to(bytes));
}

/// Appends a u16 length and what it is the length of.
fn with_length(bytes: &mut Vec<u8>, append: impl FnOnce(&mut Vec<u8>)) {
    let at = bytes.len();
    bytes.extend_from_slice(&[0; 2]);
    append(bytes);
    // Sizes::fill bounds both lengths far below 2^16.
    let length = u16::try_from(bytes.len() - at - 2).unwrap_or(u16::MAX);
    bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
}

/// A context that is empty or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cookie's or header's name has {length} bytes; it must have 1 to {MAX_CONTEXT_LEN}")]
pub struct ContextError {
    /// Its length in bytes.
    pub length: usize,
}

/// A context with its length in front, as every use takes it.
#[derive(Debug, Clone)]
pub(crate) struct Context(Vec<u8>);

impl Context {
    fn new(context: &str) -> Result<Self, ContextError> {
        let refused = ContextError { length: context.len() };
        if context.is_empty() || context.len() > MAX_CONTEXT_LEN {
            return Err(refused);
        }
        let length = u16::try_from(context.len()).map_err(|_| refused)?;
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(context.as_bytes());
        Ok(Self(bytes))
    }

    /// `u16 length | context`.
    pub(crate) fn with_length(&self) -> &[u8] {
        &self.0
    }

    #[inline]
    fn associated_data(&self, header: &[u8]) -> AssociatedData {
        AssociatedData::new([TOKEN_LABEL, header, self.with_length()])
    }
}

/// The associated data of a token or a handoff, on the stack.
pub(crate) struct AssociatedData {
    bytes: [u8; Self::CAPACITY],
    length: usize,
}

impl AssociatedData {
    /// A handoff's is longer than a token's.
    const CAPACITY: usize = HANDOFF_LABEL.len() + 1 + KEY_ID_LEN + SESSION_ID_LEN + 4 + 2 + MAX_CONTEXT_LEN;

    /// These parts, one after another.
    #[inline]
    pub(crate) fn new<const N: usize>(parts: [&[u8]; N]) -> Self {
        let mut data = Self { bytes: [0; Self::CAPACITY], length: 0 };
        for part in parts {
            data.bytes[data.length..][..part.len()].copy_from_slice(part);
            data.length += part.len();
        }
        data
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The parts of a token's length that [`Sealer::seal`] reserves.
const _: () = assert!(TOKEN_OVERHEAD == CIPHERTEXT_AT + TAG_LEN + ISSUE_LEN);
