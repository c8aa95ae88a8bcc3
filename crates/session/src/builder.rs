//! The builder of a manager: its settings, and the check of all of them.

use std::sync::Arc;
use std::time::Duration;

use secure_sessions_core::format::DEFAULT_LIMIT;
use secure_sessions_core::{Aead, BucketPolicy, Millis, Sealer, SizeClasses, SizeError, Sizes, Timestamp};
use secure_sessions_store::{AnyStore, AnyVaultStore, SessionStore, VaultStore};

use crate::clock::{Clock, SystemClock};
use crate::config::binding::Binding;
use crate::config::build_error::BuildError;
use crate::config::device::DeviceBound;
use crate::config::limit::SessionLimit;
use crate::config::site_data::{self, ClearSiteData};
use crate::config::{OnReplay, Times, is_header_name};
use crate::event::Observer;
use crate::event::throttle::EventLimit;
use crate::keyring::Keyring;
use crate::manager::{Parts, SessionManager};
use crate::remember::Sealing;
use crate::transport::cookie::{CookieConfig, SameSite};
use crate::transport::dpop::Dpop;
use crate::transport::ticket::Devices;
use crate::transport::{Bearer, DEFAULT_BEARER_HEADER};

/// Builds a [`SessionManager`]. The table lists the default of each setting.
///
/// | setting | default |
/// | --- | --- |
/// | cookie | `__Host-session`; Secure; HttpOnly; SameSite=Lax; Path=/; no Domain; until the browser closes |
/// | idle timeout | 30 minutes |
/// | absolute timeout | 8 hours |
/// | rotation interval | 15 minutes |
/// | grace | 60 seconds, which tolerates delays of 30 seconds one way |
/// | touch step | a minute, a twentieth of the idle timeout or a grace, the smallest of them |
/// | on replay | the session is revoked |
/// | size limit | 2800 bytes of name and value |
/// | `not_before` | none |
/// | transports | the cookie alone |
/// | binding to the client | none |
/// | binding to a device | none |
/// | binding of bearer tokens to a key | none |
/// | sessions of one subject | no limit |
/// | CSRF header | `x-csrf-token` |
/// | login page | none |
/// | `Clear-Site-Data` on logout | none |
/// | event limit | [`EventLimit::default`]: 20 lines of each kind at once, then one a second |
/// | remembered tokens | none |
/// | vault for private values | none |
#[must_use]
pub struct Builder {
    keyring: Keyring,
    store: AnyStore,
    vault: Option<AnyVaultStore>,
    spill_over: Option<usize>,
    cookie: CookieConfig,
    times: Times,
    size_limit: usize,
    size_classes: SizeClasses,
    aead: Aead,
    on_replay: OnReplay,
    not_before: Option<Timestamp>,
    cookies: bool,
    bearer: Option<&'static str>,
    binding: Option<Binding>,
    device_bound: Option<DeviceBound>,
    dpop: Option<Vec<String>>,
    session_limit: SessionLimit,
    clock: Arc<dyn Clock>,
    observers: Vec<Arc<dyn Observer>>,
    insecure_dev: bool,
    clear_site_data: Vec<ClearSiteData>,
    csrf_header: &'static str,
    login_url: Option<String>,
    event_limit: Option<EventLimit>,
    remembered: usize,
}

const DEFAULT_CSRF_HEADER: &str = "x-csrf-token";

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

impl SessionManager {
    /// Creates a builder with the default settings, from the keys that seal tokens and the store that keeps their
    /// fingerprints.
    pub fn builder(keyring: Keyring, store: impl SessionStore) -> Builder {
        Builder::new(keyring, store)
    }
}

impl Builder {
    fn new(keyring: Keyring, store: impl SessionStore) -> Self {
        Self {
            keyring,
            store: AnyStore::new(store),
            vault: None,
            spill_over: None,
            cookie: CookieConfig::default(),
            times: Times {
                idle: Some(Millis::from_secs(30 * MINUTE)),
                absolute: Millis::from_secs(8 * HOUR),
                rotation: Some(Millis::from_secs(15 * MINUTE)),
                bucket: BucketPolicy { grace: Millis::from_secs(MINUTE), touch_step: None },
            },
            size_limit: DEFAULT_LIMIT,
            size_classes: SizeClasses::default(),
            aead: Aead::default(),
            on_replay: OnReplay::default(),
            not_before: None,
            cookies: true,
            bearer: None,
            binding: None,
            device_bound: None,
            dpop: None,
            session_limit: SessionLimit::None,
            clock: Arc::new(SystemClock),
            observers: Vec::new(),
            insecure_dev: false,
            clear_site_data: Vec::new(),
            csrf_header: DEFAULT_CSRF_HEADER,
            login_url: None,
            event_limit: Some(EventLimit::default()),
            remembered: 0,
        }
    }

    /// Sets the cookie's name. A name that starts with `__Host-`, as the default does, binds the cookie to this host.
    pub fn cookie_name(mut self, name: impl Into<String>) -> Self {
        self.cookie.name = name.into();
        self
    }

    /// Sets the cookie's `Path`. `__Host-` names allow `/` only.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.cookie.path = path.into();
        self
    }

    /// Sends the cookie to this domain and all its subdomains.
    ///
    /// # Security
    ///
    /// Every host of the domain receives the cookie, and can plant one. `__Host-` names do not allow it.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.cookie.domain = Some(domain.into());
        self
    }

    /// Sets when browsers send the cookie along with requests that other sites cause.
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.cookie.same_site = same_site;
        self
    }

    /// Sets whether browsers send the cookie over https only.
    ///
    /// # Security
    ///
    /// Without it, an attacker who watches the network gets the session. Use [`insecure_dev`](Self::insecure_dev) on
    /// localhost.
    pub fn secure(mut self, secure: bool) -> Self {
        self.cookie.secure = secure;
        self
    }

    /// Sets whether browsers hide the cookie from scripts.
    ///
    /// # Security
    ///
    /// Without it, one injected script can steal the session.
    pub fn http_only(mut self, http_only: bool) -> Self {
        self.cookie.http_only = http_only;
        self
    }

    /// Sets whether browsers keep the cookie apart for each top-level site that embeds this one (CHIPS).
    pub fn partitioned(mut self, partitioned: bool) -> Self {
        self.cookie.partitioned = partitioned;
        self
    }

    /// Sets whether the cookie outlives the browser session. Its `Max-Age` is then the session's remaining lifetime, at
    /// most 400 days.
    pub fn persistent(mut self, persistent: bool) -> Self {
        self.cookie.persistent = persistent;
        self
    }

    /// Sets how long a session may go unused; `None` turns the idle timeout off. The session may end late, by a
    /// [touch step](Self::touch_step), but never early.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.times.idle = timeout.into().map(Millis::from);
        self
    }

    /// Sets how long a session lives at most after it was created or its subject logged in.
    pub fn absolute_timeout(mut self, timeout: Duration) -> Self {
        self.times.absolute = timeout.into();
        self
    }

    /// Sets the time after which a token is replaced even if nothing changed; `None` turns this off. It limits how long
    /// a theft can go unnoticed.
    pub fn rotation_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.times.rotation = interval.into().map(Millis::from);
        self
    }

    /// Sets how long a token is still accepted after the proof that its session moved on. It tolerates one-way delays
    /// of half that time.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.times.bucket.grace = grace.into();
        self
    }

    /// Sets how often the store is told that a session is still in use: at most once in this time. By default, that is a
    /// minute, a twentieth of the idle timeout or a grace, the smallest of them.
    ///
    /// Most writes of a large site are these touches; with a step of five minutes there are a fifth as many. In return, an idle
    /// timeout may be late by that much, [`SessionInfo::last_seen_at`](crate::SessionInfo::last_seen_at) lags by it, and so does
    /// the end of superseded cookies. Between 1 second and 10 minutes; a session whose idle timeout is short is touched four
    /// times within it. Set the same on all hosts.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use secure_sessions::{Keyring, MemoryStore, SessionManager};
    /// let builder = SessionManager::builder(Keyring::generate()?, MemoryStore::new());
    /// let manager = builder.touch_step(Duration::from_secs(300)).build()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn touch_step(mut self, step: Duration) -> Self {
        self.times.bucket.touch_step = Some(step.into());
        self
    }

    /// Sets the largest size of the cookie's name and value together, in bytes: at most 4096. A session that would outgrow
    /// it is refused with [`TooLarge`](crate::SessionError::TooLarge).
    ///
    /// The default leaves about 1.9 kB for data. It is below what browsers accept, because nginx answers 502 to a
    /// response whose head does not fit its `proxy_buffer_size`, which is 4 kB by default. If you raise it, raise that to
    /// `8k` too: see [`deployment`](crate::guide::using::deployment).
    pub fn size_limit(mut self, bytes: usize) -> Self {
        self.size_limit = bytes;
        self
    }

    /// Sets the implementation that seals tokens. All of them produce the same bytes and open each other's tokens, so
    /// you can change it at any time. The choice is logged when the manager is built.
    ///
    /// A feature such as `ring` only makes an implementation available; the default is always [`Aead::RustCrypto`].
    pub fn aead(mut self, aead: Aead) -> Self {
        self.aead = aead;
        self
    }

    /// Sets the lengths that tokens are padded to, so that a token's length reveals only its class.
    pub fn size_classes(mut self, classes: SizeClasses) -> Self {
        self.size_classes = classes;
        self
    }

    /// Sets the action on a session when one of its dead tokens is presented.
    pub fn on_replay(mut self, on_replay: OnReplay) -> Self {
        self.on_replay = on_replay;
        self
    }

    /// Refuses every token issued before this time, in this process.
    ///
    /// After you restored a backup of the store, call [`SessionManager::set_not_before`] instead: the store then keeps the
    /// time for all hosts and restarts. The later of the two counts.
    pub fn not_before(mut self, not_before: impl Into<Option<Timestamp>>) -> Self {
        self.not_before = not_before.into();
        self
    }

    /// Also accepts sessions from `Authorization: Bearer`, and answers those in the response header `session-token`.
    /// Use it for API and mobile clients.
    ///
    /// 1. A token works only for the transport that it was issued for: a cookie's token is refused as a bearer token,
    ///    and the other way round.
    /// 2. A request with a bearer token is answered with one, never with a cookie. A cookie in the same request is
    ///    ignored.
    /// 3. A new session travels in a cookie, unless the handler calls [`use_bearer`](crate::Session::use_bearer) or
    ///    [`cookies`](Self::cookies) are off.
    /// 4. The client replaces its token with the value of a response's header; an empty value tells it to forget the
    ///    token.
    ///
    /// Scripts of other origins can read the header only if CORS allows it: `Access-Control-Expose-Headers:
    /// session-token`, and `Access-Control-Allow-Headers: authorization` in the answer to the preflight.
    ///
    /// ```
    /// use secure_sessions::{Keyring, MemoryStore, SessionManager};
    ///
    /// let manager = SessionManager::builder(Keyring::generate()?, MemoryStore::new()).bearer().build()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Security
    ///
    /// Scripts see a bearer token, so one injected script can steal the session. Prefer the cookie for browsers.
    pub fn bearer(self) -> Self {
        self.bearer_header(DEFAULT_BEARER_HEADER)
    }

    /// Works as [`bearer`](Self::bearer) does, with another response header, in lower case. Tokens are sealed for the
    /// header's name, so changing it logs everyone out.
    pub fn bearer_header(mut self, name: &'static str) -> Self {
        self.bearer = Some(name);
        self
    }

    /// Sets whether sessions travel in cookies at all. If not, [`bearer`](Self::bearer) must be on.
    pub fn cookies(mut self, cookies: bool) -> Self {
        self.cookies = cookies;
        self
    }

    /// Binds sessions to properties of the client.
    pub fn bind_to(mut self, binding: Binding) -> Self {
        self.binding = Some(binding);
        self
    }

    /// Binds sessions to a key in the device of their browser: see [`DeviceBound`]. It needs the cookie transport,
    /// `Secure`, and neither `Domain` nor `Partitioned`; with [`insecure_dev`](Self::insecure_dev) it is off.
    ///
    /// The adapter must answer the browser's own requests: in Axum add a `DeviceLayer`; the others do it by themselves.
    ///
    /// ```
    /// use secure_sessions::{DeviceBound, Keyring, MemoryStore, SessionManager};
    ///
    /// let builder = SessionManager::builder(Keyring::generate()?, MemoryStore::new());
    /// let manager = builder.device_bound(DeviceBound::new()).build()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "device")]
    #[cfg_attr(docsrs, doc(cfg(feature = "device")))]
    pub fn device_bound(mut self, binding: DeviceBound) -> Self {
        self.device_bound = Some(binding);
        self
    }

    /// Binds bearer tokens to a key of the client's, by DPoP (RFC 9449): a token that leaks from a log or a proxy is then
    /// worth nothing. `origins` are those that clients send requests to, such as `https://api.example.org`: proofs are
    /// compared with them, and never with what a request says of its host.
    ///
    /// 1. A login whose request carries a proof, in the header `DPoP`, binds its session to the key. One without a proof
    ///    is not bound, and works as before: [`require_device`](crate::Session::require_device) refuses it.
    /// 2. A bound token counts only under `Authorization: DPoP`, with a proof for this very request: its method, its URL
    ///    and the token. Under `Bearer`, or with the proof of another key, the request is anonymous.
    /// 3. A missing or wrong proof is answered 401, and the request is not processed. `WWW-Authenticate` says why:
    ///    `use_dpop_nonce` asks the client to sign again, with the nonce in `DPoP-Nonce`. Every client begins so.
    ///
    /// It needs [`bearer`](Self::bearer) and the `ring` provider, because each request costs a signature's check, about 50
    /// us. Nothing is kept in the store, and 18 bytes in the token. A proxy in front must not rewrite paths. See
    /// [the guide](crate::guide::using::devices).
    ///
    /// ```
    /// # #[cfg(feature = "ring")] {
    /// use secure_sessions::{Aead, Keyring, MemoryStore, SessionManager};
    ///
    /// let manager = SessionManager::builder(Keyring::generate()?, MemoryStore::new())
    ///     .aead(Aead::Ring)
    ///     .bearer()
    ///     .dpop(["https://api.example.org"])
    ///     .build()?;
    /// # }
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Security
    ///
    /// We keep no proof, so an attacker who copies a whole request can send the same one again for two minutes, which is
    /// how long its nonce lasts. Over https they see none.
    #[cfg(feature = "device")]
    #[cfg_attr(docsrs, doc(cfg(feature = "device")))]
    pub fn dpop(mut self, origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.dpop = Some(origins.into_iter().map(Into::into).collect());
        self
    }

    /// Limits how many live sessions one subject has.
    ///
    /// ```
    /// use secure_sessions::{Keyring, MemoryStore, SessionLimit, SessionManager};
    ///
    /// let manager = SessionManager::builder(Keyring::generate()?, MemoryStore::new())
    ///     .session_limit(SessionLimit::EvictOldest(3))
    ///     .build()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn session_limit(mut self, limit: SessionLimit) -> Self {
        self.session_limit = limit;
        self
    }

    /// Sets the source of the time.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Adds a receiver of [`Event`](crate::Event)s.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// Limits how many lines of one kind of event the log (`tracing`) gets; `None` turns the limit off. Observers see
    /// every event.
    pub fn event_limit(mut self, limit: impl Into<Option<EventLimit>>) -> Self {
        self.event_limit = limit.into();
        self
    }

    /// Remembers up to this many opened tokens for up to a minute, which saves decoding and decrypting a token that
    /// comes again.
    ///
    /// It is off by default, because it keeps the plaintext of sessions in this process's memory for that long.
    ///
    /// A token is remembered when it is issued, or else when it is presented for the second time. Its session is still
    /// judged at every request. A remembered token is overwritten when it is forgotten: at logout, login, renewal,
    /// revocation and replay in this process, when the keys change, and when it makes room for another token. If both
    /// transports are on, each has this many places.
    ///
    /// ```
    /// use secure_sessions::{Keyring, MemoryStore, SessionManager};
    ///
    /// let builder = SessionManager::builder(Keyring::generate()?, MemoryStore::new());
    /// let manager = builder.remember_tokens(10_000).build()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn remember_tokens(mut self, places: usize) -> Self {
        self.remembered = places;
        self
    }

    /// Sets the store of private and large values: see [`Session::vault`](crate::Session::vault). Every store of this crate
    /// is one too; it may be the same as that of the sessions, or another.
    ///
    /// ```
    /// use secure_sessions::{Keyring, MemoryStore, SessionManager};
    ///
    /// let store = MemoryStore::new();
    /// let manager = SessionManager::builder(Keyring::generate()?, store.clone()).vault(store).build()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn vault(mut self, store: impl VaultStore) -> Self {
        self.vault = Some(AnyVaultStore::new(store));
        self
    }

    /// Moves each value whose encoding is longer than `bytes` to the [vault](Self::vault) when you
    /// [insert](crate::Session::insert) it. Smaller values stay in the cookie.
    ///
    /// Read a value that may have moved with [`session.vault().get(key).await`](crate::Vault::get), which finds it in either
    /// place. [`session.get(key)`](crate::Session::get) still reads what is in the cookie, and fails with
    /// [`SessionError::InVault`](crate::SessionError::InVault) on a value that moved: it never takes it for absent.
    ///
    /// ```
    /// use secure_sessions::{Keyring, MemoryStore, SessionManager};
    ///
    /// let store = MemoryStore::new();
    /// let builder = SessionManager::builder(Keyring::generate()?, store.clone()).vault(store);
    /// let manager = builder.spill_over(1024).build()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn spill_over(mut self, bytes: usize) -> Self {
        self.spill_over = Some(bytes);
        self
    }

    /// Sets the request header that carries a CSRF token, in lower case.
    pub fn csrf_header(mut self, name: &'static str) -> Self {
        self.csrf_header = name;
        self
    }

    /// Sets the login page. A browser that navigates to a page which needs a login is sent there, with the way back in
    /// the parameter `next`: `/login?next=/orders`. Scripts and APIs get 401 as without it: a request counts as a
    /// navigation if it is `GET` or `HEAD` and accepts `text/html`.
    ///
    /// The adapters' `LoggedIn` decides who needs a login. After the login, check `next` by
    /// [`local_path`](crate::local_path).
    ///
    /// ```
    /// use secure_sessions::{Keyring, MemoryStore, SessionManager};
    ///
    /// let builder = SessionManager::builder(Keyring::generate()?, MemoryStore::new());
    /// let manager = builder.login_url("/login").build()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn login_url(mut self, url: impl Into<String>) -> Self {
        self.login_url = Some(url.into());
        self
    }

    /// Sets the data that the response to a logout asks the browser to remove, besides the session's cookie.
    ///
    /// The default is none, since only the application knows what it keeps in the browser, and what else lives on its
    /// domain. [`Cookies`](ClearSiteData::Cookies) removes those of all subdomains, and [`Cache`](ClearSiteData::Cache)
    /// can delay the response by seconds. Pages that used a session are never cached, so their content needs no
    /// clearing.
    ///
    /// If your scripts keep user data in the browser, ask for `[Cache, Storage]` (OWASP ASVS 5.0, 14.3.1). Browsers
    /// obey the header over https only.
    ///
    /// ```
    /// use secure_sessions::{ClearSiteData, Keyring, MemoryStore, SessionManager};
    ///
    /// let manager = SessionManager::builder(Keyring::generate()?, MemoryStore::new())
    ///     .clear_site_data([ClearSiteData::Cache, ClearSiteData::Storage])
    ///     .build()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear_site_data(mut self, list: impl IntoIterator<Item = ClearSiteData>) -> Self {
        self.clear_site_data = list.into_iter().collect();
        self
    }

    /// Configures plain http on localhost: a cookie without `Secure`, named `session` unless you set a name. Building
    /// the manager logs a warning.
    ///
    /// # Security
    ///
    /// An attacker who watches the network gets the session, and other hosts of the domain can plant one.
    pub fn insecure_dev(mut self) -> Self {
        // Browsers drop a `__Host-` cookie without `Secure`. A name of the application's own stays.
        if self.cookie.name == CookieConfig::default().name {
            "session".clone_into(&mut self.cookie.name);
        }
        self.cookie.secure = false;
        self.insecure_dev = true;
        self
    }

    /// Configures a site for consumers, where users expect to stay logged in: a [persistent](Self::persistent) cookie,
    /// an idle timeout of 14 days, and a login again after 90 days.
    ///
    /// These times are longer than NIST recommends for any level, so ask for a fresh login before a dangerous action:
    /// [`Session::require_recent_auth`](crate::Session::require_recent_auth).
    ///
    /// ```
    /// use secure_sessions::{Keyring, MemoryStore, SessionManager};
    ///
    /// let manager = SessionManager::builder(Keyring::generate()?, MemoryStore::new()).consumer().build()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn consumer(self) -> Self {
        self.persistent(true)
            .idle_timeout(Duration::from_secs(14 * DAY))
            .absolute_timeout(Duration::from_secs(90 * DAY))
    }

    /// Applies NIST SP 800-63B-4, AAL1: no idle timeout, reauthentication after 30 days.
    pub fn nist_aal1(self) -> Self {
        self.idle_timeout(None).absolute_timeout(Duration::from_secs(30 * DAY))
    }

    /// Applies NIST SP 800-63B-4, AAL2: idle timeout of 1 hour, reauthentication after 24 hours.
    pub fn nist_aal2(self) -> Self {
        self.idle_timeout(Duration::from_secs(HOUR)).absolute_timeout(Duration::from_secs(24 * HOUR))
    }

    /// Applies NIST SP 800-63B-4, AAL3: idle timeout of 15 minutes, reauthentication after 12 hours.
    pub fn nist_aal3(self) -> Self {
        self.idle_timeout(Duration::from_secs(15 * MINUTE)).absolute_timeout(Duration::from_secs(12 * HOUR))
    }

    /// Checks all settings and creates the manager.
    ///
    /// # Errors
    ///
    /// Returns a [`BuildError`] that names the impossible setting and what to change.
    pub fn build(mut self) -> Result<SessionManager, BuildError> {
        self.check()?;
        let devices = self.devices()?;
        let name = &self.cookie.name;
        let sealer = Sealer::new(Arc::clone(&self.keyring.0), name, self.sizes(name)?)?.with_aead(self.aead);
        let sealer = Sealing::new(sealer, self.remembered, &self.clock);
        let bearer = match self.bearer {
            Some(header) => Some(Bearer::new(header, &sealer, self.sizes(header)?)?),
            None => None,
        };
        let dpop = match &self.dpop {
            Some(origins) => Some(Box::new(Dpop::new(origins, self.aead, bearer.is_some())?)),
            None => None,
        };
        self.announce();
        Ok(SessionManager::from_parts(Parts {
            store: self.store,
            vault: self.vault,
            spill_over: self.spill_over,
            cookie: self.cookie,
            times: self.times,
            sealer,
            cookies: self.cookies,
            bearer,
            binding: self.binding,
            devices,
            dpop,
            session_limit: self.session_limit,
            on_replay: self.on_replay,
            not_before: self.not_before,
            clock: self.clock,
            observers: self.observers,
            clear_site_data: site_data::header(&self.clear_site_data),
            csrf_header: self.csrf_header,
            login_url: self.login_url,
            event_limit: self.event_limit,
        }))
    }

    /// Checks the settings that need no key.
    fn check(&self) -> Result<(), BuildError> {
        self.cookie.check()?;
        self.times.check()?;
        if !is_header_name(self.csrf_header) {
            return Err(BuildError::Header { setting: "csrf_header", name: self.csrf_header });
        }
        if let Some(url) = &self.login_url
            && (url.is_empty() || !url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'))
        {
            return Err(BuildError::LoginUrl { url: url.clone() });
        }
        self.binding.as_ref().map_or(Ok(()), Binding::check)?;
        if self.session_limit.most() == Some(0) {
            return Err(BuildError::SessionLimit);
        }
        if self.spill_over.is_some() && self.vault.is_none() {
            return Err(BuildError::NoVault);
        }
        if self.bearer.is_none() && !self.cookies {
            let problem = "cookies are off and bearer tokens too; turn one of them on";
            return Err(BuildError::Bearer { header: DEFAULT_BEARER_HEADER, problem });
        }
        Ok(())
    }

    /// Returns the sizes of the tokens that a cookie or header of this name carries.
    fn sizes(&self, name: &str) -> Result<Sizes, SizeError> {
        Sizes::new(name.len(), self.size_limit, self.size_classes.clone())
    }

    fn devices(&mut self) -> Result<Option<Box<Devices>>, BuildError> {
        let Some(binding) = self.device_bound.take() else { return Ok(None) };
        if !self.cookies {
            return Err(BuildError::Device { problem: "it binds cookies, and cookies are off" });
        }
        if self.insecure_dev {
            tracing::warn!(
                target: "secure_sessions",
                "insecure_dev: device_bound is off, because browsers bind sessions over https only"
            );
            return Ok(None);
        }
        Ok(Some(Box::new(Devices::new(binding.check()?, &self.cookie, self.times.bucket.grace)?)))
    }

    /// Logs how sessions are sealed, and warns if that is not for production.
    fn announce(&self) {
        tracing::info!(target: "secure_sessions", cookie = %self.cookie.name, aead = %self.aead, "sessions are sealed");
        if self.insecure_dev {
            tracing::warn!(
                target: "secure_sessions",
                "insecure_dev: the cookie `{}` travels over plain http; never use this setting in production",
                self.cookie.name
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use secure_sessions_store::MemoryStore;

    use super::*;

    fn builder() -> Builder {
        SessionManager::builder(Keyring::generate().expect("random"), MemoryStore::new())
    }

    #[test]
    fn a_misconfiguration_is_an_error_that_says_what_to_change() {
        let zero = Duration::ZERO;
        for (builder, expected) in [
            (builder().idle_timeout(zero), "idle_timeout"),
            (builder().absolute_timeout(zero), "absolute_timeout"),
            (builder().rotation_interval(zero), "rotation_interval"),
            (builder().grace(zero), "grace"),
            (builder().grace(Duration::from_secs(3601)), "3601s"),
            (builder().touch_step(Duration::from_millis(999)), "999ms"),
            (builder().touch_step(Duration::from_secs(601)), "601s"),
            (builder().domain("example.org"), "__Host-"),
            (builder().size_limit(200), "200"),
            (builder().size_limit(5000), "4096"),
            (builder().size_classes(SizeClasses::Step(0)), "step"),
            (builder().insecure_dev().cookie_name("__Host-x"), "insecure_dev"),
            (builder().cookies(false), "turn one of them on"),
            (builder().bearer_header("Session-Token"), "lower-case"),
            (builder().bearer_header("set-cookie"), "another use"),
            (builder().bind_to(Binding::new()), "bind_to"),
            (builder().bind_to(Binding::new().address_prefix(33, 56)), "32"),
            (builder().device_bound(DeviceBound::new().ticket_life(Duration::from_secs(299))), "ticket_life is 299s"),
            (builder().device_bound(DeviceBound::new().ticket_life(Duration::from_secs(DAY + 1))), "24 hours"),
            (builder().device_bound(DeviceBound::new().path("/")), "segments"),
            (builder().device_bound(DeviceBound::new().path("a")), "segments"),
            (builder().device_bound(DeviceBound::new().path("/a?b")), "segments"),
            (builder().device_bound(DeviceBound::new().path("/a/")), "segments"),
            (builder().device_bound(DeviceBound::new().path("/a//b")), "segments"),
            (builder().device_bound(DeviceBound::new().path("/a/../b")), "segments"),
            (builder().device_bound(DeviceBound::new().path("/a{b}")), "segments"),
            (builder().device_bound(DeviceBound::new().path("/a%2fb")), "segments"),
            (builder().device_bound(DeviceBound::new().exclude("static")), "excluded paths"),
            (builder().device_bound(DeviceBound::new().exclude("/a?b")), "visible ASCII"),
            (builder().device_bound(DeviceBound::new()).cookie_name("x").domain("example.org"), "domain"),
            (builder().device_bound(DeviceBound::new()).partitioned(true), "partitioned"),
            (builder().device_bound(DeviceBound::new()).cookie_name("x").secure(false), "https"),
            (builder().device_bound(DeviceBound::new()).bearer().cookies(false), "cookies are off"),
            (builder().dpop(["https://a.example"]), "call `bearer()` too"),
            (builder().bearer().dpop(["https://a.example"]), "aead(Aead::Ring)"),
            #[cfg(feature = "ring")]
            (builder().aead(Aead::Ring).bearer().dpop([""; 0]), "such as"),
            #[cfg(feature = "ring")]
            (builder().aead(Aead::Ring).bearer().dpop(["https://a.example/"]), "slash at the end"),
            (builder().session_limit(SessionLimit::Refuse(0)), "session_limit"),
            (builder().spill_over(1024), "vault(store)"),
            (builder().csrf_header("X-CSRF-Token"), "lower case"),
            (builder().csrf_header(""), "csrf_header"),
            (builder().login_url(""), "login_url"),
            (builder().login_url("/log in"), "visible ASCII"),
            (builder().login_url("/#login"), "fragment"),
        ] {
            let error = builder.build().expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_development_preset_keeps_a_configured_cookie_name_in_either_order() {
        for (builder, name) in [
            (builder().insecure_dev(), "session"),
            (builder().insecure_dev().cookie_name("x"), "x"),
            (builder().cookie_name("x").insecure_dev(), "x"),
        ] {
            assert_eq!(builder.build().expect("a preset").cookie_name(), name);
        }
    }

    #[test]
    fn the_presets_build() {
        for builder in [
            builder(),
            builder().insecure_dev(),
            builder().insecure_dev().device_bound(DeviceBound::new()),
            builder().device_bound(DeviceBound::new()),
            builder().consumer(),
            builder().nist_aal1(),
            builder().nist_aal2(),
            builder().nist_aal3(),
        ] {
            builder.build().expect("a preset");
        }
    }
}
