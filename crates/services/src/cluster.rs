//! A Redis cluster: three nodes that share the slots.

use crate::port::free_port;
use crate::{Engine, Error, Service, Setup};

/// The slots of each node.
const SLOTS: [(&str, &str); 3] = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];

/// A Redis cluster of three primaries.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Service>,
    replicas: Vec<Service>,
}

impl Cluster {
    /// Starts the nodes, makes a cluster of them, and waits until each knows that it is whole.
    ///
    /// # Errors
    ///
    /// As [`Setup::start`].
    pub fn start() -> Result<Self, Error> {
        Self::start_each(|| Ok(Setup::new(Engine::Redis)))
    }

    /// Starts a cluster of nodes that are set up like this. The same as [`start`](Self::start) otherwise.
    ///
    /// # Errors
    ///
    /// As [`Setup::start`].
    pub fn start_each(mut setup: impl FnMut() -> Result<Setup, Error>) -> Result<Self, Error> {
        let mut nodes = Vec::new();
        let mut bus_ports = Vec::new();
        for _ in SLOTS {
            let (node, bus) = node(setup()?)?;
            nodes.push(node);
            bus_ports.push(bus);
        }
        for (epoch, (node, (first, last))) in (1_u32..).zip(nodes.iter().zip(SLOTS)) {
            node.redis_call(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch.to_string()])?;
            node.redis_call(&["CLUSTER", "ADDSLOTSRANGE", first, last])?;
        }
        for (node, bus) in nodes.iter().zip(&bus_ports).skip(1) {
            nodes[0].redis_call(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string(), bus])?;
        }
        let cluster = Self { nodes, replicas: Vec::new() };
        for node in &cluster.nodes {
            node.wait_until("the cluster to be whole", || {
                let info = node.redis_call(&["CLUSTER", "INFO"])?;
                let shards = node.redis_call(&["CLUSTER", "NODES"])?;
                let connected = shards.lines().filter(|line| line.contains(" connected ")).count();
                Ok(info.contains("cluster_state:ok") && connected == SLOTS.len())
            })?;
        }
        Ok(cluster)
    }

    /// Starts a cluster in which each primary has a replica that takes over when it is killed, and waits until each knows all
    /// others and has caught up.
    ///
    /// # Errors
    ///
    /// As [`Setup::start`].
    pub fn start_with_replicas() -> Result<Self, Error> {
        Self::start_with_replicas_of(&[0, 1, 2])
    }

    /// Starts a cluster in which these primaries have a replica each. The same as
    /// [`start_with_replicas`](Self::start_with_replicas) otherwise.
    ///
    /// # Errors
    ///
    /// As [`Setup::start`].
    pub fn start_with_replicas_of(primaries: &[usize]) -> Result<Self, Error> {
        let mut cluster = Self::start()?;
        let with_replicas: Vec<&Service> = primaries.iter().filter_map(|number| cluster.nodes.get(*number)).collect();
        for primary in &with_replicas {
            for (setting, value) in [("repl-diskless-sync-delay", "0"), ("repl-ping-replica-period", "1")] {
                primary.redis_call(&["CONFIG", "SET", setting, value])?;
            }
            let (replica, bus) = node(Setup::new(Engine::Redis))?;
            primary.redis_call(&["CLUSTER", "MEET", "127.0.0.1", &replica.port().to_string(), &bus])?;
            let id = primary.redis_call(&["CLUSTER", "MYID"])?;
            replica.wait_until("the primary to be known", || {
                Ok(replica.redis_call(&["CLUSTER", "REPLICATE", &id]).is_ok())
            })?;
            cluster.replicas.push(replica);
        }
        let all = cluster.nodes.len() + cluster.replicas.len();
        for node in with_replicas {
            node.wait_until("the replica to catch up", || {
                Ok(node.redis_call(&["INFO", "replication"])?.contains("state=online"))
            })?;
        }
        for node in cluster.nodes.iter().chain(&cluster.replicas) {
            node.wait_until("the replicas to be known", || {
                let nodes = node.redis_call(&["CLUSTER", "NODES"])?;
                let slots = node.redis_call(&["CLUSTER", "SLOTS"])?;
                let well = nodes.lines().filter(|line| line.contains(" connected") && !line.contains("fail")).count();
                // A replica is in the second list once others have heard how far it is.
                Ok(well == all && slots.matches("127.0.0.1").count() == all)
            })?;
        }
        Ok(cluster)
    }

    /// The replicas of the primaries, in their order; none unless the cluster was started with them.
    #[must_use]
    pub fn replicas(&self) -> &[Service] {
        &self.replicas
    }

    /// The primaries.
    #[must_use]
    pub fn nodes(&self) -> &[Service] {
        &self.nodes
    }

    /// Returns the addresses of the nodes, separated by commas.
    #[must_use]
    pub fn urls(&self) -> String {
        self.nodes.iter().map(Service::url).collect::<Vec<_>>().join(",")
    }
}

/// A node of a cluster, and the port on which it speaks to the others.
fn node(setup: Setup) -> Result<(Service, String), Error> {
    let bus = free_port()?.to_string();
    let arguments = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", &bus];
    Ok((setup.arguments(arguments).start()?, bus))
}
