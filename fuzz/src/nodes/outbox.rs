//! What a replica asks of the node around it, until the simulation takes it up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use blockdev::replica::{Outside, Sending};
use lsm_store::device::sim::SimDevice;
use net::envelope;
use net::replication::{Configuration, Lsn, Message, NodeId, TransferId, VolumeId, wire};
use parking_lot::Mutex;

/// Something asked for.
#[derive(Debug)]
pub(super) enum Ask {
    Send(NodeId, envelope::Message),
    Propose(Configuration),
    Fetch,
    SendContent(Sending),
    ReceiveContent(NodeId, TransferId),
    Cancel(TransferId),
    Pin(NodeId, Lsn),
    Unpin(NodeId),
}

/// Asks in order. A machine that has died in the middle of something asks for nothing more.
pub(super) struct Outbox {
    asks: Mutex<Vec<Ask>>,
    disk: SimDevice,
    /// The machine dies with the operation of its disk behind so many.
    dies_after: Arc<AtomicU64>,
}

impl Outbox {
    pub(super) fn new(disk: SimDevice, dies_after: Arc<AtomicU64>) -> Self {
        Self { asks: Mutex::default(), disk, dies_after }
    }

    pub(super) fn take(&self) -> Vec<Ask> {
        std::mem::take(&mut *self.asks.lock())
    }

    fn put(&self, ask: Ask) {
        if self.disk.operation_count() <= self.dies_after.load(Ordering::Relaxed) {
            self.asks.lock().push(ask);
        }
    }
}

impl Outside for Outbox {
    fn send(&self, _volume: VolumeId, to: NodeId, message: &Message) {
        self.put(Ask::Send(to, wire::encode(message)));
    }

    fn propose(&self, _volume: VolumeId, next: Configuration) {
        self.put(Ask::Propose(next));
    }

    fn fetch_configuration(&self, _volume: VolumeId) {
        self.put(Ask::Fetch);
    }

    fn send_content(&self, sending: Sending) {
        self.put(Ask::SendContent(sending));
    }

    fn receive_content(&self, _volume: VolumeId, from: NodeId, transfer: TransferId) {
        self.put(Ask::ReceiveContent(from, transfer));
    }

    fn cancel_transfer(&self, transfer: TransferId) {
        self.put(Ask::Cancel(transfer));
    }

    fn pin(&self, _volume: VolumeId, node: NodeId, at_most: Lsn) {
        self.put(Ask::Pin(node, at_most));
    }

    fn unpin(&self, _volume: VolumeId, node: NodeId) {
        self.put(Ask::Unpin(node));
    }
}
