//! Commands about snapshots.

use std::collections::BTreeSet;

use super::super::id::{SnapshotId, VolumeId};
use super::super::name::Name;
use super::command::Cut;
use super::volume::Snapshot;
use super::{Configuration, Limit, Outcome, Rejection, SNAPSHOTS_MAX, after};

impl Configuration {
    pub(super) fn create_snapshots(&mut self, cuts: &[Cut], now_ms: u64) -> Result<Outcome, Rejection> {
        let volumes: BTreeSet<VolumeId> = cuts.iter().map(|cut| cut.volume).collect();
        if cuts.is_empty() || volumes.len() != cuts.len() {
            return Err(Rejection::List);
        }
        cuts.iter().try_for_each(|cut| self.check_cut(cut))?;
        if self.snapshot_count + cuts.len() > SNAPSHOTS_MAX {
            return Err(Rejection::Full(Limit::Snapshots));
        }
        let group = self.next.snapshot;
        let mut next = group.0;
        let mut ids = Vec::with_capacity(cuts.len());
        for _ in cuts {
            ids.push(SnapshotId(next));
            next = after(next)?;
        }
        self.next.snapshot = SnapshotId(next);
        self.snapshot_count += cuts.len();
        for (cut, &id) in cuts.iter().zip(&ids) {
            let snapshot = Snapshot { id, lsn: cut.lsn, group, created_ms: now_ms };
            self.snapshots.entry(cut.volume).or_default().insert(cut.name.clone(), snapshot);
        }
        Ok(Outcome::Snapshots(ids))
    }

    fn check_cut(&self, cut: &Cut) -> Result<(), Rejection> {
        let found = self.usable_volume(cut.volume)?.replicas.epoch;
        if found != cut.epoch {
            return Err(Rejection::Epoch { volume: cut.volume, expected: cut.epoch, found });
        }
        self.check_snapshot_name(cut.volume, &cut.name)
    }

    pub(super) fn rename_snapshot(&mut self, volume: VolumeId, name: &Name, to: &Name) -> Result<Outcome, Rejection> {
        self.usable_volume(volume)?;
        self.check_snapshot_name(volume, to)?;
        let missing = || Rejection::NoSnapshot { volume, name: name.clone() };
        let of_volume = self.snapshots.get_mut(&volume).ok_or_else(missing)?;
        let snapshot = of_volume.remove(name).ok_or_else(missing)?;
        of_volume.insert(to.clone(), snapshot);
        Ok(Outcome::Done)
    }

    pub(super) fn remove_snapshots(&mut self, volume: VolumeId, names: &[Name]) -> Result<Outcome, Rejection> {
        if !self.volumes.contains_key(&volume) {
            return Err(Rejection::NoVolume(volume));
        }
        let distinct: BTreeSet<&Name> = names.iter().collect();
        if names.is_empty() || distinct.len() != names.len() {
            return Err(Rejection::List);
        }
        if let Some(name) = names.iter().find(|name| self.snapshot(volume, name).is_none()) {
            return Err(Rejection::NoSnapshot { volume, name: name.clone() });
        }
        let Some(of_volume) = self.snapshots.get_mut(&volume) else { return Err(Rejection::NoVolume(volume)) };
        of_volume.retain(|name, _| !distinct.contains(name));
        if of_volume.is_empty() {
            self.snapshots.remove(&volume);
        }
        self.snapshot_count -= names.len();
        Ok(Outcome::Done)
    }

    fn check_snapshot_name(&self, volume: VolumeId, name: &Name) -> Result<(), Rejection> {
        match self.snapshot(volume, name) {
            Some(_) => Err(Rejection::SnapshotNameTaken { volume, name: name.clone() }),
            None => Ok(()),
        }
    }
}
