//! A volume served by the daemon's NBD socket.
//!
//! Every connection carries one request at a time; where the server allows several (`CAN_MULTI_CONN`: a flush on one covers
//! what was answered on all), as many requests are under way as there are connections. One that breaks takes all with it.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;

use super::{Connect, RemoteDisk, RemoteError};

/// Connections to a server that allows several.
const CONNECTION_COUNT: usize = 8;

/// A daemon that accepts but says nothing for so long is treated as away.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest range of one request; a multiple of every block size, and well within NBD's 32 bits.
const RANGE_BYTES_MAX: u64 = 1 << 30;

/// No answer to GO is longer: a server's error message may be 4 KiB.
const GO_REPLY_BYTES_MAX: u32 = 8192;

const FLAG_READ_ONLY: u16 = 1 << 1;
const FLAG_CAN_MULTI_CONN: u16 = 1 << 8;

/// What the server said of an export.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::attach) struct ExportInfo {
    pub(in crate::attach) size_bytes: u64,
    /// NBD's transmission flags.
    pub(in crate::attach) flags: u16,
}

impl ExportInfo {
    pub(in crate::attach) fn is_read_only(self) -> bool {
        self.flags & FLAG_READ_ONLY != 0
    }

    /// The flags, with writing forbidden.
    pub(in crate::attach) fn with_read_only(self) -> u16 {
        self.flags | FLAG_READ_ONLY
    }

    pub(in crate::attach) fn can_multi_conn(self) -> bool {
        self.flags & FLAG_CAN_MULTI_CONN != 0
    }
}

/// Where an export is.
#[derive(Clone, Debug)]
pub(in crate::attach) struct Address {
    pub(in crate::attach) socket: PathBuf,
    pub(in crate::attach) export: String,
}

impl Address {
    /// One connection, past the handshake. `NotFound` if the server has no such export, `NotConnected` if there is no
    /// server, `InvalidData` if it does not speak NBD's fixed newstyle.
    pub(in crate::attach) fn open(&self) -> io::Result<(UnixStream, ExportInfo)> {
        let mut stream =
            UnixStream::connect(&self.socket).map_err(|error| io::Error::new(ErrorKind::NotConnected, error))?;
        stream.set_read_timeout(Some(HANDSHAKE_TIMEOUT))?;
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting)?;
        if &greeting[..16] != b"NBDMAGICIHAVEOPT" {
            return Err(ErrorKind::InvalidData.into());
        }
        stream.write_all(&encode_go(&self.export))?;
        let info = read_go_replies(&mut stream)?;
        stream.set_read_timeout(None)?;
        Ok((stream, info))
    }

    /// As many connections as make sense for one device: `count_max`, or one if the server does not allow several.
    pub(in crate::attach) fn open_many(&self, count_max: usize) -> io::Result<(Vec<UnixStream>, ExportInfo)> {
        let (first, info) = self.open()?;
        let mut streams = vec![first];
        while info.can_multi_conn() && streams.len() < count_max {
            streams.push(self.open()?.0);
        }
        Ok((streams, info))
    }
}

/// The client's flags (fixed newstyle, no zeroes) and option GO, asking for no further information.
fn encode_go(export: &str) -> Vec<u8> {
    let name_len = export.len() as u32; // At most 127 bytes.
    let mut bytes = 3u32.to_be_bytes().to_vec();
    bytes.extend(b"IHAVEOPT");
    bytes.extend(7u32.to_be_bytes());
    bytes.extend((name_len + 6).to_be_bytes());
    bytes.extend(name_len.to_be_bytes());
    bytes.extend(export.as_bytes());
    bytes.extend(0u16.to_be_bytes());
    bytes
}

fn read_go_replies(stream: &mut impl Read) -> io::Result<ExportInfo> {
    const ACK: u32 = 1;
    const INFO: u32 = 3;
    const ERROR_UNKNOWN: u32 = 1 << 31 | 6;
    let mut info = None;
    loop {
        let mut header = [0; 20];
        stream.read_exact(&mut header)?;
        let [_, _, _, kind, len] = words(&header);
        if len > GO_REPLY_BYTES_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut body = vec![0; len as usize];
        stream.read_exact(&mut body)?;
        match (kind, body.as_slice()) {
            (ACK, _) => return info.ok_or_else(|| ErrorKind::InvalidData.into()),
            (INFO, [0, 0, rest @ ..]) if rest.len() == 10 => info = Some(decode_export(rest)),
            (INFO, _) => {}
            (ERROR_UNKNOWN, _) => return Err(ErrorKind::NotFound.into()),
            _ => return Err(ErrorKind::InvalidData.into()),
        }
    }
}

fn decode_export(bytes: &[u8]) -> ExportInfo {
    let size_bytes = bytes[..8].iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    ExportInfo { size_bytes, flags: u16::from_be_bytes([bytes[8], bytes[9]]) }
}

/// Big-endian words.
fn words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    std::array::from_fn(|at| bytes[4 * at..4 * at + 4].iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
}

/// Connects to an export, and to no other than the one it was at first.
#[derive(Debug)]
pub(in crate::attach) struct NbdConnector {
    pub(in crate::attach) address: Address,
    pub(in crate::attach) info: ExportInfo,
}

impl NbdConnector {
    /// The first connection.
    pub(in crate::attach) fn start(address: Address) -> io::Result<(Self, NbdDisk)> {
        let (streams, info) = address.open_many(CONNECTION_COUNT)?;
        Ok((Self { address, info }, NbdDisk::new(streams)))
    }
}

impl Connect for NbdConnector {
    type Disk = NbdDisk;

    fn connect(&self) -> io::Result<NbdDisk> {
        self.reopen(CONNECTION_COUNT).map(NbdDisk::new)
    }
}

impl NbdConnector {
    /// New connections to the same export. An error if what is there now cannot be it.
    pub(in crate::attach) fn reopen(&self, count_max: usize) -> io::Result<Vec<UnixStream>> {
        let (streams, info) = self.address.open_many(count_max)?;
        // A volume may grow while the daemon is away; the device keeps the size it has.
        if info.size_bytes < self.info.size_bytes || info.is_read_only() && !self.info.is_read_only() {
            return Err(io::Error::other("the daemon serves another volume under this name"));
        }
        Ok(streams)
    }
}

/// The connections.
#[derive(Debug)]
pub(in crate::attach) struct NbdDisk {
    idle: Mutex<Vec<UnixStream>>,
    returned: Condvar,
}

impl NbdDisk {
    fn new(streams: Vec<UnixStream>) -> Self {
        Self { idle: Mutex::new(streams), returned: Condvar::new() }
    }

    /// Sends a request on an idle connection, waiting for one, and waits for its answer.
    fn exchange(&self, request: Request, data: &[u8], answer: &mut [u8]) -> Result<(), RemoteError> {
        let mut stream = {
            let mut idle = self.idle.lock();
            loop {
                match idle.pop() {
                    Some(stream) => break stream,
                    None => self.returned.wait(&mut idle),
                }
            }
        };
        let result = request.exchange(&mut stream, data, answer);
        // A broken connection goes back too: whoever takes it next has to fail, not to wait.
        self.idle.lock().push(stream);
        self.returned.notify_one();
        result
    }
}

/// A request header.
struct Request {
    command: u16,
    flags: u16,
    offset: u64,
    len: u32,
}

impl Request {
    const MAGIC: u32 = 0x2560_9513;
    const REPLY_MAGIC: u32 = 0x6744_6698;
    /// A connection carries one request at a time, so all can have the same.
    const COOKIE: u64 = 1;

    const READ: u16 = 0;
    const WRITE: u16 = 1;
    const FLUSH: u16 = 3;
    const WRITE_ZEROES: u16 = 6;
    const FLAG_NO_HOLE: u16 = 1 << 1;

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Self::MAGIC.to_be_bytes().to_vec();
        bytes.extend(self.flags.to_be_bytes());
        bytes.extend(self.command.to_be_bytes());
        bytes.extend(Self::COOKIE.to_be_bytes());
        bytes.extend(self.offset.to_be_bytes());
        bytes.extend(self.len.to_be_bytes());
        bytes
    }

    fn exchange(&self, stream: &mut UnixStream, data: &[u8], answer: &mut [u8]) -> Result<(), RemoteError> {
        let error = self.transfer(stream, data, answer).map_err(RemoteError::Lost)?;
        if error == 0 { Ok(()) } else { Err(RemoteError::Refused(errno(error))) }
    }

    /// Returns NBD's error number, 0 for none.
    fn transfer(&self, stream: &mut UnixStream, data: &[u8], answer: &mut [u8]) -> io::Result<u32> {
        let header = self.encode();
        let sent = stream.write_vectored(&[IoSlice::new(&header), IoSlice::new(data)])?;
        if sent < header.len() {
            stream.write_all(&header[sent..])?;
        }
        stream.write_all(&data[sent.saturating_sub(header.len())..])?;
        let mut reply = [0; 16];
        stream.read_exact(&mut reply)?;
        let [magic, error, _, _] = words(&reply);
        if magic != Self::REPLY_MAGIC || reply[8..] != Self::COOKIE.to_be_bytes() {
            return Err(ErrorKind::InvalidData.into());
        }
        if error == 0 {
            stream.read_exact(answer)?;
        }
        Ok(error)
    }
}

/// NBD's error numbers are Linux's, where it has any.
fn errno(error: u32) -> Errno {
    let known =
        [Errno::PERM, Errno::NOMEM, Errno::INVAL, Errno::NOSPC, Errno::OVERFLOW, Errno::NOTSUP, Errno::SHUTDOWN];
    known.into_iter().find(|errno| errno.raw_os_error().cast_unsigned() == error).unwrap_or(Errno::IO)
}

impl RemoteDisk for NbdDisk {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), RemoteError> {
        // FUSE asks for a few MiB at most.
        let request = Request { command: Request::READ, flags: 0, offset, len: buffer.len() as u32 };
        self.exchange(request, &[], buffer)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), RemoteError> {
        let request = Request { command: Request::WRITE, flags: 0, offset, len: data.len() as u32 };
        self.exchange(request, data, &mut [])
    }

    fn zero(&self, offset: u64, len: u64, deallocate: bool) -> Result<(), RemoteError> {
        let flags = if deallocate { 0 } else { Request::FLAG_NO_HOLE };
        let mut done = 0;
        while done < len {
            let part = (len - done).min(RANGE_BYTES_MAX);
            let offset = offset + done;
            let request = Request { command: Request::WRITE_ZEROES, flags, offset, len: part as u32 };
            self.exchange(request, &[], &mut [])?;
            done += part;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), RemoteError> {
        self.exchange(Request { command: Request::FLUSH, flags: 0, offset: 0, len: 0 }, &[], &mut [])
    }
}

#[cfg(test)]
mod tests;
