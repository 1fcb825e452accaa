//! Another authority for the cluster, as whoever asks for it sees it. What each node does is in `keys/rotation`.

use std::sync::Arc;
use std::time::Duration;

use net::config::raft::ProposeError;
use net::config::state::{Command, Configuration, Node, Rejection};
use net::identity::ask_next_authority;
use net::transport::{RequestError, Transport, call};

use super::{Cluster, ClusterError, Result};

/// How long a node has to say that it knows of such changes.
const PATIENCE: Duration = Duration::from_secs(5);

impl Cluster {
    /// Begins to replace the cluster's authority, and makes all tokens void. The nodes do the rest by themselves, however often they are
    /// restarted: see [`super::ClusterReport::rotation`]. Does nothing if one is being taken up already.
    ///
    /// # Errors
    /// [`ClusterError::CannotRotate`] if a node is not reached, or too old; without a majority [`ClusterError::Configuration`].
    pub fn rotate_authority(&self) -> Result<()> {
        let configuration = self.core.fresh_configuration()?;
        let Some(cluster) = configuration.cluster().filter(|_| configuration.rotation().is_none()) else {
            return Ok(());
        };
        self.check_all_rotate(&configuration)?;
        let keys = Arc::clone(&self.running.lock().keys);
        let Some(certificate) = keys.draw_next_authority(&self.core, cluster)? else { return Ok(()) };
        match self.core.propose(Command::BeginRotation { node: self.core.me, certificate }) {
            // Another node was quicker.
            Err(ProposeError::Rejected(Rejection::Rotating)) => Ok(()),
            begun => Ok(begun.map(drop)?),
        }
    }

    /// Gives a new authority up that not all nodes trust yet: the one in force stays.
    ///
    /// # Errors
    /// [`ClusterError::Configuration`] if there is none, or nodes show certificates of it already.
    pub fn cancel_rotation(&self) -> Result<()> {
        let configuration = self.core.fresh_configuration()?;
        let rotation = configuration.rotation().ok_or(ProposeError::Rejected(Rejection::NoRotation))?;
        self.changed(Command::CancelRotation { authority: rotation.authority() })
    }

    /// That every node is there and knows what will be asked of it: one of an earlier program would stop following the configuration.
    fn check_all_rotate(&self, configuration: &Configuration) -> Result<()> {
        let others = configuration.nodes().filter(|node| node.is_present() && node.id != self.core.me);
        for node in others {
            let transport = self.core.transport();
            let link = transport.link(node.id).ok_or_else(|| cannot(node, "it is not reached"))?;
            call(transport, link, ask_next_authority(), PATIENCE).map_err(|error| match error {
                RequestError::Refused => cannot(node, "its program does not know how: each node needs this version"),
                _ => cannot(node, "it does not answer"),
            })?;
        }
        Ok(())
    }
}

fn cannot(node: &Node, why: &'static str) -> ClusterError {
    ClusterError::CannotRotate { node: node.about.name.as_str().to_owned(), why }
}
