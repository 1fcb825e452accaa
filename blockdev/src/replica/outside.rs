//! What a replica needs of the rest of the node.

use net::replication::{Base, Configuration, Lsn, Message, NodeId, TransferId, VolumeId};

/// Content that a replica wants another node to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sending {
    /// Of which volume.
    pub volume: VolumeId,
    /// To whom.
    pub to: NodeId,
    /// Which transfer.
    pub transfer: TransferId,
    /// What the receiver has.
    pub base: Base,
    /// It is to have at least everything up to here.
    pub at_least: Lsn,
}

/// The node around a replica. Calls come on the replica's thread and do not block; what comes of them goes to the replica's
/// inbox.
pub trait Outside: Send + Sync + 'static {
    /// Sends a message, which may be lost.
    fn send(&self, volume: VolumeId, to: NodeId, message: &Message);

    /// Proposes a configuration. The outcome comes as [`net::replication::Event::Configuration`] or
    /// [`net::replication::Event::ProposalFailed`].
    fn propose(&self, volume: VolumeId, next: Configuration);

    /// Reads the configuration, with everything that was accepted before.
    fn fetch_configuration(&self, volume: VolumeId);

    /// Begins to send content.
    fn send_content(&self, sending: Sending);

    /// Content from this node is welcome from now on.
    fn receive_content(&self, volume: VolumeId, from: NodeId, transfer: TransferId);

    /// A transfer is to end, in whichever direction.
    fn cancel_transfer(&self, transfer: TransferId);

    /// What was pinned is to be kept for a node, or given up.
    fn pin(&self, volume: VolumeId, node: NodeId, at_most: Lsn);

    /// What was pinned for a node is to be given up.
    fn unpin(&self, volume: VolumeId, node: NodeId);
}
