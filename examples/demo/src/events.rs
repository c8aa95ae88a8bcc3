//! The events that the engine reported lately: an observer keeps the newest ones in a bounded ring.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use secure_sessions_axum::{Event, Observer};
use tokio::sync::watch;

/// The newest events of one session manager, at most `capacity` of them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventRing(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    /// Changes with every event.
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    capacity: usize,
    /// The number of events that there ever were: the number of the next one.
    next: u64,
    events: VecDeque<Recorded>,
}

/// One event, as the pages show it.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The time of the event.
    pub at: SystemTime,
    /// The event's stable name.
    pub name: &'static str,
    /// The session's public handle, if it is about one.
    pub session: Option<String>,
    /// The event, described in a sentence.
    pub text: String,
}

impl EventRing {
    /// An empty ring.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let ring = Mutex::new(Ring { capacity, next: 0, events: VecDeque::with_capacity(capacity) });
        Self(Arc::new(Shared { ring, newest: watch::Sender::new(0) }))
    }

    /// Returns the place of the next event, for [`since`](Self::since).
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.lock().next
    }

    /// Returns the events after the mark, the oldest first, as far as the ring still has them.
    #[must_use]
    pub fn since(&self, mark: u64) -> Vec<Recorded> {
        self.after(mark).0
    }

    /// As [`since`](Self::since), with the mark behind what it gives.
    #[must_use]
    pub fn after(&self, mark: u64) -> (Vec<Recorded>, u64) {
        let ring = self.lock();
        let wanted = usize::try_from(ring.next.saturating_sub(mark)).unwrap_or(usize::MAX);
        let skip = ring.events.len().saturating_sub(wanted);
        (ring.events.iter().skip(skip).cloned().collect(), ring.next)
    }

    /// To wait for the next event.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.newest.subscribe()
    }

    /// The newest events, the newest first.
    #[must_use]
    pub fn newest(&self, at_most: usize) -> Vec<Recorded> {
        self.lock().events.iter().rev().take(at_most).cloned().collect()
    }

    /// The newest events about one session, the newest first.
    #[must_use]
    pub fn about(&self, session: &str, at_most: usize) -> Vec<Recorded> {
        let ring = self.lock();
        let about = |event: &&Recorded| event.session.as_deref() == Some(session);
        ring.events.iter().rev().filter(about).take(at_most).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        // No code under the lock can panic half-way.
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: Recorded) {
        let mut ring = self.lock();
        if ring.events.len() == ring.capacity {
            ring.events.pop_front();
        }
        ring.events.push_back(event);
        ring.next += 1;
        self.0.newest.send_replace(ring.next);
    }
}

impl Observer for EventRing {
    fn observe(&self, event: &Event) {
        self.push(Recorded {
            at: SystemTime::now(),
            name: event.name(),
            session: event.session().map(|handle| handle.to_string()),
            text: event.to_string(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &'static str, session: Option<&str>) -> Recorded {
        Recorded { at: SystemTime::UNIX_EPOCH, name, session: session.map(str::to_owned), text: String::new() }
    }

    fn names(events: &[Recorded]) -> Vec<&'static str> {
        events.iter().map(|event| event.name).collect()
    }

    #[test]
    fn the_ring_keeps_the_newest_and_tells_what_came_after_a_mark() {
        let ring = EventRing::new(3);
        ring.push(event("a", None));
        let mark = ring.mark();
        assert!(ring.since(mark).is_empty());
        ring.push(event("b", None));
        ring.push(event("c", None));
        assert_eq!(names(&ring.since(mark)), ["b", "c"]);
        ring.push(event("d", None));
        ring.push(event("e", None));
        assert_eq!(names(&ring.since(mark)), ["c", "d", "e"]);
    }

    #[test]
    fn events_about_one_session_come_newest_first() {
        let ring = EventRing::new(8);
        for (name, session) in [("a", Some("x")), ("b", Some("y")), ("c", Some("x")), ("d", None), ("e", Some("x"))] {
            ring.push(event(name, session));
        }
        assert_eq!(names(&ring.about("x", 2)), ["e", "c"]);
    }
}
