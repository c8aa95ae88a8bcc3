//! A store in a cluster of etcd.

use std::fmt;
use std::time::Duration;

use tonic::transport::Endpoint;

use self::connection::{Connection, User};
use self::messages::{
    Compare, DeleteRequest, Operation, OperationKind, Pair, PutRequest, RangeRequest, TransactionRequest,
};
use crate::key_value::{Change, Expected, Stored};
use crate::{KeyValue, KvStore, SessionStore, StoreError, VaultStore};

mod connection;
mod messages;

const DEFAULT_PREFIX: &str = "secure-sessions";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);
/// No clock can be asked for a deadline beyond its own range.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// A store in [etcd](https://etcd.io), version 3.4 or newer; a clone is the same store.
///
/// ```no_run
/// use secure_sessions_store::{EtcdStore, SessionStore};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let nodes = ["http://10.0.0.1:2379", "http://10.0.0.2:2379", "http://10.0.0.3:2379"];
/// let store = EtcdStore::connect(&nodes).await?;
/// assert_eq!(store.count().await?, 0);
/// # Ok(())
/// # }
/// ```
///
/// # Durability
///
/// A write is acknowledged once a majority of the nodes has it on its disk, and every read asks the leader. So no acknowledged
/// write, and no acknowledged ending, is lost while a majority of the disks survives: not in a crash, a failover or a
/// partition. Test: `a_node_killed_under_load_undoes_no_acknowledged_ending`. While a leader is elected, which takes a second
/// or two, writes fail; a cluster without a majority fails every call.
///
/// The store speaks to one node, and to the next one when it does not answer. Reads are tried again until the timeout; a write
/// only if it reached no node, because nobody knows else whether it has happened.
///
/// # Size
///
/// etcd keeps all its data in memory and on disk (2 GB unless `--quota-backend-bytes` says more), and every old value of a key
/// until it is compacted. Set `--auto-compaction-mode=periodic` and `--auto-compaction-retention=10m`, or the touches of
/// sessions fill it. A full cluster refuses every write but removals, until an operator compacts it and disarms its alarm: logins
/// fail, and logouts succeed without the tombstone that tells requests under way that their session has ended (test:
/// `a_full_etcd_still_ends_sessions`). Suited to tens of thousands of sessions, a few thousand writes a second.
///
/// Private values can be kept here, too, but each is in the memory of every node. Reading up to 64 of them is one step. One
/// request holds fewer than 15 of the largest, below 1 MB, and etcd takes 1.5 MiB; if its `--max-request-bytes` is lower, a value
/// beyond it is refused with both lengths (test: `a_value_over_the_limit_of_a_request_is_refused_by_its_size`).
///
/// Run a [`Purge`](crate::Purge) beside the store. It goes by the hosts' clocks, because etcd tells no time; leases are not
/// used, because each touch would need a new one, and a lease starts again when the leader changes.
///
/// # Rights
///
/// With authentication, the user needs `readwrite` on the keys with the store's prefix:
/// `etcdctl role grant-permission sessions readwrite secure-sessions/ --prefix`. Opening the store tries both.
#[derive(Clone)]
pub struct EtcdStore(KvStore<Etcd>);

/// The options of an [`EtcdStore`].
///
/// ```no_run
/// # use secure_sessions_store::{EtcdOptions, StoreError};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), StoreError> {
/// let nodes = ["https://etcd-1.internal:2379", "https://etcd-2.internal:2379"];
/// let store = EtcdOptions::new().prefix("shop").user("sessions", "password").connect(nodes).await?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct EtcdOptions {
    prefix: String,
    timeout: Duration,
    user: Option<User>,
}

impl EtcdStore {
    /// Opens a cluster, given the URLs of its nodes: `http://HOST:PORT`, or `https://` with the feature `tls-rustls`. To set
    /// more, use [`EtcdOptions`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Rejected`] if a URL is wrong, or the cluster refuses the store's calls; another [`StoreError`] if no node
    /// answers.
    pub async fn connect(nodes: &[&str]) -> Result<Self, StoreError> {
        EtcdOptions::new().connect(nodes.iter().copied()).await
    }
}

impl EtcdOptions {
    /// Returns the defaults: the prefix `secure-sessions`, 3 seconds, no user.
    pub fn new() -> Self {
        Self { prefix: DEFAULT_PREFIX.into(), timeout: DEFAULT_TIMEOUT, user: None }
    }

    /// Sets what every key begins with: 1 to 64 letters, digits and `-_.:`. Stores with different prefixes share nothing.
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// Sets how long one step may take; more than a day counts as a day. Reading a session is one step, changing it two.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: timeout.min(LONGEST_TIMEOUT), ..self }
    }

    /// Sets the name and password of a user of the cluster.
    pub fn user(self, name: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: Some(User::new(name.into(), password.into())), ..self }
    }

    /// Opens a cluster, given the URLs of its nodes.
    ///
    /// # Errors
    ///
    /// The same as [`EtcdStore::connect`].
    pub async fn connect<U: Into<String>>(self, nodes: impl IntoIterator<Item = U>) -> Result<EtcdStore, StoreError> {
        let endpoints: Result<Vec<_>, _> = nodes.into_iter().map(|node| endpoint(&node.into())).collect();
        self.endpoints(endpoints?).await
    }

    /// Opens a cluster at endpoints of your own, with an authority or a client certificate of your own for instance.
    ///
    /// # Errors
    ///
    /// The same as [`EtcdStore::connect`].
    pub async fn endpoints(self, nodes: Vec<Endpoint>) -> Result<EtcdStore, StoreError> {
        if nodes.is_empty() {
            return Err(StoreError::rejected("no node of etcd is named: give the URL of at least one"));
        }
        let probe = format!("{}/probe", self.prefix);
        let engine = Etcd(Connection::new(nodes, self.user, self.timeout));
        let store = KvStore::new(engine.clone(), &self.prefix)?;
        engine.get(std::slice::from_ref(&probe)).await?;
        engine.write(&[Change { key: probe, expected: Expected::Anything, new: None }]).await?;
        Ok(EtcdStore(store))
    }
}

impl Default for EtcdOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdOptions")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("user", &self.user.as_ref().map(|user| &user.name))
            .finish()
    }
}

/// The URL may hold a password, so the error does not quote it.
fn endpoint(url: &str) -> Result<Endpoint, StoreError> {
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(StoreError::rejected)?;
    let (scheme, authority) = (endpoint.uri().scheme_str(), endpoint.uri().authority());
    if authority.is_none_or(|authority| authority.as_str().contains('@')) {
        return Err(StoreError::rejected(
            "a node of etcd is http://HOST:PORT or https://HOST:PORT; a user is an option",
        ));
    }
    match scheme {
        Some("http") => Ok(endpoint),
        #[cfg(feature = "tls-rustls")]
        Some("https") => {
            let roots = tonic::transport::ClientTlsConfig::new().with_native_roots();
            endpoint.tls_config(roots).map_err(StoreError::rejected)
        }
        #[cfg(not(feature = "tls-rustls"))]
        Some("https") => Err(StoreError::rejected("https:// to etcd needs the feature tls-rustls")),
        _ => Err(StoreError::rejected("a node of etcd is http://HOST:PORT or https://HOST:PORT")),
    }
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EtcdStore(..)")
    }
}

impl SessionStore for EtcdStore {
    crate::forward_methods!(self => &self.0;
        insert, load, replace, renew_into, remove, list, count, remove_all, purge_expired, now, not_before,
        raise_not_before);
}

impl VaultStore for EtcdStore {
    crate::forward_vault_methods!(self => &self.0; put, get, delete, delete_all, prolong, purge);
}

#[derive(Clone)]
struct Etcd(Connection);

impl KeyValue for Etcd {
    /// The revision of the cluster at which the key was last written.
    type Version = i64;
    const TRANSACTS: bool = true;
    const EXPIRES: bool = false;

    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Stored<i64>>>, StoreError> {
        let range = |key: &String| RangeRequest { key: key.clone().into_bytes(), range_end: Vec::new(), limit: 0 };
        if let [key] = keys {
            let answer = self.0.range(&range(key)).await?;
            return Ok(vec![answer.pairs.into_iter().next().map(stored)]);
        }
        let success = keys.iter().map(|key| operation(OperationKind::Range(range(key)))).collect();
        let answer = self.0.read(&TransactionRequest { compare: Vec::new(), success }).await?;
        let found = answer.responses.into_iter().map(|response| response.range?.pairs.into_iter().next().map(stored));
        Ok(found.collect())
    }

    async fn write(&self, changes: &[Change<i64>]) -> Result<bool, StoreError> {
        let compare = changes.iter().filter_map(|change| {
            let key = change.key.clone().into_bytes();
            match &change.expected {
                Expected::Anything => None,
                Expected::Nothing => Some(Compare::nothing(key)),
                Expected::Unchanged(stored) => Some(Compare::unchanged(key, stored.version)),
            }
        });
        let success = changes.iter().map(|change| {
            let key = change.key.clone().into_bytes();
            operation(match &change.new {
                Some(new) => OperationKind::Put(PutRequest { key, value: new.value.clone() }),
                None => OperationKind::Delete(DeleteRequest { key }),
            })
        });
        let request = TransactionRequest { compare: compare.collect(), success: success.collect() };
        Ok(self.0.write(&request).await?.succeeded)
    }

    async fn scan(&self, from: &str, to: &str, limit: usize) -> Result<Vec<(String, Stored<i64>)>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let request = RangeRequest { key: from.into(), range_end: to.into(), limit };
        let answer = self.0.range(&request).await?;
        let name = |pair: &Pair| String::from_utf8(pair.key.clone()).map_err(StoreError::corrupt);
        answer.pairs.into_iter().map(|pair| Ok((name(&pair)?, stored(pair)))).collect()
    }
}

fn operation(kind: OperationKind) -> Operation {
    Operation { kind: Some(kind) }
}

fn stored(pair: Pair) -> Stored<i64> {
    Stored { value: pair.value, version: pair.mod_revision }
}
