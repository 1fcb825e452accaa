//! Where two volumes or snapshots differ, a page at a time.

use siltstone::control::{ChangedRange, Changes, Failure, Response};
use siltstone::export::Changes as _;

use super::{NodeHandler, failure, name};

/// Extents of one page, the unchanged ones between included.
const EXTENTS_MAX: usize = 8192;

impl NodeHandler {
    pub(super) fn changes(&self, from: &str, to: &str, offset: u64) -> Result<Response, Failure> {
        let changes = self.node.changes(&name(from)?, &name(to)?).map_err(failure)?;
        let ((from_id, from_size_bytes), (to_id, to_size_bytes)) = (changes.from(), changes.to());
        let end = from_size_bytes.max(to_size_bytes);
        let mut position = offset.min(end);
        let mut extents = Vec::new();
        if position < end {
            let found = changes.extents(position, end - position, EXTENTS_MAX);
            for extent in found.map_err(|error| failure(error.into()))? {
                if extent.changed {
                    extents.push(ChangedRange { offset: position, length: extent.len });
                }
                position += extent.len;
            }
        }
        let next_offset = (position < end).then_some(position);
        let (from_id, to_id) = (from_id.0, to_id.0);
        Ok(Response::Changes(Changes { from_id, to_id, from_size_bytes, to_size_bytes, extents, next_offset }))
    }
}
