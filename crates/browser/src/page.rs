//! A tab: where it goes, what its scripts see, and what the browser reports of it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::pipe::{Event, PATIENCE, Pipe};

/// A tab of a [`Chromium`](crate::Chromium).
pub struct Page {
    pipe: Pipe,
    session: String,
}

/// A cookie of the browser's jar, as the protocol writes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Cookie(pub Value);

impl Cookie {
    /// Returns the cookie's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0["name"].as_str().unwrap_or_default()
    }

    /// Returns the cookie's value.
    #[must_use]
    pub fn value(&self) -> &str {
        self.0["value"].as_str().unwrap_or_default()
    }

    /// Changes when the cookie ends, in seconds since 1970.
    #[must_use]
    pub fn expires(mut self, at: f64) -> Self {
        self.0["expires"] = json!(at);
        self
    }
}

impl Page {
    pub(crate) async fn open(pipe: Pipe) -> Self {
        let target = pipe.call(None, "Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = pipe.call(None, "Target.attachToTarget", attach).await;
        let session = attached["sessionId"].as_str().expect("a session of the protocol").to_owned();
        let page = Self { pipe, session };
        for domain in ["Network", "Page", "Runtime"] {
            page.call(&format!("{domain}.enable"), json!({})).await;
        }
        page.call("Network.enableDeviceBoundSessions", json!({ "enable": true })).await;
        page
    }

    /// Calls a method of the protocol for this tab.
    pub async fn call(&self, method: &str, params: Value) -> Value {
        self.pipe.call(Some(&self.session), method, params).await
    }

    /// Goes to an address as if the user had typed it, and waits until the page is there.
    pub async fn visit(&self, url: &str) {
        self.leaving(async {
            let outcome = self.call("Page.navigate", json!({ "url": url })).await;
            assert_eq!(outcome["errorText"].as_str(), None, "{url}");
        })
        .await;
    }

    /// Runs a script that leads to another page, and waits until that is there.
    pub async fn follow(&self, script: &str) {
        self.leaving(async {
            self.run(script).await;
        })
        .await;
    }

    async fn leaving(&self, start: impl Future<Output = ()>) {
        let from = self.now();
        start.await;
        self.wait(from, "a page", |event| (event.method == "Page.loadEventFired").then_some(())).await;
    }

    /// Runs a script, waits for what it promises, and returns its value.
    pub async fn run(&self, script: &str) -> Value {
        let params = json!({
            "expression": script, "awaitPromise": true, "returnByValue": true, "userGesture": true,
        });
        let mut outcome = self.call("Runtime.evaluate", params).await;
        let failure = &outcome["exceptionDetails"];
        assert!(failure.is_null(), "{script}: {failure}");
        outcome["result"]["value"].take()
    }

    /// Returns the text of the page.
    pub async fn text(&self) -> String {
        self.run("document.body.innerText").await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a script returns `true`.
    pub async fn until(&self, script: &str) {
        let end = Instant::now() + PATIENCE;
        while self.run(script).await != json!(true) {
            assert!(Instant::now() < end, "{script} is not true after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the cookies that the browser would send to an address.
    pub async fn cookies(&self, url: &str) -> Vec<Cookie> {
        let mut answer = self.call("Network.getCookies", json!({ "urls": [url] })).await;
        match answer["cookies"].take() {
            Value::Array(cookies) => cookies.into_iter().map(Cookie).collect(),
            other => panic!("no list of cookies: {other}"),
        }
    }

    /// Returns the cookie with a name that the browser would send to an address.
    pub async fn cookie(&self, url: &str, name: &str) -> Option<Cookie> {
        self.cookies(url).await.into_iter().find(|cookie| cookie.name() == name)
    }

    /// Puts a cookie into the jar, as it was read from this or another browser's.
    pub async fn set_cookie(&self, url: &str, cookie: &Cookie) {
        let mut params = cookie.0.clone();
        params["url"] = json!(url);
        // A cookie with the prefix `__Host-` must not name a domain.
        if let Some(fields) = params.as_object_mut() {
            fields.remove("domain");
            if fields.get("session") == Some(&json!(true)) {
                fields.remove("expires");
            }
        }
        let outcome = self.call("Network.setCookie", params).await;
        assert_eq!(outcome["success"], json!(true), "{cookie:?}");
    }

    /// Removes a cookie from the jar.
    pub async fn delete_cookie(&self, url: &str, name: &str) {
        self.call("Network.deleteCookies", json!({ "url": url, "name": name })).await;
    }

    /// Returns a place in the browser's events, from which later ones can be looked for.
    #[must_use]
    pub fn now(&self) -> usize {
        self.pipe.now()
    }

    /// Returns this tab's events from a place on.
    #[must_use]
    pub fn events(&self, from: usize) -> Vec<Event> {
        self.pipe.events(&self.session, from)
    }

    /// Waits for the first event from a place on that `pick` accepts. Panics with what was missing.
    pub async fn wait<T>(&self, from: usize, what: &str, pick: impl Fn(&Event) -> Option<T>) -> T {
        self.pipe.wait(&self.session, from, pick).await.unwrap_or_else(|| {
            let seen: Vec<String> = self.events(from).into_iter().map(|event| event.method).collect();
            panic!("the browser did not report {what} within {PATIENCE:?}, only {seen:?}")
        })
    }
}
