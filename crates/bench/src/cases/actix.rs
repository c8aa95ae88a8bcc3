//! Actix Web: the bare route, our sessions, and actix-session with its private cookie.

use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;

use actix_session::SessionMiddleware as PeerMiddleware;
use actix_session::config::CookieContentSecurity;
use actix_session::storage::CookieSessionStore;
use actix_web::body::MessageBody;
use actix_web::cookie::Key;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{COOKIE, SET_COOKIE};
use actix_web::test::init_service;
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpMessage, HttpRequest, HttpResponse};
use anyhow::Result;
use secure_sessions_actix::{Session, SessionError, SessionMiddleware};

use super::application::{Application, actix_answer};
use super::ours;
use super::raw::Raw;
use super::{
    BARE, BARE_SETTING, Case, Contents, FILL, FLOOR_READ, FLOOR_WRITE, Framework, OURS_READ, OURS_UNSEEN, OURS_WRITE,
    READ, SETTING, SIZES, UNSEEN, USUAL_SIZE, WRITE, plain_cookie, sized, status,
};

const HERE: Framework = Framework::Actix;

pub(super) async fn all() -> Result<Vec<Case>> {
    let unseen = |config: &mut ServiceConfig| {
        config.route(UNSEEN, web::get().to(HttpResponse::Ok));
    };
    let bare = |config: &mut ServiceConfig| {
        let set = || async { HttpResponse::Ok().insert_header((SET_COOKIE, plain_cookie())).finish() };
        config.configure(unseen).route(SETTING, web::get().to(set));
    };
    let mut cases = Vec::new();
    for (name, path) in [(BARE, UNSEEN), (BARE_SETTING, SETTING)] {
        cases.push(Case::without_session(HERE, name, application(App::new().configure(bare)).await, path)?);
    }
    for (name, path) in [(OURS_UNSEEN, UNSEEN), (OURS_READ, READ), (OURS_WRITE, WRITE)] {
        let (manager, passing) = ours::manager_for(path)?;
        let routes = |config: &mut ServiceConfig| routes(config, USUAL_SIZE);
        let application =
            application(App::new().configure(unseen).configure(routes).wrap(SessionMiddleware::new(manager))).await;
        cases.push(Case { passing, ..Case::with_session(HERE, name, application, path).await? });
    }
    for (name, path) in [(HERE.usual_read(), READ), (HERE.usual_write(), WRITE)] {
        let application = application(App::new().configure(peer_routes).wrap(peer(Key::generate()))).await;
        cases.push(Case::with_session(HERE, name, application, path).await?);
    }
    Ok(cases)
}

/// Reads and writes of each size, with their floors.
pub(super) async fn by_size() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for size in SIZES {
        for (name, path) in [(FLOOR_READ, READ), (FLOOR_WRITE, WRITE)] {
            let raw = Arc::new(Raw::new());
            let seal = Arc::clone(&raw);
            let open = move |request: ServiceRequest, inner: &_| {
                let cookie = request.headers().get(COOKIE).and_then(|value| value.as_bytes().strip_prefix(b"session="));
                let seen = Seen(cookie.is_some_and(|cookie| raw.open(cookie)));
                request.extensions_mut().insert(seen);
                actix_web::dev::Service::call(inner, request)
            };
            let read = |request: HttpRequest| async move {
                let seen = request.extensions().get().is_some_and(|Seen(seen)| *seen);
                answer(if seen { 200 } else { 401 })
            };
            let write = move |_: HttpRequest| {
                let seal = Arc::clone(&seal);
                async move {
                    let cookie = format!("session={}", seal.seal(size));
                    HttpResponse::Ok().insert_header((SET_COOKIE, cookie)).finish()
                }
            };
            let routes = |config: &mut ServiceConfig| {
                config
                    .route(READ, web::get().to(read))
                    .route(WRITE, web::get().to(write.clone()))
                    .route(FILL, web::get().to(write.clone()));
            };
            let application = application(App::new().configure(routes).wrap_fn(open)).await;
            cases.push(Case::with_session(HERE, sized(name, size), application, path).await?);
        }
        for (name, path) in [(OURS_READ, READ), (OURS_WRITE, WRITE)] {
            let (manager, passing) = ours::manager_for(path)?;
            let routes = |config: &mut ServiceConfig| routes(config, size);
            let application = application(App::new().configure(routes).wrap(SessionMiddleware::new(manager))).await;
            let case = Case::with_session(HERE, sized(name, size), application, path).await?;
            cases.push(Case { passing, ..case });
        }
    }
    Ok(cases)
}

/// Whether the cookie was opened.
struct Seen(bool);

/// The service that a worker of the server would call.
async fn application<T, B>(app: App<T>) -> Application
where
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<B>,
            Error = actix_web::Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    let service = Rc::new(init_service(app).await);
    Application::actix(Box::new(move |request| {
        let answered = actix_web::dev::Service::call(&*service, request);
        Box::pin(async move {
            match answered.await {
                Ok(response) => actix_answer(response.response()),
                Err(error) => actix_answer(&error.error_response()),
            }
        })
    }))
}

fn answer(status: u16) -> HttpResponse {
    HttpResponse::new(StatusCode::from_u16(status).unwrap_or_default())
}

pub(super) fn routes(config: &mut ServiceConfig, size: usize) {
    async fn read(session: Session) -> Result<HttpResponse, SessionError> {
        Ok(answer(status(session.get("user_id")?)))
    }
    async fn write(session: Session) -> Result<HttpResponse, SessionError> {
        Ok(answer(status(Some(session.update("user_id", ours::count_up)?))))
    }
    let fill = move |session: Session| async move {
        ours::fill(&session, size)?;
        Ok::<_, SessionError>(answer(200))
    };
    config.route(READ, web::get().to(read)).route(WRITE, web::get().to(write)).route(FILL, web::get().to(fill));
}

pub(super) fn peer(key: Key) -> PeerMiddleware<CookieSessionStore> {
    let builder = PeerMiddleware::builder(CookieSessionStore::default(), key);
    builder.cookie_content_security(CookieContentSecurity::Private).build()
}

pub(super) use self::peer::routes as peer_routes;

mod peer {
    use actix_session::Session;

    use super::*;

    pub(in crate::cases) fn routes(config: &mut ServiceConfig) {
        config.route(READ, web::get().to(read)).route(WRITE, web::get().to(write)).route(FILL, web::get().to(fill));
    }

    async fn read(session: Session) -> Result<HttpResponse, Box<dyn Error>> {
        Ok(answer(status(session.get("user_id")?)))
    }

    async fn write(session: Session) -> Result<HttpResponse, Box<dyn Error>> {
        let user_id = session.get::<u64>("user_id")?.unwrap_or_default() + 1;
        session.insert("user_id", user_id)?;
        Ok(answer(status(Some(user_id))))
    }

    async fn fill(session: Session) -> Result<HttpResponse, Box<dyn Error>> {
        let contents = Contents::new();
        session.insert("user_id", contents.user_id)?;
        session.insert("name", contents.name)?;
        session.insert("email", contents.email)?;
        session.insert("cart", contents.cart)?;
        session.insert("note", contents.note)?;
        Ok(answer(200))
    }
}
