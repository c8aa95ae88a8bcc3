//! Keyed names: subject tags, public handles, CSRF tokens, and sealed labels.

use rand_core::TryCryptoRng;
use subtle::ConstantTimeEq;

use crate::base64url;
use crate::envelope;
use crate::format::{CSRF_LEN, CSRF_REFUSED, LABEL_LABEL, MAX_LABEL_LEN};
use crate::ids::{GroupTag, Handle, KeyId, RandomError, SessionId, SubjectTag, random, same};
use crate::keyring::{FingerprintSubkeys, Keyring};
use crate::meta::ProviderSession;
use crate::sealer::Sealer;

/// The reason why a label was not sealed.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// The label is longer than [`MAX_LABEL_LEN`].
    #[error("the label has {length} bytes, more than {MAX_LABEL_LEN}; shorten it")]
    TooLong {
        /// The length in bytes.
        length: usize,
    },
    /// The source of randomness failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl SubjectTag {
    pub(crate) fn matches(&self, other: &Self) -> bool {
        same(self.as_bytes(), other.as_bytes())
    }
}

impl Keyring {
    /// Returns the session's public name under the active key.
    #[must_use]
    pub fn handle(&self, id: &SessionId) -> Handle {
        handle(self.active_fingerprint(), id)
    }

    /// Returns `true` if this is a public name of the session, under any key of the ring.
    #[must_use]
    pub fn is_handle_of(&self, presented: &Handle, id: &SessionId) -> bool {
        self.fingerprint_keys().iter().any(|key| handle(key, id) == *presented)
    }

    /// Makes a CSRF token for the session, masked anew each time so that compression cannot leak it (BREACH).
    ///
    /// Its text is 86 characters of base64url.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if there is no randomness.
    pub fn csrf_token(&self, id: &SessionId, rng: &mut (impl TryCryptoRng + ?Sized)) -> Result<String, RandomError> {
        self.masked_csrf(&[id.as_bytes()], rng)
    }

    /// Returns `true` if the text is a CSRF token of this session, under any key of the ring; compares in constant time.
    #[must_use]
    pub fn is_csrf_token_of(&self, presented: &str, id: &SessionId) -> bool {
        self.is_masked_csrf(presented, &[id.as_bytes()])
    }

    /// Makes a CSRF token for a client whose requests present tokens of just these sessions, in ascending order, and are served
    /// none of them. It is no CSRF token of any of them: an attacker with a copy of a session's token must not get one.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if there is no randomness.
    pub fn csrf_token_of_refused(
        &self,
        ids: &[SessionId],
        rng: &mut (impl TryCryptoRng + ?Sized),
    ) -> Result<String, RandomError> {
        self.masked_csrf(&refused(ids), rng)
    }

    /// Returns `true` if the text is a CSRF token for clients that present these sessions, in ascending order, and are served none
    /// of them, under any key of the ring; compares in constant time.
    #[must_use]
    pub fn is_csrf_token_of_refused(&self, presented: &str, ids: &[SessionId]) -> bool {
        self.is_masked_csrf(presented, &refused(ids))
    }

    fn masked_csrf(&self, message: &[&[u8]], rng: &mut (impl TryCryptoRng + ?Sized)) -> Result<String, RandomError> {
        let mask = random::<CSRF_LEN>(rng)?;
        let secret = self.active_fingerprint().csrf.mac(message);
        let mut token = [0; 2 * CSRF_LEN];
        token[..CSRF_LEN].copy_from_slice(&mask);
        for (byte, (secret, mask)) in token[CSRF_LEN..].iter_mut().zip(secret.iter().zip(mask)) {
            *byte = secret ^ mask;
        }
        Ok(base64url::encode(&token))
    }

    fn is_masked_csrf(&self, presented: &str, message: &[&[u8]]) -> bool {
        if presented.len() != base64url::encoded_len(2 * CSRF_LEN) {
            return false;
        }
        let Ok(token) = base64url::decode(presented.as_bytes()) else { return false };
        let Some((mask, masked)) = token.split_at_checked(CSRF_LEN) else { return false };
        let secret: Vec<u8> = mask.iter().zip(masked).map(|(mask, masked)| mask ^ masked).collect();
        self.fingerprint_keys().iter().any(|key| key.csrf.mac(message).ct_eq(secret.as_slice()).into())
    }

    /// Seals the application's label of a session, for the store to keep.
    ///
    /// # Errors
    ///
    /// [`LabelError`] if it is too long, or there is no randomness.
    pub fn seal_label(
        &self,
        id: &SessionId,
        label: &str,
        rng: &mut (impl TryCryptoRng + ?Sized),
    ) -> Result<Vec<u8>, LabelError> {
        if label.len() > MAX_LABEL_LEN {
            return Err(LabelError::TooLong { length: label.len() });
        }
        let key = self.active_fingerprint();
        Ok(envelope::seal(&key.label, key.id, &label_data(key.id, id), label.as_bytes(), rng)?)
    }

    /// Opens a label; returns `None` if we did not seal it for this session.
    #[must_use]
    pub fn open_label(&self, id: &SessionId, sealed: &[u8]) -> Option<String> {
        let key = self.fingerprint(envelope::key_id(sealed)?)?;
        let label = envelope::open(&key.label, &label_data(key.id, id), sealed)?;
        String::from_utf8(label).ok()
    }
}

impl Sealer {
    /// Returns the tags under which stores may keep this subject's sessions: one for each fingerprint key, the active first.
    ///
    /// Another cookie's subjects have other tags, even if names, keys and store are the same. See
    /// [`for_context`](Self::for_context).
    #[must_use]
    pub fn subject_tags(&self, subject: &str) -> Vec<SubjectTag> {
        self.keyring().fingerprint_keys().iter().map(|key| self.tag(key, subject)).collect()
    }

    /// Returns the tag for a new token and its bucket.
    #[must_use]
    pub fn subject_tag(&self, subject: &str) -> SubjectTag {
        self.tag(self.keyring().active_fingerprint(), subject)
    }

    /// Returns the tags under which stores may keep the sessions that began with this session at an identity provider: one for
    /// each fingerprint key, the active first.
    #[must_use]
    pub fn group_tags(&self, session: &ProviderSession) -> Vec<GroupTag> {
        self.keyring().fingerprint_keys().iter().map(|key| self.group(key, session)).collect()
    }

    /// Returns the tag for a new bucket.
    #[must_use]
    pub fn group_tag(&self, session: &ProviderSession) -> GroupTag {
        self.group(self.keyring().active_fingerprint(), session)
    }

    fn group(&self, key: &FingerprintSubkeys, session: &ProviderSession) -> GroupTag {
        GroupTag::from_bytes(key.group.truncated(&[self.subjects.with_length(), session.as_bytes()]))
    }

    fn tag(&self, key: &FingerprintSubkeys, subject: &str) -> SubjectTag {
        SubjectTag::from_bytes(key.subject.truncated(&[self.subjects.with_length(), subject.as_bytes()]))
    }
}

fn refused(ids: &[SessionId]) -> Vec<&[u8]> {
    std::iter::once(CSRF_REFUSED).chain(ids.iter().map(|id| id.as_bytes().as_slice())).collect()
}

fn handle(key: &FingerprintSubkeys, id: &SessionId) -> Handle {
    Handle::from_bytes(key.handle.truncated(&[id.as_bytes()]))
}

fn label_data(key_id: KeyId, id: &SessionId) -> Vec<u8> {
    [LABEL_LABEL, key_id.as_bytes(), id.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use getrandom::SysRng;

    use super::*;
    use crate::format::LABEL_OVERHEAD;
    use crate::keyring::ring;

    const A: SessionId = SessionId::from_bytes([1; 16]);
    const B: SessionId = SessionId::from_bytes([2; 16]);

    #[test]
    fn a_csrf_token_is_masked_anew_and_bound_to_its_session() {
        let (old, both) = (ring(&[1]), ring(&[2, 1]));
        let (one, two) =
            (old.csrf_token(&A, &mut SysRng).expect("random"), old.csrf_token(&A, &mut SysRng).expect("random"));
        assert_ne!(one, two);
        assert!(old.is_csrf_token_of(&one, &A) && old.is_csrf_token_of(&two, &A));
        assert!(both.is_csrf_token_of(&one, &A), "an accepted key still checks");
        assert!(!old.is_csrf_token_of(&one, &B));
        assert!(!ring(&[2]).is_csrf_token_of(&one, &A));
        for text in ["", "x", &one[1..], &format!("{one}A"), &"A".repeat(86)] {
            assert!(!old.is_csrf_token_of(text, &A), "{text}");
        }
        // The one of a client that is refused is another.
        let refused = old.csrf_token_of_refused(&[A], &mut SysRng).expect("random");
        assert!(both.is_csrf_token_of_refused(&refused, &[A]) && !both.is_csrf_token_of_refused(&refused, &[A, B]));
        assert!(!old.is_csrf_token_of(&refused, &A) && !old.is_csrf_token_of_refused(&one, &[A]));
    }

    #[test]
    fn a_label_is_opened_for_its_own_session_only() {
        let (old, both) = (ring(&[1]), ring(&[2, 1]));
        let sealed = old.seal_label(&A, "Firefox", &mut SysRng).expect("short");
        assert_eq!(both.open_label(&A, &sealed).as_deref(), Some("Firefox"));
        assert_eq!(old.open_label(&B, &sealed), None);
        assert_eq!(old.open_label(&A, &sealed[..10]), None);
        let longest = "x".repeat(MAX_LABEL_LEN);
        let sealed = old.seal_label(&A, &longest, &mut SysRng).expect("just fits");
        assert_eq!(sealed.len(), LABEL_OVERHEAD + MAX_LABEL_LEN);
        assert_eq!(old.open_label(&A, &sealed), Some(longest));
        let error = old.seal_label(&A, &"x".repeat(513), &mut SysRng).expect_err("too long").to_string();
        assert!(error.contains("513") && error.contains("512"), "{error}");
    }

    #[test]
    fn handles_differ_by_key_and_session() {
        let (old, both) = (ring(&[1]), ring(&[2, 1]));
        let handle = old.handle(&A);
        assert_eq!(handle.to_string().parse(), Ok(handle));
        assert!(both.is_handle_of(&handle, &A) && !both.is_handle_of(&handle, &B));
    }

    #[test]
    fn subjects_differ_by_key_by_name_and_by_the_cookie_that_they_log_in_with() {
        let sealer = |keys: &[u8], context: &str| {
            let sizes = crate::Sizes::default_for(context.len()).expect("a short name");
            Sealer::new(ring(keys).into(), context, sizes).expect("a context")
        };
        let (old, both) = (sealer(&[1], "shop"), sealer(&[2, 1], "shop"));
        assert_eq!(both.subject_tags("alice")[1], old.subject_tag("alice"));
        assert_eq!(both.subject_tags("alice")[0], both.subject_tag("alice"));
        assert_ne!(both.subject_tag("alice"), old.subject_tag("alice"));
        assert_ne!(old.subject_tag("alice"), old.subject_tag("bob"));
        assert_ne!(old.subject_tag("alice"), sealer(&[1], "admin").subject_tag("alice"));
        // The length keeps two names in a row apart.
        assert_ne!(sealer(&[1], "shopa").subject_tag("lice"), old.subject_tag("alice"));
        let bearer = old.for_context("bearer:session-token", old.sizes().clone()).expect("a context");
        assert_eq!(bearer.subject_tag("alice"), old.subject_tag("alice"));
    }

    #[test]
    fn groups_differ_by_key_by_session_and_cookie_and_are_no_subjects() {
        let sealer = |keys: &[u8], context: &str| {
            let sizes = crate::Sizes::default_for(context.len()).expect("a short name");
            Sealer::new(ring(keys).into(), context, sizes).expect("a context")
        };
        let session = |sid| ProviderSession::new("https://login.example", sid).expect("a session");
        let (old, both) = (sealer(&[1], "shop"), sealer(&[2, 1], "shop"));
        assert_eq!(both.group_tags(&session("1")), [both.group_tag(&session("1")), old.group_tag(&session("1"))]);
        assert_ne!(both.group_tag(&session("1")), old.group_tag(&session("1")));
        assert_ne!(old.group_tag(&session("1")), old.group_tag(&session("2")));
        assert_ne!(old.group_tag(&session("1")), sealer(&[1], "admin").group_tag(&session("1")));
        let bearer = old.for_context("bearer:session-token", old.sizes().clone()).expect("a context");
        assert_eq!(bearer.group_tag(&session("1")), old.group_tag(&session("1")));
        // A subject that is spelt as the digest has another tag.
        let digest = "0123456789abcdef";
        let bytes = digest.as_bytes().try_into().expect("16 bytes");
        let spelt = old.group_tag(&ProviderSession::from_bytes(bytes));
        assert_ne!(spelt.as_bytes(), old.subject_tag(digest).as_bytes());
    }
}
