//! Opening the store, and its tables.

use secure_sessions::RedisOptions;
use secure_sessions::store::{AnyStore, SqlOptions};
use serde_json::json;

use crate::arguments::{Database, MigrateCommand, StoreArguments};
use crate::error::Failure;
use crate::output::Answer;

/// Opens the store that the arguments name, with its tables.
pub(crate) async fn open(arguments: &StoreArguments) -> Result<AnyStore, Failure> {
    let url = arguments.store.as_deref().filter(|url| !url.is_empty());
    let url =
        url.ok_or_else(|| Failure::Usage("which store? Name its URL by --store or SECURE_SESSIONS_STORE".to_owned()))?;
    let scheme = url.split(':').next().unwrap_or_default();
    if matches!(scheme, "redis" | "rediss" | "redis+unix" | "unix" | "valkey" | "valkeys") {
        let options = match &arguments.prefix {
            Some(prefix) => RedisOptions::new().prefix(prefix),
            None => RedisOptions::new(),
        };
        let nodes: Vec<&str> = url.split(',').filter(|node| !node.is_empty()).collect();
        return Ok(match nodes.as_slice() {
            [one] => AnyStore::new(options.connect(one).await?),
            several => AnyStore::new(options.connect_cluster(several.iter().copied()).await?),
        });
    }
    Ok(AnyStore::new(SqlOptions::new().table(&arguments.table).connect(url).await?))
}

pub(crate) async fn migrate(command: MigrateCommand, arguments: &StoreArguments) -> Result<Answer, Failure> {
    if let Some(database) = command.print {
        let scheme = match database {
            Database::Sqlite => "sqlite",
            Database::Postgres => "postgres",
            Database::Mysql => "mysql",
        };
        let sql = SqlOptions::new().table(&arguments.table).schema(scheme)?;
        return Ok(Answer::new(sql.clone(), json!({ "sql": sql })));
    }
    // A store migrates as it opens.
    open(arguments).await?;
    Ok(Answer::new("The store is there, and its tables are those of this release.", json!({ "migrated": true })))
}
