//! `silt info`

use siltstone::control::{
    OriginDescription, ReplicaDescription, ReplicationDescription, Request, Response, ScheduleDescription,
    SnapshotDescription, VolumeDescription,
};
use siltstone::name::ExportName;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::{Output, fields};
use crate::size;

/// Show one volume or snapshot.
#[derive(Debug, clap::Args)]
pub(crate) struct Info {
    /// The volume, or a snapshot as VOLUME@NAME.
    #[arg(value_parser = super::export_name)]
    name: ExportName,
}

impl Info {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        match backend::ask(global, Access::Read, &Request::Info { name: self.name.to_string() })? {
            Response::Volume(volume) => {
                Output::new(global).answer(&volume, || text(&volume))?;
                Ok(Exit::Ok)
            }
            Response::Snapshot(snapshot) => {
                Output::new(global).answer(&snapshot, || snapshot_text(&snapshot))?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}

fn text(volume: &VolumeDescription) -> String {
    let mut rows = vec![
        ("name", volume.name.clone()),
        ("id", volume.id.to_string()),
        ("size", size_text(volume.size_bytes)),
        ("codec", volume.codec.clone()),
        ("created", volume.created.clone()),
        ("state", volume.state.clone()),
        ("clients", volume.connections.to_string()),
        ("snapshots", volume.snapshots.to_string()),
    ];
    let schedule = |schedule: &ScheduleDescription| format!("every {}, kept {}", schedule.every, schedule.keep);
    rows.extend(volume.reserve_bytes.map(|bytes| ("reserved", size_text(bytes))));
    rows.extend(volume.quota_bytes.map(|bytes| ("quota", size_text(bytes))));
    rows.extend((!volume.allow.is_empty()).then(|| ("allowed", volume.allow.join(", "))));
    rows.extend(volume.schedule.as_ref().map(|described| ("schedule", schedule(described))));
    rows.extend(volume.origin.as_ref().map(|origin| ("clone of", origin_text(origin))));
    rows.extend(volume.replication.iter().flat_map(|replication| replication_rows(volume, replication)));
    fields(&rows)
}

fn replication_rows(volume: &VolumeDescription, replication: &ReplicationDescription) -> Vec<(&'static str, String)> {
    let copies = format!("{}, waits with fewer than {}", super::cluster::replicas(volume), replication.in_sync_min);
    let replica = |replica: &ReplicaDescription| {
        let reach = if replica.reachable { "" } else { ", not reached" };
        ("replica", format!("{}, {}{reach}", replica.node_name, replica.role.replace('_', " ")))
    };
    let mut rows =
        vec![("replicas", copies), ("health", replication.health.clone()), ("epoch", replication.epoch.to_string())];
    rows.extend(super::cluster::doing(replication).map(|doing| ("doing", doing)));
    rows.extend(replication.replicas.iter().map(replica));
    rows
}

fn snapshot_text(snapshot: &SnapshotDescription) -> String {
    fields(&[
        ("name", snapshot.name.clone()),
        ("id", snapshot.id.to_string()),
        ("size", size_text(snapshot.size_bytes)),
        ("created", snapshot.created.clone()),
        ("clients", snapshot.connections.to_string()),
    ])
}

fn size_text(size_bytes: u64) -> String {
    format!("{} ({size_bytes} bytes)", size::human(size_bytes))
}

/// The names of what a clone was made from, as far as there still are any.
fn origin_text(origin: &OriginDescription) -> String {
    match (&origin.volume, origin.snapshot_id, &origin.snapshot) {
        (_, _, Some(snapshot)) => snapshot.clone(),
        (Some(volume), None, _) => volume.clone(),
        (Some(volume), Some(_), None) => format!("a removed snapshot of {volume}"),
        (None, _, None) => "a removed volume".to_owned(),
    }
}
