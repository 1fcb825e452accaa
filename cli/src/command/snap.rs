//! `silt snap`: its verbs, one file each.

mod create;
mod ls;
mod rename;
mod rm;
mod rollback;

use clap::Subcommand;

use crate::args::Global;
use crate::exit::Exit;

/// Take, list, remove and go back to snapshots: what a volume held at one moment. They are named VOLUME@NAME.
#[derive(Debug, clap::Args)]
pub(crate) struct Snap {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Create),
    Ls(ls::Ls),
    Rm(rm::Rm),
    Rollback(rollback::Rollback),
    Rename(rename::Rename),
}

impl Snap {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        match &self.verb {
            Verb::Create(create) => create.run(global),
            Verb::Ls(ls) => ls.run(global),
            Verb::Rm(rm) => rm.run(global),
            Verb::Rollback(rollback) => rollback.run(global),
            Verb::Rename(rename) => rename.run(global),
        }
    }
}
