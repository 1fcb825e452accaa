//! The first start of a clone's replica, from the seed that a replica of its source has here.
//!
//! A clone's log begins with one record of epoch 1 that nobody has, and whose effect is the seed: the log is made as one that was
//! trimmed behind it. So whoever has no seed cannot be brought up to date by records, and gets content; and nothing that is
//! empty is ever taken for the clone.
//!
//! Whoever starts from the seed is sound, be it primary or not: it is a member from the first epoch on, and has acknowledged
//! nothing yet, so nothing can have been acknowledged without it.

use std::sync::Arc;

use net::replication::{Epoch, History, Lsn, Standing, VolumeId};

use super::local::{Setting, StartError};
use super::log::{Recovered, ReplicaLog, Sizes};

/// The record that a seed stands for.
const SEEDED: Lsn = Lsn(1);

/// Starts the replica of a clone of `source` from its seed; `None` if it was started before, or there is no seed here: then it
/// is for the others to bring it up to date.
pub(super) fn plant(
    setting: &Setting,
    source: VolumeId,
    files: Sizes,
) -> Result<Option<(ReplicaLog, Recovered)>, StartError> {
    let (node, id) = (&setting.node, setting.id);
    if node.is_noted(id) {
        return Ok(None);
    }
    if !node.has_seed(source, id) {
        // A seed that comes later comes too late: there may be more than it holds by then.
        node.note_replica(id)?;
        return Ok(None);
    }
    // What a crash has left: the content comes last, so that nobody has relied on this.
    ReplicaLog::remove(&*setting.device, id)?;
    let standing = Standing::Sound(Epoch(1));
    let mut log = ReplicaLog::create_sized(Arc::clone(&setting.device), id, setting.boot, standing, files)?;
    let history = History::new(vec![(Epoch(1), SEEDED)], SEEDED).expect("one record of the first epoch is a history");
    log.install(history.clone())?;
    node.plant_replica(id, source)?;
    tracing::info!(volume = %id, %source, "the replica of a clone starts from its seed");
    let (synced, floor, start) = (SEEDED, SEEDED, SEEDED.next());
    Ok(Some((log, Recovered { standing, intact: true, history, synced, floor, start, is_torn: false })))
}
