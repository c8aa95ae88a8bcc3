//! An address of a server that leads to another one after a failover.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use services::Service;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The address that applications know: it leads to one server, and after a failover to another one.
pub struct Address {
    pub port: u16,
    target: Arc<AtomicU16>,
    failovers: watch::Sender<u32>,
}

impl Address {
    /// Returns one that leads to `service`, on a port of its own.
    pub async fn of(service: &Service) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Arc::new(AtomicU16::new(service.port()));
        let (failovers, seen) = watch::channel(0);
        tokio::spawn({
            let target = Arc::clone(&target);
            async move {
                while let Ok((mut inward, _)) = listener.accept().await {
                    let (port, mut seen) = (target.load(Ordering::SeqCst), seen.clone());
                    seen.mark_unchanged();
                    tokio::spawn(async move {
                        let Ok(mut outward) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                        tokio::select! {
                            _ = tokio::io::copy_bidirectional(&mut inward, &mut outward) => {}
                            _ = seen.changed() => {}
                        }
                    });
                }
            }
        });
        Self { port, target, failovers }
    }

    /// Leads to another server from now on, and cuts what led to the last.
    pub fn leads_to(&self, service: &Service) {
        self.target.store(service.port(), Ordering::SeqCst);
        self.failovers.send_modify(|count| *count += 1);
    }
}
