//! The verbs, one file each.

pub(crate) mod attach;
pub(crate) mod attach_helper;
pub(crate) mod attached;
pub(crate) mod capacity;
pub(crate) mod check;
pub(crate) mod children;
pub(crate) mod clone;
pub(crate) mod cluster;
pub(crate) mod completion;
pub(crate) mod create;
pub(crate) mod detach;
pub(crate) mod diff;
pub(crate) mod du;
pub(crate) mod events;
pub(crate) mod export;
pub(crate) mod gc;
pub(crate) mod get;
pub(crate) mod import;
pub(crate) mod info;
pub(crate) mod iostat;
pub(crate) mod ls;
pub(crate) mod move_replica;
pub(crate) mod node;
pub(crate) mod objects;
pub(crate) mod put;
pub(crate) mod recv;
pub(crate) mod resize;
pub(crate) mod rewind;
pub(crate) mod rm;
pub(crate) mod scrub;
pub(crate) mod send;
pub(crate) mod serve;
pub(crate) mod set;
pub(crate) mod snap;
pub(crate) mod status;
pub(crate) mod trash;
pub(crate) mod uri;
pub(crate) mod verify;

use siltstone::control::{Kind, Request, Response, VolumeDescription};
use siltstone::name::{ExportName, InvalidName, ObjectName, SnapshotName, VolumeName};
use siltstone::span::{InvalidSpan, Span};

use crate::args::{Args, Command, Global};
use crate::backend;
use crate::data_dir::Access;
use crate::exit::{Complaint, Exit};

/// Most copies of a volume.
const REPLICAS_MAX: u8 = 7;

/// Runs the command that was given.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let global = &args.global;
    match &args.command {
        Command::Serve(serve) => serve.run(global),
        Command::Create(create) => create.run(global),
        Command::Ls(ls) => ls.run(global),
        Command::Info(info) => info.run(global),
        Command::Resize(resize) => resize.run(global),
        Command::Rm(rm) => rm.run(global),
        Command::Trash(trash) => trash.run(global),
        Command::Snap(snap) => snap.run(global),
        Command::Set(set) => set.run(global),
        Command::Rewind(rewind) => rewind.run(global),
        Command::Clone(clone) => clone.run(global),
        Command::Children(children) => children.run(global),
        Command::Diff(diff) => diff.run(global),
        Command::Du(du) => du.run(global),
        Command::Status(status) => status.run(global),
        Command::Events(events) => events.run(global),
        Command::Capacity(capacity) => capacity.run(global),
        Command::Gc(gc) => gc.run(global),
        Command::Uri(uri) => uri.run(global),
        Command::Import(import) => import.run(global),
        Command::Export(export) => export.run(global),
        Command::Send(send) => send.run(global),
        Command::Recv(recv) => recv.run(global),
        Command::Verify(verify) => verify.run(global),
        Command::Put(put) => put.run(global),
        Command::Get(get) => get.run(global),
        Command::Objects(objects) => objects.run(global),
        Command::Attach(attach) => attach.run(global),
        Command::AttachHelper(helper) => helper.run(),
        Command::Detach(detach) => detach.run(global),
        Command::Attached(attached) => attached.run(global),
        Command::Check(check) => check.run(global),
        Command::Scrub(scrub) => scrub.run(global),
        Command::Iostat(iostat) => iostat.run(global),
        Command::Cluster(cluster) => cluster.run(global),
        Command::Node(node) => node.run(global),
        Command::Move(wish) => wish.run(global),
        Command::Completion(completion) => completion.run(),
    }
}

/// A volume's name on the command line.
fn volume_name(text: &str) -> Result<VolumeName, InvalidName> {
    text.parse()
}

/// A snapshot's name on the command line.
fn snapshot_name(text: &str) -> Result<SnapshotName, InvalidName> {
    text.parse()
}

/// The name of a volume or snapshot on the command line.
fn export_name(text: &str) -> Result<ExportName, InvalidName> {
    text.parse()
}

/// An object's name on the command line.
fn object_name(text: &str) -> Result<ObjectName, InvalidName> {
    text.parse()
}

/// A number of copies on the command line.
fn replicas(text: &str) -> Result<u8, &'static str> {
    text.parse().ok().filter(|count| (1..=REPLICAS_MAX).contains(count)).ok_or("a volume has 1 to 7 replicas")
}

/// How the data directory is opened to make a volume. Where there is no store yet there is no cluster either, and none is made for
/// nothing.
fn access_to_make(replicas: Option<u8>) -> Access {
    if replicas.is_some() { Access::Read } else { Access::Create }
}

/// As [`check_replicated`], of a volume that was made of what came.
fn check_made_replicated(global: &Global, asked: Option<u8>, name: &str) -> anyhow::Result<()> {
    if asked.is_some()
        && let Response::Volume(volume) = backend::ask(global, Access::Read, &Request::Info { name: name.to_owned() })?
    {
        check_replicated(asked, &volume)?;
    }
    Ok(())
}

/// An older daemon overlooks that copies were asked for. The user must not believe that there are some.
fn check_replicated(asked: Option<u8>, volume: &VolumeDescription) -> Result<(), Complaint> {
    if asked.is_none() || volume.replication.is_some() {
        return Ok(());
    }
    let message = format!("the daemon is too old to know of replicas, and {} has none: restart it", volume.name);
    Err(Complaint::new(Kind::Unsupported, message))
}

/// A span of time on the command line.
fn span(text: &str) -> Result<Span, InvalidSpan> {
    text.parse()
}

/// A compression on the command line, checked here so that a typing error is one of usage.
fn codec(text: &str) -> Result<String, siltstone::store::Error> {
    text.parse::<siltstone::store::codec::Codec>().map(|_| text.to_owned())
}
