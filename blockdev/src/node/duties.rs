//! What a node does by itself as time passes.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::{Node, Purge, Result};

/// Between two looks at the clock.
const LOOK: Duration = Duration::from_secs(1);

/// The same after a failure, which is likely to be there for a while.
const LOOK_AFTER_FAILURE: Duration = Duration::from_secs(60);

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
    let mut stopping = shared.stopping.lock();
    while !*stopping {
        drop(stopping);
        let pause = match node.tend() {
            Ok(()) => LOOK,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a duty of the node failed");
                LOOK_AFTER_FAILURE
            }
        };
        stopping = shared.stopping.lock();
        if !*stopping {
            shared.stopped.wait_for(&mut stopping, pause);
        }
    }
}

impl Node {
    /// Does what is due by the clock's time: volumes in the trash, objects and what was broken off go whose time is
    /// over, schedules are followed, and a scrub begins. What has changed by itself is noted.
    ///
    /// # Errors
    /// Those of the store. What is still to do is due at the next call.
    pub fn tend(&self) -> Result<()> {
        self.note_changes();
        for volume in self.purge(&Purge::Expired)? {
            tracing::info!(volume = %volume.trashed.name, id = volume.info.id.0, "removed a volume from the trash");
        }
        self.expire_objects()?;
        self.expire_uploads()?;
        self.expire_receptions()?;
        self.scrub_when_due()?;
        self.follow_schedules()
    }
}
