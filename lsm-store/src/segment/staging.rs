//! Appends of any length to a direct file: collected in aligned memory and written in large aligned pieces, by the
//! caller or behind its back.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::checksum::PAGE_BYTES;
use crate::device::{AlignedBuffer, File};

/// Bytes a write carries. Between 256 KiB and 1 MiB no difference was measured.
const STAGING_BYTES: usize = 512 << 10;

/// Pieces on their way at most, when they are written behind the caller's back.
const BEHIND_MAX: usize = 2;

/// Who waits for the device while a segment is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteMode {
    /// The caller, at each write: everything happens in order, in one thread.
    Inline,
    /// A thread of its own, while the caller compresses what comes next.
    Behind,
}

/// Bytes on their way to a file.
pub(super) struct Staging {
    file: Arc<dyn File>,
    buffer: AlignedBuffer,
    filled: usize,
    /// Where in the file `buffer` belongs.
    offset: u64,
    behind: Option<Behind>,
}

impl Staging {
    /// For a file to be written from its start.
    pub(super) fn new(file: &Arc<dyn File>, mode: WriteMode) -> Self {
        let behind = match mode {
            WriteMode::Inline => None,
            WriteMode::Behind => Behind::start(file),
        };
        Self { file: Arc::clone(file), buffer: AlignedBuffer::zeroed(STAGING_BYTES), filled: 0, offset: 0, behind }
    }

    /// How pieces are written.
    pub(super) fn mode(&self) -> WriteMode {
        if self.behind.is_some() { WriteMode::Behind } else { WriteMode::Inline }
    }

    /// Bytes appended so far.
    pub(super) fn position(&self) -> u64 {
        self.offset + self.filled as u64
    }

    /// Appends `bytes`, writing whenever the buffer is full. A failed write may be reported by a later call.
    pub(super) fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = bytes.len().min(STAGING_BYTES - self.filled);
            self.buffer[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == STAGING_BYTES {
                self.write()?;
            }
        }
        Ok(())
    }

    /// Appends zeros up to the next page.
    pub(super) fn pad(&mut self) -> io::Result<()> {
        let padding = self.filled.next_multiple_of(PAGE_BYTES) - self.filled;
        self.append(&[0; PAGE_BYTES][..padding])
    }

    /// Writes what is left and waits for all writes; the position must be that of a page.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        assert!(self.filled.is_multiple_of(PAGE_BYTES), "direct writes end at a page");
        if self.filled > 0 {
            self.write()?;
        }
        match &mut self.behind {
            Some(behind) => behind.wait_for_all(),
            None => Ok(()),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        match &mut self.behind {
            None => self.file.write_at(&[IoSlice::new(&self.buffer[..self.filled])], self.offset)?,
            Some(behind) => {
                let next = behind.buffer()?;
                let piece =
                    Piece { buffer: std::mem::replace(&mut self.buffer, next), len: self.filled, offset: self.offset };
                behind.send(piece);
            }
        }
        self.offset += self.filled as u64;
        self.filled = 0;
        Ok(())
    }
}

/// A piece to write.
struct Piece {
    buffer: AlignedBuffer,
    len: usize,
    offset: u64,
}

/// A thread that writes pieces in order.
struct Behind {
    /// `None` when the thread has been told to end.
    pieces: Option<SyncSender<Piece>>,
    written: Receiver<(AlignedBuffer, io::Result<()>)>,
    in_flight: usize,
    thread: Option<JoinHandle<()>>,
}

impl Behind {
    /// `None` if no thread can be started: then the caller writes.
    fn start(file: &Arc<dyn File>) -> Option<Self> {
        let (pieces, to_write) = sync_channel::<Piece>(BEHIND_MAX);
        let (report, written) = sync_channel(BEHIND_MAX);
        let file = Arc::clone(file);
        let work = move || {
            for piece in to_write {
                let result = file.write_at(&[IoSlice::new(&piece.buffer[..piece.len])], piece.offset);
                if report.send((piece.buffer, result)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("silt-write".to_owned()).spawn(work).ok()?;
        Some(Self { pieces: Some(pieces), written, in_flight: 0, thread: Some(thread) })
    }

    /// A buffer to fill next: a fresh one at first, then one whose piece has been written.
    fn buffer(&mut self) -> io::Result<AlignedBuffer> {
        if self.in_flight < BEHIND_MAX {
            return Ok(AlignedBuffer::zeroed(STAGING_BYTES));
        }
        self.wait_for_one()
    }

    fn send(&mut self, piece: Piece) {
        let pieces = self.pieces.as_ref().expect("the thread ends when the staging does");
        pieces.send(piece).expect("the thread takes pieces as long as somebody sends");
        self.in_flight += 1;
    }

    fn wait_for_one(&mut self) -> io::Result<AlignedBuffer> {
        let (buffer, result) = self.written.recv().expect("the thread reports every piece");
        self.in_flight -= 1;
        result.map(|()| buffer)
    }

    fn wait_for_all(&mut self) -> io::Result<()> {
        while self.in_flight > 0 {
            self.wait_for_one()?;
        }
        Ok(())
    }
}

impl Drop for Behind {
    /// Nothing is written to the file any more once this has returned.
    fn drop(&mut self) {
        drop(self.pieces.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a thread that writes a segment has panicked");
        }
    }
}
