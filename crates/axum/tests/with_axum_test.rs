//! An application's own tests with the crate `axum-test`.

use axum::Router;
use axum::routing::{get, post};
use axum_test::TestServer;
use secure_sessions_axum::{LoggedIn, Session, SessionError, SessionLayer, SessionManager, testing};

fn shop(manager: SessionManager) -> Router {
    Router::new()
        .route("/login", post(async |session: Session| session.login("alice")))
        .route("/account", get(async |user: LoggedIn| format!("Hello {}", user.subject())))
        .route("/visits", post(visit))
        .layer(SessionLayer::new(manager))
}

async fn visit(session: Session) -> Result<String, SessionError> {
    Ok(session
        .update("visits", |visits: &mut u64| {
            *visits += 1;
            *visits
        })?
        .to_string())
}

#[tokio::test]
async fn the_jar_of_axum_test_follows_a_login_and_each_change() {
    let server = TestServer::builder().save_cookies().build(shop(testing::manager().0));
    server.get("/account").await.assert_status_unauthorized();
    server.post("/login").await.assert_status_ok();
    server.get("/account").await.assert_text("Hello alice");
    for visits in ["1", "2", "3"] {
        server.post("/visits").await.assert_text(visits);
    }
}

#[tokio::test]
async fn a_seeded_session_is_a_header_of_an_axum_test_request() {
    let (manager, _) = testing::manager();
    let cookie = testing::session(&manager).login("alice").insert("visits", 41).cookie().await.expect("a session");
    let server = TestServer::new(shop(manager));
    server.get("/account").add_header("cookie", &cookie).await.assert_text("Hello alice");
    server.post("/visits").add_header("cookie", &cookie).await.assert_text("42");
}
