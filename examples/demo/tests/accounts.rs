//! Sessions of one user in several browsers, the second factor, the administrator's page and the compromise drill, over
//! plain HTTP.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::time::Duration;

use common::{Answer, Browser, Demo};
use demo::format::Outline;
use demo::second_factor::SecondFactor;
use demo::{users, when};

const ALICE: (&str, &str) = ("alice", "looking-glass");
const BOB: (&str, &str) = ("bob", "hard-hat");
const CAROL: (&str, &str) = ("carol", "north-star");

async fn logged_in(demo: &Demo, (user, password): (&str, &str)) -> Browser {
    let mut browser = demo.browser();
    let home = browser.log_in(user, password).await;
    assert!(home.text.contains("id=\"user\""), "{}", home.text);
    browser
}

async fn is_logged_in(browser: &mut Browser) -> bool {
    browser.get("/").await.text.contains("id=\"user\"")
}

/// The handles of the sessions that the page lists; the one that asks first.
fn handles(page: &str) -> Vec<&str> {
    page.split("data-session=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

fn seal_key_id(browser: &Browser) -> [u8; 4] {
    Outline::of(browser.cookie.as_deref().expect("a cookie")).expect("a token").seal_key_id
}

/// Returns a code that is none of the administrator's, now and for some minutes.
fn wrong_code() -> String {
    let (factor, now) = (SecondFactor::new().expect("set up"), when::now() / 1000);
    let carol = users::account(CAROL.0).expect("an account");
    let right: Vec<_> = (0..30).filter_map(|step| factor.code(&carol, now - 60 + 30 * step)).collect();
    let mut codes = (0..1_000_000_u32).map(|code| format!("{code:06}"));
    codes.find(|code| !right.contains(code)).expect("few are right")
}

async fn with_second_factor(browser: &mut Browser) -> Answer {
    let page = browser.get("/step-up").await.text;
    let (_, after) = page.split_once("id=\"code\">").expect("the code is shown");
    let code = after.split('<').next().expect("a code").to_owned();
    browser.submit("/step-up", "/step-up", &[("code", &code)]).await
}

/// Returns a browser in which the administrator has logged in, with her second factor.
async fn administrator(demo: &Demo) -> Browser {
    let mut carol = logged_in(demo, CAROL).await;
    with_second_factor(&mut carol).await;
    carol
}

#[tokio::test]
async fn a_session_in_another_browser_is_listed_by_its_name_and_ended_from_here() {
    let demo = Demo::start().await;
    let (mut here, mut there) = (logged_in(&demo, ALICE).await, logged_in(&demo, ALICE).await);
    let mut bob = logged_in(&demo, BOB).await;
    let page = here.get("/sessions").await.text;
    let [own, other] = handles(&page)[..] else { panic!("two sessions: {page}") };
    assert!(page.contains("An unknown browser") && page.contains("this one"));

    let strange = bob.submit("/sessions", "/sessions/revoke", &[("handle", own)]).await;
    assert_eq!(strange.status, 404, "another user's handle names nothing");
    here.submit("/sessions", "/sessions/revoke", &[("handle", other)]).await;
    assert!(!is_logged_in(&mut there).await);
    assert!(is_logged_in(&mut here).await && is_logged_in(&mut bob).await);
    assert_eq!(handles(&here.get("/sessions").await.text).len(), 1);
}

#[tokio::test]
async fn logging_out_everywhere_ends_every_browser_of_that_user_and_no_other() {
    let demo = Demo::start().await;
    let mut alice = [logged_in(&demo, ALICE).await, logged_in(&demo, ALICE).await, logged_in(&demo, ALICE).await];
    let mut bob = logged_in(&demo, BOB).await;
    alice[1].submit("/sessions", "/sessions/revoke-others", &[]).await;
    assert!(!is_logged_in(&mut alice[0]).await && is_logged_in(&mut alice[1]).await);
    alice[2] = logged_in(&demo, ALICE).await;
    alice[2].submit("/sessions", "/sessions/logout-everywhere", &[]).await;
    for browser in &mut alice {
        assert!(!is_logged_in(browser).await);
    }
    assert!(is_logged_in(&mut bob).await);
}

#[tokio::test]
async fn the_administrators_page_asks_for_a_role_and_a_second_factor() {
    let demo = Demo::start().await;
    assert_eq!(demo.browser().get("/admin").await.header("location"), "/login");
    assert_eq!(logged_in(&demo, ALICE).await.get("/admin").await.status, 403);
    let mut carol = logged_in(&demo, CAROL).await;
    assert_eq!(carol.get("/admin").await.header("location"), "/step-up");
    assert_eq!(carol.get("/admin/events").await.header("location"), "/step-up");

    let wrong = carol.submit("/step-up", "/step-up", &[("code", &wrong_code())]).await;
    assert_eq!(wrong.status, 403);
    let before = carol.clone();
    let admin = with_second_factor(&mut carol).await;
    assert!(admin.text.contains("The compromise drill"), "{}", admin.text);
    let mut before = before;
    assert!(!is_logged_in(&mut before).await, "the step-up renewed the session");
    assert_eq!(carol.get("/admin").await.status, 200);
}

#[tokio::test]
async fn after_the_drill_users_stay_logged_in_under_a_new_key_and_past_a_restart() {
    let demo = Demo::start().await;
    let (mut alice, mut bob) = (logged_in(&demo, ALICE).await, logged_in(&demo, BOB).await);
    let mut carol = administrator(&demo).await;
    let leaked = seal_key_id(&alice);
    let admin = carol.submit("/admin", "/admin/drill", &[]).await;
    assert!(admin.text.contains("key-compromised"), "{}", admin.text);

    for browser in [&mut alice, &mut bob] {
        assert_eq!(seal_key_id(browser), leaked);
        assert!(is_logged_in(browser).await);
        assert_ne!(seal_key_id(browser), leaked, "it got a cookie under the new key");
    }
    let demo = demo.restart().await;
    for browser in [&mut alice, &mut bob] {
        *browser = browser.moved_to(&demo);
        assert!(is_logged_in(browser).await);
    }
}

#[tokio::test]
async fn an_administrator_ends_all_sessions_of_a_user() {
    let demo = Demo::start().await;
    let (mut alice, mut bob) = (logged_in(&demo, ALICE).await, logged_in(&demo, BOB).await);
    let mut carol = administrator(&demo).await;
    carol.submit("/admin", "/admin/revoke", &[("user", "alice")]).await;
    assert!(!is_logged_in(&mut alice).await && is_logged_in(&mut bob).await);
}

#[tokio::test]
async fn the_live_feed_tells_what_happens_and_ends_with_its_session() {
    let demo = Demo::start().await;
    let mut carol = administrator(&demo).await;
    let mut feed = carol.stream("/admin/events").await;
    let mut alice = logged_in(&demo, ALICE).await;
    while !feed.next_line_with("data:").await.expect("an event").contains("\"name\":\"renewed\"") {}
    alice.submit("/", "/logout", &[]).await;
    while !feed.next_line_with("data:").await.expect("an event").contains("\"name\":\"ended\"") {}
    carol.submit("/sessions", "/sessions/logout-everywhere", &[]).await;
    let ended = async { while feed.next_line_with("data:").await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the stream ends with its session");
}

#[tokio::test]
async fn the_live_feed_ends_at_a_logout_even_while_events_arrive() {
    let demo = Demo::start().await;
    let mut carol = administrator(&demo).await;
    let mut feed = carol.stream("/admin/events").await;
    let mut alice = logged_in(&demo, ALICE).await;
    feed.next_line_with("data:").await.expect("an event");
    carol.submit("/", "/logout", &[]).await;
    let csrf = alice.get("/cart").await.csrf();
    let noise = tokio::spawn(async move {
        loop {
            alice.post("/cart/add", &[("csrf", &csrf), ("id", "mug")]).await;
        }
    });
    let mut heard = Vec::new();
    let ended = async {
        while let Some(line) = feed.next_line_with("data:").await {
            heard.push(line);
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), ended).await;
    noise.abort();
    ended.expect("the stream ends with its session");
    assert!(!heard.iter().any(|line| line.contains("\"name\":\"rotated\"")), "{heard:?}");
}

#[tokio::test]
async fn the_demo_stops_while_a_live_feed_is_open() {
    let demo = Demo::start().await;
    let carol = administrator(&demo).await;
    let mut feed = carol.stream("/admin/events").await;
    let stopped = async {
        let again = demo.restart().await;
        while feed.next_line_with("data:").await.is_some() {}
        again
    };
    tokio::time::timeout(Duration::from_secs(60), stopped)
        .await
        .expect("the feed ends, and does not hold up the shutdown");
}

#[tokio::test]
async fn the_demo_stops_while_a_connection_is_open_without_a_request() {
    let demo = Demo::start().await;
    let connection = tokio::net::TcpStream::connect(demo.address).await.expect("connected");
    demo.browser().get("/").await;
    tokio::time::timeout(Duration::from_secs(60), demo.restart()).await.expect("it does not hold up the shutdown");
    drop(connection);
}

#[tokio::test]
async fn wrong_codes_count_across_password_logins_and_lock_the_second_factor() {
    let demo = Demo::start().await;
    let mut carol = demo.browser();
    for _ in 0..demo::lockout::ALLOWED_FAILURES {
        assert!(carol.log_in(CAROL.0, CAROL.1).await.text.contains("id=\"user\""), "wrong codes lock no password");
        assert_eq!(carol.submit("/step-up", "/step-up", &[("code", &wrong_code())]).await.status, 403);
    }
    carol = logged_in(&demo, CAROL).await;
    assert_eq!(with_second_factor(&mut carol).await.status, 429);
}

#[tokio::test]
async fn a_right_code_forgets_the_wrong_ones_before_it() {
    let demo = Demo::start().await;
    let mut carol = logged_in(&demo, CAROL).await;
    let wrong = async |carol: &mut Browser| {
        for _ in 1..demo::lockout::ALLOWED_FAILURES {
            assert_eq!(carol.submit("/step-up", "/step-up", &[("code", &wrong_code())]).await.status, 403);
        }
    };
    wrong(&mut carol).await;
    assert_eq!(with_second_factor(&mut carol).await.status, 200);
    wrong(&mut carol).await;
}

#[tokio::test]
async fn guesses_at_the_same_time_are_evaluated_no_more_often_than_allowed() {
    let demo = Demo::start().await;
    let mut browser = demo.browser();
    let csrf = browser.get("/login").await.csrf();
    let guess = |_| {
        let (mut tab, csrf) = (browser.clone(), csrf.clone());
        tokio::spawn(
            async move { tab.post("/login", &[("csrf", &csrf), ("user", "bob"), ("password", "x")]).await.status },
        )
    };
    let guesses: Vec<_> = (0..20).map(guess).collect();
    let mut statuses = Vec::new();
    for guess in guesses {
        statuses.push(guess.await.expect("an answer"));
    }
    statuses.sort_unstable();
    let mut expected = [429; 20];
    expected[..5].fill(401);
    assert_eq!(statuses, expected);
}

#[tokio::test]
async fn five_wrong_passwords_refuse_even_the_right_one_and_say_for_how_long() {
    let demo = Demo::start().await;
    let mut browser = demo.browser();
    for _ in 0..demo::lockout::ALLOWED_FAILURES {
        assert_eq!(browser.log_in("alice", "wrong").await.status, 401);
    }
    let locked = browser.log_in(ALICE.0, ALICE.1).await;
    assert_eq!(locked.status, 429);
    assert!(locked.header("retry-after").parse().is_ok_and(|seconds: u64| (1..=61).contains(&seconds)));
    assert!(logged_in(&demo, BOB).await.cookie.is_some(), "only that name is locked");
}

#[tokio::test]
async fn many_attempts_from_one_address_are_held_back_whatever_the_name() {
    let demo = Demo::start().await;
    let mut browser = demo.browser();
    let csrf = browser.get("/login").await.csrf();
    let mut attempt = async |csrf: &str, attempt: u32| {
        let user = format!("nobody-{attempt}");
        browser.post("/login", &[("csrf", csrf), ("user", &user), ("password", "x")]).await.status
    };
    let mut statuses = Vec::new();
    for number in 0..20 {
        statuses.push(attempt(&csrf, number).await);
    }
    assert_eq!(statuses, [401; 20]);
    // The others come without the form's token. That counts too, and no password is hashed for it: on a slow machine, the
    // time for hashes alone would earn the address more attempts than it makes.
    while statuses.last() != Some(&429) {
        assert!(statuses.len() < 200, "{statuses:?}");
        statuses.push(attempt("", 0).await);
    }
    assert!(statuses[20..].iter().all(|status| [403, 429].contains(status)), "{statuses:?}");
}
