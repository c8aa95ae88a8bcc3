//! Device-bound sessions in a real Chromium, over HTTPS: what the browser reports of them, and what the server does.
//!
//! The browser keeps its keys in software. It loses a ticket when the test says so, since its clock cannot be moved.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../suite/support/mod.rs"]
#[allow(dead_code, unused_imports, clippy::panic, reason = "shared with the suite, which uses all of it")]
mod support;

mod site;

use serde_json::{Value, json};
use site::{Site, in_browser};
use support::MINUTE;

/// The longest that a copied ticket is good: its life and a grace.
const TICKET_AND_GRACE: i64 = 11 * MINUTE;

macro_rules! tests {
    ($binary:literal; $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                super::in_browser(env!($binary), super::$case);
            }
        )*
    };
}

mod axum {
    tests! { "CARGO_BIN_EXE_acceptance-axum";
        a_browser_binds_its_session_renews_the_ticket_and_loses_no_change
        a_link_on_another_site_finds_its_user_logged_in_without_a_ticket
        a_login_that_comes_from_another_site_is_bound_too
        a_login_after_a_logout_leaves_one_binding_in_the_browser
        a_login_as_another_user_is_bound_to_a_key_of_its_own
        a_restarted_browser_renews_its_ticket_without_a_challenge
        an_exhausted_quota_costs_the_session_for_a_while_but_not_the_logout
        a_stolen_cookie_jar_dies_with_its_ticket_and_its_owner_goes_on
    }
}

mod actix {
    tests! { "CARGO_BIN_EXE_acceptance-actix";
        a_browser_binds_its_session_renews_the_ticket_and_loses_no_change
    }
}

mod rocket {
    tests! { "CARGO_BIN_EXE_acceptance-rocket";
        a_browser_binds_its_session_renews_the_ticket_and_loses_no_change
    }
}

async fn a_browser_binds_its_session_renews_the_ticket_and_loses_no_change(site: Site) {
    let (server, browser) = (&site.server, &site.browser);
    browser.log_in("alice").await;
    server.event("device_offered").await;
    assert_eq!(browser.user().await, "alice");
    server.event("device_bound").await;
    let ticket = browser.ticket().await.expect("a ticket");
    for (attribute, value) in [("httpOnly", json!(true)), ("secure", json!(true)), ("sameSite", json!("Lax"))] {
        assert_eq!(ticket.0[attribute], value, "{attribute}");
    }

    // Twelve requests find the ticket gone. They wait for one refresh.
    let from = browser.page.now();
    browser.lose_ticket().await;
    let requests = "Promise.all(Array.from({ length: 12 }, () => \
                    fetch('/incr?k=n', { method: 'POST' }).then(answer => answer.status)))";
    assert_eq!(browser.page.run(requests).await, json!(vec![200; 12]));
    assert_eq!(browser.state().await["data"]["n"], 12, "a change was lost");
    assert_eq!(browser.refreshes(from).len(), 1, "a refresh for each request");

    // In the ticket's last two minutes it is renewed beside a request.
    let (from, old) = (browser.page.now(), browser.ticket().await);
    browser.age_ticket().await;
    assert_eq!(browser.user().await, "alice");
    let refresh = browser.refreshed(from).await;
    assert_eq!(refresh["wasFullyProactiveRefresh"], true, "{refresh}");
    assert_ne!(browser.ticket().await, old);

    assert_eq!(browser.post("/logout").await, 200);
    assert_eq!(browser.cookies().await, [], "the logout left a cookie");
    assert_eq!(browser.user().await, Value::Null);
    assert_eq!(server.metrics().await.event("device_missing"), 0, "a request came without a ticket");
}

async fn a_link_on_another_site_finds_its_user_logged_in_without_a_ticket(site: Site) {
    let (page, browser) = (&site.browser.page, &site.browser);
    browser.log_in("alice").await;
    assert_eq!(browser.user().await, "alice");
    page.visit(&site.elsewhere()).await;
    browser.lose_ticket().await;
    page.follow(&format!("location.href = '{}'", browser.url("/state"))).await;
    assert!(page.text().await.contains("alice"), "{}", page.text().await);
    assert!(browser.ticket().await.is_some(), "the ticket was not renewed");
    assert_eq!(browser.user().await, "alice");
    assert_eq!(site.server.metrics().await.event("device_missing"), 0);
}

async fn a_login_after_a_logout_leaves_one_binding_in_the_browser(site: Site) {
    let (page, browser) = (&site.browser.page, &site.browser);
    browser.log_in("alice").await;
    assert_eq!(browser.user().await, "alice");
    assert_eq!(browser.post("/logout").await, 200);
    browser.log_in("bob").await;
    assert_eq!(browser.user().await, "bob");
    assert_eq!(browser.bound_sessions().await, 1);
    // The refresh behind a link from another site brings no cookie: only the browser can know which key is meant.
    page.visit(&site.elsewhere()).await;
    browser.lose_ticket().await;
    page.follow(&format!("location.href = '{}'", browser.url("/state"))).await;
    assert!(page.text().await.contains("bob"), "{}", page.text().await);
    assert_eq!(site.server.metrics().await.event("device_mismatch"), 0, "a theft was reported");
}

async fn a_login_as_another_user_is_bound_to_a_key_of_its_own(site: Site) {
    let browser = &site.browser;
    browser.log_in("alice").await;
    assert_eq!(browser.user().await, "alice");
    let first = browser.ticket().await;
    browser.log_in("bob").await;
    assert_eq!(browser.user().await, "bob");
    site.server.events("device_bound", 2).await;
    browser.lose_ticket().await;
    assert_eq!(browser.user().await, "bob");
    assert_ne!(browser.ticket().await, first);
    assert_eq!(browser.bound_sessions().await, 1);
    assert_eq!(site.server.metrics().await.event("device_mismatch"), 0, "a theft was reported");
}

async fn a_login_that_comes_from_another_site_is_bound_too(site: Site) {
    let (page, browser) = (&site.browser.page, &site.browser);
    page.visit(&site.elsewhere()).await;
    let from = page.now();
    // As an OpenID provider answers with `response_mode=form_post`.
    let script = format!(
        "const form = document.createElement('form'); form.method = 'POST'; form.action = '{}'; \
         document.body.append(form); form.submit()",
        browser.url("/login?user=alice")
    );
    page.follow(&script).await;
    browser.registered(from).await;
    assert_eq!(browser.user().await, "alice");
    site.server.event("device_bound").await;
    browser.lose_ticket().await;
    assert_eq!(browser.user().await, "alice");
    assert_eq!(site.server.metrics().await.event("device_missing"), 0);
}

async fn a_restarted_browser_renews_its_ticket_without_a_challenge(site: Site) {
    site.browser.log_in("alice").await;
    assert_eq!(site.browser.user().await, "alice");
    let site = site.restarted().await;
    let (browser, from) = (&site.browser, site.browser.page.now());
    browser.lose_ticket().await;
    // It no longer has the challenge, is sent one, and signs that.
    assert_eq!(browser.user().await, "alice");
    assert_eq!(browser.refreshed(from).await["refreshResult"], "Refreshed");
    assert_eq!(site.server.metrics().await.event("device_missing"), 0);
}

async fn an_exhausted_quota_costs_the_session_for_a_while_but_not_the_logout(site: Site) {
    let (server, browser) = (&site.server, &site.browser);
    browser.log_in("alice").await;
    let mut refreshes = 0;
    while browser.user().await == "alice" {
        refreshes += 1;
        assert!(refreshes < 12, "the browser has no quota");
        browser.lose_ticket().await;
    }
    let missing = server.event("device_missing").await;
    assert_eq!(missing["skipped"], "quota_exceeded", "{missing}");
    assert_eq!(server.metrics().await.live(), 1, "the session was ended");
    assert!(browser.session_cookie().await.is_some(), "the cookie was removed");

    assert_eq!(browser.post("/logout").await, 200);
    assert_eq!(server.metrics().await.live(), 0, "the session outlived its logout");
    assert_eq!(browser.session_cookie().await, None, "the logout left the cookie");
}

async fn a_stolen_cookie_jar_dies_with_its_ticket_and_its_owner_goes_on(site: Site) {
    let (server, owner) = (&site.server, &site.browser);
    owner.log_in("alice").await;
    assert_eq!(owner.user().await, "alice");
    let thief = site.other_profile().await;
    thief.take(&owner.cookies().await).await;
    assert_eq!(thief.user().await, "alice", "a copied ticket is good while it lasts");
    server.advance(TICKET_AND_GRACE - MINUTE).await;
    assert_eq!(thief.user().await, "alice", "a copied ticket is good while it lasts");

    server.advance(MINUTE + 1000).await;
    assert_eq!(thief.user().await, Value::Null, "the ticket has ended");
    assert_eq!(thief.post("/set?k=a&v=theft").await, 200);
    assert_eq!(thief.user().await, Value::Null);
    server.event("device_missing").await;

    // By now the owner's browser would have dropped the ticket.
    owner.lose_ticket().await;
    assert_eq!(owner.user().await, "alice");
    assert_eq!(owner.state().await["data"].get("a"), None, "the thief changed the owner's data");
}
