//! The logouts of the last minutes: a token counts once, and a login that was under way meanwhile is refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::token::{LEEWAY, LogoutToken, Whom};

/// The most that are remembered. Beyond, the one that expires first is forgotten. Only the provider can fill this up.
const MOST: usize = 10_000;

/// The memory of one process. If several serve your site, keep it where all of them look: a table of your database.
#[derive(Clone, Default)]
pub(crate) struct Recent(Arc<Mutex<HashMap<Key, Logout>>>);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Token(String),
    Whom(Whom),
}

/// Times in seconds since 1970.
#[derive(Clone, Copy)]
struct Logout {
    issued_at: u64,
    /// After that, the token is refused in any case.
    until: u64,
}

impl Recent {
    /// Returns `true` if the token has done its work already.
    pub(crate) fn is_used(&self, token: &LogoutToken) -> bool {
        self.lock().contains_key(&Key::Token(token.id.clone()))
    }

    /// Remembers that the token has done its work. Before that, the provider may send it again.
    pub(crate) fn use_up(&self, token: &LogoutToken, now: u64) {
        self.remember(Key::Token(token.id.clone()), token, now);
    }

    /// Remembers the logout for the logins that are under way.
    pub(crate) fn announce(&self, token: &LogoutToken, now: u64) {
        self.remember(Key::Whom(token.whom.clone()), token, now);
    }

    /// Returns `true` if a logout has ended what a login with an ID token of this time would begin. The provider gives
    /// its times in seconds: within the same one, the logout counts as the later.
    pub(crate) fn has_ended(&self, whom: Whom, issued_at: u64) -> bool {
        self.lock().get(&Key::Whom(whom)).is_some_and(|logout| issued_at <= logout.issued_at)
    }

    fn remember(&self, key: Key, token: &LogoutToken, now: u64) {
        let (issued_at, until) = (token.issued_at, token.expires_at.saturating_add(LEEWAY));
        let mut kept = self.lock();
        // An older token that comes late takes nothing back.
        let logout = kept.get(&key).map_or(Logout { issued_at, until }, |before| Logout {
            issued_at: issued_at.max(before.issued_at),
            until: until.max(before.until),
        });
        if kept.len() >= MOST {
            kept.retain(|_, logout| logout.until > now);
        }
        if kept.len() >= MOST
            && let Some(first) = kept.iter().min_by_key(|(_, logout)| logout.until)
        {
            let first = first.0.clone();
            kept.remove(&first);
        }
        kept.insert(key, logout);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Logout>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: &str, issued_at: u64) -> LogoutToken {
        LogoutToken { id: id.to_owned(), whom: Whom::Session(id.to_owned()), issued_at, expires_at: issued_at + 120 }
    }

    #[test]
    fn the_memory_of_logouts_is_bounded_and_forgets_the_oldest() {
        let recent = Recent::default();
        let (first, last) = (token("first", 1000), token("last", 1001));
        recent.use_up(&first, 1000);
        for id in 0..MOST {
            recent.use_up(&token(&id.to_string(), 1001), 1001);
        }
        assert!(!recent.is_used(&first));
        recent.use_up(&last, 1001);
        assert!(recent.is_used(&last));
        assert_eq!(recent.lock().len(), MOST);
        // All of them have expired.
        recent.use_up(&first, 2000);
        assert!(recent.is_used(&first));
        assert_eq!(recent.lock().len(), 1);
    }

    #[test]
    fn a_logout_ends_the_logins_from_before_it() {
        let recent = Recent::default();
        recent.announce(&token("one", 1000), 1000);
        let ended = |sid: &str, issued_at| recent.has_ended(Whom::Session(sid.to_owned()), issued_at);
        assert!(ended("one", 990) && ended("one", 1000));
        assert!(!ended("one", 1001) && !ended("another", 990));
    }

    #[test]
    fn an_older_logout_that_comes_again_takes_no_newer_one_back() {
        let recent = Recent::default();
        recent.announce(&token("one", 1000), 1000);
        recent.announce(&token("one", 1050), 1050);
        recent.announce(&token("one", 1000), 1060);
        let whom = || Whom::Session("one".to_owned());
        assert!(recent.has_ended(whom(), 1050) && !recent.has_ended(whom(), 1051));
        assert_eq!(recent.lock()[&Key::Whom(whom())].until, 1050 + 120 + LEEWAY);
    }
}
