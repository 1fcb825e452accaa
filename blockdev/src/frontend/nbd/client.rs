//! A blocking NBD client for many threads: each thread sends its request and waits for its own reply.
//!
//! There is no receiving thread. Of the threads that wait, one receives for all; when its own reply has come it hands
//! that duty to another. A lone request therefore costs no switch between threads.
//!
//! Invariants: bytes reach the caller only if the reply covered all that was asked and reported no error
//! (CVE-2022-0485); whatever the server sends is checked against the request it claims to answer; after the first
//! failure of the stream every request fails with [`ClientError::Disconnected`] and nothing is sent any more.

mod exchange;
mod negotiation;
mod replies;

use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use lsm_store::request::StatusExtent;

use super::socket::{Patience, Socket};
use super::uri::{Endpoint, NbdUri};
use super::wire::negotiation::BlockSizes;
use super::wire::transmission::Request;
use super::wire::{BadMagic, Command, CommandFlags, Cookie, Errno, OptionReply, PAYLOAD_BYTES_MAX, TransmissionFlags};
use crate::export::Zeroing;
use exchange::Exchange;
use negotiation::Negotiated;
pub use negotiation::list;
use replies::{Expected, Reply};

#[cfg(test)]
mod tests;

/// Bytes of one request without payload; the largest multiple of a block in 32 bits would do as well.
const SPAN_BYTES_MAX: u64 = 1 << 30;

/// What a client asks for and puts up with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientOptions {
    /// Ask for structured replies and `base:allocation`.
    pub structured: bool,
    /// The connection counts as lost if the server says nothing for so long while it owes a reply; `None` waits for ever.
    pub silence_max: Option<Duration>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { structured: true, silence_max: Some(Duration::from_secs(60)) }
    }
}

/// How a stream came to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Loss {
    /// The socket failed.
    #[error("the socket failed")]
    Socket(#[from] io::Error),
    /// The server hung up.
    #[error("the server hung up")]
    HungUp,
    /// The server owes replies and is silent.
    #[error("the server is silent")]
    Silent,
    /// What came is not NBD.
    #[error(transparent)]
    Magic(#[from] BadMagic),
    /// A reply that does not fit its request.
    #[error("the server broke the protocol: {0}")]
    Protocol(&'static str),
    /// [`Client::disconnect`] was called.
    #[error("the connection was closed here")]
    Closed,
}

/// Why a request of a client failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No connection could be made: the server may come back.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// The server does not give the export: correct the name, or ask why.
    #[error("the server refused the export {export:?} ({reply:?}): {message}")]
    Refused {
        /// Its name.
        export: String,
        /// The protocol's reason.
        reply: OptionReply,
        /// The server's words.
        message: String,
    },
    /// The stream ended; whether the request was carried out is unknown. Connect again and repeat it.
    #[error("the connection is lost")]
    Disconnected(#[source] Arc<Loss>),
    /// The server carried the request out and failed.
    #[error("the server answered {error:?}")]
    Server {
        /// How.
        error: Errno,
    },
    /// The server does not offer this.
    #[error("the server has no {what}")]
    Unsupported {
        /// The command.
        what: &'static str,
    },
}

impl From<Loss> for ClientError {
    fn from(loss: Loss) -> Self {
        Self::Disconnected(Arc::new(loss))
    }
}

impl ClientError {
    /// True if the request may succeed on a new connection.
    #[must_use]
    pub fn is_connection_lost(&self) -> bool {
        matches!(self, Self::Disconnected(_) | Self::Connect { .. } | Self::Server { error: Errno::SHUTDOWN })
    }

    /// The error number for a system call that failed because of this.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Self::Server { error } => *error,
            Self::Unsupported { .. } => Errno::NOTSUP,
            _ => Errno::IO,
        }
    }
}

/// A connection to an export. All methods may be called from many threads at once; requests in flight together are
/// unordered.
#[derive(Debug)]
pub struct Client {
    exchange: Exchange,
    negotiated: Negotiated,
}

impl Client {
    /// Connects and opens the export.
    ///
    /// # Errors
    /// [`ClientError::Connect`], [`ClientError::Refused`], or [`ClientError::Disconnected`] if the handshake breaks off.
    pub fn connect(uri: &NbdUri, options: ClientOptions) -> Result<Self, ClientError> {
        Self::open(connect(&uri.endpoint, options)?, &uri.export, options)
    }

    /// Opens the export over a connected stream socket.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn from_socket(socket: OwnedFd, export: &str, options: ClientOptions) -> Result<Self, ClientError> {
        Self::open(Socket::new(socket), export, options)
    }

    fn open(socket: Socket, export: &str, options: ClientOptions) -> Result<Self, ClientError> {
        socket.set_timeouts(options.silence_max, options.silence_max).map_err(Loss::from)?;
        let negotiated = negotiation::open(&socket, export, options.structured)?;
        let terms = replies::Terms { structured: negotiated.structured, context: negotiated.allocation_context };
        Ok(Self { exchange: Exchange::new(socket, terms), negotiated })
    }

    /// Size of the export in bytes, as of the handshake.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.negotiated.facts.size_bytes
    }

    /// What the export can do.
    #[must_use]
    pub fn flags(&self) -> TransmissionFlags {
        self.negotiated.facts.flags
    }

    /// True if the export refuses changes.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.flags().contains(TransmissionFlags::READ_ONLY)
    }

    /// The block sizes the server wants; the protocol's defaults if it said nothing.
    #[must_use]
    pub fn block_sizes(&self) -> BlockSizes {
        self.negotiated.block_sizes
    }

    /// True if [`Client::block_status`] works.
    #[must_use]
    pub fn has_block_status(&self) -> bool {
        self.negotiated.allocation_context.is_some()
    }

    /// Reads `len` bytes, as several requests if that is more than the server gives at once.
    ///
    /// # Errors
    /// [`ClientError::Disconnected`], or [`ClientError::Server`] with INVAL past the end and IO for a failed device.
    pub fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, ClientError> {
        let mut data = Vec::new();
        while data.len() < len || data.is_empty() {
            let here = (len - data.len()).min(self.payload_bytes_max());
            let part = self.read_once(offset + data.len() as u64, here as u32)?;
            if data.is_empty() {
                data = part;
            } else {
                data.extend_from_slice(&part);
            }
            if len == 0 {
                break;
            }
        }
        Ok(data)
    }

    /// Reads several ranges at once, each of at most the server's payload, so that their answers need not be waited for one by one.
    ///
    /// # Errors
    /// As [`Client::read`]; that of the first range that failed.
    pub fn read_many(&self, ranges: &[(u64, u32)]) -> Result<Vec<Vec<u8>>, ClientError> {
        let request = |&(offset, len): &(u64, u32)| request(Command::READ, CommandFlags::NONE, offset, len);
        let replies = self.exchange.call_all(ranges.iter().map(request).collect(), Expected::Bytes)?;
        let bytes = |reply| match reply {
            Reply::Bytes(data) => data,
            _ => unreachable!("a read is answered with bytes"),
        };
        Ok(replies.into_iter().map(bytes).collect())
    }

    fn read_once(&self, offset: u64, len: u32) -> Result<Vec<u8>, ClientError> {
        let request = request(Command::READ, CommandFlags::NONE, offset, len);
        match self.exchange.call(request, &[], Expected::Bytes)? {
            Reply::Bytes(data) => Ok(data),
            _ => unreachable!("a read is answered with bytes"),
        }
    }

    /// Writes `data`; with `fua` it is on stable storage on return.
    ///
    /// # Errors
    /// [`ClientError::Disconnected`], or [`ClientError::Server`] with NOSPC, PERM or IO. What of `data` was written is
    /// unknown then.
    pub fn write(&self, offset: u64, data: &[u8], fua: bool) -> Result<(), ClientError> {
        let mut at = offset;
        for part in data.chunks(self.payload_bytes_max()) {
            let request = request(Command::WRITE, self.fua(fua), at, part.len() as u32);
            self.exchange.call(request, part, Expected::Nothing)?;
            at += part.len() as u64;
        }
        self.make_durable(fua)
    }

    /// Zeroes a range of any length.
    ///
    /// # Errors
    /// As [`Client::write`], and [`ClientError::Unsupported`].
    pub fn zero(&self, offset: u64, len: u64, zeroing: Zeroing, fua: bool) -> Result<(), ClientError> {
        self.need(TransmissionFlags::SEND_WRITE_ZEROES, "WRITE_ZEROES")?;
        let flags = CommandFlags::NO_HOLE.when(zeroing == Zeroing::Allocated) | self.fua(fua);
        self.call_by_spans(Command::WRITE_ZEROES, flags, offset, len)?;
        self.make_durable(fua)
    }

    /// Tells the server that a range is not needed any longer.
    ///
    /// # Errors
    /// As [`Client::write`], and [`ClientError::Unsupported`].
    pub fn trim(&self, offset: u64, len: u64) -> Result<(), ClientError> {
        self.need(TransmissionFlags::SEND_TRIM, "TRIM")?;
        self.call_by_spans(Command::TRIM, CommandFlags::NONE, offset, len)
    }

    /// Has the server bring a range into its cache.
    ///
    /// # Errors
    /// As [`Client::read`], and [`ClientError::Unsupported`].
    pub fn prefetch(&self, offset: u64, len: u64) -> Result<(), ClientError> {
        self.need(TransmissionFlags::SEND_CACHE, "CACHE")?;
        self.call_by_spans(Command::CACHE, CommandFlags::NONE, offset, len)
    }

    /// Waits until everything that was answered before the call is on stable storage. A server without FLUSH has nothing
    /// volatile.
    ///
    /// # Errors
    /// [`ClientError::Disconnected`], or [`ClientError::Server`]: then nothing is known about what was written since the
    /// last success.
    pub fn flush(&self) -> Result<(), ClientError> {
        if self.flags().contains(TransmissionFlags::SEND_FLUSH) {
            let request = request(Command::FLUSH, CommandFlags::NONE, 0, 0);
            self.exchange.call(request, &[], Expected::Nothing)?;
        }
        Ok(())
    }

    /// The states of a range from its start; may end early, holds at least one extent, and none beyond the range.
    /// `len` must not be 0.
    ///
    /// # Errors
    /// As [`Client::read`], and [`ClientError::Unsupported`] unless [`Client::has_block_status`].
    pub fn block_status(&self, offset: u64, len: u64) -> Result<Vec<StatusExtent>, ClientError> {
        if !self.has_block_status() {
            return Err(ClientError::Unsupported { what: "BLOCK_STATUS" });
        }
        let len = len.min(SPAN_BYTES_MAX) as u32;
        let request = request(Command::BLOCK_STATUS, CommandFlags::NONE, offset, len);
        match self.exchange.call(request, &[], Expected::Extents)? {
            Reply::Extents(extents) => Ok(extents),
            _ => unreachable!("a status is answered with extents"),
        }
    }

    /// Says goodbye and ends the connection; requests in flight fail. Also done when the client is dropped.
    pub fn disconnect(&self) {
        self.exchange.close();
    }

    fn payload_bytes_max(&self) -> usize {
        self.negotiated.block_sizes.payload_max.min(PAYLOAD_BYTES_MAX) as usize
    }

    fn fua(&self, wanted: bool) -> CommandFlags {
        CommandFlags::FUA.when(wanted && self.flags().contains(TransmissionFlags::SEND_FUA))
    }

    /// Flushes where durability is wanted and the server has no FUA.
    fn make_durable(&self, wanted: bool) -> Result<(), ClientError> {
        if wanted && !self.flags().contains(TransmissionFlags::SEND_FUA) { self.flush() } else { Ok(()) }
    }

    fn need(&self, flag: TransmissionFlags, what: &'static str) -> Result<(), ClientError> {
        if self.flags().contains(flag) { Ok(()) } else { Err(ClientError::Unsupported { what }) }
    }

    fn call_by_spans(&self, command: Command, flags: CommandFlags, offset: u64, len: u64) -> Result<(), ClientError> {
        let mut done = 0;
        while done < len {
            let here = (len - done).min(SPAN_BYTES_MAX);
            self.exchange.call(request(command, flags, offset + done, here as u32), &[], Expected::Nothing)?;
            done += here;
        }
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.disconnect();
    }
}

/// A request that has no cookie yet.
fn request(command: Command, flags: CommandFlags, offset: u64, len: u32) -> Request {
    Request { flags, command, cookie: Cookie(0), offset, len }
}

fn connect(endpoint: &Endpoint, options: ClientOptions) -> Result<Socket, ClientError> {
    let socket = match endpoint {
        Endpoint::Unix(path) => UnixStream::connect(path).map(|stream| Socket::new(stream.into())),
        Endpoint::Tcp { host, port } => TcpStream::connect((host.as_str(), *port)).and_then(|stream| {
            let socket = Socket::new(stream.into());
            socket.tune_tcp().map(|()| socket)
        }),
    };
    let fail = |source| ClientError::Connect { endpoint: endpoint.clone(), source: Arc::new(source) };
    let socket = socket.map_err(fail)?;
    socket.set_timeouts(options.silence_max, options.silence_max).map_err(Loss::from)?;
    Ok(socket)
}

/// Sends all of `slices`, waiting as long as the socket's timeout allows.
fn send_all(socket: &Socket, slices: &mut [IoSlice<'_>]) -> Result<(), Loss> {
    let mut left = slices;
    while left.iter().any(|slice| !slice.is_empty()) {
        match socket.send(left, Patience::Wait)? {
            0 => return Err(Loss::Silent),
            sent => IoSlice::advance_slices(&mut left, sent),
        }
    }
    Ok(())
}
