//! Private values: a hash for each vault, under the vault's name, so that all of it is on one node of a cluster.
//!
//! Redis expires a vault as a whole, by the latest deadline that a write gave it. A blob never changes, so each step may be sent
//! again. A lost blob loses a value, not the end of a session: no write waits for a replica but the deletion of whole vaults.

use std::sync::LazyLock;

use futures_util::future::try_join_all;
use redis::{Cmd, Value, cmd};
use secure_sessions_core::{BlobId, Timestamp, VaultId};

use super::RedisStore;
use super::connection::Until;
use super::error::unexpected;
use super::scripts::Source;
use super::value::millis;
use crate::{Blob, StoreError, VaultStore};

/// The most arguments of a script that Lua takes from a table at once, and the vaults that are deleted at a time.
const MOST: usize = 256;

/// Keeps blobs. KEYS: vault. ARGV: deadline, then an id and its value for each blob.
const PUT: &str = r"
for at = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
local left = redis.call('PTTL', KEYS[1])
if left < 0 or now() + left < tonumber(ARGV[1]) then redis.call('PEXPIREAT', KEYS[1], ARGV[1]) end
return 1
";

/// Reads blobs, on a primary. KEYS: vault. ARGV: ids.
const GET: &str = "return redis.call('HMGET', KEYS[1], unpack(ARGV))";

/// Gives a vault a later deadline. KEYS: vault. ARGV: deadline.
const PROLONG: &str = r"
local left = redis.call('PTTL', KEYS[1])
if left >= 0 and now() + left < tonumber(ARGV[1]) then redis.call('PEXPIREAT', KEYS[1], ARGV[1]) end
return 1
";

struct Scripts {
    put: Source,
    get: Source,
    prolong: Source,
}

static SCRIPTS: LazyLock<Scripts> =
    LazyLock::new(|| Scripts { put: Source::new(PUT), get: Source::new(GET), prolong: Source::new(PROLONG) });

impl VaultStore for RedisStore {
    async fn put(&self, vault: &VaultId, blobs: &[Blob], purge_at: Timestamp) -> Result<(), StoreError> {
        if blobs.is_empty() {
            return Ok(());
        }
        let deadline = millis(purge_at).to_string();
        let mut arguments = vec![deadline.as_bytes()];
        arguments.extend(blobs.iter().flat_map(|blob| [blob.id.as_bytes().as_slice(), &blob.bytes]));
        let key = self.0.keys.vault(vault);
        let until = if self.0.connection.replicas().policy().updates { Until::Replica(&key) } else { Until::Server };
        self.0.connection.script(&SCRIPTS.put, until, &[&key], &arguments).await.map(drop)
    }

    /// Asks by a script, which finds out whether the server is a replica: one that was the primary until a moment ago lacks the
    /// newest blobs. In a cluster, each node knows that.
    async fn get(&self, vault: &VaultId, ids: &[BlobId]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let (key, connection) = (self.0.keys.vault(vault), &self.0.connection);
        let mut found = Vec::with_capacity(ids.len());
        for some in ids.chunks(MOST) {
            let names: Vec<&[u8]> = some.iter().map(|id| id.as_bytes().as_slice()).collect();
            let values: Value = if connection.is_cluster() {
                connection.query(cmd("HMGET").arg(&key).arg(&names)).await?
            } else {
                connection.script(&SCRIPTS.get, Until::Server, &[&key], &names).await?.value
            };
            let values: Vec<Option<Vec<u8>>> = redis::from_redis_value(values).map_err(|_| unexpected())?;
            if values.len() != some.len() {
                return Err(unexpected());
            }
            found.extend(values);
        }
        Ok(found)
    }

    async fn delete(&self, vault: &VaultId, ids: &[BlobId]) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut delete = cmd("HDEL");
        delete.arg(self.0.keys.vault(vault));
        for id in ids {
            delete.arg(id.as_bytes());
        }
        self.0.connection.query::<u64>(&delete).await.map(drop)
    }

    async fn delete_all(&self, vaults: &[VaultId]) -> Result<(), StoreError> {
        for some in vaults.chunks(MOST) {
            try_join_all(some.iter().map(|vault| async move {
                let (mut delete, key) = (cmd("DEL"), self.0.keys.vault(vault));
                delete.arg(&key);
                // A session's end erases its values, and a failover must not bring them back.
                self.0.connection.query_or(delete, Until::Replica(&key), |_| false, Cmd::new).await
            }))
            .await?;
        }
        Ok(())
    }

    async fn prolong(&self, vault: &VaultId, purge_at: Timestamp) -> Result<(), StoreError> {
        let (key, deadline) = (self.0.keys.vault(vault), millis(purge_at).to_string());
        self.0.connection.script(&SCRIPTS.prolong, Until::Server, &[&key], &[deadline.as_bytes()]).await.map(drop)
    }

    /// Returns 0: Redis expires vaults by itself.
    async fn purge(&self, _now: Timestamp, _limit: u32) -> Result<u64, StoreError> {
        Ok(0)
    }
}
