use proptest::prelude::*;

use super::*;

const GRACE: Millis = Millis::from_secs(60);
const POLICY: BucketPolicy = BucketPolicy { grace: GRACE, touch_step: None };
const IDLE: Millis = Millis::from_secs(30 * 60);
const LIFETIME: Millis = Millis::from_secs(8 * 60 * 60);

/// The fingerprint of the token of this generation.
fn of(generation: u32) -> Fingerprint {
    let mut bytes = [0xaa; 16];
    bytes[..4].copy_from_slice(&generation.to_be_bytes());
    Fingerprint::from_bytes(bytes)
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000).after(Millis::from_secs(seconds))
}

fn millis_at(millis: u64) -> Timestamp {
    at(0).after(Millis::new(millis))
}

fn fresh() -> Bucket {
    let new = NewBucket {
        id: SessionId::from_bytes([1; 16]),
        subject: None,
        group: None,
        label: None,
        expires_at: at(0).after(LIFETIME),
        idle_timeout: Some(IDLE),
        first: of(FIRST_GENERATION),
    };
    Bucket::create(new, at(0))
}

fn arrival(generation: u32, at: Timestamp) -> Arrival {
    Arrival { generation, fingerprint: of(generation), at }
}

fn succession(bucket: &Bucket) -> Succession {
    let generation = bucket.next_generation().expect("few generations");
    Succession {
        fingerprint: of(generation),
        handoff: vec![0; 100],
        subject: bucket.subject,
        group: None,
        label: bucket.label.clone(),
        expires_at: bucket.expires_at,
        idle_timeout: bucket.idle_timeout,
    }
}

/// The bucket rotated for the holder of this generation.
fn rotated(bucket: &Bucket, holder: u32, now: Timestamp) -> Bucket {
    bucket.rotated(&arrival(holder, now), succession(bucket), now, &POLICY).expect("few generations")
}

fn touched(bucket: &Bucket, holder: u32, now: Timestamp) -> Bucket {
    bucket.touched(&arrival(holder, now), now, &POLICY)
}

fn standing(bucket: &Bucket, generation: u32, now: Timestamp) -> Standing {
    bucket.standing(generation, &of(generation), now)
}

fn dead_after(bucket: &Bucket, generation: u32) -> Option<Timestamp> {
    let retired = bucket.retired.iter().find(|retired| retired.generation == generation).expect("remembered");
    retired.dead_after
}

// The rows of the table.

#[test]
fn the_token_whose_fingerprint_is_the_bucket_s_is_current() {
    let bucket = fresh();
    assert_eq!(standing(&bucket, 1, at(0)), Standing::Current);
    let bucket = rotated(&bucket, 1, at(10));
    assert_eq!(standing(&bucket, 2, at(10)), Standing::Current);
}

#[test]
fn a_rotated_token_stays_superseded_and_alive_while_no_request_comes() {
    let bucket = rotated(&fresh(), 1, at(10));
    for seconds in [10, 70, 71, 3600, 1_000_000] {
        assert_eq!(standing(&bucket, 1, at(seconds)), Standing::Superseded, "after {seconds} s");
    }
}

#[test]
fn a_retired_and_dead_token_is_a_replay() {
    let bucket = touched(&rotated(&fresh(), 1, at(9)), 2, at(70));
    assert_eq!(standing(&bucket, 1, at(130)), Standing::Superseded, "the last moment");
    assert_eq!(standing(&bucket, 1, millis_at(130_001)), Standing::Replayed);
}

#[test]
fn an_unknown_token_of_an_earlier_generation_is_a_replay() {
    let bucket = touched(&touched(&rotated(&fresh(), 1, at(9)), 2, at(70)), 2, at(131));
    assert!(bucket.retired.is_empty(), "the dead entry is dropped");
    assert_eq!(standing(&bucket, 1, at(131)), Standing::Replayed);
    let stranger = Fingerprint::from_bytes([0; 16]);
    assert_eq!(bucket.standing(1, &stranger, at(131)), Standing::Replayed);
    assert_eq!(bucket.standing(0, &stranger, at(131)), Standing::Replayed);
}

#[test]
fn an_unknown_token_of_this_or_a_later_generation_is_unremembered() {
    let bucket = rotated(&fresh(), 1, at(10));
    let stranger = Fingerprint::from_bytes([0; 16]);
    for generation in [2, 3, u32::MAX] {
        assert_eq!(bucket.standing(generation, &stranger, at(10)), Standing::Unremembered);
    }
}

#[test]
fn a_fingerprint_that_differs_in_one_bit_is_another() {
    let bucket = rotated(&fresh(), 1, at(10));
    for generation in [1, 2] {
        for place in 0..128_usize {
            let mut bytes = *of(generation).as_bytes();
            bytes[place / 8] ^= 1 << (place % 8);
            let found = bucket.standing(generation, &Fingerprint::from_bytes(bytes), at(10));
            assert!(matches!(found, Standing::Replayed | Standing::Unremembered), "bit {place}");
        }
    }
}

#[test]
fn a_bucket_expires_at_its_absolute_deadline() {
    let mut bucket = fresh();
    bucket.idle_timeout = None;
    let deadline = at(0).after(LIFETIME);
    assert!(!bucket.is_expired(Timestamp::from_millis(deadline.as_millis() - 1), &POLICY));
    assert!(bucket.is_expired(deadline, &POLICY));
}

#[test]
fn a_bucket_expires_once_idle_for_longer_than_timeout_plus_damping_step() {
    let bucket = fresh();
    let step = bucket.touch_step(&POLICY);
    let last = at(0).after(IDLE).after(step);
    assert!(!bucket.is_expired(at(0).after(IDLE), &POLICY));
    assert!(!bucket.is_expired(last, &POLICY));
    assert!(bucket.is_expired(last.after(Millis::new(1)), &POLICY));
    // A visit that fell into the damping step was not written, and still counts.
    let seen = touched(&bucket, 1, at(100));
    let unwritten_visit = at(100).after(step);
    assert!(seen.touch_due(unwritten_visit, &POLICY));
    assert!(!seen.touch_due(Timestamp::from_millis(unwritten_visit.as_millis() - 1), &POLICY));
    assert!(!seen.is_expired(unwritten_visit.after(IDLE), &POLICY));
}

#[test]
fn the_nonzero_damping_step_is_the_least_of_minute_idle_20th_and_grace() {
    let step = |idle: Option<u64>, grace: u64| {
        let bucket = Bucket { idle_timeout: idle.map(Millis::new), ..fresh() };
        bucket.touch_step(&BucketPolicy { grace: Millis::new(grace), touch_step: None }).get()
    };
    assert_eq!(step(None, 600_000), 60_000);
    assert_eq!(step(Some(30 * 60_000), 600_000), 60_000);
    assert_eq!(step(Some(60_000), 600_000), 3000);
    assert_eq!(step(None, 2000), 2000);
    assert_eq!(step(Some(0), 0), 1);
}

#[test]
fn a_policys_own_step_is_cut_at_a_quarter_of_the_idle_timeout() {
    let step = |idle: Option<u64>, step: u64| {
        let bucket = Bucket { idle_timeout: idle.map(Millis::new), ..fresh() };
        bucket.touch_step(&BucketPolicy { touch_step: Some(Millis::new(step)), ..POLICY }).get()
    };
    assert_eq!(step(Some(30 * 60_000), 300_000), 300_000, "more than a grace");
    assert_eq!(step(None, 300_000), 300_000);
    assert_eq!(step(Some(8 * 60_000), 300_000), 120_000);
    assert_eq!(step(None, 3_600_000), MAX_TOUCH_STEP.get());
    assert_eq!(step(Some(0), 0), 1);
}

/// The purge does not know the policy, and must not be earlier than the expiry.
#[test]
fn with_the_longest_step_a_bucket_expires_before_it_may_be_purged() {
    let bucket = Bucket { idle_timeout: Some(Millis::from_secs(3600)), expires_at: at(1_000_000), ..fresh() };
    let policy = BucketPolicy { touch_step: Some(MAX_TOUCH_STEP), ..POLICY };
    assert!(bucket.is_expired(bucket.purge_at(), &policy));
}

#[test]
fn a_bucket_may_be_purged_an_hour_after_it_expired_and_not_before() {
    let bucket = fresh();
    assert!(bucket.is_expired(bucket.purge_at(), &POLICY));
    let (idle, late, hour) = (30 * 60, 60, 60 * 60);
    assert_eq!(bucket.purge_at(), at(idle + late + hour), "the idle timeout may be late by a touch step");
    let bucket = touched(&bucket, 1, at(8 * 60 * 60 - 10));
    assert_eq!(bucket.purge_at(), bucket.expires_at.after(PURGE_DELAY), "the absolute deadline comes first");
    let endless = Bucket { idle_timeout: None, ..fresh() };
    assert_eq!(endless.purge_at(), endless.expires_at.after(PURGE_DELAY));
}

#[test]
fn a_tombstone_stands_for_one_grace() {
    let tombstone = Tombstone::new(SessionId::from_bytes([1; 16]), at(5), &POLICY);
    assert_eq!((tombstone.ended_at, tombstone.expires_at), (at(5), at(65)));
    assert_eq!(Entry::Tombstone(tombstone).purge_at(), at(65));
}

// When a retired token dies.

#[test]
fn a_token_presented_before_more_than_a_grace_has_passed_settles_nothing() {
    for millis in [10_000, 69_999, 70_000] {
        let bucket = touched(&rotated(&fresh(), 1, at(10)), 2, millis_at(millis));
        assert_eq!(dead_after(&bucket, 1), None, "at {millis} ms");
    }
}

#[test]
fn a_token_presented_after_over_a_grace_gives_older_ones_one_grace_more() {
    let bucket = touched(&rotated(&fresh(), 1, at(10)), 2, millis_at(70_001));
    assert_eq!(dead_after(&bucket, 1), Some(millis_at(130_001)));
}

#[test]
fn what_is_settled_stays_settled() {
    let bucket = touched(&rotated(&fresh(), 1, at(9)), 2, at(70));
    let bucket = touched(&touched(&bucket, 2, at(100)), 1, at(129));
    assert_eq!(dead_after(&bucket, 1), Some(at(130)), "neither a later visit nor its own moves it");
}

#[test]
fn a_token_settles_neither_itself_nor_newer_ones() {
    let bucket = rotated(&rotated(&rotated(&fresh(), 1, at(10)), 1, at(11)), 1, at(12));
    let bucket = touched(&bucket, 2, at(100));
    assert_eq!(dead_after(&bucket, 1), Some(at(160)));
    assert_eq!((dead_after(&bucket, 2), dead_after(&bucket, 3)), (None, None));
}

#[test]
fn a_superseded_token_settles_those_before_it() {
    let bucket = rotated(&rotated(&fresh(), 1, at(10)), 2, at(20));
    let bucket = rotated(&bucket, 2, at(90));
    assert_eq!(dead_after(&bucket, 1), Some(at(150)));
    assert_eq!((dead_after(&bucket, 2), dead_after(&bucket, 3)), (None, None));
}

#[test]
fn the_arrival_counts_and_not_the_write_of_a_slow_handler() {
    let bucket = rotated(&fresh(), 1, at(9));
    let early = bucket.touched(&arrival(2, at(60)), at(500), &POLICY);
    assert_eq!(dead_after(&early, 1), None, "it arrived before the grace had passed");
    let late = bucket.touched(&arrival(2, at(70)), at(120), &POLICY);
    assert_eq!(dead_after(&late, 1), Some(at(130)), "a grace after it arrived");
}

#[test]
fn an_arrival_from_a_clock_ahead_of_the_writer_s_counts_as_now() {
    let bucket = rotated(&fresh(), 1, at(9)).touched(&arrival(2, at(10_000)), at(70), &POLICY);
    assert_eq!(dead_after(&bucket, 1), Some(at(130)));
}

#[test]
fn dead_entries_are_dropped_by_the_next_write_and_alive_ones_kept() {
    let bucket = touched(&rotated(&fresh(), 1, at(9)), 2, at(70));
    let bucket = touched(&bucket, 2, at(130));
    assert_eq!(bucket.retired.len(), 1, "alive up to and with its last moment");
    let bucket = touched(&bucket, 2, millis_at(130_001));
    assert!(bucket.retired.is_empty());
}

#[test]
fn a_write_drops_the_handoff_once_all_entries_are_dead_and_a_grace_passed() {
    let bucket = touched(&rotated(&fresh(), 1, at(9)), 2, at(70));
    assert!(bucket.handoff.is_some(), "the superseded token is alive");
    let bucket = touched(&bucket, 2, at(131));
    assert!(bucket.handoff.is_none());

    // With no entry left, the last rotation still keeps it for a grace.
    let mut young = rotated(&fresh(), 1, at(10));
    young.retired.clear();
    assert!(touched(&young, 2, millis_at(69_999)).handoff.is_some());
    assert!(touched(&young, 2, at(70)).handoff.is_none());
}

#[test]
fn a_label_changes_neither_times_nor_tokens() {
    let bucket = rotated(&fresh(), 1, at(10));
    let labelled = bucket.labelled(Some(vec![1, 2, 3]));
    assert_eq!(labelled.label.as_deref(), Some(&[1, 2, 3][..]));
    assert_eq!(labelled.revision, bucket.revision.next());
    let as_before = Bucket { label: None, revision: bucket.revision, ..labelled };
    assert_eq!(as_before.to_record(), bucket.to_record());
}

#[test]
fn the_last_generation_has_no_successor() {
    let bucket = Bucket { generation: u32::MAX, ..fresh() };
    assert_eq!(bucket.next_generation(), None);
    let succession = succession(&fresh());
    assert!(bucket.rotated(&arrival(1, at(1)), succession, at(1), &POLICY).is_none());
}

#[test]
fn a_rotation_takes_over_everything_of_the_succession() {
    let bucket = fresh();
    let succession = Succession {
        subject: Some(SubjectTag::from_bytes([5; 16])),
        label: Some(vec![6]),
        expires_at: at(999),
        idle_timeout: None,
        ..succession(&bucket)
    };
    let next = bucket.rotated(&arrival(1, at(10)), succession, at(11), &POLICY).expect("few generations");
    assert_eq!((next.generation, next.revision), (2, Revision::new(2)));
    assert_eq!((next.rotated_at, next.last_seen_at, next.created_at), (at(11), at(11), at(0)));
    assert_eq!((next.subject, next.label.as_deref()), (Some(SubjectTag::from_bytes([5; 16])), Some(&[6][..])));
    assert_eq!((next.expires_at, next.idle_timeout), (at(999), None));
    assert_eq!((next.retired[0].generation, next.retired[0].superseded_at), (1, at(11)));
}

// Bounds.

#[test]
fn a_client_that_ignores_set_cookie_for_a_thousand_writes_stays_alive() {
    for seconds_between in [0, 1, 61, 3600] {
        let mut bucket = Bucket { idle_timeout: None, expires_at: at(u64::MAX / 2000), ..fresh() };
        let mut now = at(0);
        for write in 0..1000 {
            now = now.after(Millis::from_secs(seconds_between));
            assert_eq!(standing(&bucket, 1, now), if write == 0 { Standing::Current } else { Standing::Superseded });
            bucket = rotated(&bucket, 1, now);
            assert!(bucket.retired.len() <= MAX_RETIRED && bucket.handoff.is_some());
        }
        assert_eq!(standing(&bucket, 1, now.after(LIFETIME)), Standing::Superseded);
    }
}

#[test]
fn above_128_alive_entries_the_least_recently_presented_one_goes() {
    let mut bucket = fresh();
    // 129 rotations for the holder of the current token, without a grace between them.
    for generation in 1..=128 {
        bucket = rotated(&bucket, generation, at(1));
    }
    bucket = touched(&bucket, 1, at(2));
    bucket = rotated(&bucket, 129, at(3));
    assert_eq!(bucket.retired.len(), MAX_RETIRED);
    assert_eq!(standing(&bucket, 1, at(3)), Standing::Superseded, "presented last");
    assert_eq!(standing(&bucket, 2, at(3)), Standing::Evicted, "issued first of those never presented again");
    assert_eq!(standing(&bucket, 3, at(3)), Standing::Superseded);
}

/// A bucket's record at its largest: every optional part there, a handoff of the longest token.
const LONGEST_RECORD: usize = 3
    + 16
    + 5 * 8
    + 4
    + 16
    + 16
    + 8
    + (2 + crate::format::MAX_LABEL_LEN + crate::format::LABEL_OVERHEAD)
    + (2 + crate::format::MAX_TOKEN + crate::format::HANDOFF_OVERHEAD)
    + (2 + MAX_RETIRED * crate::record::RETIRED_LEN + crate::record::EVICTED_LEN);

#[derive(Debug, Clone)]
enum Step {
    Touch { holder: u32, arrived_before: u64, now: u64 },
    Rotate { holder: u32, arrived_before: u64, now: u64 },
    Label(Vec<u8>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Times jump back and forth, as those of several hosts do.
    let times = || (0..400_u32, 0..200_000_u64, 0..2_000_000_u64);
    let step = prop_oneof![
        3 => times().prop_map(|(holder, arrived_before, now)| Step::Touch { holder, arrived_before, now }),
        6 => times().prop_map(|(holder, arrived_before, now)| Step::Rotate { holder, arrived_before, now }),
        1 => prop::collection::vec(any::<u8>(), 0..=crate::format::MAX_LABEL_LEN).prop_map(Step::Label),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_write_keeps_the_bucket_s_invariants(steps in steps()) {
        let mut bucket = fresh();
        for step in steps {
            let holder = |holder: u32| holder % bucket.generation + 1;
            let (next, now) = match step {
                Step::Touch { holder: index, arrived_before, now } => {
                    let arrived = millis_at(now.saturating_sub(arrived_before));
                    let presented = arrival(holder(index), arrived);
                    (bucket.touched(&presented, millis_at(now), &POLICY), Some((presented, millis_at(now))))
                }
                Step::Rotate { holder: index, arrived_before, now } => {
                    let arrived = millis_at(now.saturating_sub(arrived_before));
                    let presented = arrival(holder(index), arrived);
                    let mut succession = succession(&bucket);
                    succession.handoff = vec![0; crate::format::MAX_TOKEN + crate::format::HANDOFF_OVERHEAD];
                    let next = bucket.rotated(&presented, succession, millis_at(now), &POLICY);
                    (next.expect("few generations"), Some((presented, millis_at(now))))
                }
                Step::Label(label) => (bucket.labelled(Some(label)), None),
            };

            prop_assert!(next.revision > bucket.revision);
            prop_assert!(next.generation >= bucket.generation);
            prop_assert!(next.created_at == bucket.created_at);
            prop_assert!(next.last_seen_at >= bucket.last_seen_at && next.rotated_at >= bucket.rotated_at);
            prop_assert!(next.last_seen_at >= next.rotated_at && next.rotated_at >= next.created_at);
            prop_assert!(next.retired.len() <= MAX_RETIRED);
            prop_assert!(next.retired.iter().all(|retired| retired.generation < next.generation));
            prop_assert!(next.retired.iter().all(|retired| retired.superseded_at <= next.rotated_at));
            prop_assert!(next.retired.is_empty() || next.handoff.is_some(), "whoever is alive can be led on");
            prop_assert!(next.to_record().len() <= LONGEST_RECORD);
            // A token that was pushed out and may be alive is below the watermark, whose times never move backwards either.
            // A write long after the arrival that it was made for can find out that the watermark is dead by now.
            let found_out = |evicted: &Evicted| {
                let (presented, _) = now?;
                let arrived_at = presented.at.min(next.last_seen_at);
                let moved_on = presented.generation > evicted.generation;
                (moved_on && arrived_at > evicted.superseded_at.after(GRACE)).then(|| arrived_at.after(GRACE))
            };
            let end_of = |evicted: &Evicted| evicted.dead_after.or_else(|| found_out(evicted));
            let alive = bucket.evicted.filter(|evicted| end_of(evicted).is_none_or(|last| next.last_seen_at <= last));
            if let Some(before) = alive {
                let after = next.evicted.expect("alive");
                prop_assert!(after.generation >= before.generation && after.superseded_at >= before.superseded_at);
            }
            // The times of an entry never move backwards, and what is decided stays decided.
            for entry in &next.retired {
                if let Some(before) = bucket.retired.iter().find(|before| before.generation == entry.generation) {
                    prop_assert_eq!(entry.superseded_at, before.superseded_at);
                    prop_assert!(before.dead_after.is_none() || entry.dead_after == before.dead_after);
                }
            }
            if let Some((presented, now)) = now {
                // A decision leaves more than a grace from the rotation, and another from the arrival.
                let now = now.max(next.last_seen_at);
                for entry in &next.retired {
                    if let Some(dead_after) = entry.dead_after {
                        prop_assert!(dead_after > entry.superseded_at.after(GRACE).after(GRACE));
                        prop_assert!(dead_after >= now, "dead entries are gone");
                    }
                }
                // A write never kills the token that it was made for, if it was alive.
                let before = bucket.standing(presented.generation, &presented.fingerprint, now);
                if matches!(before, Standing::Current | Standing::Superseded) {
                    let after = next.standing(presented.generation, &presented.fingerprint, now);
                    prop_assert!(matches!(after, Standing::Current | Standing::Superseded), "{:?}", after);
                }
            }
            bucket = next;
        }
    }

    #[test]
    fn a_token_that_the_bucket_never_had_is_judged_by_its_generation_alone(
        rotations in 0..200_u32, generation in any::<u32>(), fingerprint in any::<[u8; 16]>(), now in any::<u64>(),
    ) {
        let mut bucket = fresh();
        for generation in 1..=rotations {
            bucket = rotated(&bucket, generation, at(u64::from(generation)));
        }
        let now = Timestamp::from_millis(now);
        let evicted = bucket.evicted.filter(|evicted| evicted.dead_after.is_none_or(|last| now <= last));
        let expected = match generation {
            _ if evicted.is_some_and(|evicted| generation <= evicted.generation) => Standing::Evicted,
            _ if generation < bucket.generation => Standing::Replayed,
            _ => Standing::Unremembered,
        };
        let found = bucket.standing(generation, &Fingerprint::from_bytes(fingerprint), now);
        prop_assert_eq!(found, expected);
    }
}

// Eviction, endings, and clocks that ran ahead.

/// A bucket whose first tokens were pushed out by as many rotations as it remembers.
fn crowded(more: u32) -> Bucket {
    let rotations = u32::try_from(crate::format::MAX_RETIRED).expect("few") + more;
    (0..rotations).fold(fresh(), |bucket, _| rotated(&bucket, 1, at(1)))
}

#[test]
fn a_token_that_was_pushed_out_is_refused_without_being_a_replay() {
    // The holder of the first token presents it all the time, so the second is the first to go.
    let bucket = crowded(3);
    assert_eq!(bucket.retired.len(), crate::format::MAX_RETIRED);
    assert_eq!(bucket.evicted.map(|evicted| (evicted.generation, evicted.dead_after)), Some((4, None)));
    for (generation, expected) in [
        (1, Standing::Superseded),
        (2, Standing::Evicted),
        (4, Standing::Evicted),
        (5, Standing::Superseded),
        (bucket.generation, Standing::Current),
    ] {
        assert_eq!(standing(&bucket, generation, at(1)), expected, "generation {generation}");
    }
    let stranger = Fingerprint::from_bytes([0; 16]);
    assert_eq!(bucket.standing(5, &stranger, at(1)), Standing::Replayed, "above the watermark");
}

#[test]
fn the_watermark_dies_as_a_token_does_and_evicted_tokens_are_replays_again() {
    let bucket = crowded(3);
    // Seen moving on more than a grace after the last rotation.
    let seen = touched(&bucket, bucket.generation, at(62));
    assert_eq!(seen.evicted.and_then(|evicted| evicted.dead_after), Some(at(122)));
    assert_eq!(standing(&seen, 2, at(122)), Standing::Evicted, "the last moment");
    assert_eq!(standing(&seen, 2, millis_at(122_001)), Standing::Replayed);
    assert!(touched(&seen, bucket.generation, at(123)).evicted.is_none(), "a dead watermark is dropped");
    // The holder of a token below it proves nothing.
    assert_eq!(touched(&bucket, 1, at(62)).evicted, bucket.evicted);
}

#[test]
fn a_watermark_lives_as_long_as_the_last_that_was_pushed_out() {
    let bucket = crowded(1);
    let seen = touched(&bucket, bucket.generation, at(62));
    let again = (0..130).fold(seen, |bucket, _| rotated(&bucket, bucket.generation, at(63)));
    let evicted = again.evicted.expect("pushed out");
    assert_eq!((evicted.generation, evicted.superseded_at, evicted.dead_after), (131, at(63), None));
}

#[test]
fn a_slow_handler_s_write_drops_a_watermark_that_its_arrival_ended() {
    let bucket = crowded(1);
    let presented = arrival(bucket.generation, at(62));
    let late = bucket.touched(&presented, at(122), &POLICY);
    assert_eq!(late.evicted.expect("alive to its last moment").dead_after, Some(at(122)));
    assert!(bucket.touched(&presented, millis_at(122_001), &POLICY).evicted.is_none());
}

#[test]
fn a_tombstone_without_a_successor_reports_the_end_for_one_grace_only() {
    let tombstone = Tombstone::new(fresh().id, at(10), &POLICY);
    assert_eq!(tombstone.ending(at(10), &POLICY), Ending::Recent);
    assert_eq!(tombstone.ending(millis_at(69_999), &POLICY), Ending::Recent);
    assert_eq!(tombstone.ending(at(70), &POLICY), Ending::Past);
}

#[test]
fn a_renewal_tombstone_reports_replays_from_a_grace_to_its_successor_s_end() {
    let next = Bucket { id: SessionId::from_bytes([2; 16]), ..fresh() };
    let tombstone = Tombstone::renewed(&fresh(), &next, at(10), &POLICY);
    assert_eq!(tombstone.ending(at(70), &POLICY), Ending::Recent, "the last moment");
    let replayed = Ending::Replayed(next.id);
    assert_eq!(tombstone.ending(millis_at(70_001), &POLICY), replayed);
    let end = next.expires_at.as_millis();
    assert_eq!(tombstone.ending(Timestamp::from_millis(end - 1), &POLICY), replayed);
    assert_eq!(tombstone.ending(Timestamp::from_millis(end), &POLICY), Ending::Past);
    // A successor that is about to end does not take the grace from requests under way.
    let short = Bucket { expires_at: at(11), ..next.clone() };
    assert_eq!(Tombstone::renewed(&short, &short, at(10), &POLICY).ending(at(60), &POLICY), Ending::Recent);
    // A life that is shortened at the renewal may be prolonged again.
    assert_eq!(Tombstone::renewed(&fresh(), &short, at(10), &POLICY).ending(at(100), &POLICY), replayed);
}

#[test]
fn times_left_by_a_clock_ahead_are_corrected_and_old_tokens_die_as_usual() {
    const DAY: u64 = 86_400;
    let ahead = touched(&rotated(&fresh(), 1, at(DAY)), 2, at(DAY + 120));
    assert_eq!(dead_after(&ahead, 1), Some(at(DAY + 180)));
    let mut corrected = ahead.corrected(at(100), &POLICY).expect("a day ahead");
    assert_eq!((corrected.last_seen_at, corrected.rotated_at), (at(100), at(100)));
    assert_eq!((corrected.created_at, corrected.revision), (ahead.created_at, ahead.revision));
    assert_eq!(dead_after(&corrected, 1), Some(at(160)));
    assert_eq!(standing(&corrected, 1, at(161)), Standing::Replayed);
    assert!(corrected.corrected(at(100), &POLICY).is_none(), "once is enough");
    corrected.last_seen_at = at(160);
    assert!(corrected.corrected(at(100), &POLICY).is_none(), "hosts' clocks differ by so much");
    // One that is not yet dying starts to from now on.
    let undecided = rotated(&fresh(), 1, at(DAY)).corrected(at(100), &POLICY).expect("a day ahead");
    assert_eq!(dead_after(&touched(&undecided, 2, at(161)), 1), Some(at(221)));
}
