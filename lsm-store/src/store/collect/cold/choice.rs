//! Which segments are worth packing. Pure: from what the manifest says of them to a plan that can be looked at.

use crate::codec::GROUP_BLOCKS_MAX;
use crate::id::{BLOCK_BYTES, SegmentId};
use crate::segment::{Class, FRAME_HEADER_BYTES, SegmentSummary};

/// A segment whose frames hold this many blocks each, or more, is packed already.
const PACKED_BLOCKS: u32 = GROUP_BLOCKS_MAX as u32 / 2;

/// How much one batch may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ColdLimits {
    /// Bytes of the segments, which what they become may take beside them.
    pub(super) bytes: u64,
    pub(super) segments: usize,
    /// Slots of them, which bounds the memory of the table of old and new locations.
    pub(super) slots: u64,
}

/// What a pass over cold data has still to do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ColdPlan {
    /// Segments to pack, the oldest first.
    pub victims: Vec<SegmentId>,
    /// Bytes of their files.
    pub segment_bytes: u64,
}

/// True if packing may make the segment smaller: its blocks are neither packed yet, nor such that nothing shrinks them, nor
/// of volumes that want them as they are.
pub(in crate::store::collect) fn is_packable(summary: &SegmentSummary) -> bool {
    let is_packed = summary.identity.class == Class::Cold || summary.blocks >= summary.frames * PACKED_BLOCKS;
    let raw_bytes = u64::from(summary.blocks) * BLOCK_BYTES as u64;
    let payload_bytes =
        u64::from(summary.frame_bytes()).saturating_sub(u64::from(summary.frames) * FRAME_HEADER_BYTES as u64);
    !is_packed && payload_bytes <= raw_bytes - raw_bytes / 16
}

/// The next batch: the oldest first, as far as the limits go.
pub(super) fn choose(candidates: &[SegmentSummary], limits: &ColdLimits) -> ColdPlan {
    let (mut plan, mut slots) = (ColdPlan::default(), 0);
    for summary in candidates.iter().filter(|summary| is_packable(summary)) {
        let (bytes, more) = (u64::from(summary.geometry.file_bytes()), u64::from(summary.geometry.slots()));
        let fits = plan.victims.len() < limits.segments
            && slots + more <= limits.slots
            && plan.segment_bytes + bytes <= limits.bytes;
        if fits {
            slots += more;
            plan.segment_bytes += bytes;
            plan.victims.push(summary.identity.id);
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::id::Epoch;
    use crate::segment::{Geometry, Identity};

    const NONE: ColdLimits = ColdLimits { bytes: u64::MAX, segments: usize::MAX, slots: u64::MAX };

    fn segment(id: u32, class: Class, frames: u32, payload_bytes: u32) -> SegmentSummary {
        let identity = Identity { id: SegmentId(id), epoch: Epoch(1), class, domain: 0, created: Duration::ZERO };
        let frames_end = 4096 + frames * FRAME_HEADER_BYTES as u32 + payload_bytes;
        SegmentSummary { identity, geometry: Geometry::new(1600, frames_end).unwrap(), frames, blocks: 1600 }
    }

    #[test]
    fn what_is_packed_or_does_not_shrink_is_left_alone() {
        const RAW: u32 = 1600 * 4096;
        let candidates = [
            segment(1, Class::Flush, 1600, RAW / 2),
            segment(2, Class::Cold, 1600, RAW / 2),
            segment(3, Class::Survivor, 100, RAW / 4),
            segment(4, Class::Survivor, 400, RAW / 4),
            segment(5, Class::Flush, 1600, RAW),
            segment(6, Class::Flush, 1600, RAW - RAW / 16),
        ];
        let plan = choose(&candidates, &NONE);
        assert_eq!(plan.victims, [1, 4, 6].map(SegmentId));
        let bytes = |at: usize| u64::from(candidates[at].geometry.file_bytes());
        assert_eq!(plan.segment_bytes, bytes(0) + bytes(3) + bytes(5));
    }

    #[test]
    fn a_batch_keeps_to_its_limits() {
        let candidates: Vec<_> = (1..9).map(|id| segment(id, Class::Flush, 1600, 1 << 20)).collect();
        let bytes = u64::from(candidates[0].geometry.file_bytes());
        let count = |limits| choose(&candidates, &limits).victims.len();
        assert_eq!(count(ColdLimits { segments: 3, ..NONE }), 3);
        assert_eq!(count(ColdLimits { slots: 3199, ..NONE }), 1);
        assert_eq!(count(ColdLimits { bytes: 2 * bytes, ..NONE }), 2);
        assert_eq!(count(ColdLimits { bytes: bytes - 1, ..NONE }), 0);
    }
}
