//! Every history of a few requests: nothing that must not happen does, and each broken rule is found.
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests may panic")]

use model::{Kind, Planted, Protocol, Seen};
use stateright::{Checker, HasDiscoveries, Model};

use Kind::{Login, Logout, Read, Write};

/// Goes through all histories; how many states there were.
fn exhaust(name: &str, protocol: Protocol, must_see: &[Seen]) {
    let checker = protocol.checker().spawn_bfs().join();
    if let Some((property, path)) = checker.discoveries().into_iter().next() {
        panic!("{name}: not so: {property}\n{path}");
    }
    println!("{name}: {} states, every history of at most {} steps", checker.unique_state_count(), checker.max_depth());
    for what in must_see {
        assert!(checker.model().seen(*what) > 0, "{name}: no history in which {what:?} happened");
    }
}

/// The shortest history in which the property does not hold.
fn finds(protocol: Protocol, planted: Planted, property: &'static str) {
    let checker =
        protocol.breaking(planted).checker().finish_when(HasDiscoveries::AnyOf([property].into())).spawn_bfs().join();
    let found = checker.discoveries();
    let path = found.get(property).unwrap_or_else(|| panic!("{planted:?} was not noticed as: {property}"));
    println!("{planted:?}: not so: {property}\n  {:?}", path.clone().into_actions());
}

/// Few messages, for long enough that tokens die.
fn slow() -> Protocol {
    Protocol::of(&[Write, Read], 7)
}

/// Writers and a reader whose messages get lost and cross, for long enough that tokens die.
fn honest() -> Protocol {
    Protocol::of(&[Write, Write, Read], 7)
}

fn logging_out() -> Protocol {
    Protocol::of(&[Write, Read, Logout], 4)
}

fn logging_in() -> Protocol {
    Protocol::of(&[Write, Login, Login], 3)
}

/// A thief may copy the jar at any moment, and present it at any other.
fn theft() -> Protocol {
    Protocol::of(&[Write, Read], 7).with_thief(&[Read])
}

/// A thief who goes on with the session while its user stays away.
fn takeover() -> Protocol {
    Protocol::of(&[Read], 7).with_thief(&[Write, Read])
}

/// A thief who writes against one who logs in or out.
fn busy_thief() -> Protocol {
    Protocol::of(&[Write, Login, Logout], 3).with_thief(&[Write])
}

fn failover() -> Protocol {
    Protocol::of(&[Write, Write, Read], 2).with_failover()
}

fn sleeping() -> Protocol {
    Protocol::of(&[Write, Read, Read], 3).with_sleep()
}

#[test]
fn in_every_history_of_an_honest_browser_nobody_is_refused_and_no_update_is_lost() {
    exhaust("honest", honest(), &[Seen::Handoff, Seen::Conflict]);
}

#[test]
fn in_every_history_with_a_logout_ended_is_final() {
    exhaust("logging out", logging_out(), &[Seen::Handoff]);
}

#[test]
fn in_every_history_with_logins_they_end_logged_in_and_the_old_session_is_over() {
    exhaust("logging in", logging_in(), &[Seen::Conflict]);
}

#[test]
fn in_every_history_with_a_thief_old_data_stays_away_and_a_dead_token_is_noticed() {
    exhaust("theft", theft(), &[Seen::Handoff, Seen::Replay]);
    exhaust("takeover", takeover(), &[Seen::Handoff, Seen::Replay]);
    exhaust("busy thief", busy_thief(), &[Seen::Handoff, Seen::Conflict]);
}

#[test]
fn in_every_history_with_a_store_that_loses_writes_nobody_is_taken_for_a_thief() {
    exhaust("failover", failover(), &[Seen::Unremembered]);
}

#[test]
fn in_every_history_with_a_long_sleep_idle_is_over_and_the_purge_spares_the_living() {
    exhaust("sleep", sleeping(), &[Seen::Expired, Seen::Purged]);
}

#[test]
fn each_rule_that_is_broken_on_purpose_is_found_out() {
    finds(honest(), Planted::SwapIgnoresTheRevision, "no update is lost");
    finds(logging_out(), Planted::CommitRecreates, "ended is final");
    finds(logging_in(), Planted::RenewKeepsTheOld, "ended is final");
    finds(logging_in(), Planted::HandoffCrossesRenew, "no token leads to another session");
    finds(honest(), Planted::NoHandoff, "an honest browser is not refused");
    finds(theft(), Planted::DeadIsAlive, "a dead token is not admitted");
    finds(theft(), Planted::ReplayIsIgnored, "a dead token is noticed");
    finds(slow(), Planted::DiesAGraceAfterItsSuccessor, "an honest browser is not refused");
    finds(honest(), Planted::StaleResponse, "a response carries the newest token");
    finds(honest(), Planted::KeepsTheDead, "a bucket keeps what it needs");
    finds(failover(), Planted::LostWriteIsTheft, "a lost write is no theft");
    finds(failover(), Planted::UnrememberedIsAdmitted, "old data never comes back");
    finds(sleeping(), Planted::IgnoresIdle, "idle is over");
    finds(sleeping(), Planted::PurgeTakesTheLiving, "the purge spares the living");
}
