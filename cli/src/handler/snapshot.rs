//! Snapshots and clones.

use siltstone::control::{Failure, Kind, Response, SnapshotDescription};
use siltstone::name::SnapshotName;
use siltstone::node::NamedSnapshot;

use super::{NodeHandler, describe, failure, name};

impl NodeHandler {
    pub(super) fn snapshot(&self, names: &[String]) -> Result<Response, Failure> {
        if names.is_empty() {
            return Err(Failure::new(Kind::Invalid, "no snapshot is named"));
        }
        let names = names.iter().map(|text| name(text)).collect::<Result<Vec<SnapshotName>, _>>()?;
        Ok(answer(&self.node().snapshot(&names).map_err(failure)?))
    }

    pub(super) fn list_snapshots(&self, of: Option<&str>) -> Result<Response, Failure> {
        let snapshots = match of {
            Some(of) => self.node().snapshots(&name(of)?).map_err(failure)?,
            None => self.node().all_snapshots(),
        };
        let known = self.census.known(self.node.store());
        let described = |snapshot: &NamedSnapshot| {
            let counted = known.as_ref().and_then(|census| census.volumes.get(&snapshot.info.id));
            let frees_bytes = counted.map(|counted| counted.frees_bytes);
            SnapshotDescription { frees_bytes, ..describe::snapshot(snapshot) }
        };
        Ok(Response::Snapshots { snapshots: snapshots.iter().map(described).collect() })
    }

    pub(super) fn rename_snapshot(&self, text: &str, to: &str) -> Result<Response, Failure> {
        let snapshot = self.node().rename_snapshot(&name(text)?, &name(to)?).map_err(failure)?;
        Ok(Response::Snapshot(describe::snapshot(&snapshot)))
    }

    pub(super) fn clone_volume(&self, of: &str, text: &str) -> Result<Response, Failure> {
        Ok(describe::answer(&self.node().clone_volume(&name(of)?, &name(text)?).map_err(failure)?))
    }

    pub(super) fn children(&self, text: &str) -> Result<Response, Failure> {
        let children = self.node().children(&name(text)?).map_err(failure)?;
        Ok(Response::Volumes { volumes: children.iter().map(describe::volume).collect() })
    }
}

fn answer(snapshots: &[NamedSnapshot]) -> Response {
    Response::Snapshots { snapshots: snapshots.iter().map(describe::snapshot).collect() }
}
