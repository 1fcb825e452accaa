//! Snapshots and clones.

use siltstone::cluster::VolumeHealth;
use siltstone::control::{Failure, Kind, Response, SnapshotDescription};
use siltstone::name::{ExportName, SnapshotName, VolumeName};
use siltstone::node::NamedSnapshot;

use super::pages::{PAGE_ENTRIES, page};
use super::{NodeHandler, describe, failure, name};

impl NodeHandler {
    pub(super) fn snapshot(&self, names: &[String]) -> Result<Response, Failure> {
        if names.is_empty() {
            return Err(Failure::new(Kind::Invalid, "no snapshot is named"));
        }
        let names = names.iter().map(|text| name(text)).collect::<Result<Vec<SnapshotName>, _>>()?;
        let replicated = names.iter().map(|name| self.replicated(&name.volume)).collect::<Result<Vec<_>, _>>()?;
        let Some(any) = replicated.iter().flatten().next() else {
            return Ok(answer(&self.node().snapshot(&names).map_err(failure)?));
        };
        if let Some((name, _)) = names.iter().zip(&replicated).find(|(_, replicated)| replicated.is_none()) {
            self.node().volume(&name.volume).map_err(failure)?;
            let message = format!(
                "volume {} is of this node alone and {} is replicated: only volumes of one kind are frozen at the same moment",
                name.volume, any.report.name
            );
            return Err(Failure::new(Kind::Unsupported, message));
        }
        Ok(Response::Snapshots { snapshots: any.freeze(&names)?, next: None })
    }

    /// All of them at once, or from the volume behind `after` on a page.
    pub(super) fn list_snapshots(&self, of: Option<&str>, after: Option<&str>) -> Result<Response, Failure> {
        let of: Option<VolumeName> = of.map(name).transpose()?;
        if let Some(of) = &of
            && let Some(replicated) = self.replicated(of)?
        {
            return Ok(Response::Snapshots { snapshots: replicated.snapshots()?, next: None });
        }
        let snapshots = match &of {
            Some(of) => self.node().snapshots(of).map_err(failure)?,
            None => self.node().all_snapshots(),
        };
        let known = self.census.known(self.node.store());
        let described = |snapshot: &NamedSnapshot| {
            let counted = known.as_ref().and_then(|census| census.volumes.get(&snapshot.info.id));
            let frees_bytes = counted.map(|counted| counted.frees_bytes);
            SnapshotDescription { frees_bytes, ..describe::snapshot(snapshot) }
        };
        let mut described: Vec<_> = snapshots.iter().map(described).collect();
        if of.is_none() {
            described.extend(self.replicated_snapshots(after.unwrap_or_default())?);
        }
        // From the oldest, those of each volume are already.
        described.sort_by(|one, other| one.volume.cmp(&other.volume));
        let (snapshots, next) = match after {
            Some(after) => page(described, |snapshot| &snapshot.volume, after, PAGE_ENTRIES),
            None => (described, None),
        };
        Ok(Response::Snapshots { snapshots, next })
    }

    /// The snapshots of the replicated volumes behind `after` that somebody can be asked about now.
    fn replicated_snapshots(&self, after: &str) -> Result<Vec<SnapshotDescription>, Failure> {
        let report = self.cluster_report().unwrap_or_default();
        let mut snapshots = Vec::new();
        let asked = report.volumes.iter().filter(|volume| volume.name.as_str() > after);
        for volume in asked.filter(|volume| volume.health != VolumeHealth::Stalled) {
            if let Some(replicated) = self.replicated(&volume.name)? {
                snapshots.extend(replicated.snapshots()?);
            }
        }
        Ok(snapshots)
    }

    pub(super) fn remove_snapshot(&self, text: &str) -> Result<Response, Failure> {
        let name: SnapshotName = name(text)?;
        if let Some(replicated) = self.replicated(&name.volume)? {
            return replicated.remove_snapshot(&name);
        }
        self.node().remove_snapshot(&name).map_err(failure)?;
        Ok(Response::Done)
    }

    pub(super) fn roll_back(&self, text: &str) -> Result<Response, Failure> {
        let name: SnapshotName = name(text)?;
        if let Some(replicated) = self.replicated(&name.volume)? {
            return replicated.roll_back(&name);
        }
        Ok(describe::answer(&self.node().roll_back(&name).map_err(failure)?))
    }

    pub(super) fn rename_snapshot(&self, text: &str, to: &str) -> Result<Response, Failure> {
        let (from, to): (SnapshotName, VolumeName) = (name(text)?, name(to)?);
        if let Some(replicated) = self.replicated(&from.volume)? {
            return replicated.rename_snapshot(&from, &to);
        }
        let snapshot = self.node().rename_snapshot(&from, &to).map_err(failure)?;
        Ok(Response::Snapshot(describe::snapshot(&snapshot)))
    }

    pub(super) fn clone_volume(&self, of: &str, text: &str) -> Result<Response, Failure> {
        let (of, name): (ExportName, VolumeName) = (name(of)?, name(text)?);
        if let Some(replicated) = self.replicated(of.volume())? {
            self.check_not_of_node(&name)?;
            return replicated.clone_volume(&of, &name);
        }
        Ok(describe::answer(&self.node().clone_volume(&of, &name).map_err(failure)?))
    }

    pub(super) fn children(&self, text: &str) -> Result<Response, Failure> {
        let of: ExportName = name(text)?;
        if let Some(replicated) = self.replicated(of.volume())? {
            return replicated.children(&of);
        }
        let children = self.node().children(&of).map_err(failure)?;
        Ok(Response::Volumes { volumes: children.iter().map(describe::volume).collect() })
    }
}

fn answer(snapshots: &[NamedSnapshot]) -> Response {
    Response::Snapshots { snapshots: snapshots.iter().map(describe::snapshot).collect(), next: None }
}
