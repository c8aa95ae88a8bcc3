//! PgBouncer in front of PostgreSQL, and settings of transactions.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use secure_sessions_store::sqlx::postgres::PgConnectOptions;
use secure_sessions_store::sqlx::{Connection, PgConnection};
use secure_sessions_store::{Page, Revision, SessionStore, SqlOptions, SqlStore, Tags, Which};
use services::Service;

use crate::common::next;
use crate::support::{Admin, Kind, block_on, expect, numbered, session, tombstone};

/// Longer than any call takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A PgBouncer, killed at the end.
struct Pooler {
    child: Child,
    url: String,
    directory: PathBuf,
}

impl Pooler {
    /// Returns `None`, and says so, if the machine does not have it; with `CI=true` in the environment the test fails.
    fn start(server: &Service, mode: &str, size: u32) -> Option<Self> {
        Self::start_with(server, mode, size, "")
    }

    fn start_with(server: &Service, mode: &str, size: u32, more: &str) -> Option<Self> {
        let Some(program) =
            ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].into_iter().find(|path| PathBuf::from(path).exists())
        else {
            let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(!in_ci, "PgBouncer is missing: apt-get install pgbouncer");
            eprintln!("SKIPPED PgBouncer: apt-get install pgbouncer");
            return None;
        };
        let port = services::free_port().unwrap();
        let directory = std::env::temp_dir().join(format!("secure-sessions-pooler-{port}"));
        std::fs::create_dir_all(&directory).unwrap();
        let settings = directory.join("pgbouncer.ini");
        let mut file = std::fs::File::create(&settings).unwrap();
        write!(
            file,
            "[databases]\npostgres = host=127.0.0.1 user=postgres port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = {mode}\ndefault_pool_size = {size}\n{more}\n",
            server.port()
        )
        .unwrap();
        let mut command = Command::new(program);
        command.arg("-q").arg(&settings).stdout(Stdio::null()).stderr(Stdio::null());
        if std::fs::metadata("/proc/self").is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0) {
            // It refuses to run as root.
            command.uid(65534);
        }
        let pooler = Self {
            child: command.spawn().unwrap(),
            url: server.url().replace(&server.port().to_string(), &port.to_string()),
            directory,
        };
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(start.elapsed() < PATIENCE, "PgBouncer does not come up");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(pooler)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Sessions that are inserted, changed, renewed and ended, many at a time.
async fn live(store: &SqlStore, from: u64) {
    let lives = (from..from + 40).map(async |number| {
        let (first, second) = (numbered(2 * number), numbered(2 * number + 1));
        store.insert(&first).await.unwrap();
        expect(store, &first).await;
        assert!(store.replace(&next(&first), Revision::FIRST).await.unwrap());
        expect(store, &next(&first)).await;
        assert!(store.renew_into(&second, &first.id, Revision::new(2), tombstone(first.id)).await.unwrap());
        expect(store, &second).await;
    });
    join_all(lives).await;
}

async fn everything(store: &SqlStore) {
    live(store, 0).await;
    let subjects = [session(1).subject.unwrap()];
    assert_eq!(store.list(Tags::Subjects(&subjects), Page::first(100)).await.unwrap().len(), 40);
    assert!(store.remove(&numbered(1).id, Some(tombstone(numbered(1).id))).await.unwrap());
    assert_eq!(store.remove_all(Which::Tagged(Tags::Subjects(&subjects)), None).await.unwrap(), 39);
    assert_eq!(store.count().await.unwrap(), 0);
    assert!(store.purge_expired(session(1).purge_at(), 1000).await.unwrap() > 0);
    assert!(store.now().await.unwrap().is_some());
}

#[test]
fn through_a_pooler_in_either_mode_everything_works() {
    let Some(server) = Kind::Postgres.service(|setup| setup) else { return };
    for (mode, size) in [("session", 20), ("transaction", 3), ("transaction", 1)] {
        let Some(pooler) = Pooler::start(&server, mode, size) else { return };
        block_on(async {
            // Two stores, so that they get each other's connections.
            let (one, two) = (format!("one_{mode}_{size}"), format!("two_{mode}_{size}"));
            let open =
                async |table| SqlOptions::new().table(table).timeout(PATIENCE).connect(&pooler.url).await.unwrap();
            let (one, two) = (open(one).await, open(two).await);
            tokio::join!(everything(&one), everything(&two));
            one.close().await;
            two.close().await;
        });
    }
}

/// Neither a name nor a setting of the store's is left behind on a connection that others use.
#[test]
fn a_pooled_connection_is_left_as_it_was() {
    let Some(server) = Kind::Postgres.service(|setup| setup) else { return };
    let Some(pooler) = Pooler::start(&server, "transaction", 1) else { return };
    block_on(async {
        let store = SqlOptions::new().timeout(PATIENCE).connect(&pooler.url).await.unwrap();
        everything(&store).await;
        let options = PgConnectOptions::from_str(&pooler.url).unwrap().extra_float_digits(None);
        let mut other = Admin::Postgres(PgConnection::connect_with(&options).await.unwrap());
        let left = "SELECT (SELECT count(*) FROM pg_prepared_statements)::text, current_setting('statement_timeout')";
        assert_eq!(other.texts(left).await, [["0", "0"]]);
        store.close().await;
    });
}

/// It does not reset the server's connections, so that the names of one client's statements are there for the next.
#[test]
fn a_pooler_that_resets_no_connection_leaves_no_name_in_the_way() {
    let Some(server) = Kind::Postgres.service(|setup| setup) else { return };
    let Some(pooler) = Pooler::start_with(&server, "session", 2, "server_reset_query =") else { return };
    block_on(async {
        for _ in 0..3 {
            let store = SqlOptions::new().max_connections(2).timeout(PATIENCE).connect(&pooler.url).await.unwrap();
            everything(&store).await;
            store.close().await;
        }
    });
}

/// Without a pooler, statements are prepared once for each connection.
#[test]
fn a_direct_connection_prepares_its_statements() {
    let Some(server) = Kind::Postgres.service(|setup| setup) else { return };
    block_on(async {
        let mut admin = Admin::connect(Kind::Postgres, server.url()).await.unwrap();
        let store = SqlOptions::new().max_connections(1).timeout(PATIENCE).connect(server.url()).await.unwrap();
        assert!(store.load(&session(1).id).await.unwrap().is_none());
        let last = "SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'secure-sessions' \
                     AND query LIKE '%$1%'";
        assert_eq!(admin.texts(last).await, [["1"]], "its last statement has numbered parameters");
        store.close().await;
    });
}

/// Each `COMMIT` then begins another transaction, which nobody commits.
#[test]
fn a_mysql_whose_commits_chain_keeps_what_was_written_after_a_renewal() {
    let Some(server) = Kind::MySql.service(|setup| setup.arguments(["--completion-type=CHAIN"])) else { return };
    block_on(async {
        let options = || SqlOptions::new().max_connections(1).timeout(PATIENCE);
        let store = options().connect(server.url()).await.unwrap();
        store.insert(&session(1)).await.unwrap();
        assert!(
            store.renew_into(&session(2), &session(1).id, Revision::FIRST, tombstone(session(1).id)).await.unwrap()
        );
        store.insert(&session(3)).await.unwrap();
        let elsewhere = options().connect(server.url()).await.unwrap();
        expect(&elsewhere, &session(3)).await;
        store.close().await;
        expect(&elsewhere, &session(3)).await;
    });
}
