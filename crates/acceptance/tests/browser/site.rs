//! An acceptance server behind HTTPS, and a browser that visits it.

use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use browser::{Chromium, Cookie, Event, Front, Installed, Page, installed};
use serde_json::Value;

use crate::support::{Server, Store, Subject};

/// The site with the sessions.
const APP: &str = "app.test";
/// Another site: the same server, under a name that brings no session.
const ELSEWHERE: &str = "elsewhere.test";

const SESSION: &str = "__Host-session";
const TICKET: &str = "__Host-session-device";

/// Longer than any test takes on a busy machine: one that hangs fails instead.
const DEADLINE: Duration = Duration::from_secs(180);

/// A server, and a browser on a page of its site.
pub(crate) struct Site {
    pub(crate) server: Server,
    pub(crate) browser: Browser,
    front: Front,
    program: Installed,
}

/// A browser with a profile of its own, on a page of the site.
pub(crate) struct Browser {
    pub(crate) page: Page,
    chromium: Chromium,
    app: String,
}

/// Runs a test with a server, a browser and a profile of its own. Without Chromium the test is skipped, but in CI.
pub(crate) fn in_browser<F: Future<Output = ()>>(binary: &'static str, test: impl FnOnce(Site) -> F) {
    let Some(program) = installed() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let case = async {
        // A persistent cookie survives the end of the browser.
        let variables = [("COOKIE_DEFAULTS", "1"), ("DEVICE", "offer"), ("PERSISTENT", "1")];
        let server = Subject { binary, store: Store::Memory }.start_with(&variables).await;
        let front = Front::start(0, server.address).await.expect("a free port");
        let browser =
            Browser::on(Chromium::start(&program, &front.chromium_arguments()).await, front.origin(APP)).await;
        test(Site { server, browser, front, program }).await;
    };
    let ended = runtime.block_on(async { tokio::time::timeout(DEADLINE, case).await });
    assert!(ended.is_ok(), "the test did not end within {DEADLINE:?}");
}

impl Site {
    /// Returns the address of a page of another site.
    pub(crate) fn elsewhere(&self) -> String {
        format!("{}/metrics", self.front.origin(ELSEWHERE))
    }

    /// Starts a browser with another profile, as on another machine.
    pub(crate) async fn other_profile(&self) -> Browser {
        Browser::on(Chromium::start(&self.program, &self.front.chromium_arguments()).await, self.front.origin(APP))
            .await
    }

    /// Ends the browser, and starts it again with the same profile.
    pub(crate) async fn restarted(self) -> Self {
        let Browser { chromium, app, .. } = self.browser;
        Self { browser: Browser::on(chromium.restart().await, app).await, ..self }
    }
}

impl Browser {
    async fn on(chromium: Chromium, app: String) -> Self {
        let page = chromium.page().await;
        // A page without a session.
        page.visit(&format!("{app}/metrics")).await;
        Self { page, chromium, app }
    }

    /// Returns the address of a path of the site.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.app)
    }

    /// Posts from a script of the page, and returns the status.
    pub(crate) async fn post(&self, path: &str) -> Value {
        self.page.run(&format!("fetch('{path}', {{ method: 'POST' }}).then(answer => answer.status)")).await
    }

    /// Asks for the session's state from a script of the page.
    pub(crate) async fn state(&self) -> Value {
        self.page.run("fetch('/state').then(answer => answer.json())").await
    }

    /// Returns the session's user; null if the request was anonymous.
    pub(crate) async fn user(&self) -> Value {
        self.state().await["subject"].take()
    }

    /// Logs in from a script of the page, and waits until the browser has registered a key.
    pub(crate) async fn log_in(&self, user: &str) {
        let from = self.page.now();
        assert_eq!(self.post(&format!("/login?user={user}")).await, 200);
        self.registered(from).await;
    }

    /// Waits until the browser has registered a key.
    pub(crate) async fn registered(&self, from: usize) {
        let created = |event: &Event| details(event, "creationEventDetails");
        let created = self.page.wait(from, "a registration", created).await;
        assert_eq!(created["fetchResult"], "Success", "{created}");
    }

    /// Waits until the browser has renewed its ticket, or failed to, and returns what it says of that.
    pub(crate) async fn refreshed(&self, from: usize) -> Value {
        self.page.wait(from, "a refresh", |event| details(event, "refreshEventDetails")).await
    }

    /// Returns what the browser said of each refresh.
    pub(crate) fn refreshes(&self, from: usize) -> Vec<Value> {
        self.page.events(from).iter().filter_map(|event| details(event, "refreshEventDetails")).collect()
    }

    pub(crate) async fn ticket(&self) -> Option<Cookie> {
        self.page.cookie(&self.app, TICKET).await
    }

    pub(crate) async fn session_cookie(&self) -> Option<Cookie> {
        self.page.cookie(&self.app, SESSION).await
    }

    /// Returns all cookies of the site.
    pub(crate) async fn cookies(&self) -> Vec<Cookie> {
        self.page.cookies(&self.app).await
    }

    /// Puts cookies of another browser into this one.
    pub(crate) async fn take(&self, cookies: &[Cookie]) {
        for cookie in cookies {
            self.page.set_cookie(&self.app, cookie).await;
        }
    }

    /// Removes the ticket, as the browser does when it ends.
    pub(crate) async fn lose_ticket(&self) {
        self.page.delete_cookie(&self.app, TICKET).await;
    }

    /// Lets the ticket end in 100 seconds.
    pub(crate) async fn age_ticket(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let ticket = self.ticket().await.expect("a ticket").expires(now + 100.0);
        self.page.set_cookie(&self.app, &ticket).await;
    }

    /// Returns how many sessions the browser holds a key for, by what it tells a new page.
    pub(crate) async fn bound_sessions(&self) -> usize {
        let page = self.chromium.page().await;
        let added = |event: &Event| {
            (event.method == "Network.deviceBoundSessionsAdded").then(|| event.params["sessions"].clone())
        };
        page.wait(0, "its sessions", added).await.as_array().map_or(0, Vec::len)
    }
}

/// Returns the part of the browser's report on a device-bound session that has this name, if it has.
fn details(event: &Event, name: &str) -> Option<Value> {
    let is_report = event.method == "Network.deviceBoundSessionEventOccurred";
    event.params.get(name).filter(|_| is_report).cloned()
}
