//! A way to a server that a test can hold, cut, or lead elsewhere.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use services::Service;

/// A port that leads to a server, and later perhaps to another one. Connections that exist stay where they are. Bytes wait on
/// the way while it is held.
pub(crate) struct Way {
    pub(crate) port: u16,
    target: Arc<AtomicU16>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    held: AtomicBool,
    /// The answer to the next script, or to the next `SET` that compares, is to be lost.
    loses: AtomicBool,
    /// Set to `true` once that command has gone by.
    cuts: AtomicBool,
}

impl Way {
    pub(crate) fn to(server: &Service) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (target, state) = (Arc::new(AtomicU16::new(server.port())), Arc::new(State::default()));
        let (current, shared) = (Arc::clone(&target), Arc::clone(&state));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, target) = (client.unwrap(), current.load(Ordering::SeqCst));
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else { continue };
                for (from, to, pass) in [(&client, &server, State::asks as Pass), (&server, &client, State::answers)] {
                    let (from, to, state) = (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(&shared));
                    std::thread::spawn(move || copy(from, to, &state, pass));
                }
            }
        });
        Self { port, target, state }
    }

    pub(crate) fn hold(&self) {
        self.state.held.store(true, Ordering::SeqCst);
    }

    pub(crate) fn release(&self) {
        self.state.held.store(false, Ordering::SeqCst);
    }

    /// Loses the answer to the next script or `SET` that compares, and cuts its connection.
    pub(crate) fn lose_an_answer(&self) {
        self.state.loses.store(true, Ordering::SeqCst);
    }

    /// Returns `true` if that answer was lost.
    pub(crate) fn has_lost_it(&self) -> bool {
        !self.state.loses.load(Ordering::SeqCst)
    }

    pub(crate) fn move_to(&self, server: &Service) {
        self.target.store(server.port(), Ordering::SeqCst);
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }
}

/// Looks at bytes that go by. Returns `false` if the connection is to be cut in front of them.
type Pass = fn(&State, &[u8]) -> bool;

impl State {
    fn asks(&self, bytes: &[u8]) -> bool {
        let has = |word: &[u8]| bytes.windows(word.len()).any(|bytes| bytes == word);
        if (has(b"EVALSHA") || has(b"IFEQ")) && self.loses.swap(false, Ordering::SeqCst) {
            self.cuts.store(true, Ordering::SeqCst);
        }
        true
    }

    fn answers(&self, _: &[u8]) -> bool {
        !self.cuts.swap(false, Ordering::SeqCst)
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, state: &State, pass: Pass) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        while state.held.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if !pass(state, &bytes[..count]) || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
