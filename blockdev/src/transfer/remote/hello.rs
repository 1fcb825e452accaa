//! What a sender says first: which volume it sends to. No I/O but of a reader's bytes.

use std::io::{self, Read};

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::super::error::StreamError;
use crate::name::VolumeName;

const MAGIC: [u8; 8] = *b"SiltSend";
const VERSION: u32 = 1;

/// Then the volume's name.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct HelloV1 {
    magic: [u8; 8],
    version: U32,
    volume_name_bytes: u8,
    reserved: [u8; 3],
}

pub(super) fn hello(volume: &VolumeName) -> Vec<u8> {
    let name = volume.as_str().as_bytes();
    let volume_name_bytes = u8::try_from(name.len()).expect("names of volumes are short");
    let head = HelloV1 { magic: MAGIC, version: VERSION.into(), volume_name_bytes, reserved: [0; 3] };
    [head.as_bytes(), name].concat()
}

/// The volume that a sender names; the inner error is for the sender to hear.
pub(super) fn read(from: &mut impl Read) -> io::Result<Result<VolumeName, StreamError>> {
    let mut head = [0; size_of::<HelloV1>()];
    from.read_exact(&mut head)?;
    let head: HelloV1 = zerocopy::transmute!(head);
    if head.magic != MAGIC {
        return Ok(Err(StreamError::NotAStream));
    }
    if head.version.get() != VERSION {
        let (what, found) = ("hello of version", head.version.get());
        return Ok(Err(StreamError::Unsupported { what, found }));
    }
    let mut name = vec![0; head.volume_name_bytes.into()];
    from.read_exact(&mut name)?;
    let name = std::str::from_utf8(&name).ok().and_then(|name| name.parse().ok());
    let is_plain = head.reserved == [0; 3];
    Ok(name.filter(|_| is_plain).ok_or(StreamError::NotAStream))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &[u8]) -> io::Result<Result<VolumeName, StreamError>> {
        read(&mut &bytes[..])
    }

    #[test]
    fn a_hello_is_what_the_format_says() {
        let vm: VolumeName = "vm".parse().unwrap();
        let bytes = hello(&vm);
        assert_eq!(bytes, *b"SiltSend\x01\0\0\0\x02\0\0\0vm");
        assert_eq!(read_all(&bytes).unwrap().unwrap(), vm);
        for len in 0..bytes.len() {
            assert_eq!(read_all(&bytes[..len]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{len}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let refused = |bytes: &[u8]| read_all(bytes).unwrap().unwrap_err();
        assert_eq!(refused(b"GET / HTTP/1.1\r\n"), StreamError::NotAStream);
        assert_eq!(refused(b"SiltSend\x01\0\0\0\x02\0\0\0v/"), StreamError::NotAStream);
        assert_eq!(refused(b"SiltSend\x01\0\0\0\x02\0\0\0\xff\xff"), StreamError::NotAStream);
        assert_eq!(refused(b"SiltSend\x01\0\0\0\0\0\0\0"), StreamError::NotAStream);
        assert_eq!(refused(b"SiltSend\x01\0\0\0\x02\0\x01\0vm"), StreamError::NotAStream);
        let newer = StreamError::Unsupported { what: "hello of version", found: 2 };
        assert_eq!(refused(b"SiltSend\x02\0\0\0\x02\0\0\0vm"), newer);
    }
}
