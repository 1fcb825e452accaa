//! Which of the cluster's volumes clients of this node have open. Whoever uses a volume should find it near: its node asks the
//! primary for it, once for each time that it is opened, so that of two clients that use it at two nodes the newer one has it.

use std::collections::HashMap;
use std::sync::Arc;

use net::forward::{Answer, Asked, Question, decode_answer, encode_question};
use net::id::VolumeId;
use net::replication::Event;
use net::transport::Transport;

use super::asking::PATIENCE;
use super::core::{Core, Route};

/// Volumes by their numbers.
#[derive(Default)]
pub(super) struct Opened(HashMap<VolumeId, Open>);

struct Open {
    connections: u64,
    wish: Wish,
}

/// How far this node has got with asking for a volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    /// It has to ask, when there is somebody to be asked.
    Wanted,
    /// It has asked, by this number, and is not answered yet.
    Asked(u64),
    /// The primary knows, or it has the volume. If another client takes it away later, that one has it.
    Noted,
}

impl Opened {
    /// How many connections there are to a volume.
    pub(super) fn connections(&self, volume: VolumeId) -> u64 {
        self.0.get(&volume).map_or(0, |open| open.connections)
    }

    fn open(&mut self, volume: VolumeId) {
        let open = self.0.entry(volume).or_insert(Open { connections: 0, wish: Wish::Wanted });
        open.connections += 1;
        open.wish = Wish::Wanted;
    }

    fn close(&mut self, volume: VolumeId) {
        if let Some(open) = self.0.get_mut(&volume) {
            open.connections -= 1;
            if open.connections == 0 {
                self.0.remove(&volume);
            }
        }
    }

    fn wanted(&self) -> Vec<VolumeId> {
        self.0.iter().filter(|(_, open)| open.wish == Wish::Wanted).map(|(volume, _)| *volume).collect()
    }

    /// Goes from one state to another; false if it is not in that.
    fn go(&mut self, volume: VolumeId, from: Wish, to: Wish) -> bool {
        match self.0.get_mut(&volume).filter(|open| open.wish == from) {
            Some(open) => {
                open.wish = to;
                true
            }
            None => false,
        }
    }
}

/// Snapshots that clients of this node read at other nodes, with the number of clients.
#[derive(Default)]
pub(super) struct OpenedSnapshots(HashMap<(VolumeId, String), u64>);

impl OpenedSnapshots {
    pub(super) fn open(&mut self, volume: VolumeId, name: &str) {
        *self.0.entry((volume, name.to_owned())).or_default() += 1;
    }

    pub(super) fn close(&mut self, volume: VolumeId, name: &str) {
        let key = (volume, name.to_owned());
        if let Some(connections) = self.0.get_mut(&key) {
            *connections -= 1;
            if *connections == 0 {
                self.0.remove(&key);
            }
        }
    }

    /// How many connections there are to a snapshot.
    pub(super) fn connections(&self, volume: VolumeId, name: &str) -> u64 {
        self.0.get(&(volume, name.to_owned())).copied().unwrap_or(0)
    }
}

impl Core {
    /// A client of this node uses a volume.
    pub(super) fn note_open(self: &Arc<Self>, volume: VolumeId) {
        self.open.lock().open(volume);
        self.wish_for(volume);
    }

    /// It does so no longer.
    pub(super) fn note_closed(&self, volume: VolumeId) {
        self.open.lock().close(volume);
    }

    /// Asks for volumes whose primaries could not be asked, or did not note it: they were about to give the volume to others.
    pub(super) fn keep_wishes(self: &Arc<Self>) {
        let wanted = self.open.lock().wanted();
        wanted.into_iter().for_each(|volume| self.wish_for(volume));
    }

    /// Asks for a volume to be served by this node, if it has a replica. The primary keeps the wish until it can be fulfilled.
    fn wish_for(self: &Arc<Self>, volume: VolumeId) {
        let link = match self.route(volume) {
            Route::Here(replica) => {
                if self.open.lock().go(volume, Wish::Wanted, Wish::Noted) {
                    // Of somebody who has asked before and could not have it yet.
                    replica.tell(Event::HandOver { request: None, to: self.me });
                }
                return;
            }
            Route::There(link) if self.replica(volume).is_some() => link,
            Route::There(_) | Route::Nowhere => return,
        };
        let asked = Wish::Asked(self.random());
        if !self.open.lock().go(volume, Wish::Wanted, asked) {
            return;
        }
        let question = encode_question(&Question { volume, asked: Asked::HandOver });
        let core = Arc::clone(self);
        let answered = Box::new(move |answer: Result<_, _>| {
            let is_noted = |message| matches!(decode_answer(&message), Ok(Answer { result: Ok(_), .. }));
            let next = if answer.is_ok_and(is_noted) { Wish::Noted } else { Wish::Wanted };
            core.open.lock().go(volume, asked, next);
        });
        self.transport().request(link, question, PATIENCE, answered);
    }
}
