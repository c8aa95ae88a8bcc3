//! The calls of a gRPC client, over a socket; and what is not in the example's dependency tree.

use std::process::Command;

use secure_sessions_axum::testing;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;

use super::generated::counter_client::CounterClient;
use super::*;

async fn client(manager: &SessionManager) -> CounterClient<Channel> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, manager.clone()));
    CounterClient::new(Channel::from_shared(address).unwrap().connect().await.unwrap())
}

fn with_cookie(cookie: &str) -> Request<Nothing> {
    let mut request = Request::new(Nothing {});
    request.metadata_mut().insert("cookie", cookie.parse().unwrap());
    request
}

/// `name=value` of the cookie that was set.
fn cookie(metadata: &MetadataMap) -> Option<String> {
    let header = metadata.get("set-cookie")?.to_str().unwrap();
    Some(header.split(';').next().unwrap().to_owned())
}

#[tokio::test]
async fn a_session_is_made_counts_and_ends_with_the_logout_over_a_socket() {
    let (manager, _clock) = testing::manager();
    let mut client = client(&manager).await;
    let first = client.count(Nothing {}).await.unwrap();
    assert_eq!(first.get_ref().visits, 1);
    let second = client.count(with_cookie(&cookie(first.metadata()).unwrap())).await.unwrap();
    assert_eq!(second.get_ref().visits, 2);
    let newest = cookie(second.metadata()).unwrap();
    let logout = client.logout(with_cookie(&newest)).await.unwrap();
    assert_eq!(cookie(logout.metadata()).as_deref(), Some("session="));
    assert_eq!(client.count(with_cookie(&newest)).await.unwrap().get_ref().visits, 1);
}

#[tokio::test]
async fn what_a_failed_call_changed_is_not_kept_though_it_is_http_200() {
    let (manager, _clock) = testing::manager();
    let mut client = client(&manager).await;
    let cookie = testing::session(&manager).login("alice").insert("visits", 3).cookie().await.unwrap();
    for _ in 0..2 {
        let failed = client.count(with_cookie(&cookie)).await.unwrap_err();
        assert_eq!(failed.code(), Code::ResourceExhausted);
        assert_eq!(self::cookie(failed.metadata()), None);
        assert_eq!(manager.sessions_of("alice").await.unwrap().len(), 1);
    }
    let failed = client.count(with_cookie(&cookie)).await.unwrap_err();
    assert_eq!(failed.message(), "three calls are free");
}

#[test]
fn axum_is_not_in_the_dependency_tree() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let tree = ["tree", "--locked", "--offline", "--prefix=none", "--edges=all", "--manifest-path", manifest];
    let output = Command::new(env!("CARGO")).args(tree).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let has = |name: &str| tree.lines().any(|line| line.split(' ').next() == Some(name));
    assert!(has("secure-sessions-axum") && has("tonic"), "{tree}");
    assert!(!has("axum") && !has("axum-core"), "{tree}");
}
