//! Collection on demand.

use siltstone::control::{Collect, Collected, Failure, PackCold, Packed, Response};
use siltstone::store::id::SegmentId;
use siltstone::store::store::{ColdScope, CollectReport};

use super::{NodeHandler, failure};

impl NodeHandler {
    pub(super) fn collect(&self, request: &Collect) -> Result<Response, Failure> {
        let store = self.node.store();
        if request.dry_run {
            let plan = store.collect_plan(request.now).map_err(|error| failure(error.into()))?;
            return Ok(Response::Collected(Collected {
                segments: (plan.dead.len() + plan.victims.len()) as u64,
                segment_bytes: plan.segment_bytes,
                relocated_bytes: plan.relocated_bytes,
            }));
        }
        let report = store.collect(request.now).map_err(|error| failure(error.into()))?;
        Ok(Response::Collected(Collected {
            segments: report.segments_reclaimed,
            segment_bytes: report.bytes_reclaimed,
            relocated_bytes: report.bytes_relocated,
        }))
    }

    pub(super) fn pack_cold(&self, request: &PackCold) -> Result<Response, Failure> {
        let store = self.node.store();
        let scope = if request.all { ColdScope::All } else { ColdScope::Unread };
        let newest = || store.segment_ids().last().copied().unwrap_or_default();
        let last = request.last_segment.map_or_else(newest, SegmentId);
        let report = match request.dry_run {
            true => CollectReport::default(),
            false => store.pack_cold(scope, last).map_err(|error| failure(error.into()))?,
        };
        let left = store.cold_plan(scope, last);
        Ok(Response::Packed(Packed {
            segments: report.segments_reclaimed,
            segment_bytes: report.bytes_reclaimed,
            packed_bytes: report.bytes_relocated,
            left_segments: left.victims.len() as u64,
            left_bytes: left.segment_bytes,
            last_segment: last.0,
        }))
    }
}
