//! A host whose clock differs from the server's.

use std::time::Duration;

use secure_sessions_store::{Bucket, Millis, Purge, SessionStore, Timestamp};

use crate::common::now;
use crate::support::{Database, Kind, expect, run, session};

const TWO_HOURS: Millis = Millis::from_secs(7200);

/// A session that may be purged from then on.
fn due(id: u8, at: Timestamp) -> Bucket {
    let bucket = Bucket { idle_timeout: None, ..session(id) };
    let delay = bucket.purge_at().as_millis() - bucket.expires_at.as_millis();
    Bucket { expires_at: Timestamp::from_millis(at.as_millis() - delay), ..bucket }
}

async fn purging_from_a_host_ahead(database: Database) {
    let store = database.open().await;
    let present = now();
    let alive = due(1, present.after(Millis::from_secs(3600)));
    let over = due(2, Timestamp::from_millis(present.as_millis() - 60_000));
    store.insert(&alive).await.unwrap();
    store.insert(&over).await.unwrap();
    let ahead = Purge::new(store.clone()).clock(|| now().after(TWO_HOURS));
    assert_eq!(ahead.run_once().await.unwrap(), 1);
    expect(&store, &alive).await;
    // And one whose clock is behind goes by its own.
    store.insert(&over).await.unwrap();
    let behind = Purge::new(store.clone()).clock(|| Timestamp::from_millis(now().as_millis() - 7_200_000));
    assert_eq!(behind.run_once().await.unwrap(), 0);
}

#[test]
fn a_host_with_a_clock_ahead_purges_no_session_that_is_alive_for_others() {
    run(Kind::Postgres, purging_from_a_host_ahead);
    run(Kind::MySql, purging_from_a_host_ahead);
}

/// The server's functions of time are put behind others, as if its clock were two hours ahead.
#[test]
fn the_time_of_a_store_is_that_of_its_server() {
    run(Kind::Postgres, |database| async move {
        let (mut admin, schema) = (database.admin().await, format!("{}_clock", database.table));
        let clock = format!(
            "CREATE SCHEMA {schema}; CREATE FUNCTION {schema}.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS \
             $$ SELECT pg_catalog.clock_timestamp() + interval '2 hours' $$"
        );
        admin.run(&clock).await;
        let options = format!("?options=-c%20search_path%3D{schema},pg_catalog,public");
        let store = database.options().connect(&format!("{}{options}", database.url)).await.unwrap();
        assert_is_about(store.now().await.unwrap().unwrap(), now().after(TWO_HOURS));
        store.close().await;
        admin.run(&format!("DROP SCHEMA {schema} CASCADE")).await;
    });
    run(Kind::MySql, |database| async move {
        let store = database.open().await;
        assert_is_about(store.now().await.unwrap().unwrap(), now());
    });
}

fn assert_is_about(time: Timestamp, expected: Timestamp) {
    let difference = time.as_millis().abs_diff(expected.as_millis());
    assert!(Duration::from_millis(difference) < Duration::from_secs(30), "{time:?} is not about {expected:?}");
}
