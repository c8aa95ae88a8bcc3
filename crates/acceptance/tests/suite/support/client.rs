//! A client that sends exactly what it is told, and hides nothing of what comes back. It keeps no cookies by itself.

use std::future::Future;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::client::conn::http1;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};

use super::server::Server;

/// The largest cookie that the servers are set to send: bytes of name and value. Browsers keep 4096 (RFC 6265bis, section
/// 5.6).
const SIZE_LIMIT: usize = 4000;

/// The longest that a connection is kept without a request: well below the time after which a server closes it.
const IDLE: Duration = Duration::from_secs(1);

type Body = BoxBody<Bytes, std::convert::Infallible>;
type Connection = http1::SendRequest<Body>;

/// Connections to a server that wait for another request, as a browser keeps them.
#[derive(Default)]
pub(crate) struct Connections(Mutex<Vec<(Connection, Instant)>>);

impl Connections {
    /// Takes the connection that was used last, if the server has not closed it.
    fn take(&self) -> Option<Connection> {
        let mut kept = self.0.lock().unwrap();
        std::iter::from_fn(|| kept.pop())
            .find(|(connection, since)| since.elapsed() < IDLE && connection.is_ready())
            .map(|(connection, _)| connection)
    }

    async fn keep(&self, mut connection: Connection) {
        if connection.ready().await.is_ok() {
            self.0.lock().unwrap().push((connection, Instant::now()));
        }
    }
}

/// A request that is about to be sent, on a connection that no other request uses meanwhile.
#[must_use]
pub(crate) struct Outgoing<'s> {
    server: &'s Server,
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    from: Option<Ipv4Addr>,
    body: Body,
    /// Returns `true` if the server may close the connection without saying so: it need not read a body.
    has_body: bool,
}

impl<'s> Outgoing<'s> {
    pub(crate) fn new(server: &'s Server, method: &'static str, path: &str) -> Self {
        let (path, body) = (path.to_owned(), Full::default().boxed());
        Self { server, method, path, headers: Vec::new(), from: None, body, has_body: false }
    }

    /// The session cookie with this value, and nothing else.
    pub(crate) fn cookie(self, value: &str) -> Self {
        let header = format!("{}={value}", self.server.cookie_name);
        self.header("cookie", &header)
    }

    /// The bearer token with this value.
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// From this address of the loopback network.
    pub(crate) fn from(mut self, address: [u8; 4]) -> Self {
        self.from = Some(address.into());
        self
    }

    pub(crate) fn header(self, name: &'static str, value: &str) -> Self {
        self.raw_header(name, value.as_bytes())
    }

    pub(crate) fn raw_header(mut self, name: &'static str, value: &[u8]) -> Self {
        self.headers.push((name, value.to_vec()));
        self
    }

    /// A body of so many bytes, announced by Content-Length.
    pub(crate) fn body(mut self, length: usize) -> Self {
        self.body = Full::new(Bytes::from(vec![b'x'; length])).boxed();
        self.has_body = true;
        self
    }

    /// A form as browsers send it.
    pub(crate) fn form(mut self, fields: &str) -> Self {
        self.body = Full::new(Bytes::from(fields.to_owned())).boxed();
        self.header("content-type", "application/x-www-form-urlencoded")
    }

    /// A body whose length is not announced.
    pub(crate) fn chunked(mut self) -> Self {
        let frames = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"x")))]);
        self.body = StreamBody::new(frames).boxed();
        self.has_body = true;
        self
    }

    pub(crate) async fn send(self) -> Reply {
        let connections = (self.from.is_none() && !self.has_body).then_some(&self.server.connections);
        let mut connection = match connections.and_then(Connections::take) {
            Some(connection) => connection,
            None => self.connect().await.expect("the server listens"),
        };
        let reply = self.exchange(&mut connection).await.expect("the server answers");
        if let Some(connections) = connections.filter(|_| reply.headers.get("connection").is_none()) {
            connections.keep(connection).await;
        }
        reply
    }

    /// Sends it on a connection of its own. Fails if the server closes that without an answer.
    pub(crate) async fn try_send(self) -> Result<Reply, hyper::Error> {
        let mut connection = self.connect().await?;
        self.exchange(&mut connection).await
    }

    /// The response's head, with its body still to come, on a connection of its own.
    pub(crate) async fn open(self) -> Result<hyper::Response<hyper::body::Incoming>, hyper::Error> {
        let mut connection = self.connect().await?;
        connection.send_request(self.into_request()).await
    }

    async fn exchange(self, connection: &mut Connection) -> Result<Reply, hyper::Error> {
        let cookie_name = self.server.cookie_name.clone();
        let (head, body) = connection.send_request(self.into_request()).await?.into_parts();
        let body = body.collect().await?.to_bytes().to_vec();
        let reply = Reply { status: head.status.as_u16(), headers: head.headers, body, cookie_name };
        reply.check();
        Ok(reply)
    }

    async fn connect(&self) -> Result<Connection, hyper::Error> {
        let stream = match self.from {
            None => TcpStream::connect(self.server.address).await,
            Some(address) => {
                let socket = TcpSocket::new_v4().expect("a socket");
                socket.bind((address, 0).into()).expect("an address of the loopback network");
                socket.connect(self.server.address).await
            }
        };
        let stream = stream.expect("the server listens");
        let (connection, driver) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        Ok(connection)
    }

    fn into_request(self) -> Request<Body> {
        let mut request = Request::builder().method(self.method).uri(self.path).header("host", "localhost");
        for (name, value) in self.headers {
            request = request.header(name, HeaderValue::from_bytes(&value).expect("a header value"));
        }
        request.body(self.body).expect("a request")
    }
}

/// A response, whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    body: Vec<u8>,
    cookie_name: String,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// The JSON of a response that must be 200.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.headers.get_all(name).iter().map(|value| value.to_str().expect("ASCII").to_owned()).collect()
    }

    /// Our Set-Cookie, if there is one.
    pub(crate) fn set_cookie(&self) -> Option<SetCookie> {
        let mut ours: Vec<SetCookie> = self.all("set-cookie").iter().map(|line| SetCookie::parse(line)).collect();
        ours.retain(|cookie| cookie.name == self.cookie_name);
        assert!(ours.len() <= 1, "two Set-Cookies of ours: {ours:#?}");
        ours.pop()
    }

    /// The bearer token that the response brings, empty if it is to be forgotten.
    pub(crate) fn bearer(&self) -> Option<String> {
        let mut values = self.all("session-token");
        assert!(values.len() <= 1, "two tokens: {values:?}");
        values.pop()
    }

    /// The bearer token that the response brings, which it must.
    pub(crate) fn new_token(&self) -> String {
        let token = self.bearer().unwrap_or_else(|| panic!("no token: {} {}", self.status, self.text()));
        assert!(!token.is_empty(), "to be forgotten: {} {}", self.status, self.text());
        token
    }

    /// The value that the response sets, which it must.
    pub(crate) fn new_cookie(&self) -> String {
        let cookie = self.set_cookie().unwrap_or_else(|| panic!("no Set-Cookie: {} {}", self.status, self.text()));
        assert!(!cookie.is_removal(), "a removal: {} {}", self.status, self.text());
        cookie.value
    }

    #[track_caller]
    pub(crate) fn assert_no_cookie(&self) {
        assert_eq!(self.set_cookie(), None, "{} {}", self.status, self.text());
    }

    #[track_caller]
    pub(crate) fn assert_removal(&self) {
        let cookie = self.set_cookie().unwrap_or_else(|| panic!("no removal: {} {}", self.status, self.text()));
        assert!(cookie.is_removal(), "{cookie:?}");
    }

    /// `/state` of a client without a session.
    #[track_caller]
    pub(crate) fn assert_anonymous(&self) {
        let state = self.ok();
        assert_eq!((&state["data"], &state["subject"], &state["new"]), (&empty(), &Value::Null, &Value::Bool(true)));
    }

    /// Checks the rules that hold for every response, whatever the case. It runs each time.
    fn check(&self) {
        if let Some(token) = self.bearer() {
            assert_eq!(self.set_cookie(), None, "both transports in one response");
            let caching = self.all("cache-control").join(",").to_ascii_lowercase();
            assert!(caching.contains("no-store") || caching.contains("private"), "cacheable: {caching}");
            let vary = self.all("vary").join(",").to_ascii_lowercase();
            assert!(vary.contains("authorization"), "Vary: {vary}");
            assert!(token.is_empty() || !self.text().contains(&token), "the token is in the body");
        }
        let Some(cookie) = self.set_cookie() else { return };
        cookie.assert_accepted_by_browsers();
        assert!(cookie.name.len() + cookie.value.len() <= SIZE_LIMIT, "{} bytes", cookie.value.len());
        let caching = self.all("cache-control").join(",").to_ascii_lowercase();
        assert!(caching.contains("no-store") || caching.contains("private"), "cacheable: {caching}");
        assert!(self.headers.get("cdn-cache-control").is_none() && self.headers.get("surrogate-control").is_none());
        let vary = self.all("vary").join(",").to_ascii_lowercase();
        assert!(vary.split(',').any(|name| name.trim() == "cookie"), "Vary: {vary}");
        assert!(cookie.value.is_empty() || !self.text().contains(&cookie.value), "the token is in the body");
    }
}

fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}

/// One Set-Cookie, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetCookie {
    pub(crate) name: String,
    pub(crate) value: String,
    /// As they stand, sorted.
    pub(crate) attributes: Vec<String>,
}

impl SetCookie {
    pub(crate) fn parse(line: &str) -> Self {
        let mut parts = line.split("; ");
        let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).expect("name=value");
        let mut attributes: Vec<String> = parts.map(str::to_owned).collect();
        attributes.sort();
        Self { name: name.to_owned(), value: value.to_owned(), attributes }
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find_map(|attribute| {
            let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn is_removal(&self) -> bool {
        self.value.is_empty() && self.attribute("Max-Age") == Some("0")
    }

    /// The rules of RFC 6265bis, section 5.7, by which a browser drops a cookie.
    pub(crate) fn assert_accepted_by_browsers(&self) {
        let (secure, path, domain) = (self.attribute("Secure"), self.attribute("Path"), self.attribute("Domain"));
        let name = self.name.to_ascii_lowercase();
        if name.starts_with("__host-") {
            assert!(secure.is_some() && path == Some("/") && domain.is_none(), "dropped: {self:?}");
        }
        if name.starts_with("__secure-") || self.attribute("Partitioned").is_some() {
            assert!(secure.is_some(), "dropped: {self:?}");
        }
        if self.attribute("SameSite") == Some("None") {
            assert!(secure.is_some(), "dropped: {self:?}");
        }
        let mut names: Vec<_> = self.attributes.iter().filter_map(|a| a.split('=').next()).collect();
        names.dedup();
        assert_eq!(names.len(), self.attributes.len(), "an attribute stands twice: {self:?}");
    }
}

/// A client that does with the session cookie what browsers do.
#[derive(Clone)]
pub(crate) struct Browser<'s> {
    pub(crate) server: &'s Server,
    pub(crate) cookie: Option<String>,
}

impl<'s> Browser<'s> {
    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        let request = self.server.get(path);
        self.send(request).await
    }

    pub(crate) async fn post(&mut self, path: &str) -> Reply {
        let request = self.server.post(path);
        self.send(request).await
    }

    /// Sends the request with the cookie, and keeps what the response sets.
    pub(crate) async fn send(&mut self, request: Outgoing<'s>) -> Reply {
        let reply = self.carrying(request).send().await;
        self.receive(&reply);
        reply
    }

    /// Adds the cookie without sending: several such requests can be under way at once.
    pub(crate) fn carrying(&self, request: Outgoing<'s>) -> Outgoing<'s> {
        match &self.cookie {
            Some(cookie) => request.cookie(cookie),
            None => request,
        }
    }

    /// Keeps what a response sets, in the order in which responses are given to this.
    pub(crate) fn receive(&mut self, reply: &Reply) {
        if let Some(cookie) = reply.set_cookie() {
            self.cookie = if cookie.is_removal() { None } else { Some(cookie.value) };
        }
    }

    /// The cookie, which there must be.
    pub(crate) fn token(&self) -> String {
        self.cookie.clone().expect("the client has a cookie")
    }

    /// `/state`, which must be 200.
    pub(crate) async fn state(&mut self) -> Value {
        self.get("/state").await.ok()
    }

    /// The data of `/state`.
    pub(crate) async fn data(&mut self) -> Value {
        self.state().await["data"].take()
    }

    /// The public handle of the session.
    pub(crate) async fn id(&mut self) -> String {
        self.get("/extra/about").await.ok()["id"].as_str().expect("a session has a handle").to_owned()
    }
}

/// A client with an anonymous session that holds `a`.
pub(crate) async fn seeded(server: &Server) -> Browser<'_> {
    let mut browser = server.browser();
    browser.post("/set?k=a&v=1").await.new_cookie();
    browser
}

/// A client with a session of `alice` that holds `a`.
pub(crate) async fn alice(server: &Server) -> Browser<'_> {
    let mut browser = server.browser();
    browser.post("/login?user=alice").await.new_cookie();
    browser.post("/set?k=a&v=1").await.new_cookie();
    browser
}

/// Anonymous, and the browser's cookie is left alone.
#[track_caller]
pub(crate) fn assert_refused(reply: &Reply) {
    reply.assert_anonymous();
    reply.assert_no_cookie();
}

/// Runs steps of `/extra/steps`: the path for them.
pub(crate) fn steps(steps: &[&str]) -> String {
    let pairs = steps.iter().map(|step| ("do", step));
    format!("/extra/steps?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish())
}

/// Waits until so many requests are held at the server's gate.
pub(crate) async fn until_held(server: &Server, wanted: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while server.get("/extra/gate").send().await.json()["waiting"] != wanted {
        assert!(Instant::now() < deadline, "there are not {wanted} requests at the gate");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Sends all requests, holds them until every one of them is under way, does something else, and lets them go on.
///
/// Each request must name a `gate`.
pub(crate) async fn held<T>(
    server: &Server,
    requests: Vec<Outgoing<'_>>,
    meanwhile: impl Future<Output = T>,
) -> (Vec<Reply>, T) {
    let count = requests.len();
    let replies = futures_util::future::join_all(requests.into_iter().map(Outgoing::send));
    let control = async {
        until_held(server, count).await;
        let done = meanwhile.await;
        assert_eq!(server.post("/extra/gate").send().await.status, 200);
        done
    };
    futures_util::future::join(replies, control).await
}
