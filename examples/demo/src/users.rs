//! The three accounts of the demo. Their passwords and one-time secrets are public, and the passwords hashed all the same.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};

/// One account, with the password that the login page shows.
#[derive(Debug, Clone, Copy)]
pub struct Account {
    /// Both the name that is typed and the session's subject.
    pub name: &'static str,
    /// Shown on the login page.
    pub password: &'static str,
    /// The role, which says what it may do.
    pub role: Role,
    /// The secret of its authenticator app, in base32; `None`: it has no second factor.
    pub totp_secret: Option<&'static str>,
    /// The name by which the person is greeted.
    pub full_name: &'static str,
}

/// The rights of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Shop.
    Customer,
    /// That, and see and end everybody's sessions.
    Admin,
}

impl Role {
    /// As the pages show it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Admin => "admin",
        }
    }
}

/// All accounts.
pub const ACCOUNTS: [Account; 3] = [
    Account {
        name: "alice",
        password: "looking-glass",
        role: Role::Customer,
        totp_secret: None,
        full_name: "Alice Moreau",
    },
    Account { name: "bob", password: "hard-hat", role: Role::Customer, totp_secret: None, full_name: "Bob Okafor" },
    Account {
        name: "carol",
        password: "north-star",
        role: Role::Admin,
        totp_secret: Some("GRUW4ZDFOJTGC3DMNFXGO3TPOR4Q"),
        full_name: "Carol Lindqvist",
    },
];

/// Argon2id hashes of the passwords, as a user table would keep them. Cheap to clone.
#[derive(Clone)]
pub struct Users(Arc<[String]>);

/// The password hasher failed, which says nothing about the password.
#[derive(Debug, thiserror::Error)]
#[error("the password could not be hashed: {0}")]
pub struct HashError(String);

impl Users {
    /// Hashes every account's password, each with its own salt.
    ///
    /// # Errors
    ///
    /// [`HashError`] if the system has no randomness.
    pub fn hash() -> Result<Self, HashError> {
        let hash = |account: &Account| {
            Argon2::default().hash_password(account.password.as_bytes()).map(|hash| hash.to_string())
        };
        let hashes: Result<Vec<_>, _> = ACCOUNTS.iter().map(hash).collect();
        hashes.map(|hashes| Self(hashes.into())).map_err(|error| HashError(error.to_string()))
    }

    /// The account, if the password is right. An unknown name takes as long as a wrong password.
    ///
    /// # Errors
    ///
    /// [`HashError`] if the hasher fails.
    pub async fn verify(&self, name: &str, password: String) -> Result<Option<Account>, HashError> {
        let position = ACCOUNTS.iter().position(|account| account.name == name);
        let users = self.clone();
        let check = move || users.check(position.unwrap_or(0), &password);
        // Argon2 is meant to be slow: not on a thread that serves other requests.
        let right = tokio::task::spawn_blocking(check).await.map_err(|error| HashError(error.to_string()))??;
        Ok(position.filter(|_| right).map(|position| ACCOUNTS[position]))
    }

    fn check(&self, position: usize, password: &str) -> Result<bool, HashError> {
        let hash = PasswordHash::new(&self.0[position]).map_err(|error| HashError(error.to_string()))?;
        Ok(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
    }
}

/// The account of a subject.
#[must_use]
pub fn account(name: &str) -> Option<Account> {
    ACCOUNTS.into_iter().find(|account| account.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_a_known_account_is_good() {
        let users = Users::hash().expect("hashed");
        let verify = async |name, password: &str| users.verify(name, password.to_owned()).await.expect("no failure");
        assert_eq!(verify("alice", "looking-glass").await.map(|account| account.name), Some("alice"));
        assert!(verify("alice", "hard-hat").await.is_none());
        assert!(verify("mallory", "looking-glass").await.is_none());
        assert!(verify("alice", "").await.is_none());
    }
}
