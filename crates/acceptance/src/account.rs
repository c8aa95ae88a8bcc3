//! The users of the acceptance program: everybody who logs in, but for two of a kind.

use secure_sessions::{Permission, User};

use crate::app::App;

/// A user.
#[derive(Debug)]
pub struct Account {
    /// Their name, which is the session's subject.
    pub name: String,
}

impl User for Account {
    type State = App;
    type Error = std::io::Error;

    async fn load(subject: &str, _: &App) -> Result<Option<Self>, std::io::Error> {
        match subject {
            "gone" => Ok(None),
            "broken" => Err(std::io::Error::other("no route to db-7.internal")),
            name => Ok(Some(Self { name: name.to_owned() })),
        }
    }
}

/// The permission of the user `admin`.
pub struct Admin;

impl Permission<Account> for Admin {
    fn allows(account: &Account) -> bool {
        account.name == "admin"
    }
}
