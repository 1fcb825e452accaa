#![cfg(target_endian = "little")] // Netlink speaks the machine's byte order.

use std::fs::File;
use std::io::Cursor;
use std::os::fd::AsFd;

use neli::FromBytesWithInput;

use super::*;

fn encode(message: &Message) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    message.to_bytes(&mut bytes).unwrap();
    bytes.into_inner()
}

fn decode(bytes: &[u8]) -> Result<Message, DeError> {
    Message::from_bytes_with_input(&mut Cursor::new(bytes), bytes.len())
}

#[test]
fn connect_has_the_bytes_the_driver_reads() {
    let file = File::open("/dev/null").unwrap();
    let fd = file.as_raw_fd().to_le_bytes();
    let sockets = [file.as_fd(), file.as_fd()];
    let message = connect(&Backend {
        identifier: "silt:/d/a",
        sockets: &sockets,
        size_bytes: 1 << 40,
        server_flags: 0x0165,
        dead_timeout: Duration::from_secs(120),
    });
    #[rustfmt::skip]
    let expected = [
        &[1, 1, 0, 0][..],                            // command CONNECT, version 1, reserved
        &[12, 0, 2, 0], &(1u64 << 40).to_le_bytes(),  // SIZE_BYTES
        &[12, 0, 3, 0], &512u64.to_le_bytes(),        // BLOCK_SIZE_BYTES
        &[12, 0, 4, 0], &3600u64.to_le_bytes(),       // TIMEOUT
        &[12, 0, 5, 0], &0x0165u64.to_le_bytes(),     // SERVER_FLAGS
        &[12, 0, 6, 0], &0u64.to_le_bytes(),          // CLIENT_FLAGS
        &[28, 0, 7, 0x80],                            // SOCKETS, nested
        &[12, 0, 1, 0x80], &[8, 0, 1, 0], &fd,        // SOCK_ITEM, nested: SOCK_FD
        &[12, 0, 1, 0x80], &[8, 0, 1, 0], &fd,
        &[12, 0, 8, 0], &120u64.to_le_bytes(),        // DEAD_CONN_TIMEOUT
        &[14, 0, 10, 0], b"silt:/d/a\0", &[0, 0],     // BACKEND_IDENTIFIER, padded to 4 bytes
    ]
    .concat();
    assert_eq!(encode(&message.unwrap()), expected);
}

#[test]
fn a_single_connection_has_no_request_timeout() {
    let file = File::open("/dev/null").unwrap();
    let (sockets, dead_timeout) = ([file.as_fd()], Duration::from_secs(1));
    let message =
        connect(&Backend { identifier: "a", sockets: &sockets, size_bytes: 4096, server_flags: 1, dead_timeout });
    let message = message.unwrap();
    let timeout = message.attrs().get_attr_handle().get_attr_payload_as::<u64>(NbdAttribute::TimeoutSeconds);
    assert_eq!(timeout.unwrap(), 0);
}

#[test]
fn the_other_requests_have_the_bytes_the_driver_reads() {
    let file = File::open("/dev/null").unwrap();
    let fd = file.as_raw_fd().to_le_bytes();
    assert_eq!(encode(&disconnect(5).unwrap()), [2, 1, 0, 0, 8, 0, 1, 0, 5, 0, 0, 0]);
    assert_eq!(encode(&status(0x0102).unwrap()), [5, 1, 0, 0, 8, 0, 1, 0, 2, 1, 0, 0]);
    #[rustfmt::skip]
    let expected = [
        &[3, 1, 0, 0][..],
        &[8, 0, 1, 0, 5, 0, 0, 0],
        &[8, 0, 10, 0], b"abc\0",
        &[16, 0, 7, 0x80], &[12, 0, 1, 0x80], &[8, 0, 1, 0], &fd,
    ]
    .concat();
    assert_eq!(encode(&reconfigure(5, "abc", &[file.as_fd()]).unwrap()), expected);
}

/// The driver answers STATUS without the nested flag.
const STATUS_ANSWER: [u8; 48] = [
    5, 1, 0, 0, // command STATUS
    44, 0, 9, 0, // DEVICE_LIST
    20, 0, 1, 0, 8, 0, 1, 0, 3, 0, 0, 0, 5, 0, 2, 0, 1, 0, 0, 0, // number 3, connected
    20, 0, 1, 0, 8, 0, 1, 0, 4, 0, 0, 0, 5, 0, 2, 0, 0, 0, 0, 0, // number 4, not connected
];

#[test]
fn answers_are_decoded() {
    let connected = decode(&[1, 1, 0, 0, 8, 0, 1, 0, 9, 0, 0, 0]).unwrap();
    assert_eq!(decode_index(&connected).unwrap(), 9);
    let dead = decode(&[4, 1, 0, 0, 8, 0, 1, 0, 2, 0, 0, 0]).unwrap();
    assert_eq!(*dead.cmd(), NbdCommand::LinkDead);
    assert_eq!(decode_index(&dead).unwrap(), 2);
    assert_eq!(decode_status(&decode(&STATUS_ANSWER).unwrap()).unwrap(), [(3, true), (4, false)]);
}

#[test]
fn damaged_answers_are_errors() {
    for len in 0..STATUS_ANSWER.len() {
        // Cutting off the padding of the last attribute takes nothing away.
        let whole = decode(&STATUS_ANSWER[..len]).and_then(|message| decode_status(&message));
        assert!(whole.is_err() || len > 44, "{len} bytes");
    }
    for (at, bit) in (0..STATUS_ANSWER.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut damaged = STATUS_ANSWER;
        damaged[at] ^= 1 << bit;
        // Right or an error, never a panic.
        let _answer = decode(&damaged).and_then(|message| decode_status(&message));
    }
}
