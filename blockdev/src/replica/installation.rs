//! A replica's content with its snapshots on its way to another node: both ends of `net::installation`, around those of
//! [`super::content`] (`docs/protocol.md`, "Installation").

use std::sync::Arc;
use std::time::Duration;

use lsm_store::store::{Store, Volume};
use net::envelope::Message;
use net::id::{Lsn, VolumeId};
use net::installation::{Answer, Question, Step};
use net::replication::{History, TransferId};
use net::transport::RequestError;

use super::content::{Asking, Pace, Progress, Receiver, SendError, Source, send};
use super::{LocalReplica, Pinned};
use crate::node::Node;

/// How long a receiver may take to apply what its log has up to the base.
const BASE_WAIT: Duration = Duration::from_secs(30);

/// Why a transfer from this node ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// There is nothing to send any more.
    #[error("the replica has ended, or cannot freeze its content")]
    Ended,
    /// There is no link.
    #[error("the receiver is not connected")]
    Unreachable,
    /// Nobody wants it any more.
    #[error("it was cancelled")]
    Cancelled,
    /// The receiver does not expect it, or failed.
    #[error("the receiver refused")]
    Refused,
    /// The receiver is defective.
    #[error("the receiver's answer is not one")]
    Nonsense,
    /// A question got no answer.
    #[error(transparent)]
    Unasked(#[from] RequestError),
    /// Content did not arrive.
    #[error(transparent)]
    Content(#[from] SendError),
    /// The sender's node failed.
    #[error(transparent)]
    Node(#[from] crate::node::NodeError),
    /// The sender's store failed.
    #[error(transparent)]
    Store(#[from] lsm_store::Error),
}

/// A transfer from this node.
pub struct Delivery<'a> {
    /// The volume.
    pub volume: VolumeId,
    /// Which transfer.
    pub transfer: TransferId,
    /// Where the content is.
    pub store: &'a Store,
    /// The way to the receiver.
    pub asking: &'a dyn Asking,
    /// How fast; says also whether it was cancelled.
    pub pace: Pace<'a>,
    /// Hears how many bytes of it, of how many, the receiver has.
    pub watch: &'a (dyn Fn(u64, u64) + Sync),
}

impl Delivery<'_> {
    /// Sends what is pinned, the snapshots before it first; `history` is that of the log up to there. What the receiver has
    /// already is content as of an LSN.
    ///
    /// # Errors
    /// [`Broken`]: what the receiver has may be a mixture then, and the next transfer compares everything.
    pub fn send(&self, pinned: &Pinned, base: Option<(Volume, Lsn)>, history: History) -> Result<(), Broken> {
        self.ask(Step::Begin { base: base.as_ref().map(|(_, at)| *at) })?;
        let mut base = base.map(|(volume, _)| volume);
        let current = self.store.volume(pinned.snapshot)?;
        let older_bytes: u64 = pinned.older.iter().map(|snapshot| snapshot.info.size_bytes).sum();
        let (mut before_bytes, total_bytes) = (0, older_bytes + current.size_bytes());
        for snapshot in &pinned.older {
            let content = self.store.volume(snapshot.info.id)?;
            self.send_one(&content, base.take(), (before_bytes, total_bytes))?;
            before_bytes += content.size_bytes();
            self.ask(Step::Freeze { snapshot: snapshot.name.snapshot.to_string() })?;
            base = Some(content);
        }
        self.send_one(&current, base, (before_bytes, total_bytes))?;
        self.ask(Step::Install { history })
    }

    fn ask(&self, step: Step) -> Result<(), Broken> {
        if (self.pace.is_cancelled)() {
            return Err(Broken::Cancelled);
        }
        let Self { volume, transfer, .. } = *self;
        let answer = self.asking.ask(Question { volume, transfer, step }.encode())?;
        match Answer::decode(&answer) {
            Ok(Answer::Done) => Ok(()),
            Ok(Answer::Refused) => Err(Broken::Refused),
            Err(_) => Err(Broken::Nonsense),
        }
    }

    /// Sends one of the volumes, which comes behind so many bytes of so many in all.
    fn send_one(
        &self,
        content: &Volume,
        base: Option<Volume>,
        (before_bytes, total_bytes): (u64, u64),
    ) -> Result<(), Broken> {
        self.ask(Step::Prepare { size_bytes: content.size_bytes() })?;
        // A base of another size says nothing of what lies beyond.
        let base = base.filter(|base| base.size_bytes() == content.size_bytes());
        let source = Source { volume: content.clone(), base };
        let watch = |progress: Progress| {
            let bytes = u128::from(progress.blocks_done) * u128::from(content.size_bytes());
            let done_bytes = bytes.checked_div(u128::from(progress.blocks_total)).unwrap_or(0);
            (self.watch)(before_bytes + u64::try_from(done_bytes).unwrap_or(u64::MAX), total_bytes);
        };
        let sent = send(&source, self.volume, self.transfer, self.asking, &self.pace, &watch)?;
        let (volume, blocks, moved, bytes) = (self.volume, sent.blocks, sent.blocks_moved, sent.bytes_moved);
        tracing::info!(%volume, blocks, moved, bytes, "content");
        Ok(())
    }
}

/// A transfer to this node.
pub struct Installing {
    replica: Arc<LocalReplica>,
    transfer: TransferId,
    receiver: Option<Receiver>,
}

impl Installing {
    /// A transfer that replaces what a replica has.
    #[must_use]
    pub fn new(replica: Arc<LocalReplica>, transfer: TransferId) -> Self {
        Self { replica, transfer, receiver: None }
    }

    /// Of which volume.
    #[must_use]
    pub fn volume(&self) -> VolumeId {
        self.replica.shared().id
    }

    /// Which transfer.
    #[must_use]
    pub fn transfer(&self) -> TransferId {
        self.transfer
    }

    /// Answers a question about content; `None` if none is expected.
    pub fn handle(&mut self, message: &Message) -> Option<Message> {
        Some(self.receiver.as_mut()?.handle(message))
    }

    /// Takes a step, which may wait for the replica; `None` if that cannot be, and the transfer is over.
    #[must_use]
    pub fn take(&mut self, node: &Node, step: &Step) -> Option<()> {
        let volume = self.volume();
        match step {
            Step::Begin { base } => {
                let reaches = base.is_none_or(|base| self.replica.apply_up_to(base, BASE_WAIT));
                if !reaches || !self.replica.begin_install(self.transfer) {
                    return None;
                }
                // The sender's come in their place: one of the same name may hold something else.
                for snapshot in reported(node.replica_snapshots(volume))? {
                    reported(node.remove_replica_snapshot(volume, &snapshot.name.snapshot))?;
                }
            }
            Step::Prepare { size_bytes } => {
                if !self.replica.begin_install(self.transfer) {
                    return None;
                }
                reported(node.resize_replica(volume, *size_bytes))?;
                let content = self.replica.shared().volume.clone();
                self.receiver = Some(Receiver::new(content, volume, self.transfer));
            }
            Step::Freeze { snapshot } => {
                self.receiver.take().filter(Receiver::is_complete)?;
                reported(node.snapshot_replica(volume, &snapshot.parse().ok()?))?;
            }
            Step::Install { history } => {
                self.receiver.take().filter(Receiver::is_complete)?;
                self.replica.install(self.transfer, history.clone());
            }
        }
        Some(())
    }
}

/// The result, or a line in the log.
fn reported<T>(done: crate::node::Result<T>) -> Option<T> {
    done.inspect_err(|error| {
        tracing::warn!(error = error as &dyn std::error::Error, "content of a replica cannot be taken");
    })
    .ok()
}
