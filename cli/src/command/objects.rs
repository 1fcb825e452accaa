//! `silt objects`: its verbs, one file each.

mod info;
mod ls;
mod rm;

use clap::Subcommand;

use crate::args::Global;
use crate::exit::Exit;

/// List, show and remove objects: streams that `silt put` has stored.
#[derive(Debug, clap::Args)]
pub(crate) struct Objects {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Ls(ls::Ls),
    Info(info::Info),
    Rm(rm::Rm),
}

impl Objects {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        match &self.verb {
            Verb::Ls(ls) => ls.run(global),
            Verb::Info(info) => info.run(global),
            Verb::Rm(rm) => rm.run(global),
        }
    }
}
