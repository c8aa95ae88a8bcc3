//! The demo over plain HTTP.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::time::Duration;

use common::{Answer, Browser, Demo};

const ALICE: (&str, &str) = ("alice", "looking-glass");
const BOB: (&str, &str) = ("bob", "hard-hat");

fn is_logged_in_as(page: &str, name: &str) -> bool {
    page.contains(&format!("id=\"user\">{name}<"))
}

async fn add(browser: &mut Browser, product: &str) -> String {
    browser.submit("/cart", "/cart/add", &[("id", product)]).await.text
}

fn quantity(page: &str, product: &str) -> Option<u32> {
    let (_, line) = page.split_once(&format!("data-product=\"{product}\""))?;
    let (_, after) = line.split_once("aria-label=\"Quantity\">")?;
    after.split('<').next()?.parse().ok()
}

#[tokio::test]
async fn a_visit_that_stores_nothing_sets_no_cookie_and_writes_no_row() {
    let demo = Demo::start().await;
    let mut browser = demo.browser();
    let home = browser.get("/").await;
    assert_eq!(home.status, 200);
    assert!(home.headers.get("set-cookie").is_none());
    assert!(home.text.contains("No cookie.") && home.text.contains("No row."), "{}", home.text);
}

/// Asks the probe until it is not told to come back: a busy machine may take longer than the time for one check.
async fn ready(browser: &mut Browser) -> Answer {
    for _ in 0..60 {
        let answer = browser.get("/healthz").await;
        if answer.status != 503 {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(1_000)).await;
    }
    panic!("the store works, and the probe does not say so");
}

#[tokio::test]
async fn the_probe_of_a_load_balancer_says_ready_and_no_more() {
    let demo = Demo::start().await;
    let answer = ready(&mut demo.browser()).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "ready\n"));
    assert!(answer.headers.get("set-cookie").is_none());
}

#[tokio::test]
async fn prometheus_finds_the_metrics_with_their_buckets_on_a_port_of_their_own() {
    let demo = Demo::start().await;
    let mut browser = demo.browser();
    browser.log_in(ALICE.0, ALICE.1).await;
    ready(&mut browser).await;
    let url = format!("http://{}/metrics", demo.metrics);
    let text = reqwest::get(url).await.expect("an answer").text().await.expect("text");
    for line in [
        "# TYPE secure_sessions_events_total counter",
        "secure_sessions_events_total{event=\"forged\",cause=\"\"} 0",
        "# TYPE secure_sessions_store_call_duration_seconds histogram",
        "secure_sessions_store_call_duration_seconds_bucket{operation=\"insert\",outcome=\"ok\",le=\"0.001\"}",
        "# TYPE secure_sessions_commit_tries histogram",
        "secure_sessions_commit_tries_bucket{le=\"1\"}",
        "secure_sessions_healthy{check=\"write\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
    assert_eq!(browser.get("/metrics").await.status, 404, "strangers do not reach them");
}

#[tokio::test]
async fn every_page_forbids_what_is_not_from_here_and_needs_no_inline_code() {
    let demo = Demo::start().await;
    let mut browser = demo.browser();
    browser.log_in(ALICE.0, ALICE.1).await;
    for path in ["/", "/login", "/cart", "/preferences", "/device", "/device/thief", "/lab", "/lab/forge", "/nowhere"] {
        let page = browser.get(path).await;
        let policy = page.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
        for inline in ["<script>", "<style", " style=\"", " onclick=", "http://", "src=\"https"] {
            assert!(!page.text.contains(inline), "{path} holds {inline}");
        }
    }
}

#[tokio::test]
async fn login_renews_the_session_and_a_wrong_password_does_not() {
    let demo = Demo::start().await;
    let mut browser = demo.browser();
    let wrong = browser.log_in("alice", "hard-hat").await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.text.contains("Wrong name or password."));
    let mut before = browser.clone();

    let home = browser.log_in(ALICE.0, ALICE.1).await;
    assert!(is_logged_in_as(&home.text, "Alice Moreau"), "{}", home.text);
    assert!(home.text.contains(">renewed<"), "the event is on the page");
    assert_ne!(browser.cookie, before.cookie);
    let refused = before.get("/").await;
    assert!(!refused.text.contains("id=\"user\"") && refused.text.contains("A cookie that was refused"));
}

#[tokio::test]
async fn a_form_without_the_sessions_token_or_from_another_site_does_nothing() {
    let demo = Demo::start().await;
    let mut browser = demo.browser();
    let csrf = browser.get("/cart").await.csrf();
    let foreign = demo.browser().get("/cart").await.csrf();
    for token in ["", "nonsense", foreign.as_str()] {
        let refused = browser.post("/cart/add", &[("csrf", token), ("id", "mug")]).await;
        assert_eq!(refused.status, 403, "{token}");
        assert!(refused.text.contains("This form is out of date"));
    }
    let form = [("csrf", csrf.as_str()), ("id", "mug")];
    let cross_site = browser.post_with("/cart/add", &form, &[("sec-fetch-site", "cross-site")]).await;
    assert_eq!(cross_site.status, 403);
    assert_eq!(quantity(&browser.get("/cart").await.text, "mug"), None);
    assert_eq!(browser.post_with("/cart/add", &form, &[("sec-fetch-site", "same-origin")]).await.status, 303);
    assert_eq!(quantity(&browser.get("/cart").await.text, "mug"), Some(1));
}

#[tokio::test]
async fn the_cart_comes_along_at_login_with_its_bytes_shown() {
    let demo = Demo::start().await;
    let mut browser = demo.browser();
    add(&mut browser, "mug").await;
    add(&mut browser, "mug").await;
    browser.log_in(ALICE.0, ALICE.1).await;
    let cart = browser.submit("/cart", "/cart/set", &[("id", "mug"), ("quantity", "5")]).await.text;
    assert_eq!(quantity(&cart, "mug"), Some(5));
    assert!(cart.contains("id=\"total\">€105.00<"), "{cart}");
    // "cart" and {"mug": 5} in CBOR.
    assert!(cart.contains("<code>cart</code></th><td class=\"number\">11<"), "{cart}");
    let size = browser.cookie.as_deref().expect("a cookie").len() + "demo".len();
    assert!(cart.contains(&format!("id=\"cookie-size\">{size}<")), "{size}: {cart}");

    let cart = browser.submit("/cart", "/cart/set", &[("id", "mug"), ("quantity", "0")]).await.text;
    assert_eq!(quantity(&cart, "mug"), None);
}

#[tokio::test]
async fn two_tabs_that_start_from_one_cookie_lose_nothing() {
    let demo = Demo::start().await;
    let mut first = demo.browser();
    let csrf = first.get("/cart").await.csrf();
    let mut second = first.clone();
    let lamp = [("csrf", csrf.as_str()), ("id", "lamp")];
    let mug = [("csrf", csrf.as_str()), ("id", "mug")];
    let (one, other) = tokio::join!(first.post("/cart/add", &lamp), second.post("/cart/add", &mug));
    assert_eq!((one.status, other.status), (303, 303));
    for tab in [&mut first, &mut second] {
        let cart = tab.get("/cart").await.text;
        assert_eq!((quantity(&cart, "lamp"), quantity(&cart, "mug")), (Some(1), Some(1)));
    }
}

#[tokio::test]
async fn an_oversized_note_is_refused_with_the_limit_and_changes_nothing() {
    let demo = Demo::start().await;
    let mut browser = demo.browser();
    add(&mut browser, "mug").await;
    browser.submit("/cart", "/cart/note", &[("note", "for you & me")]).await;
    let cookie = browser.cookie.clone();
    for (path, note) in [("/cart/overfill", ""), ("/cart/note", &"y".repeat(3500))] {
        let refused = browser.submit("/cart", path, &[("note", note)]).await;
        assert_eq!(refused.status, 413);
        assert!(refused.text.contains("Too much for a cookie") && refused.text.contains("the limit is 4000"));
        assert!(refused.text.contains("for you &#38; me"), "the note is as it was");
        assert_eq!(quantity(&refused.text, "mug"), Some(1));
        assert_eq!(browser.cookie, cookie);
    }
}

#[tokio::test]
async fn preferences_change_the_theme_the_greeting_and_the_currency() {
    let demo = Demo::start().await;
    let mut browser = demo.browser();
    browser.log_in(ALICE.0, ALICE.1).await;
    let form = [("name", "  Ali <3 "), ("theme", "dark"), ("currency", "JPY")];
    let page = browser.submit("/preferences", "/preferences", &form).await.text;
    assert!(page.contains("data-theme=\"dark\""));
    assert!(is_logged_in_as(&page, "Ali &#60;3"), "{page}");
    assert!(browser.get("/cart").await.text.contains("¥3465"), "a mug in yen");
    let unknown = [("name", ""), ("theme", "plaid"), ("currency", "EUR")];
    assert_eq!(browser.submit("/preferences", "/preferences", &unknown).await.status, 422);
}

#[tokio::test]
async fn another_account_in_the_same_browser_does_not_find_the_previous_cart() {
    let demo = Demo::start().await;
    let mut browser = demo.browser();
    browser.log_in(ALICE.0, ALICE.1).await;
    add(&mut browser, "chair").await;
    let home = browser.log_in(BOB.0, BOB.1).await;
    assert!(is_logged_in_as(&home.text, "Bob Okafor"));
    assert_eq!(quantity(&browser.get("/cart").await.text, "chair"), None);
}

#[tokio::test]
async fn a_cookie_from_before_the_logout_is_good_for_nothing() {
    let demo = Demo::start().await;
    let mut browser = demo.browser();
    browser.log_in(ALICE.0, ALICE.1).await;
    let mut copy = browser.clone();
    let home = browser.submit("/cart", "/logout", &[]).await;
    assert!(!home.text.contains("id=\"user\""));
    assert_eq!(browser.cookie, None, "the browser's cookie is removed");
    assert!(!copy.get("/").await.text.contains("id=\"user\""));
}

#[cfg(unix)]
#[tokio::test]
async fn no_other_user_can_read_the_files_of_the_demo() {
    use std::os::unix::fs::MetadataExt;

    let demo = Demo::start().await;
    demo.browser().log_in(ALICE.0, ALICE.1).await;
    let files = std::fs::read_dir(demo.directory()).expect("a directory");
    let modes: std::collections::BTreeMap<_, _> = files
        .map(|file| file.expect("a file"))
        .map(|file| (file.file_name().to_string_lossy().into_owned(), file.metadata().expect("a file").mode() & 0o777))
        .map(|(name, mode)| (name, format!("{mode:o}")))
        .collect();
    assert!(modes.contains_key("demo.sqlite") && modes.contains_key("demo.sqlite.keys"), "{modes:?}");
    assert!(modes.values().all(|mode| *mode == "600"), "{modes:?}");
}

#[tokio::test]
async fn sessions_survive_a_restart() {
    let demo = Demo::start().await;
    let mut browser = demo.browser();
    browser.log_in(ALICE.0, ALICE.1).await;
    add(&mut browser, "mug").await;
    let demo = demo.restart().await;
    let mut same = demo.browser();
    same.cookie = browser.cookie;
    let cart = same.get("/cart").await.text;
    assert!(is_logged_in_as(&cart, "Alice Moreau"));
    assert_eq!(quantity(&cart, "mug"), Some(1));
}

#[tokio::test]
async fn the_start_shows_the_parts_of_the_cookie_and_the_row_beside_it() {
    let demo = Demo::start().await;
    let mut browser = demo.browser();
    browser.log_in(ALICE.0, ALICE.1).await;
    add(&mut browser, "mug").await;
    let home = browser.get("/").await.text;
    for part in ["version, key ids", "nonce", "your data", "bloat", "issue mark"] {
        assert!(home.contains(&format!("</span>{part}</th>")), "{part}: {home}");
    }
    assert!(home.contains("token 2 of its session"));
    assert!(home.contains("1 superseded token that still counts"));
    assert!(home.contains("the session got token 2: its content changed"));
    assert!(!home.contains(browser.cookie.as_deref().expect("a cookie")), "the cookie itself is not on the page");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let demo = Demo::start().await;
    let mut browser = demo.browser();
    for path in ["/nowhere", "/lab/nonsense", "/lab/nonsense/1"] {
        let page = browser.get(path).await;
        assert_eq!(page.status, 404, "{path}");
        assert!(page.text.contains("Nothing here"), "{path}");
    }
    let gone = browser.get("/lab/forge/0123456789abcdef").await;
    assert_eq!(gone.status, 200);
    assert!(gone.text.contains("its report is gone"));
    assert_eq!(browser.submit("/cart", "/cart/add", &[("id", "yacht")]).await.status, 404);
}
