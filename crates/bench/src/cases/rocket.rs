//! Rocket: the bare route, our sessions, and Rocket's own private cookies.

use anyhow::{Context, Result, anyhow};
use rocket::config::{LogLevel, SecretKey};
use rocket::fairing::AdHoc;
use rocket::http::{Cookie, CookieJar, Header, Status};
use rocket::local::asynchronous::Client;
use rocket::{Build, Config, Rocket, get, routes};
use secure_sessions_rocket::{Session, SessionError, SessionFairing, SessionManager};

use super::application::Application;
use super::{
    BARE, BARE_SETTING, Case, Contents, Framework, OURS_READ, OURS_UNSEEN, OURS_WRITE, READ, SETTING, UNSEEN,
    USUAL_SIZE, WRITE, ours::count_up, ours::fill as fill_with, plain_cookie, status,
};

const HERE: Framework = Framework::Rocket;

pub(super) async fn all() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (name, path) in [(BARE, UNSEEN), (BARE_SETTING, SETTING)] {
        cases.push(Case::without_session(HERE, name, application(bare()?).await?, path)?);
    }
    for (name, path) in [(OURS_UNSEEN, UNSEEN), (OURS_READ, READ), (OURS_WRITE, WRITE)] {
        let (manager, passing) = super::ours::manager_for(path)?;
        let case = Case::with_session(HERE, name, application(ours(manager)?).await?, path).await?;
        cases.push(Case { passing, ..case });
    }
    for (name, path) in [(HERE.usual_read(), READ), (HERE.usual_write(), WRITE)] {
        cases.push(Case::with_session(HERE, name, application(peer()?).await?, path).await?);
    }
    Ok(cases)
}

pub(super) fn bare() -> Result<Rocket<Build>> {
    Ok(build()?.mount("/", routes![unseen, setting]))
}

pub(super) fn ours(manager: SessionManager) -> Result<Rocket<Build>> {
    Ok(build()?.mount("/", routes![unseen, read, write, fill]).attach(SessionFairing::new(manager)))
}

pub(super) fn peer() -> Result<Rocket<Build>> {
    Ok(build()?.mount("/", routes![peer::read, peer::write, peer::fill]))
}

/// On a port that is free, which is told once it listens.
pub(super) fn listening(rocket: Rocket<Build>, ready: fn(u16)) -> Rocket<Build> {
    let config = rocket.figment().clone().merge(("port", 0)).merge(("keep_alive", 3600));
    let told = AdHoc::on_liftoff("port", move |rocket| Box::pin(async move { ready(rocket.config().port) }));
    rocket.configure(config).attach(told)
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
    Ok(Status::new(status(Some(session.update("user_id", count_up)?))))
}

#[get("/fill")]
fn fill(session: Session) -> Result<Status, SessionError> {
    fill_with(&session, USUAL_SIZE)?;
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
