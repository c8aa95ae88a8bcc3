//! Rocket: the bare route, our sessions, and Rocket's own private cookies.

use anyhow::{Context, Result, anyhow};
use rocket::config::{LogLevel, SecretKey};
use rocket::http::{Cookie, CookieJar, Header, Status};
use rocket::local::asynchronous::Client;
use rocket::{Build, Config, Rocket, get, routes};
use secure_sessions_rocket::{Session, SessionError, SessionFairing};

use super::application::Application;
use super::{BARE, BARE_SETTING, Case, Contents, Framework, Kind, SETTING, UNSEEN, ours, plain_cookie, status};

const HERE: Framework = Framework::Rocket;

pub(super) async fn all() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (name, path) in [(BARE, UNSEEN), (BARE_SETTING, SETTING)] {
        let application = application(build()?.mount("/", routes![unseen, setting])).await?;
        cases.push(Case { path, ..Case::without_session(HERE, Kind::Floor, name, application)? });
    }
    for (kind, setting) in ours::kinds() {
        let (manager, passing) = ours::manager_for(kind, setting)?;
        let rocket = build()?.mount("/", routes![unseen, read, write, fill]).attach(SessionFairing::new(manager));
        cases.push(Case { passing, ..Case::new(HERE, kind, setting.0, application(rocket).await?).await? });
    }
    for kind in [Kind::Anonymous, Kind::Read, Kind::Write] {
        let rocket = build()?.mount("/", routes![peer::read, peer::write, peer::fill]);
        cases.push(Case::new(HERE, kind, HERE.usual(), application(rocket).await?).await?);
    }
    Ok(cases)
}

fn build() -> Result<Rocket<Build>> {
    let secret_key = SecretKey::generate().context("no randomness")?;
    Ok(rocket::custom(Config { log_level: LogLevel::Off, secret_key, ..Config::debug_default() }))
}

async fn application(rocket: Rocket<Build>) -> Result<Application> {
    // Its error panics if it is dropped unseen.
    let client = Client::untracked(rocket).await.map_err(|error| anyhow!("Rocket does not start: {error}"))?;
    Ok(Application::rocket(client))
}

#[get("/unseen")]
fn unseen() -> Status {
    Status::Ok
}

#[derive(rocket::Responder)]
struct Set((), Header<'static>);

#[get("/setting")]
fn setting() -> Set {
    Set((), Header::new("Set-Cookie", plain_cookie()))
}

#[get("/read")]
fn read(session: Session) -> Result<Status, SessionError> {
    Ok(Status::new(status(session.get("user_id")?)))
}

#[get("/write")]
fn write(session: Session) -> Result<Status, SessionError> {
    Ok(Status::new(status(Some(session.update("user_id", ours::count_up)?))))
}

#[get("/fill")]
fn fill(session: Session) -> Result<Status, SessionError> {
    ours::fill(&session)?;
    Ok(Status::Ok)
}

mod peer {
    use super::*;

    const NAME: &str = "session";

    fn contents(jar: &CookieJar<'_>) -> Option<Contents> {
        jar.get_private(NAME).and_then(|cookie| serde_json::from_str(cookie.value()).ok())
    }

    fn set(jar: &CookieJar<'_>, contents: &Contents) {
        jar.add_private(Cookie::new(NAME, serde_json::to_string(contents).unwrap_or_default()));
    }

    #[get("/read")]
    pub(super) fn read(jar: &CookieJar<'_>) -> Status {
        Status::new(status(contents(jar).map(|contents| contents.user_id)))
    }

    #[get("/write")]
    pub(super) fn write(jar: &CookieJar<'_>) -> Status {
        let Some(mut contents) = contents(jar) else { return Status::Unauthorized };
        contents.user_id += 1;
        set(jar, &contents);
        Status::new(status(Some(contents.user_id)))
    }

    #[get("/fill")]
    pub(super) fn fill(jar: &CookieJar<'_>) {
        set(jar, &Contents::new());
    }
}
