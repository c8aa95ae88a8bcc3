//! What a route and a layer cost without any session.

use std::task::{Context, Poll};

use axum::Router;
use axum::routing::get;
use http::{Request, StatusCode};
use tower::layer::layer_fn;
use tower::{Layer, Service};

use super::{BARE, Case, NO_OP, UNSEEN};

pub(super) fn all() -> Vec<Case> {
    let bare = || Router::new().route(UNSEEN, get(|| async { StatusCode::OK }));
    vec![
        Case::without_session(BARE, bare()),
        Case::without_session(NO_OP, bare().layer(layer_fn(|inner| NoOp { inner }))),
        Case::without_session("layer that adds one extension", bare().layer(AddOne)),
    ]
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
