//! Makes the stores under test: what [`Stores`](super::Stores) and [`VaultStores`](super::vault::VaultStores) share.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A maker of stores of any type, each erased to `A`.
#[derive(Clone)]
pub(super) struct Maker<A> {
    make: Arc<dyn Fn() -> BoxFuture<A> + Send + Sync>,
    /// The stores remove by themselves what has expired.
    pub(super) expires: bool,
    /// The reason why no store can be made.
    pub(super) missing: Option<Arc<str>>,
}

impl<A: 'static> Maker<A> {
    pub(super) fn new<M, S>(make: impl Fn() -> M + Send + Sync + 'static, erase: fn(S) -> A) -> Self
    where
        M: Future<Output = S> + Send + 'static,
        S: 'static,
    {
        let make = move || -> BoxFuture<A> {
            let store = make();
            Box::pin(async move { erase(store.await) })
        };
        Self { make: Arc::new(make), expires: false, missing: None }
    }

    #[expect(clippy::panic, reason = "no case comes to make a store")]
    pub(super) fn missing(why: impl fmt::Display) -> Self {
        let why: Arc<str> = why.to_string().into();
        let make = {
            let why = Arc::clone(&why);
            move || -> BoxFuture<A> { panic!("{why}") }
        };
        Self { make: Arc::new(make), expires: false, missing: Some(why) }
    }

    pub(super) fn expiring_by_itself(self) -> Self {
        Self { expires: true, ..self }
    }

    pub(super) async fn make(&self) -> A {
        (self.make)().await
    }
}
