//! The arguments that an operator types: each test shows the answer and the exit code.

use std::fs;
use std::process::{Command, Stdio};

use crate::Host;

#[test]
fn a_handle_that_begins_with_a_hyphen_is_no_option() {
    let host = Host::with_tables();
    for handle in ["-8kq5XclG3zksDSSVgQZnQ", "--kq5XclG3zksDSSVgQZnQ"] {
        let ended = host.run(&["sessions", "revoke", "alice", handle], "");
        assert!(ended.code == 1 && ended.out.contains("No live session"), "{} {}", ended.out, ended.err);
    }
}

#[test]
fn bad_input_ends_with_2_and_says_what_to_do() {
    let host = Host::new();
    for (arguments, expected) in [
        (&["sessions", "count"][..], "--store"),
        (&["sessions", "revoke", "alice", "no handle"], "sessions list"),
        (&["--store", "mongodb://x", "sessions", "count"], "redis+sentinel:"),
        (&["--store", "dynamodb://sessions", "sessions", "count"], "dynamodb:TABLE"),
        (&["--store", "memcached://127.0.0.1:11211", "sessions", "count"], "memcached:tcp://HOST:PORT"),
        (&["--store", "etcd:127.0.0.1:2379", "sessions", "count"], "etcd:http://HOST:PORT"),
        (&["--store", "redis://127.0.0.1:1/", "migrate", "--print"], "needs no SQL"),
        (&["--store", "dynamodb:sessions", "migrate", "--print"], "needs no SQL"),
        (&["migrate", "--print"], "--print postgres"),
        (&["keys", "new", "no/such/folder/keys"], "make it first"),
        (&["--store", "sqlite::memory:", "--table", "Drop Table", "purge"], "table name"),
        (&["token", "inspect", "--data"], "--store"),
        (&["token", "inspect", "no/such/file"], "no/such/file"),
        (&["--keys", "no/such/keys", "keys", "list"], "there is no key file no/such/keys"),
        (&["--keys", "/", "keys", "list"], "the key file / cannot be read"),
        (&["keys", "rotate"], "--activate"),
        (&["keys", "rotate", "--add", "cookie"], "fingerprint"),
        (&["migrate", "--print", "oracle"], "postgres"),
        (&["sessions", "revoke-all"], "--everybody"),
        (&["sessions", "revoke-all", "--provider-session", "https://login.example"], "<SID>"),
        (&["sessions", "revoke-all", "alice", "--provider-session", "https://login.example", "1"], "cannot be used"),
        (&["--store", "sqlite::memory:", "not-before", "yesterday"], "2026-01-31T12:00:00Z"),
        (&["not-before"], "--store"),
    ] {
        let run = host.run(arguments, "");
        assert_eq!(run.code, 2, "{arguments:?}: {} {}", run.out, run.err);
        assert!(run.err.contains(expected), "{arguments:?} said: {}", run.err);
    }
    let host = Host::with_tables();
    let nameless = host.run(&["sessions", "revoke-all", "--provider-session", "", "1"], "");
    assert!(nameless.code == 2 && nameless.err.contains("`iss` is empty"), "{}", nameless.err);
    let future = host.run(&["not-before", "2150-01-01T00:00:00Z"], "");
    assert!(future.code == 2 && future.err.contains("in the future"), "{}", future.err);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let host = Host::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_secure-sessions"))
        .args(["migrate", "--print", "mysql"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .current_dir(host.folder.path())
        .spawn()
        .expect("the tool starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the tool ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn wrong_arguments_are_json_where_json_is_asked_for() {
    let host = Host::new();
    for arguments in [&["--json", "sessions", "cuont"][..], &["migrate", "--print", "oracle", "--json"]] {
        let run = host.run(arguments, "");
        let said: serde_json::Value = serde_json::from_str(&run.out).expect("JSON");
        assert!(run.code == 2 && run.err.is_empty(), "{}", run.err);
        let said = said["error"].as_str().expect("a text");
        assert!((said.contains("'count'") || said.contains("postgres")) && !said.contains("Usage"), "{said}");
    }
    assert!(host.run(&["--json", "keys", "--help"], "").out.starts_with("Makes, lists"), "help is for people");
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_cannot_be_written_ends_with_1() {
    let host = Host::new();
    for arguments in [&["keys", "new"][..], &["--json", "keys", "list"], &["--help"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_secure-sessions"))
            .args(["--keys", &host.keys()])
            .args(arguments)
            .stdout(fs::OpenOptions::new().write(true).open("/dev/full").expect("a full disk"))
            .output()
            .expect("the tool ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains("cannot be written"), "{arguments:?}: {said}");
    }
}

#[test]
fn no_answer_holds_the_password_of_a_url() {
    let host = Host::new();
    for url in [
        "postgres://shop:geheim@127.0.0.1:1/shop",
        "postgres://shop:geheim@[::1/shop",
        "postgres://shop:ge/heim@127.0.0.1:1/geheim",
        "mysql://shop:geheim@127.0.0.1:1/shop?password=geheim",
        "redis://:geheim@127.0.0.1:1/",
        "redis://:geheim@127.0.0.1:1/,redis://:geheim@127.0.0.1:2/",
        "redis+sentinel://:geheim@127.0.0.1:1/shop",
        "redis:geheim",
        "etcd:http://shop:geheim@127.0.0.1:1",
        "etcd:geheim",
        "memcached:tcp://shop:geheim@127.0.0.1:1",
        "dynamodb:http://shop:geheim@127.0.0.1:1/sessions",
        "dynamodb:http://127.0.0.1:1/geheim/",
        "mongodb://shop:geheim@127.0.0.1/",
        "geheim",
    ] {
        for command in
            [&["sessions", "count"][..], &["--json", "sessions", "count"], &["doctor"], &["migrate", "--print"]]
        {
            let run = host.run(&[&["--store", url], command].concat(), "");
            assert_ne!(run.code, 0, "{url} {command:?}");
            assert!(!format!("{}{}", run.out, run.err).contains("heim"), "{url} {command:?}: {}{}", run.out, run.err);
        }
    }
    let run = host.run(&["--store", "postgres://shop:geheim@127.0.0.1:1/shop", "sessions", "count"], "");
    assert!(run.err.contains("postgres://127.0.0.1:1/shop"), "where it looked: {}", run.err);
    let help = Command::new(env!("CARGO_BIN_EXE_secure-sessions"))
        .arg("--help")
        .env("SECURE_SESSIONS_STORE", "redis://:geheim@127.0.0.1/")
        .output()
        .expect("the help");
    assert!(!String::from_utf8_lossy(&help.stdout).contains("geheim"));
}

#[test]
fn a_store_that_is_not_there_ends_with_1() {
    let host = Host::on(vec!["--store".to_owned(), "redis://127.0.0.1:1/".to_owned()]);
    let run = host.run(&["sessions", "count"], "");
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(host.run(&["doctor"], "").out.contains("BAD"), "the doctor goes on");
}

#[test]
fn the_doctor_compares_keys_and_reads_headers() {
    let host = Host::new();
    let ids = [host.ids("seal"), host.ids("fingerprint")].concat().join(",");
    let headers = "HTTP/1.1 200 OK\r\nset-cookie: __Host-session=AAAA; Path=/; Secure; HttpOnly; SameSite=Lax\r\ncache-control: no-store\r\n";
    let good = host.run(&["doctor", "--expect-keys", &ids, "--headers", "-"], headers);
    assert_eq!(good.code, 0, "{}", good.out);
    let bad = host.run(&["doctor", "--expect-keys", "00000000", "--headers", "-"], "HTTP/1.1 200 OK\r\n");
    assert_eq!(bad.code, 1);
    assert!(bad.out.contains("missing here: [00000000]") && bad.out.contains("no Set-Cookie"), "{}", bad.out);
}
