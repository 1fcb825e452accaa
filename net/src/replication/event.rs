//! What happens to a replica.

use bytes::Bytes;

use super::configuration::Configuration;
use super::history::History;
use super::id::{Incarnation, Lsn, NodeId, PauseId, RequestId, Ticket, TransferId};
use super::message::{Credit, Message, Record, Standing};
use super::policy::Windows;

/// What a replica starts from: what its journal says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Start {
    /// This node.
    pub me: NodeId,
    /// A random number, drawn for this start.
    pub incarnation: Incarnation,
    /// The standing last noted; [`Standing::Outside`] if there is none, but `Sound(Epoch(1))` on the node that creates the
    /// volume.
    pub standing: Standing,
    /// The kernel has not stopped since: everything that was handed to the journal is still there. False if in doubt.
    pub intact: bool,
    /// The log.
    pub history: History,
    /// Up to here the log has been synced. At most its end.
    pub synced: Lsn,
    /// Up to here the log is in runs and cannot be truncated.
    pub floor: Lsn,
    /// The first LSN that can still be read back from the journal.
    pub journal_start: Lsn,
}

/// What happens to a replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A client writes.
    Write {
        /// Which request.
        request: RequestId,
        /// What is written, for the executor to read; at most [`super::wire::PAYLOAD_BYTES_MAX`].
        payload: Bytes,
        /// Room that a member's store needs to apply it, at most, in the executor's measure; what needs none is never refused
        /// for want of it.
        room: u64,
        /// It is to be ordered in this pause, and refused if that is over.
        pause: Option<PauseId>,
    },
    /// Changes are to be held back, but for those of this pause; for [`super::PAUSE_US`] at most.
    Pause {
        /// Which request: done when every member holds what was ordered before.
        request: RequestId,
        /// Which pause.
        id: PauseId,
    },
    /// A pause is over, if it is the one that there is.
    Resume(PauseId),
    /// What this node's store can take; to be told again whenever it changes much, and with every heartbeat.
    Credit(Credit),
    /// A client wants durable what was answered.
    Flush {
        /// Which request.
        request: RequestId,
    },
    /// A client reads.
    Read {
        /// Which request.
        request: RequestId,
    },
    /// What a read wanted was read; may it be answered?
    ReadDone {
        /// Which request.
        request: RequestId,
    },
    /// The memtable is full of what may not be flushed yet.
    NeedSync,
    /// Everything asked of the journal up to here was handed to the kernel.
    Journaled(Ticket),
    /// Everything asked of the journal up to this [`super::Action::Sync`] is durable.
    Synced(Ticket),
    /// The journal failed and takes nothing more.
    JournalFailed,
    /// Records that [`super::Action::ReadJournal`] asked for.
    JournalRead {
        /// For whom.
        to: NodeId,
        /// The LSN before the first.
        after: Lsn,
        /// The records, at least one.
        records: Vec<Record>,
    },
    /// The journal's older part is gone; this is the first LSN that can be read back.
    JournalStarts(Lsn),
    /// Runs hold everything up to here.
    Floor(Lsn),
    /// A message came.
    Message {
        /// From whom; the transport has checked that.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// The connection to a peer is gone. A hint: it saves waiting.
    PeerDown(NodeId),
    /// The volume has this configuration, now or at some time.
    Configuration {
        /// The configuration.
        configuration: Configuration,
        /// It was the newest at some moment after this replica started: a read of the service that sees every change
        /// that was accepted before, not a copy that may be old.
        is_fresh: bool,
    },
    /// The proposal was not accepted, or its outcome is unknown.
    ProposalFailed,
    /// These nodes shall replicate the volume.
    Placement(Vec<NodeId>),
    /// Nothing is acknowledged with fewer members than this, from now on; 0 counts as 1.
    InSyncMin(usize),
    /// No more than this is held, from now on. They must let something through.
    Windows(Windows),
    /// Hand the volume to a node as soon as it is a member that can serve it and nothing else is being decided. The newest
    /// wish counts, and is forgotten with the role.
    HandOver {
        /// Which request, if somebody wants to know whether the wish was noted. It is refused where it would be forgotten:
        /// by who is not primary, or is about to be no longer.
        request: Option<RequestId>,
        /// To whom.
        to: NodeId,
    },
    /// A snapshot was pinned for a peer, at this LSN.
    Pinned {
        /// For whom.
        node: NodeId,
        /// What it holds.
        at: Lsn,
    },
    /// The snapshot pinned for a peer was given up, for space or time.
    PinLost(NodeId),
    /// A transfer to a peer broke off.
    TransferFailed(TransferId),
    /// A transfer to this node is complete, every extent was verified, all of it is durable, and the log was replaced.
    Installed {
        /// Which transfer.
        transfer: TransferId,
        /// The primary's log up to where the content is from.
        history: History,
    },
    /// Time passed: see [`super::Replica::deadline`].
    Timer,
}
