//! The middleware for one version of actix-session. The versions have the same names, so one macro defines each.

/// Defines the middleware for the version that is imported as `actix_session`.
macro_rules! version {
    () => {
        use std::fmt;
        use std::future::{Future, Ready, ready};
        use std::pin::Pin;
        use std::rc::Rc;
        use std::sync::Arc;

        use actix_session::{Session, SessionExt as _, SessionStatus};
        use actix_web::Error;
        use actix_web::body::{EitherBody, MessageBody};
        use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
        use secure_sessions_actix::{SessionError, SessionExt as _};

        use crate::bridge::{Fate, Snapshot, apply, values};

        type SubjectOf = Arc<dyn Fn(&Session) -> Option<String> + Send + Sync>;

        /// The middleware that fills each request's `Session` of actix-session, and makes its changes.
        ///
        /// Wrap it inside of [`SessionMiddleware`](secure_sessions_actix::SessionMiddleware), and outside of the
        /// middleware that uses the `Session`: the middleware that is added last is the outermost.
        #[derive(Clone, Default)]
        pub struct ActixSessionMiddleware {
            subject: Option<SubjectOf>,
        }

        impl ActixSessionMiddleware {
            /// Creates a middleware that leaves subjects to the native session.
            #[must_use]
            pub fn new() -> Self {
                Self::default()
            }

            /// Sets the function that finds the subject in a session. When it finds another one after the handler than
            /// before, the session logs in or out, as the native `login` and `logout` do. You can then list and revoke
            /// the sessions of a user.
            ///
            /// The function must only read, and return the same for equal data. The crate's page shows it for
            /// actix-identity.
            #[must_use]
            pub fn with_subject<F>(self, subject_of: F) -> Self
            where
                F: Fn(&Session) -> Option<String> + Send + Sync + 'static,
            {
                Self { subject: Some(Arc::new(subject_of)) }
            }
        }

        impl fmt::Debug for ActixSessionMiddleware {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("ActixSessionMiddleware").field("subject", &self.subject.is_some()).finish()
            }
        }

        impl<S, B> Transform<S, ServiceRequest> for ActixSessionMiddleware
        where
            S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
            B: MessageBody + 'static,
        {
            type Response = ServiceResponse<EitherBody<B>>;
            type Error = Error;
            type Transform = ActixSessionService<S>;
            type InitError = ();
            type Future = Ready<Result<ActixSessionService<S>, ()>>;

            fn new_transform(&self, service: S) -> Self::Future {
                ready(Ok(ActixSessionService { service: Rc::new(service), subject: self.subject.clone() }))
            }
        }

        /// The service that [`ActixSessionMiddleware`] creates.
        pub struct ActixSessionService<S> {
            service: Rc<S>,
            subject: Option<SubjectOf>,
        }

        impl<S: fmt::Debug> fmt::Debug for ActixSessionService<S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("ActixSessionService").field("service", &self.service).finish_non_exhaustive()
            }
        }

        impl<S, B> Service<ServiceRequest> for ActixSessionService<S>
        where
            S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
            B: MessageBody + 'static,
        {
            type Response = ServiceResponse<EitherBody<B>>;
            type Error = Error;
            type Future = Pin<Box<dyn Future<Output = Result<ServiceResponse<EitherBody<B>>, Error>>>>;

            forward_ready!(service);

            fn call(&self, request: ServiceRequest) -> Self::Future {
                let (service, subject) = (Rc::clone(&self.service), self.subject.clone());
                let loading = request.session();
                Box::pin(async move {
                    let native = match loading.await {
                        Ok(native) => native,
                        Err(error) => return Ok(request.error_response(error).map_into_right_body()),
                    };
                    let peer = request.get_session();
                    let values = match values(&native).await {
                        Ok(values) => values,
                        Err(error) => {
                            return Ok(request.error_response(SessionError::from(error)).map_into_right_body());
                        }
                    };
                    for (key, value) in values {
                        peer.insert(key, value)?;
                    }
                    let subject_of = |peer: &Session| subject.as_ref().and_then(|subject_of| subject_of(peer));
                    let data = peer.entries().clone();
                    let before = Snapshot { data: &data, subject: subject_of(&peer) };
                    let outcome = service.call(request).await;
                    let fate = match peer.status() {
                        SessionStatus::Purged => Fate::Purged,
                        SessionStatus::Renewed => Fate::Renewed,
                        SessionStatus::Changed | SessionStatus::Unchanged => Fate::Kept,
                    };
                    let after = Snapshot { data: &peer.entries(), subject: subject_of(&peer) };
                    let applied = apply(&native, fate, &before, &after);
                    match (applied, outcome) {
                        // The handler's own failure is not replaced.
                        (Err(error), Ok(response)) if !response.status().is_server_error() => {
                            Ok(response.error_response(SessionError::from(error)).map_into_right_body())
                        }
                        (_, outcome) => outcome.map(ServiceResponse::map_into_left_body),
                    }
                })
            }
        }
    };
}
