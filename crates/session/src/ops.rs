//! What a request wants to change: a log of operations, applied to the newest state at commit.

use std::sync::Arc;

use secure_sessions_core::{DataMap, Meta, Millis, Timestamp};
use zeroize::Zeroizing;

use crate::error::SessionError;

/// A change that depends on what is there: it runs now, and again on the newest state after a conflict.
pub(crate) type Change = Arc<dyn Fn(&mut DataMap) -> Result<(), SessionError> + Send + Sync>;

#[derive(Clone)]
pub(crate) enum Operation {
    Insert {
        key: Box<str>,
        value: Zeroizing<Vec<u8>>,
    },
    Remove {
        key: Box<str>,
    },
    /// Of the keys that are there at commit.
    Clear,
    Change(Change),
}

impl Operation {
    pub(crate) fn apply(&self, data: &mut DataMap) -> Result<(), SessionError> {
        match self {
            Self::Insert { key, value } => {
                data.insert_encoded(key, value)?;
            }
            Self::Remove { key } => {
                data.remove(key);
            }
            Self::Clear => *data = DataMap::new(),
            Self::Change(change) => change(data)?,
        }
        Ok(())
    }
}

/// Moves a session to a new id, or ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Renew,
    Login,
    Logout,
}

/// Changes of the engine's own entries.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) login: Option<Login>,
    pub(crate) lifetime: Option<Millis>,
    pub(crate) idle_timeout: Option<Millis>,
    pub(crate) persistent: Option<bool>,
}

#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) subject: String,
    pub(crate) at: Timestamp,
}

impl Settings {
    pub(crate) fn is_empty(&self) -> bool {
        self.login.is_none() && self.lifetime.is_none() && self.idle_timeout.is_none() && self.persistent.is_none()
    }

    pub(crate) fn apply(&self, meta: &mut Meta) {
        if let Some(login) = &self.login {
            meta.subject = Some(login.subject.clone());
            meta.authenticated_at = Some(login.at);
            meta.assurance_level = None;
        }
        meta.lifetime = self.lifetime.or(meta.lifetime);
        meta.idle_timeout = self.idle_timeout.or(meta.idle_timeout);
        meta.persistent = self.persistent.or(meta.persistent);
    }
}

/// All that a request wants to change and that is not committed yet.
#[derive(Clone, Default)]
pub(crate) struct Pending {
    pub(crate) operations: Vec<Operation>,
    pub(crate) mark: Option<Mark>,
    pub(crate) settings: Settings,
    pub(crate) label: Option<String>,
    /// Makes a session even though it is empty: something outside depends on its id.
    pub(crate) keep: bool,
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.operations.is_empty()
            && self.mark.is_none()
            && self.settings.is_empty()
            && self.label.is_none()
            && !self.keep
    }

    /// All but a logout.
    pub(crate) fn discard(&mut self) {
        let logout = self.mark.filter(|mark| *mark == Mark::Logout);
        *self = Self { mark: logout, ..Self::default() };
    }

    /// The content after these changes.
    pub(crate) fn applied(&self, meta: &Meta, data: &DataMap) -> Result<(Meta, DataMap), SessionError> {
        let mut data = data.clone();
        for operation in &self.operations {
            operation.apply(&mut data)?;
        }
        let mut meta = meta.clone();
        self.settings.apply(&mut meta);
        Ok((meta, data))
    }

    /// Takes out what an earlier try already carried: all that was pending then came first.
    pub(crate) fn settle(&mut self, carried: &Self) {
        self.operations.drain(..carried.operations.len().min(self.operations.len()));
        if carried.mark == self.mark {
            self.mark = None;
        }
        if carried.settings.login.is_some() && self.mark.is_none() {
            self.settings.login = None;
        }
        if carried.label == self.label {
            self.label = None;
        }
        self.keep = false;
    }

    /// Puts what a failed commit had taken back in front of what came since.
    pub(crate) fn restore(&mut self, mut taken: Self) {
        taken.operations.append(&mut self.operations);
        taken.mark = match (taken.mark, self.mark) {
            // A login renews anyway.
            (Some(Mark::Login), Some(Mark::Renew)) => Some(Mark::Login),
            (before, since) => since.or(before),
        };
        let Settings { login, lifetime, idle_timeout, persistent } = std::mem::take(&mut self.settings);
        let settings = &mut taken.settings;
        settings.login = login.or(settings.login.take());
        settings.lifetime = lifetime.or(settings.lifetime);
        settings.idle_timeout = idle_timeout.or(settings.idle_timeout);
        settings.persistent = persistent.or(settings.persistent);
        taken.label = self.label.take().or(taken.label);
        taken.keep |= self.keep;
        *self = taken;
    }
}
