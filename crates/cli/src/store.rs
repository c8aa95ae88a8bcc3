//! Opening the store, and its tables.

use std::time::Duration;

use secure_sessions::store::{
    AnyStore, AnyVaultStore, MissingMigrations, SessionStore, SqlOptions, StoreError, VaultStore,
};
use secure_sessions::{
    Builder, DynamoDbOptions, DynamoDbStore, EtcdOptions, Keyring, MemcachedStore, RedisOptions, SessionManager,
    SqlStore,
};
use serde_json::json;

use crate::arguments::{Database, MigrateCommand, StoreArguments};
use crate::dynamodb::Table;
use crate::error::Failure;
use crate::output::{Answer, plain};

/// The longest touch step that an application may set. With a shorter one, sessions would count as expired here that are alive
/// for the application. (The engine cuts it to a quarter of each session's idle timeout.)
const LONGEST_TOUCH_STEP: Duration = Duration::from_secs(600);
/// The longest time that a change of the tables may take, including the wait for locks.
const LONGEST_MIGRATION: Duration = Duration::from_secs(60 * 60);

/// A store of sessions and of their private values.
pub(crate) struct Opened {
    pub(crate) sessions: AnyStore,
    pub(crate) vault: AnyVaultStore,
}

impl Opened {
    fn new(store: impl SessionStore + VaultStore + Clone) -> Self {
        Self { sessions: AnyStore::new(store.clone()), vault: AnyVaultStore::new(store) }
    }

    /// Begins the application's manager, as far as stored sessions are concerned.
    pub(crate) fn builder(self, keyring: Keyring) -> Builder {
        SessionManager::builder(keyring, self.sessions).vault(self.vault).touch_step(LONGEST_TOUCH_STEP)
    }
}

/// Opens the store that the arguments name. Its tables are those of this release, or that is the error.
pub(crate) async fn open(arguments: &StoreArguments) -> Result<Opened, Failure> {
    open_with(arguments, false).await
}

async fn open_with(arguments: &StoreArguments, migrates: bool) -> Result<Opened, Failure> {
    let url = url(arguments)?;
    let prefix = arguments.prefix.as_deref();
    match kind(url)? {
        Kind::Redis { sentinels } => {
            let options = RedisOptions::new();
            let options = prefix.into_iter().fold(options, RedisOptions::prefix);
            let nodes: Vec<&str> = url.split(',').filter(|node| !node.is_empty()).collect();
            Ok(match nodes.as_slice() {
                several @ [_, _, ..] if !sentinels => {
                    Opened::new(options.connect_cluster(several.iter().copied()).await?)
                }
                _ => Opened::new(options.connect(url).await?),
            })
        }
        Kind::Etcd(nodes) => {
            let options = prefix.into_iter().fold(EtcdOptions::new(), EtcdOptions::prefix);
            let nodes = nodes.split(',').filter(|node| !node.is_empty());
            Ok(Opened::new(options.connect(nodes).await?))
        }
        Kind::DynamoDb(Table { client, name }) => {
            if migrates {
                DynamoDbStore::create_table(&client, &name).await?;
            }
            let options = prefix.into_iter().fold(DynamoDbOptions::new(), DynamoDbOptions::prefix);
            Ok(Opened::new(options.open(client, name).await?))
        }
        Kind::Memcached(server) => Ok(Opened::new(match prefix {
            Some(prefix) => MemcachedStore::open_lossy_with_prefix(server, prefix).await?,
            None => MemcachedStore::open_lossy(server).await?,
        })),
        Kind::Sql => {
            let opened = open_sql(&sql(arguments), url, migrates).await;
            Ok(Opened::new(opened.map_err(|error| at_place(url, error))?))
        }
    }
}

/// Opens the tables. A change of them may take long, but a server that does not answer must be an error soon: so the tables are
/// first looked at, without a change. (A file of SQLite is there at once, or made.)
async fn open_sql(options: &SqlOptions, url: &str, migrates: bool) -> Result<SqlStore, StoreError> {
    if !migrates || !url.starts_with("sqlite:") {
        let opened = options.clone().migrates(false).connect(url).await;
        if !(migrates && opened.as_ref().is_err_and(|error| missing_in(error).is_some())) {
            return opened;
        }
    }
    options.clone().timeout(LONGEST_MIGRATION).connect(url).await
}

fn sql(arguments: &StoreArguments) -> SqlOptions {
    SqlOptions::new().table(&arguments.table)
}

fn url(arguments: &StoreArguments) -> Result<&str, Failure> {
    let url = arguments.store.as_deref().filter(|url| !url.is_empty());
    url.ok_or_else(|| Failure::Usage("which store? Name its URL by --store or SECURE_SESSIONS_STORE".to_owned()))
}

/// The kinds of stores, as far as their URLs are read differently.
enum Kind<'a> {
    Sql,
    Redis { sentinels: bool },
    Etcd(&'a str),
    DynamoDb(Table),
    Memcached(&'a str),
}

/// Returns the kind of store that a URL names. No error prints the URL, which may hold a password.
fn kind(url: &str) -> Result<Kind<'_>, Failure> {
    let (scheme, rest) = url.split_once(':').unwrap_or_default();
    match scheme {
        "sqlite" | "postgres" | "postgresql" | "mysql" | "mariadb" => Ok(Kind::Sql),
        "redis" | "rediss" | "redis+unix" | "unix" | "valkey" | "valkeys" => Ok(Kind::Redis { sentinels: false }),
        "redis+sentinel" | "rediss+sentinel" => Ok(Kind::Redis { sentinels: true }),
        "etcd" if rest.starts_with("http") => Ok(Kind::Etcd(rest)),
        "memcached" if rest.starts_with("tcp://") || rest.starts_with("unix://") => Ok(Kind::Memcached(rest)),
        "dynamodb" => Table::new(rest).map(Kind::DynamoDb),
        "etcd" => Err(Failure::Usage("write etcd:http://HOST:PORT, more nodes after commas".to_owned())),
        "memcached" => Err(Failure::Usage("write memcached:tcp://HOST:PORT".to_owned())),
        _ => Err(Failure::Usage(
            "the store's URL begins with sqlite:, postgres:, mysql:, redis:, rediss:, redis+sentinel:, etcd:, dynamodb: or \
             memcached:; \
             `secure-sessions --help` shows each"
                .to_owned(),
        )),
    }
}

/// Returns what there is to say of the tables of an open store.
pub(crate) fn tables(arguments: &StoreArguments) -> &'static str {
    let kind = url(arguments).and_then(kind);
    if matches!(kind, Ok(Kind::Sql)) { ", with the tables of this release" } else { "" }
}

/// Names the server in front of an error, without user and password. A file is in the error itself.
fn at_place(url: &str, error: StoreError) -> Failure {
    let failure = error.into();
    match (place(url), failure) {
        (Some(place), Failure::Store(text)) => Failure::Store(format!("{place}: {text}")),
        (Some(place), Failure::Rejected(text)) => Failure::Rejected(format!("{place}: {text}")),
        (None, Failure::Store(text)) if text.ends_with("there is no such file") => {
            Failure::Store(format!("{text}: name another one, or run `secure-sessions migrate`, which makes it"))
        }
        (_, failure) => failure,
    }
}

/// Returns a URL's host and database, or `None` if it is not certain where the password ends.
fn place(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let is_certain = scheme != "sqlite" && !host.is_empty() && !rest.get(end..)?.contains('@');
    is_certain.then(|| format!("{scheme}://{host}{path}"))
}

pub(crate) async fn migrate(command: MigrateCommand, arguments: &StoreArguments) -> Result<Answer, Failure> {
    match command.print {
        Some(Some(database)) => {
            let scheme = match database {
                Database::Sqlite => "sqlite",
                Database::Postgres => "postgres",
                Database::Mysql => "mysql",
            };
            Ok(printed(sql(arguments).schema(scheme)?))
        }
        Some(None) => missing(arguments).await,
        None => {
            // A store migrates as it opens.
            open_with(arguments, true).await?;
            Ok(match kind(url(arguments)?)? {
                Kind::Sql => {
                    Answer::new("The database's tables are those of this release.", json!({ "migrated": true }))
                }
                Kind::DynamoDb(_) => Answer::new("The table is there.", json!({ "migrated": true })),
                _ => Answer::new("The store is there. It has no tables.", json!({ "migrated": true })),
            })
        }
    }
}

/// Prints the SQL that the database lacks.
async fn missing(arguments: &StoreArguments) -> Result<Answer, Failure> {
    let url = match arguments.store {
        Some(_) => url(arguments)?,
        None => {
            let problem = "of which database? Name its kind (`--print postgres`), or the store by --store";
            return Err(Failure::Usage(problem.to_owned()));
        }
    };
    if !matches!(kind(url)?, Kind::Sql) {
        return Err(Failure::Usage("this kind of store needs no SQL".to_owned()));
    }
    match sql(arguments).migrates(false).connect(url).await {
        Ok(_) => Ok(printed("-- Nothing is missing.\n".to_owned())),
        Err(error) => match missing_in(&error) {
            Some(missing) => Ok(printed(format!("{}{}", unknown_version(missing), missing.sql))),
            None => Err(at_place(url, error)),
        },
    }
}

/// Returns what is missing in the tables, if that is the error.
fn missing_in(error: &StoreError) -> Option<&MissingMigrations> {
    let StoreError::Rejected(cause) = error else { return None };
    cause.downcast_ref()
}

/// Says in a comment of SQL that the version is unknown and why, or nothing if it is known.
fn unknown_version(missing: &MissingMigrations) -> String {
    let Some(refusal) = missing.refusal() else { return String::new() };
    let (table, refusal) = (&missing.table, plain(refusal));
    format!(
        "-- The version of the tables is unknown, since {table}_migrations cannot be read: {refusal}\n\
         -- This is all of the SQL. If there are tables already, ask again as a user who may read {table}_migrations.\n"
    )
}

fn printed(sql: String) -> Answer {
    Answer::new(sql.clone(), json!({ "sql": sql }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_holds_no_password() {
        for (url, shown) in [
            ("postgres://u:secret@db.example:5432/shop?sslmode=require", Some("postgres://db.example:5432/shop")),
            ("mysql://db.example/shop", Some("mysql://db.example/shop")),
            ("postgres://u:sec@ret@db.example/shop", Some("postgres://db.example/shop")),
            ("postgres://u:sec/ret@db.example/shop", None),
            ("postgres://u:sec?ret@db.example/shop", None),
            ("postgres://db.example/shop?password=secret", Some("postgres://db.example/shop")),
            ("sqlite:sessions.db", None),
            ("sqlite:///sessions.db", None),
        ] {
            assert_eq!(place(url).as_deref(), shown, "{url}");
        }
    }
}
