//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::examples;
use crate::keyfile::Kind;

/// The heading of the options that every command takes.
const GLOBAL: &str = "Options of every command";
/// The columns of the help.
const WIDTH: usize = 110;

/// Looks after the keys, cookies and stored sessions of applications that use secure-sessions.
///
/// Ends with 0 if all is well, 1 if the command found a problem or the store failed, and 2 if an argument, a key file or a
/// URL is wrong.
#[derive(Debug, Parser)]
#[command(name = "secure-sessions", bin_name = "secure-sessions", version, max_term_width = WIDTH, after_help = examples::ALL)]
pub(crate) struct Arguments {
    /// Prints one JSON object instead of text.
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) json: bool,

    /// The key file. Without it, keys come from SECURE_SESSIONS_SEAL_KEYS, SECURE_SESSIONS_FINGERPRINT_KEYS and
    /// SECURE_SESSIONS_COMPROMISED_KEYS, as the application reads them.
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE", env = "SECURE_SESSIONS_KEY_FILE")]
    pub(crate) keys: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) store: StoreArguments,

    /// The cookie's name, or `bearer:` and the header's name for bearer tokens.
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "NAME", default_value = "__Host-session")]
    pub(crate) cookie_name: String,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The store that holds the sessions.
#[derive(Debug, Args)]
pub(crate) struct StoreArguments {
    /// The store's URL, such as sqlite:sessions.db or redis://HOST:PORT/. `secure-sessions --help` lists them.
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "URL", env = "SECURE_SESSIONS_STORE", hide_env_values = true)]
    pub(crate) store: Option<String>,

    /// The SQL table's name.
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "NAME", default_value = "secure_sessions")]
    pub(crate) table: String,

    /// The prefix of the keys in Redis, etcd, DynamoDB or Memcached, if the application sets one.
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "TEXT")]
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
    /// Shows the time before which cookies are refused, or raises it for every host that shares the store.
    #[command(after_help = examples::NOT_BEFORE)]
    NotBefore(NotBeforeCommand),
    /// Deletes the expired sessions from the store, as the application does in the background.
    #[command(after_help = examples::PURGE)]
    Purge,
    /// Creates or updates the store's tables, or prints the SQL that does.
    #[command(after_help = examples::MIGRATE)]
    Migrate(MigrateCommand),
    /// Checks keys, clock, store and, if you pass them, an answer's headers.
    #[command(after_help = examples::DOCTOR)]
    Doctor(DoctorCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Makes a seal key and a fingerprint key, and writes them to a new key file or prints them.
    #[command(after_help = examples::KEYS_NEW)]
    New {
        /// The file to create, readable by its owner alone. An existing file is never overwritten.
        file: Option<PathBuf>,
        /// Prints assignments of the environment variables instead of a key file.
        #[arg(long, conflicts_with = "file")]
        env: bool,
    },
    /// Lists the keys by their ids and states. An id reveals nothing about its key: compare them between hosts.
    #[command(after_help = examples::KEYS_LIST)]
    List,
    /// Changes a key file step by step. On every host: `--add`; then on every host: `--activate`; then, after the longest
    /// lifetime that you give a session, `--drop`. No step logs a user out.
    #[command(after_help = examples::KEYS_ROTATE)]
    Rotate(RotateCommand),
    /// Checks the keys, and the key file's permissions.
    #[command(after_help = examples::KEYS_CHECK)]
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
    #[command(after_help = examples::TOKEN_INSPECT)]
    Inspect {
        /// A file that holds the cookie's value, `name=value`, or a header, of which the cookie with --cookie-name is taken.
        /// `-` reads standard input, so that the cookie is in no list of processes.
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
    #[command(after_help = examples::SESSIONS_COUNT)]
    Count,
    /// Lists a subject's live sessions.
    #[command(after_help = examples::SESSIONS_LIST)]
    List {
        /// The subject, as the application passes it to `login`.
        subject: String,
    },
    /// Ends one session of a subject.
    #[command(after_help = examples::SESSIONS_REVOKE)]
    Revoke {
        /// The subject, as the application passes it to `login`.
        subject: String,
        /// The session's handle, as `sessions list` and the log print it.
        // One in 64 begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        handle: String,
    },
    /// Ends all sessions of a subject, of a session at an identity provider, or of everybody.
    #[command(after_help = examples::SESSIONS_REVOKE_ALL)]
    RevokeAll {
        /// The subject, as the application passes it to `login`.
        subject: Option<String>,
        /// Ends the sessions whose login came from this session at an identity provider, by its claims `iss` and `sid`.
        // Providers choose what a `sid` begins with.
        #[arg(long, num_args = 2, value_names = ["ISS", "SID"], allow_hyphen_values = true)]
        #[arg(conflicts_with_all = ["subject", "everybody"])]
        provider_session: Option<Vec<String>>,
        /// Ends every session of every subject, and those without one. The purge later deletes their private values, which
        /// nobody can read any more.
        #[arg(long, conflicts_with = "subject")]
        everybody: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NotBeforeCommand {
    /// The time, such as 2026-01-31T12:00:00Z, or `now`: after a backup was restored, the time of the restoration. Cookies issued
    /// earlier are refused from then on, for good, and their users log in again. Without it, the time in force is shown.
    pub(crate) time: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateCommand {
    /// Prints the SQL instead of running it: all of it for this kind of database, or what the store's database lacks.
    #[arg(long, value_name = "DATABASE")]
    pub(crate) print: Option<Option<Database>>,
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// The examples of a command's help and of those below it, and the commands that have none.
    fn examples(command: &clap::Command, found: &mut Vec<String>, lacking: &mut Vec<String>) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines = help.lines().map(str::trim).filter_map(|line| line.split("| ").last());
        found.extend(lines.filter(|line| line.starts_with("secure-sessions ")).map(str::to_owned));
        if help.is_empty() && !command.has_subcommands() {
            lacking.push(command.get_name().to_owned());
        }
        command.get_subcommands().for_each(|command| examples(command, found, lacking));
    }

    #[test]
    fn every_command_has_examples_in_its_help_and_the_tool_takes_them() {
        let (mut found, mut lacking) = (Vec::new(), Vec::new());
        examples(&Arguments::command(), &mut found, &mut lacking);
        assert!(lacking.is_empty(), "{lacking:?} have none");
        for example in found {
            let words = example.split(" < ").next().unwrap_or_default().split_whitespace();
            if let Err(error) = Arguments::try_parse_from(words) {
                panic!("`{example}`: {error}");
            }
        }
    }

    #[test]
    fn a_sid_that_begins_with_a_hyphen_is_no_option() {
        for sid in ["-08a5019c", "--everybody"] {
            let words =
                ["secure-sessions", "sessions", "revoke-all", "--provider-session", "https://login.example", sid];
            let parsed = Arguments::try_parse_from(words).expect("arguments").command;
            let Command::Sessions(SessionsCommand::RevokeAll { provider_session, everybody: false, .. }) = parsed
            else {
                panic!("{sid}: {parsed:?}")
            };
            assert_eq!(provider_session.expect("two claims"), ["https://login.example", sid]);
        }
    }

    #[test]
    fn every_command_of_the_runbook_is_one_that_the_tool_has() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../session/src/guide/operations/runbook.md");
        let runbook = std::fs::read_to_string(path).expect("the runbook");
        let lines = runbook.lines().map(str::trim);
        // In blocks, or in the middle of a sentence.
        let quoted = lines.clone().flat_map(|line| line.split('`').skip(1).step_by(2));
        let commands: Vec<&str> = lines.chain(quoted).filter(|text| text.starts_with("secure-sessions ")).collect();
        assert!(commands.len() > 15, "{commands:?}");
        for command in commands {
            if let Err(error) = Arguments::try_parse_from(command.split_whitespace()) {
                panic!("`{command}`: {error}");
            }
        }
    }
}
