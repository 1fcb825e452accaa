//! One connection from greeting to hang-up: drives the handshake with a socket and the exports, then transmission.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lsm_store::ErrorKind;

use super::channel::{Broken, Channel, Encrypted, Need};
use super::handshake::{Agreement, Context, Demand, Description, Handshake, Refusal, Violation};
use super::inbox::Inbox;
use super::socket::{Patience, Received};
use super::transmission::{Reporter, Surroundings, Transmission};
use super::wire::BadMagic;
use crate::access::Principal;
use crate::export::{Export, Exports};
use crate::tls::Tls;

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
    #[error(transparent)]
    Channel(#[from] Broken),
    #[error("the export cannot wait for reads")]
    Export(#[from] lsm_store::Error),
    #[error("the handshake took too long")]
    HandshakeTimeout,
    #[error("the peer did not read its replies")]
    SlowReader,
}

/// How a client came.
pub(super) struct Arrival<'a> {
    /// False if there are too many: the client is told so, then let go.
    pub(super) admitted: bool,
    /// Who it is as far as its way in tells.
    pub(super) principal: Principal,
    /// Set where nothing is served without TLS.
    pub(super) tls: Option<&'a Tls>,
}

/// Serves one client. `opened` hears the name of the export once transmission begins.
pub(super) fn serve(
    around: Surroundings<'_>,
    exports: &dyn Exports,
    arrival: Arrival<'_>,
    opened: impl FnOnce(&str),
) -> Result<(), Ended> {
    let mut negotiation = Negotiation {
        around,
        exports,
        deadline: around.clock.monotonic() + around.limits.handshake_timeout,
        handshake: if arrival.tls.is_some() { Handshake::requiring_tls() } else { Handshake::new() },
        arrival,
        channel: Channel::Plain(around.socket),
        inbox: Inbox::new(around.limits.receive_buffer_bytes),
    };
    let session = negotiation.run()?;
    let Negotiation { arrival: Arrival { principal, .. }, mut channel, inbox, .. } = negotiation;
    let Some(session) = session else {
        channel.close();
        return Ok(());
    };
    opened(&session.name);
    around.socket.set_timeouts(Some(around.limits.idle_after), Some(SEND_PATIENCE))?;
    let Agreement { structured, contexts } = &session.agreement;
    let reporters = contexts.iter().map(|chosen| Reporter::new(chosen, exports, &session.name, &principal)).collect();
    Transmission::new(around, channel, session.export, *structured, reporters, inbox).run()
}

/// What the handshake came to.
struct Opened {
    name: String,
    export: Arc<dyn Export>,
    agreement: Agreement,
}

struct Negotiation<'a> {
    around: Surroundings<'a>,
    exports: &'a dyn Exports,
    arrival: Arrival<'a>,
    deadline: Duration,
    handshake: Handshake,
    channel: Channel<'a>,
    inbox: Inbox,
}

impl Negotiation<'_> {
    /// `None` if the client left without opening an export.
    fn run(&mut self) -> Result<Option<Opened>, Ended> {
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
                    let names = self.refusal().map_or_else(|| Ok(self.exports.names(&self.arrival.principal)), Err);
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
                        return Ok(Some(Opened { name, export, agreement }));
                    }
                }
                Demand::Contexts(name) => self.handshake.give_contexts(&self.contexts(&name)),
                Demand::Tls => self.begin_tls()?,
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
            (!self.arrival.admitted).then_some(Refusal::Full)
        }
    }

    /// Contexts of an export: that of every one, and two for each snapshot. From the newest, since not all may be listed.
    fn contexts(&self, name: &str) -> Vec<Context> {
        let snapshots = if self.refusal().is_some() { Vec::new() } else { self.snapshots(name) };
        let of_snapshot = |name: String| [Context::DirtyBitmap(name.clone()), Context::Changed(name)];
        std::iter::once(Context::Allocation).chain(snapshots.into_iter().flat_map(of_snapshot)).collect()
    }

    fn snapshots(&self, name: &str) -> Vec<String> {
        self.exports.snapshots(name, &self.arrival.principal)
    }

    fn open(&self, name: &str) -> Result<Arc<dyn Export>, Refusal> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        self.exports.open(name, &self.arrival.principal).map_err(|error| {
            tracing::debug!(name, error = &error as &dyn std::error::Error, "an export was not opened");
            if error.kind() == ErrorKind::NotFound { Refusal::Unknown } else { Refusal::Unavailable }
        })
    }

    /// From here on everything is TLS. Nothing said in clear may be left to be taken for said under it.
    fn begin_tls(&mut self) -> Result<(), Ended> {
        let tls = self.arrival.tls.expect("TLS is demanded only where it is required");
        assert!(self.inbox.pending().is_empty(), "input behind STARTTLS is a violation");
        self.send()?;
        let mut encrypted = Encrypted::new(self.around.socket, tls)?;
        while let Some(need) = encrypted.shake_hands()? {
            self.wait(need == Need::Input)?;
        }
        self.arrival.principal = encrypted.principal(tls);
        tracing::debug!(client = ?self.arrival.principal, "TLS has begun");
        self.channel = Channel::Tls(Box::new(encrypted));
        self.handshake.give_tls();
        Ok(())
    }

    /// Waits for input; false at the end of it.
    fn receive(&mut self, wanted: usize) -> Result<bool, Ended> {
        loop {
            let channel = &mut self.channel;
            match self.inbox.receive(wanted, |buffer| channel.receive(buffer, Patience::None))? {
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
            let sent = self.channel.send(&mut [IoSlice::new(left)], Patience::None)?;
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
        self.channel.wait(readable, !readable, Some(left))?;
        Ok(())
    }
}

fn describe(export: &dyn Export) -> Description {
    Description { size_bytes: export.size_bytes(), read_only: export.is_read_only() }
}
