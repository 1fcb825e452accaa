//! `silt node resume`

use siltstone::control::NodeAction;

use crate::args::Global;
use crate::exit::Exit;

/// Put a node that was drained, or is being drained, into service again.
#[derive(Debug, clap::Args)]
pub(super) struct Resume {
    /// The node, by name or number.
    node: String,
}

impl Resume {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let text = || format!("{} takes replicas again", self.node);
        super::change(global, &self.node, NodeAction::Resume, text)
    }
}
