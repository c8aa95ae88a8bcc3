//! What the threads do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use secure_sessions::{CachedStore, Keyring, ManualClock, MemoryStore, OnReplay, Session, SessionManager};
use secure_sessions_store::SessionStore;

use crate::cases::Raw;
use crate::client::{request, request_now};
use crate::growth::Cookies;

/// What the threads of a pass do.
pub struct Case {
    /// What it is called.
    pub name: &'static str,
    work: Work,
}

#[derive(Clone)]
enum Work {
    /// Opens a cookie, and looks nowhere.
    Open { raw: Arc<Raw>, cookie: String },
    /// The same with a map behind one lock: what a global lock costs.
    Look { raw: Arc<Raw>, cookie: String },
    /// One session, whose newest cookie all threads present, as the tabs of a browser do.
    Hot { application: Application, act: Act, jar: Arc<Mutex<Newest>> },
    /// Many sessions, one after the other.
    Cold { application: Application, act: Act, cookies: Arc<Cold> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Read,
    Write,
}

#[derive(Clone)]
struct Application {
    manager: SessionManager,
    clock: ManualClock,
}

/// The newest cookie of a session, and how many there were.
struct Newest {
    cookie: Arc<str>,
    number: u64,
}

/// The cookies of many sessions, each presented before any comes again.
struct Cold {
    cookies: Cookies,
    next: AtomicUsize,
}

/// What one thread of a pass presents.
pub(super) struct Client {
    work: Work,
    /// The place of the next of many cookies.
    next: usize,
}

/// So many sessions that they do not fit into a cache.
const MANY: usize = 1_000_000;
/// What lies between two writes of one session.
const BETWEEN: Duration = Duration::from_secs(1);
/// So many later cookies make one that a browser would not keep.
const OUT_OF_DATE: u64 = 20;

/// Every case, its sessions logged in.
///
/// # Errors
///
/// If a login fails.
pub fn cases() -> Result<Vec<Case>> {
    let raw = Arc::new(Raw::new());
    let cookie = raw.seal(265);
    let look = Work::Look { raw: Arc::clone(&raw), cookie: cookie.clone() };
    Ok(vec![
        Case { name: "floor: a cookie opened, no store", work: Work::Open { raw, cookie } },
        Case { name: "the same, and a map behind one lock", work: look },
        Case { name: "MemoryStore, one session, reads", work: hot(memory()?, Act::Read)? },
        Case { name: "MemoryStore, a million sessions, reads", work: cold(memory()?, Act::Read)? },
        Case { name: "MemoryStore, one session, writes", work: hot(memory()?, Act::Write)? },
        Case { name: "MemoryStore, a million sessions, writes", work: cold(memory()?, Act::Write)? },
        Case { name: "CachedStore, one session, reads", work: hot(cached()?, Act::Read)? },
        Case { name: "CachedStore, a million sessions, reads", work: cold(cached()?, Act::Read)? },
        Case { name: "CachedStore, one session, writes", work: hot(cached()?, Act::Write)? },
    ])
}

fn memory() -> Result<Application> {
    Application::on(MemoryStore::new())
}

/// What it remembers is not out of date while the benchmark runs, and nothing is pushed out.
fn cached() -> Result<Application> {
    Application::on(CachedStore::new(MemoryStore::new(), 2 * MANY, Duration::from_secs(3600)))
}

fn hot(application: Application, act: Act) -> Result<Work> {
    let cookie = application.log_in("ada")?.into();
    Ok(Work::Hot { application, act, jar: Arc::new(Mutex::new(Newest { cookie, number: 0 })) })
}

fn cold(application: Application, act: Act) -> Result<Work> {
    let mut cookies = Cookies::default();
    for number in 0..MANY {
        cookies.add(application.log_in(&format!("user {number}"))?.as_bytes())?;
    }
    Ok(Work::Cold {
        application,
        act,
        cookies: Arc::new(Cold { cookies: cookies.shuffled(), next: AtomicUsize::new(0) }),
    })
}

impl Application {
    fn on(store: impl SessionStore) -> Result<Self> {
        let clock = ManualClock::at_millis(1_800_000_000_000);
        let builder = SessionManager::builder(Keyring::generate()?, store).clock(clock.clone());
        let long = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        let builder = builder.absolute_timeout(long).idle_timeout(None).on_replay(OnReplay::Refuse);
        Ok(Self { manager: builder.build()?, clock })
    }

    fn log_in(&self, subject: &str) -> Result<String> {
        let cookie = request_now(&self.manager, b"", |session| {
            session.login(subject)?;
            Ok(session.insert("visits", 1_u64)?)
        })?;
        cookie.context("a login set no cookie")
    }

    async fn act(&self, act: Act, cookie: &[u8]) -> Result<Option<String>> {
        request(&self.manager, cookie, |session: &Session| match act {
            Act::Read => {
                ensure!(session.get::<u64>("visits")?.is_some(), "the session was not there");
                Ok(())
            }
            // A thread that stood still for a hundred writes of the other presents a cookie that is dead by then.
            Act::Write if session.is_new() => Ok(()),
            Act::Write => Ok(session.update("visits", |visits: &mut u64| *visits += 1)?),
        })
        .await
    }
}

impl Case {
    /// For a thread of the next pass, which makes so many requests.
    pub(super) fn client(&self, requests: usize) -> Result<Client> {
        let mut next = 0;
        if let Work::Cold { cookies, act, .. } = &self.work {
            next = cookies.next.fetch_add(requests, Ordering::Relaxed);
            let is_new = next + requests <= cookies.cookies.len();
            ensure!(*act == Act::Read || is_new, "a session would be written twice, with the same cookie");
        }
        Ok(Client { work: self.work.clone(), next })
    }
}

impl Client {
    pub(super) async fn request(&mut self) -> Result<()> {
        match &self.work {
            Work::Open { raw, cookie } => ensure!(raw.unseal(cookie.as_bytes()).is_some(), "not opened"),
            Work::Look { raw, cookie } => ensure!(raw.open(cookie.as_bytes()), "not known"),
            Work::Hot { application, act, jar } => {
                let jar = || jar.lock().unwrap_or_else(PoisonError::into_inner);
                let (presented, number) = {
                    let newest = jar();
                    (Arc::clone(&newest.cookie), newest.number)
                };
                if let Some(cookie) = application.act(*act, presented.as_bytes()).await? {
                    application.clock.advance(BETWEEN);
                    let mut newest = jar();
                    // An answer to a thread that stood still meanwhile is out of date.
                    if newest.number < number + OUT_OF_DATE {
                        *newest = Newest { cookie: cookie.into(), number: newest.number + 1 };
                    }
                }
            }
            Work::Cold { application, act, cookies } => {
                application.act(*act, cookies.cookies.at(self.next)).await?;
                self.next += 1;
            }
        }
        Ok(())
    }
}
