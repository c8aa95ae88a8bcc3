//! Connections for the commands that the client lacks.
//!
//! The client writes by the meta command `ms`. If Memcached has no room for the new value, that command removes the old one,
//! whatever it was to compare; `cas` and `add` leave it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Waker};

use async_memcached::{Error, ErrorKind, Status};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};

use crate::key_value::Expected;

const PORT: u16 = 11211;

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Connects to `tcp://HOST:PORT` or `unix:///PATH`.
pub(super) async fn connect(url: &str) -> io::Result<Box<dyn Stream>> {
    if let Some(path) = url.strip_prefix("unix://") {
        return Ok(Box::new(UnixStream::connect(path).await?));
    }
    let address = url.trim_start_matches("tcp://").trim_end_matches('/');
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port { address.to_owned() } else { format!("{address}:{PORT}") };
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

pub(super) struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    is_closed: bool,
}

impl Connection {
    pub(super) async fn new(url: &str) -> Result<Self, Error> {
        let stream = connect(url).await.map_err(Error::Connect)?;
        Ok(Self { stream: BufReader::new(stream), is_closed: false })
    }

    /// Returns `true` if the connection can carry another command: the server has not closed it, and owes no answer.
    pub(super) fn is_open(&mut self) -> bool {
        let read = Pin::new(&mut self.stream).poll_fill_buf(&mut Context::from_waker(Waker::noop()));
        read.is_pending() && !self.is_closed
    }

    /// Writes a value if the expectation holds; `expiry` is Memcached's. [`Status::Exists`], [`Status::NotFound`] and
    /// [`Status::NotStored`] are errors, as they are to the client.
    pub(super) async fn write(
        &mut self,
        key: &str,
        expected: &Expected<u64>,
        value: &[u8],
        expiry: u64,
    ) -> Result<(), Error> {
        let (name, version) = match expected {
            Expected::Anything => ("set", String::new()),
            Expected::Nothing => ("add", String::new()),
            Expected::Unchanged(stored) => ("cas", format!(" {}", stored.version)),
        };
        let head = format!("{name} {key} 0 {expiry} {}{version}\r\n", value.len());
        let status = match self.answer(&[head.as_bytes(), value, b"\r\n"].concat()).await?.as_str() {
            "STORED" => return Ok(()),
            "EXISTS" => Status::Exists,
            "NOT_FOUND" => Status::NotFound,
            "NOT_STORED" => Status::NotStored,
            other => self.refusal(other),
        };
        Err(Error::Protocol(status))
    }

    /// Returns a setting of the server, if it has one of this name.
    pub(super) async fn setting(&mut self, name: &str) -> Result<Option<String>, Error> {
        let mut line = self.answer(b"stats settings\r\n").await?;
        let mut found = None;
        while line != "END" {
            let mut words = line.split(' ');
            if words.next() != Some("STAT") {
                return Err(Error::Protocol(self.refusal(&line)));
            }
            if words.next() == Some(name) {
                found = words.next().map(str::to_owned);
            }
            line = self.line().await?;
        }
        Ok(found)
    }

    async fn answer(&mut self, command: &[u8]) -> Result<String, Error> {
        self.stream.write_all(command).await.map_err(Error::Io)?;
        self.line().await
    }

    async fn line(&mut self) -> Result<String, Error> {
        let mut line = String::new();
        let length = self.stream.read_line(&mut line).await.map_err(Error::Io)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None if length == 0 => Err(Error::ConnectionClosed),
            None => Err(Error::Protocol(self.refusal(&line))),
        }
    }

    fn refusal(&mut self, line: &str) -> Status {
        if let Some(said) = line.strip_prefix("SERVER_ERROR ") {
            return Status::Error(ErrorKind::Server(said.to_owned()));
        }
        // The server may take the value for commands, and answer them.
        self.is_closed = true;
        Status::Error(match line.strip_prefix("CLIENT_ERROR ") {
            Some(said) => ErrorKind::Client(said.to_owned()),
            None => ErrorKind::Protocol(None),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(answer: &'static [u8]) -> (Result<(), Error>, bool) {
        let (client, mut server) = tokio::io::duplex(1024);
        server.write_all(answer).await.expect("room for the answer");
        let mut connection = Connection { stream: BufReader::new(Box::new(client)), is_closed: false };
        let outcome = connection.write("key", &Expected::Nothing, b"value", 0).await;
        (outcome, connection.is_open())
    }

    #[tokio::test]
    async fn a_connection_goes_on_only_after_an_answer_that_ends_the_command() {
        assert!(matches!(answered(b"STORED\r\n").await, (Ok(()), true)));
        assert!(matches!(answered(b"NOT_STORED\r\n").await, (Err(Error::Protocol(Status::NotStored)), true)));
        let (outcome, is_open) = answered(b"SERVER_ERROR out of memory storing object\r\n").await;
        assert!(matches!(outcome, Err(Error::Protocol(Status::Error(ErrorKind::Server(_))))) && is_open);
        let (outcome, is_open) = answered(b"CLIENT_ERROR bad data chunk\r\nERROR\r\n").await;
        assert!(matches!(outcome, Err(Error::Protocol(Status::Error(ErrorKind::Client(_))))) && !is_open);
        let (outcome, is_open) = answered(b"STORED\r\nSTORED\r\n").await;
        assert!(outcome.is_ok() && !is_open, "one answer too many");
        let (outcome, is_open) = answered(b"VALUE key\r\n").await;
        assert!(matches!(outcome, Err(Error::Protocol(Status::Error(ErrorKind::Protocol(None))))) && !is_open);
    }
}
