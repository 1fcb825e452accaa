//! The live connections of a server, and the counts of those that ended.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::{Counters, Shared, Socket};
use crate::access::Principal;

/// Exports without a connection that counts are kept of: names of volumes and snapshots come and go.
pub(super) const ENDED_MAX: usize = 4096;

/// Number of a connection, from 1 in the order of arrival.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct ConnectionId(pub u64);

/// Who is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// A process of this machine.
    Unix {
        /// Its id when it connected.
        pid: i32,
        /// Its user.
        uid: u32,
    },
    /// An address.
    Tcp(SocketAddr),
    /// Whoever holds the other end of a socket that was handed in.
    Adopted,
}

impl Peer {
    /// Who it is, before it proves more.
    pub(super) fn principal(self) -> Principal {
        match self {
            Self::Unix { .. } | Self::Adopted => Principal::Local,
            Self::Tcp(_) => Principal::Anonymous,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { pid, uid } => write!(f, "pid {pid} uid {uid}"),
            Self::Tcp(address) => address.fmt(f),
            Self::Adopted => f.write_str("local"),
        }
    }
}

/// A live connection, as `status` shows it.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Its number.
    pub id: ConnectionId,
    /// Its client.
    pub peer: Peer,
    /// What it has open; `None` during the handshake.
    pub export: Option<String>,
    /// What it has done so far; goes on counting.
    pub counters: Arc<Counters>,
}

struct Entry {
    socket: Arc<Socket>,
    info: ConnectionInfo,
}

#[derive(Default)]
struct State {
    last_id: u64,
    live: BTreeMap<ConnectionId, Entry>,
    /// Counts of ended connections by export, of those that ended last. The lock makes the holder its one writer.
    ended: BTreeMap<String, Ended>,
    last_end: u64,
}

#[derive(Default)]
struct Ended {
    counters: Counters,
    /// When a connection ended last, as a number that grows.
    at: u64,
}

impl State {
    fn end(&mut self, name: String, counters: &Counters) {
        self.last_end += 1;
        let ended = self.ended.entry(name).or_default();
        ended.counters.absorb(counters);
        ended.at = self.last_end;
        if self.ended.len() > ENDED_MAX {
            let oldest = self.ended.iter().min_by_key(|(_, ended)| ended.at).map(|(name, _)| name.clone());
            if let Some(name) = oldest {
                self.ended.remove(&name);
            }
        }
    }
}

#[derive(Default)]
pub(super) struct Registry {
    state: Mutex<State>,
    left: Condvar,
}

impl Registry {
    /// Enters a connection; `None` if the server is stopping or there are `max` already. The flag says whether there are
    /// fewer than `served_max`.
    pub(super) fn admit(
        shared: &Arc<Shared>,
        socket: Arc<Socket>,
        peer: Peer,
        served_max: usize,
        max: usize,
    ) -> Option<(Registered, bool)> {
        let mut state = shared.registry.state.lock();
        let live = state.live.len();
        if live >= max || shared.stopping.load(Ordering::Relaxed) {
            return None;
        }
        state.last_id += 1;
        let id = ConnectionId(state.last_id);
        let counters = Arc::<Counters>::default();
        let info = ConnectionInfo { id, peer, export: None, counters: Arc::clone(&counters) };
        state.live.insert(id, Entry { socket: Arc::clone(&socket), info });
        drop(state);
        Some((Registered { socket, counters, id, shared: Arc::clone(shared) }, live < served_max))
    }

    pub(super) fn set_export(&self, id: ConnectionId, name: &str) {
        if let Some(entry) = self.state.lock().live.get_mut(&id) {
            entry.info.export = Some(name.to_owned());
        }
    }

    pub(super) fn connections(&self) -> Vec<ConnectionInfo> {
        self.state.lock().live.values().map(|entry| entry.info.clone()).collect()
    }

    pub(super) fn export_counters(&self) -> Vec<(String, Counters)> {
        let state = self.state.lock();
        let mut sums: BTreeMap<String, Counters> = BTreeMap::new();
        for (name, ended) in &state.ended {
            sums.entry(name.clone()).or_default().absorb(&ended.counters);
        }
        for info in state.live.values().map(|entry| &entry.info) {
            if let Some(name) = &info.export {
                sums.entry(name.clone()).or_default().absorb(&info.counters);
            }
        }
        sums.into_iter().collect()
    }

    fn remove(&self, id: ConnectionId) {
        let mut state = self.state.lock();
        if let Some(Entry { info: ConnectionInfo { export: Some(name), counters, .. }, .. }) = state.live.remove(&id) {
            state.end(name, &counters);
        }
        self.left.notify_all();
    }

    /// Has all connections end: no more input at once, no more output after `patience`. The caller has seen to it
    /// that none is added.
    pub(super) fn close(&self, patience: Duration) {
        let mut state = self.state.lock();
        state.live.values().for_each(|entry| entry.socket.shutdown_receive());
        self.left.wait_while_for(&mut state, |state| !state.live.is_empty(), patience);
        state.live.values().for_each(|entry| entry.socket.shutdown());
        self.left.wait_while(&mut state, |state| !state.live.is_empty());
    }
}

/// A connection's place in the registry, for its thread; left when dropped, also by a panic.
pub(super) struct Registered {
    socket: Arc<Socket>,
    counters: Arc<Counters>,
    id: ConnectionId,
    shared: Arc<Shared>,
}

impl Registered {
    pub(super) fn id(&self) -> ConnectionId {
        self.id
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // The peer sees the end now, not when the last reference goes.
        self.socket.shutdown();
        self.shared.registry.remove(self.id);
    }
}

#[cfg(test)]
mod tests;
