//! Actix Web: the bare route, our sessions, and actix-session with its private cookie.

use std::error::Error;
use std::rc::Rc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::SET_COOKIE;
use actix_web::test::init_service;
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpResponse};
use anyhow::Result;
use secure_sessions_actix::{Session, SessionError, SessionMiddleware};

use super::application::{Application, actix_answer};
use super::{
    BARE, BARE_SETTING, Case, Contents, FILL, Framework, Kind, READ, SETTING, UNSEEN, WRITE, ours, plain_cookie, status,
};

const HERE: Framework = Framework::Actix;

pub(super) async fn all() -> Result<Vec<Case>> {
    let bare = |config: &mut ServiceConfig| {
        let set = || async { HttpResponse::Ok().insert_header((SET_COOKIE, plain_cookie())).finish() };
        config.configure(unseen).route(SETTING, web::get().to(set));
    };
    let mut cases = Vec::new();
    for (name, path) in [(BARE, UNSEEN), (BARE_SETTING, SETTING)] {
        let application = application(App::new().configure(bare)).await;
        cases.push(Case { path, ..Case::without_session(HERE, Kind::Floor, name, application)? });
    }
    for (kind, setting) in ours::kinds() {
        let (manager, passing) = ours::manager_for(kind, setting)?;
        let app = App::new().configure(unseen).configure(routes).wrap(SessionMiddleware::new(manager));
        cases.push(Case { passing, ..Case::new(HERE, kind, setting.0, application(app).await).await? });
    }
    for kind in [Kind::Unseen, Kind::Anonymous, Kind::Read, Kind::Write] {
        let app = App::new().configure(unseen).configure(peer::routes).wrap(peer::middleware());
        cases.push(Case::new(HERE, kind, HERE.usual(), application(app).await).await?);
    }
    Ok(cases)
}

fn unseen(config: &mut ServiceConfig) {
    config.route(UNSEEN, web::get().to(HttpResponse::Ok));
}

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

fn routes(config: &mut ServiceConfig) {
    async fn read(session: Session) -> Result<HttpResponse, SessionError> {
        Ok(answer(status(session.get("user_id")?)))
    }
    async fn write(session: Session) -> Result<HttpResponse, SessionError> {
        Ok(answer(status(Some(session.update("user_id", ours::count_up)?))))
    }
    async fn fill(session: Session) -> Result<HttpResponse, SessionError> {
        ours::fill(&session)?;
        Ok(answer(200))
    }
    config.route(READ, web::get().to(read)).route(WRITE, web::get().to(write)).route(FILL, web::get().to(fill));
}

mod peer {
    use actix_session::config::CookieContentSecurity;
    use actix_session::storage::CookieSessionStore;
    use actix_session::{Session, SessionMiddleware};
    use actix_web::cookie::Key;

    use super::*;

    pub(super) fn middleware() -> SessionMiddleware<CookieSessionStore> {
        let builder = SessionMiddleware::builder(CookieSessionStore::default(), Key::generate());
        builder.cookie_content_security(CookieContentSecurity::Private).build()
    }

    pub(super) fn routes(config: &mut ServiceConfig) {
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
