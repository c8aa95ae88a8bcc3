//! Every server comes up, keeps its data over a crash, stops and goes on, and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use services::{Cluster, Engine, Error, EtcdCluster, Service, Setup, or_skip};

/// The longest wait for a server that answers, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The wait for a server that does not.
const MOMENT: Duration = Duration::from_secs(1);

/// Returns `true` if the server says anything within this time.
fn answers(service: &Service, within: Duration) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", service.port())) else { return false };
    stream.set_read_timeout(Some(within)).unwrap();
    match service.engine() {
        Engine::Etcd | Engine::DynamoDb => stream.write_all(b"GET /version HTTP/1.0\r\n\r\n").unwrap(),
        Engine::Memcached => stream.write_all(b"version\r\n").unwrap(),
        Engine::Redis | Engine::Sentinel => stream.write_all(b"PING\r\n").unwrap(),
        // A length that it refuses, with a word.
        Engine::Postgres => stream.write_all(b"\x00\x00\x00\x08\x00\x00\x00\x01").unwrap(),
        _ => {}
    }
    matches!(stream.read(&mut [0; 1]), Ok(1))
}

fn lives_and_dies(service: Service) {
    assert!(answers(&service, PATIENCE));
    let url = service.url().to_owned();
    service.pause().unwrap();
    assert!(!answers(&service, MOMENT), "a paused server answered");
    service.resume().unwrap();
    assert!(answers(&service, PATIENCE));
    for _ in 0..2 {
        service.kill().unwrap();
        assert!(!answers(&service, MOMENT), "a killed server answered");
        service.restart().unwrap();
        assert!(answers(&service, PATIENCE));
        assert_eq!(service.url(), url);
    }
    service.pause().unwrap();
    let directory = service.directory().to_owned();
    assert!(directory.exists());
    drop(service);
    assert!(!directory.exists(), "its directory was left behind");
}

#[test]
fn etcd_lives_through_kills_and_pauses_and_leaves_nothing_behind() {
    let Some(service) = or_skip(Setup::new(Engine::Etcd).start()) else { return };
    lives_and_dies(service);
}

#[test]
fn dynamodb_lives_through_kills_and_pauses_and_leaves_nothing_behind() {
    let Some(service) = or_skip(Setup::new(Engine::DynamoDb).start()) else { return };
    lives_and_dies(service);
}

#[test]
fn memcached_lives_through_kills_and_pauses_and_leaves_nothing_behind() {
    let Some(service) = or_skip(Setup::new(Engine::Memcached).start()) else { return };
    lives_and_dies(service);
}

#[test]
fn an_etcd_cluster_elects_another_leader_when_the_first_is_killed() {
    let Some(cluster) = or_skip(EtcdCluster::start()) else { return };
    let first = cluster.leader().unwrap();
    cluster.nodes()[first].kill().unwrap();
    let start = Instant::now();
    while cluster.leader().unwrap() == first {
        assert!(start.elapsed() < Duration::from_secs(60), "no other node leads");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn postgres_lives_through_kills_and_pauses_and_leaves_nothing_behind() {
    let Some(service) = or_skip(Service::postgres()) else { return };
    lives_and_dies(service);
}

#[test]
fn mariadb_lives_through_kills_and_pauses_and_leaves_nothing_behind() {
    let Some(service) = or_skip(Service::mariadb()) else { return };
    lives_and_dies(service);
}

#[test]
fn redis_lives_through_kills_and_pauses_and_leaves_nothing_behind() {
    let Some(service) = or_skip(Service::redis()) else { return };
    lives_and_dies(service);
}

#[test]
fn redis_keeps_its_data_over_a_kill() {
    let Some(redis) = or_skip(Service::redis()) else { return };
    redis.redis_call(&["SET", "a", "1"]).unwrap();
    redis.kill().unwrap();
    assert!(matches!(redis.redis_call(&["GET", "a"]), Err(Error::Io { .. })));
    redis.restart().unwrap();
    assert_eq!(redis.redis_call(&["GET", "a"]).unwrap(), "1");
    let refused = redis.redis_call(&["LPUSH", "a", "1"]);
    assert!(matches!(&refused, Err(Error::Command(said)) if said.starts_with("WRONGTYPE")), "{refused:?}");
}

#[test]
fn a_replica_follows_its_primary_and_takes_over_when_told_to() {
    let Some(primary) = or_skip(Service::redis()) else { return };
    primary.redis_call(&["SET", "before", "1"]).unwrap();
    let replica = or_skip(Service::redis_replica_of(&primary)).unwrap();
    assert_eq!(replica.redis_call(&["GET", "before"]).unwrap(), "1");
    assert!(replica.redis_call(&["SET", "a", "1"]).is_err(), "a replica took a write");
    primary.kill().unwrap();
    replica.redis_call(&["REPLICAOF", "NO", "ONE"]).unwrap();
    replica.redis_call(&["SET", "a", "1"]).unwrap();
}

#[test]
fn three_nodes_share_the_slots_of_a_cluster() {
    let Some(cluster) = or_skip(Cluster::start()) else { return };
    assert_eq!(cluster.nodes().len(), 3);
    assert_eq!(cluster.urls().split(',').count(), 3);
    // `foo` is in slot 12182, of the third node.
    assert_eq!(cluster.nodes()[2].redis_call(&["SET", "foo", "1"]).unwrap(), "OK");
    let moved = cluster.nodes()[0].redis_call(&["SET", "foo", "1"]);
    let to = format!("MOVED 12182 127.0.0.1:{}", cluster.nodes()[2].port());
    assert!(matches!(&moved, Err(Error::Command(said)) if *said == to), "{moved:?}");
}

/// A MariaDB that starts removes the temporary tables that it finds: they must not be another one's.
#[test]
fn a_mariadb_leaves_the_temporary_tables_of_another_alone() {
    let table = tempfile::Builder::new().prefix("#sql-temptable-").suffix(".MAI").tempfile().unwrap();
    if let Some(service) = or_skip(Service::mariadb()) {
        service.restart().unwrap();
        assert!(table.path().exists(), "the start of a server removed {}", table.path().display());
    }
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let refused = Setup::new(Engine::Redis).arguments(["--no-such-option", "1"]).start();
    match refused {
        Err(Error::NotReady { log, .. }) => assert!(log.contains("no-such-option"), "{log}"),
        Err(Error::Missing { binary, .. }) => eprintln!("SKIPPED: {binary} is missing"),
        other => panic!("{other:?}"),
    }
}

/// Run in a process of its own by the test below: starts a server, says where, and waits to be killed.
const CHILD: &str = "SECURE_SESSIONS_TEST_SERVICES_CHILD";

#[test]
fn a_server_ends_with_the_process_that_started_it() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let Some(redis) = or_skip(Service::redis()) else { return };
    if std::env::var_os(CHILD).is_some() {
        println!("\nstarted {} {}", redis.port(), redis.directory().display());
        std::io::stdout().flush().unwrap();
        std::thread::sleep(Duration::from_secs(60));
        unreachable!("it is killed long before");
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_server_ends_with_the_process_that_started_it", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.into_iter().find(|line| line.starts_with("started ")).unwrap();
    let mut words = line.split(' ').skip(1);
    let port: u16 = words.next().unwrap().parse().unwrap();
    let directory = std::path::PathBuf::from(words.next().unwrap());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok() && directory.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_ok() || directory.exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "the server outlived the process that started it");
        std::thread::sleep(Duration::from_millis(20));
    }
}
