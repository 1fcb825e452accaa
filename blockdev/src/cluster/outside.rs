//! What replicas need of the node around them: messages out, the configuration, content.

use std::sync::{Arc, Weak};

use net::config::raft::Consensus;
use net::config::state::Command;
use net::replication::wire;
use net::replication::{Configuration, Event, Lsn, Message, NodeId, TransferId, VolumeId};
use net::transport::{Channel, SendError, Transport};

use super::core::Core;
use super::workers::Workers;
use crate::replica::{Outside, Sending};

/// The node, as its replicas see it. They end before it does.
pub(super) struct NodeAround {
    pub(super) core: Weak<Core>,
    /// For content that goes to other nodes.
    pub(super) senders: Arc<Workers>,
    /// For what is frozen for other nodes.
    pub(super) pinners: Arc<Workers>,
}

impl NodeAround {
    fn pinning(&self, work: impl FnOnce(&Core) + Send + 'static) {
        if let Some(core) = self.core.upgrade() {
            self.pinners.run(move || work(&core));
        }
    }
}

impl Outside for NodeAround {
    fn send(&self, volume: VolumeId, to: NodeId, message: &Message) {
        let Some(core) = self.core.upgrade() else { return };
        let Some(link) = core.transport().link(to) else { return };
        match core.transport().send(link, Channel::journal(volume.0), wire::encode(message)) {
            // What is lost is sent again when the peer's answers show that it lacks it.
            Ok(()) | Err(SendError::Down | SendError::Full) => {}
            Err(error) => tracing::error!(%volume, node = %to, %error, "a message of replication cannot be sent"),
        }
    }

    fn propose(&self, volume: VolumeId, next: Configuration) {
        let Some(core) = self.core.upgrade() else { return };
        core.runtime.clone().spawn(async move {
            let proposed = Command::ChangeReplicas { volume, next: next.clone() };
            let event = match core.consensus().propose(proposed).await {
                Ok(_) => Event::Configuration { configuration: next, is_fresh: false },
                Err(error) => {
                    tracing::debug!(%volume, %error, "a configuration was not accepted");
                    Event::ProposalFailed
                }
            };
            core.tell(volume, event);
        });
    }

    fn fetch_configuration(&self, volume: VolumeId) {
        let Some(core) = self.core.upgrade() else { return };
        core.runtime.clone().spawn(async move {
            let Ok(view) = core.consensus().read().await else { return };
            if let Some(found) = view.configuration.volume(volume) {
                core.tell(volume, Event::Placement(found.replicas.placement.clone()));
                let configuration = found.replicas.configuration();
                core.tell(volume, Event::Configuration { configuration, is_fresh: true });
            }
        });
    }

    fn send_content(&self, sending: Sending) {
        if let Some(core) = self.core.upgrade() {
            core.transfers.begin_sending(sending.transfer);
            self.senders.run(move || core.send_content(&sending));
        }
    }

    fn receive_content(&self, volume: VolumeId, from: NodeId, transfer: TransferId) {
        if let Some(core) = self.core.upgrade() {
            core.transfers.expect(volume, from, transfer);
        }
    }

    fn cancel_transfer(&self, transfer: TransferId) {
        if let Some(core) = self.core.upgrade() {
            core.transfers.cancel(transfer);
        }
    }

    fn pin(&self, volume: VolumeId, node: NodeId, at_most: Lsn) {
        self.pinning(move |core| core.pin(volume, node, at_most));
    }

    fn unpin(&self, volume: VolumeId, node: NodeId) {
        self.pinning(move |core| core.unpin(volume, node));
    }
}
