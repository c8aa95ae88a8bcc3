//! The keyring and its sources: texts, the environment, a file.

use std::path::Path;
use std::sync::Arc;

use getrandom::SysRng;
use secure_sessions_core::{self as core, KeyId, KeyKind, KeyState, KeyringError, RandomError, debug_as_display};
use zeroize::Zeroizing;

/// The environment variable with the seal keys, separated by commas or white space, the active one first.
pub const SEAL_KEYS_VARIABLE: &str = "SECURE_SESSIONS_SEAL_KEYS";
/// The environment variable with the fingerprint keys, in the same form.
pub const FINGERPRINT_KEYS_VARIABLE: &str = "SECURE_SESSIONS_FINGERPRINT_KEYS";
/// The environment variable with leaked keys of either kind. It is optional.
pub const COMPROMISED_KEYS_VARIABLE: &str = "SECURE_SESSIONS_COMPROMISED_KEYS";

/// The current keys. Cheap to clone.
///
/// To change the key on many hosts without a logout, add the new key as the second on every host, then move it to the
/// front on every host, then remove the old one after the longest lifetime that you give a session. When you move a new key to
/// the front because the old one leaked, list that one as compromised: nobody is logged out, and tokens forged with it are
/// recognised.
#[derive(Debug, Clone)]
pub struct Keyring(pub(crate) Arc<core::Keyring>);

/// An error while loading a keyring.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum KeySourceError {
    /// An environment variable is not set.
    #[error(
        "{name} is not set: give it at least one key. `secure-sessions keys new --env` (crate secure-sessions-cli) prints both variables, and `Keyring::generate_texts` makes keys too. (Keys are never generated silently, since a restart would log everyone out.)"
    )]
    Variable {
        /// The variable's name.
        name: &'static str,
    },
    /// The file cannot be read.
    #[error("the key file {path} cannot be read: {source}")]
    File {
        /// The file's path.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A line of the file is neither a key, nor `compromised` and a key, nor a comment.
    #[error(
        "line {line} of the key file {path} is neither a key, nor `compromised` and a key, nor a comment after `#`"
    )]
    Line {
        /// The file's path.
        path: String,
        /// The line's number, starting at 1.
        line: usize,
    },
    /// The keys do not make a ring.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The manager cannot use the keys.
    #[error("the keys were refused: {problem}")]
    Refused {
        /// The reason.
        problem: String,
    },
    /// The source of randomness failed, so no keys were generated.
    #[error(transparent)]
    Random(#[from] RandomError),
}

debug_as_display!(KeySourceError);

impl Keyring {
    /// Generates keys for this process alone, for tests and trials. A restart logs everyone out, and a warning in the
    /// log says so.
    ///
    /// # Errors
    ///
    /// [`KeySourceError::Random`] if the source of randomness fails.
    pub fn generate() -> Result<Self, KeySourceError> {
        tracing::warn!(
            target: "secure_sessions",
            "session keys were generated for this process alone: a restart logs everyone out"
        );
        Ok(Self(Arc::new(core::Keyring::generate(&mut SysRng)?)))
    }

    /// Generates a seal key and a fingerprint key as texts, for you to put into a secret store.
    ///
    /// For one more key of either kind, to change keys, call its own `generate`:
    ///
    /// ```
    /// use secure_sessions::{Keyring, SealKey, SysRng};
    ///
    /// let (seal, fingerprint) = Keyring::generate_texts()?;
    /// let next = SealKey::generate(&mut SysRng)?.to_text();
    /// let keyring = Keyring::from_text(&format!("{} {}", *next, *seal), &fingerprint, "")?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeySourceError::Random`] if the source of randomness fails.
    pub fn generate_texts() -> Result<(Zeroizing<String>, Zeroizing<String>), KeySourceError> {
        let seal = core::SealKey::generate(&mut SysRng)?;
        let fingerprint = core::FingerprintKey::generate(&mut SysRng)?;
        Ok((seal.to_text(), fingerprint.to_text()))
    }

    /// Parses three lists, each separated by commas or white space: seal keys, fingerprint keys, and leaked keys of
    /// either kind. The first key of each of the first two lists is the active one.
    ///
    /// # Errors
    ///
    /// [`KeySourceError::Keyring`] says which key is wrong and how.
    pub fn from_text(seal: &str, fingerprint: &str, compromised: &str) -> Result<Self, KeySourceError> {
        let keyring = core::Keyring::builder().parse(seal, fingerprint, compromised)?.build()?;
        Ok(Self(Arc::new(keyring)))
    }

    /// Reads the keys from `SECURE_SESSIONS_SEAL_KEYS`, `SECURE_SESSIONS_FINGERPRINT_KEYS` and, if it is set,
    /// `SECURE_SESSIONS_COMPROMISED_KEYS`.
    ///
    /// # Errors
    ///
    /// [`KeySourceError`] names the variable that is missing, or the key that is wrong.
    pub fn from_env() -> Result<Self, KeySourceError> {
        let read = |name| std::env::var(name).map(Zeroizing::new).map_err(|_| KeySourceError::Variable { name });
        let (seal, fingerprint) = (read(SEAL_KEYS_VARIABLE)?, read(FINGERPRINT_KEYS_VARIABLE)?);
        let compromised = read(COMPROMISED_KEYS_VARIABLE).unwrap_or_default();
        Self::from_text(&seal, &fingerprint, &compromised)
    }

    /// Reads the keys from a file with one key per line. The first of each kind is the active one; a line that starts
    /// with the word `compromised` holds a leaked key; `#` starts a comment.
    ///
    /// # Errors
    ///
    /// [`KeySourceError`] names the file and why it cannot be read, or the line or key that is wrong.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, KeySourceError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map(Zeroizing::new)
            .map_err(|source| KeySourceError::File { path: path.display().to_string(), source })?;
        Self::from_lines(path, &text)
    }

    fn from_lines(path: &Path, text: &str) -> Result<Self, KeySourceError> {
        // Reserved in full: a string that grows leaves its old buffer behind, including the keys.
        let mut lists = [(); 3].map(|()| Zeroizing::new(String::with_capacity(text.len() + 1)));
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            let (list, key) = match words[..] {
                [] => continue,
                [key] if key.starts_with(core::format::FINGERPRINT_KEY_PREFIX) => (1, key),
                [key] if key.starts_with(core::format::SEAL_KEY_PREFIX) => (0, key),
                ["compromised", key] => (2, key),
                _ => return Err(KeySourceError::Line { path: path.display().to_string(), line: index + 1 }),
            };
            lists[list].push_str(key);
            lists[list].push(' ');
        }
        let [seal, fingerprint, compromised] = &lists;
        Self::from_text(seal, fingerprint, compromised)
    }

    /// Returns every key's kind, id and state, the active key of each kind first.
    pub fn states(&self) -> impl Iterator<Item = (KeyKind, KeyId, KeyState)> + '_ {
        self.0.states()
    }
}

/// Returns the core's keyring, for tools that work on tokens without an engine.
impl From<Keyring> for Arc<core::Keyring> {
    fn from(keyring: Keyring) -> Self {
        keyring.0
    }
}

impl From<core::Keyring> for Keyring {
    fn from(keyring: core::Keyring) -> Self {
        Self(Arc::new(keyring))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_keys_comments_and_compromised_keys_and_errors_name_the_line() {
        let (seal, fingerprint) = Keyring::generate_texts().expect("random");
        let (leaked, _) = Keyring::generate_texts().expect("random");
        let text = format!(
            "# of the shop\n\n{}  # active\n{}\ncompromised {}\n",
            seal.as_str(),
            fingerprint.as_str(),
            leaked.as_str()
        );
        let lines = |text: &str| Keyring::from_lines(Path::new("shop.keys"), text);
        let ring = lines(&text).expect("a key file");
        let states: Vec<_> = ring.states().map(|(_, _, state)| state).collect();
        assert_eq!(states, [KeyState::Active, KeyState::Compromised, KeyState::Active]);
        let error = lines(&format!("{text}\nactive key\n")).expect_err("no key").to_string();
        assert!(error.contains("line 7 of the key file shop.keys"), "{error}");
    }

    #[test]
    fn a_missing_file_and_missing_keys_say_what_to_do() {
        let error = Keyring::from_file("no/such/file").expect_err("no file").to_string();
        assert!(error.contains("no/such/file"), "{error}");
        let error = Keyring::from_text("", "", "").expect_err("no keys").to_string();
        assert!(error.contains("seal key"), "{error}");
    }
}
