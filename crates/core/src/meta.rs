//! What the engine itself keeps inside a token, out of the application's reach.

use core::fmt;

use ciborium_ll::{Header, simple};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::cbor::{self, CborError};
use crate::format::{MAX_BINDING_LEN, MAX_SUBJECT_LEN};
use crate::time::{Millis, Timestamp};

/// The engine's own entries of a token: a CBOR map with integer keys, apart from the application's data.
#[derive(Clone, Default, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Meta {
    /// Whom the session belongs to, after login.
    pub subject: Option<String>,
    /// When the subject last authenticated.
    #[zeroize(skip)]
    pub authenticated_at: Option<Timestamp>,
    /// How strongly the subject authenticated: the application's own scale, by convention NIST's AAL 1 to 3.
    pub assurance_level: Option<u8>,
    /// Whether the cookie outlives the browser session; unset: as configured.
    pub persistent: Option<bool>,
    /// This session's own idle timeout; unset: as configured.
    #[zeroize(skip)]
    pub idle_timeout: Option<Millis>,
    /// This session's own absolute lifetime; unset: as configured.
    #[zeroize(skip)]
    pub lifetime: Option<Millis>,
    /// A digest of the client properties that the session is bound to.
    pub binding: Option<Vec<u8>>,
    /// Messages for the next request: one encoded CBOR item.
    pub flash: Option<Vec<u8>>,
}

/// Meta bytes that are none of ours, or entries that are too long to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetaError {
    /// Not one CBOR map with ascending integer keys, or an entry of the wrong type; or messages that are not one
    /// well-formed item.
    #[error("the meta map is malformed")]
    Malformed,
    /// The subject is empty, which tells no account from another.
    #[error("the subject is empty; pass the identifier of the account, or log out instead")]
    SubjectEmpty,
    /// The subject is longer than [`MAX_SUBJECT_LEN`].
    #[error("the subject has {length} bytes, more than {MAX_SUBJECT_LEN}; use a shorter identifier of the account")]
    SubjectTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The binding digest is longer than [`MAX_BINDING_LEN`].
    #[error("the binding has {length} bytes, more than {MAX_BINDING_LEN}; hash it first")]
    BindingTooLong {
        /// Its length in bytes.
        length: usize,
    },
}

impl From<CborError> for MetaError {
    fn from(_: CborError) -> Self {
        Self::Malformed
    }
}

const SUBJECT: u64 = 1;
const AUTHENTICATED_AT: u64 = 2;
const ASSURANCE_LEVEL: u64 = 3;
const PERSISTENT: u64 = 4;
const IDLE_TIMEOUT: u64 = 5;
const LIFETIME: u64 = 6;
const BINDING: u64 = 7;
const FLASH: u64 = 8;

impl Meta {
    /// Checks that every entry can be written, so that it can be read again.
    ///
    /// # Errors
    ///
    /// [`MetaError`] names the entry and both lengths.
    pub fn check(&self) -> Result<(), MetaError> {
        if self.subject.as_deref() == Some("") {
            return Err(MetaError::SubjectEmpty);
        }
        if let Some(length) = self.subject.as_ref().map(String::len).filter(|length| *length > MAX_SUBJECT_LEN) {
            return Err(MetaError::SubjectTooLong { length });
        }
        if let Some(length) = self.binding.as_ref().map(Vec::len).filter(|length| *length > MAX_BINDING_LEN) {
            return Err(MetaError::BindingTooLong { length });
        }
        if let Some(flash) = &self.flash {
            whole(flash, cbor::item)?;
        }
        Ok(())
    }

    pub(crate) fn encoded_len(&self) -> usize {
        // The map's head has one byte, and so has each key's: there are eight.
        let number = |value: Option<u64>| value.map_or(0, |value| 1 + cbor::head_len(value));
        let bytes = |length: Option<usize>| length.map_or(0, |length| 1 + cbor::head_len(length as u64) + length);
        1 + bytes(self.subject.as_ref().map(String::len))
            + number(self.authenticated_at.map(Timestamp::as_millis))
            + number(self.assurance_level.map(u64::from))
            + self.persistent.map_or(0, |_| 2)
            + number(self.idle_timeout.map(Millis::get))
            + number(self.lifetime.map(Millis::get))
            + bytes(self.binding.as_ref().map(Vec::len))
            + self.flash.as_ref().map_or(0, |flash| 1 + flash.len())
    }

    /// More than the encoding takes, so that writing it never moves it.
    pub(crate) fn capacity(&self) -> usize {
        let bytes = self.subject.as_ref().map_or(0, String::len)
            + self.binding.as_ref().map_or(0, Vec::len)
            + self.flash.as_ref().map_or(0, Vec::len);
        // Each of the eight entries has a head for its key and one for its value.
        bytes + 17 * cbor::MAX_HEAD
    }

    pub(crate) fn append_to(&self, output: &mut Vec<u8>) {
        let count = usize::from(self.subject.is_some())
            + usize::from(self.authenticated_at.is_some())
            + usize::from(self.assurance_level.is_some())
            + usize::from(self.persistent.is_some())
            + usize::from(self.idle_timeout.is_some())
            + usize::from(self.lifetime.is_some())
            + usize::from(self.binding.is_some())
            + usize::from(self.flash.is_some());
        cbor::push_head(output, Header::Map(Some(count)));
        let number = |output: &mut Vec<u8>, key, value: Option<u64>| {
            if let Some(value) = value {
                cbor::push_head(output, Header::Positive(key));
                cbor::push_head(output, Header::Positive(value));
            }
        };
        if let Some(subject) = &self.subject {
            cbor::push_head(output, Header::Positive(SUBJECT));
            cbor::push_text(output, subject);
        }
        number(output, AUTHENTICATED_AT, self.authenticated_at.map(Timestamp::as_millis));
        number(output, ASSURANCE_LEVEL, self.assurance_level.map(u64::from));
        if let Some(persistent) = self.persistent {
            cbor::push_head(output, Header::Positive(PERSISTENT));
            cbor::push_head(output, Header::Simple(if persistent { simple::TRUE } else { simple::FALSE }));
        }
        number(output, IDLE_TIMEOUT, self.idle_timeout.map(Millis::get));
        number(output, LIFETIME, self.lifetime.map(Millis::get));
        if let Some(binding) = &self.binding {
            cbor::push_head(output, Header::Positive(BINDING));
            cbor::push_head(output, Header::Bytes(Some(binding.len())));
            output.extend_from_slice(binding);
        }
        if let Some(flash) = &self.flash {
            cbor::push_head(output, Header::Positive(FLASH));
            output.extend_from_slice(flash);
        }
    }

    /// Reads one map with ascending integer keys. Entries of a later version are passed over, so that hosts of two
    /// versions can serve one session; such an entry is lost at the next rotation by the older host.
    pub(crate) fn parse(mut input: &[u8]) -> Result<Self, MetaError> {
        let Header::Map(Some(count)) = cbor::head(&mut input)? else { return Err(MetaError::Malformed) };
        let mut meta = Self::default();
        let mut previous = None;
        for _ in 0..count {
            let Header::Positive(key) = cbor::head(&mut input)? else { return Err(MetaError::Malformed) };
            if previous.is_some_and(|previous| previous >= key) {
                return Err(MetaError::Malformed);
            }
            previous = Some(key);
            let value = cbor::item(&mut input)?;
            match key {
                SUBJECT => meta.subject = Some(whole(value, cbor::text)?.to_owned()),
                AUTHENTICATED_AT => meta.authenticated_at = Some(Timestamp::from_millis(whole(value, number)?)),
                ASSURANCE_LEVEL => {
                    let level = u8::try_from(whole(value, number)?).map_err(|_| MetaError::Malformed)?;
                    meta.assurance_level = Some(level);
                }
                PERSISTENT => meta.persistent = Some(whole(value, boolean)?),
                IDLE_TIMEOUT => meta.idle_timeout = Some(Millis::new(whole(value, number)?)),
                LIFETIME => meta.lifetime = Some(Millis::new(whole(value, number)?)),
                BINDING => meta.binding = Some(whole(value, bytes)?.to_vec()),
                FLASH => meta.flash = Some(value.to_vec()),
                _ => {}
            }
        }
        if !input.is_empty() {
            return Err(MetaError::Malformed);
        }
        meta.check()?;
        Ok(meta)
    }
}

fn whole<'a, T>(mut item: &'a [u8], read: impl FnOnce(&mut &'a [u8]) -> Result<T, CborError>) -> Result<T, MetaError> {
    let value = read(&mut item)?;
    if item.is_empty() { Ok(value) } else { Err(MetaError::Malformed) }
}

fn number(input: &mut &[u8]) -> Result<u64, CborError> {
    if let Header::Positive(number) = cbor::head(input)? { Ok(number) } else { Err(CborError::Malformed) }
}

fn boolean(input: &mut &[u8]) -> Result<bool, CborError> {
    match cbor::head(input)? {
        Header::Simple(simple::TRUE) => Ok(true),
        Header::Simple(simple::FALSE) => Ok(false),
        _ => Err(CborError::Malformed),
    }
}

fn bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], CborError> {
    if let Header::Bytes(Some(length)) = cbor::head(input)? {
        cbor::take(input, length)
    } else {
        Err(CborError::Malformed)
    }
}

impl fmt::Debug for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meta").field("logged_in", &self.subject.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Meta {
        Meta {
            subject: Some("alice".to_owned()),
            authenticated_at: Some(Timestamp::from_millis(u64::MAX)),
            assurance_level: Some(2),
            persistent: Some(false),
            idle_timeout: Some(Millis::from_secs(60)),
            lifetime: Some(Millis::ZERO),
            binding: Some(vec![7; 32]),
            flash: Some(vec![0x81, 0x61, b'x']),
        }
    }

    #[test]
    fn every_entry_round_trips_within_the_reserved_capacity() {
        let mut alone = Meta::default();
        alone.persistent = Some(true);
        for meta in [Meta::default(), alone, full()] {
            let mut bytes = Vec::new();
            meta.append_to(&mut bytes);
            assert_eq!(bytes.len(), meta.encoded_len());
            assert!(bytes.len() <= meta.capacity());
            assert!(Meta::parse(&bytes) == Ok(meta));
        }
    }

    #[test]
    fn malformed_maps_are_refused_and_later_entries_passed_over() {
        for bytes in [
            &[][..],
            &[0xa0, 0x00],
            &[0xa1, 0x01, 0x01],
            &[0xa2, 0x04, 0xf5, 0x04, 0xf5],
            &[0xa2, 0x04, 0xf5, 0x03, 0x01],
            &[0xa1, 0x03, 0x19, 0x01, 0x00],
            &[0xa1, 0x61, b'a', 0x01],
            &[0xbf, 0xff],
        ] {
            assert_eq!(Meta::parse(bytes), Err(MetaError::Malformed), "{bytes:02x?}");
        }
        let later = Meta::parse(&[0xa2, 0x03, 0x02, 0x18, 0x63, 0x80]).expect("an entry of a later version");
        assert_eq!(later.assurance_level, Some(2));
    }

    #[test]
    fn an_empty_subject_is_refused_when_it_is_written_and_when_it_is_read() {
        let mut meta = Meta::default();
        meta.subject = Some(String::new());
        assert_eq!(meta.check(), Err(MetaError::SubjectEmpty));
        assert_eq!(Meta::parse(&[0xa1, 0x01, 0x60]), Err(MetaError::SubjectEmpty));
    }

    #[test]
    fn a_subject_of_a_megabyte_is_refused_with_both_lengths() {
        let mut meta = Meta::default();
        meta.subject = Some("x".repeat(1 << 20));
        let error = meta.check().expect_err("too long").to_string();
        assert!(error.contains("1048576") && error.contains("512"), "{error}");
    }

    #[test]
    fn the_longest_subject_and_binding_are_kept_and_a_byte_more_is_refused() {
        let mut meta = full();
        meta.subject = Some("x".repeat(MAX_SUBJECT_LEN));
        meta.binding = Some(vec![7; MAX_BINDING_LEN]);
        let mut bytes = Vec::new();
        meta.append_to(&mut bytes);
        assert!(Meta::parse(&bytes) == Ok(meta.clone()));

        meta.binding = Some(vec![7; MAX_BINDING_LEN + 1]);
        assert_eq!(meta.check(), Err(MetaError::BindingTooLong { length: MAX_BINDING_LEN + 1 }));
        meta.subject = Some("x".repeat(MAX_SUBJECT_LEN + 1));
        assert_eq!(meta.check(), Err(MetaError::SubjectTooLong { length: MAX_SUBJECT_LEN + 1 }));
    }
}
