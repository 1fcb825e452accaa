//! Messages of the handshake ("Fixed newstyle negotiation"): greeting, options, replies to options.
//!
//! Lengths that a peer states are checked against the bytes that are there before anything is allocated for them.

use super::{
    BadMagic, ClientFlags, Cursor, HandshakeFlags, InfoType, OptionCode, OptionReply, STRING_BYTES_MAX,
    TransmissionFlags,
};

const INIT_MAGIC: u64 = 0x4e42_444d_4147_4943;
const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
const REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;

/// The server's first bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Greeting {
    /// What the server can do in the handshake.
    pub flags: HandshakeFlags,
}

impl Greeting {
    /// Length of the message.
    pub const BYTES: usize = 18;

    /// The message.
    #[must_use]
    pub fn encode(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..8].copy_from_slice(&INIT_MAGIC.to_be_bytes());
        out[8..16].copy_from_slice(&OPTION_MAGIC.to_be_bytes());
        out[16..].copy_from_slice(&self.flags.0.to_be_bytes());
        out
    }

    /// The greeting at the front of `bytes`; `None` if it is not all there. Oldstyle servers give [`BadMagic`].
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, BadMagic> {
        let mut cursor = Cursor(bytes);
        let (Some(init), Some(option), Some(flags)) = (cursor.u64(), cursor.u64(), cursor.u16()) else {
            return Ok(None);
        };
        BadMagic::check(init, INIT_MAGIC)?;
        BadMagic::check(option, OPTION_MAGIC)?;
        Ok(Some(Self { flags: HandshakeFlags(flags) }))
    }
}

/// The client flags in the first 4 of `bytes`; `None` if they are not all there.
#[must_use]
pub fn decode_client_flags(bytes: &[u8]) -> Option<ClientFlags> {
    Cursor(bytes).u32().map(ClientFlags)
}

/// Head of an option; `len` bytes of data follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OptionHeader {
    /// What is asked.
    pub option: OptionCode,
    /// Bytes of data that follow.
    pub len: u32,
}

impl OptionHeader {
    /// Length of the head.
    pub const BYTES: usize = 16;

    /// The option with its data. Data beyond 4 GiB cannot be expressed and is a bug of the caller.
    #[must_use]
    pub fn encode_with(option: OptionCode, data: &[u8]) -> Vec<u8> {
        let len = u32::try_from(data.len()).expect("option data is short");
        let mut out = Vec::with_capacity(Self::BYTES + data.len());
        out.extend_from_slice(&OPTION_MAGIC.to_be_bytes());
        out.extend_from_slice(&option.0.to_be_bytes());
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(data);
        out
    }

    /// The head at the front of `bytes`; `None` if it is not all there.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, BadMagic> {
        let mut cursor = Cursor(bytes);
        let (Some(magic), Some(option), Some(len)) = (cursor.u64(), cursor.u32(), cursor.u32()) else {
            return Ok(None);
        };
        BadMagic::check(magic, OPTION_MAGIC)?;
        Ok(Some(Self { option: OptionCode(option), len }))
    }
}

/// Head of a reply to an option; `len` bytes of data follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OptionReplyHeader {
    /// The option answered.
    pub option: OptionCode,
    /// The kind of answer.
    pub reply: OptionReply,
    /// Bytes of data that follow.
    pub len: u32,
}

impl OptionReplyHeader {
    /// Length of the head.
    pub const BYTES: usize = 20;

    /// Appends a reply made of `parts` to `out`.
    pub fn encode_with(option: OptionCode, reply: OptionReply, parts: &[&[u8]], out: &mut Vec<u8>) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let len = u32::try_from(len).expect("replies to options are short");
        out.extend_from_slice(&REPLY_MAGIC.to_be_bytes());
        out.extend_from_slice(&option.0.to_be_bytes());
        out.extend_from_slice(&reply.0.to_be_bytes());
        out.extend_from_slice(&len.to_be_bytes());
        parts.iter().for_each(|part| out.extend_from_slice(part));
    }

    /// The head at the front of `bytes`; `None` if it is not all there.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, BadMagic> {
        let mut cursor = Cursor(bytes);
        let (Some(magic), Some(option), Some(reply), Some(len)) =
            (cursor.u64(), cursor.u32(), cursor.u32(), cursor.u32())
        else {
            return Ok(None);
        };
        BadMagic::check(magic, REPLY_MAGIC)?;
        Ok(Some(Self { option: OptionCode(option), reply: OptionReply(reply), len }))
    }
}

/// Option data that cannot be accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadOption {
    /// Lengths do not add up, or a string is not UTF-8 or holds a NUL.
    #[error("malformed option data")]
    Malformed,
    /// A string is longer than [`STRING_BYTES_MAX`].
    #[error("a string is longer than 4096 bytes")]
    TooLong,
}

impl BadOption {
    /// The reply that says so.
    #[must_use]
    pub fn reply(self) -> OptionReply {
        match self {
            Self::Malformed => OptionReply::ERR_INVALID,
            Self::TooLong => OptionReply::ERR_TOO_BIG,
        }
    }
}

/// `bytes` as a string of the protocol: UTF-8, no NUL, at most [`STRING_BYTES_MAX`] bytes.
pub fn decode_string(bytes: &[u8]) -> Result<&str, BadOption> {
    if bytes.len() > STRING_BYTES_MAX {
        return Err(BadOption::TooLong);
    }
    let string = std::str::from_utf8(bytes).map_err(|_| BadOption::Malformed)?;
    if string.contains('\0') { Err(BadOption::Malformed) } else { Ok(string) }
}

/// A 32-bit length and a string of that length.
fn take_string<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, BadOption> {
    let len = cursor.u32().ok_or(BadOption::Malformed)? as usize;
    decode_string(cursor.bytes(len).ok_or(BadOption::Malformed)?)
}

fn put_string(string: &str, out: &mut Vec<u8>) {
    let len = u32::try_from(string.len()).expect("strings are short");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(string.as_bytes());
}

/// Data of INFO and GO.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InfoRequest<'a> {
    /// Name of the export.
    pub name: &'a str,
    /// What the client wants to know beside the size and the flags.
    pub wants: Vec<InfoType>,
}

impl<'a> InfoRequest<'a> {
    /// Reads the data of an INFO or GO option.
    pub fn decode(data: &'a [u8]) -> Result<Self, BadOption> {
        let mut cursor = Cursor(data);
        let name = take_string(&mut cursor)?;
        let count = cursor.u16().ok_or(BadOption::Malformed)?;
        let wants = cursor.bytes(usize::from(count) * 2).ok_or(BadOption::Malformed)?;
        if !cursor.is_at_end() {
            return Err(BadOption::Malformed);
        }
        let wants = wants.chunks_exact(2).map(|pair| InfoType(u16::from_be_bytes([pair[0], pair[1]])));
        Ok(Self { name, wants: wants.collect() })
    }

    /// The data of an INFO or GO option.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_string(self.name, &mut out);
        let count = u16::try_from(self.wants.len()).expect("few kinds of information exist");
        out.extend_from_slice(&count.to_be_bytes());
        self.wants.iter().for_each(|want| out.extend_from_slice(&want.0.to_be_bytes()));
        out
    }
}

/// Data of LIST_META_CONTEXT and SET_META_CONTEXT.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContextRequest<'a> {
    /// Name of the export.
    pub name: &'a str,
    /// `namespace:leaf` each.
    pub queries: Vec<&'a str>,
}

impl<'a> ContextRequest<'a> {
    /// Reads the data of a LIST_META_CONTEXT or SET_META_CONTEXT option.
    pub fn decode(data: &'a [u8]) -> Result<Self, BadOption> {
        let mut cursor = Cursor(data);
        let name = take_string(&mut cursor)?;
        let count = cursor.u32().ok_or(BadOption::Malformed)?;
        let mut queries = Vec::new();
        for _ in 0..count {
            queries.push(take_string(&mut cursor)?);
        }
        if cursor.is_at_end() { Ok(Self { name, queries }) } else { Err(BadOption::Malformed) }
    }

    /// The data of a LIST_META_CONTEXT or SET_META_CONTEXT option.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_string(self.name, &mut out);
        let count = u32::try_from(self.queries.len()).expect("few queries are asked");
        out.extend_from_slice(&count.to_be_bytes());
        self.queries.iter().for_each(|query| put_string(query, &mut out));
        out
    }
}

/// Size and abilities of an export, as EXPORT_NAME, INFO and GO tell them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExportFacts {
    /// Size in bytes.
    pub size_bytes: u64,
    /// What it can do.
    pub flags: TransmissionFlags,
}

impl ExportFacts {
    /// Length of the facts, without the information type in front of them.
    pub const BYTES: usize = 10;

    /// The facts as bytes.
    #[must_use]
    pub fn encode(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..8].copy_from_slice(&self.size_bytes.to_be_bytes());
        out[8..].copy_from_slice(&self.flags.0.to_be_bytes());
        out
    }

    /// The facts at the front of `bytes`; `None` if they are not all there.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(bytes);
        Some(Self { size_bytes: cursor.u64()?, flags: TransmissionFlags(cursor.u16()?) })
    }
}

/// "Size constraints" of an export, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockSizes {
    /// What offsets and lengths are multiples of.
    pub minimum: u32,
    /// What they should be multiples of.
    pub preferred: u32,
    /// The largest payload.
    pub payload_max: u32,
}

impl BlockSizes {
    /// Length of the sizes, without the information type in front of them.
    pub const BYTES: usize = 12;

    /// The sizes as bytes.
    #[must_use]
    pub fn encode(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..4].copy_from_slice(&self.minimum.to_be_bytes());
        out[4..8].copy_from_slice(&self.preferred.to_be_bytes());
        out[8..].copy_from_slice(&self.payload_max.to_be_bytes());
        out
    }

    /// The sizes at the front of `bytes`; `None` if they are not all there.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(bytes);
        Some(Self { minimum: cursor.u32()?, preferred: cursor.u32()?, payload_max: cursor.u32()? })
    }
}

/// One fact of a reply to INFO or GO, split into its type and the rest; `None` if it is too short for a type.
#[must_use]
pub fn split_info(data: &[u8]) -> Option<(InfoType, &[u8])> {
    let mut cursor = Cursor(data);
    Some((InfoType(cursor.u16()?), cursor.0))
}

/// The id and name in a META_CONTEXT reply.
pub fn decode_context_reply(data: &[u8]) -> Result<(u32, &str), BadOption> {
    let mut cursor = Cursor(data);
    let id = cursor.u32().ok_or(BadOption::Malformed)?;
    Ok((id, decode_string(cursor.0)?))
}

/// The name in a SERVER reply.
pub fn decode_server_reply(data: &[u8]) -> Result<&str, BadOption> {
    take_string(&mut Cursor(data))
}
