//! Just enough of Redis's protocol to start servers and to disturb them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// The longest wait for an answer: a server on a busy machine, whose writes wait for the disk, is slow and not dead.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends one command over a connection of its own. Arrays are answered with an item on each line; the outer result is
/// the connection's, the inner one the server's.
pub(crate) fn call(port: u16, words: &[&str]) -> io::Result<Result<String, String>> {
    let mut stream = connect(port)?;
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(request.as_bytes())?;
    read(&mut BufReader::new(stream))
}

/// A connection to a port of this machine, with limits on everything.
pub(crate) fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Result<String, String>> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "not Redis's protocol");
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let line = line.trim_end();
    let rest = line.get(1..).ok_or_else(malformed)?;
    let length = || rest.parse::<i64>().map_err(|_| malformed());
    match line.as_bytes().first() {
        Some(b'+' | b':') => Ok(Ok(rest.to_owned())),
        Some(b'-') => Ok(Err(rest.to_owned())),
        Some(b'$') => {
            let Ok(length) = usize::try_from(length()?) else { return Ok(Ok(String::new())) };
            let mut text = vec![0; length + 2];
            reader.read_exact(&mut text)?;
            text.truncate(length);
            Ok(Ok(String::from_utf8_lossy(&text).into_owned()))
        }
        Some(b'*') => {
            let mut items = Vec::new();
            for _ in 0..length()? {
                match read(reader)? {
                    Ok(item) => items.push(item),
                    Err(error) => return Ok(Err(error)),
                }
            }
            Ok(Ok(items.join("\n")))
        }
        _ => Err(malformed()),
    }
}
