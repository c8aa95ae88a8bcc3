//! Asks if a server answers: not only its port, but itself.

use std::io::{self, Read, Write};

use crate::Engine;
use crate::resp::{call, connect};

/// PostgreSQL's first message: protocol 3.0, the user and the database.
const STARTUP: &[u8] = b"\x00\x00\x00\x29\x00\x03\x00\x00user\0postgres\0database\0postgres\0\0";

pub(crate) fn is_ready(engine: Engine, port: u16) -> bool {
    match engine {
        Engine::Postgres => postgres(port).unwrap_or(false),
        Engine::MariaDb => mariadb(port).unwrap_or(false),
        Engine::Etcd => etcd(port).unwrap_or(false),
        Engine::DynamoDb => dynamo_db(port).unwrap_or(false),
        Engine::Memcached => memcached(port).unwrap_or(false),
        Engine::Redis | Engine::Sentinel => matches!(call(port, &["PING"]), Ok(Ok(pong)) if pong == "PONG"),
    }
}

/// It asks for authentication (`R`), where it would else say that it is starting up (`E`).
fn postgres(port: u16) -> io::Result<bool> {
    let mut stream = connect(port)?;
    stream.write_all(STARTUP)?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    // A farewell, so that it does not log a broken connection.
    stream.write_all(b"X\x00\x00\x00\x04")?;
    Ok(kind == *b"R")
}

/// It speaks first: a packet's header, and version 10 of its protocol.
fn mariadb(port: u16) -> io::Result<bool> {
    let mut packet = [0; 5];
    connect(port)?.read_exact(&mut packet)?;
    Ok(packet[4] == 10)
}

fn memcached(port: u16) -> io::Result<bool> {
    let mut stream = connect(port)?;
    stream.write_all(b"version\r\n")?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer)?;
    Ok(answer == *b"VERSION ")
}

/// It greets whoever sends no request.
fn dynamo_db(port: u16) -> io::Result<bool> {
    let mut stream = connect(port)?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.contains(" 200 "))
}

/// Its cluster has a leader.
fn etcd(port: u16) -> io::Result<bool> {
    let mut stream = connect(port)?;
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.contains(r#""health":"true""#))
}

#[cfg(test)]
mod unit {
    #[test]
    fn the_startup_message_says_how_long_it_is() {
        let length = super::STARTUP.len();
        assert_eq!(super::STARTUP[..4], u32::try_from(length).unwrap_or(0).to_be_bytes());
    }
}
