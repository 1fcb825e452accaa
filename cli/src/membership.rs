//! A daemon's part in a cluster: none, or that of the one cluster it founded, joined or goes on in.
//!
//! Invariant: once this is stopped or dropped, the node is silent.

use std::sync::{Arc, Mutex, PoisonError};

use siltstone::cluster::{Cluster, ClusterError, ClusterSlot, Place, Result};
use siltstone::join::Token;
use siltstone::node::Node;

use crate::daemon::LISTEN;

/// A place for a cluster, which may be empty.
pub(crate) struct Membership {
    /// Where the node is, as the command line says it.
    place: Place,
    slot: Arc<ClusterSlot>,
    /// Held while a cluster is made, so that no second one is.
    founding: Mutex<()>,
}

impl Membership {
    /// Goes on in the cluster that the node is in; joins the one that `token` invites to if it is in none.
    pub(crate) fn start(place: Place, token: Option<&Token>, node: &Arc<Node>) -> Result<Self> {
        let membership = Self { place, slot: Arc::default(), founding: Mutex::default() };
        match (Cluster::open(&membership.place, node)?, token) {
            (Some(cluster), _) => membership.slot.set(cluster),
            (None, Some(token)) => {
                membership.slot.set(Cluster::join(&membership.first_place(), &token.to_string(), node)?);
            }
            (None, None) => {}
        }
        Ok(membership)
    }

    /// Makes a cluster of this node alone.
    pub(crate) fn found(&self, name: Option<String>, zone: Option<String>, node: &Arc<Node>) -> Result<Arc<Cluster>> {
        // What it guards is no data, so a panic under it has spoiled nothing.
        let _founding = self.founding.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(cluster) = self.slot.cluster() {
            return Err(ClusterError::InCluster(cluster.report().cluster));
        }
        let place = Place { name, zone, ..self.first_place() };
        let cluster = Cluster::found(&place, node)?;
        self.slot.set(Arc::clone(&cluster));
        Ok(cluster)
    }

    /// The place of a node that has listened nowhere before.
    fn first_place(&self) -> Place {
        Place { listen: self.place.listen.or(Some(LISTEN)), ..self.place.clone() }
    }

    /// The cluster that the node is in.
    pub(crate) fn cluster(&self) -> Result<Arc<Cluster>> {
        self.slot.cluster()
    }

    /// Where the cluster is, once the node is in one.
    pub(crate) fn slot(&self) -> &Arc<ClusterSlot> {
        &self.slot
    }

    /// Leaves the cluster alone from now on: its replicas here are silent until the next start.
    pub(crate) fn stop(&self) {
        if let Some(cluster) = self.slot.take() {
            cluster.stop();
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.stop();
    }
}
