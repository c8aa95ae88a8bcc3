//! The pending changes of a request: a log of operations, applied to the newest state at commit.

use std::borrow::Cow;
use std::sync::Arc;

use secure_sessions_core::{
    DataMap, DeviceId, Meta, Millis, ProviderSession, References, SecretBytes, Timestamp, VaultError,
};

use crate::error::SessionError;
use crate::request::messages::FlashChanges;
use crate::request::once::TakeOnce;
use crate::request::private::{Private, PrivateUpdate};

/// A change that depends on the current data: it runs now, and again on the newest state after a conflict.
pub(crate) type Change = Arc<dyn Fn(&mut DataMap) -> Result<(), SessionError> + Send + Sync>;

#[derive(Clone)]
pub(crate) enum Operation {
    Insert {
        key: Box<str>,
        value: SecretBytes,
    },
    Remove {
        key: Box<str>,
    },
    /// Removes all keys that are present at commit.
    Clear,
    Change(Change),
    TakeOnce(Arc<TakeOnce>),
    /// Sets a value in the vault.
    Keep(Arc<Private>),
    /// Changes a value in the vault. The commit runs the closure before it applies the result here.
    Update(Arc<PrivateUpdate>),
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
            Self::TakeOnce(take) => {
                take.apply(data);
            }
            // A key is in one place: what is kept in the vault leaves the cookie.
            Self::Keep(private) => {
                data.remove(private.key());
            }
            Self::Update(update) => {
                data.remove(update.key());
            }
        }
        Ok(())
    }

    /// Does to the references what [`apply`](Self::apply) does to the data.
    pub(crate) fn apply_to_vault(&self, references: &mut References) -> Result<(), VaultError> {
        match self {
            Self::Insert { key, .. } | Self::Remove { key } => {
                references.remove(key);
            }
            Self::Clear => *references = References::default(),
            Self::Keep(private) => references.insert(private.key(), private.reference().clone())?,
            Self::Update(update) => update.apply(references)?,
            Self::Change(_) | Self::TakeOnce(_) => {}
        }
        Ok(())
    }

    /// Returns `true` if it changes these references.
    fn changes_vault(&self, references: &References) -> bool {
        match self {
            Self::Insert { key, .. } | Self::Remove { key } => references.get(key).is_some(),
            Self::Clear => !references.is_empty(),
            Self::Keep(_) | Self::Update(_) => true,
            Self::Change(_) | Self::TakeOnce(_) => false,
        }
    }
}

/// A move of the session to a new id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Renew,
    Login,
}

/// The pending end of the session that the request came with. Later changes of the request belong to a new session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) why: Why,
    /// `true` if the new session begins with the data of the old one.
    pub(crate) keeps_data: bool,
    /// The subject whose other sessions all end as well.
    pub(crate) everywhere: Option<String>,
}

/// The reason for an ending, which decides if the ending survives a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// A logout, which is kept even if the request fails: its user believes that the session is over.
    Logout,
    /// A login as another subject. It is discarded together with that login.
    Replaced,
}

/// The pending changes of the engine's own entries.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) login: Option<Authenticated>,
    /// The step-up, which applies after the login if there is one.
    pub(crate) step_up: Option<StepUp>,
    pub(crate) lifetime: Option<Millis>,
    pub(crate) idle_timeout: Option<Millis>,
    pub(crate) persistent: Option<bool>,
    pub(crate) flash: FlashChanges,
    /// The device that an unbound session is to be bound to.
    pub(crate) device: Option<DeviceId>,
}

/// The subject who logged in, with time, assurance level and the session at the identity provider.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Authenticated {
    pub(crate) subject: String,
    pub(crate) at: Timestamp,
    pub(crate) assurance: Option<u8>,
    pub(crate) provider_session: Option<ProviderSession>,
}

impl Authenticated {
    pub(crate) fn apply(&self, meta: &mut Meta) {
        meta.subject = Some(self.subject.clone());
        meta.authenticated_at = Some(self.at);
        meta.assurance_level = self.assurance;
        meta.provider_session = self.provider_session;
        // The session before may have been somebody else's, or an attacker's: the binding is offered anew.
        meta.device = None;
    }
}

/// A further authentication of the subject who is logged in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct StepUp {
    pub(crate) at: Timestamp,
    pub(crate) assurance: u8,
}

impl StepUp {
    pub(crate) fn apply(&self, meta: &mut Meta) {
        meta.authenticated_at = Some(self.at);
        meta.assurance_level = Some(self.assurance);
    }
}

impl Settings {
    pub(crate) fn is_empty(&self) -> bool {
        self.are_upkeep() && self.device.is_none()
    }

    /// Returns `true` if the application made none of these changes. Binding a session to its device is upkeep.
    fn are_upkeep(&self) -> bool {
        self.login.is_none()
            && self.step_up.is_none()
            && self.lifetime.is_none()
            && self.idle_timeout.is_none()
            && self.persistent.is_none()
            && self.flash.is_empty()
    }

    /// Returns the engine's entries after these changes.
    pub(crate) fn applied_to(&self, meta: &Meta) -> Meta {
        let mut meta = meta.clone();
        self.apply(&mut meta);
        meta
    }

    pub(crate) fn apply(&self, meta: &mut Meta) {
        if let Some(login) = &self.login {
            login.apply(meta);
        }
        if let Some(step_up) = &self.step_up {
            step_up.apply(meta);
        }
        meta.lifetime = self.lifetime.or(meta.lifetime);
        meta.idle_timeout = self.idle_timeout.or(meta.idle_timeout);
        meta.persistent = self.persistent.or(meta.persistent);
        self.flash.apply(meta);
        // Another request may have bound the session meanwhile. Its device stays.
        if let Some(device) = self.device.filter(|_| self.login.is_none()) {
            meta.device.get_or_insert(device);
        }
    }
}

/// All changes of a request that are not committed yet.
#[derive(Clone, Default)]
pub(crate) struct Pending {
    /// The ending, which comes before all other changes here.
    pub(crate) ending: Option<Ending>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) mark: Option<Mark>,
    pub(crate) settings: Settings,
    pub(crate) label: Option<String>,
    /// `true` if the commit must create a session even if it is empty, because a CSRF token depends on its id.
    pub(crate) keep: bool,
    /// The number of times that the operations were dropped, or cut off from the base's data.
    era: u32,
    /// The number of endings, each of which drops everything except the operations.
    endings: u32,
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.ending.is_none() && !self.has_changes()
    }

    /// Returns `true` if there is any change besides an ending.
    pub(crate) fn has_changes(&self) -> bool {
        self.changes_content() || !self.settings.is_empty()
    }

    /// Returns `true` if the application changed nothing.
    pub(crate) fn is_upkeep(&self) -> bool {
        self.ending.is_none() && !self.changes_content() && self.settings.are_upkeep()
    }

    fn changes_content(&self) -> bool {
        !self.operations.is_empty() || self.mark.is_some() || self.label.is_some() || self.keep
    }

    /// Returns `true` if somebody logs in.
    pub(crate) fn logs_in(&self) -> bool {
        self.mark == Some(Mark::Login)
    }

    /// Returns `true` if the commit begins another session than the one that the request came with, or ends that one.
    pub(crate) fn leaves_session(&self) -> bool {
        self.ending.is_some() || self.logs_in()
    }

    /// Returns the removals whose value one request alone may get.
    pub(crate) fn takes(&self) -> impl Iterator<Item = &Arc<TakeOnce>> {
        self.operations.iter().filter_map(|operation| match operation {
            Operation::TakeOnce(take) => Some(take),
            _ => None,
        })
    }

    /// Takes all changes out, and leaves only the two counters.
    pub(crate) fn take(&mut self) -> Self {
        let Self { era, endings, .. } = *self;
        std::mem::replace(self, Self { era, endings, ..Self::default() })
    }

    /// Adds an ending and drops all other pending changes, except the operations if the ending keeps the data.
    pub(crate) fn end(&mut self, ending: Ending) {
        let operations = if ending.keeps_data { std::mem::take(&mut self.operations) } else { Vec::new() };
        let before = self.ending.take();
        // If an earlier ending dropped the data, there is none to keep but that of the operations since.
        let keeps_data = ending.keeps_data && before.as_ref().is_none_or(|before| before.keeps_data);
        // A plain logout after a logout everywhere must not take the latter back.
        let everywhere = ending.everywhere.or(before.and_then(|before| before.everywhere));
        // A new era tells `drop_committed` that an earlier attempt's operations are no longer in front of these.
        let era = self.era.wrapping_add(u32::from(!keeps_data));
        let (ending, endings) = (Some(Ending { keeps_data, everywhere, ..ending }), self.endings.wrapping_add(1));
        *self = Self { ending, operations, era, endings, ..Self::default() };
    }

    /// Drops everything except a logout.
    pub(crate) fn discard(&mut self) {
        // A replacement goes with its login: a failed login as another subject must not log the current one out.
        let ending = self.ending.take().filter(|ending| ending.why == Why::Logout);
        *self = Self { ending, era: self.era.wrapping_add(1), endings: self.endings, ..Self::default() };
    }

    /// Returns `true` if these changes concern the vault of a session with these references.
    pub(crate) fn changes_vault(&self, references: &References) -> bool {
        self.operations.iter().any(|operation| operation.changes_vault(references))
    }

    /// Returns the references after these changes.
    pub(crate) fn applied_to_vault<'r>(
        &self,
        references: Cow<'r, References>,
    ) -> Result<Cow<'r, References>, VaultError> {
        if !self.changes_vault(&references) {
            return Ok(references);
        }
        let mut references = references.into_owned();
        for operation in &self.operations {
            operation.apply_to_vault(&mut references)?;
        }
        Ok(Cow::Owned(references))
    }

    /// Returns the private values among these changes.
    pub(crate) fn privates(&self) -> impl Iterator<Item = Arc<Private>> + '_ {
        self.operations.iter().filter_map(|operation| match operation {
            Operation::Keep(private) => Some(Arc::clone(private)),
            Operation::Update(update) => update.result(),
            _ => None,
        })
    }

    /// Returns the data after these changes.
    pub(crate) fn applied_to(&self, data: &DataMap) -> Result<DataMap, SessionError> {
        let mut data = data.clone();
        for operation in &self.operations {
            operation.apply(&mut data)?;
        }
        Ok(data)
    }

    /// Removes the changes that an earlier attempt already committed. They come first, before all later ones.
    pub(crate) fn drop_committed(&mut self, carried: &Self) {
        if carried.era != self.era {
            return; // An ending or a discard since then dropped it.
        }
        self.operations.drain(..carried.operations.len().min(self.operations.len()));
        if carried.endings != self.endings {
            return; // What is left came after an ending that keeps the data, and so does that ending.
        }
        self.ending = None;
        if carried.mark == self.mark {
            self.mark = None;
        }
        // A login that differs was added since. It needs no further id: no client has seen a token of this one.
        if carried.settings.login == self.settings.login {
            self.settings.login = None;
        }
        if carried.settings.step_up == self.settings.step_up {
            self.settings.step_up = None;
        }
        if carried.label == self.label {
            self.label = None;
        }
        if carried.settings.device == self.settings.device {
            self.settings.device = None;
        }
        self.settings.flash.drop_committed(&carried.settings.flash);
        // The attempt has created the session, so the id that a CSRF token depends on exists.
        self.keep = false;
    }

    /// Puts the changes of a failed commit back, in front of those made since.
    pub(crate) fn restore(&mut self, mut taken: Self) {
        if let Some(ending) = self.ending.take() {
            // The ending was made later, so it also drops the changes taken before it.
            taken.end(ending);
        }
        (taken.era, taken.endings) = (self.era, self.endings);
        taken.operations.append(&mut self.operations);
        taken.mark = match (taken.mark, self.mark) {
            // A login moves the session to a new id anyway, so a later renew must not weaken it.
            (Some(Mark::Login), Some(Mark::Renew)) => Some(Mark::Login),
            (before, since) => since.or(before),
        };
        let Settings { login, step_up, lifetime, idle_timeout, persistent, flash, device } =
            std::mem::take(&mut self.settings);
        let settings = &mut taken.settings;
        // A login replaces an earlier step-up: that one was another authentication's.
        settings.step_up = step_up.or(settings.step_up.filter(|_| login.is_none()));
        settings.login = login.or(settings.login.take());
        settings.lifetime = lifetime.or(settings.lifetime);
        settings.idle_timeout = idle_timeout.or(settings.idle_timeout);
        settings.persistent = persistent.or(settings.persistent);
        settings.device = device.or(settings.device);
        settings.flash = std::mem::take(&mut settings.flash).then(flash);
        taken.label = self.label.take().or(taken.label);
        taken.keep |= self.keep;
        *self = taken;
    }
}
