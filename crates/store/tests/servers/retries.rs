//! A connection that the server closes between two calls.

use std::time::Duration;

use secure_sessions_store::{Page, Revision, SessionStore, SqlOptions, Tags};

use crate::common::next;
use crate::support::{Admin, Kind, assert_transient, block_on, expect, session};

/// Longer than any call takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Closes all connections of others, and waits until they are gone.
async fn close_others(kind: Kind, admin: &mut Admin) {
    let own = admin.id(kind).await;
    let others = kind.pick(
        &format!("SELECT pid::bigint FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> {own}"),
        &format!("SELECT CAST(id AS SIGNED) FROM information_schema.processlist WHERE user = 'root' AND id <> {own}"),
    );
    let connections = admin.numbers(&others).await;
    assert!(!connections.is_empty(), "the store keeps a connection");
    for connection in connections {
        let close = kind.pick(&format!("SELECT pg_terminate_backend({connection})"), &format!("KILL {connection}"));
        let _ = admin.try_run(&close).await;
    }
    while !admin.numbers(&others).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn a_read_outlives_its_connection(kind: Kind) {
    let Some(service) = kind.service(|setup| setup) else { return };
    block_on(async {
        for connections in [1, 4] {
            let store = SqlOptions::new().max_connections(connections).timeout(PATIENCE);
            let store = store.connect(service.url()).await.unwrap();
            let bucket = session(u8::try_from(connections).unwrap());
            store.insert(&bucket).await.unwrap();
            let mut admin = Admin::connect(kind, service.url()).await.unwrap();
            // Opens as many connections as the store may keep, so that each was used a moment ago.
            let keep = || futures_util::future::join_all((0..connections).map(|_| store.load(&bucket.id)));
            for _ in 0..3 {
                keep().await;
                close_others(kind, &mut admin).await;
                expect(&store, &bucket).await;
                keep().await;
                close_others(kind, &mut admin).await;
                assert_eq!(
                    store.list(Tags::Subjects(&[bucket.subject.unwrap()]), Page::first(9)).await.unwrap().len(),
                    1
                );
            }
            // A write may have happened, so it is its caller who decides.
            keep().await;
            close_others(kind, &mut admin).await;
            let since = std::time::Instant::now();
            let outcome = store.replace(&next(&bucket), Revision::FIRST).await;
            assert_transient(outcome, since, PATIENCE);
            expect(&store, &bucket).await;
            store.remove(&bucket.id, None).await.unwrap();
            store.close().await;
        }
    });
}

#[test]
fn a_postgres_connection_closed_between_two_reads_costs_neither() {
    a_read_outlives_its_connection(Kind::Postgres);
}

#[test]
fn a_mysql_connection_closed_between_two_reads_costs_neither() {
    a_read_outlives_its_connection(Kind::MySql);
}
