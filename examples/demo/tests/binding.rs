//! The demo over https: a session that is bound to its device, and the thief of its cookies, in two browsers.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::time::{Duration, Instant};

use browser::{Chromium, Page, installed};
use common::Demo;
use secure_sessions_axum::ManualClock;
use serde_json::json;

/// The life of a ticket in the demo, and a grace.
const TICKET_AND_GRACE: Duration = Duration::from_secs(6 * 60);
/// The longest that the browser may take to register its key, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(120);
const TICKET: &str = "__Host-demo-device";

#[tokio::test(flavor = "multi_thread")]
async fn stolen_cookies_run_out_on_the_thief_while_their_owner_goes_on() {
    let Some(program) = installed() else { return };
    let clock = ManualClock::at_present();
    let demo = Demo::over_https(clock.clone()).await;
    let arguments = demo.arguments.as_ref().expect("https");
    let (owners, thiefs) = (Chromium::start(&program, arguments).await, Chromium::start(&program, arguments).await);
    let (owner, thief) = (owners.page().await, thiefs.page().await);

    owner.visit(&format!("{}/login", demo.origin)).await;
    owner.follow("document.querySelector('#login-alice').click()").await;
    until(&owner, &demo, "bound").await;
    assert_eq!(owner.run("document.querySelector('#user').innerText").await, "Alice Moreau");
    assert_eq!(owner.run("document.cookie").await, "", "scripts see a cookie");
    let cookies = owner.run("document.querySelector('#cookies').innerText").await;

    // The thief's browser gets both cookies, and is Alice: the page counts down how long.
    thief.visit(&format!("{}/device/thief", demo.origin)).await;
    thief
        .follow(&format!(
            "document.querySelector('textarea').value = {cookies}; document.querySelector('#use').click()"
        ))
        .await;
    assert_eq!(device(&thief).await, "bound");
    assert_eq!(thief.run("document.querySelector('#user').innerText").await, "Alice Moreau");
    let left = "document.querySelector('#left').innerText";
    let first = thief.run(left).await;
    thief.until(&format!("{left} !== {first}")).await;

    clock.advance(TICKET_AND_GRACE + Duration::from_secs(1));
    thief.visit(&format!("{}/device", demo.origin)).await;
    assert_eq!(device(&thief).await, "missing");
    assert_eq!(thief.run("document.querySelector('#user')").await, json!(null));

    // By now the owner's browser would have dropped the ticket. It proves its key, and goes on.
    owner.delete_cookie(&demo.origin, TICKET).await;
    owner.visit(&format!("{}/device", demo.origin)).await;
    assert_eq!(device(&owner).await, "bound");
    let events = owner.run("document.querySelector('#binding .events').innerText").await;
    for event in ["device_bound", "device_missing"] {
        assert!(events.as_str().is_some_and(|events| events.contains(event)), "{event}: {events}");
    }
}

/// Returns the device of the session, as the page shows it.
async fn device(page: &Page) -> String {
    page.run("document.querySelector('#binding').dataset.device").await.as_str().expect("a text").to_owned()
}

/// Reloads the page until it says this of the session's device: the browser registers its key in the background.
async fn until(page: &Page, demo: &Demo, wanted: &str) {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        page.visit(&format!("{}/device", demo.origin)).await;
        if device(page).await == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the page never says {wanted}: {}", page.text().await);
}
