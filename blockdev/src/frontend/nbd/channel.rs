//! How the bytes of a server's connection travel: as they are, or through TLS. Either way calls wait, return and fail
//! as those of [`Socket`] do.

mod encrypted;

use std::io::{self, IoSlice};
use std::time::Duration;

use super::socket::{Patience, Readiness, Received, Socket};
pub(super) use encrypted::{Encrypted, Need};

/// Why nothing travels any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the socket failed")]
    Socket(#[from] io::Error),
    #[error("TLS failed")]
    Tls(#[from] rustls::Error),
}

pub(super) enum Channel<'a> {
    Plain(&'a Socket),
    Tls(Box<Encrypted<'a>>),
}

impl Channel<'_> {
    pub(super) fn receive(&mut self, buffer: &mut [u8], patience: Patience) -> Result<Received, Broken> {
        match self {
            Self::Plain(socket) => Ok(socket.receive(buffer, patience)?),
            Self::Tls(encrypted) => encrypted.receive(buffer, patience),
        }
    }

    /// Bytes that went; 0 if the kernel takes none for as long as was waited. TLS may have begun to send more than it
    /// counts: what was not counted has to come first in the next call.
    pub(super) fn send(&mut self, slices: &mut [IoSlice<'_>], patience: Patience) -> Result<usize, Broken> {
        match self {
            Self::Plain(socket) => Ok(socket.send(slices, patience)?),
            Self::Tls(encrypted) => encrypted.send(slices, patience),
        }
    }

    /// True if there is input that has left the socket already, so that waiting for the socket might miss it.
    pub(super) fn holds_input(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(encrypted) => encrypted.holds_input(),
        }
    }

    /// Waits until there is what is wanted, or `timeout` has passed.
    pub(super) fn wait(&self, readable: bool, writable: bool, timeout: Option<Duration>) -> io::Result<Readiness> {
        let holds = readable && self.holds_input();
        let timeout = if holds { Some(Duration::ZERO) } else { timeout };
        let ready = self.socket().wait(readable, writable, timeout)?;
        Ok(Readiness { readable: ready.readable || holds, ..ready })
    }

    pub(super) fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(encrypted) => encrypted.socket(),
        }
    }

    /// Gives memory back while nothing happens.
    pub(super) fn shrink(&mut self) {
        if let Self::Tls(encrypted) = self {
            encrypted.shrink();
        }
    }

    /// Ends TLS as the specification wants it, if the peer still listens.
    pub(super) fn close(&mut self) {
        if let Self::Tls(encrypted) = self {
            encrypted.close();
        }
    }
}
