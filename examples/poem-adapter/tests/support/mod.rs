//! A site on a socket, what it answers, and a store that a test switches off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use poem::http::StatusCode;
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::{Endpoint, EndpointExt, Server};
use poem_adapter::SessionMiddleware;
use reqwest::header::{COOKIE, HeaderMap, SET_COOKIE};
use secure_sessions::store::{SessionStore, StoreError};
use secure_sessions::{MemoryStore, SessionManager};
use tokio::task::JoinHandle;

/// Serves until it is dropped.
pub(crate) struct Site {
    base: String,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Site {
    pub(crate) async fn serve(manager: &SessionManager, routes: impl Endpoint + 'static) -> Self {
        let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await.unwrap();
        let base = format!("http://{}", acceptor.local_addr()[0].as_socket_addr().unwrap());
        let app = routes.with(SessionMiddleware::new(manager.clone()));
        Self { base, serving: tokio::spawn(Server::new_with_acceptor(acceptor).run(app)) }
    }

    pub(crate) async fn get(&self, path: &str, cookie: &str) -> Answer {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.get(format!("{}{path}", self.base)).header(COOKIE, cookie);
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, body: response.text().await.unwrap() }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// `name=value` of each `Set-Cookie`.
    pub(crate) fn cookies(&self) -> Vec<&str> {
        let values = self.headers.get_all(SET_COOKIE).iter();
        values.map(|value| value.to_str().unwrap().split(';').next().unwrap()).collect()
    }

    /// The only cookie that was set.
    pub(crate) fn cookie(&self) -> &str {
        let cookies = self.cookies();
        assert_eq!(cookies.len(), 1, "{cookies:?}");
        cookies[0]
    }
}

/// A store in memory whose loads fail once it is switched off.
#[derive(Clone, Default)]
pub(crate) struct StoreWithASwitch {
    memory: MemoryStore,
    off: Arc<AtomicBool>,
}

impl StoreWithASwitch {
    pub(crate) fn switch_off(&self) {
        self.off.store(true, Ordering::SeqCst);
    }

    fn memory(&self) -> Result<&MemoryStore, StoreError> {
        if self.off.load(Ordering::SeqCst) { Err(StoreError::unavailable("switched off")) } else { Ok(&self.memory) }
    }
}

impl SessionStore for StoreWithASwitch {
    secure_sessions::store::forward_methods!(self => self.memory()?;
        insert, load, replace, renew_into, remove, list, count, remove_all, purge_expired);
}
