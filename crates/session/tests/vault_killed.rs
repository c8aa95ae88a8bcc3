//! A server that is killed between the put of a private value and the swap of its session: the commit fails, the value of
//! before stands, and the new one is an orphan that goes with the purge, or with its session.
#![cfg(all(feature = "postgres", feature = "mysql", feature = "redis"))]
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "a test fails by panicking")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secure_sessions::store::{
    AnyStore, AnyVaultStore, Blob, BlobId, Millis, Timestamp, VaultId, VaultStore, forward_vault_methods,
};
use secure_sessions::{
    Clock, Keyring, ManualClock, RedisOptions, Session, SessionManager, SessionStore, SqlStore, StoreError,
};
use services::{Engine, Service, Setup, or_skip};
use support::{Head, set_cookie};

/// The default lifetime of a session, and how long its entry stays after it.
const LIFETIME: Millis = Millis::from_secs(9 * 3600);

/// A store that kills its server once a put is acknowledged, if it is armed.
#[derive(Clone)]
struct Killing {
    store: AnyVaultStore,
    server: Arc<Service>,
    armed: Arc<AtomicBool>,
    puts: Arc<Mutex<Vec<(VaultId, BlobId)>>>,
}

impl VaultStore for Killing {
    async fn put(&self, vault: &VaultId, blobs: &[Blob], purge_at: Timestamp) -> Result<(), StoreError> {
        self.store.put(vault, blobs, purge_at).await?;
        self.puts.lock().unwrap().extend(blobs.iter().map(|blob| (*vault, blob.id)));
        if self.armed.swap(false, Ordering::SeqCst) {
            self.server.kill().unwrap();
        }
        Ok(())
    }

    forward_vault_methods!(self => &self.store; get, delete, delete_all, prolong, purge);
}

/// The hosts of an application: each opens the store anew, as after a restart.
struct Hosts {
    server: Arc<Service>,
    keyring: Keyring,
    clock: ManualClock,
    armed: Arc<AtomicBool>,
    puts: Arc<Mutex<Vec<(VaultId, BlobId)>>>,
}

struct Host {
    manager: SessionManager,
    vault: Killing,
}

impl Hosts {
    /// Starts a server that keeps each acknowledged write; `None`, and says so, if the machine does not have it.
    fn on(engine: Engine) -> Option<Self> {
        let setup = Setup::new(engine);
        let setup = match engine {
            Engine::Redis => setup.arguments(["--appendonly", "yes", "--appendfsync", "always"]),
            _ => setup,
        };
        Some(Self {
            server: Arc::new(or_skip(setup.start())?),
            keyring: Keyring::generate().unwrap(),
            clock: ManualClock::at_present(),
            armed: Arc::default(),
            puts: Arc::default(),
        })
    }

    async fn host(&self) -> Host {
        let url = self.server.url();
        let (sessions, vault) = if self.server.engine() == Engine::Redis {
            both(RedisOptions::new().timeout(Duration::from_secs(5)).connect(url).await.unwrap())
        } else {
            both(SqlStore::connect(url).await.unwrap())
        };
        let (server, armed, puts) = (Arc::clone(&self.server), Arc::clone(&self.armed), Arc::clone(&self.puts));
        let vault = Killing { store: vault, server, armed, puts };
        let manager = SessionManager::builder(self.keyring.clone(), sessions)
            .vault(vault.clone())
            .insecure_dev()
            .clock(self.clock.clone())
            .build()
            .unwrap();
        Host { manager, vault }
    }

    /// Commits the value on a server that dies right after the put, and starts the server again.
    async fn cut(&self, host: &Host, cookie: Option<&str>, value: &str) -> (VaultId, BlobId) {
        self.armed.store(true, Ordering::SeqCst);
        let failed = host.change(cookie, |session| session.vault().insert("token", value).unwrap()).await;
        assert!(failed.is_err(), "a commit on a dead server succeeded");
        assert!(!self.armed.load(Ordering::SeqCst), "the server died after the put");
        self.server.restart().unwrap();
        *self.puts.lock().unwrap().last().unwrap()
    }
}

fn both(store: impl SessionStore + VaultStore + Clone) -> (AnyStore, AnyVaultStore) {
    (AnyStore::new(store.clone()), AnyVaultStore::new(store))
}

impl Host {
    /// One whole request. Returns the cookie that the browser has then.
    async fn change(&self, cookie: Option<&str>, handler: impl FnOnce(&Session)) -> Result<Option<String>, String> {
        let request = self.manager.begin();
        let session = request.session(&Head::with(cookie)).await.map_err(|error| error.to_string())?;
        handler(&session);
        let reply = request.finish(200).await;
        match reply.as_ref().and_then(|reply| reply.failure()) {
            Some(error) => Err(error.to_string()),
            None => Ok(set_cookie(reply.as_ref()).or(cookie.map(str::to_owned))),
        }
    }

    async fn read(&self, cookie: &str) -> Option<String> {
        let request = self.manager.begin();
        let session = request.session(&Head::with(Some(cookie))).await.unwrap();
        session.vault().get("token").await.unwrap()
    }

    async fn keeps(&self, (vault, id): (VaultId, BlobId)) -> bool {
        self.vault.get(&vault, &[id]).await.unwrap()[0].is_some()
    }
}

async fn killed_between_put_and_swap(engine: Engine) {
    let Some(hosts) = Hosts::on(engine) else { return };
    let begun = hosts.clock.now();
    let lost = hosts.cut(&hosts.host().await, None, "of a session that never was").await;
    hosts.clock.advance(Duration::from_secs(3600));

    let host = hosts.host().await;
    let kept = host.change(None, |session| session.vault().insert("token", "before").unwrap());
    let cookie = kept.await.unwrap().unwrap();
    let replacing = hosts.cut(&host, Some(&cookie), "after").await;

    let host = hosts.host().await;
    assert_eq!(host.read(&cookie).await.as_deref(), Some("before"));
    assert!(host.keeps(lost).await && host.keeps(replacing).await, "both puts were acknowledged");
    if engine == Engine::Redis {
        // It expires them by itself.
        let name: String = lost.0.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let left = hosts.server.redis_call(&["PTTL", &format!("secure-sessions:{{{name}}}:vault")]).unwrap();
        let left: u64 = left.trim().parse().unwrap();
        assert!(left > 0 && left <= LIFETIME.get(), "{left}");
    } else {
        assert_eq!(host.vault.purge(begun, 100).await.unwrap(), 0, "nothing is due");
        let due = begun.after(LIFETIME);
        assert_eq!(host.vault.purge(due, 100).await.unwrap(), 1, "the orphan of the session that never was");
        assert!(!host.keeps(lost).await && host.keeps(replacing).await);
    }
    assert_eq!(host.read(&cookie).await.as_deref(), Some("before"));

    // The other orphan is in the vault of a session, and goes with it.
    host.change(Some(&cookie), |session| session.logout().unwrap()).await.unwrap();
    assert!(!host.keeps(replacing).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_killed_between_put_and_swap_leaves_an_orphan_alone() {
    killed_between_put_and_swap(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mariadb_killed_between_put_and_swap_leaves_an_orphan_alone() {
    killed_between_put_and_swap(Engine::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_killed_between_put_and_swap_leaves_an_orphan_alone() {
    killed_between_put_and_swap(Engine::Redis).await;
}
