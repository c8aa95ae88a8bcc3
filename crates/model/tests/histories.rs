//! Every history of a few requests: nothing that must not happen does, and each broken rule is found.
#![cfg(not(shuttle))]
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests may panic")]

use model::{Kind, Planted, Protocol, Seen};
use stateright::{Checker, HasDiscoveries, Model};

use Kind::{Burst, Login, LoginOther, Logout, LogoutEverywhere, Read, Renew, Write};

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

/// A thief who renews again and again, and writes, while the user logs out.
fn renewing_thief() -> Protocol {
    Protocol::of(&[Write, Logout], 1).signed_in().with_thief(&[Renew, Renew, Write])
}

/// The same while the user, who is logged in elsewhere too, logs out everywhere.
fn renewing_everywhere() -> Protocol {
    Protocol::of(&[Login, LogoutEverywhere], 1).signed_in().with_thief(&[Renew, Renew])
}

/// A thief who renews, writes, and logs the user out, here and everywhere, while the user does the same.
fn ending_thief() -> Protocol {
    Protocol::of(&[Logout, Renew], 1).signed_in().with_thief(&[Logout, LogoutEverywhere, Renew, Write])
}

fn ending_thief_everywhere() -> Protocol {
    Protocol::of(&[Login, LogoutEverywhere], 1).signed_in().with_thief(&[Logout, LogoutEverywhere, Renew, Write])
}

/// The identity provider ends its session while a thief renews one that came from it, and the user writes and logs in again.
fn provider_logout() -> Protocol {
    Protocol::of(&[Write, Login], 1).signed_in().with_thief(&[Renew, Renew]).with_provider_logout()
}

/// A thief who renews the session, and goes on alone.
fn departed() -> Protocol {
    Protocol::of(&[Read], 4).signed_in().with_thief(&[Renew, Renew, Write])
}

/// Somebody else logs in where a thief renews the session of the user before.
fn switching() -> Protocol {
    Protocol::of(&[Write, LoginOther, Logout], 1).signed_in().with_thief(&[Renew])
}

/// A login that is clicked twice, and goes on for long enough that tombstones are judged by their age.
fn clicking_login() -> Protocol {
    Protocol::of(&[Login, Login, Read], 5)
}

fn clicking_login_again() -> Protocol {
    Protocol::of(&[Login, Login, Read], 5).signed_in()
}

fn clicking_renew() -> Protocol {
    Protocol::of(&[Renew, Renew, Read], 5).signed_in()
}

/// Changes whose responses cross that of a renewal.
fn renewing() -> Protocol {
    Protocol::of(&[Renew, Write, Read], 5).signed_in()
}

fn bursting() -> Protocol {
    Protocol::of(&[Burst, Write], 5)
}

/// A browser is left with a token that was pushed out of the list, while a thief goes on with the session.
fn crowd() -> Protocol {
    Protocol::of(&[Burst, Read], 6).with_thief(&[Read, Read])
}

fn failover() -> Protocol {
    Protocol::of(&[Write, Write, Read], 2).with_failover()
}

fn sleeping() -> Protocol {
    Protocol::of(&[Write, Read, Read], 3).with_sleep()
}

#[test]
fn in_every_honest_history_nobody_is_refused_and_no_update_is_lost() {
    exhaust("honest", honest(), &[Seen::Handoff, Seen::Conflict]);
}

#[test]
fn in_every_history_with_a_logout_ended_is_final() {
    exhaust("logging out", logging_out(), &[Seen::Handoff]);
}

#[test]
fn in_every_history_with_logins_they_succeed_and_end_the_old_session() {
    exhaust("logging in", logging_in(), &[Seen::Conflict]);
}

#[test]
fn in_every_theft_history_old_data_stays_out_and_dead_tokens_are_noticed() {
    exhaust("theft", theft(), &[Seen::Handoff, Seen::Replay]);
    exhaust("takeover", takeover(), &[Seen::Handoff, Seen::Replay]);
    exhaust("busy thief", busy_thief(), &[Seen::Handoff, Seen::Conflict]);
}

#[test]
fn in_every_history_with_lost_writes_nobody_is_taken_for_a_thief() {
    exhaust("failover", failover(), &[Seen::Unremembered]);
}

#[test]
fn in_every_history_with_a_long_sleep_idle_sessions_end_and_others_stay() {
    exhaust("sleep", sleeping(), &[Seen::Expired, Seen::Purged]);
}

#[test]
fn a_logout_beside_a_thief_who_renews_leaves_nothing_of_the_session() {
    exhaust("renewing thief", renewing_thief(), &[Seen::Followed, Seen::Conflict]);
    exhaust("ending thief", ending_thief(), &[Seen::Followed, Seen::Conflict]);
}

#[test]
fn a_logout_everywhere_beside_a_thief_who_renews_leaves_nothing() {
    exhaust("renewing everywhere", renewing_everywhere(), &[Seen::Followed]);
    exhaust("ending thief everywhere", ending_thief_everywhere(), &[Seen::Followed, Seen::Conflict]);
}

#[test]
fn a_providers_logout_beside_a_thief_who_renews_leaves_nothing_of_its_own() {
    exhaust("provider's logout", provider_logout(), &[Seen::Followed, Seen::Conflict]);
}

#[test]
fn the_token_that_a_thief_renewed_away_is_a_replay_after_a_grace() {
    exhaust("departed", departed(), &[Seen::MovedOn, Seen::Followed]);
}

#[test]
fn a_login_as_another_subject_leaves_nothing_of_the_session_before() {
    exhaust("switching", switching(), &[Seen::Followed]);
}

#[test]
fn a_login_or_renewal_that_is_clicked_twice_ends_no_session() {
    exhaust("clicking login", clicking_login(), &[]);
    exhaust("clicking login again", clicking_login_again(), &[]);
    exhaust("clicking renew", clicking_renew(), &[Seen::MovedOn]);
    exhaust("renewing", renewing(), &[Seen::MovedOn, Seen::Handoff]);
}

#[test]
fn a_token_that_a_burst_pushed_out_revokes_only_when_it_is_dead() {
    exhaust("bursting", bursting(), &[Seen::CrowdedOut]);
    exhaust("crowd", crowd(), &[Seen::CrowdedOut, Seen::Replay]);
}

#[test]
fn each_rule_of_an_ending_that_is_broken_on_purpose_is_found_out() {
    let reaches = "an ending reaches every successor";
    finds(renewing_thief(), Planted::TombstoneWithoutSuccessor, reaches);
    finds(renewing_thief(), Planted::EndingDoesNotFollow, reaches);
    finds(switching(), Planted::EndingDoesNotFollow, reaches);
    finds(renewing_everywhere(), Planted::EndingDoesNotFollow, reaches);
    finds(renewing_thief(), Planted::EndingFollowsOneStep, reaches);
    finds(renewing_everywhere(), Planted::SweepsOnce, "everywhere is everywhere");
    let group = "the provider's logout reaches every session";
    finds(provider_logout(), Planted::GroupSweepsOnce, group);
    finds(provider_logout(), Planted::RenewalLosesTheGroup, group);
    finds(provider_logout(), Planted::RotationLosesTheGroup, group);
    finds(departed(), Planted::TombstoneWithoutSuccessor, "a dead token is noticed");
    finds(clicking_login(), Planted::AnonymousIsReplayed, "only a dead token revokes");
    finds(clicking_renew(), Planted::ReplayWithinTheGrace, "an honest browser revokes nothing");
    finds(switching(), Planted::OtherSubjectInherits, "another subject inherits nothing");
}

#[test]
fn each_rule_of_the_watermark_that_is_broken_on_purpose_is_found_out() {
    finds(bursting(), Planted::NoWatermark, "an honest browser revokes nothing");
    finds(crowd(), Planted::WatermarkNeverDies, "a dead token is noticed");
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
