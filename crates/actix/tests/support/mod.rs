//! Requests, managers, a store that a test stops, and a server on a socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::http::header::{self, HeaderMap};
use actix_web::test::TestRequest;
use actix_web::web::ServiceConfig;
use actix_web::{App, HttpServer};
use secure_sessions_actix::store::{Bucket, Entry, SessionId, SessionStore, StoreError};
use secure_sessions_actix::{Keyring, MemoryStore, SessionManager, SessionMiddleware};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

pub(crate) fn manager_named(name: &str, store: impl SessionStore) -> SessionManager {
    SessionManager::builder(Keyring::generate().unwrap(), store).insecure_dev().cookie_name(name).build().unwrap()
}

pub(crate) fn manager() -> SessionManager {
    manager_named("session", MemoryStore::new())
}

pub(crate) fn request(path: &str, cookie: Option<&str>) -> TestRequest {
    let request = TestRequest::with_uri(path);
    match cookie {
        Some(cookie) => request.insert_header((header::COOKIE, cookie)),
        None => request,
    }
}

/// `name=value` of each `Set-Cookie`.
pub(crate) fn cookies(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::SET_COOKIE);
    values.map(|value| value.to_str().unwrap().split(';').next().unwrap().to_owned()).collect()
}

/// The whole answer to one request over a socket, as it is sent.
pub(crate) async fn raw(routes: fn(&mut ServiceConfig), path: &str) -> String {
    let manager = manager();
    let app = move || App::new().configure(routes).wrap(SessionMiddleware::new(manager.clone()));
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).unwrap().run();
    let handle = server.handle();
    let serving = actix_web::rt::spawn(server);
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    handle.stop(false).await;
    serving.await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

/// A store in memory that can be down, or hold inserts back.
#[derive(Clone, Default)]
pub(crate) struct ControlledStore(Arc<Controlled>);

#[derive(Default)]
struct Controlled {
    inner: MemoryStore,
    down: AtomicBool,
    closed: AtomicBool,
    waiting: Notify,
    opened: Notify,
    inserted: Notify,
}

impl ControlledStore {
    /// From now on every load fails.
    pub(crate) fn set_down(&self) {
        self.0.down.store(true, Ordering::SeqCst);
    }

    /// From now on inserts wait.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
    }

    /// Lets the insert that waits go on.
    pub(crate) fn open(&self) {
        self.0.opened.notify_one();
    }

    /// Returns when an insert waits.
    pub(crate) async fn waiting(&self) {
        self.0.waiting.notified().await;
    }

    /// Returns when an insert has been done.
    pub(crate) async fn inserted(&self) {
        self.0.inserted.notified().await;
    }
}

impl SessionStore for ControlledStore {
    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        if self.0.closed.load(Ordering::SeqCst) {
            self.0.waiting.notify_one();
            self.0.opened.notified().await;
        }
        self.0.inner.insert(bucket).await?;
        self.0.inserted.notify_one();
        Ok(())
    }

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        if self.0.down.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("switched off"));
        }
        self.0.inner.load(id).await
    }

    secure_sessions_actix::store::forward_methods!(self => &self.0.inner;
        replace, renew_into, remove, list, count, remove_all, purge_expired);
}
