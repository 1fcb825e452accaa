//! `silt node rm`

use siltstone::control::NodeAction;

use crate::args::Global;
use crate::exit::Exit;

/// Remove a node that holds nothing any more from the cluster: drain it first. It can never come back.
#[derive(Debug, clap::Args)]
pub(super) struct Rm {
    /// The node, by name or number.
    node: String,
    /// It is lost, with all that it held. Should it still run, nobody speaks to it any more.
    #[arg(long)]
    lost: bool,
}

impl Rm {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let action = if self.lost { NodeAction::RemoveLost } else { NodeAction::Remove };
        super::change(global, &self.node, action, || format!("removed {} from the cluster", self.node))
    }
}
