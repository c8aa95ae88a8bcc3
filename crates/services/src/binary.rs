//! Finds the places of a server's programs on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;

const POSTGRESQL: &str = "apt-get install postgresql";

/// A program, and the command by which a Debian machine has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binary {
    pub(crate) name: &'static str,
    /// Older names of the same program.
    pub(crate) aliases: &'static [&'static str],
    pub(crate) install: &'static str,
}

impl Binary {
    pub(crate) const INITDB: Self = Self { name: "initdb", aliases: &[], install: POSTGRESQL };
    pub(crate) const POSTGRES: Self = Self { name: "postgres", aliases: &[], install: POSTGRESQL };
    pub(crate) const MARIADBD: Self =
        Self { name: "mariadbd", aliases: &["mysqld"], install: "apt-get install mariadb-server" };
    pub(crate) const MARIADB_INSTALL_DB: Self =
        Self { name: "mariadb-install-db", aliases: &["mysql_install_db"], install: "apt-get install mariadb-server" };
    pub(crate) const REDIS_SERVER: Self =
        Self { name: "redis-server", aliases: &["valkey-server"], install: "apt-get install redis-server" };
    pub(crate) const MEMCACHED: Self = Self { name: "memcached", aliases: &[], install: "apt-get install memcached" };
    pub(crate) const ETCD: Self = Self { name: "etcd", aliases: &[], install: "apt-get install etcd-server" };
    pub(crate) const DYNOXIDE: Self = Self {
        name: "dynoxide",
        aliases: &[],
        install: "cargo install --locked --no-default-features --features native-sqlite,http-server,cli dynoxide-rs@3.2.0",
    };

    pub(crate) fn find(self) -> Result<PathBuf, Error> {
        let folders = folders(self);
        let names = std::iter::once(self.name).chain(self.aliases.iter().copied());
        names
            .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
            .find(|path| path.is_file())
            .ok_or(Error::Missing { binary: self.name, install: self.install })
    }
}

/// The `PATH`, the folders of servers that a user's `PATH` may lack, and where Debian hides PostgreSQL's programs.
fn folders(binary: Binary) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = Vec::new();
    if binary.install == POSTGRESQL {
        // Before the `PATH`: initdb looks for its companions beside itself.
        folders.extend(postgres_folders());
    }
    folders.extend(std::env::split_paths(&path));
    folders.extend(["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/usr/bin"].map(PathBuf::from));
    folders
}

fn postgres_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    // `pg_config` may be there without the server: it comes with the client's headers.
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output()
        && output.status.success()
    {
        folders.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut installed: Vec<(u32, PathBuf)> =
        versions.filter_map(|entry| Some((version(&entry.path())?, entry.path().join("bin")))).collect();
    installed.sort_unstable_by(|one, other| other.cmp(one));
    folders.extend(installed.into_iter().map(|(_, folder)| folder));
    folders
}

fn version(folder: &Path) -> Option<u32> {
    folder.file_name()?.to_str()?.parse().ok()
}
