//! The attack lab over plain HTTP: each attack really runs, and what its page says is what happened.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod common;

use common::Demo;

/// The verdicts for secure-sessions and for the plain sealed cookie.
fn verdicts(page: &str) -> [&str; 2] {
    ["ours", "peer"].map(|side| {
        let (_, card) = page.split_once(&format!("id=\"outcome-{side}\"")).expect("an outcome");
        let (_, badge) = card.split_once("<span class=\"badge ").expect("a badge");
        badge.split_once('>').and_then(|(_, label)| label.split('<').next()).expect("a label")
    })
}

/// The statuses of each step, for both sides.
fn statuses(page: &str) -> Vec<[String; 2]> {
    let steps = page.split("<span class=\"step-title\">").skip(1);
    let status = |step: &str, index: usize| {
        let after = step.split("<span class=\"status").nth(index + 2).expect("a status");
        after.split_once('>').and_then(|(_, text)| text.split('<').next()).expect("a number").to_owned()
    };
    steps.map(|step| [status(step, 0), status(step, 1)]).collect()
}

async fn run(attack: &str) -> String {
    let demo = Demo::start().await;
    let mut browser = demo.browser();
    let report = browser.submit("/lab", &format!("/lab/{attack}"), &[]).await;
    assert_eq!(report.status, 200, "{}", report.text);
    let overview = browser.get("/lab").await.text;
    assert_eq!(overview.matches("What was sent").count(), 1, "the overview links to the run");
    report.text
}

fn ours(statuses: &[[String; 2]]) -> Vec<&str> {
    statuses.iter().map(|[ours, _]| ours.as_str()).collect()
}

fn peers(statuses: &[[String; 2]]) -> Vec<&str> {
    statuses.iter().map(|[_, peer]| peer.as_str()).collect()
}

#[tokio::test]
async fn a_forged_cookie_names_the_leaked_key_but_a_forged_sealed_one_is_let_in() {
    let page = run("forge").await;
    assert_eq!(verdicts(&page), ["held", "broken"]);
    let statuses = statuses(&page);
    assert_eq!(ours(&statuses), ["200", "200", "200", "403", "401", "401", "200"]);
    assert_eq!(peers(&statuses), ["200", "200", "200", "403", "200", "200", "200"]);
    assert_eq!(page.matches("a forged token was refused: seal key").count(), 2);
}

#[tokio::test]
async fn an_old_cookie_is_handed_on_then_refused_but_a_sealed_one_spends_again() {
    let page = run("rollback").await;
    assert_eq!(verdicts(&page), ["held", "broken"]);
    let statuses = statuses(&page);
    assert_eq!(ours(&statuses), ["200", "200", "409", "200", "401", "401"]);
    assert_eq!(peers(&statuses), ["200", "200", "200", "200", "200", "200"]);
    for event in ["handed_off", "replayed", "ended"] {
        assert!(page.contains(&format!("event-{event}\">")), "{event}");
    }
}

#[tokio::test]
async fn a_cookie_after_logout_is_refused_while_the_sealed_cookie_still_works() {
    let page = run("logout").await;
    assert_eq!(verdicts(&page), ["held", "broken"]);
    let statuses = statuses(&page);
    assert_eq!(ours(&statuses), ["200", "200", "200", "401", "401"]);
    assert_eq!(peers(&statuses), ["200", "200", "200", "200", "200"]);
}

#[tokio::test]
async fn every_flipped_bit_is_refused_by_both() {
    let page = run("flips").await;
    assert_eq!(verdicts(&page), ["held", "held"]);
    assert!(page.contains("321 of 321 altered cookies refused"), "{page}");
    // A damaged mark raises no alarm; the named key has, and there is one of its kind for each byte of its id.
    assert!(!page.contains("forged") && page.contains("unknown_key"));
}

#[tokio::test]
async fn nothing_of_the_session_is_in_the_database_but_its_id() {
    let page = run("store").await;
    assert_eq!(verdicts(&page), ["held", "nothing to attack"]);
    assert_eq!(page.matches("badge held\">not found").count(), 7);
    assert_eq!(page.matches("badge neutral\">found").count(), 1, "the search finds what there is");
    assert!(page.contains("<code>secure_sessions</code>"), "the rows are shown");
}
