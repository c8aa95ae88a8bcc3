//! The commands that the store's user needs: each is tried out when a store is opened.

use futures_util::future::try_join_all;
use redis::{Cmd, cmd};

use super::connection::Connection;
use super::keys::Keys;
use crate::StoreError;

/// Refuses a user who may not run every command that the store uses, and names the commands. A command that is denied later
/// would fail a logout. Returns the key that they were tried out on, which is on a shard that answers.
pub(super) async fn check(connection: &Connection, keys: &Keys) -> Result<String, StoreError> {
    let mut outcome = check_with(connection, keys, keys.unused()).await;
    if connection.is_cluster() {
        for key in keys.unused_in_a_cluster() {
            match outcome {
                // One shard is down. The others serve their sessions.
                Err(error) if error.is_transient() => outcome = check_with(connection, keys, key).await,
                outcome => return outcome,
            }
        }
    }
    outcome
}

async fn check_with(connection: &Connection, keys: &Keys, key: String) -> Result<String, StoreError> {
    let tried = try_join_all(harmless(&key).into_iter().map(|(name, command)| async move {
        connection.is_denied(&command).await.map(|denied| denied.then_some(name))
    }));
    let denied: Vec<&str> = tried.await?.into_iter().flatten().collect();
    if denied.is_empty() {
        return Ok(key);
    }
    let head = keys.prefix();
    Err(StoreError::rejected(format!(
        "redis: the user may not run {} on keys that begin with `{head}`: grant what the documentation of `RedisStore` lists",
        denied.join(", ")
    )))
}

/// Returns the commands of the store and its scripts, in a form that changes nothing. No session has this key.
fn harmless(key: &str) -> [(&'static str, Cmd); 21] {
    // It is known to no server, which is an error of another kind.
    const NO_SCRIPT: &str = "0000000000000000000000000000000000000000";
    let command = |name: &'static str, arguments: &[&str]| {
        let mut command = cmd(name);
        command.arg(arguments);
        (name, command)
    };
    [
        command("GET", &[key]),
        command("GETEX", &[key]),
        command("GETRANGE", &[key, "0", "0"]),
        command("MGET", &[key]),
        command("SET", &[key, "", "XX"]),
        command("SETRANGE", &[key, "0", ""]),
        command("DEL", &[key]),
        command("PTTL", &[key]),
        command("PEXPIREAT", &[key, "1"]),
        command("ZADD", &[key, "XX", "0", "-"]),
        command("ZREM", &[key, "-"]),
        command("ZRANGE", &[key, "0", "-1"]),
        command("ZRANGEBYLEX", &[key, "-", "+"]),
        // A field without its value, which is looked at after the right.
        command("HSET", &[key, "-", "-", "-"]),
        command("HMGET", &[key, "-"]),
        command("HDEL", &[key, "-"]),
        command("SCAN", &["0", "COUNT", "1"]),
        command("TIME", &[]),
        command("WAIT", &["0", "1"]),
        command("EVAL", &["return 1", "1", key]),
        command("EVALSHA", &[NO_SCRIPT, "1", key]),
    ]
}
