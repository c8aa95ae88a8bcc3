//! A cluster of etcd: three nodes, of which two are a majority.

use std::thread;
use std::time::{Duration, Instant};

use crate::port::free_port;
use crate::{Engine, Error, Service, Setup, scratch};

const NAMES: [&str; 3] = ["one", "two", "three"];
const LONGEST_ELECTION: Duration = Duration::from_secs(60);

/// A cluster of etcd with three nodes.
#[derive(Debug)]
pub struct EtcdCluster {
    nodes: Vec<Service>,
}

impl EtcdCluster {
    /// Starts the nodes, and waits until each has a leader.
    ///
    /// # Errors
    ///
    /// As [`Setup::start`].
    pub fn start() -> Result<Self, Error> {
        let mut peers = Vec::new();
        for name in NAMES {
            peers.push((name, format!("http://127.0.0.1:{}", free_port()?)));
        }
        let members = peers.iter().map(|(name, url)| format!("{name}={url}")).collect::<Vec<_>>().join(",");
        let start = |name: &str, url: &str| {
            let arguments = ["--name", name, "--listen-peer-urls", url, "--initial-advertise-peer-urls", url];
            let arguments = arguments.into_iter().chain(["--initial-cluster", &members]);
            Setup::new(Engine::Etcd).arguments(arguments).within(scratch()).start()
        };
        // None comes up without another one.
        let nodes = thread::scope(|scope| {
            let starting: Vec<_> = peers.iter().map(|(name, url)| scope.spawn(|| start(name, url))).collect();
            let ended = |_| Error::NotReady { server: "etcd", log: "the thread that starts it panicked".to_owned() };
            starting.into_iter().map(|node| node.join().map_err(ended)?).collect::<Result<Vec<_>, _>>()
        });
        Ok(Self { nodes: nodes? })
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Service] {
        &self.nodes
    }

    /// Returns the addresses of the nodes.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.url().to_owned()).collect()
    }

    /// Returns the position of the node that leads the cluster. On a busy machine the nodes elect another one now and then:
    /// it waits for the end of an election.
    ///
    /// # Errors
    ///
    /// [`Error::NotReady`] if no node leads for a minute.
    pub fn leader(&self) -> Result<usize, Error> {
        let start = Instant::now();
        loop {
            match self.leader_now() {
                Some(leader) => return Ok(leader),
                None if start.elapsed() < LONGEST_ELECTION => thread::sleep(Duration::from_millis(20)),
                None => return Err(Error::NotReady { server: "etcd", log: "no node leads".to_owned() }),
            }
        }
    }

    fn leader_now(&self) -> Option<usize> {
        let leads = |node: &Service| {
            let status = node.etcd_call("maintenance/status", "{}").unwrap_or_default();
            let number = |name: &str| {
                let (_, rest) = status.split_once(&format!(r#""{name}":""#))?;
                rest.split_once('"').map(|(number, _)| number.to_owned())
            };
            number("leader").is_some_and(|leader| number("member_id") == Some(leader))
        };
        self.nodes.iter().position(leads)
    }
}
