//! Just enough of HTTP to set an etcd up.

use std::io::{self, Read, Write};

use crate::resp::connect;

/// Sends JSON to the API that a node has beside gRPC; returns what is behind the head of the answer.
pub(crate) fn call(port: u16, path: &str, json: &str) -> io::Result<Result<String, String>> {
    let mut stream = connect(port)?;
    let length = json.len();
    write!(stream, "POST /v3/{path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{json}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let is_ok = head.split(' ').nth(1) == Some("200");
    Ok(if is_ok { Ok(body.to_owned()) } else { Err(answer) })
}
