//! A Redis cluster: three nodes that share the slots.

use crate::service::free_port;
use crate::{Engine, Error, Service, Setup};

/// The slots of each node.
const SLOTS: [(&str, &str); 3] = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];

/// A Redis cluster of three primaries.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Service>,
}

impl Cluster {
    /// Starts the nodes, makes a cluster of them, and waits until each knows that it is whole.
    ///
    /// # Errors
    ///
    /// As [`Setup::start`].
    pub fn start() -> Result<Self, Error> {
        let mut nodes = Vec::new();
        let mut bus_ports = Vec::new();
        for _ in SLOTS {
            let bus = free_port()?.to_string();
            let arguments = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", &bus];
            nodes.push(Setup::new(Engine::Redis).arguments(arguments).start()?);
            bus_ports.push(bus);
        }
        for (epoch, (node, (first, last))) in (1_u32..).zip(nodes.iter().zip(SLOTS)) {
            node.redis_call(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch.to_string()])?;
            node.redis_call(&["CLUSTER", "ADDSLOTSRANGE", first, last])?;
        }
        for (node, bus) in nodes.iter().zip(&bus_ports).skip(1) {
            nodes[0].redis_call(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string(), bus])?;
        }
        let cluster = Self { nodes };
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

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Service] {
        &self.nodes
    }

    /// Where they are, separated by commas.
    #[must_use]
    pub fn urls(&self) -> String {
        self.nodes.iter().map(Service::url).collect::<Vec<_>>().join(",")
    }
}
