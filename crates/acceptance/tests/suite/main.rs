//! The checklist, case by case, over real sockets: written once, run against every adapter and store.
//!
//! A case is named by its line in the checklist (`CHECKLIST.md`), and by the sentence that it proves. The cases under
//! `Sqlite` need the rows of a database and run on every SQL store; those under `Shared` need two servers on one store.
//!
//! The cases of Redis test only the part that a client can see: its rows are `crates/store`'s business.
//!
//! To add an adapter, add its binary to this package and a line per store to the end of this file. To add a store, add
//! it to `Store` and `cases_of`, and, if it can run the cases that look into a database, to `Database`.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

mod access;
mod bearer;
mod binding;
mod cookie;
mod data;
mod device;
mod drill;
mod endings;
mod engine;
mod failure;
mod floods;
mod forgery;
mod garbage;
mod keys;
mod lasting;
mod lifecycle;
mod pages;
mod parallel;
mod replay;
mod subjects;
mod tampering;
mod theft;
mod time;
mod vault;
mod wstg;

use std::collections::BTreeSet;

use acceptance::report::line_of;
use support::{Store, Subject, run};

#[test]
fn every_case_has_a_line_in_the_checklist_and_every_line_a_case() {
    let names = include_str!("main.rs").lines().map(str::trim);
    let cases: Vec<&str> = names.filter(|name| name.contains('_') && name.bytes().all(is_of_a_name)).collect();
    assert!(cases.len() > 150, "the list of cases was not found");
    let rows = include_str!("../../CHECKLIST.md").lines().filter_map(|row| row.strip_prefix("| ")?.split_once(" | "));
    let lines: BTreeSet<&str> = rows.map(|(line, _)| line).filter(|line| !matches!(*line, "line" | "---")).collect();
    assert_eq!(cases.iter().map(|case| line_of(case)).collect::<BTreeSet<_>>(), lines);
}

fn is_of_a_name(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')
}

macro_rules! tests {
    ($subject:expr; $($module:ident: $($case:ident)*;)*) => {
        $($(
            #[test]
            fn $case() {
                run($subject, stringify!($case), crate::$module::$case);
            }
        )*)*
    };
}

macro_rules! cases_of {
    (Memory, $subject:expr) => {
        cases_of!(Common, $subject);
        tests! { $subject;
            time:
                c52_purge_by_batches_returns_a_count_and_spares_the_living
                c52_the_purge_loop_survives_a_store_error
            ;
        }
    };
    // Redis removes what has expired by itself, by its own clock: there is nothing to purge, least of all at a time that a
    // test makes up.
    (Redis, $subject:expr) => {
        cases_of!(Common, $subject);
        cases_of!(Shared, $subject);
    };
    // Two servers on one store, which is out of reach of a store in memory.
    (Shared, $subject:expr) => {
        tests! { $subject;
            floods:
                c40_two_cookie_names_on_one_store_keep_their_sessions_apart
            ;
            parallel:
                c55_two_servers_on_one_database_add_up
            ;
            device:
                c76_a_host_that_binds_no_session_does_not_unbind_one
            ;
            access:
                c95_of_two_servers_on_one_store_exactly_one_takes_a_value_once
            ;
        }
    };
    (Common, $subject:expr) => {
        tests! { $subject;
            cookie:
                c01_an_untouched_request_gets_no_cookie_and_asks_no_store
                c01_a_route_that_never_looks_asks_no_store_even_with_a_cookie
                c02_a_read_only_anonymous_request_gets_no_cookie_and_asks_no_store
                c03_the_first_insert_sets_exactly_one_cookie_and_writes_one_bucket
                c04_the_default_attributes_are_exactly_these
                c05_every_attribute_can_be_overridden
                c05_invalid_combinations_are_refused_at_build_time_with_what_to_change
                c06_the_removal_repeats_every_attribute_with_max_age_0
                c07_the_removal_of_a_host_cookie_is_one_that_browsers_accept
                c08_a_browser_session_cookie_has_neither_max_age_nor_expires
                c08_a_persistent_cookie_lives_as_its_session_does_up_to_400_days
                c09_reading_a_session_sets_no_cookie_before_the_rotation_interval
                c10_past_the_rotation_interval_a_read_rotates_the_token_once
                c11_a_change_rotates
                c12_inserting_an_equal_value_changes_nothing
                c12_an_equal_hash_map_changes_nothing
                c13_there_are_never_two_cookies_of_ours
                c14_the_applications_own_cookies_survive
            ;
            data:
                c15_a_value_is_visible_on_the_next_request
                c16_the_last_write_within_a_request_wins
                c17_remove_on_a_loaded_session_persists
                c18_update_persists
                c19_removing_what_is_absent_changes_nothing
                c20_clear_empties_and_the_session_stays
                c21_the_wrong_type_is_an_error_and_the_data_stays
                c22_an_unserialisable_value_is_an_error_and_the_state_stays
                c22_what_outgrows_the_cookie_is_413_and_the_previous_token_stays_good
                c23_unicode_binary_nested_large_integers_and_floats_round_trip
                c24_two_extractors_in_one_request_share_one_state
                c24_the_typed_view_mixes_with_keyed_access
                c25_guards_and_inner_middleware_see_the_session
            ;
            lifecycle:
                c26_renew_changes_id_and_cookie_and_keeps_the_data
                c26_renew_keeps_the_deadline_and_login_begins_a_new_life
                c27_the_old_cookie_is_refused_at_once_after_a_renewal
                c28_renew_twice_or_on_a_new_session_is_fine
                c29_an_insert_after_renew_is_kept
                c30_logout_ends_the_bucket_and_removes_the_cookie
                c31_every_earlier_cookie_is_refused_after_logout
                c32_a_session_made_and_ended_in_one_request_leaves_no_cookie_or_bucket
                c33_operations_after_logout_never_reach_what_ended
                c33_a_login_after_logout_in_one_request_starts_empty
                c34_a_5xx_discards_data_changes_login_and_renew
                c34_a_5xx_keeps_logout_and_handoff
                c34_a_panic_commits_nothing
                c35_redirects_save
            ;
            garbage:
                c36_garbage_is_anonymous_without_an_error_page_and_is_removed
                c36_a_token_with_any_bit_flipped_is_refused
                c42_of_duplicate_cookies_of_one_session_the_newest_is_judged
                c42_two_sessions_at_once_are_anonymous_until_a_login
                c42_the_store_is_asked_about_four_sessions_at_most
                c43_oversized_input_is_refused_before_any_crypto
                c46_non_canonical_spellings_are_refused
                c47_garbage_never_revokes_and_never_reaches_the_store
                c85_junk_of_any_number_neither_hides_nor_removes_the_good_cookie
                c85_values_that_may_be_tokens_never_cost_the_good_cookie
                c85_a_write_among_values_that_may_be_tokens_replaces_no_cookie
                c85_a_blank_behind_the_value_never_removes_the_cookie
                c86_a_token_of_a_later_version_is_left_alone_and_reported
            ;
            forgery:
                c37_a_token_of_an_unknown_key_is_anonymous_and_left_alone
                c38_the_seal_key_alone_makes_nothing_and_is_named_as_leaked
                c38_the_fingerprint_key_alone_makes_no_mark_on_ones_own_cookie_either
                c38_both_keys_make_no_bucket_and_admit_nothing
                c39_an_invented_id_is_refused
                c40_a_token_moved_to_another_cookie_name_is_refused
                c41_a_token_edited_to_the_id_of_another_session_is_refused
                c44_all_keys_and_a_sessions_id_cannot_make_a_cookie
                c45_debug_and_logs_show_no_id_token_key_or_payload
                c87_damage_by_the_cookies_own_holder_raises_no_alarm
                c87_a_forgery_raises_the_alarm_whatever_it_is_made_of
            ;
            time:
                c48_idle_expiry_is_enforced_by_the_server
                c48_idle_expiry_needs_no_clock_to_be_moved
                c48_a_route_that_never_looks_does_not_extend_the_idle_time
                c49_absolute_expiry_cannot_be_extended_by_activity
                c50_a_per_session_override_works
                c51_expired_but_not_yet_purged_is_refused
                c53_a_clock_that_steps_back_harms_nobody
            ;
            parallel:
                c54_a_hundred_parallel_requests_with_one_cookie_are_all_admitted
                c55_a_hundred_parallel_updates_from_one_cookie_add_up
                c56_parallel_writers_of_different_keys_lose_nothing
                c56_clear_takes_out_the_keys_that_are_there_at_its_commit
                c56_login_carries_along_what_another_request_committed_meanwhile
                c57_logout_racing_a_slow_write_stays_logged_out
                c57_a_logout_between_a_commits_decision_and_its_write_wins
                c57_a_login_whose_bucket_is_written_or_ended_meanwhile_ends_logged_in
                c57_a_commit_runs_to_its_end_when_the_client_hangs_up
                c57_a_request_after_the_tombstone_gets_a_session_of_its_own
                c57_a_slow_read_of_a_session_that_ended_meanwhile_sets_no_cookie
                c57_a_request_that_arrives_after_the_logout_touches_no_newer_cookie
                c57_a_double_clicked_logout_ends_logged_out
                c57_a_double_clicked_login_ends_logged_in
            ;
            replay:
                c58_a_client_that_missed_the_new_cookie_goes_on_with_the_newest_state
                c58_a_lost_login_or_renewal_answer_needs_a_new_login_but_is_no_replay
                c58_the_response_carries_the_newest_token_of_its_own_time
                c59_two_responses_that_crossed_leave_the_client_with_both_changes
                c60_a_dead_cookie_revokes_its_session_with_an_event_for_every_holder
                c60_theft_is_noticed_once_one_holder_stays_away_while_the_other_rotates
                c60_with_a_small_grace_by_the_wall_clock
                c60_a_superseded_cookie_that_is_still_alive_is_handed_the_newest
                c60_a_dead_cookie_on_a_large_or_endless_body_is_refused_without_revoking
                c60_where_replays_are_only_refused_the_session_goes_on
                c61_an_old_cookie_never_brings_old_data_back
                c62_a_pre_login_cookie_never_leads_to_the_logged_in_session
                c63_a_client_that_ignores_every_cookie_for_a_thousand_writes_goes_on
                c63_the_bucket_is_bounded_under_any_pattern
            ;
            endings:
                c80_a_renew_while_the_handler_of_an_ending_runs_saves_nobody
                c80_a_renew_between_an_endings_decision_and_its_write_saves_nobody
                c80_an_ending_with_the_cookie_from_before_a_renew_is_no_silent_success
                c80_a_renew_that_an_ending_overtook_makes_no_session
                c80_a_renew_beside_a_revocation_from_elsewhere_saves_nobody
                c80_a_renew_that_a_revocation_overtook_makes_no_session
                c80_logging_out_everywhere_ends_the_session_that_asks_and_all_others
                c82_a_login_as_another_subject_begins_afresh
                c82_a_login_in_ones_own_or_an_anonymous_session_keeps_it
                c82_what_the_previous_user_writes_meanwhile_is_not_carried_along
                c82_a_login_without_a_name_is_a_typed_error_that_changes_nothing
                c84_a_login_ends_every_session_that_its_request_presented
                c84_a_logout_ends_every_session_that_its_request_presented
                c89_a_408_and_a_499_discard_like_a_5xx
                c90_what_is_written_after_a_logout_is_kept_under_a_new_id
                c90_what_fails_after_a_logout_is_discarded_and_the_logout_is_kept
                c90_a_logout_that_keeps_data_carries_it_to_an_anonymous_session
                c90_a_logout_that_keeps_data_ends_the_session_on_a_5xx_too
            ;
            theft:
                c81_the_cookie_from_before_a_renew_is_a_replay_after_the_grace
                c81_a_small_grace_by_the_wall_clock
                c81_the_whole_chain_of_renewals_ends
                c81_a_superseded_cookie_from_before_a_renew_is_one_too
                c81_an_anonymous_sessions_old_cookie_revokes_nobody
                c81_on_a_body_that_may_have_been_held_back_it_revokes_nobody
                c81_where_replays_are_only_refused_the_renewed_session_goes_on
                c83_two_hundred_responses_not_yet_received_revoke_nobody
                c83_two_hundred_responses_under_way_at_once_revoke_nobody
                c49_a_clock_that_was_ahead_gives_no_session_a_longer_life
                c53_after_the_clock_was_ahead_an_old_cookie_dies_as_ever
                d3_a_dead_cookie_of_a_client_that_the_binding_refuses_revokes_nobody
            ;
            floods:
                c91_a_flood_of_ones_own_replays_hides_nobody_elses
                c91_a_flood_of_revocations_of_ones_own_hides_nobody_elses
                c91_endings_and_renewals_of_sessions_without_a_subject_are_limited
                c92_many_sessions_of_one_subject_keep_nobody_else_waiting
            ;
            lasting:
                c64_one_thread_serves_many_slow_requests_of_one_session
                c00_load_ms_and_reply_ms_hold_a_request_of_any_route
                c00_a_long_connection_learns_that_its_session_ended
                c00_after_the_headers_are_gone_writes_are_an_error_and_reads_work
                c00_sessions_are_listed_and_revoked_one_by_one_all_others_and_all
                c00_csrf_tokens_are_of_one_session
            ;
            pages:
                c00_a_cross_site_change_is_refused_on_every_route_and_changes_nothing
                c00_the_cross_origin_check_can_trust_exempt_and_only_report
                c00_the_cross_origin_check_on_one_route_leaves_the_others_alone
                c00_a_csrf_token_in_the_header_is_asked_for_by_the_extractor
                c00_a_login_form_is_protected_by_the_token_of_an_anonymous_session
                c00_flash_messages_survive_a_redirect_and_a_login_and_are_read_once
                c00_a_logout_clears_site_data_as_configured
                c00_the_audit_file_has_a_line_for_every_event_and_no_secret
            ;
            access:
                c95_of_parallel_requests_exactly_one_takes_a_value_once
                c95_a_value_taken_once_stays_taken_after_a_5xx
                c96_a_page_that_reads_untouched_does_not_keep_its_session_alive
                c96_a_touch_works_after_the_headers_are_gone
                c97_who_is_not_logged_in_is_sent_to_the_login_page_or_answered_401
                c97_a_route_gets_its_user_or_answers_403_or_500
                c98_a_form_without_its_sessions_token_is_refused_and_changes_nothing
                c98_data_of_another_type_counts_as_its_default
            ;
            vault:
                c99_a_private_value_is_kept_with_its_session_and_goes_with_it
                c99_a_large_value_spills_over_and_get_names_the_call_that_reads_it
                c99_parallel_requests_lose_no_private_value
                c99_a_5xx_keeps_no_private_value_and_a_limit_is_413
            ;
            wstg:
                wstg_sess_01_tokens_are_unpredictable_say_nothing_and_cannot_be_altered
                wstg_sess_02_every_set_cookie_has_all_protective_attributes
                wstg_sess_03_a_fixed_cookie_is_not_adopted_and_never_logged_in
                wstg_sess_04_the_token_travels_only_in_the_cookie_and_is_never_cached
                wstg_sess_05_a_forged_request_of_another_site_is_refused
                wstg_sess_06_a_logout_ends_the_session_on_the_server
                wstg_sess_07_idle_and_absolute_timeouts_are_enforced_by_the_server
                wstg_sess_08_no_data_of_a_session_makes_it_another_subjects
                wstg_sess_09_a_stolen_cookie_is_bounded_by_rotation_and_noticed
                wstg_sess_10_the_token_has_no_algorithm_to_choose_and_no_optional_part
                wstg_sess_11_parallel_sessions_are_listed_and_revoked_by_their_owner
            ;
            keys:
                c65_an_accepted_key_still_opens_and_a_change_seals_with_the_active_one
                c65_with_a_compromised_seal_key_users_go_on_and_forgeries_die
                c65_with_a_compromised_fingerprint_key_users_go_on_and_forgeries_die
                c65_a_dropped_key_is_unknown_and_the_cookie_waits_for_its_return
                c65_bad_key_configurations_are_refused_and_the_keys_in_force_stay
            ;
            tampering:
                c66_logging_out_everywhere_races_a_renewing_thief_and_nothing_survives
                c66_a_public_response_that_sets_our_cookie_is_not_stored_by_caches
                c66_a_304_gets_no_cache_control_of_ours
            ;
            failure:
                c67_a_store_down_at_load_is_an_opaque_503_and_the_session_survives_it
                c67_a_store_that_is_down_at_commit_is_a_503_and_nothing_is_half_done
                c67_a_handlers_own_5xx_is_not_replaced_by_a_failed_commit
                c67_a_randomly_failing_store_loses_and_repeats_no_acknowledged_write
                c67_a_write_whose_acknowledgement_was_lost_is_not_made_twice
                c67_a_logout_with_a_lost_acknowledgement_ends_session_and_cookie
            ;
            subjects:
                d1_a_step_up_renews_session_and_authentication_and_a_login_starts_anew
                d1_bad_handles_labels_and_subjects_are_typed_errors_that_change_nothing
                d1_revoking_the_session_that_asks_is_a_logout
                d1_a_login_can_end_all_other_sessions_in_the_same_request
                d1_a_login_over_the_limit_evicts_the_oldest_session
                d1_parallel_logins_leave_exactly_the_limit_where_the_oldest_are_evicted
                d1_a_login_over_the_limit_is_refused_until_a_session_ends
                d1_parallel_logins_never_exceed_a_limit_that_refuses_further_ones
                d1_session_errors_of_a_handler_become_responses_of_the_applications_own
                g1_the_providers_logout_ends_what_came_from_its_session_and_no_more
                g1_a_thief_who_renews_against_the_providers_logout_does_not_survive_it
            ;
            binding:
                d3_another_user_agent_is_refused_without_touching_cookie_or_session
                d3_a_binding_lasts_through_rotations_and_handoffs_and_moves_with_a_login
                d3_reported_mismatches_keep_the_session_and_a_renewal_binds_it_anew
                d3_an_address_is_bound_by_its_prefix
                d3_a_custom_value_and_several_properties_at_once
            ;
            bearer:
                d4_a_session_travels_as_a_bearer_token_through_its_whole_life
                d4_a_dead_bearer_token_is_a_replay
                d4_a_cookies_token_is_no_bearer_token_and_the_other_way_round
                d4_where_both_come_the_bearer_token_alone_counts
                d4_a_cookie_never_becomes_a_bearer_token
                d4_without_cookies_every_session_is_a_bearer_token
                d4_forged_bearer_tokens_raise_the_alarm
                d4_a_token_that_is_bound_by_dpop_works_with_its_key_alone
            ;
            device:
                c70_a_stolen_cookie_without_the_ticket_gets_nothing
                c70_a_thief_whose_ticket_died_cannot_have_rotated_the_owner_out
                c70_what_a_login_offers_follows_the_settings
                c70_routes_can_ask_for_a_device_and_for_a_fresh_proof
                c71_a_ticket_of_another_device_session_key_or_time_gets_nothing
                c72_a_lost_registration_answer_locks_nobody_out
                c72_tabs_that_come_at_once_bind_the_session_once
                c72_a_request_under_way_when_the_session_is_bound_is_served
                c72_a_registration_is_for_one_session_whatever_comes_in_between
                c72_a_thief_without_the_challenge_cannot_bind_a_key
                c73_a_refresh_depends_on_no_cookie_and_follows_one_that_came
                c73_a_refresh_that_crosses_a_login_ends_no_newer_binding
                c74_hostile_proofs_are_refused_without_ending_the_browsers_session
                c75_a_handoff_needs_the_ticket_and_leaves_the_bucket_alone_without
                c77_a_hundred_writers_across_a_refresh_add_up
                c78_a_logout_needs_no_proof_and_takes_the_ticket_along
                c79_a_store_that_is_down_ends_no_browsers_session
                c79_a_store_that_refuses_writes_keeps_no_freshly_bound_browser_out
            ;
            drill:
                d5_a_compromise_moves_all_clients_to_new_keys_and_reports_forgeries
                d5_a_reload_that_fails_keeps_the_keys_and_says_so_without_showing_one
            ;
        }
    };
    (Postgres, $subject:expr) => {
        cases_of!(Sqlite, $subject);
    };
    (MySql, $subject:expr) => {
        cases_of!(Sqlite, $subject);
    };
    (Sqlite, $subject:expr) => {
        cases_of!(Memory, $subject);
        cases_of!(Shared, $subject);
        tests! { $subject;
            floods:
                c92_an_unreadable_row_hides_no_other_session_and_can_be_ended
            ;
            forgery:
                c44_a_dump_of_the_store_and_all_keys_cannot_make_a_cookie
                c44_all_keys_store_and_a_cookie_lead_to_that_sessions_newest_alone
            ;
            time:
                c53_hosts_30_seconds_apart_harm_nobody
            ;
            tampering:
                c88_the_fingerprint_key_and_a_writable_store_make_nothing
                c66_a_handoff_swapped_or_put_back_is_refused_and_the_bucket_left_alone
                c66_a_bucket_moved_to_another_subject_is_refused
                c66_the_seal_key_and_a_writable_store_cannot_forge_but_both_keys_can
                c66_a_restored_backup_is_noticed_and_not_before_ends_what_it_revived
                c66_one_call_refuses_old_cookies_on_every_host_and_after_a_restart
            ;
            failure:
                c67_a_killed_server_loses_no_acknowledged_write
            ;
        }
    };
}

macro_rules! suite {
    ($name:ident, $binary:literal, Store::$store:ident) => {
        mod $name {
            use super::*;

            const SUBJECT: Subject = Subject { binary: env!(concat!("CARGO_BIN_EXE_", $binary)), store: Store::$store };

            cases_of!($store, SUBJECT);
        }
    };
}

suite!(actix_memory, "acceptance-actix", Store::Memory);
suite!(actix_sqlite, "acceptance-actix", Store::Sqlite);
suite!(actix_postgres, "acceptance-actix", Store::Postgres);
suite!(actix_mysql, "acceptance-actix", Store::MySql);
suite!(actix_redis, "acceptance-actix", Store::Redis);
suite!(axum_memory, "acceptance-axum", Store::Memory);
suite!(axum_sqlite, "acceptance-axum", Store::Sqlite);
suite!(axum_postgres, "acceptance-axum", Store::Postgres);
suite!(axum_mysql, "acceptance-axum", Store::MySql);
suite!(axum_redis, "acceptance-axum", Store::Redis);
suite!(rocket_memory, "acceptance-rocket", Store::Memory);
suite!(rocket_sqlite, "acceptance-rocket", Store::Sqlite);
suite!(rocket_postgres, "acceptance-rocket", Store::Postgres);
suite!(rocket_mysql, "acceptance-rocket", Store::MySql);
suite!(rocket_redis, "acceptance-rocket", Store::Redis);
