//! Requests to the engine without a framework: what they cost is the engine's and the store's alone.

use anyhow::{Context, Result, ensure};
use futures_util::FutureExt;
use secure_sessions::{Reply, RequestHead, ResponseHeaders, Session, SessionManager};

/// Sends one request with this `Cookie` header, and lets the handler see its session. The pair that a browser would
/// present from then on, if the answer sets one.
///
/// # Errors
///
/// If the handler fails, or what it asked for was not committed.
pub(crate) async fn request(
    manager: &SessionManager,
    cookie: &[u8],
    handler: impl FnOnce(&Session) -> Result<()>,
) -> Result<Option<String>> {
    let request = manager.begin();
    let session = request.session(&Head(cookie)).await?;
    handler(&session)?;
    drop(session);
    let reply = match request.finish(200).try_now() {
        Ok(reply) => reply,
        Err(finish) => finish.await,
    };
    set_cookie(&reply.context("nobody looked")?)
}

/// The same where nothing waits: on a store in this process, and without another request for the same session.
///
/// # Errors
///
/// As [`request`], and if it had to wait.
pub(crate) fn request_now(
    manager: &SessionManager,
    cookie: &[u8],
    handler: impl FnOnce(&Session) -> Result<()>,
) -> Result<Option<String>> {
    request(manager, cookie, handler).now_or_never().context("nothing waits here")?
}

fn set_cookie(reply: &Reply) -> Result<Option<String>> {
    ensure!(reply.failure().is_none(), "not committed: {:?}", reply.failure());
    let mut answer = Answer(None);
    reply.apply(&mut answer);
    Ok(answer.0)
}

struct Head<'a>(&'a [u8]);

impl RequestHead for Head<'_> {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        if name == "cookie" && !self.0.is_empty() {
            visit(self.0);
        }
    }

    fn method(&self) -> &'static str {
        "GET"
    }
}

/// The pair of our `Set-Cookie` alone.
struct Answer(Option<String>);

impl ResponseHeaders for Answer {
    fn for_each_value(&self, _: &'static str, _: &mut dyn FnMut(&[u8])) {}

    fn append(&mut self, name: &'static str, value: &str, _: bool) {
        if name == "set-cookie" {
            self.0 = value.split(';').next().map(str::to_owned);
        }
    }

    fn set(&mut self, _: &'static str, _: &'static str) {}

    fn remove(&mut self, _: &'static str) {}
}
