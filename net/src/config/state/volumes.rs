//! Commands about volumes.

use super::super::id::{NodeId, VolumeId};
use super::super::name::{Name, Text};
use super::command::NewVolume;
use super::node::NodeState;
use super::replicas::check_placement;
use super::volume::{Copies, Origin, ReplicaSet, Trashed, Volume, VolumeState};
use super::{Configuration, Limit, Outcome, REPLICAS_MAX, Rejection, VOLUME_BYTES_MAX, VOLUMES_MAX, after};

impl Configuration {
    pub(super) fn create_volume(&mut self, new: &NewVolume) -> Result<Outcome, Rejection> {
        self.check_volume_name(&new.name)?;
        check_size(new.size_bytes)?;
        check_copies(new.copies)?;
        new.origin.map_or(Ok(()), |origin| self.check_origin(origin))?;
        let replicas = self.first_replicas(new)?;
        if self.volumes.len() >= VOLUMES_MAX {
            return Err(Rejection::Full(Limit::Volumes));
        }
        let id = self.next.volume;
        self.next.volume = VolumeId(after(id.0)?);
        let volume = Volume {
            id,
            name: new.name.clone(),
            size_bytes: new.size_bytes,
            codec: new.codec.clone(),
            created_ms: new.now_ms,
            state: new.state,
            origin: new.origin,
            trashed: None,
            schedule: None,
            copies: new.copies,
            replicas,
        };
        let inherited = new.origin.and_then(|origin| self.allowed.get(&origin.volume)).cloned();
        self.allowed.extend(inherited.map(|names| (id, names)));
        self.volumes.insert(id, volume);
        self.names.insert(new.name.clone(), id);
        Ok(Outcome::Volume(id))
    }

    fn first_replicas(&self, new: &NewVolume) -> Result<ReplicaSet, Rejection> {
        let placement = check_placement(&new.placement, new.copies)?;
        placement.iter().try_for_each(|&node| self.check_takes_replicas(node))?;
        if !placement.contains(&new.primary) {
            // No volume has an id before it is made: this one will have the next.
            return Err(Rejection::NotPlaced { volume: self.next.volume, node: new.primary });
        }
        Ok(ReplicaSet::first(new.primary, placement))
    }

    pub(super) fn check_takes_replicas(&self, id: NodeId) -> Result<(), Rejection> {
        let node = self.nodes.get(&id).ok_or(Rejection::NoNode(id))?;
        if node.takes_replicas() {
            return Ok(());
        }
        Err(Rejection::NodeState { node: id, state: node.state, needed: NodeState::Member.word().to_owned() })
    }

    fn check_origin(&self, origin: Origin) -> Result<(), Rejection> {
        let is_there = self.volumes.contains_key(&origin.volume)
            && origin.snapshot.is_none_or(|id| self.snapshots(origin.volume).any(|(_, snapshot)| snapshot.id == id));
        if is_there { Ok(()) } else { Err(Rejection::NoOrigin) }
    }

    pub(super) fn finish_import(&mut self, id: VolumeId) -> Result<Outcome, Rejection> {
        let volume = self.any_volume_mut(id)?;
        if volume.state != VolumeState::Importing {
            return Err(Rejection::NotImporting(id));
        }
        volume.state = VolumeState::Ready;
        Ok(Outcome::Done)
    }

    pub(super) fn rename_volume(&mut self, id: VolumeId, name: &Name) -> Result<Outcome, Rejection> {
        let old = self.usable_volume(id)?.name.clone();
        self.check_volume_name(name)?;
        self.usable_volume_mut(id)?.name = name.clone();
        self.names.remove(&old);
        self.names.insert(name.clone(), id);
        Ok(Outcome::Done)
    }

    pub(super) fn resize_volume(&mut self, id: VolumeId, size_bytes: u64) -> Result<Outcome, Rejection> {
        check_size(size_bytes)?;
        self.usable_volume_mut(id)?.size_bytes = size_bytes;
        Ok(Outcome::Done)
    }

    pub(super) fn set_codec(&mut self, id: VolumeId, codec: &Text) -> Result<Outcome, Rejection> {
        self.usable_volume_mut(id)?.codec = codec.clone();
        Ok(Outcome::Done)
    }

    pub(super) fn set_schedule(&mut self, id: VolumeId, schedule: Option<&Text>) -> Result<Outcome, Rejection> {
        self.usable_volume_mut(id)?.schedule = schedule.cloned();
        Ok(Outcome::Done)
    }

    pub(super) fn trash_volume(&mut self, id: VolumeId, expires_ms: u64, now_ms: u64) -> Result<Outcome, Rejection> {
        if expires_ms <= now_ms {
            return Err(Rejection::ExpiresInThePast);
        }
        let volume = self.usable_volume_mut(id)?;
        volume.trashed = Some(Trashed { removed_ms: now_ms, expires_ms });
        let name = volume.name.clone();
        self.names.remove(&name);
        Ok(Outcome::Done)
    }

    pub(super) fn restore_volume(&mut self, id: VolumeId, name: &Name) -> Result<Outcome, Rejection> {
        let volume = self.any_volume(id)?;
        if volume.trashed.is_none() {
            return Err(Rejection::NotTrashed(id));
        }
        self.check_volume_name(name)?;
        let volume = self.any_volume_mut(id)?;
        volume.trashed = None;
        volume.name = name.clone();
        self.names.insert(name.clone(), id);
        Ok(Outcome::Done)
    }

    pub(super) fn delete_volume(&mut self, id: VolumeId, with_snapshots: bool) -> Result<Outcome, Rejection> {
        let volume = self.volumes.get(&id).ok_or(Rejection::NoVolume(id))?;
        let snapshots = self.snapshots(id).count();
        if snapshots > 0 && !with_snapshots {
            return Err(Rejection::HasSnapshots { volume: id, snapshots: snapshots as u64 });
        }
        if volume.trashed.is_none() {
            self.names.remove(&volume.name);
        }
        self.volumes.remove(&id);
        self.snapshots.remove(&id);
        self.allowed.remove(&id);
        self.limits.remove(&id);
        self.snapshot_count -= snapshots;
        Ok(Outcome::Done)
    }

    pub(super) fn purge_volume(&mut self, id: VolumeId, removed_ms: u64) -> Result<Outcome, Rejection> {
        match self.any_volume(id)?.trashed {
            Some(trashed) if trashed.removed_ms == removed_ms => self.delete_volume(id, true),
            _ => Err(Rejection::NotTrashed(id)),
        }
    }

    /// A volume that is not in the trash.
    pub(super) fn usable_volume(&self, id: VolumeId) -> Result<&Volume, Rejection> {
        let volume = self.any_volume(id)?;
        if volume.trashed.is_some() { Err(Rejection::Trashed(id)) } else { Ok(volume) }
    }

    fn usable_volume_mut(&mut self, id: VolumeId) -> Result<&mut Volume, Rejection> {
        self.usable_volume(id)?;
        self.any_volume_mut(id)
    }

    /// A volume, in the trash or not.
    pub(super) fn any_volume(&self, id: VolumeId) -> Result<&Volume, Rejection> {
        self.volumes.get(&id).ok_or(Rejection::NoVolume(id))
    }

    pub(super) fn any_volume_mut(&mut self, id: VolumeId) -> Result<&mut Volume, Rejection> {
        self.volumes.get_mut(&id).ok_or(Rejection::NoVolume(id))
    }

    fn check_volume_name(&self, name: &Name) -> Result<(), Rejection> {
        if self.names.contains_key(name) { Err(Rejection::VolumeNameTaken(name.clone())) } else { Ok(()) }
    }
}

fn check_size(size_bytes: u64) -> Result<(), Rejection> {
    if (1..=VOLUME_BYTES_MAX).contains(&size_bytes) { Ok(()) } else { Err(Rejection::Size(size_bytes)) }
}

fn check_copies(copies: Copies) -> Result<(), Rejection> {
    if copies.make_sense() { Ok(()) } else { Err(Rejection::Copies(copies)) }
}

impl Copies {
    pub(super) fn make_sense(self) -> bool {
        (1..=REPLICAS_MAX).contains(&self.replicas) && (1..=self.replicas).contains(&self.in_sync_min)
    }
}
