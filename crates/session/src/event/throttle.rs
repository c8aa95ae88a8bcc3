//! Keeps an attacker who can raise events at will from flooding a log: a token bucket for each kind of event, and for
//! each session of which a copy is presented.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use secure_sessions_core::{Handle, KeyId};

use crate::event::measure::Measure;
use crate::event::{Event, Observer};

/// The number of events of one kind that pass.
///
/// Logins, logouts and revocations of logged-in sessions always pass: see [`Event::may_be_flooded`]. Events that do not
/// pass are counted, and reported as one [`Event::Suppressed`] with the next event that does.
///
/// [`Event::Replayed`] is limited for each session apart, so that an attacker with one dead cookie cannot hide the
/// replay of another session. To bound memory and log, at most 256 sessions have a limit of their own at a time, and
/// all further ones share one. A session that was quiet for as long as its limit takes to refill makes room for the
/// next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventLimit {
    /// The number of events that pass at once.
    pub burst: u32,
    /// The number of events that pass in each minute from then on.
    pub per_minute: u32,
}

impl Default for EventLimit {
    fn default() -> Self {
        Self { burst: 20, per_minute: 60 }
    }
}

/// An observer that passes on no more than an [`EventLimit`] allows: for sinks that a flood would fill.
///
/// ```
/// use secure_sessions::{Event, EventLimit, Observer, Throttled};
///
/// let pager = Throttled::new(|event: &Event| println!("page the operator: {event}"), EventLimit { burst: 3, per_minute: 1 });
/// pager.observe(&Event::Ambiguous { count: 2 });
/// ```
#[derive(Debug)]
pub struct Throttled<O> {
    observer: O,
    throttle: Throttle,
    start: Instant,
}

impl<O: Observer> Throttled<O> {
    /// Wraps an observer, and limits the events that it sees.
    pub fn new(observer: O, limit: EventLimit) -> Self {
        Self { observer, throttle: Throttle::new(limit), start: Instant::now() }
    }
}

impl<O: Observer> Observer for Throttled<O> {
    fn observe(&self, event: &Event) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.throttle.pass(event, now, |event| self.observer.observe(event));
    }

    // A measurement adds to a few numbers, and fills nothing.
    fn measure(&self, measure: &Measure) {
        self.observer.measure(measure);
    }

    fn wants_measures(&self) -> bool {
        self.observer.wants_measures()
    }
}

/// The token buckets of all kinds.
#[derive(Debug)]
pub(crate) struct Throttle {
    limit: EventLimit,
    kinds: Mutex<Vec<Kind>>,
}

#[derive(Debug)]
struct Kind {
    name: &'static str,
    scope: Scope,
    /// The credit left; one event takes [`EVENT`].
    credit: u64,
    refilled_at: u64,
    suppressed: u64,
}

/// The scope within which a kind is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// All events of the name that have no scope of their own.
    Any,
    /// A forgery under one key must not hide one under another. Only keys of the ring are ever named here.
    Key(KeyId),
    /// A replay of one session must not hide one of another.
    Session(Handle),
}

impl Scope {
    fn of(event: &Event) -> Self {
        match event {
            Event::Forged { key, .. } => Self::Key(*key),
            Event::Replayed { session, .. } => Self::Session(*session),
            _ => Self::Any,
        }
    }
}

/// The most sessions that have a limit of their own at a time. An attacker can create sessions, so the number is
/// bounded.
const MAX_SESSIONS: usize = 256;

/// The credit that one event takes: a minute of milliseconds, so that `per_minute` accrues each millisecond.
const EVENT: u64 = 60_000;

impl Throttle {
    pub(crate) fn new(limit: EventLimit) -> Self {
        Self { limit, kinds: Mutex::default() }
    }

    /// Returns `true` if the next event has suppressed ones to report.
    pub(crate) fn has_suppressed(&self) -> bool {
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.iter().any(|kind| kind.suppressed > 0)
    }

    /// Passes the event on if there is credit for it. Before it, reports each kind that has suppressed events and
    /// credit again. `now` is in milliseconds of any clock; a clock that steps back gives no credit.
    pub(crate) fn pass(&self, event: &Event, now: u64, emit: impl Fn(&Event)) {
        let limited = event.may_be_flooded();
        let mut passes = !limited;
        let mut reports = Vec::new();
        {
            let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
            let ours = limited.then(|| self.place_of(&mut kinds, event, now));
            for (at, kind) in kinds.iter_mut().enumerate() {
                let is_ours = ours == Some(at);
                // This kind neither limits the event nor owes a report.
                if !is_ours && kind.suppressed == 0 {
                    continue;
                }
                kind.refill(now, self.limit);
                let has_credit = kind.take();
                if has_credit && kind.suppressed > 0 {
                    reports.push(Event::Suppressed { event: kind.name, count: std::mem::take(&mut kind.suppressed) });
                }
                if is_ours {
                    passes = has_credit;
                    kind.suppressed += u64::from(!has_credit);
                }
            }
        }
        reports.iter().for_each(&emit);
        if passes {
            emit(event);
        }
    }

    /// Returns the place of the bucket that limits this event, and creates the bucket if there is none.
    fn place_of(&self, kinds: &mut Vec<Kind>, event: &Event, now: u64) -> usize {
        let mut scope = Scope::of(event);
        let find = |kinds: &[Kind], scope| kinds.iter().position(|kind| kind.is_of(event, scope));
        if let Some(at) = find(kinds, scope) {
            return at;
        }
        if matches!(scope, Scope::Session(_)) && sessions(kinds) >= MAX_SESSIONS {
            // A full bucket that owes no report equals a new one, so it can go.
            kinds.retain_mut(|kind| {
                kind.refill(now, self.limit);
                !matches!(kind.scope, Scope::Session(_)) || kind.suppressed > 0 || !kind.is_full(self.limit)
            });
            if sessions(kinds) >= MAX_SESSIONS {
                scope = Scope::Any;
                if let Some(at) = find(kinds, scope) {
                    return at;
                }
            }
        }
        kinds.push(Kind::new(event, scope, now, self.limit));
        kinds.len() - 1
    }

    /// Reports all suppressed events that are not reported yet.
    pub(crate) fn flush(&self, emit: impl Fn(&Event)) {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let suppressed = kinds.iter_mut().filter(|kind| kind.suppressed > 0);
        let reports: Vec<_> = suppressed
            .map(|kind| Event::Suppressed { event: kind.name, count: std::mem::take(&mut kind.suppressed) })
            .collect();
        drop(kinds);
        reports.iter().for_each(emit);
    }
}

fn sessions(kinds: &[Kind]) -> usize {
    kinds.iter().filter(|kind| matches!(kind.scope, Scope::Session(_))).count()
}

fn full(limit: EventLimit) -> u64 {
    u64::from(limit.burst) * EVENT
}

impl Kind {
    fn new(event: &Event, scope: Scope, now: u64, limit: EventLimit) -> Self {
        Self { name: event.name(), scope, credit: full(limit), refilled_at: now, suppressed: 0 }
    }

    fn is_of(&self, event: &Event, scope: Scope) -> bool {
        self.scope == scope && self.name == event.name()
    }

    fn is_full(&self, limit: EventLimit) -> bool {
        self.credit == full(limit)
    }

    fn refill(&mut self, now: u64, limit: EventLimit) {
        let elapsed = now.saturating_sub(self.refilled_at);
        let credit = self.credit.saturating_add(elapsed.saturating_mul(limit.per_minute.into()));
        self.credit = credit.min(full(limit));
        self.refilled_at = now;
    }

    fn take(&mut self) -> bool {
        let rest = self.credit.checked_sub(EVENT);
        self.credit = rest.unwrap_or(self.credit);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use secure_sessions_core::SessionId;

    use super::*;
    use crate::{EndReason, Keyring};

    const LIMIT: EventLimit = EventLimit { burst: 2, per_minute: 60 };
    const FLOOD: Event = Event::Ambiguous { count: 2 };

    fn passed(throttle: &Throttle, event: &Event, now: u64) -> Vec<String> {
        let seen = RefCell::new(Vec::new());
        throttle.pass(event, now, |event| {
            seen.borrow_mut().push(match event {
                Event::Suppressed { event, count } => format!("{count} {event}"),
                event => event.name().to_owned(),
            });
        });
        seen.into_inner()
    }

    #[test]
    fn a_flood_passes_by_burst_and_refill_and_one_line_counts_the_rest() {
        let throttle = Throttle::new(LIMIT);
        for _ in 0..2 {
            assert_eq!(passed(&throttle, &FLOOD, 5), ["ambiguous"]);
        }
        for _ in 0..10 {
            assert_eq!(passed(&throttle, &FLOOD, 900), [""; 0]);
        }
        assert_eq!(passed(&throttle, &FLOOD, 1005), ["10 ambiguous", "ambiguous"]);
        assert_eq!(passed(&throttle, &FLOOD, 1006), [""; 0]);
        // A clock that steps back gives no credit, and takes none.
        assert_eq!(passed(&throttle, &FLOOD, 0), [""; 0]);
        assert_eq!(passed(&throttle, &FLOOD, 1000), ["2 ambiguous", "ambiguous"]);
    }

    #[test]
    fn a_flood_hides_no_other_kind_and_the_next_event_of_any_brings_its_count() {
        let throttle = Throttle::new(LIMIT);
        let error = Event::StoreError { operation: "load", message: String::new() };
        for _ in 0..5 {
            passed(&throttle, &FLOOD, 0);
        }
        assert_eq!(passed(&throttle, &error, 0), ["store_error"]);
        assert_eq!(passed(&throttle, &error, 2000), ["3 ambiguous", "store_error"]);
        assert_eq!(passed(&throttle, &error, 4000), ["store_error"]);
    }

    #[test]
    fn a_forgery_under_one_key_hides_none_under_another() {
        let throttle = Throttle::new(LIMIT);
        let ring = Keyring::generate().expect("random");
        let keys: Vec<Event> = ring.states().map(|(kind, key, _)| Event::Forged { kind, key }).collect();
        for _ in 0..5 {
            passed(&throttle, &keys[0], 0);
        }
        assert_eq!(passed(&throttle, &keys[1], 0), ["forged"]);
    }

    fn replay(ring: &Keyring, number: usize, revoked: bool) -> Event {
        let mut id = [7; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        Event::Replayed { session: ring.0.handle(&SessionId::from_bytes(id)), revoked }
    }

    #[test]
    fn a_flood_of_ones_own_dead_cookie_hides_no_other_sessions_replay() {
        let (throttle, ring) = (Throttle::new(LIMIT), Keyring::generate().expect("random"));
        let (own, other) = (replay(&ring, 1, false), replay(&ring, 2, false));
        for _ in 0..5 {
            passed(&throttle, &own, 0);
        }
        assert_eq!(passed(&throttle, &own, 0), [""; 0]);
        assert_eq!(passed(&throttle, &other, 0), ["replayed"]);
        for _ in 0..5 {
            assert_eq!(passed(&throttle, &replay(&ring, 1, true), 0), ["replayed"], "a revocation");
        }
        assert_eq!(passed(&throttle, &other, 2000), ["4 replayed", "replayed"]);
    }

    #[test]
    fn replays_of_many_sessions_take_bounded_memory_and_log_lines() {
        let (throttle, ring) = (Throttle::new(LIMIT), Keyring::generate().expect("random"));
        let kinds = |throttle: &Throttle| throttle.kinds.lock().expect("no panic").len();
        let lines = |first: usize, now| {
            (first..first + 2000).map(|n| passed(&throttle, &replay(&ring, n, false), now).len()).sum::<usize>()
        };
        // Each of the first has its own burst of two, and uses one of it; all others share one burst of two.
        assert_eq!(lines(0, 0), MAX_SESSIONS + 2);
        assert_eq!(kinds(&throttle), MAX_SESSIONS + 1);
        // Once refilled, sessions that stay away make room. One of the two shared lines reports the events left out
        // before.
        assert_eq!(lines(2000, 60_000), MAX_SESSIONS + 2);
        assert_eq!(kinds(&throttle), MAX_SESSIONS + 1);
    }

    #[test]
    fn endings_and_renewals_of_sessions_without_a_subject_are_limited() {
        let (throttle, ring) = (Throttle::new(LIMIT), Keyring::generate().expect("random"));
        let session = ring.0.handle(&SessionId::from_bytes([7; 16]));
        let logout = Event::Ended { session: Some(session), count: 1, reason: EndReason::Logout, logged_in: false };
        let renewal = Event::Renewed { old: session, session, login: false, logged_in: false };
        for event in [&logout, &renewal] {
            let lines: usize = (0..10).map(|_| passed(&throttle, event, 0).len()).sum();
            assert_eq!(lines, 2, "{event}");
        }
    }

    #[test]
    fn logins_and_logouts_are_never_left_out() {
        let ring = Keyring::generate().expect("random");
        let session = ring.0.handle(&SessionId::from_bytes([7; 16]));
        let throttle = Throttle::new(EventLimit { burst: 0, per_minute: 0 });
        let login = Event::Renewed { old: session, session, login: true, logged_in: true };
        let renewal = Event::Renewed { old: session, session, login: false, logged_in: true };
        let logout = Event::Ended { session: Some(session), count: 1, reason: EndReason::Logout, logged_in: true };
        let revoked = Event::Ended { session: None, count: 9, reason: EndReason::Revoked, logged_in: true };
        for _ in 0..3 {
            assert_eq!(passed(&throttle, &login, 0), ["renewed"]);
            assert_eq!(passed(&throttle, &renewal, 0), ["renewed"]);
            assert_eq!(passed(&throttle, &logout, 0), ["ended"]);
            assert_eq!(passed(&throttle, &revoked, 0), ["ended"]);
            assert_eq!(passed(&throttle, &replay(&ring, 1, true), 0), ["replayed"]);
            assert_eq!(passed(&throttle, &FLOOD, 0), [""; 0]);
        }
        let last = RefCell::new(Vec::new());
        throttle.flush(|event| last.borrow_mut().push(event.clone()));
        assert_eq!(last.into_inner(), [Event::Suppressed { event: "ambiguous", count: 3 }]);
    }
}
