//! What a route and a layer cost on Axum without any session.

use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::Result;
use axum::routing::get;
use axum::{Extension, Router};
use http::header::{COOKIE, SET_COOKIE};
use http::{Request, StatusCode};
use tower::layer::layer_fn;
use tower::{Layer, Service};

use super::application::Application;
use super::raw::Raw;
use super::{
    BARE, BARE_SETTING, Case, FILL, FLOOR_READ, FLOOR_WRITE, Framework, NO_OP, OURS_READ, OURS_WRITE, READ, SETTING,
    SIZES, UNSEEN, WRITE, ours, plain_cookie, sized,
};

pub(super) fn all() -> Result<Vec<Case>> {
    let bare = || Router::new().route(UNSEEN, get(|| async { StatusCode::OK }));
    let floors = [
        (BARE, bare()),
        (NO_OP, bare().layer(layer_fn(|inner| NoOp { inner }))),
        ("layer that adds one extension", bare().layer(AddOne)),
    ];
    let case = |(name, router)| Case::without_session(Framework::Axum, name, Application::axum(router), UNSEEN);
    let mut cases = floors.into_iter().map(case).collect::<Result<Vec<_>>>()?;
    let setting = Router::new().route(SETTING, get(|| async { [(SET_COOKIE, plain_cookie())] }));
    cases.push(Case::without_session(Framework::Axum, BARE_SETTING, Application::axum(setting), SETTING)?);
    Ok(cases)
}

/// Reads and writes of each size, with their floors: a layer that opens a cookie without any session around it.
pub(super) async fn by_size() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for size in SIZES {
        for (name, path) in [(FLOOR_READ, READ), (FLOOR_WRITE, WRITE)] {
            let application = Application::axum(floor(size));
            cases.push(Case::with_session(Framework::Axum, sized(name, size), application, path).await?);
        }
        for (name, path) in [(OURS_READ, READ), (OURS_WRITE, WRITE)] {
            let (manager, passing) = ours::manager_for(path)?;
            let application = Application::axum(ours::application(manager, size));
            let case = Case::with_session(Framework::Axum, sized(name, size), application, path).await?;
            cases.push(Case { passing, ..case });
        }
    }
    Ok(cases)
}

fn floor(size: usize) -> Router {
    let raw = Arc::new(Raw::new());
    let seal = Arc::clone(&raw);
    let read = async |Extension(Seen(seen))| if seen { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
    let write = async move || [(SET_COOKIE, format!("session={}", seal.seal(size)))];
    let layer = layer_fn(move |inner| Opening { inner, raw: Arc::clone(&raw) });
    Router::new().route(READ, get(read)).route(WRITE, get(write.clone())).route(FILL, get(write)).layer(layer)
}

/// Whether the cookie was opened.
#[derive(Clone)]
struct Seen(bool);

#[derive(Clone)]
struct Opening<S> {
    inner: S,
    raw: Arc<Raw>,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Opening<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let cookie = request.headers().get(COOKIE).and_then(|value| value.as_bytes().strip_prefix(b"session="));
        let seen = Seen(cookie.is_some_and(|cookie| self.raw.open(cookie)));
        request.extensions_mut().insert(seen);
        self.inner.call(request)
    }
}

#[derive(Clone)]
struct NoOp<S> {
    inner: S,
}

impl<S: Service<R>, R> Service<R> for NoOp<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.inner.call(request)
    }
}

#[derive(Clone)]
struct AddOne;

impl<S> Layer<S> for AddOne {
    type Service = AddOneService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AddOneService { inner }
    }
}

#[derive(Clone)]
struct AddOneService<S> {
    inner: S,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for AddOneService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.extensions_mut().insert(1_u64);
        self.inner.call(request)
    }
}
