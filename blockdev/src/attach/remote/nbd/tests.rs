use std::os::unix::net::UnixListener;
use std::thread;

use super::*;

const INFO: [u8; 32] = [
    0, 3, 0xe8, 0x89, 4, 0x55, 0x65, 0xa9, 0, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0, 12, // INFO to GO, 12 bytes
    0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0x23, // EXPORT: 65536 bytes, flags 0x123
];
const ACK: [u8; 20] = [0, 3, 0xe8, 0x89, 4, 0x55, 0x65, 0xa9, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0];

fn go(replies: &[&[u8]]) -> io::Result<ExportInfo> {
    read_go_replies(&mut replies.concat().as_slice())
}

/// A reply to GO of this kind with `len` bytes.
fn reply(kind: u32, len: u32) -> Vec<u8> {
    let mut bytes = ACK[..12].to_vec();
    bytes.extend(kind.to_be_bytes());
    bytes.extend(len.to_be_bytes());
    bytes.extend(vec![0; len.min(100_000) as usize]);
    bytes
}

#[test]
fn go_has_the_bytes_of_the_protocol() {
    assert_eq!(encode_go("ab"), *b"\0\0\0\x03IHAVEOPT\0\0\0\x07\0\0\0\x08\0\0\0\x02ab\0\0");
}

#[test]
fn requests_have_the_bytes_of_the_protocol() {
    let request =
        Request { command: Request::WRITE_ZEROES, flags: Request::FLAG_NO_HOLE, offset: 0x0102_0304_0506, len: 4096 };
    #[rustfmt::skip]
    let expected = [
        0x25, 0x60, 0x95, 0x13, 0, 2, 0, 6,
        0, 0, 0, 0, 0, 0, 0, 1,
        0, 0, 1, 2, 3, 4, 5, 6,
        0, 0, 0x10, 0,
    ];
    assert_eq!(request.encode(), expected);
}

#[test]
fn the_export_is_read_from_the_answer_to_go() {
    let info = go(&[&reply(3, 2), &INFO, &ACK]).unwrap();
    assert_eq!(info, ExportInfo { size_bytes: 65536, flags: 0x123 });
    assert!(info.is_read_only() && info.can_multi_conn());
    assert!(!ExportInfo { flags: !0x102, ..info }.is_read_only());
}

#[test]
fn bad_answers_to_go_are_errors() {
    let kind = |replies: &[&[u8]]| go(replies).unwrap_err().kind();
    assert_eq!(kind(&[&reply(1 << 31 | 6, 0)]), ErrorKind::NotFound);
    assert_eq!(kind(&[&reply(1 << 31 | 2, 4)]), ErrorKind::InvalidData);
    assert_eq!(kind(&[&ACK]), ErrorKind::InvalidData);
    assert_eq!(kind(&[&reply(3, u32::MAX)]), ErrorKind::InvalidData);
    for len in 0..INFO.len() {
        assert_eq!(kind(&[&INFO[..len]]), ErrorKind::UnexpectedEof);
    }
}

#[test]
fn unknown_error_numbers_are_io_errors() {
    assert_eq!(errno(28), Errno::NOSPC);
    assert_eq!(errno(108), Errno::SHUTDOWN);
    assert_eq!(errno(5), Errno::IO);
    assert_eq!(errno(u32::MAX), Errno::IO);
}

/// One exchange with a server that answers these bytes and hangs up.
fn answer(bytes: &[u8]) -> Result<(), RemoteError> {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(bytes).unwrap();
    theirs.shutdown(std::net::Shutdown::Write).unwrap();
    NbdDisk::new(vec![ours]).read(0, &mut [0; 4])
}

#[test]
fn answers_are_matched_to_requests() {
    let header = |error: u8, cookie: u8| [0x67, 0x44, 0x66, 0x98, 0, 0, 0, error, 0, 0, 0, 0, 0, 0, 0, cookie];
    answer(&[&header(0, 1)[..], b"data"].concat()).unwrap();
    assert!(matches!(answer(&header(28, 1)), Err(RemoteError::Refused(Errno::NOSPC))));
    assert!(matches!(answer(&[&header(0, 2)[..], b"data"].concat()), Err(RemoteError::Lost(_))), "another's answer");
    assert!(matches!(answer(&[&header(0, 1)[..], b"dat"].concat()), Err(RemoteError::Lost(_))), "cut off");
    assert!(matches!(answer(&[0; 20]), Err(RemoteError::Lost(_))), "no answer at all");
}

#[test]
fn another_volume_under_the_same_name_is_not_reconnected_to() {
    let socket = std::env::temp_dir().join(format!("silt-nbd-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&socket).unwrap();
    let server = thread::spawn(move || {
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"NBDMAGICIHAVEOPT\0\x03").unwrap();
            stream.read_exact(&mut vec![0; encode_go("a").len()]).unwrap();
            // Without multi-conn, so that one connection is all there is.
            let mut info = INFO;
            info[30..].copy_from_slice(&[0, 1]);
            stream.write_all(&[&info[..], &ACK].concat()).unwrap();
        }
    });
    let address = Address { socket: socket.clone(), export: "a".to_owned() };
    let (mut connector, _disk) = NbdConnector::start(address).unwrap();
    assert_eq!(connector.info, ExportInfo { size_bytes: 65536, flags: 1 });
    assert!(connector.connect().is_ok());
    connector.info.size_bytes += 1;
    assert!(connector.connect().is_err());
    server.join().unwrap();
    std::fs::remove_file(socket).unwrap();
}
