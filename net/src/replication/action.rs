//! What a replica wants done.

use super::configuration::Configuration;
use super::id::{Epoch, Lsn, NodeId, RequestId, Ticket, TransferId};
use super::message::{Message, Record, Standing};

/// Why a request was refused. None of these says anything about what the volume holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// This node is not the primary; it is there, as far as is known.
    NotPrimary(Option<NodeId>),
    /// The primary cannot answer now: try again.
    NotReady,
    /// A member's store has no room for it. What needs none goes on.
    OutOfSpace,
    /// Too much is under way, or changes are held back: try again when [`Action::Admit`] says so, or after a moment.
    Busy,
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// As promised: a write is held by every member, a flush is durable on every member, a read may be answered.
    Done,
    /// It was not carried out and never will be.
    Refused(Refusal),
    /// This node stopped being primary: a write may or may not have been carried out.
    Unknown,
}

/// What a transfer starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Base {
    /// The receiver has the content of the snapshot pinned for it: only what differs travels.
    Pinned(Lsn),
    /// All blocks are compared by fingerprint.
    Nothing,
}

/// What the executor does for a replica, in the order given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Append records to the journal.
    Journal {
        /// Comes back with [`super::Event::Journaled`].
        ticket: Ticket,
        /// LSN of the first.
        first: Lsn,
        /// The records, with consecutive LSNs.
        records: Vec<Record>,
    },
    /// Forget the records beyond an LSN, in journal and memtable. None of them is in a run; one may be visible only after a
    /// loss.
    Truncate {
        /// Comes back with [`super::Event::Journaled`].
        ticket: Ticket,
        /// The last to stay.
        beyond: Lsn,
    },
    /// Append a standing to the journal, to be known at the next start.
    Note {
        /// Comes back with [`super::Event::Journaled`].
        ticket: Ticket,
        /// The standing.
        standing: Standing,
    },
    /// Sync the journal, with everything asked of it before.
    Sync {
        /// Comes back with [`super::Event::Synced`].
        ticket: Ticket,
    },
    /// Read records back for a peer, answered by [`super::Event::JournalRead`].
    ReadJournal {
        /// For whom.
        to: NodeId,
        /// The LSN before the first.
        after: Lsn,
        /// How many at most.
        count_max: usize,
        /// How many bytes of payload at most, but for the first record.
        bytes_max: u64,
    },
    /// Reads see everything up to here.
    Visible(Lsn),
    /// Flush jobs may take everything up to here.
    Flushable(Lsn),
    /// A read may begin, and sees what is visible now; to be followed by [`super::Event::ReadDone`].
    AdmitRead(RequestId),
    /// The request's outcome.
    Answer(RequestId, Outcome),
    /// Requests are accepted, or would be refused with [`Refusal::Busy`] until further notice.
    Admit(bool),
    /// Send a message.
    Send(NodeId, Message),
    /// Make this the configuration, if the present one's epoch is one less.
    Propose(Configuration),
    /// Ask for the newest configuration, with a read that sees every change accepted before it, answered by a fresh
    /// [`super::Event::Configuration`].
    FetchConfiguration,
    /// This node serves the volume from now on.
    Opened {
        /// As primary of this epoch.
        epoch: Epoch,
        /// The last epoch that began with every member's tail lost: of what was written in older ones, writes after the
        /// last flush may be gone.
        loss: Epoch,
    },
    /// This node no longer serves the volume.
    Closed,
    /// Pin a snapshot of content at or below this LSN, to catch up a node that is no longer a member.
    Pin {
        /// For whom.
        node: NodeId,
        /// The newest it may be.
        at_most: Lsn,
    },
    /// Give up the snapshot pinned for a node.
    Unpin(NodeId),
    /// Send a peer the volume's content as every member has synced it, as of the LSN last said to be
    /// [`Action::Flushable`], and keep the journal behind that until the peer has taken it from there.
    SendContent {
        /// To whom.
        to: NodeId,
        /// Which transfer.
        transfer: TransferId,
        /// What it can start from.
        base: Base,
    },
    /// Accept the content of this transfer from the primary. What the peer holds at the base's LSN or behind it, but not
    /// beyond what both logs share, is what a difference applies to.
    ReceiveContent {
        /// From whom.
        from: NodeId,
        /// Which transfer.
        transfer: TransferId,
    },
    /// Stop a transfer.
    CancelTransfer(TransferId),
    /// A peer and this node have records with the same place and unlike order, or would have to undo what is flushed:
    /// somebody must look.
    Diverged(NodeId),
}
