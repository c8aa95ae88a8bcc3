//! A demo of its own for each test, and a client that keeps cookies as a browser does.

#![allow(dead_code, reason = "each test file uses what it needs")]

use std::net::SocketAddr;

use browser::Front;
use demo::config::Config;
use demo::server::Server;
use reqwest::header::{CONTENT_TYPE, COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Client, Method, Url};
use secure_sessions_axum::ManualClock;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running demo.
pub(crate) struct Demo {
    pub(crate) address: SocketAddr,
    /// The origin under which a browser finds it.
    pub(crate) origin: String,
    /// The arguments with which Chromium trusts it, if it is served over https.
    pub(crate) arguments: Option<[String; 2]>,
    pub(crate) metrics: SocketAddr,
    directory: TempDir,
    shutdown: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Demo {
    pub(crate) async fn start() -> Self {
        Self::start_in(TempDir::new().expect("a directory"), None).await
    }

    /// Over https, with sessions that go by this clock.
    pub(crate) async fn over_https(clock: ManualClock) -> Self {
        Self::start_in(TempDir::new().expect("a directory"), Some(clock)).await
    }

    async fn start_in(directory: TempDir, clock: Option<ManualClock>) -> Self {
        let database = directory.path().join("demo.sqlite");
        let config = Config { port: 0, database, https: clock.is_some(), clock, metrics_port: Some(0) };
        let server = Server::start(&config).await.expect("a server");
        let address = server.address().expect("its address");
        let origin = server.origin().expect("its address");
        let arguments = server.front().map(Front::chromium_arguments);
        let metrics = server.metrics_address().expect("its address").expect("metrics");
        let (shutdown, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.serve(async {
            stopped.await.ok();
        }));
        Self { address, origin, arguments, metrics, directory, shutdown, serving }
    }

    /// Ends, and starts again on the same files.
    pub(crate) async fn restart(self) -> Self {
        self.shutdown.send(()).expect("still running");
        self.serving.await.expect("no panic").expect("no error");
        Self::start_in(self.directory, None).await
    }

    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    pub(crate) fn browser(&self) -> Browser {
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            // A kept connection would hold up the shutdown.
            .pool_max_idle_per_host(0)
            .build()
            .expect("a client");
        Browser { client, base: format!("http://{}", self.address), cookie: None }
    }
}

/// The lines of an answer, as they come.
pub(crate) struct Lines {
    answer: reqwest::Response,
    text: String,
}

impl Lines {
    /// The next line that begins so; `None` at the end.
    pub(crate) async fn next_line_with(&mut self, start: &str) -> Option<String> {
        loop {
            while let Some((line, rest)) = self.text.split_once('\n') {
                let (line, rest) = (line.to_owned(), rest.to_owned());
                self.text = rest;
                if line.starts_with(start) {
                    return Some(line);
                }
            }
            let more = self.answer.chunk().await.expect("no error")?;
            self.text.push_str(&String::from_utf8_lossy(&more));
        }
    }
}

/// One visitor's browser, as far as sessions go. A clone is a second tab that has not seen what the first one got.
#[derive(Clone)]
pub(crate) struct Browser {
    client: Client,
    base: String,
    pub(crate) cookie: Option<String>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The session's token, from the last form of the page.
    pub(crate) fn csrf(&self) -> String {
        let (_, after) = self.text.rsplit_once("name=\"csrf\" value=\"").expect("a form");
        after.split('"').next().expect("a token").to_owned()
    }
}

impl Browser {
    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, None, &[]).await
    }

    /// Posts a form without following the answer.
    pub(crate) async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.post_with(path, form, &[]).await
    }

    pub(crate) async fn post_with(&mut self, path: &str, form: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let url = Url::parse_with_params(&self.base, form).expect("a form");
        let body = url.query().unwrap_or_default().to_owned();
        self.send(Method::POST, path, Some(body), headers).await
    }

    /// Opens a page, and posts a form with its token; follows the redirect.
    pub(crate) async fn submit(&mut self, page: &str, path: &str, form: &[(&str, &str)]) -> Answer {
        let csrf = self.get(page).await.csrf();
        let form: Vec<_> = [("csrf", csrf.as_str())].into_iter().chain(form.iter().copied()).collect();
        let answer = self.post(path, &form).await;
        match answer.headers.get(LOCATION).map(|to| to.to_str().expect("a path").to_owned()) {
            Some(to) => self.get(&to).await,
            None => answer,
        }
    }

    pub(crate) async fn log_in(&mut self, user: &str, password: &str) -> Answer {
        self.submit("/login", "/login", &[("user", user), ("password", password)]).await
    }

    /// The same visitor at another address.
    pub(crate) fn moved_to(&self, demo: &Demo) -> Self {
        Self { base: format!("http://{}", demo.address), ..self.clone() }
    }

    /// Opens a page that goes on for as long as the server likes.
    pub(crate) async fn stream(&self, path: &str) -> Lines {
        let cookie = format!("demo={}", self.cookie.as_deref().expect("a cookie"));
        let answer = self.client.get(format!("{}{path}", self.base)).header(COOKIE, cookie).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200);
        Lines { answer, text: String::new() }
    }

    async fn send(&mut self, method: Method, path: &str, body: Option<String>, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, format!("demo={cookie}"));
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        for set_cookie in headers.get_all(SET_COOKIE) {
            let set_cookie = set_cookie.to_str().expect("text");
            let value = set_cookie.split(';').next().and_then(|pair| pair.strip_prefix("demo=")).expect("our cookie");
            self.cookie = Some(value.to_owned()).filter(|value| !value.is_empty());
        }
        Answer { status, headers, text: answer.text().await.expect("a text") }
    }
}
