//! A server that cannot be connected to.

use std::time::{Duration, Instant};

use secure_sessions_store::{SessionStore, SqlOptions, StoreError};

use crate::support::{Admin, Kind, all_of, assert_transient, block_on, run, session};

/// Far less than the timeout, which a request must not use up.
const AT_ONCE: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(60);

fn a_server_that_refuses_connections(kind: Kind) {
    let Some(service) = kind.service(|setup| setup) else { return };
    block_on(async {
        let options = || SqlOptions::new().timeout(TIMEOUT);
        let store = options().connect(service.url()).await.unwrap();
        store.insert(&session(1)).await.unwrap();
        service.kill().unwrap();
        let mut last = None;
        for _ in 0..3 {
            let since = Instant::now();
            let outcome = store.load(&session(1).id).await;
            last = outcome.as_ref().err().map(all_of);
            assert_transient(outcome, since, AT_ONCE);
        }
        assert!(last.as_ref().is_some_and(|why| why.contains("refused")), "{last:?}");
        let since = Instant::now();
        let at_start = options().connect(service.url()).await.map(drop);
        assert!(at_start.as_ref().is_err_and(|error| all_of(error).contains("refused")), "{at_start:?}");
        assert_transient(at_start, since, AT_ONCE);
        service.restart().unwrap();
        assert!(store.load(&session(1).id).await.unwrap().is_some());
        store.close().await;
    });
}

#[test]
fn a_postgres_that_refuses_connections_is_an_error_at_once_that_says_so() {
    a_server_that_refuses_connections(Kind::Postgres);
}

#[test]
fn a_mysql_that_refuses_connections_is_an_error_at_once_that_says_so() {
    a_server_that_refuses_connections(Kind::MySql);
}

/// It may lag behind its primary, as a standby of PostgreSQL does.
#[test]
fn a_read_only_mysql_is_refused_at_start() {
    let Some(service) = Kind::MySql.service(|setup| setup) else { return };
    block_on(async {
        let mut admin = Admin::connect(Kind::MySql, service.url()).await.unwrap();
        admin.run("SET GLOBAL read_only = ON").await;
        let refused = SqlOptions::new().timeout(TIMEOUT).connect(service.url()).await.unwrap_err();
        assert!(matches!(refused, StoreError::Rejected(_)), "{refused:?}");
        assert!(all_of(&refused).contains("read_only"), "{refused:?}");
        admin.run("SET GLOBAL read_only = OFF").await;
        SqlOptions::new().timeout(TIMEOUT).connect(service.url()).await.unwrap().close().await;
    });
}

/// It is closed only when its calls have ended, and then nothing is left open.
#[test]
fn a_closed_store_leaves_no_connection() {
    for kind in [Kind::Postgres, Kind::MySql] {
        run(kind, |database| async move {
            let store = database.options().connect(&database.url).await.unwrap();
            store.insert(&session(1)).await.unwrap();
            let id = session(1).id;
            let (loaded, ()) = tokio::join!(store.load(&id), store.close());
            assert!(loaded.unwrap().is_some(), "the call under way has ended");
            assert!(matches!(store.load(&id).await, Err(StoreError::Unavailable(_))));
        });
    }
}
