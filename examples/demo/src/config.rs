//! Where the demo listens and keeps its files.

use std::path::PathBuf;

use crate::private::{self, PrivateError};

/// The variable with the port to listen on.
pub const PORT_VARIABLE: &str = "PORT";
/// The variable with the path of the database. Only you should be able to write to its directory.
pub const DATABASE_VARIABLE: &str = "DEMO_DB";

const DEFAULT_PORT: u16 = 3000;

/// Where the demo listens and keeps its files.
#[derive(Debug, Clone)]
pub struct Config {
    /// On 127.0.0.1; 0: any that is free.
    pub port: u16,
    /// The SQLite file. The keys lie beside it, with `.keys` at the end.
    pub database: PathBuf,
}

/// The environment does not make a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not a port.
    #[error("{PORT_VARIABLE} is `{0}`; it must be a number from 0 to 65535")]
    Port(String),
    /// The default directory cannot be made, or is not private.
    #[error("{0}; or name another file in {DATABASE_VARIABLE}")]
    Directory(#[from] PrivateError),
}

impl Config {
    /// From the environment. The default for the database is a private directory in the system's directory for temporary
    /// files.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] says what to change.
    pub fn from_env() -> Result<Self, ConfigError> {
        let port = match std::env::var(PORT_VARIABLE) {
            Ok(text) => text.parse().map_err(|_| ConfigError::Port(text))?,
            Err(_) => DEFAULT_PORT,
        };
        let database = match std::env::var_os(DATABASE_VARIABLE) {
            Some(path) => path.into(),
            None => default_directory()?.join("demo.sqlite"),
        };
        Ok(Self { port, database })
    }

    /// The database as a URL, in which `%` and `?` have a meaning of their own.
    #[must_use]
    pub fn database_url(&self) -> String {
        let path = self.database.display().to_string().replace('%', "%25").replace('?', "%3F");
        format!("sqlite:{path}")
    }

    /// Where the keys lie.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        let mut path = self.database.clone().into_os_string();
        path.push(".keys");
        path.into()
    }
}

fn default_directory() -> Result<PathBuf, ConfigError> {
    let path = std::env::temp_dir().join("secure-sessions-demo");
    private::directory(&path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_lie_beside_the_database_whatever_its_name() {
        let config = Config { port: 0, database: "a dir/100%?.sqlite".into() };
        assert_eq!(config.keys(), PathBuf::from("a dir/100%?.sqlite.keys"));
        assert_eq!(config.database_url(), "sqlite:a dir/100%25%3F.sqlite");
    }
}
