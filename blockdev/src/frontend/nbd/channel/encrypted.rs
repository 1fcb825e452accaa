//! TLS over a socket, without waiting for anything the caller did not ask to wait for.
//!
//! Invariants: memory is bounded by the receive buffer here and rustls' own limits (64 KiB out, 16 KiB and a record in); a
//! call ends however many records without content a peer sends; after the first failure every call fails.

use std::io::{self, IoSlice, Read, Write};

use rustls::ServerConnection;

use super::Broken;
use crate::access::Principal;
use crate::frontend::nbd::inbox::Inbox;
use crate::frontend::nbd::socket::{Patience, Received, Socket};
use crate::tls::Tls;

/// Bytes of records received at once.
const RECORDS_BYTES: usize = 64 << 10;

/// Receives of one call, so that a peer which sends records without content is not listened to for ever.
const RECEIVES_MAX: usize = 32;

/// Plaintext encrypted at once; no more than rustls buffers.
const BATCH_BYTES: usize = 64 << 10;

/// What a TLS handshake waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::frontend::nbd) enum Need {
    Input,
    Room,
}

pub(in crate::frontend::nbd) struct Encrypted<'a> {
    socket: &'a Socket,
    session: ServerConnection,
    /// Records that the session has not seen yet.
    records: Inbox,
    /// Plaintext that the session holds.
    decrypted_bytes: usize,
    /// The peer sends no more.
    input_over: bool,
    /// Plaintext whose records the kernel has not all taken; the caller counts it as sent when it has.
    uncounted_bytes: usize,
}

impl<'a> Encrypted<'a> {
    /// The server's side, before the handshake.
    pub(in crate::frontend::nbd) fn new(socket: &'a Socket, tls: &Tls) -> Result<Self, Broken> {
        let mut session = tls.accept()?;
        session.set_buffer_limit(Some(BATCH_BYTES));
        let records = Inbox::new(RECORDS_BYTES);
        Ok(Self { socket, session, records, decrypted_bytes: 0, input_over: false, uncounted_bytes: 0 })
    }

    /// Takes the handshake a step further; `None` when it is done. Never waits.
    pub(in crate::frontend::nbd) fn shake_hands(&mut self) -> Result<Option<Need>, Broken> {
        if self.flush(Patience::None)? && self.session.is_handshaking() {
            if self.receive_records(Patience::None)? == Received::End {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            while !self.records.pending().is_empty() && self.session.is_handshaking() {
                self.feed()?;
            }
        }
        Ok(match self.flush(Patience::None)? {
            false => Some(Need::Room),
            true => self.session.is_handshaking().then_some(Need::Input),
        })
    }

    /// Who the peer is, after the handshake.
    pub(in crate::frontend::nbd) fn principal(&self, tls: &Tls) -> Principal {
        tls.principal(self.session.peer_certificates())
    }

    pub(super) fn socket(&self) -> &Socket {
        self.socket
    }

    pub(super) fn holds_input(&self) -> bool {
        self.decrypted_bytes > 0 || self.input_over || !self.records.pending().is_empty()
    }

    pub(super) fn receive(&mut self, buffer: &mut [u8], patience: Patience) -> Result<Received, Broken> {
        let mut count = 0;
        for _ in 0..RECEIVES_MAX {
            count += self.decrypt(&mut buffer[count..])?;
            if count == buffer.len() || self.input_over {
                break;
            }
            let patience = if count == 0 { patience } else { Patience::None };
            if self.receive_records(patience)? == Received::Nothing {
                break;
            }
        }
        Ok(match count {
            // A stream cut off says no less than one that was ended: requests have lengths.
            0 if self.input_over => Received::End,
            0 => Received::Nothing,
            count => Received::Bytes(count),
        })
    }

    /// Fills `buffer` as far as there is plaintext in what was received.
    fn decrypt(&mut self, buffer: &mut [u8]) -> Result<usize, Broken> {
        let mut count = 0;
        loop {
            count += self.take_plaintext(&mut buffer[count..])?;
            if count == buffer.len() || self.records.pending().is_empty() {
                return Ok(count);
            }
            self.feed()?;
        }
    }

    fn take_plaintext(&mut self, buffer: &mut [u8]) -> Result<usize, Broken> {
        if self.decrypted_bytes == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let count = self.session.reader().read(buffer)?;
        self.decrypted_bytes -= count;
        Ok(count)
    }

    /// Shows the session some of the records received. It must hold no plaintext then, or it refuses.
    fn feed(&mut self) -> Result<(), Broken> {
        let mut records = self.records.pending();
        let before = records.len();
        let taken = self.session.read_tls(&mut records).map(|_| before - records.len())?;
        self.records.consume(taken);
        match self.session.process_new_packets() {
            Ok(state) => {
                self.decrypted_bytes = state.plaintext_bytes_to_read();
                if state.peer_has_closed() {
                    self.input_over = true;
                    self.records.consume(self.records.pending().len());
                } else if taken == 0 {
                    return Err(io::Error::from(io::ErrorKind::InvalidData).into());
                }
                Ok(())
            }
            Err(error) => {
                // The peer learns why, if it listens.
                let _ = self.flush(Patience::None);
                Err(error.into())
            }
        }
    }

    fn receive_records(&mut self, patience: Patience) -> Result<Received, Broken> {
        let received = self.records.receive(1, |buffer| self.socket.receive(buffer, patience))?;
        self.input_over |= received == Received::End;
        Ok(received)
    }

    pub(super) fn send(&mut self, slices: &mut [IoSlice<'_>], patience: Patience) -> Result<usize, Broken> {
        let mut left = slices;
        let mut count = 0;
        while self.flush(patience)? {
            let sent = std::mem::take(&mut self.uncounted_bytes);
            count += sent;
            IoSlice::advance_slices(&mut left, sent);
            if left.is_empty() {
                break;
            }
            self.uncounted_bytes = self.encrypt(left)?;
        }
        Ok(count)
    }

    /// Makes records of what is at the front of `slices`.
    fn encrypt(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, Broken> {
        let mut bytes = 0;
        let few = slices.iter().take_while(|slice| {
            bytes += slice.len();
            bytes - slice.len() < BATCH_BYTES
        });
        let few = few.count();
        match self.session.writer().write_vectored(&slices[..few])? {
            0 => Err(io::Error::from(io::ErrorKind::WriteZero).into()),
            count => Ok(count),
        }
    }

    /// Sends the records that wait; false if the kernel does not take all of them.
    fn flush(&mut self, patience: Patience) -> Result<bool, Broken> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Outgoing(self.socket, patience)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    pub(super) fn shrink(&mut self) {
        self.records.shrink();
    }

    pub(super) fn close(&mut self) {
        self.session.send_close_notify();
        // A peer that does not listen sees the socket end.
        let _ = self.flush(Patience::None);
    }
}

/// The socket as the session writes to it.
struct Outgoing<'a>(&'a Socket, Patience);

impl Write for Outgoing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.0.send(slices, self.1)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            sent => Ok(sent),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
