//! `silt status`

use siltstone::control::{NodeStatus, ReceptionDescription, Request, Response, SpaceStatus};

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::{Output, fields};
use crate::size;

/// Show the node's health, space and memory.
#[derive(Debug, clap::Args)]
pub(crate) struct Status {}

impl Status {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        match backend::ask(global, Access::Read, &Request::Status)? {
            Response::Status(status) => {
                let wrong = if global.json { String::new() } else { troubles(global, &status)? };
                Output::new(global).answer(&status, || text(&status) + &wrong)?;
                Ok(if status.store.poisoned.is_some() { Exit::Failure } else { Exit::Ok })
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}

/// What is wrong in the cluster and what is done about it, if the node is in one.
fn troubles(global: &Global, status: &NodeStatus) -> anyhow::Result<String> {
    if status.cluster.is_none() {
        return Ok(String::new());
    }
    Ok(super::cluster::troubles(&super::cluster::ask(global, &Request::ClusterStatus)?))
}

fn text(status: &NodeStatus) -> String {
    let daemon = match (status.pid, &status.started) {
        (Some(pid), Some(started)) => format!("process {pid}, version {}, since {started}", status.version),
        _ => "not running".to_owned(),
    };
    let health = status.store.poisoned.as_ref().map_or("ok".to_owned(), |why| format!("stopped: {why}; restart it"));
    let mut rows = vec![
        ("data", status.data.clone()),
        ("daemon", daemon),
        ("store", health),
        ("volumes", format!("{}, {} together", status.volumes, size::human(status.size_bytes))),
        ("snapshots", status.snapshots.to_string()),
        ("trash", format!("{}, {} together", status.trash, size::human(status.trash_size_bytes))),
        ("objects", objects(status)),
        ("clients", status.connections.to_string()),
    ];
    rows.extend(status.receptions.iter().map(|reception| ("receiving", receiving(reception))));
    rows.extend(status.space.iter().flat_map(space_rows));
    rows.extend(status.cluster.as_ref().map(|summary| ("cluster", super::cluster::paragraph(summary))));
    rows.extend(status.endpoints.iter().map(|endpoint| ("nbd", endpoint.clone())));
    rows.extend(status.store.numbers.iter().map(|(name, value)| match name.strip_suffix("_bytes") {
        Some(what) => (what, size::human(*value)),
        None => (name.as_str(), value.to_string()),
    }));
    rows.push(("scrub", super::scrub::summary(&status.scrub)));
    fields(&rows) + &super::scrub::damage(&status.scrub)
}

fn objects(status: &NodeStatus) -> String {
    let complete = format!("{}, {} together", status.objects, size::human(status.objects_size_bytes));
    match status.uploads {
        0 => complete,
        uploads => format!("{complete}; {uploads} more not complete"),
    }
}

fn receiving(reception: &ReceptionDescription) -> String {
    let ReceptionDescription { name, size_bytes, expires, .. } = reception;
    format!("into {name}, {}; if it is broken off, kept until {expires}", size::human(*size_bytes))
}

fn space_rows(space: &SpaceStatus) -> Vec<(&str, String)> {
    let human = size::human;
    let used = format!(
        "{} of {}, {} % of what data may take",
        human(space.used_bytes),
        human(space.total_bytes),
        space.used_percent
    );
    let kept = format!("{} for collection and metadata", human(space.kept_bytes));
    let mut rows = vec![
        ("used", used),
        ("free", human(space.free_bytes)),
        ("kept", kept),
        ("reserved", format!("{} for volumes", human(space.reserved_bytes))),
    ];
    rows.extend(
        space.full_in_s.map(|seconds| ("full", format!("in about {} at the rate of the last hour", about(seconds)))),
    );
    rows.extend(space.warning.clone().map(|warning| ("warning", warning)));
    rows
}

/// A time in hours, or in days from two on.
fn about(seconds: u64) -> String {
    let hours = seconds.div_ceil(3600).max(1);
    match hours {
        1 => "an hour".to_owned(),
        2..48 => format!("{hours} hours"),
        _ => format!("{} days", hours / 24),
    }
}

#[cfg(test)]
mod tests {
    use super::about;

    #[test]
    fn times_are_told_in_hours_and_then_in_days() {
        let told = [0, 3600, 3601, 47 * 3600, 48 * 3600, 400 * 3600].map(about);
        assert_eq!(told, ["an hour", "an hour", "2 hours", "47 hours", "2 days", "16 days"]);
    }
}
