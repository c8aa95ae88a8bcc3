//! The server that a connection leads to: one with a fixed address, or the one that sentinels name.

use std::time::Duration;

use futures_util::FutureExt;
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{Client, ConnectionInfo, IntoConnectionInfo, RedisError, TlsMode};

use super::error::{self, Server};
use crate::StoreError;

/// The schemes of a URL that names sentinels: without TLS, and with it.
const SCHEMES: [(&str, &str); 2] = [("redis+sentinel://", "redis"), ("rediss+sentinel://", "rediss")];
/// The port of a sentinel whose URL names none.
const PORT: u16 = 26_379;
/// The age of silence from which a connection is kept alive: middleboxes forget it after some minutes.
const SILENT: Duration = Duration::from_secs(60);
/// The form of such a URL.
pub(super) const FORM: &str = "redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]..]/NAME[/DATABASE]";

/// A way to the primary.
pub(super) struct Target {
    who: Who,
    /// The time after which a peer that has vanished silently is given up.
    limit: Duration,
}

enum Who {
    Fixed(Box<Client>),
    // The client asks its sentinels one call at a time.
    Named(Box<tokio::sync::Mutex<SentinelClient>>),
}

impl Target {
    pub(super) fn fixed(client: Client, limit: Duration) -> Self {
        Self { who: Who::Fixed(Box::new(client)), limit }
    }

    pub(super) fn named(sentinels: SentinelClient, limit: Duration) -> Self {
        Self { who: Who::Named(Box::new(tokio::sync::Mutex::new(sentinels))), limit }
    }

    /// Returns `true` if another server can become the primary without a change of the address.
    pub(super) fn may_move(&self) -> bool {
        matches!(self.who, Who::Named(_))
    }

    /// Returns a client of the current primary.
    pub(super) async fn primary(&self) -> Result<Client, RedisError> {
        let client = match &self.who {
            Who::Fixed(client) => Client::clone(client),
            // Boxed: the driver's future is a deep nest of others.
            Who::Named(sentinels) => sentinels.lock().await.async_get_client().boxed().await?,
        };
        let info = client.get_connection_info();
        let settings = tcp(info.tcp_settings().clone(), self.limit);
        Client::open(info.clone().set_tcp_settings(settings))
    }
}

/// Gives up a peer that has vanished silently after a few timeouts, not after the kernel's quarter of an hour, and keeps a
/// connection alive that is silent.
pub(super) fn tcp(settings: TcpSettings, limit: Duration) -> TcpSettings {
    let settings = settings.set_nodelay(true);
    let settings = match settings.keepalive() {
        Some(_) => settings,
        None => settings.set_keepalive(TcpKeepalive::new().with_time(SILENT)),
    };
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(limit.saturating_mul(3));
    #[cfg(not(target_os = "linux"))]
    let _ = limit;
    settings
}

/// Reads a URL that names sentinels, or returns `None` if it is of another kind.
pub(super) fn by_url(url: &str) -> Option<Result<(SentinelClient, Server), StoreError>> {
    let (rest, scheme) = SCHEMES.iter().find_map(|(begin, scheme)| Some((url.strip_prefix(begin)?, *scheme)))?;
    Some(parse(rest, scheme))
}

fn parse(rest: &str, scheme: &str) -> Result<(SentinelClient, Server), StoreError> {
    // The URL stays out of the message: it may hold a password.
    let malformed = || StoreError::rejected(format!("the URL of the sentinels did not parse; expected `{FORM}`"));
    let (authority, path) = rest.split_once('/').ok_or_else(malformed)?;
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (format!("{login}@"), hosts),
        None => (String::new(), authority),
    };
    let (name, database) = path.split_once('/').unwrap_or((path, "0"));
    // A password with a `/` in it would otherwise be taken for the name, which errors tell.
    if name.is_empty() || hosts.is_empty() || path.contains('@') {
        return Err(malformed());
    }
    let info = |url: String| url.into_connection_info().map_err(|error| error::misconfigured(&error));
    // The user, the password and the database are those of the servers, whose addresses the sentinels tell.
    let server = info(format!("{scheme}://{login}server/{database}"))?;
    let sentinels = hosts.split(',').map(|host| info(format!("{scheme}://{}/", with_port(host))));
    let sentinels: Vec<ConnectionInfo> = sentinels.collect::<Result<_, _>>()?;
    let named = Server::named(name, &sentinels);
    let mut node = SentinelNodeConnectionInfo::default().set_redis_connection_info(server.redis_settings().clone());
    if scheme == "rediss" {
        node = node.set_tls_mode(TlsMode::Secure);
    }
    #[allow(clippy::unnecessary_to_owned, reason = "the driver asks for a String unless it has TLS")]
    let client = SentinelClient::build(sentinels, name.to_owned(), Some(node), SentinelServerType::Master);
    Ok((client.map_err(|error| error::misconfigured(&error))?, named))
}

/// Adds the port of sentinels to a host without one. (An IPv6 address stands in brackets.)
fn with_port(host: &str) -> String {
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    if has_port { host.to_owned() } else { format!("{host}:{PORT}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "helpers of tests")]

    use super::*;

    #[test]
    fn a_url_of_sentinels_names_all_of_them_and_no_password_shows() {
        let url = "redis+sentinel://shop:hunter2@one,two:5,[::1],[::2]:7/sessions/3";
        let (_, server) = by_url(url).unwrap().unwrap();
        assert_eq!(server.to_string(), "redis `sessions`, by the sentinels at one:26379, two:5, ::1:26379, ::2:7");
        assert!(by_url("redis://one/").is_none());
        for url in
            ["one", "one/", "/sessions", "one/sessions/x", "a:hunter2@/sessions", "hunter2@[::1/sessions", "a,,b/c"]
        {
            let refused = by_url(&format!("redis+sentinel://{url}")).unwrap().err().unwrap();
            let said = format!("{refused:?}");
            assert!(matches!(refused, StoreError::Rejected(_)) && !said.contains("hunter2"), "{url}: {said}");
        }
    }
}
