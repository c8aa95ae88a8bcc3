//! Every history of a session that is bound to a device: no thief gets in, no owner is locked out, and each broken rule
//! is found.
#![cfg(not(shuttle))]
#![allow(clippy::panic, reason = "helpers of tests may panic")]

use model::{DeviceModel, Doing, Loot, Relaxed};
use stateright::{Checker, HasDiscoveries, Model};

use Doing::{Change, Login, Logout, Look, Renew, Switch};

/// Goes through all histories.
fn holds(name: &str, model: DeviceModel) {
    let checker = model.checker().spawn_bfs().join();
    println!("{name}: {} moments, at most {} steps", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
}

/// The shortest history in which the property does not hold.
fn finds(model: DeviceModel, rule: Relaxed, property: &'static str) {
    let model = model.breaking(rule);
    let checker = model.checker().finish_when(HasDiscoveries::AnyOf([property].into())).spawn_bfs().join();
    let found = checker.discovery(property);
    let path = found.unwrap_or_else(|| panic!("{rule:?} was not noticed as: {property}"));
    println!("{rule:?}: not so: {property}\n  {:?}", path.into_actions());
}

/// Two tabs, while the registration, its answer and theirs cross and get lost.
fn binding() -> DeviceModel {
    DeviceModel::of(&[Look, Change], 4)
}

/// The user logs in again, and goes on.
fn logging_in() -> DeviceModel {
    DeviceModel::of(&[Login, Change], 6).bound()
}

/// Another user logs in, and goes on.
fn switching() -> DeviceModel {
    DeviceModel::of(&[Switch, Change], 6).bound()
}

/// The ticket of the key before comes last.
fn going_on() -> DeviceModel {
    DeviceModel::of(&[Login, Change, Look], 2).bound()
}

/// A thief of the cookie alone, who may have copied it before it was bound.
fn token_thief() -> DeviceModel {
    DeviceModel::of(&[Look, Change], 4).refreshing(0).with_thief(Loot::Token, &[Look, Change])
}

fn late_token_thief() -> DeviceModel {
    DeviceModel::of(&[Renew, Change], 5).bound().with_thief(Loot::Token, &[Change, Renew])
}

/// A thief of cookie and ticket, while the owner goes on.
fn jar_thief() -> DeviceModel {
    DeviceModel::of(&[Change], 7).bound().with_thief(Loot::Jar, &[Change, Look])
}

/// Malware that signs once and leaves.
fn signing_thief() -> DeviceModel {
    DeviceModel::of(&[Look], 10).bound().refreshing(0).with_thief(Loot::JarAndProof, &[Change, Look])
}

fn leaving() -> DeviceModel {
    DeviceModel::of(&[Change, Logout], 4).bound().refreshing(0)
}

#[test]
fn in_every_history_of_a_binding_its_owner_gets_in_whatever_is_lost() {
    holds("binding", binding());
    holds("renewing", DeviceModel::of(&[Renew, Change], 4));
}

#[test]
fn in_every_history_with_a_login_the_new_session_gets_a_key_of_its_own() {
    holds("logging in", logging_in());
    holds("going on", going_on());
    holds("logging in, unbound", DeviceModel::of(&[Login, Change], 4));
    holds("another user", switching());
}

#[test]
fn in_every_history_with_a_logout_it_needs_no_ticket() {
    holds("leaving", leaving());
}

#[test]
fn in_every_history_a_token_without_a_ticket_gets_nothing_and_ends_nobody() {
    holds("token thief", token_thief());
    holds("late token thief", late_token_thief());
}

#[test]
fn in_every_history_a_stolen_ticket_or_proof_is_over_in_time() {
    holds("jar thief", jar_thief());
    holds("signing thief", signing_thief());
}

#[test]
fn every_broken_rule_of_the_devices_is_noticed() {
    let (nothing, ends) = ("nothing for a token without a ticket", "a token without a ticket ends nobody");
    let (in_time, owner) = ("token and ticket are over in time", "the owner gets in");
    let (key, bound, logout) =
        ("no key but the owner's is bound", "a registered key is bound", "a logout ends the session");
    finds(token_thief(), Relaxed::AsksThePresented, nothing);
    finds(token_thief(), Relaxed::BindsByAnyTicket, key);
    finds(token_thief(), Relaxed::RegistersByAnyChallenge, key);
    finds(late_token_thief(), Relaxed::ProofInTheToken, nothing);
    finds(late_token_thief(), Relaxed::ProofInTheBucket, nothing);
    finds(late_token_thief(), Relaxed::RenewalDropsTheDevice, nothing);
    finds(
        DeviceModel::of(&[Change, Change], 7).bound().refreshing(2).with_thief(Loot::Token, &[Look]),
        Relaxed::TheDeadRevokeUnproved,
        ends,
    );
    finds(binding(), Relaxed::RefreshWithoutHandle, bound);
    finds(logging_in(), Relaxed::LoginKeepsTheDevice, owner);
    finds(binding(), Relaxed::NoGrace, owner);
    finds(binding(), Relaxed::NoneIsEarly, owner);
    finds(jar_thief(), Relaxed::TicketsDoNotEnd, in_time);
    finds(signing_thief(), Relaxed::ChallengesDoNotEnd, in_time);
    finds(leaving(), Relaxed::LogoutNeedsATicket, logout);
    finds(going_on(), Relaxed::LeavesUselessTickets, owner);
    finds(logging_in(), Relaxed::EndsWhileRegistering, owner);
    finds(logging_in(), Relaxed::EndsOnceBound, owner);
    finds(logging_in(), Relaxed::EndsAfterAGrace, owner);
    finds(switching(), Relaxed::EndsBesideTheJustEnded, owner);
}
