//! The DevTools protocol over a pair of pipes: messages of JSON, each ended by a zero byte.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// The longest that an answer or an event is waited for, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A message that the browser sent by itself.
#[derive(Debug, Clone)]
pub struct Event {
    /// The event's name in the protocol, such as `Network.responseReceived`.
    pub method: String,
    /// The event's fields.
    pub params: Value,
    /// The tab that it came from; `None` if it is the browser's own.
    session: Option<String>,
}

/// Both ends of the protocol. Clones share them.
#[derive(Clone)]
pub(crate) struct Pipe(Arc<Shared>);

struct Shared {
    requests: tokio::sync::Mutex<ChildStdin>,
    next_id: AtomicU64,
    /// The calls whose answer has not come yet, by id.
    waiting: Mutex<HashMap<u64, oneshot::Sender<Value>>>,
    /// Every event so far, in order.
    events: watch::Sender<Vec<Event>>,
}

impl Pipe {
    pub(crate) fn new(requests: ChildStdin, answers: ChildStdout) -> Self {
        let pipe = Self(Arc::new(Shared {
            requests: tokio::sync::Mutex::new(requests),
            next_id: AtomicU64::new(1),
            waiting: Mutex::default(),
            events: watch::Sender::default(),
        }));
        tokio::spawn(pipe.clone().read(answers));
        pipe
    }

    /// Hands every message to the call or the events that it belongs to, until the browser ends.
    async fn read(self, answers: ChildStdout) {
        let mut answers = BufReader::new(answers);
        let mut message = Vec::new();
        while let Ok(1..) = answers.read_until(0, &mut message).await {
            message.pop();
            let mut value: Value = serde_json::from_slice(&message).expect("Chromium writes JSON");
            message.clear();
            match value["id"].as_u64() {
                Some(id) => {
                    if let Some(call) = self.waiting().remove(&id) {
                        // The caller may have given up.
                        let _ = call.send(value);
                    }
                }
                None => self.0.events.send_modify(|events| {
                    events.push(Event {
                        method: value["method"].as_str().unwrap_or_default().to_owned(),
                        session: value["sessionId"].as_str().map(str::to_owned),
                        params: value["params"].take(),
                    });
                }),
            }
        }
        // Calls that still wait learn at once that no answer will come.
        self.waiting().clear();
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Value>>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls a method and returns its result, or the protocol's error message.
    pub(crate) async fn try_call(&self, tab: Option<&str>, method: &str, params: Value) -> Result<Value, String> {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let mut request = json!({ "id": id, "method": method, "params": params });
        if let Some(tab) = tab {
            request["sessionId"] = json!(tab);
        }
        let (sender, answer) = oneshot::channel();
        self.waiting().insert(id, sender);
        let message = format!("{request}\0");
        let written = self.0.requests.lock().await.write_all(message.as_bytes()).await;
        written.map_err(|error| format!("Chromium has ended: {error}"))?;
        let mut answer = match timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => return Err("Chromium has ended".to_owned()),
            Err(_) => return Err(format!("no answer within {PATIENCE:?}")),
        };
        match answer["error"]["message"].as_str() {
            Some(message) => Err(message.to_owned()),
            None => Ok(answer["result"].take()),
        }
    }

    pub(crate) async fn call(&self, tab: Option<&str>, method: &str, params: Value) -> Value {
        self.try_call(tab, method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Returns how many events there have been, of all tabs: a place from which to look for later ones.
    pub(crate) fn now(&self) -> usize {
        self.0.events.borrow().len()
    }

    /// Returns the events of a tab from a place on.
    pub(crate) fn events(&self, tab: &str, from: usize) -> Vec<Event> {
        let events = self.0.events.borrow();
        events.iter().skip(from).filter(|event| event.session.as_deref() == Some(tab)).cloned().collect()
    }

    /// Waits until an event of the tab, from a place on, is one that the test looks for.
    pub(crate) async fn wait<T>(&self, tab: &str, from: usize, pick: impl Fn(&Event) -> Option<T>) -> Option<T> {
        let mut receiver = self.0.events.subscribe();
        let mut at = from;
        let search = async {
            loop {
                {
                    let events = receiver.borrow_and_update();
                    let of_tab = events.iter().skip(at).filter(|event| event.session.as_deref() == Some(tab));
                    if let Some(found) = of_tab.into_iter().find_map(&pick) {
                        return Some(found);
                    }
                    at = events.len();
                }
                receiver.changed().await.ok()?;
            }
        };
        timeout(PATIENCE, search).await.ok().flatten()
    }
}
