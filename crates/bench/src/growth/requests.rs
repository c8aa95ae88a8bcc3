//! The curves of one session's request: over its data, its past, the keys, and the other cookies that the browser sends.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::FutureExt;
use secure_sessions::{Keyring, ManualClock, MemoryStore, Session, SessionManager};
use secure_sessions_core::{Sealer, Sizes, SubjectTag};
use secure_sessions_store::{Page, SessionStore, Tags};

use super::curve::{Curve, Law};
use super::measure::{Effort, Subject, points};
use crate::client::request_now;

/// The curves of one session, those whose names contain `only`.
///
/// # Errors
///
/// If a request is not answered as it should be.
pub fn curves(effort: Effort, only: &str) -> Result<Vec<Curve>> {
    type Subjects = fn() -> Result<Vec<Subject>>;
    let curves: [(_, _, _, Subjects); 8] = [
        ("a read, payload", "bytes of data", Law::Linear, || payload(Act::Read)),
        ("a write, payload", "bytes of data", Law::Linear, || payload(Act::Write)),
        ("a read of one, keys in the session", "keys", Law::Linear, || keys(Act::Read)),
        ("a write of one, keys in the session", "keys", Law::Linear, || keys(Act::Write)),
        ("a read, retired cookies of the session", "retired", Law::Linear, retired_read),
        ("a write, retired cookies of the session", "retired", Law::Linear, retired_write),
        ("a read, keys in the ring", "keys of each kind", Law::Constant, ring),
        ("a read, cookies of others in the header", "cookies", Law::Linear, cookies),
    ];
    let wanted = curves.into_iter().filter(|(name, ..)| name.contains(only));
    let curve = |(name, unit, law, subjects): (_, _, _, Subjects)| {
        Ok(Curve { name, unit, law: Some(law), points: points(&mut subjects()?, effort)? })
    };
    wanted.map(curve).collect()
}

/// The use that a request makes of the value under [`COUNT`].
#[derive(Debug, Clone, Copy)]
enum Act {
    Read,
    Write,
}

/// The key whose value is read or changed, the last of all.
const COUNT: &str = "visits";
const SUBJECT: &str = "ada";
/// The time between two writes, unless that time is the one that is measured.
const BETWEEN: Duration = Duration::from_secs(10);

/// A browser with one session, and the application that it talks to. Time passes when something is written.
struct Client {
    manager: SessionManager,
    store: MemoryStore,
    clock: ManualClock,
    tag: SubjectTag,
    between: Duration,
    /// Sent before ours.
    others: String,
    cookie: String,
}

/// The tag that a store keeps of the subject under these keys.
fn tag_of(seal: &str, fingerprint: &str) -> Result<SubjectTag> {
    let keyring = secure_sessions_core::Keyring::builder().parse(seal, fingerprint, "")?.build()?;
    let cookie = "__Host-session";
    let sealer = Sealer::new(keyring.into(), cookie, Sizes::default_for(cookie.len())?)?;
    Ok(sealer.subject_tag(SUBJECT))
}

impl Client {
    fn log_in(fill: impl FnOnce(&Session) -> Result<()>) -> Result<Self> {
        let (seal, fingerprint) = Keyring::generate_texts()?;
        let keyring = secure_sessions_core::Keyring::builder().parse(&seal, &fingerprint, "")?.build()?;
        Self::with(keyring.into(), tag_of(&seal, &fingerprint)?, fill)
    }

    fn with(keyring: Keyring, tag: SubjectTag, fill: impl FnOnce(&Session) -> Result<()>) -> Result<Self> {
        let (store, clock) = (MemoryStore::new(), ManualClock::at_millis(1_800_000_000_000));
        // Room for the largest payload.
        let builder = SessionManager::builder(keyring, store.clone()).clock(clock.clone()).size_limit(4000);
        let manager = builder.absolute_timeout(Duration::from_secs(100 * 365 * 24 * 60 * 60)).build()?;
        let fill = |session: &Session| {
            session.login(SUBJECT)?;
            fill(session)?;
            Ok(session.insert(COUNT, 4711_u64)?)
        };
        let cookie = request_now(&manager, b"", fill)?.context("a login set no cookie")?;
        Ok(Self { manager, store, clock, tag, between: BETWEEN, others: String::new(), cookie })
    }

    fn act(&mut self, act: Act) -> Result<()> {
        match act {
            Act::Read => self.read(),
            Act::Write => self.write(),
        }
    }

    fn read(&self) -> Result<()> {
        let cookies = if self.others.is_empty() { &self.cookie } else { &self.others };
        let set = request_now(&self.manager, cookies.as_bytes(), |session| {
            ensure!(session.get::<u64>(COUNT)?.is_some(), "the session was not there");
            Ok(())
        })?;
        ensure!(set.is_none(), "a read set a cookie");
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        let set = request_now(&self.manager, self.cookie.as_bytes(), |session| {
            Ok(session.update(COUNT, |visits: &mut u64| *visits += 1)?)
        })?;
        self.cookie = set.context("a write set no cookie")?;
        self.clock.advance(self.between);
        Ok(())
    }

    /// Returns the number of retired cookies that the store remembers.
    fn retired(&self) -> Result<usize> {
        let page = Page { after: None, limit: 1 };
        let tags = [self.tag];
        let buckets = self.store.list(Tags::Subjects(&tags), page).now_or_never().context("not at once")??;
        Ok(buckets.into_iter().next().context("the session is gone")??.retired.len())
    }

    fn subject(mut self, x: usize, act: Act) -> Subject {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let x = x as f64;
        Subject { x, request: Box::new(move || self.act(act)) }
    }
}

/// Data of more and more bytes, each a size class above the last.
fn payload(act: Act) -> Result<Vec<Subject>> {
    let sizes = (0..).map(|class| 100 + 256 * class).take_while(|size| *size <= 2700);
    sizes
        .map(|size: usize| {
            // With the heads and keys of both values.
            let note = "n".repeat(size - 24);
            let client = Client::log_in(|session| Ok(session.insert("note", &note)?))?;
            Ok(client.subject(size, act))
        })
        .collect()
}

/// More and more keys within the same number of bytes.
fn keys(act: Act) -> Result<Vec<Subject>> {
    const BYTES: usize = 1600;
    [1_usize, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
        .into_iter()
        .map(|keys| {
            let client = Client::log_in(|session| {
                let others = keys - 1;
                for number in 0..others {
                    session.insert(&format!("key {number:03}"), "1234")?;
                }
                // A key of 7 bytes, a text of 4, and their heads.
                Ok(session.insert("note", "n".repeat(BYTES - 13 * others))?)
            })?;
            Ok(client.subject(keys, act))
        })
        .collect()
}

/// The most that a session keeps.
const MOST_RETIRED: usize = 128;

/// Writes within one moment, whose cookies are all still good.
fn retired_read() -> Result<Vec<Subject>> {
    (0..=MOST_RETIRED)
        .step_by(16)
        .map(|retired| {
            let mut client = usual()?;
            client.between = Duration::ZERO;
            (0..retired).try_for_each(|_| client.write())?;
            ensure!(client.retired()? == retired, "{} are retired, not {retired}", client.retired()?);
            Ok(client.subject(retired, Act::Read))
        })
        .collect()
}

/// Writes that follow each other faster and faster: so many cookies are not dead yet.
fn retired_write() -> Result<Vec<Subject>> {
    (1..=8)
        .map(|sixteens| {
            let mut client = usual()?;
            // A cookie is dead two graces after its successor came.
            client.between = Duration::from_secs(120) / (16 * sixteens);
            (0..3 * MOST_RETIRED).try_for_each(|_| client.write())?;
            let retired = client.retired()?;
            Ok(client.subject(retired, Act::Write))
        })
        .collect()
}

/// A ring with more and more keys of both kinds, the session sealed by the last.
fn ring() -> Result<Vec<Subject>> {
    [1_usize, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]
        .into_iter()
        .map(|keys| {
            let texts = (0..keys).map(|_| Keyring::generate_texts()).collect::<Result<Vec<_>, _>>()?;
            let (seal, fingerprint) = texts.last().context("no key")?;
            let old = secure_sessions_core::Keyring::builder().parse(seal, fingerprint, "")?.build()?;
            let client = Client::with(old.into(), tag_of(seal, fingerprint)?, filled)?;
            let seal: Vec<_> = texts.iter().map(|(seal, _)| seal.as_str()).collect();
            let fingerprint: Vec<_> = texts.iter().map(|(_, fingerprint)| fingerprint.as_str()).collect();
            let (seal, fingerprint) = (seal.join(" "), fingerprint.join(" "));
            client.manager.set_keyring(Keyring::from_text(&seal, &fingerprint, "")?)?;
            Ok(client.subject(keys, Act::Read))
        })
        .collect()
}

/// More and more cookies of others, all in front of ours.
fn cookies() -> Result<Vec<Subject>> {
    (0..=100_usize)
        .step_by(10)
        .map(|others| {
            let mut client = usual()?;
            let other = |number| format!("_ga_{number:08}=GS1.1.1700000000.1.0; ");
            client.others = (0..others).map(other).collect::<String>() + &client.cookie;
            Ok(client.subject(others, Act::Read))
        })
        .collect()
}

fn usual() -> Result<Client> {
    Client::log_in(filled)
}

/// The usual contents: 300 bytes.
fn filled(session: &Session) -> Result<()> {
    session.insert("name", "Ada Lovelace")?;
    session.insert("email", "ada@example.org")?;
    session.insert("cart", (1..=20).map(|item| item * 1000).collect::<Vec<u32>>())?;
    Ok(session.insert("note", "n".repeat(160))?)
}
