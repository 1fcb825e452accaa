//! One connection from greeting to hang-up: drives the handshake with a socket and the exports, then transmission.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lsm_store::ErrorKind;

use super::handshake::{Agreement, Context, Demand, Description, Handshake, Refusal, Violation};
use super::inbox::Inbox;
use super::socket::{Patience, Received};
use super::transmission::{Reporter, Surroundings, Transmission};
use super::wire::BadMagic;
use crate::export::{Export, Exports};

/// How long a send waits for a peer that does not read before the connection turns to other things. Short, because
/// the peer may be waiting for us to read.
const SEND_PATIENCE: Duration = Duration::from_millis(20);

/// Why a connection ended before the peer said goodbye.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Handshake(#[from] Violation),
    #[error(transparent)]
    Magic(#[from] BadMagic),
    #[error("the socket failed")]
    Socket(#[from] io::Error),
    #[error("the export cannot wait for reads")]
    Export(#[from] lsm_store::Error),
    #[error("the handshake took too long")]
    HandshakeTimeout,
    #[error("the peer did not read its replies")]
    SlowReader,
}

/// Serves one client. `admitted` is false if there are too many: the client is told so, then let go.
/// `opened` hears the name of the export once transmission begins.
pub(super) fn serve(
    around: Surroundings<'_>,
    exports: &dyn Exports,
    admitted: bool,
    opened: impl FnOnce(&str),
) -> Result<(), Ended> {
    let negotiation = Negotiation {
        around,
        exports,
        admitted,
        deadline: around.clock.monotonic() + around.limits.handshake_timeout,
        handshake: Handshake::new(),
        inbox: Inbox::new(around.limits.receive_buffer_bytes),
    };
    let Some(session) = negotiation.run()? else { return Ok(()) };
    opened(&session.name);
    around.socket.set_timeouts(Some(around.limits.idle_after), Some(SEND_PATIENCE))?;
    let Agreement { structured, contexts } = &session.agreement;
    let reporters = contexts.iter().map(|chosen| Reporter::new(chosen, exports, &session.name)).collect();
    Transmission::new(around, session.export, *structured, reporters, session.inbox).run()
}

/// What the handshake came to.
struct Opened {
    name: String,
    export: Arc<dyn Export>,
    agreement: Agreement,
    inbox: Inbox,
}

struct Negotiation<'a> {
    around: Surroundings<'a>,
    exports: &'a dyn Exports,
    admitted: bool,
    deadline: Duration,
    handshake: Handshake,
    inbox: Inbox,
}

impl Negotiation<'_> {
    /// `None` if the client left without opening an export.
    fn run(mut self) -> Result<Option<Opened>, Ended> {
        loop {
            self.send()?;
            let (used, demand) = self.handshake.handle_input(self.inbox.pending())?;
            self.inbox.consume(used);
            match demand {
                Demand::Input(wanted) if used == 0 => {
                    self.send()?;
                    if !self.receive(wanted)? {
                        return Ok(None);
                    }
                }
                Demand::Input(_) => {}
                Demand::Names => {
                    let names = self.refusal().map_or_else(|| Ok(self.exports.names()), Err);
                    self.handshake.give_names(names.as_deref().map_err(|&refusal| refusal));
                }
                Demand::Describe(name) => {
                    let description = self.open(&name).map(|export| describe(&*export));
                    self.handshake.give_export(description)?;
                }
                Demand::Open(name) => {
                    let export = self.open(&name);
                    let description = export.as_ref().map(|export| describe(&**export)).map_err(|&refusal| refusal);
                    if let (Some(agreement), Ok(export)) = (self.handshake.give_export(description)?, export) {
                        self.send()?;
                        return Ok(Some(Opened { name, export, agreement, inbox: self.inbox }));
                    }
                }
                Demand::Contexts(name) => self.handshake.give_contexts(&self.contexts(&name)),
                Demand::Close => {
                    self.send()?;
                    return Ok(None);
                }
            }
        }
    }

    fn refusal(&self) -> Option<Refusal> {
        if self.around.stopping.load(Ordering::Relaxed) {
            Some(Refusal::ShuttingDown)
        } else {
            (!self.admitted).then_some(Refusal::Full)
        }
    }

    /// Contexts of an export: that of every one, and two for each snapshot. From the newest, since not all may be listed.
    fn contexts(&self, name: &str) -> Vec<Context> {
        let snapshots = if self.refusal().is_some() { Vec::new() } else { self.exports.snapshots(name) };
        let of_snapshot = |name: String| [Context::DirtyBitmap(name.clone()), Context::Changed(name)];
        std::iter::once(Context::Allocation).chain(snapshots.into_iter().flat_map(of_snapshot)).collect()
    }

    fn open(&self, name: &str) -> Result<Arc<dyn Export>, Refusal> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        self.exports.open(name).map_err(|error| {
            tracing::debug!(name, error = &error as &dyn std::error::Error, "an export was not opened");
            if error.kind() == ErrorKind::NotFound { Refusal::Unknown } else { Refusal::Unavailable }
        })
    }

    /// Waits for input; false at the end of it.
    fn receive(&mut self, wanted: usize) -> Result<bool, Ended> {
        loop {
            match self.inbox.receive(self.around.socket, wanted, Patience::None)? {
                Received::Bytes(_) => return Ok(true),
                Received::End => return Ok(false),
                Received::Nothing => self.wait(true)?,
            }
        }
    }

    fn send(&mut self) -> Result<(), Ended> {
        let output = self.handshake.take_output();
        let mut left = output.as_slice();
        while !left.is_empty() {
            let sent = self.around.socket.send(&[IoSlice::new(left)], Patience::None)?;
            left = &left[sent..];
            if sent == 0 {
                self.wait(false)?;
            }
        }
        Ok(())
    }

    /// Waits for input or for room, not beyond the deadline: a client that drips bytes gets no more time than another.
    fn wait(&self, readable: bool) -> Result<(), Ended> {
        let left = self.deadline.checked_sub(self.around.clock.monotonic()).filter(|left| !left.is_zero());
        let left = left.ok_or(Ended::HandshakeTimeout)?;
        self.around.socket.wait(readable, !readable, Some(left))?;
        Ok(())
    }
}

fn describe(export: &dyn Export) -> Description {
    Description { size_bytes: export.size_bytes(), read_only: export.is_read_only() }
}
