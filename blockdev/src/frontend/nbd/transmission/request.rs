//! Whether a request may be carried out, and which error it gets if not. Pure: the table of the specification's
//! "Request types" and "Error values".

use lsm_store::request::Zeroing;
use lsm_store::{Error, ErrorKind};

use crate::frontend::nbd::counters::Kind;
use crate::frontend::nbd::wire::transmission::Request;
use crate::frontend::nbd::wire::{Command, CommandFlags, Errno, PAYLOAD_BYTES_MAX};

#[cfg(test)]
mod tests;

/// What requests are checked against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Terms {
    pub(super) size_bytes: u64,
    pub(super) read_only: bool,
    /// Structured replies were agreed on.
    pub(super) structured: bool,
    /// At least one metadata context was chosen.
    pub(super) contexts: bool,
}

/// A request that may be carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    Read { one_chunk: bool },
    Write,
    Flush,
    Zero(Zeroing, Kind),
    Prefetch,
    Status { one_extent: bool },
    Disconnect,
}

/// Checks `request` against `terms`.
pub(super) fn check(request: &Request, terms: &Terms) -> Result<Operation, Errno> {
    let operation = operation(request, terms)?;
    if request.flags.without(allowed_flags(request.command, terms)) != CommandFlags::NONE {
        return Err(Errno::INVAL);
    }
    if terms.read_only && matches!(operation, Operation::Write | Operation::Zero(..)) {
        return Err(Errno::PERM);
    }
    check_range(request, operation, terms)?;
    Ok(operation)
}

fn operation(request: &Request, terms: &Terms) -> Result<Operation, Errno> {
    let has = |flag| request.flags.contains(flag);
    match request.command {
        Command::READ => Ok(Operation::Read { one_chunk: has(CommandFlags::DF) }),
        Command::WRITE => Ok(Operation::Write),
        Command::DISC => Ok(Operation::Disconnect),
        Command::FLUSH => Ok(Operation::Flush),
        Command::TRIM => Ok(Operation::Zero(Zeroing::Hole, Kind::Trim)),
        Command::CACHE => Ok(Operation::Prefetch),
        Command::WRITE_ZEROES if has(CommandFlags::NO_HOLE) => Ok(Operation::Zero(Zeroing::Allocated, Kind::Zero)),
        Command::WRITE_ZEROES => Ok(Operation::Zero(Zeroing::Hole, Kind::Zero)),
        Command::BLOCK_STATUS if terms.contexts => Ok(Operation::Status { one_extent: has(CommandFlags::REQ_ONE) }),
        _ => Err(Errno::INVAL),
    }
}

/// FUA is fine on anything, as the specification wants it. FAST_ZERO needs no thought: zeroing never costs more than
/// writing.
fn allowed_flags(command: Command, terms: &Terms) -> CommandFlags {
    CommandFlags::FUA
        | match command {
            Command::READ => CommandFlags::DF.when(terms.structured),
            Command::WRITE_ZEROES => CommandFlags::NO_HOLE | CommandFlags::FAST_ZERO,
            Command::BLOCK_STATUS => CommandFlags::REQ_ONE,
            _ => CommandFlags::NONE,
        }
}

fn check_range(request: &Request, operation: Operation, terms: &Terms) -> Result<(), Errno> {
    match operation {
        Operation::Disconnect => return Ok(()),
        Operation::Flush if request.offset != 0 || request.len != 0 => return Err(Errno::INVAL),
        Operation::Status { .. } if request.len == 0 => return Err(Errno::INVAL),
        _ => {}
    }
    if request.end().is_none_or(|end| end > terms.size_bytes) {
        let grows = matches!(operation, Operation::Write | Operation::Zero(_, Kind::Zero));
        return Err(if grows { Errno::NOSPC } else { Errno::INVAL });
    }
    match operation {
        Operation::Write if request.len > PAYLOAD_BYTES_MAX => Err(Errno::INVAL),
        Operation::Read { .. } if request.len > PAYLOAD_BYTES_MAX => {
            // OVERFLOW exists only for clients that know of DF.
            Err(if terms.structured { Errno::OVERFLOW } else { Errno::INVAL })
        }
        _ => Ok(()),
    }
}

/// The error a client sees when an export fails.
pub(super) fn errno(error: &Error, kind: Kind) -> Errno {
    match (error, error.kind()) {
        // The export shrank after the request was checked.
        (Error::BeyondEnd { .. }, _) if matches!(kind, Kind::Write | Kind::Zero) => Errno::NOSPC,
        (_, ErrorKind::Invalid) => Errno::INVAL,
        (_, ErrorKind::OutOfSpace) => Errno::NOSPC,
        (_, ErrorKind::ReadOnly) => Errno::PERM,
        _ => Errno::IO,
    }
}
