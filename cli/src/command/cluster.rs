//! `silt cluster`: its verbs, one file each.

mod init;
mod rotate_authority;
mod set;
mod status;
mod token;

use clap::Subcommand;
use siltstone::control::{ClusterDescription, Request, Response};

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
pub(super) use status::{doing, paragraph, replicas, troubles};

/// Make a cluster of nodes that hold volumes together, invite nodes, set what holds for all, and show how it is. All of it needs a running daemon.
#[derive(Debug, clap::Args)]
pub(crate) struct Cluster {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Init(init::Init),
    Token(token::Token),
    Set(set::Set),
    RotateAuthority(rotate_authority::RotateAuthority),
    Status(status::Status),
}

impl Cluster {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        match &self.verb {
            Verb::Init(init) => init.run(global),
            Verb::Token(token) => token.run(global),
            Verb::Set(set) => set.run(global),
            Verb::RotateAuthority(rotate) => rotate.run(global),
            Verb::Status(status) => status.run(global),
        }
    }
}

/// Asks what the answer to is a cluster. Reading is enough: where no daemon runs there is no cluster to change.
pub(super) fn ask(global: &Global, request: &Request) -> anyhow::Result<ClusterDescription> {
    match backend::ask(global, Access::Read, request)? {
        Response::Cluster(cluster) => Ok(*cluster),
        other => Err(backend::unexpected(&other)),
    }
}
