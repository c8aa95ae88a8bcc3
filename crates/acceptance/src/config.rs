//! The environment variables, and the manager that they describe.

use std::env::VarError;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use secure_sessions::{
    Aead, Binding, Builder, ClearSiteData, CrossOrigin, DeviceBound, Keyring, OnMismatch, OnReplay, RequestHead,
    SameSite, SessionLimit, SessionManager, Timestamp,
};

/// The mistake in the environment, as text.
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

/// Returns `true` if the variable is `1`.
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

/// The keys of the file that `KEY_FILE` names, those of the environment, or new ones.
///
/// # Errors
///
/// Says which key is wrong, and how.
pub fn keyring() -> Result<Keyring, ConfigError> {
    if let Some(path) = text("KEY_FILE")? {
        return Keyring::from_file(path).map_err(|error| error.to_string());
    }
    let given = text("SECURE_SESSIONS_SEAL_KEYS")?.is_some() || text("SECURE_SESSIONS_FINGERPRINT_KEYS")?.is_some();
    if given { Keyring::from_env() } else { Keyring::generate() }.map_err(|error| error.to_string())
}

/// Applies the times, the cookie's attributes, the transports, the binding and the limit.
///
/// # Errors
///
/// Names the variable and what is wrong with its value.
pub fn configure(builder: Builder) -> Result<Builder, ConfigError> {
    // Room for the clients that fill a session; the default is the size that every proxy passes on.
    let builder = binding(transports(attributes(cookie(times(builder)?)?)?)?)?;
    limit(devices(builder)?).map(|builder| builder.size_limit(4000))
}

/// `DEVICE=offer`, or `answer-only`; with `DEVICE_REQUIRED_MS`. Needs `COOKIE_SECURE=1`.
fn devices(builder: Builder) -> Result<Builder, ConfigError> {
    let mut binding = match text("DEVICE")?.as_deref() {
        None => return Ok(builder),
        Some("offer") => DeviceBound::new(),
        Some("answer-only") => DeviceBound::new().answer_only(),
        Some(other) => return Err(format!("DEVICE={other}: expected offer or answer-only")),
    };
    if let Some(millis) = parsed("DEVICE_REQUIRED_MS")? {
        binding = binding.required(Duration::from_millis(millis));
    }
    Ok(builder.device_bound(binding.exclude("/static")))
}

fn transports(mut builder: Builder) -> Result<Builder, ConfigError> {
    if flag("BEARER")?.unwrap_or_default() {
        builder = builder.bearer();
    }
    let origins = list("DPOP")?;
    if !origins.is_empty() {
        builder = builder.aead(Aead::Ring).dpop(origins);
    }
    if let Some(url) = text("LOGIN_URL")? {
        builder = builder.login_url(url);
    }
    if let Some(name) = text("BEARER_HEADER")? {
        // Read once for the whole life of the process.
        builder = builder.bearer_header(name.leak());
    }
    if let Some(cookies) = flag("COOKIES")? {
        builder = builder.cookies(cookies);
    }
    Ok(builder)
}

/// `BINDING=user-agent,address,custom`: any of them; `custom` is the header `X-Client`.
fn binding(builder: Builder) -> Result<Builder, ConfigError> {
    let Some(properties) = text("BINDING")? else { return Ok(builder) };
    let mut binding = Binding::new();
    for property in properties.split(',') {
        binding = match property {
            "user-agent" => binding.user_agent(),
            "address" => binding.address(),
            "custom" => binding.custom(|head: &dyn RequestHead| {
                let mut client = None;
                head.for_each_value("x-client", &mut |value| client = Some(value.to_vec()));
                client
            }),
            other => return Err(format!("BINDING={other}: expected user-agent, address or custom")),
        };
    }
    Ok(builder.bind_to(match text("ON_MISMATCH")?.as_deref() {
        None | Some("refuse") => binding,
        Some("report") => binding.on_mismatch(OnMismatch::Report),
        Some(other) => return Err(format!("ON_MISMATCH={other}: expected refuse or report")),
    }))
}

/// `SESSION_LIMIT=evict:3` or `refuse:3`.
fn limit(builder: Builder) -> Result<Builder, ConfigError> {
    let Some(limit) = text("SESSION_LIMIT")? else { return Ok(builder) };
    let parsed = limit.split_once(':').and_then(|(kind, most)| Some((kind, most.parse().ok()?)));
    Ok(builder.session_limit(match parsed {
        Some(("evict", most)) => SessionLimit::EvictOldest(most),
        Some(("refuse", most)) => SessionLimit::Refuse(most),
        _ => return Err(format!("SESSION_LIMIT={limit}: expected evict:N or refuse:N")),
    }))
}

/// The check that `CROSS_ORIGIN` names, if it is set: `refuse`, or `report`.
///
/// # Errors
///
/// Names the variable and what is wrong with its value.
pub fn cross_origin(manager: &SessionManager) -> Result<Option<CrossOrigin>, ConfigError> {
    let report_only = match text("CROSS_ORIGIN")?.as_deref() {
        None => return Ok(None),
        Some("refuse") => false,
        Some("report") => true,
        Some(other) => return Err(format!("CROSS_ORIGIN={other}: expected refuse or report")),
    };
    let mut check = CrossOrigin::builder().report_only(report_only).events_to(manager);
    check = list("TRUSTED_ORIGINS")?.into_iter().fold(check, |check, origin| check.trusted_origin(origin));
    check = list("EXEMPT_PATHS")?.into_iter().fold(check, |check, path| check.exempt_path(path));
    check.build().map(Some).map_err(|error| error.to_string())
}

fn list(name: &str) -> Result<Vec<String>, ConfigError> {
    Ok(text(name)?.map(|value| value.split(',').map(str::to_owned).collect()).unwrap_or_default())
}

fn times(mut builder: Builder) -> Result<Builder, ConfigError> {
    // 0 turns an idle timeout or a rotation interval off.
    let optional = |millis: u64| Some(Duration::from_millis(millis)).filter(|length| !length.is_zero());
    if let Some(millis) = parsed("IDLE_MS")? {
        builder = builder.idle_timeout(optional(millis));
    }
    if let Some(millis) = parsed("RENEWAL_MS")? {
        builder = builder.rotation_interval(optional(millis));
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
    let site_data = list("CLEAR_SITE_DATA")?;
    let site_data = site_data.iter().map(|entry| match entry.as_str() {
        "cache" => Ok(ClearSiteData::Cache),
        "cookies" => Ok(ClearSiteData::Cookies),
        "storage" => Ok(ClearSiteData::Storage),
        other => Err(format!("CLEAR_SITE_DATA={other}: expected cache, cookies or storage")),
    });
    Ok(builder.clear_site_data(site_data.collect::<Result<Vec<_>, _>>()?))
}
