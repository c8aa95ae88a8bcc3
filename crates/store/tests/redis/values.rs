//! The values, keys and indexes that the store keeps in Redis, as an operator or another store sees them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use secure_sessions_store::redis::{self, Client, Connection};
use secure_sessions_store::{
    Bucket, Entry, GroupTag, Millis, Page, RedisOptions, RedisStore, Revision, SessionStore, StoreError, SubjectTag,
    Tags, Tombstone, Which,
};
use services::Shared;

use super::common::{SUBJECT, listed, next, now, unique};
use super::contract::options;
use super::support::{bucket, hex, on_cluster, tombstone};

/// A store on the shared server, its prefix, and a connection of the test's own.
async fn single() -> Option<(RedisStore, String, Connection)> {
    let url = Shared::Redis.url()?;
    let prefix = unique("test");
    let store = options().prefix(&prefix).connect(&url).await.unwrap();
    Some((store, prefix, Client::open(url).unwrap().get_connection().unwrap()))
}

/// A session that ends if it is idle.
fn idle(id: u8) -> Bucket {
    Bucket { idle_timeout: Some(Millis::from_secs(1800)), ..bucket(id) }
}

#[tokio::test]
async fn redis_expires_a_session_at_its_deadline_and_every_write_moves_it() {
    let Some((store, prefix, mut redis)) = single().await else { return };
    let key = format!("{prefix}:{{{}}}", hex(1));
    let mut deadline = || redis::cmd("PEXPIRETIME").arg(&key).query::<u64>(&mut redis).unwrap();
    let first = idle(1);
    store.insert(&first).await.unwrap();
    assert_eq!(deadline(), first.purge_at().as_millis());
    let seen = Bucket { last_seen_at: first.last_seen_at.after(Millis::from_secs(100)), ..next(&first) };
    assert!(store.replace(&seen, Revision::FIRST).await.unwrap());
    assert_eq!(deadline(), first.purge_at().as_millis() + 100_000);
    let minute = now().after(Millis::from_secs(60));
    store.remove(&first.id, Some(Tombstone { expires_at: minute, ..tombstone(&first) })).await.unwrap();
    assert_eq!(deadline(), minute.as_millis());
}

#[tokio::test]
async fn the_index_lives_as_long_as_the_longest_session_in_it() {
    let Some((store, prefix, mut redis)) = single().await else { return };
    let key = format!("{prefix}:{{{}}}:subject", hex(1));
    let mut deadline = || redis::cmd("PEXPIRETIME").arg(&key).query::<u64>(&mut redis).unwrap();
    let (short, mut long) = (bucket(1), bucket(2));
    let hour = Millis::from_secs(3600);
    store.insert(&short).await.unwrap();
    assert!(deadline() >= short.expires_at.after(hour).as_millis());
    long.expires_at = long.expires_at.after(Millis::from_secs(86_400));
    store.insert(&long).await.unwrap();
    assert!(deadline() >= long.expires_at.after(hour).as_millis());
    store.insert(&bucket(3)).await.unwrap();
    assert!(deadline() >= long.expires_at.after(hour).as_millis(), "a shorter session cut the index off");
    let longer = Bucket { expires_at: long.expires_at.after(hour), ..next(&short) };
    assert!(store.replace(&longer, Revision::FIRST).await.unwrap());
    assert!(deadline() >= longer.expires_at.after(hour).as_millis(), "a session outlives its index");
}

/// A member as a write an hour and a half ago would have left it.
fn member(id: u8, minutes_ago: u64) -> Vec<u8> {
    let mut member = vec![id; 16];
    member.extend_from_slice(&(now().as_millis() - minutes_ago * 60_000).to_be_bytes());
    member.extend_from_slice(&[9; 8]);
    member
}

#[tokio::test]
async fn the_index_forgets_what_is_gone_and_never_what_is_on_its_way() {
    let Some((store, prefix, mut redis)) = single().await else { return };
    let key = format!("{prefix}:{{{}}}:subject", hex(1));
    store.insert(&bucket(1)).await.unwrap();
    // An old place of a living session, an old one and a new one of sessions that are not there.
    let members = [member(1, 90), member(2, 90), member(3, 30)];
    let plant = |redis: &mut Connection| {
        for member in &members {
            redis::cmd("ZADD").arg(&key).arg(0).arg(&member[..]).exec(redis).unwrap();
        }
    };
    for by_listing in [true, false] {
        plant(&mut redis);
        assert_eq!(redis::cmd("ZCARD").arg(&key).query::<u32>(&mut redis).unwrap(), 4);
        if by_listing {
            let listed = store.list(Tags::Subjects(&[SUBJECT]), Page::first(10)).await.unwrap();
            assert_eq!(listed.len(), 1, "a session with two places is listed once");
        } else {
            for _ in 0..50 {
                store.purge_expired(now(), 10).await.unwrap();
            }
        }
        let left: Vec<Vec<u8>> = redis::cmd("ZRANGE").arg(&key).arg(0).arg(-1).query(&mut redis).unwrap();
        assert!(!left.iter().any(|member| member[0] == 2), "what is gone is still in the index");
        assert!(left.iter().any(|member| member[0] == 3), "what may be on its way was dropped from the index");
        assert_eq!(left.iter().filter(|member| member[0] == 1).count(), 2);
    }
    // The session that was on its way arrives, and is found.
    store.insert(&bucket(3)).await.unwrap();
    assert_eq!(store.list(Tags::Subjects(&[SUBJECT]), Page::first(10)).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_reused_id_is_listed_although_the_first_one_s_removal_tidies_the_index() {
    let Some((store, _, _)) = single().await else { return };
    for _ in 0..50 {
        store.insert(&bucket(1)).await.unwrap();
        // The removal tidies the index after the session is gone, while the next one arrives.
        let again = async {
            loop {
                match store.insert(&bucket(1)).await {
                    Ok(()) => break,
                    Err(StoreError::Duplicate) => tokio::task::yield_now().await,
                    Err(error) => unreachable!("{error}"),
                }
            }
        };
        let id = bucket(1).id;
        let (removed, ()) = tokio::join!(store.remove(&id, None), again);
        assert!(removed.unwrap());
        assert_eq!(store.list(Tags::Subjects(&[SUBJECT]), Page::first(10)).await.unwrap().len(), 1);
        store.remove(&bucket(1).id, None).await.unwrap();
    }
}

#[tokio::test]
async fn an_operator_finds_sessions_by_their_keys() {
    let Some((store, prefix, mut redis)) = single().await else { return };
    store.insert(&bucket(0xab)).await.unwrap();
    let mut keys: Vec<String> = redis::cmd("KEYS").arg(format!("{prefix}*")).query(&mut redis).unwrap();
    keys.sort_unstable();
    assert_eq!(keys, [format!("{prefix}:{{{}}}:subject", hex(1)), format!("{prefix}:{{{}}}", hex(0xab))]);
}

#[tokio::test]
async fn what_someone_has_spoilt_is_an_error_and_not_a_missing_session() {
    let Some((store, prefix, mut redis)) = single().await else { return };
    let key = format!("{prefix}:{{{}}}", hex(1));
    for value in [&b"x"[..], &[2; 200], &[1; 24], &[0; 24]] {
        redis::cmd("SET").arg(&key).arg(value).exec(&mut redis).unwrap();
        let failure = store.load(&bucket(1).id).await.unwrap_err();
        assert!(matches!(failure, StoreError::Corrupt(_)), "{failure:?}");
    }
    redis::cmd("SET").arg(&key).arg(&[2_u8; 200][..]).exec(&mut redis).unwrap();
    assert!(matches!(store.replace(&next(&bucket(1)), Revision::FIRST).await, Err(StoreError::Corrupt(_))));
    assert!(matches!(store.insert(&bucket(1)).await, Err(StoreError::Duplicate)));
    redis::cmd("DEL").arg(&key).exec(&mut redis).unwrap();
    redis::cmd("LPUSH").arg(&key).arg(1).exec(&mut redis).unwrap();
    assert!(matches!(store.load(&bucket(1).id).await, Err(StoreError::Corrupt(_))));
}

type Spoil = fn(&[u8]) -> Vec<u8>;

/// Values whose front a script cannot read, one that is cut off behind it, and a key that holds no string.
const SPOILT: [Option<Spoil>; 7] = [
    Some(|_| vec![2; 200]),
    Some(|_| b"x".to_vec()),
    Some(|value| value[..134].to_vec()),
    Some(|value| value[..118].to_vec()),
    Some(|value| value[..60].to_vec()),
    Some(|value| value[..value.len() - 1].to_vec()),
    None,
];

#[tokio::test]
async fn an_unreadable_value_is_listed_as_such_and_removed_like_any_other() {
    let Some((store, prefix, mut redis)) = single().await else { return };
    let cluster = match Shared::RedisCluster.url() {
        Some(urls) => {
            let first = urls.split(',').next().unwrap().to_owned();
            let client = redis::cluster::ClusterClient::new([first]).unwrap();
            let store = on_cluster(options().prefix(&prefix), &urls).await;
            Some((store, client.get_connection().unwrap()))
        }
        None => None,
    };
    unreadable(&store, &prefix, &mut |command| command.query(&mut redis).unwrap()).await;
    if let Some((store, mut connection)) = cluster {
        unreadable(&store, &prefix, &mut |command| command.query(&mut connection).unwrap()).await;
    }
}

async fn unreadable(store: &RedisStore, prefix: &str, run: &mut dyn FnMut(&redis::Cmd) -> redis::Value) {
    let key = format!("{prefix}:{{{}}}", hex(2));
    for ending in 0..4 {
        for spoil in SPOILT {
            for id in 1..=3 {
                let _ = store.insert(&Bucket { group: Some(GroupTag::from_bytes([8; 16])), ..idle(id) }).await;
            }
            if let Some(spoil) = spoil {
                let redis::Value::BulkString(value) = run(redis::cmd("GET").arg(&key)) else { unreachable!() };
                run(redis::cmd("SET").arg(&key).arg(spoil(&value)));
                let listed = store.list(Tags::Subjects(&[SUBJECT]), Page::first(2)).await.unwrap();
                assert!(matches!(&listed[0], Ok(found) if found.id == bucket(1).id));
                let Err(unreadable) = &listed[1] else { unreachable!("a spoilt value was read") };
                assert!(unreadable.id == bucket(2).id && matches!(unreadable.error, StoreError::Corrupt(_)));
                let rest = store.list(Tags::Subjects(&[SUBJECT]), Page::first(2).next(&listed).unwrap()).await.unwrap();
                assert!(matches!(&rest[..], [Ok(found)] if found.id == bucket(3).id));
            } else {
                run(redis::cmd("DEL").arg(&key));
                run(redis::cmd("LPUSH").arg(&key).arg(1));
                assert_eq!(store.list(Tags::Subjects(&[SUBJECT]), Page::first(9)).await.unwrap().len(), 2);
            }
            assert!(matches!(store.load(&bucket(2).id).await, Err(StoreError::Corrupt(_))));
            match ending {
                0 => assert!(store.remove(&bucket(2).id, None).await.unwrap()),
                1 => assert_eq!(
                    store.remove_all(Which::Tagged(Tags::Subjects(&[SUBJECT])), Some(&bucket(3).id)).await.unwrap(),
                    2
                ),
                2 => assert_eq!(store.remove_all(Which::Everything, Some(&bucket(3).id)).await.unwrap(), 2),
                _ => assert!(store.remove(&bucket(2).id, Some(tombstone(&bucket(2)))).await.unwrap()),
            }
            assert_eq!(store.load(&bucket(2).id).await.unwrap().is_some(), ending == 3);
            run(redis::cmd("DEL").arg(&key));
        }
    }
}

/// A hundred thousand sessions of one subject are listed and ended, and no other client waits for more than a step of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sessions_of_one_subject_are_listed_and_ended_while_others_go_on() {
    const MANY: u32 = 100_000;
    let Some((store, prefix, mut redis)) = single().await else { return };
    // The first as the store writes it, the others after its model.
    store.insert(&bucket(0)).await.unwrap();
    let index = format!("{prefix}:{{{}}}:subject", hex(1));
    let value: Vec<u8> = redis::cmd("GET").arg(format!("{prefix}:{{{}}}", hex(0))).query(&mut redis).unwrap();
    let members: Vec<Vec<u8>> = redis::cmd("ZRANGE").arg(&index).arg(0).arg(-1).query(&mut redis).unwrap();
    let id_at = value.windows(16).position(|bytes| bytes == [0; 16]).unwrap();
    for first in (1..MANY).step_by(1000) {
        let mut pipe = redis::pipe();
        for number in first..MANY.min(first + 1000) {
            let id = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes();
            let (mut value, mut member) = (value.clone(), members[0].clone());
            value[id_at..][..16].copy_from_slice(&id);
            member[..16].copy_from_slice(&id);
            let name: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            pipe.cmd("SET").arg(format!("{prefix}:{{{name}}}")).arg(value).ignore();
            pipe.cmd("ZADD").arg(&index).arg(0).arg(member).ignore();
        }
        pipe.exec(&mut redis).unwrap();
    }
    let other = options().prefix(&prefix).connect(&Shared::Redis.url().unwrap()).await.unwrap();
    other.insert(&Bucket { subject: None, ..bucket(9) }).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let loads = Arc::new(AtomicU32::new(0));
    let client = tokio::spawn({
        let (stop, loads) = (Arc::clone(&stop), Arc::clone(&loads));
        async move {
            while !stop.load(Ordering::SeqCst) {
                assert!(other.load(&bucket(9).id).await.unwrap().is_some());
                loads.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let listed = listed(&store, 1000).await;
    let listing = loads.load(Ordering::SeqCst);
    assert_eq!(store.remove_all(Which::Tagged(Tags::Subjects(&[SUBJECT])), None).await.unwrap(), u64::from(MANY));
    let ending = loads.load(Ordering::SeqCst) - listing;
    stop.store(true, Ordering::SeqCst);
    client.await.unwrap();
    println!("{listing} loads beside the list, {ending} beside the end");
    assert_eq!(listed, MANY as usize);
    assert_eq!(store.count().await.unwrap(), 1);
    // A server that is blocked until all have ended answers one load meanwhile, or two.
    assert!(listing >= 10 && ending >= 10, "{listing} loads beside the list, {ending} beside the end");
}

#[tokio::test]
async fn a_server_that_forgot_our_scripts_is_told_them_again() {
    let Some((store, _, mut redis)) = single().await else { return };
    store.insert(&bucket(1)).await.unwrap();
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut redis).unwrap();
    assert!(store.replace(&next(&bucket(1)), Revision::FIRST).await.unwrap());
    assert!(store.remove(&bucket(1).id, None).await.unwrap());
}

#[tokio::test]
async fn what_is_no_url_and_no_prefix_is_refused() {
    for url in ["", "127.0.0.1", "http://127.0.0.1/", "redis://[::1"] {
        assert!(matches!(RedisStore::connect(url).await, Err(StoreError::Rejected(_))), "{url}");
    }
    let refused = RedisOptions::new().prefix("a{b").connect("redis://127.0.0.1:1/").await;
    assert!(matches!(refused, Err(StoreError::Rejected(_))));
    let nobody = RedisStore::connect("redis://127.0.0.1:1/").await;
    assert!(matches!(nobody, Err(StoreError::Unavailable(_))), "{nobody:?}");
}

#[tokio::test]
async fn a_renewal_in_a_cluster_whose_caller_went_away_is_seen_through() {
    let Some(urls) = Shared::RedisCluster.url() else { return };
    for polls in 1..30_u32 {
        let store = on_cluster(options(), &urls).await;
        store.insert(&bucket(1)).await.unwrap();
        let successor = Bucket { id: bucket(2).id, ..bucket(1) };
        {
            let id = bucket(1).id;
            let mut call = std::pin::pin!(store.renew_into(&successor, &id, Revision::FIRST, tombstone(&bucket(1))));
            for _ in 0..polls {
                if tokio::time::timeout(Duration::from_micros(100), &mut call).await.is_ok() {
                    break;
                }
            }
        }
        let start = Instant::now();
        loop {
            let old = store.load(&bucket(1).id).await.unwrap();
            let new = store.load(&bucket(2).id).await.unwrap();
            if matches!((&old, &new), (Some(Entry::Tombstone(_)), Some(Entry::Bucket(_)))) {
                break;
            }
            assert!(start.elapsed().as_secs() < 30, "half a renewal: {old:?} {new:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A swap of a value that the store has read takes another way than one of a value that it has not.
#[tokio::test]
async fn a_swap_of_what_was_read_is_refused_if_another_store_changed_it() {
    let Some(url) = Shared::Redis.url() else { return };
    let options = options();
    let open = || async { options.clone().connect(&url).await.unwrap() };
    swaps_of_what_was_read(&open().await, &open().await).await;
    let Some(urls) = Shared::RedisCluster.url() else { return };
    swaps_of_what_was_read(&on_cluster(options.clone(), &urls).await, &on_cluster(options, &urls).await).await;
}

async fn read(store: &RedisStore, id: u8) -> Option<Bucket> {
    match store.load(&bucket(id).id).await.unwrap() {
        Some(Entry::Bucket(bucket)) => Some(bucket),
        _ => None,
    }
}

async fn swaps_of_what_was_read(store: &RedisStore, other: &RedisStore) {
    store.insert(&bucket(1)).await.unwrap();
    let (ours, theirs) = (read(store, 1).await.unwrap(), read(other, 1).await.unwrap());
    assert!(other.replace(&Bucket { generation: 7, ..next(&theirs) }, theirs.revision).await.unwrap());
    assert!(!store.replace(&Bucket { generation: 8, ..next(&ours) }, ours.revision).await.unwrap());
    let now = read(store, 1).await.unwrap();
    assert_eq!((now.generation, now.revision), (7, Revision::new(2)));
    assert!(store.replace(&next(&now), now.revision).await.unwrap());
    assert!(!store.replace(&next(&now), now.revision).await.unwrap(), "it was swapped already");

    // An end is not overwritten.
    let now = read(store, 1).await.unwrap();
    assert!(other.remove(&now.id, Some(tombstone(&bucket(1)))).await.unwrap());
    assert!(!store.replace(&next(&now), now.revision).await.unwrap());
    assert!(matches!(store.load(&now.id).await.unwrap(), Some(Entry::Tombstone(_))));

    // A session that another one took the place of, under the same id and revision, is another one.
    store.insert(&bucket(2)).await.unwrap();
    let gone = read(store, 2).await.unwrap();
    assert!(other.remove(&gone.id, None).await.unwrap());
    let newcomer = Bucket { generation: 9, ..bucket(2) };
    other.insert(&newcomer).await.unwrap();
    assert!(store.replace(&next(&gone), gone.revision).await.unwrap(), "the revision is all that it may expect");
    assert_eq!(store.list(Tags::Subjects(&[SUBJECT]), Page::first(9)).await.unwrap().len(), 1);

    // A longer life, and another subject, reach the index.
    let now = read(store, 2).await.unwrap();
    let other_subject = SubjectTag::from_bytes([5; 16]);
    let longer =
        Bucket { expires_at: now.expires_at.after(Millis::from_secs(9)), subject: Some(other_subject), ..next(&now) };
    assert!(store.replace(&longer, now.revision).await.unwrap());
    assert_eq!(store.list(Tags::Subjects(&[other_subject]), Page::first(9)).await.unwrap().len(), 1);
    assert_eq!(store.list(Tags::Subjects(&[SUBJECT]), Page::first(9)).await.unwrap().len(), 0);
    assert_eq!(other.remove_all(Which::Tagged(Tags::Subjects(&[other_subject])), None).await.unwrap(), 1);
}
