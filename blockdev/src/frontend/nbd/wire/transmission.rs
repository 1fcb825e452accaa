//! Messages of the transmission phase: requests, simple replies, chunks of structured replies.

use super::{BadMagic, ChunkFlags, ChunkType, Command, CommandFlags, Cookie, Cursor, Errno};

const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_MAGIC: u32 = 0x6744_6698;
const CHUNK_MAGIC: u32 = 0x668e_33ef;

/// A request; the payload of a WRITE follows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Modifiers of the command.
    pub flags: CommandFlags,
    /// What to do.
    pub command: Command,
    /// The client's name for the request, repeated in the reply.
    pub cookie: Cookie,
    /// First byte concerned.
    pub offset: u64,
    /// Bytes concerned.
    pub len: u32,
}

impl Request {
    /// Length of the message.
    pub const BYTES: usize = 28;

    /// The message.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..4].copy_from_slice(&REQUEST_MAGIC.to_be_bytes());
        out[4..6].copy_from_slice(&self.flags.0.to_be_bytes());
        out[6..8].copy_from_slice(&self.command.0.to_be_bytes());
        out[8..16].copy_from_slice(&self.cookie.0.to_be_bytes());
        out[16..24].copy_from_slice(&self.offset.to_be_bytes());
        out[24..].copy_from_slice(&self.len.to_be_bytes());
        out
    }

    /// The request at the front of `bytes`; `None` if it is not all there.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, BadMagic> {
        let Some(bytes) = bytes.first_chunk::<{ Self::BYTES }>() else { return Ok(None) };
        let mut cursor = Cursor(bytes);
        let magic = cursor.u32().unwrap_or_default();
        BadMagic::check(magic, REQUEST_MAGIC)?;
        Ok(Self::decode_fields(cursor))
    }

    fn decode_fields(mut cursor: Cursor<'_>) -> Option<Self> {
        Some(Self {
            flags: CommandFlags(cursor.u16()?),
            command: Command(cursor.u16()?),
            cookie: Cookie(cursor.u64()?),
            offset: cursor.u64()?,
            len: cursor.u32()?,
        })
    }

    /// One past the last byte concerned; `None` if that is no 64-bit number.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        self.offset.checked_add(u64::from(self.len))
    }
}

/// Head of a simple reply; the bytes read follow a successful READ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SimpleReply {
    /// The failure, if any.
    pub error: Option<Errno>,
    /// The request answered.
    pub cookie: Cookie,
}

impl SimpleReply {
    /// Length of the head.
    pub const BYTES: usize = 16;

    /// The message.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..4].copy_from_slice(&SIMPLE_MAGIC.to_be_bytes());
        out[4..8].copy_from_slice(&self.error.map_or(0, |error| error.0).to_be_bytes());
        out[8..].copy_from_slice(&self.cookie.0.to_be_bytes());
        out
    }
}

/// Head of a chunk of a structured reply; `len` bytes of payload follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkHeader {
    /// Whether it is the last one.
    pub flags: ChunkFlags,
    /// What the payload is.
    pub kind: ChunkType,
    /// The request answered.
    pub cookie: Cookie,
    /// Bytes of payload.
    pub len: u32,
}

impl ChunkHeader {
    /// Length of the head.
    pub const BYTES: usize = 20;

    /// The head.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..4].copy_from_slice(&CHUNK_MAGIC.to_be_bytes());
        out[4..6].copy_from_slice(&self.flags.0.to_be_bytes());
        out[6..8].copy_from_slice(&self.kind.0.to_be_bytes());
        out[8..16].copy_from_slice(&self.cookie.0.to_be_bytes());
        out[16..].copy_from_slice(&self.len.to_be_bytes());
        out
    }
}

/// Head of whatever a server answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// A simple reply.
    Simple(SimpleReply),
    /// A chunk of a structured reply.
    Chunk(ChunkHeader),
}

impl Reply {
    /// The head at the front of `bytes` and its length; `None` if it is not all there.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, BadMagic> {
        let mut cursor = Cursor(bytes);
        match cursor.u32() {
            None => Ok(None),
            Some(SIMPLE_MAGIC) => Ok(Self::decode_simple(cursor).map(|reply| (reply, SimpleReply::BYTES))),
            Some(CHUNK_MAGIC) => Ok(Self::decode_chunk(cursor).map(|reply| (reply, ChunkHeader::BYTES))),
            Some(found) => Err(BadMagic { wanted: SIMPLE_MAGIC.into(), found: found.into() }),
        }
    }

    fn decode_simple(mut cursor: Cursor<'_>) -> Option<Self> {
        let error = cursor.u32()?;
        let error = (error != 0).then_some(Errno(error));
        Some(Self::Simple(SimpleReply { error, cookie: Cookie(cursor.u64()?) }))
    }

    fn decode_chunk(mut cursor: Cursor<'_>) -> Option<Self> {
        Some(Self::Chunk(ChunkHeader {
            flags: ChunkFlags(cursor.u16()?),
            kind: ChunkType(cursor.u16()?),
            cookie: Cookie(cursor.u64()?),
            len: cursor.u32()?,
        }))
    }
}

/// Payload of an OFFSET_HOLE chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HolePayload {
    /// First byte of the zeros.
    pub offset: u64,
    /// How many, at least 1.
    pub len: u32,
}

impl HolePayload {
    /// Length of the payload.
    pub const BYTES: usize = 12;

    /// The payload.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..8].copy_from_slice(&self.offset.to_be_bytes());
        out[8..].copy_from_slice(&self.len.to_be_bytes());
        out
    }

    /// The payload in `bytes`; `None` if they are not exactly one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(bytes);
        let payload = Self { offset: cursor.u64()?, len: cursor.u32()? };
        cursor.is_at_end().then_some(payload)
    }
}

/// Payload of an ERROR or ERROR_OFFSET chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ErrorPayload<'a> {
    /// What went wrong.
    pub error: Errno,
    /// The same for people.
    pub message: &'a str,
    /// Where, in an ERROR_OFFSET chunk.
    pub offset: Option<u64>,
}

impl<'a> ErrorPayload<'a> {
    /// Appends the chunk, head included, as the last one of a reply.
    pub fn encode_chunk(&self, cookie: Cookie, out: &mut Vec<u8>) {
        let kind = if self.offset.is_some() { ChunkType::ERROR_OFFSET } else { ChunkType::ERROR };
        let message_len = u16::try_from(self.message.len()).expect("error messages are short");
        let len = 6 + u32::from(message_len) + if self.offset.is_some() { 8 } else { 0 };
        out.extend_from_slice(&ChunkHeader { flags: ChunkFlags::DONE, kind, cookie, len }.encode());
        out.extend_from_slice(&self.error.0.to_be_bytes());
        out.extend_from_slice(&message_len.to_be_bytes());
        out.extend_from_slice(self.message.as_bytes());
        if let Some(offset) = self.offset {
            out.extend_from_slice(&offset.to_be_bytes());
        }
    }

    /// The payload of a chunk of type `kind`; `None` if it is malformed. Error types of the future have the same start.
    #[must_use]
    pub fn decode(kind: ChunkType, bytes: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor(bytes);
        let error = Errno(cursor.u32()?);
        let message_len = cursor.u16()?;
        let message = std::str::from_utf8(cursor.bytes(usize::from(message_len))?).unwrap_or("");
        let offset = if kind == ChunkType::ERROR_OFFSET { Some(cursor.u64()?) } else { None };
        (error.0 != 0).then_some(Self { error, message, offset })
    }
}

/// Length and state flags of an extent in a BLOCK_STATUS chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatusDescriptor {
    /// Bytes, at least 1.
    pub len: u32,
    /// Meaning given by the context.
    pub flags: u32,
}

/// Appends the payload of a BLOCK_STATUS chunk: the context's id and the extents.
pub fn encode_status(context: u32, extents: &[StatusDescriptor], out: &mut Vec<u8>) {
    out.reserve(4 + 8 * extents.len());
    out.extend_from_slice(&context.to_be_bytes());
    for extent in extents {
        out.extend_from_slice(&extent.len.to_be_bytes());
        out.extend_from_slice(&extent.flags.to_be_bytes());
    }
}

/// The id and extents of a BLOCK_STATUS chunk; `None` if it is malformed (no extent, or an empty one).
#[must_use]
pub fn decode_status(bytes: &[u8]) -> Option<(u32, Vec<StatusDescriptor>)> {
    let mut cursor = Cursor(bytes);
    let context = cursor.u32()?;
    let mut extents = Vec::new();
    while !cursor.is_at_end() {
        let extent = StatusDescriptor { len: cursor.u32()?, flags: cursor.u32()? };
        if extent.len == 0 {
            return None;
        }
        extents.push(extent);
    }
    (!extents.is_empty()).then_some((context, extents))
}
