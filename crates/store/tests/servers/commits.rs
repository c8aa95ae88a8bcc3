//! A `COMMIT` that the server refuses.

use secure_sessions_store::{Revision, SessionStore};

use crate::support::{Kind, expect, run, session, tombstone};

/// A deferred check runs at the `COMMIT`, and so fails there.
#[test]
fn after_a_refused_commit_the_same_connection_serves_the_next_login() {
    for (code, is_lost_race) in [("serialization_failure", true), ("disk_full", false)] {
        run(Kind::Postgres, |database| async move {
            let store = database.options().max_connections(1).connect(&database.url).await.unwrap();
            store.insert(&session(1)).await.unwrap();
            let (mut admin, table) = (database.admin().await, &database.table);
            let refuse = format!(
                "CREATE FUNCTION refuse_{table}() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$; \
                 CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED \
                 FOR EACH ROW EXECUTE FUNCTION refuse_{table}()"
            );
            admin.run(&refuse).await;
            let log_in =
                async || store.renew_into(&session(2), &session(1).id, Revision::FIRST, tombstone(session(1).id)).await;
            match log_in().await {
                Ok(renewed) => assert!(!renewed && is_lost_race, "{code}"),
                Err(error) => assert!(error.is_transient() && !is_lost_race, "{code}: {error:?}"),
            }
            expect(&store, &session(1)).await;
            assert!(store.load(&session(2).id).await.unwrap().is_none());
            admin.run(&format!("DROP TRIGGER refuse ON {table}; DROP FUNCTION refuse_{table}()")).await;
            assert!(log_in().await.unwrap());
            expect(&store, &session(2)).await;
        });
    }
}
