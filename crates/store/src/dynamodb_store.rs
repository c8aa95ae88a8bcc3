//! A store in a table of DynamoDB.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;

use self::items::Place;
use self::writes::{Attempts, Written};
use crate::key_value::{Change, Expected, NewValue, Stored};
use crate::{KeyValue, KvStore, SessionStore, StoreError, VaultStore};

mod errors;
mod items;
mod reads;
mod table;
mod writes;

const DEFAULT_PREFIX: &str = "secure-sessions";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);
/// The pause before a call is repeated that DynamoDB put off; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(320);

/// A store in a table of [DynamoDB](https://aws.amazon.com/dynamodb/); a clone is the same store.
///
/// You bring the client of the SDK: its region, credentials, TLS and retries are your application's.
///
/// ```no_run
/// use aws_sdk_dynamodb::Client;
/// use secure_sessions_store::{DynamoDbStore, SessionStore, StoreError, aws_sdk_dynamodb};
///
/// # async fn open(client: Client) -> Result<(), StoreError> {
/// // Once, with the rights to create a table.
/// DynamoDbStore::create_table(&client, "sessions").await?;
/// // On every host, without them.
/// let store = DynamoDbStore::open(client, "sessions").await?;
/// assert_eq!(store.count().await?, 0);
/// # Ok(())
/// # }
/// ```
///
/// # Table
///
/// | attribute | type | content |
/// | --- | --- | --- |
/// | `partition_key` | string, the partition key | the front of a key of [`KvStore`] |
/// | `sort_key` | string, the sort key | the rest of it |
/// | `record` | binary | the value |
/// | `version` | binary | a mark that changes with every write |
/// | `expires_at` | number, the attribute of TTL | the time in seconds after which DynamoDB may remove the item |
///
/// [`create_table`](Self::create_table) creates it, billed on demand. You can also create it yourself; opening a store never
/// does, and refuses a table with other keys or without TTL:
///
/// ```text
/// aws dynamodb create-table --table-name sessions --billing-mode PAY_PER_REQUEST \
///   --attribute-definitions AttributeName=partition_key,AttributeType=S AttributeName=sort_key,AttributeType=S \
///   --key-schema AttributeName=partition_key,KeyType=HASH AttributeName=sort_key,KeyType=RANGE
/// aws dynamodb update-time-to-live --table-name sessions \
///   --time-to-live-specification Enabled=true,AttributeName=expires_at
/// ```
///
/// Several stores share a table if each has a [prefix](DynamoDbOptions::prefix) of its own.
///
/// # Durability
///
/// DynamoDB acknowledges a write once two of three availability zones have it. Every read is a consistent one, and the steps of a
/// renewal are one transaction, so no acknowledged write, and no acknowledged ending, is undone. Use one region: the replicas
/// of a global table overwrite each other's writes, so that a logout in one region can be undone by another.
///
/// The SDK repeats a call whose answer was lost, by the client's own settings. A write that was sent twice has happened once:
/// DynamoDB knows a transaction again by its token, and the store a single item by the mark that it wrote. Tests:
/// `a_write_whose_answer_was_lost_has_happened_once`, `a_write_that_another_one_followed_is_not_taken_for_refused`.
///
/// # Expired sessions
///
/// DynamoDB removes them by itself, without cost, within a few days after their deadline and never before it; the times of the
/// store are rounded up to its seconds (test: `dynamodb_may_remove_a_session_after_its_deadline_and_never_before`). No
/// [`Purge`](crate::Purge) is needed, and one does nothing. Until they go, they are [counted](SessionStore::count), and
/// refused as every expired session is.
///
/// # Cost
///
/// | | units, where each record takes up to 1 kB |
/// | --- | --- |
/// | reading a session | 1 read |
/// | a touch, an update | 1 read, 1 write |
/// | a new session of a logged-in user | 4 writes: two items in a transaction |
/// | a renewal of one | 1 read, 6 writes |
/// | a logout | 1 read, 4 writes |
///
/// The sessions spread over sixteen partitions, each of which takes 1,000 writes a second before DynamoDB splits it further.
/// [`count`](SessionStore::count), and [`remove_all`](SessionStore::remove_all) of everything, read the whole table: they are
/// for operators. An item has room for 400 kB, and a session takes at most 72 kB.
///
/// # Rights
///
/// `dynamodb:DescribeTable`, `DescribeTimeToLive`, `GetItem`, `BatchGetItem`, `Query`, `PutItem` and `DeleteItem` on the table.
/// Opening the store tries each (test: `opening_a_table_tries_every_right`). To create the table takes `CreateTable` and `UpdateTimeToLive`, too.
///
/// # Tested on
///
/// A local emulator, [dynoxide](https://crates.io/crates/dynoxide-rs): the conformance suite, lost answers, a killed and a
/// silent server, and DynamoDB's own errors planted on the wire. An emulator shows neither rights nor throttling nor the
/// removal by TTL, and its reads are always consistent: there, the store relies on DynamoDB's documentation.
#[derive(Clone)]
pub struct DynamoDbStore(KvStore<DynamoDb>);

/// The options of a [`DynamoDbStore`].
///
/// ```no_run
/// # use secure_sessions_store::{DynamoDbOptions, StoreError, aws_sdk_dynamodb::Client};
/// # async fn open(client: Client) -> Result<(), StoreError> {
/// let store = DynamoDbOptions::new().prefix("shop").open(client, "sessions").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct DynamoDbOptions {
    prefix: String,
    timeout: Duration,
}

impl DynamoDbStore {
    /// Opens a table that is there already. To set more, use [`DynamoDbOptions`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Rejected`] if there is no such table, it has other keys or no TTL, or a right is missing; another
    /// [`StoreError`] if DynamoDB does not answer.
    pub async fn open(client: Client, table: impl Into<String>) -> Result<Self, StoreError> {
        DynamoDbOptions::new().open(client, table).await
    }

    /// Creates the table, billed on demand, and turns its TTL on; returns when it can be used. A table that is there already
    /// stays as it is, but for its TTL.
    ///
    /// # Errors
    ///
    /// [`StoreError::Rejected`] if there is a table of this name with other keys, or a right is missing;
    /// [`StoreError::Timeout`] if the table is not ready after a minute.
    pub async fn create_table(client: &Client, table: &str) -> Result<(), StoreError> {
        table::create(client, table).await
    }
}

impl DynamoDbOptions {
    /// Returns the defaults: the prefix `secure-sessions`, and 3 seconds.
    pub fn new() -> Self {
        Self { prefix: DEFAULT_PREFIX.into(), timeout: DEFAULT_TIMEOUT }
    }

    /// Sets what every key begins with: 1 to 64 letters, digits and `-_.:`. Stores with different prefixes share nothing.
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// Sets how long one step may take, with the client's repeated attempts. Reading a session is one step, changing it two.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Opens a table.
    ///
    /// # Errors
    ///
    /// The same as [`DynamoDbStore::open`].
    pub async fn open(self, client: Client, table: impl Into<String>) -> Result<DynamoDbStore, StoreError> {
        let engine = DynamoDb { client, table: table.into(), timeout: self.timeout };
        let store = KvStore::new(engine.clone(), &self.prefix)?;
        engine.within(table::check(&engine.client, &engine.table)).await?;
        engine.try_rights(&self.prefix).await?;
        Ok(DynamoDbStore(store))
    }
}

impl Default for DynamoDbOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for DynamoDbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DynamoDbStore(..)")
    }
}

impl SessionStore for DynamoDbStore {
    crate::forward_methods!(self => &self.0;
        insert, load, replace, renew_into, remove, list, count, remove_all, purge_expired, now, not_before,
        raise_not_before);
}

impl VaultStore for DynamoDbStore {
    crate::forward_vault_methods!(self => &self.0; put, get, delete, delete_all, prolong, purge);
}

#[derive(Clone)]
struct DynamoDb {
    client: Client,
    table: String,
    timeout: Duration,
}

/// The attributes of an item.
type Item = HashMap<String, AttributeValue>;
/// The attribute `version`, or `None` if another program has removed it.
type Version = Option<AttributeValue>;

impl DynamoDb {
    /// Makes every kind of call, and changes nothing.
    async fn try_rights(&self, prefix: &str) -> Result<(), StoreError> {
        let probes = [format!("{prefix}/probe"), format!("{prefix}/probe-2")];
        self.get(&probes[..1]).await?;
        self.get(&probes).await?;
        self.scan(&format!("{prefix}/probe/"), &format!("{prefix}/probe/g"), 1).await?;
        let [probe, _] = probes;
        // Nothing has this mark, so the write is refused.
        let unwritten = Expected::Unchanged(Stored { value: Vec::new(), version: Some(items::mark()) });
        let new = NewValue { value: Vec::new(), deadline: crate::Timestamp::from_millis(0) };
        self.write(&[Change { key: probe.clone(), expected: unwritten, new: Some(new) }]).await?;
        self.write(&[Change { key: probe, expected: Expected::Anything, new: None }]).await?;
        Ok(())
    }

    /// Gives a step no more than its time.
    async fn within<T>(&self, step: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        tokio::time::timeout(self.timeout, step).await.unwrap_or(Err(StoreError::Timeout))
    }
}

impl KeyValue for DynamoDb {
    type Version = Version;
    const TRANSACTS: bool = true;
    const EXPIRES: bool = true;

    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Stored<Version>>>, StoreError> {
        self.within(async {
            if let [key] = keys {
                return Ok(vec![self.item(&Place::of(key)).await?.map(items::stored)]);
            }
            let places: Vec<Place> = keys.iter().map(|key| Place::of(key)).collect();
            let mut found = self.items(&places).await?;
            Ok(places.iter().map(|place| found.remove(place).map(items::stored)).collect())
        })
        .await
    }

    async fn write(&self, changes: &[Change<Version>]) -> Result<bool, StoreError> {
        self.within(async {
            let (mut attempts, mut pause) = (Attempts::new(), FIRST_PAUSE);
            loop {
                let written = match changes {
                    [] => Written::All,
                    [Change { key, expected, new: Some(new) }] => self.put(key, expected, new, &mut attempts).await?,
                    [Change { key, expected: Expected::Anything, new: None }] => self.delete(key).await?,
                    // A transaction even for a single item: sent twice, a removal would not find what it has removed.
                    several => self.transact(several).await?,
                };
                match written {
                    Written::All => return Ok(true),
                    Written::Nothing => return Ok(false),
                    Written::NothingYet => tokio::time::sleep(pause).await,
                }
                pause = LONGEST_PAUSE.min(2 * pause);
            }
        })
        .await
    }

    async fn scan(&self, from: &str, to: &str, limit: usize) -> Result<Vec<(String, Stored<Version>)>, StoreError> {
        self.within(self.range(from, to, limit)).await
    }
}
