//! Snapshots of several volumes that show one moment: changes of all are held back, then each volume's snapshot is ordered in
//! the pause of its own ([why that is right](../../../docs/decisions/2026-11-28-common-snapshots.md)).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lsm_store::store::SNAPSHOT_GROUP_MAX;
use net::forward::Refused;
use net::id::VolumeId;

use super::asking::Session;
use super::pauses::{Pause, Sent};
use super::volumes::{order, snapshot_error};
use super::{Cluster, ClusterError, ClusterSnapshot, Result};
use crate::name::SnapshotName;
use crate::node::NodeError;
use crate::replica::operation::{Draft, Operation};

/// How often all of it is tried.
const ATTEMPTS: u32 = 4;

/// How long the first volume is asked for a pause: no other volume's clients wait for it.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);

/// How long each of the others is asked: the pauses that there are run out.
const PATIENCE: Duration = Duration::from_millis(500);

/// Between two questions.
const LOOK: Duration = Duration::from_millis(10);

/// How long a volume that nobody serves is waited for, to make a snapshot of it durable or to remove it.
const SERVED_WAIT: Duration = Duration::from_secs(15);

/// One of the volumes.
struct Part {
    name: SnapshotName,
    volume: VolumeId,
    session: Session,
}

impl Cluster {
    /// Freezes what volumes hold now, all at the same moment: if one snapshot has a write that was asked for when another had been
    /// answered, the other's has that one. All of them are made, or none.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchVolume`], [`ClusterError::Snapshot`]; [`ClusterError::NotTogether`] if the volumes did not stand still for
    /// it, [`ClusterError::LeftOver`] if something failed and some of the snapshots may be there. [`ClusterError::NotReady`] if one
    /// cannot be found afterwards: all were made then.
    pub fn snapshot_together(&self, names: &[SnapshotName]) -> Result<Vec<ClusterSnapshot>> {
        let parts = self.parts(names)?;
        for _ in 0..ATTEMPTS {
            // This waits for those that nobody serves, while no pause runs out.
            names.iter().try_for_each(|name| self.check_free(name))?;
            if self.freeze(&parts)? {
                let made =
                    |name| self.wait_snapshot(name, true)?.ok_or_else(|| ClusterError::NotReady(name.volume.clone()));
                return names.iter().map(made).collect();
            }
        }
        Err(ClusterError::NotTogether)
    }

    /// The volumes in the order in which they are asked for pauses: whoever waits for one has none of a later one, so that no two
    /// wait for each other.
    fn parts(&self, names: &[SnapshotName]) -> Result<Vec<Part>> {
        let mut named = BTreeSet::new();
        if let Some(twice) = names.iter().find(|name| !named.insert(&name.volume)) {
            return Err(NodeError::NamedTwice(twice.volume.clone()).into());
        }
        if names.len() > SNAPSHOT_GROUP_MAX {
            return Err(
                lsm_store::Error::Invalid { what: "the group", must: "1 to 64 volumes, each named once" }.into()
            );
        }
        let part = |name: &SnapshotName| {
            let volume = self.core.ready_volume(&name.volume)?.id;
            let session = Session::with_patience(self.core(), volume, SERVED_WAIT);
            Ok(Part { name: name.clone(), volume, session })
        };
        let mut parts = names.iter().map(part).collect::<Result<Vec<_>>>()?;
        parts.sort_by_key(|part| part.volume);
        Ok(parts)
    }

    /// Makes all of the snapshots, durably, or none; false if it is worth trying again.
    fn freeze(&self, parts: &[Part]) -> Result<bool> {
        let Some(ordered) = self.order_all(parts)? else { return Ok(false) };
        let is_made = ordered.iter().all(Result::is_ok);
        let durable = || parts.iter().try_for_each(|part| part.session.flush());
        let failure = match is_made {
            true => durable().err().map(ClusterError::Store),
            false => ordered.iter().zip(parts).find_map(|(it, part)| final_failure(it.as_ref().err()?, part)),
        };
        if is_made && failure.is_none() {
            return Ok(true);
        }
        let is_possible = |it: &Result<(), Refused>| matches!(it, Ok(()) | Err(Refused::Unknown));
        let begun = parts.iter().zip(&ordered).filter(|(_, it)| is_possible(it)).map(|(part, _)| part);
        self.remove_again(begun)?;
        failure.map_or(Ok(false), Err)
    }

    /// Has every volume's snapshot ordered in a pause of the volume, all of which had begun before; `None` if they could not be had.
    /// All pauses are over when it returns.
    fn order_all(&self, parts: &[Part]) -> Result<Option<Vec<Result<(), Refused>>>> {
        let mut pauses = Vec::with_capacity(parts.len());
        for part in parts {
            let patience = if pauses.is_empty() { FIRST_PATIENCE } else { PATIENCE };
            let Some(pause) = self.pause(part, patience)? else { return Ok(None) };
            pauses.push(pause);
        }
        let draft = |part: &Part| Draft::of(&[Operation::Snapshot { name: part.name.snapshot.clone() }]);
        let sent: Vec<_> = pauses.iter().zip(parts).map(|(pause, part)| pause.order(&draft(part))).collect();
        Ok(Some(sent.into_iter().map(Sent::wait).collect()))
    }

    /// A pause of a volume, if it can be had in time.
    fn pause<'a>(&self, part: &'a Part, patience: Duration) -> Result<Option<Pause<'a>>> {
        let clock = Arc::clone(self.core.node.store().clock());
        let begun = clock.monotonic();
        while clock.monotonic() - begun < patience {
            if let Some(target) = part.session.target() {
                match Pause::begin(&part.session, target, part.name.snapshot.as_str()) {
                    Ok(pause) => return Ok(Some(pause)),
                    Err(Refused::Exists) => return Err(snapshot_error(&part.name, true)),
                    Err(Refused::Failed(why)) => {
                        return Err(ClusterError::CannotPause { volume: part.name.volume.clone(), why });
                    }
                    Err(_) => {}
                }
            }
            if let Some(error) = part.session.end() {
                return Err(error.into());
            }
            self.core.wait_change(LOOK);
        }
        Ok(None)
    }

    /// Removes snapshots that are there, or may be. A removal is not ordered before the pause is over, and no snapshot behind it.
    fn remove_again<'a>(&self, parts: impl Iterator<Item = &'a Part>) -> Result<()> {
        let (mut snapshots, mut failure) = (Vec::new(), None);
        for part in parts {
            // The session of before may have lost something, and would not go on.
            let session = Session::with_patience(self.core(), part.volume, SERVED_WAIT);
            let removed = order(&session, Operation::RemoveSnapshot { name: part.name.snapshot.clone() });
            if let Err(error) = removed
                && self.core.volume(part.volume).is_some()
            {
                snapshots.push(part.name.clone());
                failure = Some(error);
            }
        }
        failure.map_or(Ok(()), |source| Err(ClusterError::LeftOver { snapshots, source: Box::new(source) }))
    }
}

/// What a refusal is that another attempt would meet too.
fn final_failure(refused: &Refused, part: &Part) -> Option<ClusterError> {
    match refused {
        Refused::OutOfSpace => Some(lsm_store::Error::OutOfSpace.into()),
        Refused::Failed(why) => Some(ClusterError::CannotPause { volume: part.name.volume.clone(), why: why.clone() }),
        _ => None,
    }
}
