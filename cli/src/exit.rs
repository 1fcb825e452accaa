//! Exit codes, and how a failed command ends.
//!
//! Codes are only added; a script takes one it does not know for a failure. `docs/operations.md` lists them.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use siltstone::attach::AttachError;
use siltstone::cluster::ClusterError;
use siltstone::control::{self, Failure, Kind};
use siltstone::node::NodeError;
use siltstone::store::{Error as StoreError, ErrorKind};

use crate::args::Global;

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Exit {
    Ok = 0,
    Failure = 1,
    /// The command line, or a value on it, makes no sense. clap uses the same.
    Usage = 2,
    /// Stored data is damaged.
    Damage = 3,
    NotFound = 10,
    /// Somebody else has the store, or the volume.
    Busy = 11,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<Kind> for Exit {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::NotFound => Self::NotFound,
            Kind::Busy => Self::Busy,
            Kind::Corrupt => Self::Damage,
            Kind::Invalid => Self::Usage,
            _ => Self::Failure,
        }
    }
}

/// What to do about an error of the store, as the control protocol says it.
pub(crate) fn kind_of(kind: ErrorKind) -> Kind {
    match kind {
        ErrorKind::NotFound => Kind::NotFound,
        ErrorKind::Exists => Kind::Exists,
        ErrorKind::Busy => Kind::Busy,
        ErrorKind::OutOfSpace => Kind::OutOfSpace,
        ErrorKind::Corrupt => Kind::Corrupt,
        ErrorKind::Poisoned => Kind::Poisoned,
        ErrorKind::Unsupported => Kind::Unsupported,
        ErrorKind::Invalid => Kind::Invalid,
        ErrorKind::ReadOnly => Kind::ReadOnly,
        ErrorKind::Io => Kind::Io,
        _ => Kind::Other,
    }
}

/// A failure of the command's own, with what to do about it.
#[derive(Debug)]
pub(crate) struct Complaint {
    pub(crate) kind: Kind,
    pub(crate) message: String,
}

impl Complaint {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Complaint {}

/// What to do about an error, from the first of its causes that says so.
fn kind_in(error: &anyhow::Error) -> Kind {
    let known = |cause: &(dyn std::error::Error + 'static)| {
        let complaint = cause.downcast_ref::<Complaint>().map(|complaint| complaint.kind);
        let failure = || cause.downcast_ref::<Failure>().map(|failure| failure.kind);
        let control = || cause.downcast_ref::<control::Error>().map(control::Error::kind);
        let node = || cause.downcast_ref::<NodeError>().map(|error| kind_of(error.kind()));
        let cluster = || cause.downcast_ref::<ClusterError>().map(|error| kind_of(error.kind()));
        let attach = || cause.downcast_ref::<AttachError>().map(|error| kind_of(error.kind()));
        let store = || cause.downcast_ref::<StoreError>().map(|error| kind_of(error.kind()));
        complaint.or_else(failure).or_else(control).or_else(node).or_else(cluster).or_else(attach).or_else(store)
    };
    error.chain().find_map(known).unwrap_or(Kind::Other)
}

/// Tells why the command failed, on stderr, and how it ends.
pub(crate) fn report(error: &anyhow::Error, global: &Global) -> Exit {
    let closed = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    let kind = kind_in(error);
    let exit = Exit::from(kind);
    if kind == Kind::Other && error.chain().any(closed) {
        // Who reads our output has seen enough (`silt ls | head`): nothing to tell.
        return Exit::Failure;
    }
    let message = format!("{error:#}");
    let line = if global.json {
        let document = serde_json::json!({
            "message_type": "exit_error", "code": exit as u8, "kind": kind, "message": message,
        });
        document.to_string()
    } else {
        format!("silt: {message}")
    };
    // There is nobody left to tell that stderr is closed.
    let _ = writeln!(io::stderr(), "{line}");
    exit
}

#[cfg(test)]
mod tests;
