//! `silt cluster rotate-authority`

use siltstone::control::{ClusterDescription, Request};

use super::status;
use crate::args::Global;
use crate::exit::Exit;
use crate::output::Output;

/// Replace the authority that certifies the nodes, after a disk with its key may have been stolen.
///
/// Every node has to be reached. Tokens are void. The nodes do the rest by themselves: `silt cluster status` tells for whom it waits.
#[derive(Debug, clap::Args)]
pub(super) struct RotateAuthority {
    /// Give the new authority up, as long as not all nodes trust it: the one before it stays.
    #[arg(long)]
    cancel: bool,
}

impl RotateAuthority {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let cluster = super::ask(global, &Request::ClusterRotateAuthority { cancel: self.cancel })?;
        Output::new(global).done(&cluster, || self.text(&cluster))?;
        Ok(Exit::Ok)
    }

    fn text(&self, cluster: &ClusterDescription) -> String {
        match &cluster.rotation {
            Some(rotation) => status::rotation(rotation),
            None if self.cancel => "the new authority was given up: the one before it stays".to_owned(),
            None => "the cluster has another authority".to_owned(),
        }
    }
}
