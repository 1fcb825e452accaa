//! `silt node drain`

use siltstone::control::NodeAction;

use crate::args::Global;
use crate::exit::Exit;

/// Take a node out of service: its replicas move to other nodes, and it gets no new ones. It does not wait for that.
#[derive(Debug, clap::Args)]
pub(super) struct Drain {
    /// The node, by name or number.
    node: String,
}

impl Drain {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let text = || format!("{} is being drained: `silt node ls` shows what it still holds", self.node);
        super::change(global, &self.node, NodeAction::Drain, text)
    }
}
