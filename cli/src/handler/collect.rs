//! Collection on demand.

use siltstone::control::{Collect, Collected, Failure, Response};

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
}
