//! What replicas of a volume say to each other. Every message names the sender's epoch.
//!
//! The transport may lose, repeat and reorder them.

use bytes::Bytes;

use super::history::{History, Position};
use super::id::{Epoch, Incarnation, Lsn, Tick, TransferId};

/// What a record holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// The first record of an epoch, without content. Whoever has it has the primary's whole log up to there.
    Opening,
    /// A client's write, which only the executor can read; at most [`super::wire::PAYLOAD_BYTES_MAX`].
    Write(Bytes),
}

/// One position of a volume's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The epoch that wrote it.
    pub epoch: Epoch,
    /// Its content.
    pub body: Body,
}

impl Record {
    /// Bytes of payload.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match &self.body {
            Body::Opening => 0,
            Body::Write(payload) => payload.len() as u64,
        }
    }
}

/// How far a replica's log can be relied on. Kept in its journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It may lack anything: it is new, was removed, or its content is being replaced.
    Outside,
    /// It was sound when it noted this epoch, and then a power cut may have taken its unsynced tail: it has everything
    /// that was flushed.
    Doubtful(Epoch),
    /// Since this epoch it has held everything that was acknowledged while it was a member.
    Sound(Epoch),
}

/// Records from the primary to a peer; without any, a heartbeat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Append {
    /// The sender's epoch.
    pub epoch: Epoch,
    /// Which start of the receiver this is for.
    pub to: Incarnation,
    /// When it was sent, by the sender's clock; comes back with the answer.
    pub sent: Tick,
    /// The receiver counts as a member, rather than being caught up to become one.
    pub as_member: bool,
    /// The place before the first record.
    pub prev: Position,
    /// The records.
    pub records: Vec<Record>,
    /// Every member holds everything up to here.
    pub committed: Lsn,
    /// Every member has synced everything up to here.
    pub flushable: Lsn,
    /// The receiver shall sync up to here.
    pub sync: Lsn,
}

/// A peer's answer to [`Append`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// The sender's epoch.
    pub epoch: Epoch,
    /// Which start of the sender this is from.
    pub from: Incarnation,
    /// When the message it answers was sent, by the primary's clock.
    pub sent: Tick,
    /// The sender grants a lease from then on.
    pub granted: bool,
    /// Up to here its journal has been handed the primary's log.
    pub held: Lsn,
    /// Up to here it has synced it.
    pub synced: Lsn,
    /// The message did not connect to what it has: send again from there.
    pub resend_after: Option<Lsn>,
}

/// Asks for a [`Status`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Greet {
    /// The sender's epoch.
    pub epoch: Epoch,
    /// When it was sent, by the sender's clock.
    pub sent: Tick,
}

/// What a replica has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// The sender's epoch.
    pub epoch: Epoch,
    /// Which start of the sender this is from.
    pub from: Incarnation,
    /// When the [`Greet`] it answers was sent; 0 if it answers none.
    pub sent: Tick,
    /// The sender grants the primary a lease from then on.
    pub granted: bool,
    /// How far its log can be relied on.
    pub standing: Standing,
    /// Its log.
    pub history: History,
    /// Up to here it cannot truncate.
    pub floor: Lsn,
    /// It is getting ready for this transfer, or receives it.
    pub transfer: Option<TransferId>,
    /// It has heard of its primary within the last heartbeats, or is the primary.
    pub sees_primary: bool,
}

/// Why a member's store does not take more than it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shortage {
    /// It says so again when this is used up, and then has more.
    None,
    /// It has no more.
    Full,
    /// For some time it has had no room for what every member has synced.
    Stuck,
}

/// What a replica's store can take of what is still to be ordered, in the executor's measure of room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Credit {
    /// It is about the records behind this one. What comes before has been counted.
    pub at: Lsn,
    /// They may need so much room together, whatever else happens to the store.
    pub bytes: u64,
    /// Why not more.
    pub shortage: Shortage,
}

/// The primary is going to send all content, since its journal does not reach back to what the receiver has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer {
    /// The sender's epoch.
    pub epoch: Epoch,
    /// Which start of the receiver this is for.
    pub to: Incarnation,
    /// Which transfer.
    pub transfer: TransferId,
}

/// What replicas say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Who are you and what have you got?
    Greet(Greet),
    /// An answer to [`Greet`], or a request to be caught up.
    Status(Status),
    /// Take these.
    Append(Append),
    /// Taken.
    Appended(Appended),
    /// Get ready for a transfer.
    Offer(Offer),
    /// Ready for it: the receiver no longer relies on its content.
    Ready(Offer),
    /// The sender's memory is full of what it may not flush: let all members sync.
    WantSync(Epoch),
    /// The sender was primary in the epoch before this one and has stopped for good: its lease need not be waited for.
    Resigned(Epoch),
    /// The receiver's epoch is over.
    Stale(Epoch),
    /// What the sender's store can take.
    Credit {
        /// The sender's epoch.
        epoch: Epoch,
        /// Which start of the sender this is from.
        from: Incarnation,
        /// What it is.
        credit: Credit,
    },
}

impl Message {
    /// The sender's epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::Greet(greet) => greet.epoch,
            Self::Status(status) => status.epoch,
            Self::Append(append) => append.epoch,
            Self::Appended(appended) => appended.epoch,
            Self::Offer(offer) | Self::Ready(offer) => offer.epoch,
            Self::Credit { epoch, .. } | Self::WantSync(epoch) | Self::Resigned(epoch) | Self::Stale(epoch) => *epoch,
        }
    }
}
