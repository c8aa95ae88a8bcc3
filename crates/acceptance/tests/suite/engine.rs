//! Line 67 on a real engine: the database server under the acceptance server dies, hangs and comes back.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use services::{Error, Service, or_skip};

use crate::support::client::alice;
use crate::support::{Server, Setup, Store, Subject};

const AXUM: &str = env!("CARGO_BIN_EXE_acceptance-axum");

#[test]
fn a_postgres_that_dies_ends_no_session_and_revives_none() {
    on(Service::postgres(), an_engine_that_dies_ends_no_session_and_revives_none);
}

#[test]
fn a_mariadb_that_dies_ends_no_session_and_revives_none() {
    on(Service::mariadb(), an_engine_that_dies_ends_no_session_and_revives_none);
}

#[test]
fn a_postgres_that_hangs_is_a_503_in_time() {
    on(Service::postgres(), an_engine_that_hangs_is_a_503_in_time);
}

#[test]
fn a_mariadb_that_hangs_is_a_503_in_time() {
    on(Service::mariadb(), an_engine_that_hangs_is_a_503_in_time);
}

/// Runs a case on an engine of its own, where the machine has one.
fn on<F: Future<Output = ()>>(service: Result<Service, Error>, case: impl FnOnce(Setup, Arc<Service>) -> F) {
    let Some(service) = or_skip(service).map(Arc::new) else { return };
    let setup = Subject { binary: AXUM, store: Store::Memory }.setup();
    let setup = setup.set("STORE", service.url()).set("STORE_TIMEOUT_MS", "5000");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(180), case(setup, service)).await });
    assert!(ended.is_ok(), "the case did not end");
}

async fn an_engine_that_dies_ends_no_session_and_revives_none(setup: Setup, engine: Arc<Service>) {
    let server = setup.start().await;
    let mut alice = alice(&server).await;
    let mut bob = server.browser();
    bob.post("/login?user=bob").await.new_cookie();
    let mut count = 0;
    for _ in 0..2 {
        let mut leaving = server.browser();
        leaving.post("/login?user=carol").await.new_cookie();
        let ended = leaving.token();
        for _ in 0..10 {
            count += 1;
            assert_eq!(alice.post("/incr?k=n").await.ok()["value"], count);
        }
        leaving.post("/logout").await.assert_removal();
        engine.kill().unwrap();

        // While it is down: an opaque 503 for whoever has a session, and no cookie is touched.
        for path in ["/state", "/set?k=a&v=2", "/logout"] {
            let request = if path == "/state" { server.get(path) } else { server.post(path) };
            let since = Instant::now();
            let reply = bob.send(request).await;
            assert_eq!(reply.status, 503, "{path}: {}", reply.text());
            reply.assert_no_cookie();
            assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
            assert!(!reply.text().contains("127.0.0.1") && !reply.text().to_lowercase().contains("refused"));
        }
        server.get("/state").send().await.assert_anonymous();
        assert_eq!(server.get("/").send().await.status, 200);

        let again = Arc::clone(&engine);
        tokio::task::spawn_blocking(move || again.restart().unwrap()).await.unwrap();
        // The server was not restarted.
        back(&server, &alice.token()).await;
        let state = alice.state().await;
        assert_eq!((&state["subject"], &state["data"]["n"]), (&json!("alice"), &json!(count)));
        assert_eq!(bob.state().await["subject"], "bob");
        server.get("/state").cookie(&ended).send().await.assert_anonymous();
    }
}

async fn an_engine_that_hangs_is_a_503_in_time(setup: Setup, engine: Arc<Service>) {
    let server = setup.start().await;
    let mut alice = alice(&server).await;
    engine.pause().unwrap();
    let since = Instant::now();
    let replies = futures_util::future::join_all((0..20).map(|n| {
        let path = if n % 2 == 0 { "/state" } else { "/incr?k=n" };
        let request = if n % 2 == 0 { server.get(path) } else { server.post(path) };
        request.cookie(&alice.token()).send()
    }));
    for reply in replies.await {
        assert_eq!(reply.status, 503, "{}", reply.text());
        reply.assert_no_cookie();
    }
    assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    engine.resume().unwrap();
    back(&server, &alice.token()).await;
    assert_eq!(alice.state().await["subject"], "alice");
    alice.post("/incr?k=n").await.ok();
}

/// Waits until a session is served again.
async fn back(server: &Server, cookie: &str) {
    let since = Instant::now();
    loop {
        let reply = server.get("/state").cookie(cookie).send().await;
        if reply.status == 200 {
            return;
        }
        assert!(reply.status == 503 && since.elapsed() < Duration::from_secs(60), "{}", reply.status);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
