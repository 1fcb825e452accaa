//! A node's health, space and memory.

use std::collections::BTreeMap;

use siltstone::control::{NodeStatus, Response, StoreStatus};
use siltstone::store::store::StoreStatus as Numbers;

use super::endpoint::Endpoint;
use super::{NodeHandler, describe, space};
use crate::output::rfc3339;

impl NodeHandler {
    pub(super) fn status(&self) -> Response {
        let volumes = self.node.volumes();
        let snapshots = self.node.all_snapshots();
        let trash = self.node.trash();
        let objects = self.node.object_totals();
        let numbers = self.node.store().status();
        let warn_at = self.serving.as_ref().map(|serving| serving.warn_at.clone()).unwrap_or_default();
        let connections = volumes.iter().map(|volume| volume.connections);
        let connections = connections.chain(snapshots.iter().map(|snapshot| snapshot.connections));
        let cluster = self.cluster_report();
        let replicated = cluster.iter().flat_map(|report| &report.volumes);
        let connections = connections.chain(replicated.map(|volume| volume.connections)).sum();
        Response::Status(Box::new(NodeStatus {
            version: env!("CARGO_PKG_VERSION").into(),
            running: self.serving.is_some(),
            pid: self.serving.is_some().then(std::process::id),
            started: self.serving.as_ref().map(|serving| rfc3339(serving.started_ms)),
            data: self.dir.path().display().to_string(),
            endpoints: self.serving.iter().flat_map(|_| self.endpoints.iter().map(Endpoint::base)).collect(),
            volumes: volumes.len() as u64,
            snapshots: snapshots.len() as u64,
            size_bytes: volumes.iter().map(|volume| volume.info.size_bytes).sum(),
            trash: trash.len() as u64,
            trash_size_bytes: trash.iter().map(|volume| volume.info.size_bytes).sum(),
            objects: objects.count,
            objects_size_bytes: objects.length_bytes,
            uploads: objects.uploads,
            receptions: self.receptions(),
            connections,
            space: Some(space::status(&numbers, &warn_at)),
            scrub: self.describe_scrub(),
            store: store_status(numbers),
            cluster: cluster.as_ref().map(describe::cluster::summary),
        }))
    }
}

fn store_status(status: Numbers) -> StoreStatus {
    let mut numbers = numbers(&status);
    if let Some(capacity_bytes) = status.capacity_bytes {
        numbers.insert("capacity_bytes".into(), capacity_bytes);
    }
    if let Some(live_permille) = status.live_permille {
        numbers.insert("live_permille".into(), live_permille);
    }
    StoreStatus { poisoned: status.stopped, numbers }
}

fn numbers(status: &Numbers) -> BTreeMap<String, u64> {
    let memory = &status.memory;
    let numbers = [
        ("room_bytes", status.room_bytes),
        ("segment_count", status.segment_count),
        ("segment_bytes", status.segment_bytes),
        ("cold_bytes", status.cold_bytes),
        ("run_count", status.run_count),
        ("run_bytes", status.run_bytes),
        ("journal_bytes", status.journal_bytes),
        ("manifest_bytes", status.manifest_bytes),
        ("memory_budget_bytes", status.budget.total_bytes),
        ("memory_memtable_bytes", memory.memtable_bytes),
        ("memory_page_cache_bytes", memory.page_cache_bytes),
        ("memory_block_cache_bytes", memory.block_cache_bytes),
        ("memory_filter_bytes", memory.filter_bytes),
        ("segments_to_index_count", status.segments_to_index),
        ("blocks_shared_total", status.blocks_shared),
        ("blocks_stored_total", status.blocks_stored),
        ("flush_jobs_total", status.flush_jobs),
        ("merges_total", status.merges),
        ("syncs_total", status.syncs),
        ("run_bytes_written_total", status.run_bytes_written),
        ("segment_bytes_written_total", status.segment_bytes_written),
        ("segments_reclaimed_total", status.segments_reclaimed),
        ("segment_bytes_reclaimed_total", status.bytes_reclaimed),
        ("bytes_relocated_total", status.bytes_relocated),
        ("damage_count", status.damage_count),
        ("damage_gone_total", status.damage_gone),
    ];
    numbers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
