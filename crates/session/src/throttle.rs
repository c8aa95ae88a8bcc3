//! Keeps whoever can raise events at will from flooding a log: a token bucket for each kind of event.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use secure_sessions_core::KeyId;

use crate::event::{Event, Observer};

/// How many events of one kind pass.
///
/// What an honest login or logout raises always passes: see [`Event::may_be_flooded`]. What does not pass is counted, and
/// reported as one [`Event::Suppressed`] with the next event that does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventLimit {
    /// So many at once.
    pub burst: u32,
    /// So many a minute from then on.
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
    /// Limits what the observer sees.
    pub fn new(observer: O, limit: EventLimit) -> Self {
        Self { observer, throttle: Throttle::new(limit), start: Instant::now() }
    }
}

impl<O: Observer> Observer for Throttled<O> {
    fn observe(&self, event: &Event) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.throttle.pass(event, now, |event| self.observer.observe(event));
    }
}

/// The buckets of all kinds.
#[derive(Debug)]
pub(crate) struct Throttle {
    limit: EventLimit,
    kinds: Mutex<Vec<Kind>>,
}

#[derive(Debug)]
struct Kind {
    name: &'static str,
    /// A forgery under one key must not hide one under another. Only keys of the ring are ever named here.
    key: Option<KeyId>,
    /// Where one event is [`EVENT`].
    credit: u64,
    refilled_at: u64,
    suppressed: u64,
}

/// The credit that one event takes: a minute of milliseconds, so that `per_minute` accrues each millisecond.
const EVENT: u64 = 60_000;

impl Throttle {
    pub(crate) fn new(limit: EventLimit) -> Self {
        Self { limit, kinds: Mutex::default() }
    }

    /// Whether there is something to report with the next event.
    pub(crate) fn has_suppressed(&self) -> bool {
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.iter().any(|kind| kind.suppressed > 0)
    }

    /// Passes the event on if there is credit for it, after a report of each kind of which some were suppressed and that
    /// has credit again. `now` is in milliseconds of any clock; one that steps back gives no credit.
    pub(crate) fn pass(&self, event: &Event, now: u64, emit: impl Fn(&Event)) {
        let limited = event.may_be_flooded();
        let mut passes = !limited;
        let mut reports = Vec::new();
        {
            let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
            if limited && !kinds.iter().any(|kind| kind.is_of(event)) {
                kinds.push(Kind::new(event, now, self.limit));
            }
            for kind in kinds.iter_mut() {
                let is_ours = limited && kind.is_of(event);
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

    /// Reports what is still to be reported.
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

impl Kind {
    fn new(event: &Event, now: u64, limit: EventLimit) -> Self {
        Self {
            name: event.name(),
            key: leaked_key(event),
            credit: u64::from(limit.burst) * EVENT,
            refilled_at: now,
            suppressed: 0,
        }
    }

    fn is_of(&self, event: &Event) -> bool {
        self.name == event.name() && self.key == leaked_key(event)
    }

    fn refill(&mut self, now: u64, limit: EventLimit) {
        let elapsed = now.saturating_sub(self.refilled_at);
        let credit = self.credit.saturating_add(elapsed.saturating_mul(limit.per_minute.into()));
        self.credit = credit.min(u64::from(limit.burst) * EVENT);
        self.refilled_at = now;
    }

    fn take(&mut self) -> bool {
        let rest = self.credit.checked_sub(EVENT);
        self.credit = rest.unwrap_or(self.credit);
        rest.is_some()
    }
}

fn leaked_key(event: &Event) -> Option<KeyId> {
    if let Event::Forged { key, .. } = event { Some(*key) } else { None }
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
    fn a_flood_passes_up_to_its_burst_and_then_as_it_is_refilled_with_what_was_left_out_as_one_line() {
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
    fn a_flood_of_one_kind_hides_no_other_and_its_count_comes_with_the_next_event_of_any() {
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

    #[test]
    fn logins_and_logouts_are_never_left_out() {
        let ring = Keyring::generate().expect("random");
        let session = ring.0.handle(&SessionId::from_bytes([7; 16]));
        let throttle = Throttle::new(EventLimit { burst: 0, per_minute: 0 });
        let login = Event::Renewed { old: session, session, login: true };
        let logout = Event::Ended { session: Some(session), count: 1, reason: EndReason::Logout };
        for _ in 0..3 {
            assert_eq!(passed(&throttle, &login, 0), ["renewed"]);
            assert_eq!(passed(&throttle, &logout, 0), ["ended"]);
            assert_eq!(passed(&throttle, &FLOOD, 0), [""; 0]);
        }
        let last = RefCell::new(Vec::new());
        throttle.flush(|event| last.borrow_mut().push(event.clone()));
        assert_eq!(last.into_inner(), [Event::Suppressed { event: "ambiguous", count: 3 }]);
    }
}
