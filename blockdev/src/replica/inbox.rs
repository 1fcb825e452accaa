//! What a replica's thread has to do next.

use std::sync::mpsc::SyncSender;
use std::time::Duration;

use net::id::NodeId;
use net::replication::{Event, History, Lsn, TransferId};
use net::transport::Received;
use parking_lot::{Condvar, Mutex};

/// What happens to a replica, and what is asked of its log by those who do not own it.
#[derive(Debug)]
pub enum Input {
    /// For the protocol.
    Event(Event),
    /// A message came; what it holds of its receiver's room is given back once it was dealt with.
    Message(NodeId, Received),
    /// The store has everything up to here durably.
    Checkpoint(Lsn),
    /// The content is about to be replaced by that of a transfer; answered when that is noted.
    BeginInstall(TransferId, SyncSender<bool>),
    /// The content was replaced, and is that of this log.
    Install(TransferId, History),
    /// Asks which epochs wrote the log.
    TellHistory(SyncSender<History>),
    /// Asks which nodes are being brought along by the log, and about how many bytes of it each of them lacks.
    TellBehind(SyncSender<Vec<(NodeId, u64)>>),
    /// The log is kept from here on, for whoever gets this transfer; `None` no longer.
    Hold(TransferId, Option<Lsn>),
    /// Everything ends.
    Stop,
}

#[derive(Default)]
struct State {
    inputs: Vec<Input>,
    is_closed: bool,
}

/// Inputs in the order in which they came.
#[derive(Default)]
pub struct Inbox {
    state: Mutex<State>,
    filled: Condvar,
}

impl Inbox {
    /// Adds an input; false if nobody takes any more.
    pub fn push(&self, input: Input) -> bool {
        self.extend([input])
    }

    /// Adds inputs; false if nobody takes any more.
    pub fn extend(&self, inputs: impl IntoIterator<Item = Input>) -> bool {
        let mut state = self.state.lock();
        if state.is_closed {
            return false;
        }
        let was_empty = state.inputs.is_empty();
        state.inputs.extend(inputs);
        drop(state);
        if was_empty {
            self.filled.notify_one();
        }
        true
    }

    /// An event for the protocol.
    pub fn tell(&self, event: Event) -> bool {
        self.push(Input::Event(event))
    }

    /// Moves everything that is there to `inputs`, waiting for something for at most `timeout`.
    pub fn take(&self, inputs: &mut Vec<Input>, timeout: Duration) {
        let mut state = self.state.lock();
        if state.inputs.is_empty() {
            self.filled.wait_for(&mut state, timeout);
        }
        inputs.append(&mut state.inputs);
    }

    /// Moves everything that is there to `inputs`.
    pub fn take_all(&self, inputs: &mut Vec<Input>) {
        inputs.append(&mut self.state.lock().inputs);
    }

    /// Loses the messages that are there, as the network may.
    pub fn drop_messages(&self) {
        self.state.lock().inputs.retain(|input| !matches!(input, Input::Message(..)));
    }

    /// True if there is nothing.
    pub fn is_empty(&self) -> bool {
        self.state.lock().inputs.is_empty()
    }

    /// Takes nothing more, and drops what is there.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.inputs.clear();
    }
}
