//! The frontends of a daemon: how clients reach its volumes.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use siltstone::control::{OperationCounters, VolumeCounters};
use siltstone::export::Exports;
use siltstone::frontend::nbd::counters::{Counters, Kind};
use siltstone::frontend::nbd::{Limits, Server};
use siltstone::store::clock::Clock;

use super::Listen;
use crate::handler::endpoint::Endpoint;
use crate::socket;

/// The group of the directory may use volumes.
const NBD_SOCKET_MODE: u32 = 0o660;

/// Frontends of one node, listening.
pub(crate) struct Frontends {
    nbd: Arc<Server>,
}

impl Frontends {
    /// Frontends that listen nowhere yet, for so many connections at a time.
    pub(crate) fn new(
        exports: Arc<dyn Exports>,
        connections_max: usize,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let limits = Limits { connections_max, ..Limits::default() };
        let nbd = Server::new(exports, Arc::clone(clock), limits)?;
        Ok(Self { nbd: Arc::new(nbd) })
    }

    /// Serves NBD on a Unix socket, at a path of any length.
    pub(crate) fn listen_unix(&self, path: &Path) -> io::Result<()> {
        let listener = socket::bind(path, NBD_SOCKET_MODE)?;
        self.nbd.listen_on(listener, path).map_err(|error| error.source)
    }

    /// Serves NBD by TCP, and says where: the port is chosen if 0 was asked for.
    pub(crate) fn listen_tcp(&self, listen: &Listen) -> io::Result<Endpoint> {
        let listening = match &listen.tls {
            Some(tls) => self.nbd.listen_tls(listen.address, tls.clone()).map(Endpoint::Tls),
            None => self.nbd.listen_tcp(listen.address).map(Endpoint::Tcp),
        };
        listening.map_err(|error| error.source)
    }

    /// Reads what the clients of each volume did since the start.
    pub(crate) fn counters(&self) -> Box<dyn Fn() -> Vec<VolumeCounters> + Send + Sync> {
        let nbd = Arc::clone(&self.nbd);
        Box::new(move || {
            let connections = nbd.connections();
            let open = |name: &str| connections.iter().filter(|one| one.export.as_deref() == Some(name)).count();
            let counted = nbd.export_counters().into_iter();
            counted.map(|(name, counters)| volume_counters(open(&name) as u64, name, &counters)).collect()
        })
    }

    /// Answers what was received, and ends all connections.
    pub(crate) fn stop(self) {
        self.nbd.stop();
    }
}

fn volume_counters(connections: u64, name: String, counters: &Counters) -> VolumeCounters {
    let sum = |kinds: &[Kind]| {
        kinds.iter().map(|kind| operation_counters(counters, *kind)).fold(OperationCounters::default(), add)
    };
    VolumeCounters {
        name,
        read: sum(&[Kind::Read]),
        write: sum(&[Kind::Write]),
        zero: sum(&[Kind::Zero, Kind::Trim]),
        flush: sum(&[Kind::Flush]),
        connections,
    }
}

fn operation_counters(counters: &Counters, kind: Kind) -> OperationCounters {
    let counted = counters.kind(kind);
    OperationCounters {
        requests_total: counted.ops.load(Ordering::Relaxed),
        bytes_total: counted.bytes.load(Ordering::Relaxed),
        errors_total: counted.errors.load(Ordering::Relaxed),
        latency_us_total: counted.latency_us_sum.load(Ordering::Relaxed),
    }
}

fn add(one: OperationCounters, other: OperationCounters) -> OperationCounters {
    OperationCounters {
        requests_total: one.requests_total + other.requests_total,
        bytes_total: one.bytes_total + other.bytes_total,
        errors_total: one.errors_total + other.errors_total,
        latency_us_total: one.latency_us_total + other.latency_us_total,
    }
}
