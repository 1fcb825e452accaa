//! `silt status`

use siltstone::control::{NodeStatus, Request, Response};

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
                Output::new(global).answer(&status, || text(&status))?;
                Ok(if status.store.poisoned.is_some() { Exit::Failure } else { Exit::Ok })
            }
            other => Err(backend::unexpected(&other)),
        }
    }
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
        ("clients", status.connections.to_string()),
    ];
    rows.extend(status.endpoints.iter().map(|endpoint| ("nbd", endpoint.clone())));
    rows.extend(status.store.numbers.iter().map(|(name, value)| match name.strip_suffix("_bytes") {
        Some(what) => (what, size::human(*value)),
        None => (name.as_str(), value.to_string()),
    }));
    rows.push(("scrub", super::scrub::summary(&status.scrub)));
    fields(&rows) + &super::scrub::damage(&status.scrub)
}
