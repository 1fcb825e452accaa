//! What BLOCK_STATUS answers, one chunk for each context that the client chose.

use std::sync::Arc;

use lsm_store::id::VolumeId;
use lsm_store::{Error, Result};

use crate::access::Principal;
use crate::export::{BlockState, Changes, Export, Exports};
use crate::frontend::nbd::handshake::{ChosenContext, Context};
use crate::frontend::nbd::wire::transmission::{StatusDescriptor, encode_status};
use crate::frontend::nbd::wire::{AllocationFlags, ChangedFlags};

/// A context that a client chose, with what it is answered from.
pub(in crate::frontend::nbd) struct Reporter {
    id: u32,
    source: Source,
}

enum Source {
    Allocation,
    /// What changed since a snapshot, which stays as long as this does. If it was removed after the client chose it and
    /// before it opened the export, there is nothing to answer from.
    Changes(Option<Arc<dyn Changes>>),
}

impl Reporter {
    /// Prepares to answer `client` for the export called `name`, which is open.
    pub(in crate::frontend::nbd) fn new(
        chosen: &ChosenContext,
        exports: &dyn Exports,
        name: &str,
        client: &Principal,
    ) -> Self {
        let source = match &chosen.context {
            Context::Allocation => Source::Allocation,
            Context::DirtyBitmap(snapshot) | Context::Changed(snapshot) => {
                Source::Changes(exports.changes_since(name, snapshot, client).ok())
            }
        };
        Self { id: chosen.id, source }
    }

    /// The payload of a chunk that tells of `len` bytes from `offset` at most; `None` if there is not one byte of extent.
    pub(super) fn payload(
        &self,
        export: &dyn Export,
        offset: u64,
        len: u32,
        extents_max: usize,
    ) -> Result<Option<Vec<u8>>> {
        let wide = u64::from(len);
        match &self.source {
            Source::Allocation => {
                let extents = export.block_status(offset, wide, extents_max)?;
                let flagged = extents.iter().map(|extent| (extent.len, allocation_flags(extent.state).0));
                Ok(payload(self.id, flagged, len, extents_max))
            }
            Source::Changes(Some(changes)) => {
                let extents = changes.extents(offset, wide, extents_max)?;
                let flagged = extents.iter().map(|extent| (extent.len, ChangedFlags::CHANGED.when(extent.changed).0));
                Ok(payload(self.id, flagged, len, extents_max))
            }
            Source::Changes(None) => Err(Error::NoSuchVolume(VolumeId::default())),
        }
    }
}

/// Lengths are 64-bit up to here and cut to the request, so no sum of extents can leave 32 bits (CVE-2025-47711, -47712).
fn payload(context: u32, extents: impl Iterator<Item = (u64, u32)>, len: u32, extents_max: usize) -> Option<Vec<u8>> {
    let mut left = len;
    let mut descriptors = Vec::new();
    for (len, flags) in extents.filter(|(len, _)| *len > 0).take(extents_max) {
        let len = u32::try_from(len).unwrap_or(u32::MAX).min(left);
        if len == 0 {
            break;
        }
        descriptors.push(StatusDescriptor { len, flags });
        left -= len;
    }
    let mut payload = Vec::new();
    encode_status(context, &descriptors, &mut payload);
    (!descriptors.is_empty()).then_some(payload)
}

fn allocation_flags(state: BlockState) -> AllocationFlags {
    match state {
        BlockState::Data => AllocationFlags::NONE,
        BlockState::Zero => AllocationFlags::ZERO,
        BlockState::Hole => AllocationFlags::HOLE | AllocationFlags::ZERO,
    }
}
