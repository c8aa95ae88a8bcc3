//! A demo that cannot start says what to do.

#![allow(clippy::expect_used, reason = "helpers of tests fail by panicking")]

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use demo::config::Config;
use demo::server::Server;

async fn refusal(database: &Path, port: u16, metrics_port: Option<u16>) -> String {
    let config = Config { port, database: database.to_owned(), https: false, clock: None, metrics_port };
    Server::start(&config).await.err().expect("it does not start").to_string()
}

#[tokio::test]
async fn a_start_that_fails_names_the_setting_and_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let taken = taken.local_addr().map(|address| (address.port(), taken)).expect("its number");

    let missing = refusal(&at("no/such/demo.sqlite"), 0, None).await;
    assert!(missing.contains("DEMO_DB") && missing.contains("make that first"), "{missing}");
    let folder = refusal(directory.path(), 0, None).await;
    assert!(folder.contains("DEMO_DB") && folder.contains("not a file"), "{folder}");
    let port = refusal(&at("demo.sqlite"), taken.0, None).await;
    assert!(port.contains(&taken.0.to_string()) && port.contains("in PORT"), "{port}");
    let metrics = refusal(&at("demo.sqlite"), 0, Some(taken.0)).await;
    assert!(metrics.contains(&taken.0.to_string()) && metrics.contains("in METRICS_PORT"), "{metrics}");

    for (name, text, expected) in [
        ("demo.sqlite", "no database", "demo.sqlite: the database reports 26: file is not a database"),
        ("demo.sqlite.keys", "no key", "line 1 of the key file"),
    ] {
        let _ = std::fs::remove_file(at("demo.sqlite"));
        drop(demo::private::new_file(&at(name)).or_else(|_| std::fs::File::create(at(name))).expect("a file"));
        std::fs::write(at(name), text).expect("written");
        let said = refusal(&at("demo.sqlite"), 0, None).await;
        assert!(said.contains(expected) && said.contains(name), "{said}");
    }
}
