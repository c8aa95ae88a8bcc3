//! Ports that nobody listens on.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Error;

/// Below those that the system hands to outgoing connections: one of them could take a stopped server's port.
const PORTS: std::ops::Range<u16> = 14_000..32_000;

/// The ports given so far. A server listens on its own only a moment later, and not while it is killed.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that nobody listens on. The same process is not given it again.
///
/// # Errors
///
/// [`Error::Io`] if there is none.
pub fn free_port() -> Result<u16, Error> {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    let count = u32::from(PORTS.end - PORTS.start);
    let start = nanos.rotate_right(10).wrapping_add(std::process::id().wrapping_mul(0x9e37_79b9));
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut last = None;
    for step in 0..count {
        let port = PORTS.start + u16::try_from(start.wrapping_add(step.wrapping_mul(7)) % count).unwrap_or(0);
        if given.contains(&port) {
            continue;
        }
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => {
                given.insert(port);
                return Ok(port);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(Error::io("find a free port")(last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into())))
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let ports: Vec<u16> = (0..2000).filter_map(|_| free_port().ok()).collect();
        assert_eq!(ports.len(), 2000);
        assert_eq!(BTreeSet::from_iter(ports).len(), 2000);
    }
}
