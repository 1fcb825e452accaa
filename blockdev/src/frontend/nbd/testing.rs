//! What the tests of this frontend share: an export whose behaviour a test can bend, and a raw peer.

mod secured;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lsm_store::Result;
use lsm_store::clock::SystemClock;
use lsm_store::device::Wake;
use lsm_store::read::ReadData;
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, poll};

pub(super) use secured::Secured;

use super::wire::negotiation::{ContextRequest, InfoRequest, OptionHeader, OptionReplyHeader};
use super::wire::transmission::{ChunkHeader, Reply, Request};
use super::wire::{ChunkFlags, Command, CommandFlags, Cookie, OptionCode, OptionReply};
use super::{Limits, Server, socket};
use crate::access::{AllowList, Principal};
use crate::export::{
    Change, ChangedExtent, Changes, Export, Exports, Requests, StatusExtent, Write as ExportWrite, Zeroing,
};
use crate::frontend::memory::{MemoryExport, MemoryExports};

type WriteHook = dyn Fn(&[ExportWrite<'_>]) -> Result<()> + Send + Sync;
type StatusHook = dyn Fn(u64, u64, usize) -> Result<Vec<StatusExtent>> + Send + Sync;

/// A device in memory with hooks before it.
#[derive(Clone)]
pub(super) struct Bent {
    pub(super) memory: MemoryExport,
    pub(super) size_bytes: Option<u64>,
    pub(super) before_write: Option<Arc<WriteHook>>,
    pub(super) status: Option<Arc<StatusHook>>,
    pub(super) gate: Option<Arc<Gate>>,
    /// Reads started.
    pub(super) reads_started: Arc<AtomicUsize>,
    /// Calls of `write`.
    pub(super) write_calls: Arc<AtomicUsize>,
    /// Who may open it.
    pub(super) allow: AllowList,
    /// Its changes are started, and end when they are waited for, the last one first.
    pub(super) is_distant: bool,
    /// Which of the changes that were started have ended, by kind.
    pub(super) ended: Arc<Mutex<Vec<&'static str>>>,
    /// Most bytes of writes that were under way at once.
    pub(super) started_bytes_max: Arc<AtomicUsize>,
}

impl Bent {
    pub(super) fn new(size_bytes: u64) -> Self {
        let (size, before_write, status, gate, reads_started, write_calls, allow) = Default::default();
        let (memory, is_distant) = (MemoryExport::new(size_bytes), false);
        Self {
            memory,
            size_bytes: size,
            before_write,
            status,
            gate,
            reads_started,
            write_calls,
            allow,
            is_distant,
            ended: Arc::default(),
            started_bytes_max: Arc::default(),
        }
    }
}

impl Exports for Bent {
    fn names(&self, client: &Principal) -> Vec<String> {
        if self.allow.admits(client) { vec!["vol".into()] } else { Vec::new() }
    }

    fn open(&self, name: &str, client: &Principal) -> Result<Arc<dyn Export>> {
        match name {
            "vol" if self.allow.admits(client) => Ok(Arc::new(self.clone())),
            _ => MemoryExports::default().open("", client),
        }
    }

    fn snapshots(&self, _name: &str, _client: &Principal) -> Vec<String> {
        vec!["gone".into(), "stripes".into()]
    }

    fn changes_since(&self, name: &str, snapshot: &str, client: &Principal) -> Result<Arc<dyn Changes>> {
        match snapshot {
            "stripes" => Ok(Arc::new(Stripes)),
            _ => MemoryExports::default().changes_since(name, snapshot, client),
        }
    }
}

/// Every other block has changed, from the first on.
struct Stripes;

impl Changes for Stripes {
    fn extents(&self, offset: u64, len: u64, extents_max: usize) -> Result<Vec<ChangedExtent>> {
        let end = offset + len;
        let starts = std::iter::successors(Some(offset), |at| Some((at / 4096 + 1) * 4096));
        let within = starts.take_while(|at| *at < end).take(extents_max);
        let extent = |at: u64| ChangedExtent {
            len: ((at / 4096 + 1) * 4096).min(end) - at,
            changed: (at / 4096).is_multiple_of(2),
        };
        Ok(within.map(extent).collect())
    }
}

impl Export for Bent {
    fn size_bytes(&self) -> u64 {
        self.size_bytes.unwrap_or_else(|| self.memory.size_bytes())
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn write(&self, writes: &[ExportWrite<'_>]) -> Result<()> {
        self.write_calls.fetch_add(1, Ordering::SeqCst);
        self.before_write.as_ref().map_or(Ok(()), |hook| hook(writes))?;
        self.memory.write(writes)
    }

    fn zero(&self, offset: u64, len: u64, zeroing: Zeroing) -> Result<()> {
        self.memory.zero(offset, len, zeroing)
    }

    fn flush(&self) -> Result<()> {
        self.memory.flush()
    }

    fn prefetch(&self, offset: u64, len: u64) -> Result<()> {
        self.memory.prefetch(offset, len)
    }

    fn block_status(&self, offset: u64, len: u64, extents_max: usize) -> Result<Vec<StatusExtent>> {
        match &self.status {
            Some(hook) => hook(offset, len, extents_max),
            None => self.memory.block_status(offset, len, extents_max),
        }
    }

    fn starts_changes(&self) -> bool {
        self.is_distant
    }

    fn requests(&self) -> Result<Box<dyn Requests>> {
        Ok(Box::new(GatedRequests {
            export: self.clone(),
            started: Vec::new(),
            ended: Vec::new(),
            inner: self.memory.requests()?,
            gate: self.gate.clone(),
            reads_started: Arc::clone(&self.reads_started),
            held: VecDeque::new(),
        }))
    }
}

/// Holds the reads of block 0 back until it is opened: device reads that take their time.
pub(super) struct Gate {
    opened: OwnedFd,
}

impl Gate {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { opened: rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap() })
    }

    pub(super) fn open(&self) {
        rustix::io::write(&self.opened, &1_u64.to_ne_bytes()).unwrap();
    }

    fn is_open(&self) -> bool {
        let mut fds = [PollFd::new(&self.opened, PollFlags::IN)];
        poll(&mut fds, Some(&socket::timespec(Duration::ZERO))).unwrap() > 0
    }
}

/// A change that was started.
enum Begun {
    Write(Vec<(u64, Vec<u8>)>),
    Zero(u64, u64, Zeroing),
    Flush,
}

impl Begun {
    fn bytes(&self) -> usize {
        match self {
            Self::Write(writes) => writes.iter().map(|(_, data)| data.len()).sum(),
            Self::Zero(..) | Self::Flush => 0,
        }
    }
}

struct GatedRequests {
    export: Bent,
    started: Vec<(u64, Begun)>,
    ended: Vec<(u64, Result<()>)>,
    inner: Box<dyn Requests>,
    gate: Option<Arc<Gate>>,
    reads_started: Arc<AtomicUsize>,
    held: VecDeque<(u64, u64, usize)>,
}

impl GatedRequests {
    fn release(&mut self) {
        if self.gate.as_ref().is_none_or(|gate| gate.is_open()) {
            for (token, offset, len) in self.held.drain(..) {
                self.inner.start_read(token, offset, len);
            }
        }
    }

    fn end(&mut self, begun: &Begun) -> Result<()> {
        let (kind, result) = match begun {
            Begun::Write(writes) => {
                let writes: Vec<_> =
                    writes.iter().map(|(offset, data)| ExportWrite { offset: *offset, data }).collect();
                ("write", self.export.write(&writes))
            }
            Begun::Zero(offset, len, zeroing) => ("zero", self.export.zero(*offset, *len, *zeroing)),
            Begun::Flush => ("flush", self.export.flush()),
        };
        self.export.ended.lock().push(kind);
        result
    }
}

impl Requests for GatedRequests {
    fn start_read(&mut self, token: u64, offset: u64, len: usize) {
        self.reads_started.fetch_add(1, Ordering::SeqCst);
        if offset < 4096 {
            self.held.push_back((token, offset, len));
        } else {
            self.inner.start_read(token, offset, len);
        }
    }

    fn next_read(&mut self) -> Option<(u64, Result<ReadData>)> {
        self.release();
        self.inner.next_read()
    }

    fn start_change(&mut self, token: u64, change: Change<'_>) -> bool {
        let begun = match change {
            Change::Write(writes) => {
                Begun::Write(writes.iter().map(|write| (write.offset, write.data.to_vec())).collect())
            }
            Change::Zero(offset, len, zeroing) => Begun::Zero(offset, len, zeroing),
            Change::Flush => Begun::Flush,
        };
        self.started.push((token, begun));
        let bytes = self.started.iter().map(|(_, begun)| begun.bytes()).sum();
        self.export.started_bytes_max.fetch_max(bytes, Ordering::SeqCst);
        true
    }

    fn next_change(&mut self) -> Option<(u64, Result<()>)> {
        self.ended.pop()
    }

    fn in_flight(&self) -> usize {
        self.inner.in_flight() + self.held.len() + self.started.len() + self.ended.len()
    }

    fn wait(&mut self, socket: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> Result<Wake> {
        self.release();
        // Changes end when there is nothing else to do.
        let mut fds: Vec<_> = socket.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        if !self.started.is_empty() && poll(&mut fds, Some(&socket::timespec(Duration::ZERO))).unwrap() > 0 {
            return Ok(Wake { socket_readable: true, completions: false });
        }
        while let Some((token, begun)) = self.started.pop() {
            let result = self.end(&begun);
            self.ended.insert(0, (token, result));
        }
        if !self.ended.is_empty() {
            return self.inner.wait(socket, Some(Duration::ZERO));
        }
        let gate = self.gate.as_ref().filter(|_| !self.held.is_empty());
        let Some(gate) = gate.filter(|_| self.inner.in_flight() == 0) else {
            return self.inner.wait(socket, timeout);
        };
        let mut fds = vec![PollFd::from_borrowed_fd(gate.opened.as_fd(), PollFlags::IN)];
        fds.extend(socket.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        poll(&mut fds, timeout.map(socket::timespec).as_ref()).unwrap();
        let is_ready = |fd: Option<&PollFd<'_>>| fd.is_some_and(|fd| !fd.revents().is_empty());
        Ok(Wake { socket_readable: is_ready(fds.get(1)), completions: is_ready(fds.first()) })
    }
}

/// A server over `exports` without listeners.
pub(super) fn server(exports: impl Exports, limits: Limits) -> Server {
    Server::new(Arc::new(exports), Arc::new(SystemClock::new()), limits).unwrap()
}

/// A new connection to `server`.
pub(super) fn dial(server: &Server) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    server.adopt(theirs.into()).unwrap();
    ours
}

/// A peer that says exactly what a test wants.
pub(super) struct Raw<S = UnixStream> {
    pub(super) stream: S,
}

impl<S: Read + Write> Raw<S> {
    /// Past the greeting.
    pub(super) fn greet(mut stream: S) -> Self {
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting).unwrap();
        stream.write_all(&3_u32.to_be_bytes()).unwrap();
        Self { stream }
    }

    /// In the transmission phase of the export `vol`.
    pub(super) fn enter(stream: S, structured: bool) -> Self {
        Self::greet(stream).open(structured)
    }

    /// Opens the export `vol`.
    pub(super) fn open(mut self, structured: bool) -> Self {
        if structured {
            assert_eq!(self.option(OptionCode::STRUCTURED_REPLY, &[]), [OptionReply::ACK]);
            let contexts = ContextRequest { name: "vol", queries: vec!["base:allocation"] }.encode();
            assert_eq!(
                self.option(OptionCode::SET_META_CONTEXT, &contexts),
                [OptionReply::META_CONTEXT, OptionReply::ACK]
            );
        }
        let go = InfoRequest { name: "vol", wants: vec![] }.encode();
        assert_eq!(self.option(OptionCode::GO, &go), [OptionReply::INFO, OptionReply::ACK]);
        self
    }

    /// Sends an option; the types of the replies.
    pub(super) fn option(&mut self, option: OptionCode, data: &[u8]) -> Vec<OptionReply> {
        self.stream.write_all(&OptionHeader::encode_with(option, data)).unwrap();
        let mut replies = Vec::new();
        loop {
            let mut head = [0; OptionReplyHeader::BYTES];
            self.stream.read_exact(&mut head).unwrap();
            let header = OptionReplyHeader::decode(&head).unwrap().unwrap();
            assert_eq!(header.option, option);
            let mut data = vec![0; header.len as usize];
            self.stream.read_exact(&mut data).unwrap();
            replies.push(header.reply);
            if header.reply == OptionReply::ACK || header.reply.is_error() {
                return replies;
            }
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next reply: cookie and error of a simple one, or the head and payload of a chunk.
    pub(super) fn receive(&mut self) -> RawReply {
        let mut head = [0; ChunkHeader::BYTES];
        self.stream.read_exact(&mut head[..16]).unwrap();
        if let Some((Reply::Simple(reply), _)) = Reply::decode(&head[..16]).unwrap() {
            return RawReply { cookie: reply.cookie.0, error: reply.error.map_or(0, |error| error.0), chunk: None };
        }
        self.stream.read_exact(&mut head[16..]).unwrap();
        let Some((Reply::Chunk(header), _)) = Reply::decode(&head).unwrap() else { panic!("half a head") };
        let mut payload = vec![0; header.len as usize];
        self.stream.read_exact(&mut payload).unwrap();
        let error = match header.kind.is_error() {
            true => u32::from_be_bytes(payload[..4].try_into().unwrap()),
            false => 0,
        };
        RawReply { cookie: header.cookie.0, error, chunk: Some((header, payload)) }
    }

    /// Payload of a simple READ reply.
    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// True once the server has hung up; whatever it still said is dropped.
    pub(super) fn is_at_end(&mut self) -> bool {
        let mut sink = vec![0; 64 << 10];
        loop {
            match self.stream.read(&mut sink) {
                Ok(0) => return true,
                Ok(_) => {}
                // A reset is an end, too.
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct RawReply {
    pub(super) cookie: u64,
    /// 0 for success.
    pub(super) error: u32,
    pub(super) chunk: Option<(ChunkHeader, Vec<u8>)>,
}

impl RawReply {
    pub(super) fn is_last(&self) -> bool {
        self.chunk.as_ref().is_none_or(|(header, _)| header.flags.contains(ChunkFlags::DONE))
    }
}

/// An encoded request.
pub(super) fn request(command: Command, flags: CommandFlags, cookie: u64, offset: u64, len: u32) -> Vec<u8> {
    Request { flags, command, cookie: Cookie(cookie), offset, len }.encode().to_vec()
}
