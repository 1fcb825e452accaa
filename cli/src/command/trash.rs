//! `silt trash`: its verbs, one file each.

mod ls;
mod purge;
mod restore;

use clap::Subcommand;

use crate::args::Global;
use crate::exit::Exit;

/// List removed volumes, get them back, or remove them for good.
#[derive(Debug, clap::Args)]
pub(crate) struct Trash {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Ls(ls::Ls),
    Restore(restore::Restore),
    Purge(purge::Purge),
}

impl Trash {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        match &self.verb {
            Verb::Ls(ls) => ls.run(global),
            Verb::Restore(restore) => restore.run(global),
            Verb::Purge(purge) => purge.run(global),
        }
    }
}
