//! The routes that answer browsers which bind sessions to devices.

use std::io::Cursor;

use rocket::http::Status;
use rocket::route::{Handler, Outcome, Route};
use rocket::{Data, Request, Response};
use secure_sessions::{DeviceAnswer, SessionManager};

use crate::cross_origin::METHODS;
use crate::headers::{Answer, Head};

/// Returns the routes of the manager's device endpoint; none if sessions are not bound to devices. They come before
/// every other route, also before the check of the origin, which would refuse what browsers send here.
pub(crate) fn routes(manager: &SessionManager) -> Vec<Route> {
    let Some([registration, refreshes]) = manager.device_paths() else { return Vec::new() };
    let paths = [registration.to_owned(), format!("{refreshes}<_>")];
    let of = |path: &String| METHODS.map(|method| Route::ranked(isize::MIN, method, path, Endpoint(manager.clone())));
    paths.iter().flat_map(of).collect()
}

#[derive(Clone)]
struct Endpoint(SessionManager);

#[rocket::async_trait]
impl Handler for Endpoint {
    async fn handle<'r>(&self, request: &'r Request<'_>, data: Data<'r>) -> Outcome<'r> {
        // The head cannot be held while the answer is awaited.
        let answering = self.0.device_endpoint(&Head(request), request.uri().path().as_str());
        match answering {
            Some(answering) => Outcome::Success(response(answering.await)),
            None => Outcome::Forward((data, Status::NotFound)),
        }
    }
}

fn response(answer: DeviceAnswer) -> Response<'static> {
    let mut response = Response::build().status(Status::new(answer.status())).finalize();
    answer.apply(&mut Answer(&mut response));
    let body = answer.into_body();
    response.set_sized_body(body.len(), Cursor::new(body));
    response
}
