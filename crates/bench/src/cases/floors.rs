//! The cost of a route and a layer on Axum without any session.

use std::task::{Context, Poll};

use anyhow::Result;
use axum::Router;
use axum::routing::get;
use http::StatusCode;
use http::header::SET_COOKIE;
use tower::Service;
use tower::layer::layer_fn;

use super::application::Application;
use super::{BARE, BARE_SETTING, Case, Framework, Kind, NO_OP, SETTING, UNSEEN, plain_cookie};

pub(super) fn all() -> Result<Vec<Case>> {
    let bare = || Router::new().route(UNSEEN, get(|| async { StatusCode::OK }));
    let setting = Router::new().route(SETTING, get(|| async { [(SET_COOKIE, plain_cookie())] }));
    let case = |kind, name, router| Case::without_session(Framework::Axum, kind, name, Application::axum(router));
    Ok(vec![
        case(Kind::Floor, BARE, bare())?,
        Case { path: SETTING, ..case(Kind::Floor, BARE_SETTING, setting)? },
        case(Kind::Unseen, NO_OP, bare().layer(layer_fn(|inner| NoOp { inner })))?,
    ])
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
