//! actix-session on Actix Web, with its Redis store.

use std::error::Error;

use actix_session::storage::RedisSessionStore;
use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::Key;
use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, web};
use anyhow::Result;
use bench_load::contents::{COUNT, FILL, FIRST_COUNT, READ, TEXTS, WRITE, status, text};
use bench_load::{Call, application};

type Answer = Result<HttpResponse, Box<dyn Error>>;

pub(crate) async fn application(url: &str) -> Result<Call> {
    let store = RedisSessionStore::new(url).await?;
    let app =
        App::new().route(READ, web::get().to(read)).route(WRITE, web::get().to(write)).route(FILL, web::get().to(fill));
    Ok(application::actix(app.wrap(SessionMiddleware::new(store, Key::generate()))).await)
}

async fn read(session: Session) -> Answer {
    Ok(answer(session.get(COUNT)?))
}

async fn write(session: Session) -> Answer {
    let count = session.get::<u64>(COUNT)?.unwrap_or_default() + 1;
    session.insert(COUNT, count)?;
    Ok(answer(Some(count)))
}

async fn fill(session: Session) -> Answer {
    session.insert(COUNT, FIRST_COUNT)?;
    for key in TEXTS {
        session.insert(key, text())?;
    }
    Ok(answer(Some(FIRST_COUNT)))
}

fn answer(count: Option<u64>) -> HttpResponse {
    HttpResponse::new(StatusCode::from_u16(status(count)).unwrap_or_default())
}
