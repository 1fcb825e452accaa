//! The content of an object as it comes.

use std::fmt;
use std::io::{self, Read, Write};
use std::ops::Range;

use super::ObjectInfo;
use crate::backend::{OpenedObject, Pieces};
use crate::error::{Cause, Result};
use crate::progress::{self, Watch};

/// An object, or a part of it, to read from its beginning; see [`Store::get_object`](crate::Store::get_object).
///
/// Reads by [`Read`], whose errors hold an [`Error`](crate::Error), or in whole pieces. It does not keep the object: if that is
/// removed or replaced meanwhile, reading fails with [`NotFound`](crate::ErrorKind::NotFound), and never gives other bytes.
pub struct ObjectReader {
    info: ObjectInfo,
    range: Range<u64>,
    pieces: Box<dyn Pieces>,
    /// A piece that is being read, and how much of it was.
    piece: Vec<u8>,
    taken: usize,
}

impl ObjectReader {
    pub(crate) fn new(opened: OpenedObject) -> Self {
        let OpenedObject { info, range, pieces } = opened;
        Self { info, range, pieces, piece: Vec::new(), taken: 0 }
    }

    /// What the object is.
    #[must_use]
    pub fn info(&self) -> &ObjectInfo {
        &self.info
    }

    /// The part that this began with, in bytes.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// What comes next, about 1 MiB at most and never empty; `None` at the end. Costs no copy.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the object was removed meanwhile; [`Corrupt`](crate::ErrorKind::Corrupt) if what
    /// is on disk is not what was written; [`Io`](crate::ErrorKind::Io), [`Unavailable`](crate::ErrorKind::Unavailable). Then nothing
    /// more comes that could be relied on.
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>> {
        let rest = self.piece.split_off(self.taken);
        self.piece.clear();
        self.taken = 0;
        if rest.is_empty() { Ok(self.pieces.next_piece()?) } else { Ok(Some(rest)) }
    }

    /// Writes all that comes to `to`, and returns how many bytes that was.
    ///
    /// # Errors
    /// Those of [`ObjectReader::next_piece`]; [`Cancelled`](crate::ErrorKind::Cancelled); [`Io`](crate::ErrorKind::Io), with the
    /// writer's error as its source.
    pub fn copy_to(&mut self, mut to: impl Write, watch: Watch<'_>) -> Result<u64> {
        let total = Some(self.range.end - self.range.start);
        let mut done = 0;
        progress::tell(watch, done, total)?;
        while let Some(piece) = self.next_piece()? {
            to.write_all(&piece).map_err(Cause::Output)?;
            done += piece.len() as u64;
            progress::tell(watch, done, total)?;
        }
        Ok(done)
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        if self.taken == self.piece.len() {
            self.piece = self.next_piece()?.unwrap_or_default();
        }
        let rest = &self.piece[self.taken..];
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        self.taken += len;
        Ok(len)
    }
}

impl fmt::Debug for ObjectReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.info.name;
        f.debug_struct("ObjectReader").field("name", name).field("range", &self.range).finish_non_exhaustive()
    }
}
