//! The demo in a real browser.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod common;

#[path = "common/chromium.rs"]
mod chromium;

use chromium::{Page, Screen, in_browser};
use serde_json::json;

const ATTACKS: [(&str, [&str; 2]); 5] = [
    ("forge", ["held", "broken"]),
    ("rollback", ["held", "broken"]),
    ("logout", ["held", "broken"]),
    ("flips", ["held", "held"]),
    ("store", ["held", "nothing to attack"]),
];

#[tokio::test]
async fn a_visitor_logs_in_fills_the_cart_sets_preferences_and_logs_out() {
    in_browser(Screen::Desktop, async |page: Page| {
        page.open("/").await;
        assert!(page.text("#cookie-card").await.contains("No cookie."));
        assert!(page.client.get_all_cookies().await.expect("a list").is_empty());

        page.follow(".who a").await;
        page.follow("#login-alice").await;
        assert_eq!(page.text("#user").await, "Alice Moreau");
        assert!(page.text("#cookie-card").await.contains("bytes of name and value"));
        assert!(page.text("#row-card").await.contains("fingerprint"));
        let cookie = page.client.get_named_cookie("demo").await.expect("a cookie");
        assert_eq!(cookie.http_only(), Some(true));
        assert_eq!(page.run("return document.cookie").await, json!(""), "scripts do not see it");

        shop(&page).await;
        prefer(&page).await;

        page.follow("#logout").await;
        assert_eq!(page.count("#user").await, 0);
        assert!(page.text("#cookie-card").await.contains("No cookie."));
        assert!(page.client.get_all_cookies().await.expect("a list").is_empty());
        log_in_by_hand(&page).await;
    })
    .await;
}

async fn shop(page: &Page) {
    page.follow("nav a[href='/cart']").await;
    page.follow("#add-mug").await;
    page.follow("#add-mug").await;
    page.follow("#add-chair").await;
    assert_eq!(page.text("#total").await, "€682.00");
    page.follow("[aria-label='One Mug more']").await;
    assert_eq!(page.text("[data-product=mug] output").await, "3");
    page.follow("[aria-label='Take Reading chair out']").await;
    assert_eq!(page.text("#total").await, "€63.00");
    assert_eq!(page.text("nav .count").await, "3");

    page.type_into("#note", "Happy birthday").await;
    page.follow("#save-note").await;
    let sizes = page.text(".sizes").await;
    assert!(sizes.contains("cart") && sizes.contains("gift_note 25"), "{sizes}");
    page.follow("#overfill").await;
    assert!(page.text("#alert").await.contains("the limit is 4000"));
    assert_eq!(page.text("#total").await, "€63.00");
}

async fn prefer(page: &Page) {
    page.follow("nav a[href='/preferences']").await;
    page.type_into("[name=name]", "Ali").await;
    page.find("[name=theme][value=dark]").await.click().await.expect("chosen");
    page.find("[name=currency]").await.select_by_value("USD").await.expect("chosen");
    page.follow("#save-preferences").await;
    assert_eq!(page.text("#user").await, "Ali");
    assert_eq!(page.run("return getComputedStyle(document.body).backgroundColor").await, json!("rgb(18, 20, 22)"));
    page.follow("nav a[href='/cart']").await;
    assert_eq!(page.text("#total").await, "$69.30");
}

async fn log_in_by_hand(page: &Page) {
    page.open("/login").await;
    for (password, user) in [("wrong", None), ("hard-hat", Some("Bob Okafor"))] {
        if page.find("details").await.attr("open").await.expect("a page").is_none() {
            page.find("summary").await.click().await.expect("opened");
        }
        page.type_into("label [name=user]", "bob").await;
        page.type_into("label [name=password]", password).await;
        page.follow("#login").await;
        match user {
            Some(user) => assert_eq!(page.text("#user").await, user),
            None => assert_eq!(page.text("[role=alert]").await, "Wrong name or password."),
        }
    }
}

#[tokio::test]
async fn each_attack_is_clicked_and_shows_its_outcome_side_by_side() {
    in_browser(Screen::Desktop, async |page: Page| {
        for (attack, expected) in ATTACKS {
            page.open("/lab").await;
            page.follow(&format!("#run-{attack}")).await;
            assert!(page.path().await.starts_with(&format!("/lab/{attack}/")));
            let outcome = [page.text("#outcome-ours .badge").await, page.text("#outcome-peer .badge").await];
            assert_eq!(outcome, expected, "{attack}: {}", page.text("#outcome-ours").await);
            assert!(page.count(".decisive pre.request").await >= 2, "{attack}: requests are shown");
            assert_eq!(page.count("pre.request").await, page.count("pre.answer").await, "{attack}");
            match attack {
                "forge" => assert_eq!(page.count(".chip.event-forged").await, 2),
                "rollback" => assert_eq!(page.count(".chip.event-replayed").await, 1),
                "logout" => assert_eq!(page.count(".decisive .status.good").await, 2),
                "flips" => assert!(page.text("#outcome-ours").await.contains("321 of 321")),
                _ => assert_eq!(page.count("#searches .badge.held").await, 7),
            }
            // Beside each other on a desktop: the two answers to one request begin at the same height.
            let tops = "return [...document.querySelectorAll('.decisive .exchange')].slice(0, 2)\
                        .map(side => Math.round(side.getBoundingClientRect().top))";
            let tops = page.run(tops).await;
            assert_eq!(tops[0], tops[1], "{attack}");
        }
        page.open("/lab").await;
        assert_eq!(page.count(".attacks .badge.held").await, 6);
        assert_eq!(page.count(".attacks .badge.broken").await, 3);
        page.follow("#forge .last a").await;
        assert_eq!(page.count("#outcome-ours").await, 1, "the report is kept");
    })
    .await;
}

#[tokio::test]
async fn no_page_is_wider_than_a_phone() {
    in_browser(Screen::Phone, async |page: Page| {
        let mut paths: Vec<String> =
            ["/", "/login", "/cart", "/preferences", "/device", "/device/thief", "/lab", "/lab/forge", "/nowhere"]
                .map(Into::into)
                .into();
        for path in &paths {
            fits(&page, path).await;
        }
        page.open("/login").await;
        page.follow("#login-carol").await;
        page.open("/cart").await;
        page.follow("#add-chair").await;
        page.follow("#overfill").await;
        for (attack, _) in ATTACKS {
            page.open(&format!("/lab/{attack}")).await;
            page.follow("#run").await;
            paths.push(page.path().await);
        }
        for path in &paths {
            fits(&page, path).await;
        }
    })
    .await;
}

async fn fits(page: &Page, path: &str) {
    page.open(path).await;
    page.run("for (const step of document.querySelectorAll('details')) step.open = true").await;
    let widths = page.run("return [innerWidth, document.documentElement.scrollWidth]").await;
    assert_eq!(widths, json!([390, 390]), "{path}");
}

#[tokio::test]
async fn the_drill_keeps_the_administrator_s_feed_live_and_both_users_logged_in() {
    in_browser(Screen::Desktop, async |carol: Page| {
        let alice = carol.second_browser().await;
        alice.open("/login").await;
        alice.follow("#login-alice").await;

        carol.open("/login").await;
        carol.follow("#login-carol").await;
        carol.follow("nav a[href='/admin']").await;
        assert_eq!(carol.path().await, "/step-up");
        let code = carol.text("#code").await;
        carol.type_into("[name=code]", &code).await;
        carol.follow("#step-up").await;
        assert_eq!(carol.path().await, "/admin");
        carol.wait_for("#feed[data-live=yes]").await;

        carol.follow("#drill").await;
        assert!(carol.text("#keys").await.contains("compromised"));
        carol.wait_for("#feed[data-live=yes]").await;
        alice.open("/cart").await;
        assert_eq!(alice.text("#user").await, "Alice Moreau");
        carol.wait_for("#feed .event-rotated").await;
        assert_eq!(carol.text("#user").await, "Carol Lindqvist");

        carol.follow("#revoke-alice").await;
        alice.open("/").await;
        assert_eq!(alice.count("#user").await, 0);
        alice.client.close().await.expect("closed");
    })
    .await;
}

#[tokio::test]
async fn a_user_sees_both_browsers_and_ends_the_other() {
    in_browser(Screen::Phone, async |here: Page| {
        let there = here.second_browser().await;
        for page in [&here, &there] {
            page.open("/login").await;
            page.follow("#login-bob").await;
        }
        here.open("/sessions").await;
        assert_eq!(here.count("[data-session]").await, 2);
        assert!(here.text("[data-current]").await.contains("Chrome on Linux"));
        here.follow("[data-session]:not([data-current]) button").await;
        assert_eq!(here.count("[data-session]").await, 1);
        there.open("/").await;
        assert_eq!(there.count("#user").await, 0);
        there.client.close().await.expect("closed");
    })
    .await;
}
