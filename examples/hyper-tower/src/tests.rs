//! The way of a visitor through the example, over a socket; and what is not in its dependency tree.

use std::process::Command;
use std::time::Duration;

use reqwest::header::{COOKIE, SET_COOKIE};
use secure_sessions_axum::{ManualClock, testing};

use super::*;

struct Site {
    base: String,
    manager: SessionManager,
    clock: ManualClock,
}

impl Site {
    async fn start() -> Self {
        let (manager, clock) = testing::manager();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, manager.clone()));
        Self { base, manager, clock }
    }

    /// The status, the body, and `name=value` of the cookie that was set.
    async fn send(&self, method: Method, path: &str, cookie: &str) -> (StatusCode, String, Option<String>) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.request(method, format!("{}{path}", self.base)).header(COOKIE, cookie);
        let response = request.send().await.unwrap();
        let set = response.headers().get(SET_COOKIE).map(|value| value.to_str().unwrap());
        let cookie = set.map(|value| value.split(';').next().unwrap().to_owned());
        (response.status(), response.text().await.unwrap(), cookie)
    }
}

#[tokio::test]
async fn a_session_is_made_counts_and_ends_with_the_logout_over_a_socket() {
    let site = Site::start().await;
    let (_, text, first) = site.send(Method::GET, "/", "").await;
    assert_eq!(text, "visit number 1\n");
    let (_, text, second) = site.send(Method::GET, "/", &first.unwrap()).await;
    assert_eq!(text, "visit number 2\n");
    let cookie = second.unwrap();

    let (status, _, none) = site.send(Method::GET, "/elsewhere", &cookie).await;
    assert_eq!((status, none), (StatusCode::NOT_FOUND, None));

    let (_, text, removed) = site.send(Method::POST, "/logout", &cookie).await;
    assert_eq!((text.as_str(), removed.as_deref()), ("goodbye\n", Some("session=")));
    let (_, text, _) = site.send(Method::GET, "/", &cookie).await;
    assert_eq!(text, "visit number 1\n", "the cookie from before the logout is good for nothing");
}

#[tokio::test]
async fn a_session_made_without_a_browser_works_until_idle_for_half_an_hour() {
    let site = Site::start().await;
    let cookie = testing::session(&site.manager).login("alice").insert("visits", 6).cookie().await.unwrap();
    let (_, text, set) = site.send(Method::GET, "/", &cookie).await;
    assert_eq!(text, "visit number 7\n");
    site.clock.advance(Duration::from_secs(32 * 60));
    let (_, text, _) = site.send(Method::GET, "/", &set.unwrap()).await;
    assert_eq!(text, "visit number 1\n");
}

#[tokio::test]
async fn what_cannot_be_committed_is_answered_as_the_example_says() {
    let site = Site::start().await;
    let cookie = testing::session(&site.manager).insert("visits", "not a number").cookie().await.unwrap();
    let (status, text, set) = site.send(Method::GET, "/", &cookie).await;
    assert_eq!((status, text.as_str(), set), (StatusCode::INTERNAL_SERVER_ERROR, "Internal server error.", None));
}

#[test]
fn axum_is_not_in_the_dependency_tree() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let tree = ["tree", "--locked", "--offline", "--prefix=none", "--edges=all", "--manifest-path", manifest];
    let output = Command::new(env!("CARGO")).args(tree).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let has = |name: &str| tree.lines().any(|line| line.split(' ').next() == Some(name));
    assert!(has("secure-sessions-axum") && has("tower-layer"), "{tree}");
    assert!(!has("axum") && !has("axum-core"), "{tree}");
}
