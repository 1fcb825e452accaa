//! `silt node`: its verbs, one file each.

mod drain;
mod ls;
mod resume;
mod rm;

use clap::Subcommand;
use siltstone::control::{NodeAction, Request, Response};

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;
pub(super) use ls::text;

/// List the nodes of the cluster, and take them out of service.
#[derive(Debug, clap::Args)]
pub(crate) struct Node {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Ls(ls::Ls),
    Drain(drain::Drain),
    Resume(resume::Resume),
    Rm(rm::Rm),
}

impl Node {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        match &self.verb {
            Verb::Ls(ls) => ls.run(global),
            Verb::Drain(drain) => drain.run(global),
            Verb::Resume(resume) => resume.run(global),
            Verb::Rm(rm) => rm.run(global),
        }
    }
}

/// Does something about a node, and says `text`.
fn change(global: &Global, name: &str, action: NodeAction, text: impl FnOnce() -> String) -> anyhow::Result<Exit> {
    match backend::ask(global, Access::Read, &Request::Node { name: name.to_owned(), action })? {
        Response::Done => {
            Output::new(global).done(&serde_json::json!({ "node": name, "action": action }), text)?;
            Ok(Exit::Ok)
        }
        other => Err(backend::unexpected(&other)),
    }
}
