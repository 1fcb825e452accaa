use std::io::Cursor;

use super::*;

fn read_all(bytes: &[u8]) -> Result<Option<Frame>, Error> {
    read(&mut Cursor::new(bytes), 1024)
}

#[test]
fn frames_have_these_bytes() {
    let mut stream = Vec::new();
    write_message(&mut stream, b"{}").unwrap();
    write_data(&mut stream, 0x0102, b"abc").unwrap();
    assert_eq!(stream, b"\x02\0\0\0\x01\0\0\0{}\x0b\0\0\0\x02\0\0\0\x02\x01\0\0\0\0\0\0abc");

    let mut stream = Cursor::new(stream);
    assert_eq!(read(&mut stream, 1024).unwrap(), Some(Frame::Message(b"{}".to_vec())));
    assert_eq!(read(&mut stream, 1024).unwrap(), Some(Frame::Data(Chunk { offset: 0x0102, data: b"abc".to_vec() })));
    assert_eq!(read(&mut stream, 1024).unwrap(), None);
}

#[test]
fn every_truncation_is_an_error() {
    let mut stream = Vec::new();
    write_data(&mut stream, 7, &[9; 100]).unwrap();
    assert!(read_all(&stream[..0]).unwrap().is_none());
    for len in 1..stream.len() {
        assert!(matches!(read_all(&stream[..len]), Err(Error::Stream(_))), "cut at {len}");
    }
}

#[test]
fn a_long_message_that_ends_early_is_an_error() {
    let mut stream = header(KIND_MESSAGE, MESSAGE_BYTES_MAX).to_vec();
    stream.extend_from_slice(b"short");
    assert!(matches!(read(&mut Cursor::new(stream), MESSAGE_BYTES_MAX), Err(Error::Stream(_))));
}

#[test]
fn limits_hold_before_the_payload_is_read() {
    let cases: [(u8, u32); 5] = [
        (KIND_MESSAGE, 1025),
        (KIND_MESSAGE, u32::MAX),
        (KIND_DATA, 7),
        (KIND_DATA, (DATA_BYTES_MAX + OFFSET_BYTES + 1) as u32),
        (3, 0),
    ];
    for (kind, len) in cases {
        let mut stream = len.to_le_bytes().to_vec();
        stream.extend_from_slice(&[kind, 0, 0, 0]);
        assert!(matches!(read_all(&stream), Err(Error::Protocol(_))), "kind {kind}, length {len}");
    }
}

#[test]
fn data_past_the_last_offset_is_an_error() {
    let mut stream = header(KIND_DATA, OFFSET_BYTES + 2).to_vec();
    stream.extend_from_slice(&(u64::MAX - 1).to_le_bytes());
    stream.extend_from_slice(b"ab");
    assert!(matches!(read_all(&stream), Err(Error::Protocol(_))));
}

#[test]
fn reserved_bytes_are_checked() {
    for position in 5..8 {
        let mut stream = header(KIND_MESSAGE, 0);
        stream[position] = 1;
        assert!(matches!(read_all(&stream), Err(Error::Protocol(_))), "byte {position}");
    }
}
