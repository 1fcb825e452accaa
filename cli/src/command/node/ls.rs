//! `silt node ls`

use siltstone::control::{NodeDescription, Request};

use crate::args::Global;
use crate::command::cluster;
use crate::exit::Exit;
use crate::output::{Output, table};

/// List the nodes of the cluster.
#[derive(Debug, clap::Args)]
pub(super) struct Ls {}

impl Ls {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let cluster = cluster::ask(global, &Request::ClusterStatus)?;
        let document = serde_json::json!({ "nodes": cluster.nodes });
        Output::new(global).answer(&document, || text(&cluster.nodes) + &cluster::troubles(&cluster))?;
        Ok(Exit::Ok)
    }
}

/// Nodes as a table.
pub(in crate::command) fn text(nodes: &[NodeDescription]) -> String {
    let row = |node: &NodeDescription| {
        vec![
            node.name.clone(),
            node.id.to_string(),
            node.addresses.join(", "),
            if node.zone.is_empty() { "-".to_owned() } else { node.zone.clone() },
            state(node),
            node.replicas.to_string(),
            node.primaries.to_string(),
        ]
    };
    let columns = ["NODE", "NUMBER", "ADDRESS", "ZONE", "STATE", "REPLICAS", "PRIMARIES"];
    table(&columns, &["NUMBER", "REPLICAS", "PRIMARIES"], nodes.iter().map(row))
}

fn state(node: &NodeDescription) -> String {
    let reach = if node.reachable { "" } else { ", not reached" };
    format!("{}{reach}", node.standing)
}
