//! The port that the demo listens at, and the places of its files.

use std::path::PathBuf;

use secure_sessions_axum::ManualClock;

use crate::private::{self, PrivateError};

/// The variable with the port to listen on.
pub const PORT_VARIABLE: &str = "PORT";
/// The variable with the path of the database. Only you should be able to write to its directory.
pub const DATABASE_VARIABLE: &str = "DEMO_DB";
/// The variable that is `1` for https, over which browsers bind sessions to the device.
pub const HTTPS_VARIABLE: &str = "HTTPS";

/// The variable with the port of the metrics, on 127.0.0.1. Without it, none are kept.
pub const METRICS_PORT_VARIABLE: &str = "METRICS_PORT";

const DEFAULT_PORT: u16 = 3000;

/// The port that the demo listens at, and the places of its files.
#[derive(Debug, Clone)]
pub struct Config {
    /// On 127.0.0.1; 0: any that is free.
    pub port: u16,
    /// The SQLite file. The keys lie beside it, with `.keys` at the end.
    pub database: PathBuf,
    /// `true` for https with a key of this run's own, which makes sessions device-bound.
    pub https: bool,
    /// A clock for the sessions that a test moves; `None` for the system's.
    pub clock: Option<ManualClock>,
    /// The port of the metrics, on 127.0.0.1; 0: any that is free. `None`: no metrics are kept.
    pub metrics_port: Option<u16>,
}

/// The environment does not make a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not a port.
    #[error("{variable} is `{text}`; it must be a number from 0 to 65535")]
    Port {
        /// The variable.
        variable: &'static str,
        /// Its value.
        text: String,
    },
    /// Neither 1 nor 0.
    #[error("{HTTPS_VARIABLE} is `{0}`; it must be 1 or 0")]
    Https(String),
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
        let port = port_in(PORT_VARIABLE)?.unwrap_or(DEFAULT_PORT);
        let metrics_port = port_in(METRICS_PORT_VARIABLE)?;
        let database = match std::env::var_os(DATABASE_VARIABLE) {
            Some(path) if !path.is_empty() => path.into(),
            _ => default_directory()?.join("demo.sqlite"),
        };
        let https = match std::env::var(HTTPS_VARIABLE).as_deref() {
            Ok("1") => true,
            Ok("0" | "") | Err(_) => false,
            Ok(other) => return Err(ConfigError::Https(other.to_owned())),
        };
        Ok(Self { port, database, https, clock: None, metrics_port })
    }

    /// The database as a URL, in which `%` and `?` have a meaning of their own.
    #[must_use]
    pub fn database_url(&self) -> String {
        let path = self.database.display().to_string().replace('%', "%25").replace('?', "%3F");
        format!("sqlite:{path}")
    }

    /// Returns the path of the keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        let mut path = self.database.clone().into_os_string();
        path.push(".keys");
        path.into()
    }
}

fn port_in(variable: &'static str) -> Result<Option<u16>, ConfigError> {
    let Some(text) = std::env::var(variable).ok().filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| ConfigError::Port { variable, text })
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
        let database = "a dir/100%?.sqlite".into();
        let config = Config { port: 0, database, https: false, clock: None, metrics_port: None };
        assert_eq!(config.keys(), PathBuf::from("a dir/100%?.sqlite.keys"));
        assert_eq!(config.database_url(), "sqlite:a dir/100%25%3F.sqlite");
    }
}
