//! What the command line says.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::command;

/// Deduplicating, compressing, crash-safe block storage.
#[derive(Debug, Parser)]
#[command(name = "silt", version, about, max_term_width = 110, infer_subcommands = false)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Global {
    /// The data directory: the store, and the sockets of its daemon.
    #[arg(long, global = true, env = "SILT_DATA", default_value = "silt-data", value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Print one JSON document: sizes in bytes, times as RFC 3339. Errors are JSON too, on stderr.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Show no progress bar. There is none either where stderr is not a terminal.
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
    /// Print nothing but what was asked for and errors.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Write the log (stderr, level by SILT_LOG=error|warn|info|debug|trace) as JSON lines.
    #[arg(long, global = true)]
    pub(crate) log_json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(command::serve::Serve),
    Create(command::create::Create),
    Ls(command::ls::Ls),
    #[command(visible_alias = "inspect")]
    Info(command::info::Info),
    Resize(command::resize::Resize),
    Rm(command::rm::Rm),
    Trash(command::trash::Trash),
    Snap(command::snap::Snap),
    Set(command::set::Set),
    Rewind(command::rewind::Rewind),
    Clone(command::clone::Clone),
    Children(command::children::Children),
    Diff(command::diff::Diff),
    Du(command::du::Du),
    Status(command::status::Status),
    Events(command::events::Events),
    Capacity(command::capacity::Capacity),
    Gc(command::gc::Gc),
    Uri(command::uri::Uri),
    Import(command::import::Import),
    Export(command::export::Export),
    Send(command::send::Send),
    #[command(visible_alias = "receive")]
    Recv(command::recv::Recv),
    Verify(command::verify::Verify),
    Put(command::put::Put),
    Get(command::get::Get),
    Objects(command::objects::Objects),
    #[command(visible_alias = "map")]
    Attach(command::attach::Attach),
    #[command(hide = true)]
    AttachHelper(command::attach_helper::AttachHelper),
    #[command(visible_alias = "unmap")]
    Detach(command::detach::Detach),
    #[command(visible_alias = "mapped")]
    Attached(command::attached::Attached),
    Check(command::check::Check),
    Scrub(command::scrub::Scrub),
    Iostat(command::iostat::Iostat),
    Cluster(command::cluster::Cluster),
    Node(command::node::Node),
    Move(command::move_replica::MoveReplica),
    Completion(command::completion::Completion),
}

impl Command {
    /// True for the command that stays: its log is worth more.
    pub(crate) fn is_daemon(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::AttachHelper(_))
    }
}
