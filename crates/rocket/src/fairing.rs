//! The fairing: begins a request's session at the first look, and finishes it before the response's head leaves.

use std::sync::Arc;

use rocket::fairing::{Fairing, Info, Kind};
use rocket::http::Status;
use rocket::response::{Redirect, Responder};
use rocket::{Build, Ignite, Request, Response, Rocket, response};
use secure_sessions::{Reply, RequestSession, SessionManager};

use crate::device;
use crate::headers::Answer;
use crate::{EngineError, SessionError};

/// The fairing that carries sessions. Attach it after the fairings that use sessions in their `on_response`, and before
/// those that must see the response as it leaves: response fairings run in the order of their attachment.
///
/// A response commits what its request changed if its status is below 500, and neither 408 nor 499: see
/// [`RequestSession::finish`].
///
/// If sessions are [bound to devices](crate::DeviceBound), it mounts the routes for the browser's own requests.
///
/// It is a singleton: the one that is attached last replaces the others, so that a test can replace the application's.
/// From ignition on, the manager is in Rocket's managed state as `&State<SessionManager>`, unless the application
/// manages one of its own.
pub struct SessionFairing {
    manager: SessionManager,
    /// The application's own response; `None` for the default.
    respond: Option<Arc<Respond>>,
}

type Respond = dyn Fn(&EngineError, &Request<'_>) -> response::Result<'static> + Send + Sync + 'static;

impl SessionFairing {
    /// Creates a fairing that carries the manager's sessions.
    #[must_use]
    pub fn new(manager: SessionManager) -> Self {
        Self { manager, respond: None }
    }

    /// Creates a fairing for development: sessions in memory, generated keys, a cookie for plain http. See
    /// [`SessionManager::dev`].
    ///
    /// ```
    /// # use rocket::{Build, Rocket, get, routes};
    /// use secure_sessions_rocket::{Session, SessionError, SessionFairing};
    ///
    /// #[get("/")]
    /// fn count(session: Session) -> Result<String, SessionError> {
    ///     Ok(session.update("visits", |visits: &mut u64| { *visits += 1; *visits })?.to_string())
    /// }
    ///
    /// # fn rocket() -> Rocket<Build> {
    /// rocket::build().mount("/", routes![count]).attach(SessionFairing::dev())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the system's source of randomness fails.
    #[must_use]
    pub fn dev() -> Self {
        Self::new(SessionManager::dev())
    }

    /// Sets the application's own response to session errors. It replaces a response whose session could not be
    /// committed (catchers no longer run by then), and every [`SessionError`] that a route answers with. A guard that
    /// fails goes to a catcher, as always in Rocket.
    ///
    /// It gets the request, so that it can answer a page, JSON or a redirect.
    ///
    /// ```
    /// # use rocket::Either;
    /// # use rocket::http::{ContentType, Status};
    /// # use rocket::response::Redirect;
    /// # use secure_sessions_rocket::{EngineError, SessionFairing};
    /// let fairing = SessionFairing::dev().on_error(|error, request| {
    ///     let status = Status::new(error.status());
    ///     let wants_json = request.accept().is_some_and(|accept| accept.preferred().is_json());
    ///     match error {
    ///         _ if wants_json => {
    ///             Either::Left((status, (ContentType::JSON, format!(r#"{{"status":{}}}"#, error.status()))))
    ///         }
    ///         EngineError::AuthenticationTooOld { .. } => Either::Right(Redirect::to("/confirm-password")),
    ///         _ => Either::Left((status, (ContentType::HTML, format!("<h1>{}</h1>", error.client_text())))),
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn on_error<F, R>(mut self, respond: F) -> Self
    where
        F: Fn(&EngineError, &Request<'_>) -> R + Send + Sync + 'static,
        R: for<'r> Responder<'r, 'static>,
    {
        self.respond = Some(Arc::new(move |error, request| respond(error, request).respond_to(request)));
        self
    }

    fn applied<'r>(&self, reply: &Reply, request: &'r Request<'_>, response: &mut Response<'r>) {
        if let Some(error) = reply.failure() {
            *response = responded(self.respond.as_deref(), error, request)
                .unwrap_or_else(|status| Response::build().status(status).finalize());
        }
        reply.apply(&mut Answer(response));
    }
}

/// The address of the login page, in the local cache of a request whose guard refused it for want of a login.
struct LogInAt(Option<String>);

/// Lets the fairing answer with a redirect to the login page, if the guard's refusal becomes the response.
pub(crate) fn log_in_at(request: &Request<'_>, location: Option<&str>) {
    request.local_cache(|| LogInAt(location.map(str::to_owned)));
}

/// Replaces a catcher's 401 by a redirect to the login page, if a guard asked for it.
fn redirected<'r>(request: &'r Request<'_>, response: &mut Response<'r>) {
    if let LogInAt(Some(location)) = request.local_cache(|| LogInAt(None))
        && response.status() == Status::Unauthorized
    {
        *response = Response::build().status(Status::SeeOther).raw_header("location", location.as_str()).finalize();
    }
}

/// Returns the application's own response, or by default the error's status and a text that reveals nothing about the
/// server's internals.
fn responded(respond: Option<&Respond>, error: &EngineError, request: &Request<'_>) -> response::Result<'static> {
    if let Some(location) = error.location() {
        let redirect = match error.status() {
            307 => Redirect::temporary(location.to_owned()),
            _ => Redirect::to(location.to_owned()),
        };
        return redirect.respond_to(request);
    }
    match respond {
        Some(respond) => respond(error, request),
        None => (Status::new(error.status()), error.client_text()).respond_to(request),
    }
}

/// Returns the response for a route's error.
pub(crate) fn error_response(error: &EngineError, request: &Request<'_>) -> response::Result<'static> {
    let attached = request.rocket().state::<Attached>();
    responded(attached.and_then(|attached| attached.respond.as_deref()), error, request)
}

#[rocket::async_trait]
impl Fairing for SessionFairing {
    fn info(&self) -> Info {
        Info { name: "Sessions", kind: Kind::Ignite | Kind::Response | Kind::Singleton }
    }

    async fn on_ignite(&self, rocket: Rocket<Build>) -> rocket::fairing::Result {
        let rocket = rocket.mount("/", device::routes(&self.manager));
        let rocket = rocket.manage(Attached { manager: self.manager.clone(), respond: self.respond.clone() });
        // An application may manage one of its own, which stays.
        let managed = rocket.state::<SessionManager>().is_some();
        Ok(if managed { rocket } else { rocket.manage(self.manager.clone()) })
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        // Marks a request that has no session yet, so that a later look at its session returns an error.
        let Begun(Some(session)) = request.local_cache(|| Begun(None)) else { return };
        let reply = match session.finish(response.status().code).try_now() {
            Ok(reply) => reply,
            Err(finish) => finish.await,
        };
        redirected(request, response);
        if let Some(reply) = reply {
            self.applied(&reply, request, response);
        }
    }
}

impl std::fmt::Debug for SessionFairing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionFairing").field("manager", &self.manager).finish_non_exhaustive()
    }
}

/// The attached fairing's parts, in Rocket's managed state.
struct Attached {
    manager: SessionManager,
    respond: Option<Arc<Respond>>,
}

pub(crate) fn is_attached(rocket: &Rocket<Ignite>) -> bool {
    rocket.state::<Attached>().is_some()
}

/// The request's session, in its local cache from the first look on. Empty if the response was finished before any
/// look.
struct Begun(Option<RequestSession>);

/// Returns the request's session. Begins it if nothing has looked at it yet.
pub(crate) fn begun<'r>(request: &'r Request<'_>) -> Result<&'r RequestSession, SessionError> {
    let attached = request.rocket().state::<Attached>().ok_or_else(|| EngineError::no_layer(NO_FAIRING))?;
    let Begun(session) = request.local_cache(|| Begun(Some(attached.manager.begin())));
    Ok(session.as_ref().ok_or(EngineError::Finished)?)
}

pub(crate) const NO_FAIRING: &str = "a route, guard or fairing uses `Session`, but no `SessionFairing` is attached: add `.attach(SessionFairing::new(manager))` to the rocket, after the fairings that use sessions";
