//! The second factor: time-based one-time codes (RFC 6238), each good once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use totp_rs::{Builder, Secret, SecretParseError, Totp};

use crate::users::{ACCOUNTS, Account};

/// The secrets that authenticator apps are set up with. Cheap to clone.
#[derive(Clone)]
pub struct SecondFactor(Arc<Inner>);

struct Inner {
    by_account: HashMap<&'static str, Totp>,
    /// The last step whose code was accepted: an overheard code is good for nothing.
    used: Mutex<HashMap<&'static str, u64>>,
}

/// An account's secret is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecondFactorError {
    /// Not base32.
    #[error("the one-time secret of {account}: {source}")]
    Secret {
        /// Whose.
        account: &'static str,
        /// The mistake.
        source: SecretParseError,
    },
    /// Too short, or otherwise against the RFC.
    #[error("the one-time secret of {account}: {source}")]
    Parameters {
        /// Whose.
        account: &'static str,
        /// The mistake.
        source: totp_rs::TotpError,
    },
}

impl SecondFactor {
    /// Sets every account with a secret up.
    ///
    /// # Errors
    ///
    /// [`SecondFactorError`] names the account.
    pub fn new() -> Result<Self, SecondFactorError> {
        let mut by_account = HashMap::new();
        for Account { name: account, totp_secret, .. } in ACCOUNTS {
            let Some(secret) = totp_secret else { continue };
            let secret =
                Secret::try_from_base32(secret).map_err(|source| SecondFactorError::Secret { account, source })?;
            let totp = Builder::new()
                .with_secret(secret)
                .build()
                .map_err(|source| SecondFactorError::Parameters { account, source })?;
            by_account.insert(account, totp);
        }
        Ok(Self(Arc::new(Inner { by_account, used: Mutex::default() })))
    }

    /// Returns `true` if this is the account's code at this time (seconds since 1970), a step sooner or later allowed, and
    /// was not used before.
    #[must_use]
    pub fn accepts(&self, account: &Account, code: &str, now: u64) -> bool {
        let step = self.0.by_account.get(account.name).and_then(|totp| totp.check(code.trim(), now));
        let Some(step) = step else { return false };
        let mut used = self.0.used.lock().unwrap_or_else(PoisonError::into_inner);
        let last = used.insert(account.name, step);
        if last.is_some_and(|last| last >= step) {
            used.extend(last.map(|last| (account.name, last)));
            return false;
        }
        true
    }

    /// Returns the code that the account's app shows at this time. The demo shows it too: nobody should have to set an app
    /// up for it.
    #[must_use]
    pub fn code(&self, account: &Account, now: u64) -> Option<String> {
        self.0.by_account.get(account.name).map(|totp| totp.generate(now).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::account;

    #[test]
    fn a_code_is_good_once_and_only_around_its_time() {
        let factor = SecondFactor::new().expect("set up");
        let carol = account("carol").expect("an account");
        let now = 1_800_000_000;
        let code = factor.code(&carol, now).expect("a secret");
        assert!(!factor.accepts(&carol, "000000x", now));
        assert!(!factor.accepts(&carol, &code, now + 90), "too late");
        assert!(factor.accepts(&carol, &code, now + 20));
        assert!(!factor.accepts(&carol, &code, now + 20), "used");
        let next = factor.code(&carol, now + 30).expect("a secret");
        assert!(factor.accepts(&carol, &next, now + 30));
        assert!(!factor.accepts(&carol, &code, now + 30), "older than the last that was used");
        assert!(!factor.accepts(&account("alice").expect("an account"), &next, now + 30), "has no second factor");
    }
}
