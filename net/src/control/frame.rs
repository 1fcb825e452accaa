//! Frames: what the byte stream is cut into (`docs/protocol.md`, "Frames").
//!
//! A header of 8 bytes (payload length, kind, zeros), then the payload: a JSON message, or data with its offset.
//! A length is checked against the limit of its kind before anything is allocated, and memory grows only as bytes come.

use std::io::{self, Read, Write};

use super::error::Error;
use super::peer::Chunk;

/// Most bytes of a JSON message.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Most bytes of volume data in one frame.
pub const DATA_BYTES_MAX: usize = 1 << 20;

const HEADER_BYTES: usize = 8;
const OFFSET_BYTES: usize = 8;
const KIND_MESSAGE: u8 = 1;
const KIND_DATA: u8 = 2;

/// One frame, received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Frame {
    /// A JSON document, not yet decoded.
    Message(Vec<u8>),
    /// A piece of a volume.
    Data(Chunk),
}

fn header(kind: u8, payload_bytes: usize) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let len = u32::try_from(payload_bytes).expect("payloads are checked against their limits before");
    header[..4].copy_from_slice(&len.to_le_bytes());
    header[4] = kind;
    header
}

/// Writes a message frame.
///
/// # Panics
/// If `json` is longer than [`MESSAGE_BYTES_MAX`]: the sender's own messages are bounded.
pub(super) fn write_message(stream: &mut impl Write, json: &[u8]) -> io::Result<()> {
    assert!(json.len() <= MESSAGE_BYTES_MAX, "a message fits its limit");
    let mut frame = Vec::with_capacity(HEADER_BYTES + json.len());
    frame.extend_from_slice(&header(KIND_MESSAGE, json.len()));
    frame.extend_from_slice(json);
    stream.write_all(&frame)
}

/// Writes a data frame.
///
/// # Panics
/// If `data` is longer than [`DATA_BYTES_MAX`].
pub(super) fn write_data(stream: &mut impl Write, offset: u64, data: &[u8]) -> io::Result<()> {
    assert!(data.len() <= DATA_BYTES_MAX, "data is cut to frames");
    let mut head = [0; HEADER_BYTES + OFFSET_BYTES];
    head[..HEADER_BYTES].copy_from_slice(&header(KIND_DATA, OFFSET_BYTES + data.len()));
    head[HEADER_BYTES..].copy_from_slice(&offset.to_le_bytes());
    stream.write_all(&head)?;
    stream.write_all(data)
}

/// Reads a frame; `None` if the stream ended where a frame would start.
pub(super) fn read(stream: &mut impl Read, message_bytes_max: usize) -> Result<Option<Frame>, Error> {
    let mut header = [0; HEADER_BYTES];
    let got = read_some(stream, &mut header)?;
    if got == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut header[got..])?;
    let [a, b, c, d, kind, zeros @ ..] = header;
    let len = u32::from_le_bytes([a, b, c, d]) as usize;
    if zeros != [0; 3] {
        return Err(Error::Protocol("a frame header with set reserved bytes"));
    }
    match kind {
        KIND_MESSAGE if len > message_bytes_max => Err(Error::Protocol("a message beyond the size limit")),
        KIND_MESSAGE => Ok(Some(Frame::Message(read_payload(stream, len)?))),
        KIND_DATA => read_chunk(stream, len).map(|chunk| Some(Frame::Data(chunk))),
        _ => Err(Error::Protocol("an unknown kind of frame")),
    }
}

fn read_chunk(stream: &mut impl Read, len: usize) -> Result<Chunk, Error> {
    let Some(data_bytes) = len.checked_sub(OFFSET_BYTES) else {
        return Err(Error::Protocol("a data frame without its offset"));
    };
    if data_bytes > DATA_BYTES_MAX {
        return Err(Error::Protocol("a data frame beyond the size limit"));
    }
    let mut offset = [0; OFFSET_BYTES];
    stream.read_exact(&mut offset)?;
    let offset = u64::from_le_bytes(offset);
    if offset.checked_add(data_bytes as u64).is_none() {
        return Err(Error::Protocol("a data frame beyond the end of all volumes"));
    }
    Ok(Chunk { offset, data: read_payload(stream, data_bytes)? })
}

fn read_some(stream: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buf) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Reads `len` bytes; past 1 MiB, memory is taken only as bytes come, so that a lying header costs its sender.
fn read_payload(stream: &mut impl Read, len: usize) -> Result<Vec<u8>, Error> {
    if len <= DATA_BYTES_MAX {
        let mut payload = vec![0; len];
        stream.read_exact(&mut payload)?;
        return Ok(payload);
    }
    let mut payload = Vec::new();
    if stream.take(len as u64).read_to_end(&mut payload)? < len {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(payload)
}

#[cfg(test)]
mod tests;
