//! Connections that wait for their next call, and the ways in which a call fails.

use std::ops::AsyncFnOnce;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_memcached::{Client, Error, ErrorKind, Status};
use tokio::time::timeout;

use super::{TIMEOUT, wire};
use crate::StoreError;

/// The most connections of each kind that wait for their next use.
const MOST_IDLE: usize = 32;

/// Connections, each of which carries one call at a time.
pub(super) struct Pool {
    url: String,
    idle: Mutex<Vec<Client>>,
    idle_writers: Mutex<Vec<wire::Connection>>,
}

impl Pool {
    pub(super) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), idle: Mutex::default(), idle_writers: Mutex::default() }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Makes a call by the client.
    pub(super) async fn run<T>(&self, call: impl AsyncFnOnce(&mut Client) -> Result<T, Error>) -> Result<T, Failure> {
        let work = async {
            let idle = self.idle().pop();
            let mut client = match idle {
                Some(client) => client,
                None => Client::new(&self.url).await?,
            };
            let outcome = call(&mut client).await;
            let mut idle = self.idle();
            if client.is_closed() {
                // The others were most likely closed with it.
                idle.clear();
            } else if idle.len() < MOST_IDLE {
                idle.push(client);
            }
            outcome
        };
        match timeout(TIMEOUT, work).await {
            Ok(outcome) => outcome.map_err(Failure::Server),
            Err(_) => Err(Failure::Timeout),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Client>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call by a connection of our own.
    pub(super) async fn run_by_writer<T>(
        &self,
        call: impl AsyncFnOnce(&mut wire::Connection) -> Result<T, Error>,
    ) -> Result<T, Failure> {
        let work = async {
            // The server may have closed it meanwhile.
            let idle = self.idle_writers().pop().and_then(|mut writer| writer.is_open().then_some(writer));
            let mut writer = match idle {
                Some(writer) => writer,
                None => wire::Connection::new(&self.url).await?,
            };
            let outcome = call(&mut writer).await;
            let mut idle = self.idle_writers();
            if idle.len() < MOST_IDLE {
                idle.push(writer);
            }
            outcome
        };
        match timeout(TIMEOUT, work).await {
            Ok(outcome) => outcome.map_err(Failure::Server),
            Err(_) => Err(Failure::Timeout),
        }
    }

    fn idle_writers(&self) -> MutexGuard<'_, Vec<wire::Connection>> {
        self.idle_writers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) enum Failure {
    Timeout,
    Server(Error),
}

impl Failure {
    /// Returns `true` if the call may have met an old connection that the server has closed.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self, Self::Server(Error::Io(_) | Error::ConnectionClosed))
    }

    /// Returns what the server said of a write that it could not make.
    fn said(&self) -> Option<&str> {
        match self {
            Self::Server(Error::Protocol(Status::Error(ErrorKind::Server(said)))) => Some(said),
            _ => None,
        }
    }

    /// Returns `true` if the value is larger than an item.
    pub(super) fn is_too_large(&self) -> bool {
        self.said().is_some_and(|said| said.contains("too large"))
    }

    /// Returns `true` if there is no room for the value.
    pub(super) fn is_out_of_memory(&self) -> bool {
        self.said().is_some_and(|said| said.contains("out of memory"))
    }

    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Timeout => StoreError::Timeout,
            // A malformed answer may quote the server's, and so a key.
            Self::Server(Error::Protocol(Status::Error(ErrorKind::Protocol(_))) | Error::ParseError(_)) => {
                StoreError::unavailable("Memcached returned a malformed answer")
            }
            Self::Server(Error::Protocol(Status::Error(ErrorKind::Client(text)))) => StoreError::rejected(text),
            Self::Server(error) => StoreError::unavailable(error),
        }
    }
}
