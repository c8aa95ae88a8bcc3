//! The requests that are compared. Each is one GET with a cookie, answered by `ok`.

mod actix;
mod application;
mod floors;
mod ours;
mod peers;
mod raw;
mod rocket;
mod served;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};

pub use self::application::Answer;
use self::application::Application;
pub(crate) use self::ours::BROWSERS;
use self::ours::Passing;
pub(crate) use self::raw::Raw;
pub use self::served::Served;

/// The route that looks at no session.
const UNSEEN: &str = "/unseen";
/// The route that sets a cookie, and knows no session.
const SETTING: &str = "/setting";
/// The route that reads one value of the session.
const READ: &str = "/read";
/// The route that changes one value of the session.
const WRITE: &str = "/write";
/// The route that logs in and fills a session, before anything is measured.
const FILL: &str = "/fill";

/// The name of the cases that the others of a framework are measured against.
pub const BARE: &str = "bare route";
/// Sets a cookie as long as ours: what a framework, and the client that the benchmark calls it by, take for that.
pub const BARE_SETTING: &str = "bare route that sets a cookie";
/// A layer that does nothing.
pub const NO_OP: &str = "no-op layer";
/// Ours, on a route that never looks at the session.
pub const OURS_UNSEEN: &str = "secure-sessions, never looked at";
/// Ours, reading one value of a logged-in session.
pub const OURS_READ: &str = "secure-sessions, authenticated read";
/// Ours, changing one value of a logged-in session.
pub const OURS_WRITE: &str = "secure-sessions, write";

/// The frameworks, each with its own bare route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framework {
    /// Axum 0.8.
    Axum,
    /// Actix Web 4.
    Actix,
    /// Rocket 0.5.
    Rocket,
}

impl Framework {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Axum, Self::Actix, Self::Rocket];

    /// The framework's usual choice, reading the same as [`OURS_READ`].
    #[must_use]
    pub fn usual_read(self) -> &'static str {
        match self {
            Self::Axum => "tower-sessions 0.15, authenticated read",
            Self::Actix => "actix-session 0.11 private cookie, read",
            Self::Rocket => "private cookies, read",
        }
    }

    /// The framework's usual choice, changing the same as [`OURS_WRITE`].
    #[must_use]
    pub fn usual_write(self) -> &'static str {
        match self {
            Self::Axum => "tower-sessions 0.15, write",
            Self::Actix => "actix-session 0.11 private cookie, write",
            Self::Rocket => "private cookies, write",
        }
    }

    /// The name of a row.
    #[must_use]
    pub fn row(self, case: &str) -> String {
        format!("{self} / {case}")
    }
}

impl fmt::Display for Framework {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Axum => "axum",
            Self::Actix => "actix-web",
            Self::Rocket => "rocket",
        })
    }
}

/// One application and the request that is sent to it again and again.
pub struct Case {
    /// Where it runs.
    pub framework: Framework,
    /// What is measured.
    pub name: Cow<'static, str>,
    /// What the store was asked, where it is counted.
    pub calls: Option<Arc<Calls>>,
    application: Application,
    path: &'static str,
    jar: Vec<(String, String)>,
    /// Time passes between the requests.
    passing: Option<Passing>,
}

/// How often a store was asked.
#[derive(Debug, Default)]
pub struct Calls {
    reads: AtomicU64,
    writes: AtomicU64,
}

impl Calls {
    fn read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    fn write(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads and writes so far.
    #[must_use]
    pub fn so_far(&self) -> (u64, u64) {
        (self.reads.load(Ordering::Relaxed), self.writes.load(Ordering::Relaxed))
    }
}

/// Every case, with its session made and its first request answered. With `counted`, stores count what they are asked.
///
/// # Errors
///
/// If one of the applications does not answer as it should.
pub async fn all(counted: bool) -> Result<Vec<Case>> {
    let mut cases = floors::all()?;
    cases.extend(ours::all(counted).await?);
    cases.extend(peers::all(counted).await?);
    cases.extend(actix::all().await?);
    cases.extend(rocket::all().await?);
    cases.extend(floors::by_size().await?);
    cases.extend(actix::by_size().await?);
    for case in &mut cases {
        let answer = case.once().await;
        ensure!(answer.is_ok(), "{} answered {}", case.framework.row(&case.name), answer.status);
        case.keep(&answer)?;
    }
    Ok(cases)
}

impl Case {
    fn without_session(
        framework: Framework,
        name: impl Into<Cow<'static, str>>,
        mut application: Application,
        path: &'static str,
    ) -> Result<Self> {
        // Every case has a cookie to carry, as long as ours: Rocket parses it whoever looks, and its client copies it.
        let jar = vec![("session".to_owned(), "A".repeat(COOKIE_LEN))];
        application.present(&jar)?;
        Ok(Self { framework, name: name.into(), application, path, jar, calls: None, passing: None })
    }

    /// Makes a session by the application's own `FILL` route, and sends its cookie from then on.
    async fn with_session(
        framework: Framework,
        name: impl Into<Cow<'static, str>>,
        application: Application,
        path: &'static str,
    ) -> Result<Self> {
        let mut case = Self::without_session(framework, name, application, FILL)?;
        case.jar.clear();
        let answer = case.once().await;
        ensure!(answer.is_ok(), "{}: {FILL} answered {}", case.name, answer.status);
        ensure!(!answer.cookies.is_empty(), "{}: {FILL} set no cookie", case.name);
        case.keep(&answer)?;
        Ok(Self { path, ..case })
    }

    /// One request and its answer: what is measured.
    pub async fn once(&mut self) -> Answer {
        self.application.answer(self.path).await
    }

    /// What a browser does with an answer: it presents the newest cookies from then on. Not measured.
    ///
    /// # Errors
    ///
    /// If a cookie is not what a browser would take.
    pub fn keep(&mut self, answer: &Answer) -> Result<()> {
        for header in &answer.cookies {
            let pair = header.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.jar.retain(|(other, _)| other != name);
            self.jar.push((name.to_owned(), value.to_owned()));
        }
        if let Some(passing) = &self.passing {
            passing.pass();
        }
        if answer.cookies.is_empty() { Ok(()) } else { self.application.present(&self.jar) }
    }
}

/// The length of our cookie's value, with the session that is measured.
const COOKIE_LEN: usize = 770;

/// What [`SETTING`] sets.
fn plain_cookie() -> String {
    format!("session={}; Path=/; Secure; HttpOnly; SameSite=Lax", "A".repeat(COOKIE_LEN))
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("framework", &self.framework).field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a session holds: 300 bytes as CBOR, of which a request reads or changes the first.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Contents {
    user_id: u64,
    name: String,
    email: String,
    cart: Vec<u32>,
    note: String,
}

const USER_ID: u64 = 4711;

/// The sizes of data at which a session is held against its floor: bytes as CBOR.
pub const SIZES: [usize; 4] = [150, 300, 1500, 2700];

/// The size of the data in all other cases.
const USUAL_SIZE: usize = 300;

/// The name of a case that reads or writes a session with so many bytes of data.
#[must_use]
pub fn sized(case: &str, size: usize) -> String {
    format!("{case}, {size} bytes")
}

/// What reading a sealed and marked cookie takes at least.
pub const FLOOR_READ: &str = "floor of a read";
/// What reading one and making the next takes at least.
pub const FLOOR_WRITE: &str = "floor of a write";

impl Contents {
    fn new() -> Self {
        Self::of(USUAL_SIZE)
    }

    /// With a note that brings the data to so many bytes.
    fn of(size: usize) -> Self {
        const WITHOUT_NOTE: usize = 140;
        Self {
            user_id: USER_ID,
            name: "Ada Lovelace".to_owned(),
            email: "ada@example.org".to_owned(),
            cart: (1..=20).map(|item| item * 1000).collect(),
            note: "n".repeat(size.saturating_sub(WITHOUT_NOTE)),
        }
    }
}

/// A handler's status: whether it saw the session's value. Writes count it up.
fn status(user_id: Option<u64>) -> u16 {
    if user_id >= Some(USER_ID) { 200 } else { 401 }
}
