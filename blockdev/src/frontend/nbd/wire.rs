//! Bytes of the NBD protocol: magic numbers, codes and flags, with the messages of each phase in the modules below.
//!
//! Pure encoding and decoding, no I/O, no policy. All integers are big-endian. The specification is `doc/proto.md` of
//! <https://github.com/NetworkBlockDevice/nbd>; section names in these docs are its own.

use std::fmt;
use std::ops::BitOr;

pub mod negotiation;
pub mod transmission;

#[cfg(test)]
mod tests;

/// The port registered for NBD.
pub const PORT: u16 = 10809;

/// Bytes in the longest string the protocol allows.
pub const STRING_BYTES_MAX: usize = 4096;

/// Largest payload of one request or reply, and what every implementation must accept unless it says otherwise.
pub const PAYLOAD_BYTES_MAX: u32 = 32 << 20;

/// A magic number that is not the one expected: the peer does not speak NBD, or lost its place in the stream.
/// Nothing after it can be understood, so the connection has to be dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the peer sent {found:#x} where the NBD magic number {wanted:#x} belongs")]
pub struct BadMagic {
    /// What belongs there.
    pub wanted: u64,
    /// What was there.
    pub found: u64,
}

impl BadMagic {
    fn check(found: impl Into<u64>, wanted: impl Into<u64>) -> Result<(), Self> {
        let (found, wanted) = (found.into(), wanted.into());
        if found == wanted { Ok(()) } else { Err(Self { wanted, found }) }
    }
}

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident($inner:ty) { $($(#[$code_doc:meta])* $code:ident = $value:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            $($(#[$code_doc])* pub const $code: Self = Self($value);)*
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$code => f.write_str(stringify!($code)),)*
                    Self(other) => write!(f, concat!(stringify!($name), "({:#x})"), other),
                }
            }
        }
    };
}

macro_rules! flags {
    ($(#[$doc:meta])* $name:ident($inner:ty) { $($(#[$flag_doc:meta])* $flag:ident = $bit:expr,)* }) => {
        codes! { $(#[$doc])* $name($inner) { $($(#[$flag_doc])* $flag = 1 << $bit,)* } }

        impl $name {
            /// No flag.
            pub const NONE: Self = Self(0);

            /// True if all of `flags` are set.
            #[must_use]
            pub const fn contains(self, flags: Self) -> bool {
                self.0 & flags.0 == flags.0
            }

            /// The set flags that are not in `known`.
            #[must_use]
            pub const fn without(self, known: Self) -> Self {
                Self(self.0 & !known.0)
            }

            /// `self` if `condition` holds, else no flag.
            #[must_use]
            pub const fn when(self, condition: bool) -> Self {
                if condition { self } else { Self::NONE }
            }
        }

        impl BitOr for $name {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }
    };
}

flags! {
    /// "Handshake flags" of the greeting.
    HandshakeFlags(u16) {
        /// Options other than EXPORT_NAME are understood.
        FIXED_NEWSTYLE = 0,
        /// The 124 zeros after EXPORT_NAME can be left out.
        NO_ZEROES = 1,
    }
}

flags! {
    /// "Client flags", the client's first word.
    ClientFlags(u32) {
        /// Options other than EXPORT_NAME are understood.
        FIXED_NEWSTYLE = 0,
        /// The 124 zeros after EXPORT_NAME shall be left out.
        NO_ZEROES = 1,
    }
}

flags! {
    /// "Transmission flags": what an export can do.
    TransmissionFlags(u16) {
        /// Always set.
        HAS_FLAGS = 0,
        /// Changes are refused.
        READ_ONLY = 1,
        /// FLUSH works.
        SEND_FLUSH = 2,
        /// The FUA flag works.
        SEND_FUA = 3,
        /// The device turns.
        ROTATIONAL = 4,
        /// TRIM works.
        SEND_TRIM = 5,
        /// WRITE_ZEROES works.
        SEND_WRITE_ZEROES = 6,
        /// The DF flag of READ works.
        SEND_DF = 7,
        /// A flush on one connection covers what was answered on every other.
        CAN_MULTI_CONN = 8,
        /// CACHE works.
        SEND_CACHE = 10,
        /// The FAST_ZERO flag of WRITE_ZEROES works.
        SEND_FAST_ZERO = 11,
    }
}

flags! {
    /// "Command flags" of a request.
    CommandFlags(u16) {
        /// Answer once the change is on stable storage.
        FUA = 0,
        /// WRITE_ZEROES: leave the range allocated.
        NO_HOLE = 1,
        /// READ: answer in one chunk.
        DF = 2,
        /// BLOCK_STATUS: one extent only.
        REQ_ONE = 3,
        /// WRITE_ZEROES: fail rather than be slow.
        FAST_ZERO = 4,
    }
}

flags! {
    /// "Structured reply flags" of a chunk.
    ChunkFlags(u16) {
        /// The last chunk of a reply.
        DONE = 0,
    }
}

flags! {
    /// State of an extent in the `base:allocation` context; no flag means data.
    AllocationFlags(u32) {
        /// Not allocated.
        HOLE = 0,
        /// Reads as zeros.
        ZERO = 1,
    }
}

flags! {
    /// State of an extent in the contexts of changes, `qemu:dirty-bitmap:` and `x-siltstone:changed:`.
    ChangedFlags(u32) {
        /// It may have changed (qemu's `NBD_STATE_DIRTY`).
        CHANGED = 0,
    }
}

codes! {
    /// "Option types": what a client asks for in the handshake.
    OptionCode(u32) {
        /// Go to transmission, with no way to say no but to hang up.
        EXPORT_NAME = 1,
        /// End the session.
        ABORT = 2,
        /// Name the exports.
        LIST = 3,
        /// Begin TLS.
        STARTTLS = 5,
        /// Describe an export.
        INFO = 6,
        /// Describe an export and go to transmission.
        GO = 7,
        /// Use structured replies.
        STRUCTURED_REPLY = 8,
        /// Name metadata contexts.
        LIST_META_CONTEXT = 9,
        /// Choose metadata contexts.
        SET_META_CONTEXT = 10,
        /// Use 64-bit headers.
        EXTENDED_HEADERS = 11,
    }
}

codes! {
    /// "Option reply types".
    OptionReply(u32) {
        /// Done.
        ACK = 1,
        /// One export's name.
        SERVER = 2,
        /// One fact about an export.
        INFO = 3,
        /// One metadata context.
        META_CONTEXT = 4,
        /// Unknown option.
        ERR_UNSUP = 0x8000_0001,
        /// Known, but not allowed.
        ERR_POLICY = 0x8000_0002,
        /// Malformed.
        ERR_INVALID = 0x8000_0003,
        /// Not on this platform.
        ERR_PLATFORM = 0x8000_0004,
        /// Only with TLS.
        ERR_TLS_REQD = 0x8000_0005,
        /// No such export.
        ERR_UNKNOWN = 0x8000_0006,
        /// The server is going away.
        ERR_SHUTDOWN = 0x8000_0007,
        /// Ask for the block sizes first.
        ERR_BLOCK_SIZE_REQD = 0x8000_0008,
        /// Too much to process.
        ERR_TOO_BIG = 0x8000_0009,
    }
}

impl OptionReply {
    /// True if the option failed.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0 & 0x8000_0000 != 0
    }
}

codes! {
    /// Kinds of information in a reply to INFO and GO.
    InfoType(u16) {
        /// Size and flags.
        EXPORT = 0,
        /// Canonical name.
        NAME = 1,
        /// Text for people.
        DESCRIPTION = 2,
        /// Size constraints.
        BLOCK_SIZE = 3,
    }
}

codes! {
    /// "Request types".
    Command(u16) {
        /// Read.
        READ = 0,
        /// Write; the payload follows.
        WRITE = 1,
        /// Finish everything and hang up; not answered.
        DISC = 2,
        /// Make answered writes durable.
        FLUSH = 3,
        /// Forget a range.
        TRIM = 4,
        /// Bring a range into the cache.
        CACHE = 5,
        /// Zero a range.
        WRITE_ZEROES = 6,
        /// Tell the states of a range.
        BLOCK_STATUS = 7,
    }
}

codes! {
    /// "Structured reply types".
    ChunkType(u16) {
        /// Nothing but flags.
        NONE = 0,
        /// Bytes read.
        OFFSET_DATA = 1,
        /// Zeros read.
        OFFSET_HOLE = 2,
        /// Extents of one metadata context.
        BLOCK_STATUS = 5,
        /// The request failed.
        ERROR = 0x8001,
        /// The request failed at an offset.
        ERROR_OFFSET = 0x8002,
    }
}

impl ChunkType {
    /// True if the request failed.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0 & 0x8000 != 0
    }
}

codes! {
    /// "Error values" of a reply; 0 is success.
    Errno(u32) {
        /// Not permitted: the export is read-only.
        PERM = 1,
        /// The device failed.
        IO = 5,
        /// Out of memory.
        NOMEM = 12,
        /// The request makes no sense.
        INVAL = 22,
        /// No room, or past the end of the export.
        NOSPC = 28,
        /// The request is too large.
        OVERFLOW = 75,
        /// FAST_ZERO cannot be fast.
        NOTSUP = 95,
        /// The server is going away.
        SHUTDOWN = 108,
    }
}

/// The client's name for a request in flight.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Cookie(pub u64);

/// Reads fields off the front of a message.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(front)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}
