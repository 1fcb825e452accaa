//! A raw image being read: a file or block device whose holes are skipped, or a stream. Zeros are left out.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::SeekFrom as Hole;
use rustix::io::{Errno, retry_on_intr};
use siltstone::control::{Chunk, DATA_BYTES_MAX};
use siltstone::store::fingerprint::is_zero;

const CHUNK_BYTES: u64 = DATA_BYTES_MAX as u64;

/// An image being read from its start to its end.
pub(crate) struct ImageSource {
    input: Input,
    position: u64,
}

enum Input {
    /// `data_end` is where the data around the position ends.
    Seekable {
        file: File,
        size_bytes: u64,
        data_end: u64,
    },
    Stream(Box<dyn Read>),
}

impl ImageSource {
    /// Opens a file, a block device, a pipe, or (`-`) stdin.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = if path == Path::new("-") { rustix::io::dup(io::stdin())?.into() } else { File::open(path)? };
        Self::of(file)
    }

    fn of(mut file: File) -> io::Result<Self> {
        let kind = file.metadata()?.file_type();
        if kind.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        // Redirected stdin may stand anywhere in its file; what lies before is not meant.
        let seekable = kind.is_file() || kind.is_block_device();
        if seekable && file.stream_position()? == 0 {
            let size_bytes = file.seek(SeekFrom::End(0))?;
            return Ok(Self { input: Input::Seekable { file, size_bytes, data_end: 0 }, position: 0 });
        }
        Ok(Self { input: Input::Stream(Box::new(file)), position: 0 })
    }

    /// Its size in bytes, where that is known before the end.
    pub(crate) fn size_bytes(&self) -> Option<u64> {
        match self.input {
            Input::Seekable { size_bytes, .. } => Some(size_bytes),
            Input::Stream(_) => None,
        }
    }

    /// Bytes read or skipped so far; at the end, the size.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Moves from the start to `offset`, if `tail` is what lies before that: `false` if it is not, or if the content ends
    /// before. What a stream has before is read and dropped.
    pub(crate) fn go_on(&mut self, offset: u64, tail: &[u8]) -> io::Result<bool> {
        let start = offset.checked_sub(tail.len() as u64).ok_or(io::ErrorKind::InvalidInput)?;
        let mut found = vec![0; tail.len()];
        let read = match &mut self.input {
            Input::Seekable { size_bytes, .. } if *size_bytes < offset => return Ok(false),
            Input::Seekable { file, .. } => file.read_exact_at(&mut found, start),
            Input::Stream(stream) => {
                let skipped = io::copy(&mut stream.by_ref().take(start), &mut io::sink())?;
                if skipped < start {
                    return Ok(false);
                }
                stream.read_exact(&mut found)
            }
        };
        match read {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        self.position = offset;
        Ok(found == tail)
    }

    /// The next piece that is not zeros; `None` at the end.
    pub(crate) fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        loop {
            let offset = self.position;
            let data = match &mut self.input {
                Input::Seekable { file, size_bytes, data_end } => {
                    if offset >= *data_end {
                        match next_data(file, offset, *size_bytes)? {
                            Some(range) => (self.position, *data_end) = range,
                            None => self.position = *size_bytes,
                        }
                        if self.position == *size_bytes {
                            return Ok(None);
                        }
                        continue;
                    }
                    read_piece(file, offset, *data_end)?
                }
                Input::Stream(stream) => {
                    let mut data = Vec::with_capacity(DATA_BYTES_MAX);
                    stream.by_ref().take(CHUNK_BYTES).read_to_end(&mut data)?;
                    data
                }
            };
            self.position += data.len() as u64;
            if data.is_empty() {
                return Ok(None);
            }
            if !is_zero(&data) {
                return Ok(Some(Chunk { offset, data }));
            }
        }
    }
}

/// Reads up to the next multiple of the chunk size, so that all chunks but those around holes are aligned.
fn read_piece(file: &File, offset: u64, data_end: u64) -> io::Result<Vec<u8>> {
    let end = ((offset / CHUNK_BYTES + 1) * CHUNK_BYTES).min(data_end);
    let len = (end - offset) as usize;
    let mut data = Vec::with_capacity(len);
    while data.len() < len {
        let at = offset + data.len() as u64;
        if retry_on_intr(|| rustix::io::pread(file, spare_capacity(&mut data), at))? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    // There may be room for more.
    data.truncate(len);
    Ok(data)
}

/// The data at or behind `offset`, as start and end; `None` if only a hole is left. Everything is data where the file
/// system knows no holes.
fn next_data(file: &File, offset: u64, size_bytes: u64) -> io::Result<Option<(u64, u64)>> {
    if offset >= size_bytes {
        return Ok(None);
    }
    let start = match rustix::fs::seek(file, Hole::Data(offset)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::NOTSUP) => return Ok(Some((offset, size_bytes))),
        Err(error) => return Err(error.into()),
    };
    let end = rustix::fs::seek(file, Hole::Hole(start))?;
    // The file may have grown since it was measured.
    Ok((start < size_bytes).then_some((start, end.min(size_bytes))))
}

#[cfg(test)]
mod tests;
