//! A bounded memory of opened tokens, so that a token which comes again need not be opened again.
//!
//! The text and the keys alone determine what a token opens to, so that can be remembered. The verdict cannot: bucket,
//! times and subject's tag are judged at every request, for opened and remembered tokens alike.

use std::hint::black_box;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use secure_sessions_core::{
    Admitted, ContextError, Keyring, Millis, Opened, Sealer, SecretBytes, SessionId, Sizes, SubjectTag, Timestamp,
};

use crate::clock::Clock;

/// The longest time for which a token is remembered.
const REMEMBER_FOR: Millis = Millis::from_secs(60);
/// The longest delay until a forgotten token's bytes are overwritten.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// The number of places in the set that the end of a text selects.
const WAYS: usize = 4;
/// The number of bytes at the end of a text that select its set. They are part of its mark, and so differ between any
/// two tokens.
const END: usize = 8;

/// The sealer of one transport under one keyring, and the tokens that it opened. New keys start with an empty memory.
pub(crate) struct Sealing {
    sealer: Sealer,
    memory: Option<Arc<Memory>>,
}

impl Sealing {
    /// Creates a sealer that remembers up to `places` tokens; none if that is zero.
    pub(crate) fn new(sealer: Sealer, places: usize, clock: &Arc<dyn Clock>) -> Self {
        Self { sealer, memory: Memory::new(places, clock) }
    }

    pub(crate) fn for_context(&self, context: &str, sizes: Sizes) -> Result<Self, ContextError> {
        Ok(Self { sealer: self.sealer.for_context(context, sizes)?, memory: self.emptied() })
    }

    pub(crate) fn with_keyring(&self, keyring: Arc<Keyring>) -> Self {
        Self { sealer: self.sealer.with_keyring(keyring), memory: self.emptied() }
    }

    fn emptied(&self) -> Option<Arc<Memory>> {
        self.memory.as_ref().and_then(|memory| Memory::new(memory.places(), &memory.clock))
    }

    /// Returns the opened token of this text, or `None` if it is not remembered.
    pub(crate) fn recall(&self, text: &[u8], now: Timestamp) -> Option<Opened> {
        self.memory.as_ref()?.recall(text, now)
    }

    /// Returns an entry for a text that comes for the second time, or `None`. Pass it to [`remember`](Self::remember)
    /// once its token is found to be current.
    pub(crate) fn second_visit(&self, text: &[u8], opened: &Opened, now: Timestamp) -> Option<Remembered> {
        let comes_again = self.memory.as_ref()?.set(text).comes_again(text);
        // The response replaces a token of a leaked key, so it will not come again.
        let is_kept = comes_again && opened.sealed_under().compromised().is_none();
        is_kept.then(|| Remembered { text: SecretBytes::from(text.to_vec()), opened: opened.clone(), since: now })
    }

    pub(crate) fn remember(&self, remembered: Remembered) {
        if let Some(memory) = &self.memory {
            memory.remember(remembered);
        }
    }

    /// Remembers a token that leaves with the response, unless the keys have changed since it was sealed.
    pub(crate) fn remember_issued(&self, text: &str, newest: &Admitted, subject: Option<&SubjectTag>) {
        let Some(memory) = self.memory.as_ref().filter(|_| newest.keys == self.active_keys()) else { return };
        if let Some(opened) = newest.reopened(subject) {
            let text = SecretBytes::from(text.as_bytes().to_vec());
            memory.remember(Remembered { text, opened, since: newest.issued_at });
        }
    }

    /// Forgets the tokens of one session.
    pub(crate) fn forget(&self, id: &SessionId) {
        self.forget_where(|opened| opened.session_id() == *id);
    }

    /// Forgets the tokens for which `is_over` returns `true`.
    pub(crate) fn forget_where(&self, is_over: impl Fn(&Opened) -> bool) {
        if let Some(memory) = &self.memory {
            memory.retain(|remembered| !is_over(&remembered.opened));
        }
    }
}

impl Deref for Sealing {
    type Target = Sealer;

    fn deref(&self) -> &Sealer {
        &self.sealer
    }
}

/// A token's text and its opened form. Both are overwritten when they are dropped.
pub(crate) struct Remembered {
    text: SecretBytes,
    opened: Opened,
    since: Timestamp,
}

impl Remembered {
    pub(crate) fn is_of(&self, newest: &Admitted) -> bool {
        self.opened.session_id() == newest.session_id && self.opened.generation() == newest.generation
    }

    /// Returns `true` until the entry is too old, or the clock was set back behind it.
    fn is_fresh(&self, now: Timestamp) -> bool {
        self.since <= now && now < self.since.after(REMEMBER_FOR)
    }
}

struct Memory {
    sets: Box<[Mutex<Set>]>,
    /// The number of places in each set.
    room: usize,
    clock: Arc<dyn Clock>,
    /// `true` while a thread is due to remove stale entries.
    is_swept: AtomicBool,
}

/// The tokens whose ends select this set.
#[derive(Default)]
struct Set {
    remembered: Vec<Remembered>,
    /// The ends of texts that came once; `next` is the one to be replaced.
    seen: [[u8; END]; WAYS],
    next: usize,
}

impl Memory {
    fn new(places: usize, clock: &Arc<dyn Clock>) -> Option<Arc<Self>> {
        let (sets, room) = ((places / WAYS).max(1), places.min(WAYS));
        let memory = || Self {
            sets: (0..sets).map(|_| Mutex::default()).collect(),
            room,
            clock: Arc::clone(clock),
            is_swept: AtomicBool::new(false),
        };
        (places > 0).then(|| Arc::new(memory()))
    }

    fn places(&self) -> usize {
        self.sets.len() * self.room
    }

    fn set(&self, text: &[u8]) -> MutexGuard<'_, Set> {
        // An attacker cannot aim at a set: the last characters are part of a mark.
        let end = u64::from_le_bytes(end_of(text)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        locked(&self.sets[usize::try_from(end).unwrap_or_default() % self.sets.len()])
    }

    fn recall(&self, text: &[u8], now: Timestamp) -> Option<Opened> {
        let mut set = self.set(text);
        let at = set.remembered.iter().position(|remembered| is_same(&remembered.text, text))?;
        if !set.remembered[at].is_fresh(now) {
            set.remembered.swap_remove(at);
            return None;
        }
        Some(set.remembered[at].opened.clone())
    }

    fn remember(self: &Arc<Self>, new: Remembered) {
        let mut set = self.set(&new.text);
        set.remembered.retain(|remembered| !is_same(&remembered.text, &new.text));
        if set.remembered.len() >= self.room {
            let oldest = (0..set.remembered.len()).min_by_key(|at| set.remembered[*at].since);
            if let Some(oldest) = oldest {
                set.remembered.swap_remove(oldest);
            }
        }
        set.remembered.push(new);
        drop(set);
        self.sweep_later();
    }

    /// Keeps the entries for which `keeps` returns `true`. Returns `true` if any is left.
    fn retain(&self, keeps: impl Fn(&Remembered) -> bool) -> bool {
        self.sets.iter().fold(false, |is_left, set| {
            let mut set = locked(set);
            set.remembered.retain(&keeps);
            is_left || !set.remembered.is_empty()
        })
    }

    /// Ensures that a thread forgets the new entry, since no further request may come that does. The thread ends when
    /// nothing is left.
    fn sweep_later(self: &Arc<Self>) {
        if self.is_swept.load(Ordering::SeqCst) || self.is_swept.swap(true, Ordering::SeqCst) {
            return;
        }
        let memory = Arc::downgrade(self);
        let sweep = move || {
            loop {
                thread::sleep(SWEEP_EVERY);
                let Some(memory) = memory.upgrade() else { return };
                // Cleared first, so that an entry which arrives behind the sweep starts another one.
                memory.is_swept.store(false, Ordering::SeqCst);
                let now = memory.clock.now();
                let is_left = memory.retain(|remembered| remembered.is_fresh(now));
                if !is_left || memory.is_swept.swap(true, Ordering::SeqCst) {
                    return;
                }
            }
        };
        if thread::Builder::new().name("session-memory".to_owned()).spawn(sweep).is_err() {
            // Without a thread nothing is overwritten in time, so nothing is kept.
            self.retain(|_| false);
            self.is_swept.store(false, Ordering::SeqCst);
        }
    }
}

impl Set {
    /// Records that the text came. Returns `true` if it came before.
    fn comes_again(&mut self, text: &[u8]) -> bool {
        let end = end_of(text);
        let came = self.seen.contains(&end);
        if !came {
            self.seen[self.next] = end;
            self.next = (self.next + 1) % WAYS;
        }
        came
    }
}

fn end_of(text: &[u8]) -> [u8; END] {
    text.last_chunk().copied().unwrap_or_default()
}

/// Returns `true` if two texts are equal. The time depends on their lengths alone.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let difference = || one.iter().zip(other).fold(0, |difference, (one, other)| difference | (one ^ other));
    one.len() == other.len() && black_box(difference()) == 0
}

fn locked(set: &Mutex<Set>) -> MutexGuard<'_, Set> {
    // Nothing panics under this lock except a failed allocation, which ends the process.
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
