//! A session's life in a simulated world: one browser behind a slow and lossy network, a thief, and a store that keeps
//! every write. Whatever happens, the rules that honest users and the guarantees rest on are asserted.
//!
//! The handlers are written out with the core's own transitions, as an engine would use them.

use arbitrary::Arbitrary;
use rand_chacha::ChaCha8Rng;
use secure_sessions_core::format::MAX_RETIRED;
use secure_sessions_core::{
    Admitted, Arrival, Bucket, BucketPolicy, Content, DataMap, HandoffError, HandoffKey, Issued, Meta, Millis,
    NewBucket, Revision, Sealer, SessionId, Succession, Timestamp, Token, Verdict, encode,
};

const GRACE: Millis = Millis::from_secs(60);
const POLICY: BucketPolicy = BucketPolicy { grace: GRACE, touch_step: None };
const IDLE: Millis = Millis::from_secs(30 * 60);
const LIFETIME: Millis = Millis::from_secs(8 * 60 * 60);
/// The longest way between browser and server for which no honest browser is refused: half a grace.
const MAX_WAY: u64 = GRACE.get() / 2;

/// More tokens than a bucket remembers.
const LARGE_BURST: u8 = 150;

/// The next thing that happens.
#[derive(Arbitrary, Debug, Clone, Copy)]
pub enum Step {
    /// Milliseconds pass.
    Blink(u16),
    /// Tenths of a second pass.
    Wait(u16),
    /// The browser sends a request with the cookie that it holds.
    Send(Request),
    /// The browser sends many requests that change data, and never sees a response.
    Burst(u8),
    /// The thief copies the browser's cookie.
    Steal,
    /// The thief presents one of the cookies that he holds.
    Present {
        /// Which one, counted modulo their number.
        which: u8,
        /// Set to `true` if his request changes data.
        writes: bool,
    },
    /// The user logs out.
    Logout,
}

/// A request of the browser.
#[derive(Arbitrary, Debug, Clone, Copy)]
pub struct Request {
    /// Set to `true` if it changes data.
    pub writes: bool,
    /// The time that it takes to the server, in 255ths of the longest way.
    pub way: u8,
    /// The time that the handler works, in tenths of a second.
    pub work: u16,
    /// The time that the response takes, as `way`; `None`: it is lost.
    pub back: Option<u8>,
}

#[derive(Debug)]
enum Event {
    Arrive { token: Token, request: Request, by_thief: bool },
    Finish { visit: Visit, request: Request, by_thief: bool },
    Deliver(Token),
}

/// A request that was admitted and whose handler is at work.
#[derive(Debug)]
struct Visit {
    session_id: SessionId,
    handoff_key: HandoffKey,
    arrival: Arrival,
    /// The token that the bucket's handoff led to at the arrival, and the revision of that bucket.
    newest: Option<(Revision, Token)>,
}

/// The live session, beside what must be true of it.
#[derive(Debug)]
struct Live {
    bucket: Bucket,
    /// The number of changes of its data, which every admitted token must show.
    changes: u64,
    /// The fingerprint's bytes of each token, and when its successor was issued; by generation, from the first.
    issued: Vec<([u8; 16], Option<Timestamp>)>,
    /// Generation and time of each arrival that the bucket was told of.
    told: Vec<(u32, Timestamp)>,
    /// When a request last ended well: that, and not its arrival, is when the bucket sees it.
    last_seen: Timestamp,
    /// When the bucket was last written.
    last_write: Timestamp,
    /// More tokens were alive than a bucket remembers: some were forgotten.
    overflowed: bool,
    /// A thief took part.
    shared: bool,
}

/// The simulated world.
#[derive(Debug)]
pub struct History {
    sealer: &'static Sealer,
    rng: ChaCha8Rng,
    now: Timestamp,
    live: Option<Live>,
    /// The browser's cookie.
    jar: Option<Token>,
    /// The thief's cookies.
    loot: Vec<Token>,
    /// The events under way, in no order.
    pending: Vec<(Timestamp, Event)>,
    /// The number of requests that bursts may still send: a history must end.
    burst_budget: u8,
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}

impl History {
    /// A world in which nothing has happened.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sealer: crate::sealer(),
            rng: crate::rng(),
            now: Timestamp::from_millis(1_700_000_000_000),
            live: None,
            jar: None,
            loot: Vec::new(),
            pending: Vec::new(),
            burst_budget: LARGE_BURST + 50,
        }
    }

    /// Takes one step.
    pub fn take(&mut self, step: Step) {
        match step {
            Step::Blink(millis) => self.pass(u64::from(millis)),
            Step::Wait(tenths) => self.pass(u64::from(tenths) * 100),
            Step::Send(request) => match self.jar.clone() {
                Some(token) => {
                    let arrives = self.now.after(way(request.way));
                    self.pending.push((arrives, Event::Arrive { token, request, by_thief: false }));
                }
                None => self.begin(),
            },
            Step::Burst(count) => {
                // Few at a time, as a rule, and once more than a bucket remembers: that takes long.
                let count = if count > 250 { LARGE_BURST } else { count % 8 }.min(self.burst_budget);
                self.burst_budget -= count;
                let request = Request { writes: true, way: 0, work: 0, back: None };
                for token in self.jar.iter().cycle().take(usize::from(count)) {
                    self.pending.push((self.now, Event::Arrive { token: token.clone(), request, by_thief: false }));
                }
            }
            Step::Steal => self.loot.extend(self.jar.clone()),
            Step::Present { which, writes } => {
                if !self.loot.is_empty() {
                    let token = self.loot[usize::from(which) % self.loot.len()].clone();
                    self.arrive(token, Request { writes, way: 0, work: 0, back: Some(0) }, true);
                }
            }
            Step::Logout => {
                self.live = None;
                self.jar = None;
            }
        }
    }

    /// Lets everything that is under way come to its end.
    pub fn finish(&mut self) {
        self.pass(24 * 60 * 60 * 1000);
    }

    /// Lets time pass, and what is due in it happen, in order.
    fn pass(&mut self, millis: u64) {
        let until = self.now.after(Millis::new(millis));
        while let Some(index) = self.next_due(until) {
            let (at, event) = self.pending.remove(index);
            self.now = at;
            match event {
                Event::Arrive { token, request, by_thief } => self.arrive(token, request, by_thief),
                Event::Finish { visit, request, by_thief } => self.end_of_handler(&visit, request, by_thief),
                Event::Deliver(token) => self.jar = Some(token),
            }
        }
        self.now = until;
    }

    fn next_due(&self, until: Timestamp) -> Option<usize> {
        let due = self.pending.iter().enumerate().filter(|(_, (at, _))| *at <= until);
        due.min_by_key(|(index, (at, _))| (*at, *index)).map(|(index, _)| index)
    }

    /// A new session, whose cookie reaches the browser at once.
    fn begin(&mut self) {
        let id = SessionId::random(&mut self.rng).expect("randomness");
        let handoff_key = HandoffKey::random(&mut self.rng).expect("randomness");
        let expires_at = self.now.after(LIFETIME);
        let Issued { token, fingerprint, .. } = self.seal(id, &handoff_key, 1, expires_at, 0);
        let new = NewBucket {
            id,
            subject: None,
            group: None,
            label: None,
            expires_at,
            idle_timeout: Some(IDLE),
            first: fingerprint,
        };
        self.live = Some(Live {
            bucket: Bucket::create(new, self.now),
            changes: 0,
            issued: vec![(*fingerprint.as_bytes(), None)],
            told: Vec::new(),
            last_seen: self.now,
            last_write: self.now,
            overflowed: false,
            shared: false,
        });
        self.jar = Some(token);
    }

    fn seal(&mut self, id: SessionId, key: &HandoffKey, generation: u32, expires: Timestamp, changes: u64) -> Issued {
        let mut data = DataMap::new();
        data.insert_encoded("changes", &encode(&changes).expect("a number")).expect("a short value");
        let content = Content {
            session_id: id,
            handoff_key: key,
            generation,
            issued_at: self.now,
            expires_at: expires,
            meta: &Meta::default(),
            data: &data,
        };
        self.sealer.seal(&content, &mut self.rng).expect("little data")
    }

    fn arrive(&mut self, token: Token, request: Request, by_thief: bool) {
        let opened = self.sealer.open(token).expect("every token of this world was issued in it");
        let (id, now) = (opened.session_id(), self.now);
        let Some(live) = self.live.as_mut().filter(|live| live.bucket.id == id) else {
            // Its session has ended; the browser learns that it is anonymous.
            if !by_thief {
                self.jar = None;
            }
            return;
        };
        let arrival = Arrival { generation: opened.generation(), fingerprint: opened.fingerprint(), at: now };
        live.shared |= by_thief;

        let mut newest = None;
        let handoff_key = match self.sealer.admit(&live.bucket, opened, now, None, &POLICY) {
            Verdict::Current(admitted) => {
                live.check_newest(&admitted);
                admitted.handoff_key
            }
            Verdict::Superseded(superseded) => {
                let key = superseded.handoff_key().clone();
                let (admitted, token) = self
                    .sealer
                    .follow(&live.bucket, &key, now, None)
                    .expect("while a token is alive, so is the way on");
                live.check_newest(&admitted);
                newest = Some((live.bucket.revision, token));
                key
            }
            Verdict::Expired => {
                let (deadline, idle) = (live.bucket.expires_at, live.last_seen.after(IDLE));
                assert!(now >= deadline || now >= idle, "expired early");
                self.revoke();
                return;
            }
            Verdict::Replayed => {
                assert!(live.shared, "an honest browser was taken for a thief");
                assert!(live.is_dead(arrival.generation, now), "a token died early");
                self.revoke();
                return;
            }
            // One of more superseded tokens at once than the bucket remembers: refused, and the session goes on.
            Verdict::Evicted => {
                assert!(live.overflowed, "pushed out of a list that had room");
                return;
            }
            verdict => panic!("{verdict:?} in a store that keeps every write"),
        };
        live.check_admitted(&arrival, now);
        let visit = Visit { session_id: id, handoff_key, arrival, newest };
        let finishes = now.after(Millis::new(u64::from(request.work) * 100));
        if request.work == 0 {
            self.end_of_handler(&visit, request, by_thief);
        } else {
            self.pending.push((finishes, Event::Finish { visit, request, by_thief }));
        }
    }

    fn revoke(&mut self) {
        self.live = None;
        self.jar = None;
    }

    fn end_of_handler(&mut self, visit: &Visit, request: Request, by_thief: bool) {
        let newest = if request.writes { self.commit(visit) } else { self.read(visit) };
        let Some(token) = newest else { return };
        if by_thief {
            self.loot.push(token);
        } else if let Some(back) = request.back {
            self.pending.push((self.now.after(way(back)), Event::Deliver(token)));
        }
    }

    /// The end of a request that changed data: one swap, from the newest state on. Gives the token for the response.
    fn commit(&mut self, visit: &Visit) -> Option<Token> {
        let now = self.now;
        let live = self.live.as_ref().filter(|live| live.bucket.id == visit.session_id)?;
        let current = live.bucket.current.matches(&visit.arrival.fingerprint);
        if !current && let Err(error) = self.follow(visit) {
            let worked = now.since(visit.arrival.at);
            let allowed = match error {
                HandoffError::Missing => worked > GRACE,
                HandoffError::Expired => now >= live.bucket.expires_at,
                _ => false,
            };
            assert!(allowed, "no way to the newest state after {worked:?}: {error}");
            return None;
        }

        let (id, expires_at) = (live.bucket.id, live.bucket.expires_at);
        let (generation, changes) = (live.bucket.next_generation()?, live.changes + 1);
        let Issued { token, fingerprint, .. } = self.seal(id, &visit.handoff_key, generation, expires_at, changes);
        let handoff = self.sealer.seal_handoff(&id, &visit.handoff_key, &token, &mut self.rng).expect("randomness");
        let succession = Succession {
            fingerprint,
            handoff,
            subject: None,
            group: None,
            label: None,
            expires_at,
            idle_timeout: Some(IDLE),
        };

        let live = self.live.as_mut()?;
        let next = live.bucket.rotated(&visit.arrival, succession, now, &POLICY).expect("few generations");
        assert_eq!(next.generation, generation);
        if let Some((_, superseded_at)) = live.issued.last_mut() {
            *superseded_at = Some(now);
        }
        live.issued.push((*fingerprint.as_bytes(), None));
        live.changes = changes;
        live.replace(next, &visit.arrival, now);
        Some(token)
    }

    /// The end of a request that only read: a write of `last_seen_at` if it is due. Gives the token for the response, if
    /// the browser does not hold the newest.
    fn read(&mut self, visit: &Visit) -> Option<Token> {
        let now = self.now;
        let live = self.live.as_mut().filter(|live| live.bucket.id == visit.session_id)?;
        live.last_seen = now;
        if live.bucket.touch_due(now, &POLICY) {
            let next = live.bucket.touched(&visit.arrival, now, &POLICY);
            live.replace(next, &visit.arrival, now);
        }
        if live.bucket.current.matches(&visit.arrival.fingerprint) {
            return None;
        }
        self.follow(visit).ok()
    }

    fn follow(&self, visit: &Visit) -> Result<Token, HandoffError> {
        let live = self.live.as_ref().ok_or(HandoffError::Missing)?;
        // The same bucket at the same moment, asked with the same key, answers the same: most of a history's time is
        // cryptography.
        if let Some((revision, token)) = &visit.newest
            && *revision == live.bucket.revision
            && self.now == visit.arrival.at
        {
            return Ok(token.clone());
        }
        let (admitted, token) = self.sealer.follow(&live.bucket, &visit.handoff_key, self.now, None)?;
        live.check_newest(&admitted);
        Ok(token)
    }
}

impl Live {
    /// Only the newest data ever comes into reach.
    fn check_newest(&self, admitted: &Admitted) {
        let changes: Option<u64> = admitted.data.get("changes").expect("a number");
        assert_eq!(changes, Some(self.changes), "old data came back");
        assert_eq!(admitted.generation, self.bucket.generation);
    }

    /// Nothing that is dead is admitted, nor is an idle timeout late by more than its step.
    fn check_admitted(&self, arrival: &Arrival, now: Timestamp) {
        let (fingerprint, _) = self.issued[arrival.generation as usize - 1];
        assert_eq!(*arrival.fingerprint.as_bytes(), fingerprint, "admitted what was never issued");
        let latest = self.last_write.after(IDLE).after(self.bucket.touch_step(&POLICY));
        assert!(now <= latest.max(self.last_seen.after(IDLE)), "an idle session was admitted");
        assert!(!self.is_dead(arrival.generation, now), "a dead token was admitted");
    }

    /// Returns `true` if the bucket was told, more than a grace ago, that a newer token had arrived more than a grace after
    /// this one was superseded.
    fn is_dead(&self, generation: u32, now: Timestamp) -> bool {
        let (_, superseded_at) = self.issued[generation as usize - 1];
        let moved_on = superseded_at.and_then(|superseded_at| {
            let newer = self.told.iter().filter(|(newer, _)| *newer > generation);
            newer.map(|(_, at)| *at).find(|at| *at > superseded_at.after(GRACE))
        });
        moved_on.is_some_and(|at| now > at.after(GRACE))
    }

    /// Writes the bucket, if it moved as a bucket may.
    fn replace(&mut self, next: Bucket, arrival: &Arrival, now: Timestamp) {
        assert!(next.revision > self.bucket.revision);
        assert!(next.last_seen_at >= self.bucket.last_seen_at && next.rotated_at >= self.bucket.rotated_at);
        assert!(next.created_at == self.bucket.created_at && next.expires_at == self.bucket.expires_at);
        assert!(next.retired.len() <= MAX_RETIRED, "the bucket outgrew its bound");
        assert!(next.retired.iter().all(|retired| retired.generation < next.generation));
        self.overflowed |= self.bucket.retired.len() == MAX_RETIRED;
        // Settled at the arrival, written only now.
        self.told.push((arrival.generation, arrival.at));
        self.last_seen = now;
        self.last_write = now;
        self.bucket = next;
    }
}

fn way(part: u8) -> Millis {
    Millis::new(u64::from(part) * MAX_WAY / 255)
}
