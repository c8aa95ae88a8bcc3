//! The environment variables, and the manager that they describe.

use std::env::VarError;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use secure_sessions::{Builder, Keyring, OnReplay, SameSite, Timestamp};

/// What is wrong with the environment.
pub type ConfigError = String;

/// The variable's value, if it is set to anything.
///
/// # Errors
///
/// Names the variable if its value is not Unicode.
pub fn text(name: &str) -> Result<Option<String>, ConfigError> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(error @ VarError::NotUnicode(_)) => Err(format!("{name}: {error}")),
    }
}

/// The variable's value, parsed.
///
/// # Errors
///
/// Names the variable and what is wrong with its value.
pub fn parsed<T: FromStr<Err: Display>>(name: &str) -> Result<Option<T>, ConfigError> {
    text(name)?.map(|value| value.parse().map_err(|error| format!("{name}={value}: {error}"))).transpose()
}

/// Whether the variable is `1`.
///
/// # Errors
///
/// Names the variable if it is neither `1` nor `0`.
pub fn flag(name: &str) -> Result<Option<bool>, ConfigError> {
    match text(name)?.as_deref() {
        None => Ok(None),
        Some("1") => Ok(Some(true)),
        Some("0") => Ok(Some(false)),
        Some(other) => Err(format!("{name}={other}: expected 1 or 0")),
    }
}

/// The keys of the environment, or new ones.
///
/// # Errors
///
/// Says which key is wrong, and how.
pub fn keyring() -> Result<Keyring, ConfigError> {
    let given = text("SECURE_SESSIONS_SEAL_KEYS")?.is_some() || text("SECURE_SESSIONS_FINGERPRINT_KEYS")?.is_some();
    if given { Keyring::from_env() } else { Keyring::generate() }.map_err(|error| error.to_string())
}

/// Applies the times and the cookie's attributes.
///
/// # Errors
///
/// Names the variable and what is wrong with its value.
pub fn configure(builder: Builder) -> Result<Builder, ConfigError> {
    attributes(cookie(times(builder)?)?)
}

fn times(mut builder: Builder) -> Result<Builder, ConfigError> {
    // 0 turns an idle timeout or a renewal interval off.
    let optional = |millis: u64| Some(Duration::from_millis(millis)).filter(|length| !length.is_zero());
    if let Some(millis) = parsed("IDLE_MS")? {
        builder = builder.idle_timeout(optional(millis));
    }
    if let Some(millis) = parsed("RENEWAL_MS")? {
        builder = builder.renewal_interval(optional(millis));
    }
    if let Some(millis) = parsed("ABSOLUTE_MS")? {
        builder = builder.absolute_timeout(Duration::from_millis(millis));
    }
    if let Some(millis) = parsed("GRACE_MS")? {
        builder = builder.grace(Duration::from_millis(millis));
    }
    if let Some(millis) = parsed("NOT_BEFORE_MS")? {
        builder = builder.not_before(Timestamp::from_millis(millis));
    }
    match text("ON_REPLAY")?.as_deref() {
        None | Some("revoke") => Ok(builder),
        Some("refuse") => Ok(builder.on_replay(OnReplay::Refuse)),
        Some(other) => Err(format!("ON_REPLAY={other}: expected revoke or refuse")),
    }
}

fn cookie(builder: Builder) -> Result<Builder, ConfigError> {
    // The library's own cookie is Secure, which a client on plain http does not send back.
    if flag("COOKIE_DEFAULTS")?.unwrap_or_default() {
        return Ok(builder);
    }
    Ok(builder.cookie_name(text("COOKIE_NAME")?.unwrap_or_else(|| "session".to_owned())).secure(false))
}

fn attributes(mut builder: Builder) -> Result<Builder, ConfigError> {
    if let Some(path) = text("COOKIE_PATH")? {
        builder = builder.path(path);
    }
    if let Some(domain) = text("COOKIE_DOMAIN")? {
        builder = builder.domain(domain);
    }
    if let Some(same_site) = text("COOKIE_SAMESITE")? {
        builder = builder.same_site(match same_site.as_str() {
            "Strict" => SameSite::Strict,
            "Lax" => SameSite::Lax,
            "None" => SameSite::None,
            other => return Err(format!("COOKIE_SAMESITE={other}: expected Strict, Lax or None")),
        });
    }
    if let Some(secure) = flag("COOKIE_SECURE")? {
        builder = builder.secure(secure);
    }
    if let Some(http_only) = flag("COOKIE_HTTP_ONLY")? {
        builder = builder.http_only(http_only);
    }
    if let Some(partitioned) = flag("COOKIE_PARTITIONED")? {
        builder = builder.partitioned(partitioned);
    }
    if let Some(persistent) = flag("PERSISTENT")? {
        builder = builder.persistent(persistent);
    }
    Ok(builder)
}
