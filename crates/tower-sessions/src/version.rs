//! The layer for one version of tower-sessions. The versions have the same names, so one macro defines each.

/// Defines the layer for the version of tower-sessions-core that is imported as `tower_sessions_core`.
macro_rules! version {
    () => {
        use std::collections::HashMap;
        use std::fmt;
        use std::future::Future;
        use std::pin::Pin;
        use std::sync::Arc;
        use std::task::{Context, Poll, ready};

        use async_trait::async_trait;
        use http::{Request, Response};
        use pin_project_lite::pin_project;
        use secure_sessions_axum::{EngineError, SessionError, SessionExt};
        use serde_json::Value;
        use tower_layer::Layer;
        use tower_service::Service;
        use tower_sessions_core::session::{Error, Expiry, Id, Record};
        use tower_sessions_core::{Session, SessionStore, session_store};

        use crate::bridge::{Asked, Bridge, Expires, SubjectOf, at};

        /// The layer that gives each request a `Session` of tower-sessions.
        ///
        /// Add it inside of [`SessionLayer`](secure_sessions_axum::SessionLayer), and outside of the layers that use
        /// the `Session`, as in the crate's example.
        #[derive(Clone, Default)]
        pub struct TowerSessionsLayer {
            subject: Option<SubjectOf>,
        }

        impl TowerSessionsLayer {
            /// Creates a layer that leaves subjects to the native session.
            #[must_use]
            pub fn new() -> Self {
                Self::default()
            }

            /// Sets the function that finds the subject in a session's data. When the data's subject changes, the
            /// session logs in or out, as the native `login` and `logout` do. You can then list and revoke the sessions
            /// of a user.
            ///
            /// The function must return the same for equal data. The crate's page shows it for axum-login.
            #[must_use]
            pub fn with_subject<F>(self, subject_of: F) -> Self
            where
                F: Fn(&HashMap<String, Value>) -> Option<String> + Send + Sync + 'static,
            {
                Self { subject: Some(Arc::new(subject_of)) }
            }
        }

        impl fmt::Debug for TowerSessionsLayer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("TowerSessionsLayer").field("subject", &self.subject.is_some()).finish()
            }
        }

        impl<S> Layer<S> for TowerSessionsLayer {
            type Service = TowerSessionsService<S>;

            fn layer(&self, inner: S) -> Self::Service {
                TowerSessionsService { inner, subject: self.subject.clone() }
            }
        }

        /// The service that [`TowerSessionsLayer`] creates.
        #[derive(Clone)]
        pub struct TowerSessionsService<S> {
            inner: S,
            subject: Option<SubjectOf>,
        }

        impl<S: fmt::Debug> fmt::Debug for TowerSessionsService<S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("TowerSessionsService").field("inner", &self.inner).finish_non_exhaustive()
            }
        }

        impl<S, A, B> Service<Request<A>> for TowerSessionsService<S>
        where
            S: Service<Request<A>, Response = Response<B>>,
            B: Default,
        {
            type Response = Response<B>;
            type Error = S::Error;
            type Future = ResponseFuture<S::Future, Response<B>, S::Error>;

            fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
                self.inner.poll_ready(context)
            }

            fn call(&mut self, mut request: Request<A>) -> Self::Future {
                match request.deferred_session() {
                    Ok(deferred) => {
                        let store = Arc::new(Store(Bridge::new(deferred, self.subject.clone())));
                        let session = Session::new(store.0.presented().map(Id), Arc::clone(&store), None);
                        request.extensions_mut().insert(session.clone());
                        let inner = self.inner.call(request);
                        ResponseFuture { step: Step::Inner { inner, peer: Some(Peer { session, store }) } }
                    }
                    Err(error) => {
                        tracing::error!(target: "secure_sessions", %error, "a request did not pass a `SessionLayer`");
                        ResponseFuture { step: Step::Refused { response: Some(error.into_empty_response()) } }
                    }
                }
            }
        }

        pin_project! {
            /// The future of [`TowerSessionsService`].
            pub struct ResponseFuture<F, R, X> {
                #[pin]
                step: Step<F, R, X>,
            }
        }

        pin_project! {
            #[project = Projection]
            enum Step<F, R, X> {
                Inner { #[pin] inner: F, peer: Option<Peer> },
                // Boxed: few requests change their session, but every request's future is moved.
                Finishing { finishing: Finishing, outcome: Option<Result<R, X>> },
                Refused { response: Option<R> },
            }
        }

        type Finishing = Pin<Box<dyn Future<Output = Result<(), EngineError>> + Send>>;

        impl<F, B, X> Future for ResponseFuture<F, Response<B>, X>
        where
            F: Future<Output = Result<Response<B>, X>>,
            B: Default,
        {
            type Output = F::Output;

            fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
                let mut step = self.project().step;
                loop {
                    match step.as_mut().project() {
                        Projection::Inner { inner, peer } => {
                            let mut outcome = ready!(inner.poll(context));
                            let refusal = peer.as_ref().and_then(|peer| peer.store.0.refusal());
                            if let (Ok(response), Some(error)) = (&mut outcome, refusal)
                                && response.status().is_server_error()
                            {
                                // The handler failed for want of a session. The client must hear what to send instead.
                                *response = SessionError::from(error).into_empty_response();
                            }
                            match peer.take().filter(Peer::has_changed) {
                                Some(peer) => {
                                    let finishing: Finishing = Box::pin(peer.finish());
                                    step.set(Step::Finishing { finishing, outcome: Some(outcome) });
                                }
                                None => return Poll::Ready(outcome),
                            }
                        }
                        Projection::Finishing { finishing, outcome } => {
                            let finished = ready!(finishing.as_mut().poll(context));
                            let Some(outcome) = outcome.take() else { return Poll::Pending };
                            return Poll::Ready(match (finished, outcome) {
                                // The handler's own failure is not replaced.
                                (Err(error), Ok(response)) if !response.status().is_server_error() => {
                                    Ok(SessionError::from(error).into_empty_response())
                                }
                                (_, outcome) => outcome,
                            });
                        }
                        Projection::Refused { response } => {
                            return response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)));
                        }
                    }
                }
            }
        }

        /// One request's session of tower-sessions, and the store that it was made with.
        struct Peer {
            session: Session,
            store: Arc<Store>,
        }

        impl Peer {
            fn has_changed(&self) -> bool {
                self.session.is_modified() || self.store.0.is_deleted()
            }

            /// Makes the changes of the handler, for the session's layer to commit.
            async fn finish(self) -> Result<(), EngineError> {
                let Self { session, store } = self;
                let Store(bridge) = &*store;
                bridge.finish();
                // By tower-sessions' meaning: it has no id, as none was presented or it was deleted, and no data.
                if session.is_empty().await {
                    return if bridge.is_deleted() { bridge.end().await } else { Ok(()) };
                }
                match session.expiry() {
                    Some(Expiry::OnSessionEnd) => bridge.expire(Expires::WithTheBrowser).await?,
                    Some(Expiry::OnInactivity(duration)) => bridge.expire(Expires::After(duration)).await?,
                    Some(Expiry::AtDateTime(end)) => bridge.expire(Expires::At(end)).await?,
                    None => {}
                }
                match session.is_modified() {
                    true => session.save().await.or_else(|error| match (bridge.take_failure(), error) {
                        (Some(failure), _) => Err(failure),
                        (None, error) => Err(unexpected(&error)),
                    }),
                    // It was deleted, and not changed afterwards.
                    false => bridge.end().await,
                }
            }
        }

        /// Returns the error of a session that failed before it asked its store.
        fn unexpected(error: &Error) -> EngineError {
            EngineError::Store(secure_sessions_axum::StoreError::rejected(error.to_string()))
        }

        /// One request's session, as the store of one `Session`.
        #[derive(Debug)]
        struct Store(Bridge);

        #[async_trait]
        impl SessionStore for Store {
            async fn create(&self, record: &mut Record) -> session_store::Result<()> {
                // Without an id yet, the record keeps its own, which nobody else ever sees.
                if let Some(id) = self.0.write(Asked::Create(record.id.0), &record.data).await.map_err(backend)? {
                    record.id = Id(id);
                }
                Ok(())
            }

            async fn save(&self, record: &Record) -> session_store::Result<()> {
                let asked = if self.0.is_deleted() { Asked::Recreate } else { Asked::Save };
                self.0.write(asked, &record.data).await.map(|_| ()).map_err(backend)
            }

            async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
                let loaded = self.0.load().await.map_err(backend)?;
                Ok(loaded.map(|(data, expires_at)| Record { id: *id, data, expiry_date: at(expires_at) }))
            }

            async fn delete(&self, id: &Id) -> session_store::Result<()> {
                self.0.delete(id.0);
                Ok(())
            }
        }

        fn backend(error: EngineError) -> session_store::Error {
            session_store::Error::Backend(error.to_string())
        }
    };
}
