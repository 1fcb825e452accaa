//! Where two volumes or snapshots differ, a page at a time.

use siltstone::control::{ChangedRange, Changes, Failure, Response};
use siltstone::export::{ChangedExtent, Changes as _};
use siltstone::name::ExportName;

use super::cluster::cluster_failure;
use super::replicated::Replicated;
use super::{NodeHandler, failure, name};

/// Extents of one page, the unchanged ones between included.
const EXTENTS_MAX: usize = 8192;

impl NodeHandler {
    pub(super) fn changes(&self, from: &str, to: &str, offset: u64) -> Result<Response, Failure> {
        let (from, to): (ExportName, ExportName) = (name(from)?, name(to)?);
        match (self.replicated(from.volume())?, self.replicated(to.volume())?) {
            (Some(replicated), _) | (None, Some(replicated)) => replicated.changes(&from, &to, offset),
            (None, None) => self.local_changes(&from, &to, offset),
        }
    }

    fn local_changes(&self, from: &ExportName, to: &ExportName, offset: u64) -> Result<Response, Failure> {
        let changes = self.node.changes(from, to).map_err(failure)?;
        let ((from_id, from_size_bytes), (to_id, to_size_bytes)) = (changes.from(), changes.to());
        let end = from_size_bytes.max(to_size_bytes);
        let position = offset.min(end);
        let found =
            if position < end { changes.extents(position, end - position, EXTENTS_MAX) } else { Ok(Vec::new()) };
        let found = found.map_err(|error| failure(error.into()))?;
        Ok(page((from_id.0, to_id.0), (from_size_bytes, to_size_bytes), position, &found))
    }
}

impl Replicated {
    fn changes(&self, from: &ExportName, to: &ExportName, offset: u64) -> Result<Response, Failure> {
        let changes = self.cluster.changes(from, to).map_err(cluster_failure)?;
        let found = changes.page(offset, u64::MAX).map_err(|error| failure(error.into()))?;
        let end = found.sizes_bytes.0.max(found.sizes_bytes.1);
        Ok(page(found.ids, found.sizes_bytes, offset.min(end), &found.extents))
    }
}

/// What was found from `position` on, as an answer.
fn page(ids: (u64, u64), sizes_bytes: (u64, u64), mut position: u64, found: &[ChangedExtent]) -> Response {
    let mut extents = Vec::new();
    for extent in found {
        if extent.changed {
            extents.push(ChangedRange { offset: position, length: extent.len });
        }
        position += extent.len;
    }
    let ((from_id, to_id), (from_size_bytes, to_size_bytes)) = (ids, sizes_bytes);
    let next_offset = (position < from_size_bytes.max(to_size_bytes)).then_some(position);
    Response::Changes(Changes { from_id, to_id, from_size_bytes, to_size_bytes, extents, next_offset })
}
