//! `silt cluster init`

use siltstone::control::{ClusterDescription, Request};

use crate::args::Global;
use crate::exit::Exit;
use crate::output::Output;

/// Make a cluster of this node alone, to which others can be invited. Its volumes stay as they are.
#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// What this node is called in the cluster.
    #[arg(long)]
    name: Option<String>,
    /// What fails together with this node, for example its rack. Copies go to different zones where possible.
    #[arg(long)]
    zone: Option<String>,
}

impl Init {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let request = Request::ClusterInit { name: self.name.clone(), zone: self.zone.clone() };
        let cluster = super::ask(global, &request)?;
        Output::new(global).done(&cluster, || text(&cluster))?;
        Ok(Exit::Ok)
    }
}

fn text(cluster: &ClusterDescription) -> String {
    let made = format!("made cluster {}", cluster.cluster);
    match cluster.nodes.iter().find(|node| node.id == cluster.here) {
        Some(node) => format!("{made}; this is node {}, reached at {}", node.name, node.addresses.join(", ")),
        None => made,
    }
}
