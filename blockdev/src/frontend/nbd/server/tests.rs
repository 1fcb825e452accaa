//! Whole connections: many, slow, vanishing, refused, and stopped in the middle.

mod tls;

use std::io::{Read, Write as _};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lsm_store::clock::SystemClock;

use super::*;
use crate::export::Zeroing;
use crate::frontend::memory::{MemoryExport, MemoryExports};
use crate::frontend::nbd::NbdUri;
use crate::frontend::nbd::client::{Client, ClientError, ClientOptions, list};
use crate::frontend::nbd::counters::Kind;
use crate::frontend::nbd::testing::{Bent, Gate, Raw, dial, request, server};
use crate::frontend::nbd::uri::Endpoint;
use crate::frontend::nbd::wire::{Command, CommandFlags, Errno, OptionCode, OptionReply};

fn client(server: &Server) -> Client {
    Client::from_socket(dial(server).into(), "vol", ClientOptions::default()).unwrap()
}

fn socket_path(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("silt-nbd-{}-{name}", std::process::id()))
}

#[test]
fn a_unix_socket_is_made_replaced_and_removed() {
    let path = socket_path("unix");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "left behind by a dead server");
    let server = server(Bent::new(1 << 20), Limits::default());
    server.listen_unix(&path).unwrap();
    let metadata = std::fs::metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    assert!(server.listen_unix(&path).is_err(), "it is in use");
    let endpoint = Endpoint::Unix(path.clone());
    assert_eq!(list(&endpoint, ClientOptions::default()).unwrap(), ["vol"]);
    let uri = NbdUri { endpoint, export: "vol".into() };
    let client = Client::connect(&uri, ClientOptions::default()).unwrap();
    client.write(0, b"hello", true).unwrap();
    let peers: Vec<_> = server.connections().into_iter().map(|info| info.peer).collect();
    assert!(peers.iter().any(|peer| matches!(peer, Peer::Unix { pid, .. } if *pid == std::process::id() as i32)));
    server.stop();
    assert!(!path.exists());
}

#[test]
fn tcp_works_and_unknown_names_are_refused() {
    let server = server(Bent::new(1 << 20), Limits::default());
    let address = server.listen_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    let uri: NbdUri = format!("nbd://{address}/vol").parse().unwrap();
    let client = Client::connect(&uri, ClientOptions::default()).unwrap();
    client.write(123, b"hello", false).unwrap();
    assert_eq!(client.read(123, 5).unwrap(), b"hello");
    let unknown = NbdUri { export: "other".into(), ..uri };
    let error = Client::connect(&unknown, ClientOptions::default()).unwrap_err();
    assert!(matches!(error, ClientError::Refused { reply: OptionReply::ERR_UNKNOWN, .. }), "{error:?}");
}

#[test]
fn everything_works_with_both_styles_of_reply() {
    for structured in [false, true] {
        let server = server(Bent::new(64 << 20), Limits::default());
        let options = ClientOptions { structured, ..ClientOptions::default() };
        let client = Client::from_socket(dial(&server).into(), "vol", options).unwrap();
        let large: Vec<u8> = (0..(33 << 20) + 77).map(|index: u32| (index / 1000) as u8).collect();
        client.write(5000, &large, false).unwrap();
        assert!(client.read(5000, large.len()).unwrap() == large);
        client.zero(8192, 40960, Zeroing::Allocated, true).unwrap();
        client.trim(16384, 4096).unwrap();
        assert_eq!(client.read(8192, 40960).unwrap(), vec![0; 40960]);
        client.flush().unwrap();
        client.prefetch(0, 64 << 20).unwrap();
        assert_eq!(client.has_block_status(), structured);
        if structured {
            let lens: Vec<_> = client.block_status(4096, 32768).unwrap().iter().map(|extent| extent.len).collect();
            assert_eq!(lens, [4096, 8192, 4096, 16384]);
        }
        let error = client.read((64 << 20) - 1, 2).unwrap_err();
        assert!(matches!(error, ClientError::Server { error: Errno::INVAL }));
    }
}

#[test]
fn exports_grow_under_new_clients() {
    let memory = MemoryExport::new(1 << 20);
    let server =
        Server::new(MemoryExports::single("vol", memory.clone()), Arc::new(SystemClock::new()), Limits::default())
            .unwrap();
    let early = client(&server);
    memory.resize(2 << 20);
    assert_eq!((early.size_bytes(), client(&server).size_bytes()), (1 << 20, 2 << 20));
    early.write((2 << 20) - 1, b"x", false).expect("an open connection may use the room as well");
}

#[test]
fn slow_reads_are_overtaken() {
    let mut export = Bent::new(1 << 20);
    let gate = Gate::new();
    export.gate = Some(Arc::clone(&gate));
    let server = server(export, Limits::default());
    let mut raw = Raw::enter(dial(&server), false);
    raw.send(&request(Command::READ, CommandFlags::NONE, 1, 0, 512));
    raw.send(&request(Command::READ, CommandFlags::NONE, 2, 8192, 512));
    assert_eq!(raw.receive().cookie, 2, "a hit does not wait for a miss");
    raw.bytes(512);
    raw.send(&request(Command::FLUSH, CommandFlags::NONE, 3, 0, 0));
    assert_eq!(raw.receive().cookie, 3, "nor does what comes later");
    gate.open();
    assert_eq!(raw.receive().cookie, 1);
}

#[test]
fn a_peer_that_does_not_read_is_not_read_from_and_then_dropped() {
    let export = Bent::new(8 << 20);
    let started = Arc::clone(&export.reads_started);
    let limits = Limits { requests_max: 4, slow_reader_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = server(export, limits);
    let mut raw = Raw::enter(dial(&server), false);
    for cookie in 0..200 {
        raw.send(&request(Command::READ, CommandFlags::NONE, cookie, 4096, 1 << 20));
    }
    while !server.connections().is_empty() {
        std::thread::yield_now();
    }
    let started = started.load(Ordering::SeqCst);
    assert!((1..=4).contains(&started), "{started} reads of 1 MiB for a peer that takes none");
    assert!(raw.is_at_end());
}

#[test]
fn queued_bytes_are_bounded_but_one_reply_always_goes() {
    let export = Bent::new(64 << 20);
    let started = Arc::clone(&export.reads_started);
    let limits = Limits { queued_bytes_max: 1 << 20, ..Limits::default() };
    let server = server(export, limits);
    let mut raw = Raw::enter(dial(&server), false);
    for cookie in 0..3 {
        raw.send(&request(Command::READ, CommandFlags::NONE, cookie, 4096, 32 << 20));
    }
    for cookie in 0..3 {
        assert_eq!(raw.receive().cookie, cookie);
        assert!(started.load(Ordering::SeqCst) as u64 <= cookie + 1, "one at a time");
        raw.bytes(32 << 20);
    }
}

#[test]
fn a_peer_that_writes_before_it_reads_is_not_left_waiting() {
    let server = server(Bent::new(64 << 20), Limits::default());
    let mut raw = Raw::enter(dial(&server), false);
    raw.send(&request(Command::READ, CommandFlags::NONE, 1, 4096, 8 << 20));
    let payload = vec![3; 8 << 20];
    raw.send(&request(Command::WRITE, CommandFlags::NONE, 2, 16 << 20, payload.len() as u32));
    raw.send(&payload);
    assert_eq!(raw.receive().cookie, 1);
    raw.bytes(8 << 20);
    let reply = raw.receive();
    assert_eq!((reply.cookie, reply.error), (2, 0));
}

#[test]
fn handshakes_do_not_last_for_ever() {
    let limits = Limits { handshake_timeout: Duration::from_millis(30), ..Limits::default() };
    let server = server(Bent::new(1 << 20), limits);
    let mut silent = dial(&server);
    let mut raw = Raw::greet(dial(&server));
    assert_eq!(silent.read_to_end(&mut Vec::new()).unwrap(), 18, "the greeting and then the end");
    assert!(raw.is_at_end());
}

#[test]
fn one_connection_too_many_is_told_so() {
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let server = server(Bent::new(1 << 20), limits);
    let first = client(&server);
    let options = ClientOptions::default();
    let error = Client::from_socket(dial(&server).into(), "vol", options).unwrap_err();
    assert!(matches!(error, ClientError::Refused { reply: OptionReply::ERR_POLICY, .. }), "{error:?}");
    first.write(0, b"still here", false).unwrap();
    let crowd: Vec<_> = (0..REFUSALS_MAX + 20).map(|_| dial(&server)).collect();
    assert!(server.connections().len() <= 1 + REFUSALS_MAX);
    drop(crowd);
}

#[test]
fn hundreds_of_idle_connections_cost_one_busy_one_nothing() {
    let limits = Limits { idle_after: Duration::from_millis(1), ..Limits::default() };
    let server = server(Bent::new(16 << 20), limits);
    let idle: Vec<_> = (0..300).map(|_| client(&server)).collect();
    let busy = client(&server);
    for round in 0_u64..200 {
        let data = vec![round as u8; 4096];
        busy.write(round * 4096, &data, round % 50 == 0).unwrap();
        assert_eq!(busy.read(round * 4096, 4096).unwrap(), data);
    }
    assert_eq!(server.connections().len(), 301);
    for (index, client) in (0_u64..).zip(&idle) {
        client.write(index, b"!", false).expect("idle connections wake up");
    }
    let (name, counters) = server.export_counters().remove(0);
    assert_eq!(name, "vol");
    drop((idle, busy));
    assert_eq!(counters.kind(Kind::Write).ops.load(Ordering::Relaxed), 500);
    assert_eq!(counters.kind(Kind::Read).bytes.load(Ordering::Relaxed), 200 * 4096);
    server.stop();
    let (_, after) = server.export_counters().remove(0);
    assert_eq!(after.kind(Kind::Write).ops.load(Ordering::Relaxed), 500, "ended connections still count");
}

#[test]
fn a_vanishing_client_harms_nobody() {
    let server = server(Bent::new(16 << 20), Limits::default());
    let steady = client(&server);
    for cut in [1, 27, 28, 100, 5000, 300_000] {
        let mut raw = Raw::enter(dial(&server), true);
        let mut bytes = request(Command::READ, CommandFlags::NONE, 9, 0, 1 << 20);
        bytes.extend(request(Command::WRITE, CommandFlags::NONE, 1, 1 << 20, 1 << 20));
        bytes.resize(28 + cut, 7);
        raw.send(&bytes);
        drop(raw);
        steady.write(0, b"steady", false).unwrap();
        assert_eq!(steady.read(0, 6).unwrap(), b"steady");
    }
}

/// CVE-2024-7409 (qemu): a client in its handshake while the server closed made it use a socket that was gone.
#[test]
fn stopping_ends_connections_in_every_state() {
    let mut export = Bent::new(16 << 20);
    let gate = Gate::new();
    export.gate = Some(Arc::clone(&gate));
    let limits = Limits { drain_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = server(export, limits);
    let mut fresh = dial(&server);
    let mut haggling = Raw::greet(dial(&server));
    assert_eq!(haggling.option(OptionCode::STRUCTURED_REPLY, &[]), [OptionReply::ACK]);
    let mut idle = Raw::enter(dial(&server), false);
    let mut in_write = Raw::enter(dial(&server), false);
    in_write.send(&request(Command::WRITE, CommandFlags::NONE, 1, 0, 1 << 20));
    let mut in_read = Raw::enter(dial(&server), false);
    in_read.send(&request(Command::READ, CommandFlags::NONE, 2, 0, 512));
    in_read.send(&request(Command::FLUSH, CommandFlags::NONE, 3, 0, 0));
    assert_eq!(in_read.receive().cookie, 3, "the read before it is in flight now");
    let mut unread = Raw::enter(dial(&server), false);
    unread.send(&request(Command::READ, CommandFlags::NONE, 4, 4096, 8 << 20));

    std::thread::scope(|scope| {
        scope.spawn(|| server.stop());
        gate.open();
        assert_eq!(in_read.receive().cookie, 2, "what is in flight is answered");
        assert_eq!(in_read.bytes(512), [0; 512]);
    });
    assert!(server.connections().is_empty());
    for raw in [&mut haggling, &mut idle, &mut in_write, &mut in_read, &mut unread] {
        assert!(raw.is_at_end());
    }
    assert_eq!(fresh.read_to_end(&mut Vec::new()).unwrap_or(18), 18);
    let mut late = dial(&server);
    assert_eq!(late.read(&mut [0; 18]).unwrap(), 0, "nobody is let in any more");
}

#[test]
fn requests_in_the_same_packet_as_the_handshake_are_served() {
    let server = server(Bent::new(1 << 20), Limits::default());
    let mut stream: UnixStream = dial(&server);
    let mut bytes = 3_u32.to_be_bytes().to_vec();
    bytes.extend(super::super::wire::negotiation::OptionHeader::encode_with(OptionCode::EXPORT_NAME, b"vol"));
    bytes.extend(request(Command::FLUSH, CommandFlags::NONE, 7, 0, 0));
    stream.write_all(&bytes).unwrap();
    let mut answer = [0; 18 + 10 + 16];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[36..], 7_u64.to_be_bytes());
}
