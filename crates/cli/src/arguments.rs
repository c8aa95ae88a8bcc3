//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::keyfile::Kind;

/// Looks after the keys, cookies and stored sessions of applications that use secure-sessions.
///
/// Ends with 0 if all is well, 1 if the command found a problem or the store failed, and 2 if an argument, a key file or a
/// URL is wrong.
#[derive(Debug, Parser)]
#[command(name = "secure-sessions", version)]
pub(crate) struct Arguments {
    /// Prints one JSON object instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// The key file. Without it, keys come from SECURE_SESSIONS_SEAL_KEYS, SECURE_SESSIONS_FINGERPRINT_KEYS and
    /// SECURE_SESSIONS_COMPROMISED_KEYS, as the application reads them.
    #[arg(long, global = true, value_name = "FILE", env = "SECURE_SESSIONS_KEY_FILE")]
    pub(crate) keys: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) store: StoreArguments,

    /// The cookie's name, or `bearer:` and the header's name for bearer tokens.
    #[arg(long, global = true, value_name = "NAME", default_value = "__Host-session")]
    pub(crate) cookie_name: String,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The store that holds the sessions.
#[derive(Debug, Args)]
pub(crate) struct StoreArguments {
    /// The store's URL: sqlite:, postgres:, mysql:, redis: or rediss:. Name a Redis cluster by several URLs, separated by commas.
    #[arg(long, global = true, value_name = "URL", env = "SECURE_SESSIONS_STORE", hide_env_values = true)]
    pub(crate) store: Option<String>,

    /// The SQL table's name.
    #[arg(long, global = true, value_name = "NAME", default_value = "secure_sessions")]
    pub(crate) table: String,

    /// The prefix of Redis keys, if the application sets one.
    #[arg(long, global = true, value_name = "TEXT")]
    pub(crate) prefix: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes, lists, rotates and checks keys.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Looks into a cookie.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Counts, lists and ends stored sessions.
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// Deletes the expired sessions from the store, as the application does in the background.
    Purge,
    /// Creates or updates the store's tables, or prints the SQL that does.
    Migrate(MigrateCommand),
    /// Checks keys, clock, store and, if you pass them, an answer's headers.
    Doctor(DoctorCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Makes a seal key and a fingerprint key, and writes them to a new key file or prints them.
    New {
        /// The file to create, readable by its owner alone. An existing file is never overwritten.
        file: Option<PathBuf>,
        /// Prints assignments of the environment variables instead of a key file.
        #[arg(long, conflicts_with = "file")]
        env: bool,
    },
    /// Lists the keys by their ids and states. An id reveals nothing about its key: compare them between hosts.
    List,
    /// Changes a key file step by step. On every host: `--add`; then on every host: `--activate`; then, after the sessions'
    /// absolute timeout, `--drop`. No step logs a user out.
    Rotate(RotateCommand),
    /// Checks the keys, and the key file's permissions.
    Check,
}

/// One step of a key change.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct RotateCommand {
    /// Adds a new key of this kind as the second one: it opens, and does not seal yet.
    #[arg(long, value_name = "KIND")]
    pub(crate) add: Option<Kind>,
    /// Makes the key with this id the active one, which seals.
    #[arg(long, value_name = "ID")]
    pub(crate) activate: Option<String>,
    /// Marks the key with this id as compromised: sessions that it sealed get new cookies at once, and nobody is logged out.
    #[arg(long, value_name = "ID")]
    pub(crate) compromised: Option<String>,
    /// Removes the key with this id. Cookies that it sealed are refused from then on.
    #[arg(long, value_name = "ID")]
    pub(crate) drop: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Says whether a cookie is good, and if not, why. With a store it judges the cookie as the application would, but
    /// changes nothing.
    Inspect {
        /// A file that holds the cookie's value, or `name=value`. `-` reads standard input, so that the cookie is in no list
        /// of processes.
        #[arg(default_value = "-")]
        file: PathBuf,
        /// Also prints the session's data. Needs a store: without the store's word a cookie's content is not to be trusted.
        #[arg(long)]
        data: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionsCommand {
    /// Counts the stored sessions.
    Count,
    /// Lists a subject's live sessions.
    List {
        /// The subject, as the application passes it to `login`.
        subject: String,
    },
    /// Ends one session of a subject.
    Revoke {
        /// The subject, as the application passes it to `login`.
        subject: String,
        /// The session's handle, as `sessions list` and the log print it.
        handle: String,
    },
    /// Ends all sessions of a subject.
    RevokeAll {
        /// The subject, as the application passes it to `login`.
        subject: Option<String>,
        /// Ends every session of every subject, and those without one.
        #[arg(long, conflicts_with = "subject")]
        everybody: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct MigrateCommand {
    /// Prints the SQL for this database instead of running it.
    #[arg(long, value_name = "DATABASE")]
    pub(crate) print: Option<Database>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
    Mysql,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorCommand {
    /// Checks the response headers in this file, as `curl --silent --head` prints them; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) headers: Option<PathBuf>,
    /// The key ids that this host should have, as `keys list` printed them on another one, separated by commas.
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub(crate) expect_keys: Vec<String>,
}
