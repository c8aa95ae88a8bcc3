//! Translates Redis's errors to the store's.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use redis::{Arg, Cmd, ConnectionInfo, ErrorKind, RedisError, ServerErrorKind};

use crate::StoreError;

/// The server that an error is about: its address and database, without user and password.
#[derive(Clone)]
pub(super) struct Server(Arc<str>);

impl Server {
    pub(super) fn single(info: &ConnectionInfo) -> Self {
        Self(format!("redis at {}, database {}", info.addr(), info.redis_settings().db()).into())
    }

    /// Names the nodes that the application named.
    pub(super) fn cluster(nodes: &[ConnectionInfo]) -> Self {
        let nodes: Vec<_> = nodes.iter().map(|node| node.addr().to_string()).collect();
        Self(match nodes.join(", ") {
            none if none.is_empty() => "the redis cluster".into(),
            nodes => format!("the redis cluster at {nodes}").into(),
        })
    }

    /// Names the primary of this name, and the sentinels that tell where it is.
    pub(super) fn named(name: &str, sentinels: &[ConnectionInfo]) -> Self {
        let sentinels: Vec<_> = sentinels.iter().map(|sentinel| sentinel.addr().to_string()).collect();
        Self(format!("redis `{name}`, by the sentinels at {}", sentinels.join(", ")).into())
    }

    /// Names a primary of which only the sentinels know more.
    pub(super) fn unnamed() -> Self {
        Self("the redis that the sentinels name".into())
    }

    /// Translates an error of a command.
    pub(super) fn failed(&self, command: &Cmd, error: &RedisError) -> StoreError {
        read(&self.0, Some(command), error)
    }

    /// Translates an error of connecting.
    pub(super) fn unreachable(&self, error: &RedisError) -> StoreError {
        read(&self.0, None, error)
    }

    pub(super) fn silent(&self, limit: std::time::Duration) -> StoreError {
        StoreError::unavailable(format!("{self}: no connection within {limit:?}"))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Translates an error in a URL or in settings, before there is a server.
pub(super) fn misconfigured(error: &RedisError) -> StoreError {
    read("redis", None, error)
}

/// Translates an error of Redis without its text, which may quote a key: only its code, its kind, and what we know ourselves
/// are passed on.
fn read(server: &str, command: Option<&Cmd>, error: &RedisError) -> StoreError {
    if error.is_timeout() {
        return StoreError::Timeout;
    }
    let command = command.and_then(name);
    let reason = reason(command, error);
    let said = match command {
        Some(command) => format!("{server}: {command}: {reason}"),
        None => format!("{server}: {reason}"),
    };
    match error.kind() {
        ErrorKind::AuthenticationFailed
        | ErrorKind::InvalidClientConfig
        | ErrorKind::RESP3NotSupported
        | ErrorKind::Server(ServerErrorKind::NoPerm | ServerErrorKind::CrossSlot) => StoreError::rejected(said),
        ErrorKind::UnexpectedReturnType | ErrorKind::Parse => StoreError::corrupt(said),
        ErrorKind::Server(ServerErrorKind::ResponseError) if code(error) == Some("ERR") => {
            let is_full = error.detail().is_some_and(|detail| detail.starts_with("max number of clients"));
            if is_full { StoreError::unavailable(said) } else { StoreError::rejected(said) }
        }
        ErrorKind::Extension | ErrorKind::Server(ServerErrorKind::ResponseError) => match code(error) {
            Some("NOAUTH" | "WRONGPASS") => StoreError::rejected(said),
            Some("WRONGTYPE") => StoreError::corrupt(said),
            // Out of memory, no disk, too few replicas, a slow script: all of these may pass.
            _ => StoreError::unavailable(said),
        },
        _ => StoreError::unavailable(said),
    }
}

/// Returns the code of an error. Redis 6.2 reports that of a command in a script behind a text of its own: `ERR Error running
/// script (call to f_..): @user_script:1: @user_script: 1: -OOM command not allowed`.
fn code(error: &RedisError) -> Option<&str> {
    let is_code = |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase());
    let in_script = || {
        let said = error.detail()?.strip_prefix("Error running script")?;
        let mut first_words = said.split(": ").filter_map(|part| part.split(' ').next());
        first_words.find_map(|word| Some(word.trim_start_matches('-')).filter(is_code))
    };
    in_script().or_else(|| error.code())
}

/// Returns the command's first word, which is never a key.
fn name(command: &Cmd) -> Option<&str> {
    match command.args_iter().next()? {
        Arg::Simple(name) => std::str::from_utf8(name).ok(),
        _ => None,
    }
}

/// Returns what happened, and what to do if that is known.
fn reason(command: Option<&str>, error: &RedisError) -> String {
    let begins = |text: &str| error.detail().is_some_and(|detail| detail.starts_with(text));
    match (error.kind(), code(error)) {
        // The cause is the operating system's error, or that of TLS. Neither knows a key.
        (ErrorKind::Io, _) => match error.source() {
            Some(cause) => format!("I/O error: {cause}"),
            None => "I/O error".to_owned(),
        },
        (ErrorKind::InvalidClientConfig, _) => of_settings(error),
        (ErrorKind::MasterNameNotFoundBySentinel, _) => {
            "no sentinel knows a primary of this name that is up: check the name, or wait for the failover".to_owned()
        }
        (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => {
            "the server refuses the user or the password, or wants one: check those in the URL".to_owned()
        }
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) => match command {
            Some(command) => format!("the server's access rules deny its user the command {command}, or our keys"),
            None => "the server's access rules deny its user a command".to_owned(),
        },
        (ErrorKind::Server(ServerErrorKind::ResponseError), _) if begins("DB index") || begins("SELECT is not") => {
            "there is no database of this number: check the path in the URL".to_owned()
        }
        (ErrorKind::Server(ServerErrorKind::ResponseError), _) if begins("unknown command") => {
            "the server does not know this command: it is too old, or the command was renamed".to_owned()
        }
        (ErrorKind::Server(ServerErrorKind::ResponseError), _) if begins("max number of clients") => {
            "the server has as many clients as it allows".to_owned()
        }
        (_, Some(code)) => format!("{} ({code})", error.category()),
        (_, None) => error.category().to_owned(),
    }
}

/// Returns what is wrong in the URL, without the URL: it may hold a password.
fn of_settings(error: &RedisError) -> String {
    let said = error.to_string();
    // Behind the dash come the kind and details.
    let said = said.split(" - ").next().unwrap_or_default();
    let hint = if said == "Redis URL did not parse" {
        "; expected `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, or `rediss://` for TLS, or `redis+unix:///PATH`, or \
         `redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]..]/NAME[/DATABASE]`"
    } else if said.contains("TLS") && cfg!(not(feature = "redis-rustls")) {
        "; turn on the feature `redis-rustls`"
    } else {
        ""
    };
    format!("{said}{hint}")
}

/// Reports an answer of another shape than our commands and scripts have.
pub(super) fn unexpected() -> StoreError {
    StoreError::corrupt("redis gave an unexpected answer")
}

#[cfg(test)]
mod tests {
    use redis::{Client, cmd};

    use super::*;

    #[test]
    fn what_redis_quotes_does_not_reach_the_log() {
        let detail = "unknown command 'X', with args beginning with: 'secure-sessions:{00}'".to_owned();
        for kind in [ErrorKind::Io, ErrorKind::Extension, ErrorKind::Server(ServerErrorKind::ResponseError)] {
            let error = RedisError::from((kind, "An error was signalled by the server", detail.clone()));
            let mut get = cmd("GET");
            get.arg("secure-sessions:{00}");
            let read = format!("{:?}", Server::cluster(&[]).failed(&get, &error));
            assert!(!read.contains("secure-sessions"), "{read}");
        }
    }

    #[test]
    fn an_error_names_server_command_and_cause_and_no_password() {
        let client = Client::open("redis://shop:hunter2@127.0.0.1:7777/3").expect("a URL");
        let server = Server::single(client.get_connection_info());
        let refused = RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        let said = format!("{:?}", server.unreachable(&refused));
        assert!(said.ends_with("redis at 127.0.0.1:7777, database 3: I/O error: connection refused"), "{said}");
        let denied =
            RedisError::from((ErrorKind::Server(ServerErrorKind::NoPerm), "", "this user .. 'evalsha'".into()));
        let said = format!("{:?}", server.failed(cmd("EVALSHA").arg("k"), &denied));
        assert!(said.contains("EVALSHA: the server's access rules deny its user the command EVALSHA"), "{said}");
        let kind = ErrorKind::Server(ServerErrorKind::ResponseError);
        let none =
            RedisError::from((kind, "Redis server refused to switch database", "DB index is out of range".into()));
        let said = format!("{:?}", server.unreachable(&none));
        assert!(said.contains("database 3: there is no database of this number"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn the_code_of_a_command_in_a_script_counts_on_redis_6_2() {
        let failed = |said: &str| {
            let detail = format!("Error running script (call to f_62e6aa): @user_script:1: {said}");
            let error = RedisError::from((ErrorKind::Server(ServerErrorKind::ResponseError), "", detail));
            Server::cluster(&[]).failed(&cmd("EVALSHA"), &error)
        };
        for (said, code) in [
            ("@user_script: 1: -OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
            ("@user_script: 1: -MISCONF Errors writing to the AOF file: No space left on device", "MISCONF"),
        ] {
            let failure = failed(said);
            assert!(matches!(failure, StoreError::Unavailable(_)), "{failure:?}");
            assert!(format!("{failure:?}").contains(&format!("({code})")), "{failure:?}");
        }
        let changed = failed("WRONGTYPE Operation against a key holding the wrong kind of value");
        assert!(matches!(changed, StoreError::Corrupt(_)), "{changed:?}");
        let broken = failed("user_script:1: Script attempted to access nonexistent global variable 'x'");
        assert!(matches!(broken, StoreError::Rejected(_)), "{broken:?}");
    }

    #[test]
    fn a_url_that_is_none_of_redis_is_refused_with_the_form_that_is() {
        for (url, expected) in [
            ("127.0.0.1:6379", "expected `redis://"),
            ("http://user:hunter2@host/", "expected `redis://"),
            ("redis://host/shop", "Invalid database number"),
        ] {
            let said = format!("{:?}", misconfigured(&Client::open(url).expect_err(url)));
            assert!(said.contains(expected) && !said.contains("hunter2"), "{said}");
        }
    }
}
