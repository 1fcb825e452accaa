//! The client against servers that err, lie and vanish, and many threads on one connection.

use std::io::{Read, Write as _};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use super::*;
use crate::export::BlockState;
use crate::frontend::nbd::Limits;
use crate::frontend::nbd::handshake::{Context, Demand, Description, Handshake};
use crate::frontend::nbd::testing::{Bent, dial, server};
use crate::frontend::nbd::wire::transmission::{
    ChunkHeader, ErrorPayload, HolePayload, SimpleReply, StatusDescriptor, encode_status,
};
use crate::frontend::nbd::wire::{ChunkFlags, ChunkType};

/// A server that shakes hands and then answers the first request with whatever `answer` makes of its cookie.
fn liar(answer: impl FnOnce(Cookie) -> Vec<u8> + Send + 'static) -> (UnixStream, JoinHandle<()>) {
    let (ours, mut stream) = UnixStream::pair().unwrap();
    let thread = std::thread::spawn(move || {
        let mut handshake = Handshake::new();
        let mut input = Vec::new();
        loop {
            stream.write_all(&handshake.take_output()).unwrap();
            let (used, demand) = handshake.handle_input(&input).unwrap();
            input.drain(..used);
            match demand {
                Demand::Contexts(_) => handshake.give_contexts(&[Context::Allocation]),
                Demand::Open(_) => {
                    let description = Description { size_bytes: 1 << 20, read_only: false };
                    handshake.give_export(Ok(description)).unwrap();
                    stream.write_all(&handshake.take_output()).unwrap();
                    break;
                }
                _ if used > 0 => {}
                _ => {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    input.extend(byte);
                }
            }
        }
        let mut request = [0; Request::BYTES];
        stream.read_exact(&mut request).unwrap();
        let request = Request::decode(&request).unwrap().unwrap();
        stream.write_all(&answer(request.cookie)).unwrap();
    });
    (ours, thread)
}

fn chunk(cookie: Cookie, kind: ChunkType, last: bool, payload: &[u8]) -> Vec<u8> {
    let header = ChunkHeader { flags: ChunkFlags::DONE.when(last), kind, cookie, len: payload.len() as u32 };
    [&header.encode()[..], payload].concat()
}

fn data(cookie: Cookie, last: bool, offset: u64, bytes: &[u8]) -> Vec<u8> {
    chunk(cookie, ChunkType::OFFSET_DATA, last, &[&offset.to_be_bytes()[..], bytes].concat())
}

fn hole(cookie: Cookie, last: bool, offset: u64, len: u32) -> Vec<u8> {
    chunk(cookie, ChunkType::OFFSET_HOLE, last, &HolePayload { offset, len }.encode())
}

fn error(cookie: Cookie, offset: Option<u64>) -> Vec<u8> {
    let mut out = Vec::new();
    ErrorPayload { error: Errno::IO, message: "broken", offset }.encode_chunk(cookie, &mut out);
    out
}

/// What a read of 1024 bytes at 4096 comes to.
fn read_of(structured: bool, answer: impl FnOnce(Cookie) -> Vec<u8> + Send + 'static) -> Result<Vec<u8>, ClientError> {
    let (stream, thread) = liar(answer);
    let options = ClientOptions { structured, ..ClientOptions::default() };
    let client = Client::from_socket(stream.into(), "vol", options).unwrap();
    let result = client.read(4096, 1024);
    thread.join().unwrap();
    result
}

#[test]
fn chunks_in_any_order_make_a_read() {
    let data = read_of(true, |cookie| {
        let chunks = [
            data(cookie, false, 4096 + 768, &[2; 256]),
            data(cookie, false, 4096, &[1; 512]),
            hole(cookie, false, 4096 + 512, 256),
        ];
        [chunks.concat(), chunk(cookie, ChunkType::NONE, true, &[])].concat()
    });
    assert_eq!(data.unwrap(), [vec![1; 512], vec![0; 256], vec![2; 256]].concat());
}

/// CVE-2022-0485 (nbdcopy): a read that failed was taken for one that gave zeros.
#[test]
fn a_failed_read_gives_no_bytes() {
    let simple = |cookie| SimpleReply { error: Some(Errno::IO), cookie }.encode().to_vec();
    let failures = [
        read_of(false, simple),
        read_of(true, simple),
        read_of(true, |cookie| error(cookie, None)),
        read_of(true, |cookie| [data(cookie, false, 4096, &[1; 1024]), error(cookie, None)].concat()),
        read_of(true, |cookie| [data(cookie, false, 4096, &[1; 512]), error(cookie, Some(4608))].concat()),
    ];
    for failure in failures {
        assert!(matches!(failure, Err(ClientError::Server { error: Errno::IO })), "{failure:?}");
    }
}

#[test]
fn replies_that_do_not_fit_end_the_connection() {
    let lies: [fn(Cookie) -> Vec<u8>; 14] = [
        |cookie| data(cookie, true, 4096, &[1; 1023]),
        |cookie| chunk(cookie, ChunkType::NONE, true, &[]),
        |cookie| data(cookie, true, 4096, &[1; 1025]),
        |cookie| data(cookie, true, 4095, &[1; 1024]),
        |cookie| data(cookie, true, u64::MAX, &[1; 1024]),
        |cookie| [data(cookie, false, 4096, &[1; 1024]), hole(cookie, true, 5000, 8)].concat(),
        |cookie| [hole(cookie, false, 5000, 120), data(cookie, true, 4096, &[1; 1024])].concat(),
        |cookie| hole(cookie, true, 4096, 0),
        |cookie| chunk(cookie, ChunkType::OFFSET_DATA, true, &[0; 7]),
        |cookie| chunk(cookie, ChunkType::ERROR, true, &[0; 6]),
        |cookie| chunk(cookie, ChunkType(9), true, &[]),
        |cookie| data(Cookie(cookie.0 + 1), true, 4096, &[1; 1024]),
        |cookie| SimpleReply { error: None, cookie }.encode().to_vec(),
        |_| vec![0; 20],
    ];
    for (index, lie) in lies.into_iter().enumerate() {
        let result = read_of(true, lie);
        assert!(matches!(result, Err(ClientError::Disconnected(_))), "{index}: {result:?}");
    }
}

#[test]
fn a_huge_chunk_is_refused_before_it_is_stored() {
    let result = read_of(true, |cookie| {
        let header = ChunkHeader { flags: ChunkFlags::DONE, kind: ChunkType::ERROR, cookie, len: u32::MAX };
        header.encode().to_vec()
    });
    assert!(matches!(result, Err(ClientError::Disconnected(_))));
}

#[test]
fn extents_beyond_the_request_are_cut() {
    let (stream, thread) = liar(|cookie| {
        let extents = [StatusDescriptor { len: 4096, flags: 3 }, StatusDescriptor { len: u32::MAX, flags: 1 }];
        let mut payload = Vec::new();
        encode_status(1, &extents, &mut payload);
        chunk(cookie, ChunkType::BLOCK_STATUS, true, &payload)
    });
    let client = Client::from_socket(stream.into(), "vol", ClientOptions::default()).unwrap();
    let extents = client.block_status(0, 8192).unwrap();
    let extent = |state| StatusExtent { len: 4096, state };
    assert_eq!(extents, [extent(BlockState::Hole), extent(BlockState::Data)]);
    thread.join().unwrap();
}

#[test]
fn a_lost_connection_fails_everything_after_it() {
    let (stream, thread) = liar(|_| Vec::new());
    let client = Client::from_socket(stream.into(), "vol", ClientOptions::default()).unwrap();
    let error = client.flush().unwrap_err();
    assert!(error.is_connection_lost() && matches!(error, ClientError::Disconnected(_)));
    assert!(client.write(0, b"x", false).unwrap_err().is_connection_lost());
    thread.join().unwrap();
}

#[test]
fn a_silent_server_is_given_up() {
    let (stream, _other) = UnixStream::pair().unwrap();
    let options = ClientOptions { silence_max: Some(Duration::from_millis(10)), ..ClientOptions::default() };
    let error = Client::from_socket(stream.into(), "vol", options).unwrap_err();
    assert!(matches!(error, ClientError::Disconnected(loss) if matches!(*loss, Loss::Silent)));
}

#[test]
fn many_threads_share_a_connection() {
    let server = server(Bent::new(64 << 20), Limits::default());
    let client = Client::from_socket(dial(&server).into(), "vol", ClientOptions::default()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let client = &client;
            scope.spawn(move || {
                for round in 0..60_u64 {
                    let offset = (thread * 60 + round) * 70_000;
                    let data: Vec<u8> = (0..69_000).map(|index| (index + thread * 31 + round) as u8).collect();
                    client.write(offset, &data, false).unwrap();
                    assert!(client.read(offset, data.len()).unwrap() == data, "thread {thread} round {round}");
                }
            });
        }
    });
}

#[test]
fn ranges_that_are_read_together_come_in_their_order() {
    let server = server(Bent::new(1 << 20), Limits::default());
    let client = Client::from_socket(dial(&server).into(), "vol", ClientOptions::default()).unwrap();
    let data: Vec<u8> = (0..1 << 20).map(|index| (index / 999) as u8).collect();
    client.write(0, &data, false).unwrap();
    let ranges: Vec<(u64, u32)> = (0..300).map(|step| (step * 7919 % 1_000_000, 1 + step as u32 * 100)).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let read = client.read_many(&ranges).unwrap();
                let expected = ranges.iter().map(|&(offset, len)| &data[offset as usize..][..len as usize]);
                assert!(read.iter().map(Vec::as_slice).eq(expected));
            });
        }
    });
    let beyond = client.read_many(&[(0, 5), (1 << 20, 1), (7, 3)]).unwrap_err();
    assert!(matches!(beyond, ClientError::Server { error: Errno::INVAL }), "{beyond}");
    assert_eq!(client.read_many(&[(7, 3)]).unwrap(), [&data[7..10]]);
    assert!(client.read_many(&[]).unwrap().is_empty());
}

#[test]
fn disconnecting_wakes_who_waits() {
    let (stream, other) = UnixStream::pair().unwrap();
    let exchange = Exchange::new(Socket::new(stream.into()), replies::Terms { structured: false, context: None });
    std::thread::scope(|scope| {
        let call = || exchange.call(request(Command::FLUSH, CommandFlags::NONE, 0, 0), &[], Expected::Nothing);
        let waiting = [scope.spawn(call), scope.spawn(call)];
        let mut requests = [0; 2 * Request::BYTES];
        (&other).read_exact(&mut requests).unwrap();
        exchange.close();
        for thread in waiting {
            assert!(thread.join().unwrap().unwrap_err().is_connection_lost());
        }
    });
}
