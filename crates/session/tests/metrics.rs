//! The metrics: those of the guide are emitted, and dashboard and alerts use them and no others.
#![cfg(feature = "metrics")]
#![allow(clippy::expect_used, clippy::unwrap_used, unreachable_pub, dead_code, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use secure_sessions::store::{AnyStore, Page, SessionId, SessionStore, Tags, Which};
use secure_sessions::{Event, MemoryStore, Metrics};
use serde_json::Value;
use support::{App, app_with};

const OPERATIONS: &str = include_str!("../src/guide/operations.md");
const RUNBOOK: &str = include_str!("../src/guide/operations/runbook.md");
const DASHBOARD: &str = include_str!("../operations/grafana-dashboard.json");
const ALERTS: &str = include_str!("../operations/prometheus-alerts.yml");

type Labels = Vec<(String, String)>;
type Emitted = BTreeMap<(&'static str, String), BTreeSet<Labels>>;

/// Writes down what is described and what is emitted.
#[derive(Clone, Default)]
struct Written {
    /// Type and unit, by name.
    described: Arc<Mutex<BTreeMap<String, (&'static str, String)>>>,
    /// The labels, by type and name.
    emitted: Arc<Mutex<Emitted>>,
    /// The increments, by event and cause.
    counted: Arc<Mutex<BTreeMap<Labels, u64>>>,
}

impl Written {
    fn describe(&self, kind: &'static str, name: &KeyName, unit: Option<Unit>) {
        let unit = unit.expect("every metric has a unit").as_str().to_owned();
        self.described.lock().unwrap().insert(name.as_str().to_owned(), (kind, unit));
    }

    fn emit(&self, kind: &'static str, key: &Key) -> Labels {
        let labels: Labels = key.labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect();
        self.emitted.lock().unwrap().entry((kind, key.name().to_owned())).or_default().insert(labels.clone());
        labels
    }
}

struct Count(Written, Labels);

impl CounterFn for Count {
    fn increment(&self, by: u64) {
        *self.0.counted.lock().unwrap().entry(self.1.clone()).or_default() += by;
    }

    fn absolute(&self, _: u64) {}
}

impl Recorder for Written {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe("counter", &name, unit);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe("gauge", &name, unit);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe("histogram", &name, unit);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels = self.emit("counter", key);
        Counter::from_arc(Arc::new(Count(self.clone(), labels)))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.emit("gauge", key);
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.emit("histogram", key);
        Histogram::noop()
    }
}

/// The rows of the guide's table: type, unit and labels by name.
fn rows() -> BTreeMap<String, (String, String, BTreeSet<String>)> {
    let table = OPERATIONS.lines().skip_while(|line| !line.starts_with("| metric |")).skip(2);
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let rows = table.take_while(|line| line.starts_with('|')).map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = quoted(cells[1]).pop_first().unwrap();
        (name, (cells[2].to_owned(), cells[3].to_owned(), quoted(cells[4])))
    });
    rows.collect()
}

/// Has every metric emitted.
async fn emit_all(app: &App) {
    let cookie = app.visit(None, |session| session.login("alice").unwrap()).await;
    // A conflict: two requests change one session.
    let (one, session) = app.request(cookie.as_deref()).await;
    session.insert("a", 1).unwrap();
    let (two, session) = app.request(cookie.as_deref()).await;
    session.insert("b", 1).unwrap();
    one.finish(200).await;
    two.finish(200).await;
    app.visit(cookie.as_deref(), |session| session.renew().unwrap()).await;
    app.manager.set_not_before(secure_sessions::Clock::now(&app.clock)).await.unwrap();
    app.manager.revoke_subject("alice").await.unwrap();
    app.manager.health().await;
    // Those that only upkeep and administration call.
    let store = app.manager.store();
    store.list(Tags::Subjects(&[]), Page::first(1)).await.unwrap();
    store.list_lifespans(Tags::Subjects(&[]), Page::first(1)).await.unwrap();
    store.count().await.unwrap();
    store.remove_all(Which::Everything, None).await.unwrap();
    store.purge_expired(secure_sessions::Clock::now(&app.clock), 1).await.unwrap();
    store.load(&SessionId::from_bytes([7; 16])).await.unwrap();
}

/// Another host's clock, far ahead, so that there is a difference to report.
struct WithAClock(AnyStore);

impl SessionStore for WithAClock {
    async fn now(&self) -> Result<Option<secure_sessions::Timestamp>, secure_sessions::StoreError> {
        Ok(Some(secure_sessions::Timestamp::from_millis(1 << 50)))
    }

    secure_sessions::store::forward_methods!(self => &self.0; insert, load, replace, renew_into, remove, list, count,
        remove_all, purge_expired, not_before, raise_not_before);
}

async fn emitted() -> Written {
    let written = Written::default();
    let _recorder = metrics::set_default_local_recorder(&written);
    emit_all(&app_with(|builder| builder.observer(Metrics::new()).vault(MemoryStore::new()))).await;
    let app = app_with(|_| {
        let store = WithAClock(AnyStore::new(MemoryStore::new()));
        secure_sessions::SessionManager::builder(secure_sessions::Keyring::generate().unwrap(), store)
            .insecure_dev()
            .observer(Metrics::new())
    });
    emit_all(&app).await;
    written.clone()
}

#[tokio::test]
async fn the_guide_lists_every_metric_with_its_type_unit_and_labels() {
    let written = emitted().await;
    let described = written.described.lock().unwrap();
    let rows = rows();
    assert_eq!(rows.keys().collect::<Vec<_>>(), described.keys().collect::<Vec<_>>());
    for (name, (kind, unit, _)) in &rows {
        assert_eq!((*kind).as_str(), described[name].0, "{name}");
        assert_eq!(*unit, described[name].1, "{name}");
    }
}

#[tokio::test]
async fn every_metric_is_emitted() {
    let written = emitted().await;
    let emitted = written.emitted.lock().unwrap();
    let rows = rows();
    let expected: Vec<_> = rows.iter().map(|(name, (kind, _, _))| (kind.as_str(), name.clone())).collect();
    let mut found: Vec<_> = emitted.keys().map(|(kind, name)| (*kind, name.clone())).collect();
    found.sort_by(|one, other| one.1.cmp(&other.1));
    assert_eq!(found, expected);
    for ((_, name), all) in &*emitted {
        for labels in all {
            let names: BTreeSet<String> = labels.iter().map(|(label, _)| label.clone()).collect();
            assert_eq!(names, rows[name].2, "{name}");
        }
    }
    // Every method of the store that waits is measured.
    let calls = &emitted[&("histogram", "secure_sessions_store_call_duration_seconds".to_owned())];
    let of = |label: &str| -> BTreeSet<&str> {
        calls.iter().flatten().filter(|(name, _)| name == label).map(|(_, value)| value.as_str()).collect()
    };
    // (`delete`, `prolong` and `purge` need private values to work on; that they are passed on is tested below.)
    let methods = [
        "count",
        "delete_all",
        "get",
        "insert",
        "list",
        "list_lifespans",
        "load",
        "not_before",
        "now",
        "purge_expired",
        "put",
        "raise_not_before",
        "remove",
        "remove_all",
        "renew_into",
        "replace",
    ];
    assert_eq!(of("operation"), methods.into());
    assert_eq!(of("outcome"), ["conflict", "ok"].into());
}

#[tokio::test]
async fn the_counters_of_alarms_begin_at_zero() {
    let written = Written::default();
    let _recorder = metrics::set_default_local_recorder(&written);
    let _ = Metrics::new();
    let counted = written.counted.lock().unwrap();
    assert!(counted.values().all(|count| *count == 0));
    let events: BTreeSet<&str> =
        counted.keys().flatten().filter(|(label, _)| label == "event").map(|(_, value)| value.as_str()).collect();
    let missing: Vec<_> = Event::NAMES.iter().filter(|name| !events.contains(**name)).collect();
    assert_eq!(missing, [&"device_endpoint_refused", &"suppressed"], "their causes are many");
    // A pair that no event has would stay at zero for ever, and hide a mistake in its spelling.
    for (event, cause) in alerted() {
        if let Some(cause) = cause {
            let pair = vec![("event".to_owned(), event.clone()), ("cause".to_owned(), cause.clone())];
            assert!(counted.contains_key(&pair), "{event} {cause}");
        }
    }
}

/// A method that the measuring store does not pass on would have its default, whatever the store can do.
#[test]
fn the_measuring_store_passes_on_every_method() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../store/src/forward.rs");
    let forwarded = std::fs::read_to_string(path).unwrap();
    let source = include_str!("../src/timed.rs");
    let untimed = source.split_once("forward_methods!(self => &self.store; ").unwrap().1;
    let untimed: Vec<&str> = untimed.split(')').next().unwrap().split(", ").collect();
    let methods: Vec<&str> = forwarded.split("(@").skip(1).map(|arm| arm.split(' ').next().unwrap()).collect();
    assert!(methods.len() > 12, "{methods:?}");
    for method in methods {
        let timed = source.contains(&format!("async fn {method}("));
        assert!(timed || untimed.contains(&method), "{method} is not passed on");
    }
}

/// The words of a text that begin so.
fn words<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(start).map(move |(at, _)| {
        let rest = &text[at..];
        let end = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

/// The metrics that a text of queries names, without the suffixes of a histogram's series.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let rows = rows();
    let name = |word: &str| {
        let bare = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| word.strip_suffix(suffix));
        let histogram = bare.filter(|bare| rows.get(*bare).is_some_and(|row| row.0 == "histogram"));
        histogram.unwrap_or(word).to_owned()
    };
    words(text, "secure_sessions_").map(name).collect()
}

/// The values that queries compare a label with.
fn values(text: &str, label: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for operator in ["=", "!=", "=~", "!~"] {
        for (at, start) in text.match_indices(&format!("{label}{operator}\"")) {
            let rest = &text[at + start.len()..];
            let value = &rest[..rest.find('"').unwrap()];
            found.extend(value.split('|').map(str::to_owned));
        }
    }
    found
}

fn check_labels(queries: &str) {
    for event in values(queries, "event") {
        assert!(Event::NAMES.contains(&event.as_str()), "no event is called {event}");
    }
    for outcome in values(queries, "outcome") {
        assert!(OPERATIONS.contains(&format!("`{outcome}`")), "{outcome}");
    }
    let source = include_str!("../src/timed.rs");
    for operation in values(queries, "operation") {
        assert!(source.contains(&format!("async fn {operation}(")), "the store has no method {operation}");
    }
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut queries = String::new();
    for panel in panels {
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{}", panel["title"]);
        for target in panel["targets"].as_array().unwrap() {
            queries += target["expr"].as_str().unwrap();
            queries.push('\n');
        }
    }
    assert_eq!(metrics_in(&queries), rows().into_keys().collect());
    check_labels(&queries);
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
}

/// The events, and their causes if they are named, that alerts look at.
fn alerted() -> Vec<(String, Option<String>)> {
    let selectors = ALERTS.split("secure_sessions_events_total{").skip(1);
    let selectors = selectors.map(|rest| &rest[..rest.find('}').unwrap()]);
    selectors.map(|text| (values(text, "event").pop_first().unwrap(), values(text, "cause").pop_first())).collect()
}

#[test]
fn the_alerts_use_metrics_events_and_chapters_that_exist() {
    // Without the comments and the names of alerts, which have no underscore.
    let known: BTreeSet<String> = rows().into_keys().collect();
    let used = metrics_in(ALERTS);
    assert!(used.is_subset(&known), "{used:?}");
    check_labels(ALERTS);
    let field = |name: &str| -> Vec<String> {
        let start = format!("{name}: ");
        ALERTS
            .lines()
            .filter_map(|line| line.trim_start_matches(['-', ' ']).strip_prefix(&start))
            .map(str::to_owned)
            .collect()
    };
    let (alerts, chapters) = (field("alert"), field("runbook"));
    assert_eq!(alerts.len(), chapters.len(), "every alert names its chapter");
    for (alert, chapter) in alerts.iter().zip(&chapters) {
        let text = RUNBOOK.split_once(&format!("\n## {chapter}\n"));
        let (_, text) = text.unwrap_or_else(|| panic!("{alert}: the runbook has no chapter {chapter}"));
        let text = text.split("\n## ").next().unwrap();
        assert!(text.contains(&format!("`{alert}`")), "the chapter {chapter} does not name its alert {alert}");
    }
    // And the runbook names no alert that does not exist.
    for alert in words(RUNBOOK, "SecureSessions") {
        assert!(alerts.iter().any(|known| known == alert), "{alert}");
    }
}
