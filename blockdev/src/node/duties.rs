//! What a node does by itself as time passes.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::{Node, NodeError, Purge, Result};
use crate::events::kind;
use crate::jumps::Jumps;
use crate::schedule::Thinning;

/// Between two looks at the clock.
const LOOK: Duration = Duration::from_secs(1);

/// How long a duty rests after a failure, which is likely to be there for a while.
const REST: Duration = Duration::from_secs(60);

/// What is due by the clock's time and can fail.
struct Duty {
    /// What it is about.
    what: &'static str,
    /// It removes what is too old.
    removes: bool,
    act: fn(&Node) -> Result<()>,
}

const DUTIES: [Duty; 5] = [
    Duty { what: "the trash", removes: true, act: Node::purge_expired },
    Duty { what: "objects", removes: true, act: Node::expire_objects },
    Duty { what: "uploads", removes: true, act: Node::expire_uploads },
    Duty { what: "what came of snapshots", removes: true, act: Node::expire_receptions },
    Duty { what: "scrubs", removes: false, act: Node::scrub_when_due },
];

/// What was seen at earlier looks.
#[derive(Default)]
struct Memory {
    /// Until when each duty rests, by the monotonic clock.
    rests: [Duration; DUTIES.len()],
    jumps: Jumps,
}

/// The thread that tends a node; dropping it waits until what is under way is done.
pub struct Duties {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stopping: Mutex<bool>,
    stopped: Condvar,
}

impl Duties {
    /// Tends `node` from now on.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub fn start(node: Arc<Node>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("duties".into()).spawn(move || tend_all(&node, &for_thread))?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Drop for Duties {
    fn drop(&mut self) {
        *self.shared.stopping.lock() = true;
        self.shared.stopped.notify_all();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of a node's duties panicked");
        }
    }
}

fn tend_all(node: &Node, shared: &Shared) {
    let mut memory = Memory::default();
    let mut stopping = shared.stopping.lock();
    while !*stopping {
        drop(stopping);
        node.tend_after(&mut memory);
        stopping = shared.stopping.lock();
        if !*stopping {
            shared.stopped.wait_for(&mut stopping, LOOK);
        }
    }
}

impl Node {
    /// Does what is due by the clock's time: volumes in the trash, objects and what was broken off go whose time is
    /// over, schedules are followed, and a scrub begins. What has changed by itself is noted. What fails keeps nothing else from
    /// being done.
    ///
    /// # Errors
    /// The first of those of the store. What is still to do is due at the next call.
    pub fn tend(&self) -> Result<()> {
        self.tend_after(&mut Memory::default()).into_iter().next().map_or(Ok(()), Err)
    }

    /// As [`Node::tend`], without what rests, and without removing anything for a while after the clock has jumped ahead. Says
    /// what failed, which rests from now on.
    fn tend_after(&self, memory: &mut Memory) -> Vec<NodeError> {
        let now = self.store.clock().monotonic();
        self.note_changes();
        let Memory { jumps, rests } = memory;
        let mut failures = Vec::new();
        for (duty, until) in DUTIES.iter().zip(rests) {
            // The one before may have taken long.
            let is_held = self.is_removal_held(jumps);
            if *until > now || duty.removes && is_held {
                continue;
            }
            if let Err(error) = (duty.act)(self) {
                tracing::warn!(duty.what, error = &error as &dyn std::error::Error, "a duty of the node failed");
                *until = now + REST;
                failures.push(error);
            }
        }
        self.follow_schedules(if self.is_removal_held(jumps) { Thinning::Held } else { Thinning::Due });
        failures
    }

    /// Whether nothing is to be removed by the date now.
    fn is_removal_held(&self, jumps: &mut Jumps) -> bool {
        let clock = self.store.clock();
        if let Some(ahead) = jumps.look(clock.wall(), clock.monotonic()) {
            self.note_jump(ahead);
        }
        jumps.is_held()
    }

    fn note_jump(&self, ahead: Duration) {
        let text = format!(
            "the clock went {} s further than time: nothing is removed by the date for an hour; set it right if it is not",
            ahead.as_secs()
        );
        self.events.note(kind::CLOCK_JUMPED, "", &text);
    }

    fn purge_expired(&self) -> Result<()> {
        for volume in self.purge(&Purge::Expired)? {
            tracing::info!(volume = %volume.trashed.name, id = volume.info.id.0, "removed a volume from the trash");
        }
        Ok(())
    }
}
