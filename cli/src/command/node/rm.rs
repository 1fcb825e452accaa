//! `silt node rm`

use siltstone::control::NodeAction;

use crate::args::Global;
use crate::exit::Exit;
use crate::output::Output;

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
        let done = super::change(global, &self.node, action, || format!("removed {} from the cluster", self.node))?;
        if self.lost {
            Output::new(global).note(LOST);
        }
        Ok(done)
    }
}

/// What whoever removes a lost node has to know.
const LOST: &str = "tokens that were not used are void. If it was stolen: the cluster does not listen to it any more, but what it \
                    held of volumes can be read";
