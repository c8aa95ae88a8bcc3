//! An error that becomes a response writes one line to the log, at the level of its status.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "a test fails by panicking")]

mod support;

use secure_sessions::{SessionError, StoreError};
use support::app;
use support::output::Output;

struct Log(Output);

impl Log {
    /// Takes everything that this thread logs until the guard is dropped.
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Output::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        (Self(log), tracing::subscriber::set_default(subscriber))
    }

    fn lines(&self) -> Vec<String> {
        self.0.text().lines().map(|line| line.trim().to_owned()).collect()
    }

    fn of(work: impl FnOnce()) -> Vec<String> {
        let (log, _guard) = Self::start();
        work();
        log.lines()
    }
}

#[test]
fn an_error_is_logged_once_at_the_level_of_its_status() {
    for (error, level) in [
        (SessionError::Store(StoreError::Timeout), "ERROR"),
        (SessionError::Finished, "ERROR"),
        (SessionError::TooLarge { key: Some("cart".into()), size: 4100, limit: 4000 }, "WARN"),
        (SessionError::Flash { length: 5000 }, "WARN"),
        (SessionError::Ended, "INFO"),
        (SessionError::Conflict, "INFO"),
        (SessionError::NotLoggedIn, "DEBUG"),
        (SessionError::Csrf, "DEBUG"),
    ] {
        let lines = Log::of(|| error.report());
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(line.starts_with(level) && line.contains(&error.to_string()), "{line}");
    }
    let lines = Log::of(|| SessionError::no_layer("add the layer").report());
    assert_eq!(lines, ["ERROR secure_sessions: add the layer"], "once, where it was missed");
}

#[tokio::test]
async fn what_outgrew_the_cookie_is_named_with_key_size_and_limit() {
    let app = app();
    let (_, session) = app.request(None).await;
    let lines = Log::of(|| session.insert("cart", "x".repeat(3900)).unwrap_err().report());
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert!(line.starts_with("WARN") && line.contains("`cart`") && line.contains("limit of 2800"), "{line}");
    let long = "x".repeat(3900);
    let error = session.update("note", move |note: &mut String| note.push_str(&long)).unwrap_err();
    assert!(matches!(error, SessionError::TooLarge { key: Some(ref key), .. } if **key == *"note"), "{error}");
}

#[tokio::test]
async fn a_value_of_another_type_is_named_by_key_field_and_reason() {
    let app = app();
    let (_, session) = app.request(None).await;
    session.insert("cart", [("book", 1)]).unwrap();
    let errors = [
        session.get::<Vec<(String, String)>>("cart").map(drop),
        session.take::<Vec<(String, String)>>("cart").map(drop),
        session.update("cart", |_: &mut Vec<(String, String)>| {}),
    ];
    for error in errors.map(Result::unwrap_err) {
        let text = error.to_string();
        assert!(text.starts_with("the value of `cart` is not a alloc::vec::Vec<"), "{text}");
        assert!(text.contains("[0][1]: invalid type: integer, expected a string"), "{text}");
        assert!(!text.contains("book"), "{text}");
    }
}

#[tokio::test]
async fn a_commit_that_another_request_ended_is_no_error_of_the_server() {
    let app = app();
    let cookie = app.visit(None, |session| session.login("alice").unwrap()).await;
    let (request, session) = app.request(cookie.as_deref()).await;
    session.insert("n", 1).unwrap();
    app.visit(cookie.as_deref(), |session| session.logout().unwrap()).await;
    let (log, _guard) = Log::start();
    // On this thread alone, so that the log gets the lines of a commit that goes on by itself, too.
    let reply = request.finish(200).await.unwrap();
    assert!(matches!(reply.failure(), Some(SessionError::Ended)));
    let lines: Vec<_> = log.lines().into_iter().filter(|line| line.contains("was not committed")).collect();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert!(line.starts_with("INFO") && line.contains("the session has ended"), "{line}");
}
