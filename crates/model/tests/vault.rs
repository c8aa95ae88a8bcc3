//! Every order of the vault's steps: no reference dangles, nothing is left over, and each broken rule is found.
#![cfg(not(shuttle))]
#![allow(clippy::panic, reason = "helpers of tests may panic")]

use model::{BrokenRule, Task, VaultModel};
use stateright::{Checker, HasDiscoveries, Model};

use Task::{Get, Insert, Logout, Remove, Update};

fn holds(tasks: &[Task]) {
    for model in [VaultModel::of(tasks), VaultModel::of(tasks).crashing()] {
        let checker = model.checker().spawn_bfs().join();
        checker.assert_properties();
        println!("{tasks:?}: {} moments", checker.unique_state_count());
    }
}

fn finds(tasks: &[Task], rule: BrokenRule, property: &'static str) {
    let model = VaultModel::of(tasks).breaking(rule);
    let checker = model.checker().finish_when(HasDiscoveries::AnyOf([property].into())).spawn_bfs().join();
    let found = checker.discovery(property);
    let path = found.unwrap_or_else(|| panic!("{rule:?} was not noticed as: {property}"));
    println!("{rule:?}: not so: {property}\n  {:?}", path.into_actions());
}

#[test]
fn two_writers_of_one_key_and_a_reader_leave_one_blob_that_is_found() {
    holds(&[Insert, Insert, Get]);
}

#[test]
fn a_writer_a_remover_and_a_reader_agree_on_what_is_there() {
    holds(&[Insert, Remove, Get]);
}

#[test]
fn three_updates_of_one_value_and_a_reader_lose_nothing() {
    holds(&[Update, Update, Update, Get]);
}

#[test]
fn a_logout_beside_a_writer_an_update_and_a_reader_leaves_nothing() {
    holds(&[Insert, Update, Logout, Get]);
}

#[test]
fn every_broken_rule_of_the_vault_is_noticed() {
    let (dangles, lost) = ("what the newest token refers to is there", "no value is taken for lost");
    let (left, update) = ("nothing else is left in the end", "no update is lost");
    finds(&[Insert, Get], BrokenRule::SwapsBeforeItPuts, dangles);
    finds(&[Insert, Get], BrokenRule::SwapsBeforeItPuts, lost);
    finds(&[Insert, Get], BrokenRule::DeletesBeforeItSwaps, dangles);
    finds(&[Insert, Insert], BrokenRule::LeavesTheReplaced, left);
    finds(&[Insert, Logout], BrokenRule::LeavesItsOwnAfterTheEnd, left);
    finds(&[Insert, Insert], BrokenRule::DeletesItsOwnOnAConflict, dangles);
    finds(&[Update, Update], BrokenRule::UpdatesOnce, update);
    finds(&[Update, Update], BrokenRule::LeavesTheFirstRun, left);
    finds(&[Insert, Get], BrokenRule::DoesNotLookAgain, lost);
    finds(&[Insert, Insert, Get], BrokenRule::LooksAgainOnce, lost);
    finds(&[Insert, Logout], BrokenRule::DeletesTheVaultFirst, dangles);
    finds(&[Insert, Logout], BrokenRule::LeavesTheVault, left);
}
