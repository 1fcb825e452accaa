//! A node's part in a cluster: its identity, its connections, what the cluster has agreed on, and its replicas.

mod access;
mod answer_room;
mod answering;
mod asking;
mod changes;
mod clones;
mod copying;
mod core;
mod describe;
mod duties;
mod error;
mod export;
mod exports;
mod imports;
mod intake;
mod keys;
mod limits;
mod mail;
mod manager;
mod mending;
mod network;
mod news;
mod opened;
mod orders;
mod outside;
mod pauses;
mod receive;
mod report;
mod requests;
mod rotation;
mod schedules;
mod sources;
mod staged;
mod start;
mod together;
mod transfers;
mod trash;
mod volumes;
mod watch;
mod workers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lsm_store::codec::Codec;
use net::config::raft::ProposeError;
use net::config::state::{Command, Rejection};
use net::environment::SystemRng;
use net::id::NodeId;
use net::identity::Authority;
use net::join::Token;
use parking_lot::{Mutex, RwLock};

use self::core::Core;
use self::start::Running;
use crate::name::VolumeName;
use crate::node::Node;
pub use changes::{ClusterChangedExtents, ClusterChanges};
pub use error::{ClusterError, Result};
pub use exports::AllExports;
pub use imports::ClusterImport;
pub use news::ClusterEvent;
pub use receive::{ClusterReceived, ClusterReceiver};
pub use report::{
    ClusterReport, NodeReport, NodeStanding, OriginReport, Progress, ReplicaReport, ReplicaRole, RotationReport,
    VolumeHealth, VolumeReport,
};
pub use schedules::ClusterRewound;
pub use trash::ClusterTrashed;
pub use volumes::ClusterSnapshot;

/// How long a token waits for a node to get the authority's key.
const AUTHORITY_WAIT: Duration = Duration::from_secs(15);

/// Between two looks whether it has.
const AUTHORITY_LOOK: Duration = Duration::from_millis(50);

/// Where a node of a cluster keeps what it needs, and where others reach it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The node's data directory; everything of the cluster is in its directory `cluster`.
    pub data: PathBuf,
    /// Where it listens, by UDP; the address last used if absent.
    pub listen: Option<SocketAddr>,
    /// What people call it; chosen if absent.
    pub name: Option<String>,
    /// What fails together with it.
    pub zone: Option<String>,
}

/// A volume to make.
#[derive(Clone, Debug)]
pub struct NewVolume {
    /// Its name.
    pub name: VolumeName,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// How its blocks are compressed.
    pub codec: Codec,
    /// How many copies it is to have, 1 to 7.
    pub replicas: u8,
}

/// A node that is part of a cluster. All methods may be called from many threads; they block.
pub struct Cluster {
    core: Arc<Core>,
    running: Mutex<Running>,
}

impl Cluster {
    /// Makes a cluster of this node alone.
    ///
    /// # Errors
    /// [`ClusterError::InCluster`] if it is in one already.
    pub fn found(place: &Place, node: &Arc<Node>) -> Result<Arc<Self>> {
        start::found(place, node).map(Self::new)
    }

    /// Joins the cluster that a token invites to.
    ///
    /// # Errors
    /// [`ClusterError::InCluster`]; what the cluster says.
    pub fn join(place: &Place, token: &str, node: &Arc<Node>) -> Result<Arc<Self>> {
        start::join_with(place, token, node).map(Self::new)
    }

    /// Goes on in the cluster that the node is in; `None` if it is in none.
    ///
    /// # Errors
    /// Those of its files, and of its address.
    pub fn open(place: &Place, node: &Arc<Node>) -> Result<Option<Arc<Self>>> {
        Ok(start::open(place, node)?.map(Self::new))
    }

    /// Waits until this node knows all that the cluster had agreed on when this was called, so that what one node said is done,
    /// is done at this one. Returns after a second at most, if there is no majority then without.
    pub fn refresh(&self) {
        self.core.refresh();
    }

    /// Waits until this node knows all that the cluster had agreed on when this was called.
    ///
    /// # Errors
    /// [`ClusterError::Configuration`] after some seconds without a majority.
    pub fn catch_up(&self) -> Result<()> {
        Ok(self.core.fresh_configuration().map(drop)?)
    }

    fn new(running: Running) -> Arc<Self> {
        Arc::new(Self { core: Arc::clone(&running.core), running: Mutex::new(running) })
    }

    fn core(&self) -> Arc<Core> {
        Arc::clone(&self.core)
    }

    /// Where other nodes reach this one.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.running.lock().address
    }

    /// A token that lets one node join, good for so long. A node that has only just joined waits until it has the authority's key.
    ///
    /// # Errors
    /// [`ClusterError::NoAuthority`]; without a majority [`ClusterError::Configuration`].
    pub fn token(&self, validity: Duration) -> Result<String> {
        let authority = self.authority()?;
        let token = Token::draw(authority.fingerprint(), &self.addresses(), &SystemRng);
        let now_ms = self.core.wall_ms();
        let expires_ms = now_ms.saturating_add(validity.as_millis().try_into().unwrap_or(u64::MAX));
        let key = (&token.key()).into();
        self.core.propose(Command::CreateToken { token: token.id(), key, expires_ms, now_ms })?;
        Ok(token.to_string())
    }

    fn authority(&self) -> Result<Arc<Authority>> {
        let keys = Arc::clone(&self.running.lock().keys);
        let clock = Arc::clone(self.core.node.store().clock());
        let begun = clock.monotonic();
        loop {
            match keys.authority() {
                Some(authority) => return Ok(authority),
                None if clock.monotonic() - begun >= AUTHORITY_WAIT => return Err(ClusterError::NoAuthority),
                None => self.core.wait_change(AUTHORITY_LOOK),
            }
        }
    }

    /// Where nodes can be reached, this one first.
    fn addresses(&self) -> Vec<SocketAddr> {
        let configuration = self.core.configuration();
        let others = configuration.nodes().filter(|node| node.is_present() && node.id != self.core.me);
        let theirs = others.flat_map(|node| &node.about.addresses).filter_map(|address| address.as_str().parse().ok());
        std::iter::once(self.address()).chain(theirs).collect()
    }

    /// The cluster as this node sees it: itself, the nodes, and the volumes. The others are asked how far the copies are that they
    /// make; blocks for about a second if one does not answer.
    #[must_use]
    pub fn report(&self) -> ClusterReport {
        self.core.report_with(&self.core.all_copying())
    }

    /// What happened since `since_ms`, milliseconds since the Unix epoch, at all nodes that answer, from the oldest; and the names
    /// of those that do not.
    #[must_use]
    pub fn events(&self, since_ms: u64) -> (Vec<ClusterEvent>, Vec<String>) {
        self.core.all_events(since_ms)
    }

    /// Lets each node send at most so many bytes a second to bring replicas up to date; as many as it can if 0.
    ///
    /// # Errors
    /// Without a majority [`ClusterError::Configuration`].
    pub fn set_catch_up_rate(&self, rate_bytes: u64) -> Result<()> {
        let value = (rate_bytes > 0).then(|| rate_bytes.to_string().parse()).transpose()?;
        self.changed(Command::SetSetting { name: transfers::CATCH_UP_RATE.parse()?, value })
    }

    /// Takes a node (by name or number) out of service: its replicas move to others, and it gets no new ones.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchNode`].
    pub fn drain(&self, node: &str) -> Result<()> {
        let node = self.node(node)?;
        self.changed(Command::DrainNode { node })
    }

    /// Puts a drained node into service again.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchNode`].
    pub fn resume(&self, node: &str) -> Result<()> {
        let node = self.node(node)?;
        self.changed(Command::ResumeNode { node })
    }

    /// Removes a node that holds nothing any more, or, with `lost`, one that is lost with all it held. It can never come back.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchNode`], [`ClusterError::HoldsReplicas`].
    pub fn remove_node(&self, node: &str, lost: bool) -> Result<()> {
        let id = self.node(node)?;
        let command = if lost { Command::ForgetNode { node: id } } else { Command::RemoveNode { node: id } };
        match self.core.propose(command) {
            Err(ProposeError::Rejected(Rejection::NodeHolds { .. })) => {
                Err(ClusterError::HoldsReplicas(node.to_owned()))
            }
            // A leader that is removed may not come to say so.
            Err(ProposeError::Uncertain) if self.is_gone(id)? => Ok(()),
            done => Ok(done.map(drop)?),
        }?;
        if lost { self.void_tokens() } else { Ok(()) }
    }

    /// Takes back the invitations that nobody has used: whoever has a lost node's disk could use them.
    fn void_tokens(&self) -> Result<()> {
        let configuration = self.core.fresh_configuration()?;
        for token in configuration.tokens().filter(|token| token.used_by.is_none()) {
            match self.core.propose(Command::RemoveToken { token: token.id }) {
                // It expired meanwhile, or was taken back by another.
                Ok(_) | Err(ProposeError::Rejected(Rejection::InvalidToken)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn is_gone(&self, node: NodeId) -> Result<bool> {
        let configuration = self.core.fresh_configuration()?;
        Ok(configuration.node(node).is_none_or(|node| !node.is_present()))
    }

    fn changed(&self, command: Command) -> Result<()> {
        Ok(self.core.propose(command).map(drop)?)
    }

    /// The node of this name or number.
    fn node(&self, text: &str) -> Result<NodeId> {
        let configuration = self.core.configuration();
        let number = text.parse().ok().map(NodeId);
        let mut present = configuration.nodes().filter(|node| node.is_present());
        let found = present.find(|node| node.about.name.as_str() == text || Some(node.id) == number);
        found.map(|node| node.id).ok_or_else(|| ClusterError::NoSuchNode(text.to_owned()))
    }

    /// Ends: replicas are silent from now on.
    pub fn stop(&self) {
        self.running.lock().stop();
    }
}

/// The cluster that a node is in, once it is in one.
#[derive(Default)]
pub struct ClusterSlot(RwLock<Option<Arc<Cluster>>>);

impl ClusterSlot {
    /// The cluster.
    ///
    /// # Errors
    /// [`ClusterError::NotInCluster`].
    pub fn cluster(&self) -> Result<Arc<Cluster>> {
        self.0.read().clone().ok_or(ClusterError::NotInCluster)
    }

    /// From now on the node is in this one.
    pub fn set(&self, cluster: Arc<Cluster>) {
        *self.0.write() = Some(cluster);
    }

    /// Takes it out, to stop it.
    pub fn take(&self) -> Option<Arc<Cluster>> {
        self.0.write().take()
    }
}

#[cfg(test)]
mod tests;
