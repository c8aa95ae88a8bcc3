//! The preparation, start and names of each kind of server.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Error;
use crate::binary::Binary;
use crate::port::free_port;

/// Names MariaDB's folder of temporary tables. When it starts it removes all tables there, those of another server too.
const TEMPORARY: &str = "TMPDIR";

const SENTINEL: &str = "sentinel.conf";

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// PostgreSQL, with the superuser `postgres` and no password.
    Postgres,
    /// MariaDB, with the user `root`, no password, and an empty database `sessions`.
    MariaDb,
    /// Redis, which appends every write to its file before it acknowledges it (`appendfsync always`).
    Redis,
    /// etcd, a cluster of one node unless its arguments say otherwise.
    Etcd,
    /// Memcached, which keeps everything in memory, and nothing when it ends.
    Memcached,
    /// An emulator of DynamoDB, which has no table yet, and keeps its data in a file.
    DynamoDb,
    /// A sentinel of Redis, which watches nothing yet.
    Sentinel,
}

impl Engine {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::MariaDb => "MariaDB",
            Self::Redis => "Redis",
            Self::Etcd => "etcd",
            Self::Memcached => "Memcached",
            Self::DynamoDb => "DynamoDB (dynoxide)",
            Self::Sentinel => "Redis Sentinel",
        }
    }

    pub(crate) fn url(self, port: u16) -> String {
        match self {
            Self::Postgres => format!("postgres://postgres@127.0.0.1:{port}/postgres"),
            Self::MariaDb => format!("mysql://root@127.0.0.1:{port}/sessions"),
            Self::Etcd | Self::DynamoDb => format!("http://127.0.0.1:{port}"),
            Self::Memcached => format!("tcp://127.0.0.1:{port}"),
            Self::Redis | Self::Sentinel => format!("redis://127.0.0.1:{port}/"),
        }
    }

    /// Arguments with which it no longer waits for the disk: what it acknowledged outlives its process, and not the
    /// machine.
    pub(crate) fn unsynced(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &["-c", "fsync=off", "-c", "full_page_writes=off"],
            Self::MariaDb => &["--innodb-flush-log-at-trx-commit=2", "--innodb-doublewrite=0"],
            Self::Redis => &["--appendfsync", "no"],
            // They have no such setting: their data is in memory instead, see `Shared`.
            Self::Etcd | Self::DynamoDb => &[],
            Self::Memcached => &[],
            Self::Sentinel => &[],
        }
    }

    /// Makes the server's empty data in `directory`, once.
    pub(crate) fn prepare(self, directory: &Path) -> Result<(), Error> {
        let data = directory.join("data");
        match self {
            Self::Postgres => {
                let initdb = Binary::INITDB.find()?;
                Binary::POSTGRES.find()?;
                if let Some((user, group)) = unprivileged() {
                    chown(directory, Some(user), Some(group)).map_err(Error::io("hand the data to its user"))?;
                }
                let mut command = Command::new(initdb);
                command.arg("-D").arg(&data);
                command.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
                as_unprivileged(&mut command);
                run(command, directory)
            }
            Self::MariaDb => {
                Binary::MARIADBD.find()?;
                let mut command = Command::new(Binary::MARIADB_INSTALL_DB.find()?);
                command.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
                command.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
                command.args(as_root()).env(TEMPORARY, directory);
                run(command, directory)?;
                std::fs::write(directory.join("init.sql"), "CREATE DATABASE IF NOT EXISTS sessions;\n")
                    .map_err(Error::io("write MariaDB's first statement"))
            }
            Self::Redis | Self::Sentinel => {
                Binary::REDIS_SERVER.find()?;
                std::fs::create_dir(&data).map_err(Error::io("make Redis's directory"))?;
                if self == Self::Redis {
                    return Ok(());
                }
                // It keeps what it knows in its configuration.
                std::fs::write(directory.join(SENTINEL), "").map_err(Error::io("make a sentinel's configuration"))
            }
            // They make their data themselves.
            Self::Etcd => Binary::ETCD.find().map(drop),
            Self::DynamoDb => Binary::DYNOXIDE.find().map(drop),
            Self::Memcached => Binary::MEMCACHED.find().map(drop),
        }
    }

    /// Writes a file that nobody but the server's user can read: PostgreSQL takes a key from no other.
    pub(crate) fn keep_for_itself(self, file: &Path, contents: &str) -> Result<(), Error> {
        std::fs::write(file, contents).map_err(Error::io("write a file for the server"))?;
        let only_its_own = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(file, only_its_own).map_err(Error::io("close a file to others"))?;
        match unprivileged() {
            Some((user, group)) if self == Self::Postgres => {
                chown(file, Some(user), Some(group)).map_err(Error::io("hand a file to the server's user"))
            }
            _ => Ok(()),
        }
    }

    /// The server itself, in the foreground.
    pub(crate) fn command(self, directory: &Path, port: u16, arguments: &[String]) -> Result<Command, Error> {
        let data = directory.join("data");
        let port = port.to_string();
        let mut command;
        match self {
            Self::Postgres => {
                command = Command::new(Binary::POSTGRES.find()?);
                command.arg("-D").arg(&data).args(["-p", &port, "-c", "listen_addresses=127.0.0.1"]);
                command.args(["-c", "unix_socket_directories="]);
                as_unprivileged(&mut command);
            }
            Self::MariaDb => {
                command = Command::new(Binary::MARIADBD.find()?);
                command.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
                command.args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--port", &port]);
                command.arg(format!("--socket={}", directory.join("socket").display()));
                command.arg(format!("--pid-file={}", directory.join("pid").display()));
                command.arg(format!("--init-file={}", directory.join("init.sql").display()));
                // MariaDB writes to the disk before it acknowledges: its default, but for the binary log.
                command.args(["--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=64M"]);
                command.args(as_root()).env(TEMPORARY, directory);
            }
            Self::Redis => {
                command = Command::new(Binary::REDIS_SERVER.find()?);
                command.arg("--dir").arg(&data);
                command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"]);
                command.args(["--appendonly", "yes", "--appendfsync", "always"]);
            }
            Self::Memcached => {
                command = Command::new(Binary::MEMCACHED.find()?);
                command.args(["-l", "127.0.0.1", "-U", "0", "-m", "64", "-p", &port]);
                if rustix::process::getuid().is_root() {
                    command.args(["-u", "nobody"]);
                }
            }
            Self::Etcd => {
                command = Command::new(Binary::ETCD.find()?);
                let clients = format!("http://127.0.0.1:{port}");
                // A node needs a port for the others, even if there are none.
                let peers = self.url(free_port()?);
                command.args(["--name", "alone", "--log-level", "warn", "--data-dir"]).arg(&data);
                command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
                command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
                command.args(["--initial-cluster", &format!("alone={peers}")]);
            }
            Self::DynamoDb => {
                command = Command::new(Binary::DYNOXIDE.find()?);
                command.args(["--host", "127.0.0.1", "--port", &port, "--log", "quiet", "--db-path"]).arg(&data);
            }
            Self::Sentinel => {
                command = Command::new(Binary::REDIS_SERVER.find()?);
                command.arg(directory.join(SENTINEL)).arg("--sentinel").arg("--dir").arg(&data);
                command.args(["--port", &port, "--bind", "127.0.0.1", "--daemonize", "no"]);
            }
        }
        command.args(arguments).current_dir(directory);
        Ok(command)
    }
}

/// Runs a program to its end.
fn run(mut command: Command, directory: &Path) -> Result<(), Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.current_dir(directory).stdin(Stdio::null()).output();
    let output = output.map_err(Error::io(format!("run {program}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(Error::Preparation { program, output: String::from_utf8_lossy(&said).into_owned() })
}

/// MariaDB runs as root only when told to.
fn as_root() -> Option<&'static str> {
    rustix::process::getuid().is_root().then_some("--user=root")
}

/// PostgreSQL never runs as root: it becomes the user that its package made, or nobody.
fn as_unprivileged(command: &mut Command) {
    if let Some((user, group)) = unprivileged() {
        command.uid(user).gid(group);
    }
}

fn unprivileged() -> Option<(u32, u32)> {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    ["postgres", "nobody"].into_iter().find_map(|name| user(&users, name))
}

/// A user's id and group, from the text of `/etc/passwd`.
fn user(users: &str, name: &str) -> Option<(u32, u32)> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next()? == name;
        let (user, group) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        found.then_some((user, group))
    })
}

#[cfg(test)]
mod unit {
    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let users = "root:x:0:0:root:/root:/bin/bash\npostgres2:x:7:8::/:\npostgres:x:104:110:,,,:/var:/bin/bash\n";
        assert_eq!(super::user(users, "postgres"), Some((104, 110)));
        assert_eq!(super::user(users, "nobody"), None);
    }
}
