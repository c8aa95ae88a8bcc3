//! Refuses requests that another site caused: a fairing for a whole rocket, a guard for single routes.

use rocket::fairing::{Fairing, Info, Kind};
use rocket::http::{Method, Status};
use rocket::request::{FromRequest, Outcome as Guarded};
use rocket::route::{Handler, Outcome, Route};
use rocket::{Build, Data, Ignite, Request, Rocket, Sentinel, fairing};
use secure_sessions::{CrossOrigin, CrossOriginRefused};

use crate::headers::Head;

/// Refuses requests that another site caused, on every route: see [`CrossOrigin`]. The application's catcher for 403
/// creates the response.
///
/// A Rocket fairing cannot refuse a request. So this one mounts routes of the highest rank that match every path: a
/// refused request ends there with 403, and every other request is forwarded to the application's routes. They see the
/// path as it was sent. No other route or guard runs before these routes, but request fairings do.
///
/// ```
/// use rocket::{post, routes};
/// use secure_sessions_rocket::{CrossOrigin, CrossOriginFairing};
///
/// #[post("/pay")]
/// fn pay() -> &'static str {
///     "paid"
/// }
///
/// let check = CrossOrigin::builder().exempt_path("/webhooks/*").build()?;
/// let rocket = rocket::build().mount("/", routes![pay]).attach(CrossOriginFairing::new(check));
/// # Ok::<_, secure_sessions_rocket::CrossOriginError>(())
/// ```
#[derive(Debug, Clone)]
pub struct CrossOriginFairing {
    check: CrossOrigin,
}

impl CrossOriginFairing {
    /// Creates a fairing that asks this check about every request.
    #[must_use]
    pub fn new(check: CrossOrigin) -> Self {
        Self { check }
    }
}

/// All methods: even a `GET` may ask for a WebSocket.
pub(crate) const METHODS: [Method; 9] = [
    Method::Get,
    Method::Put,
    Method::Post,
    Method::Delete,
    Method::Options,
    Method::Head,
    Method::Trace,
    Method::Connect,
    Method::Patch,
];

#[rocket::async_trait]
impl Fairing for CrossOriginFairing {
    fn info(&self) -> Info {
        Info { name: "Cross-origin check", kind: Kind::Ignite | Kind::Singleton }
    }

    async fn on_ignite(&self, rocket: Rocket<Build>) -> fairing::Result {
        // Only the routes of device-bound sessions come before these.
        let gate = |method| Route::ranked(isize::MIN + 1, method, "/<_..>", Gate(self.check.clone()));
        let rocket = rocket.mount("/", METHODS.map(gate).to_vec());
        // An application may manage one of its own for the guard.
        let managed = rocket.state::<CrossOrigin>().is_some();
        Ok(if managed { rocket } else { rocket.manage(self.check.clone()) })
    }
}

/// The handler in front of all routes.
#[derive(Clone)]
struct Gate(CrossOrigin);

#[rocket::async_trait]
impl Handler for Gate {
    async fn handle<'r>(&self, request: &'r Request<'_>, data: Data<'r>) -> Outcome<'r> {
        match check(&self.0, request) {
            // The status counts only if no route of the application matches.
            Ok(()) => Outcome::Forward((data, Status::NotFound)),
            Err(refused) => Outcome::Error(status(refused)),
        }
    }
}

/// Proof that another site did not cause the request: a guard for single routes, for a rocket without the
/// [fairing](CrossOriginFairing). It asks the [`CrossOrigin`] in managed state, and fails with 403.
///
/// ```
/// use rocket::{post, routes};
/// use secure_sessions_rocket::{CrossOrigin, SameOrigin};
///
/// #[post("/pay")]
/// fn pay(_proof: SameOrigin) -> &'static str {
///     "paid"
/// }
///
/// let rocket = rocket::build().mount("/", routes![pay]).manage(CrossOrigin::default());
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct SameOrigin;

#[rocket::async_trait]
impl<'r> FromRequest<'r> for SameOrigin {
    type Error = CrossOriginRefused;

    async fn from_request(request: &'r Request<'_>) -> Guarded<Self, CrossOriginRefused> {
        let outcome = match request.rocket().state::<CrossOrigin>() {
            Some(managed) => check(managed, request),
            // The sentinel refuses to launch such a rocket, but does not see a route that is made by hand.
            None => check(&CrossOrigin::default(), request),
        };
        match outcome {
            Ok(()) => Guarded::Success(Self),
            Err(refused) => Guarded::Error((status(refused), refused)),
        }
    }
}

/// Refuses the launch of a rocket that manages no check, and has no fairing with one.
impl Sentinel for SameOrigin {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        let missing = rocket.state::<CrossOrigin>().is_none();
        if missing {
            tracing::error!(
                target: "secure_sessions",
                "a route uses `SameOrigin`, but there is no check: add `.attach(CrossOriginFairing::new(check))` or `.manage(CrossOrigin::default())` to the rocket"
            );
        }
        missing
    }
}

fn check(check: &CrossOrigin, request: &Request<'_>) -> Result<(), CrossOriginRefused> {
    // Rocket keeps an HTTP/2 request's authority as the host, and the target without it.
    let authority = request.host().map(ToString::to_string);
    check.check(&Head(request), request.uri().path().as_str(), authority.as_deref())
}

fn status(refused: CrossOriginRefused) -> Status {
    Status::new(refused.status())
}
