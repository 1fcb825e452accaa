//! Connections under TLS: as good as without, and closed to everything else.

use std::io::ErrorKind;
use std::net::TcpStream;

use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};

use super::*;
use crate::frontend::nbd::testing::Secured;
use crate::frontend::nbd::wire::negotiation::{InfoRequest, OptionHeader};
use crate::tls::testing::Authority;

type TlsRaw = Raw<Secured>;

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A server of `exports` under TLS, with its address and authority.
fn secured(test: &str, exports: Bent, limits: Limits) -> (Server, SocketAddr, Authority) {
    let authority = Authority::new(test);
    let server = server(exports, limits);
    let address = server.listen_tls(loopback(), authority.tls(None)).unwrap();
    (server, address, authority)
}

fn tls13(authority: &Authority) -> ClientConfig {
    authority.client(&[&TLS13], None)
}

/// That the server still serves somebody else.
fn check_serves(address: SocketAddr, authority: &Authority) {
    let mut raw = TlsRaw::secure(address, tls13(authority)).open(false);
    raw.send(&request(Command::FLUSH, CommandFlags::NONE, 77, 0, 0));
    assert_eq!(raw.receive().cookie, 77);
}

#[test]
fn both_versions_carry_large_writes_and_reads() {
    for version in [&TLS12, &TLS13] {
        let (_server, address, authority) = secured("versions", Bent::new(16 << 20), Limits::default());
        let mut raw = TlsRaw::secure(address, authority.client(&[version], None)).open(true);
        let data: Vec<u8> = (0..8_u32 << 20).map(|index| (index / 999) as u8).collect();
        raw.send(&request(Command::WRITE, CommandFlags::FUA, 1, 5000, data.len() as u32));
        raw.send(&data);
        assert_eq!(raw.receive().error, 0);
        raw.send(&request(Command::READ, CommandFlags::DF, 2, 5000, data.len() as u32));
        let (header, payload) = raw.receive().chunk.unwrap();
        assert!(payload[8..] == data, "{header:?}");
        raw.send(&request(Command::DISC, CommandFlags::NONE, 3, 0, 0));
        assert_eq!(raw.stream.read(&mut [0]).unwrap(), 0, "TLS is closed, not cut off");
    }
}

/// TLS holds what it has decrypted: nobody may wait for a socket that has nothing more to give.
#[test]
fn many_requests_in_one_record_are_all_answered() {
    let mut export = Bent::new(1 << 20);
    let gate = Gate::new();
    export.gate = Some(Arc::clone(&gate));
    let limits = Limits { requests_max: 7, ..Limits::default() };
    let (_server, address, authority) = secured("one-record", export, limits);
    for held_back in [false, true] {
        let mut raw = TlsRaw::secure(address, tls13(&authority)).open(false);
        let mut requests = Vec::new();
        if held_back {
            // A read that takes its time: others are waited for together with it.
            requests.extend(request(Command::READ, CommandFlags::NONE, 1000, 0, 512));
        }
        let count = 500;
        (0..count).for_each(|cookie| requests.extend(request(Command::FLUSH, CommandFlags::NONE, cookie, 0, 0)));
        assert!(requests.len() < 16 << 10, "one record, and more than an idle connection has room for");
        raw.send(&requests);
        (0..count).for_each(|cookie| assert_eq!(raw.receive().cookie, cookie));
        if held_back {
            gate.open();
            assert_eq!(raw.receive().cookie, 1000);
        }
    }
}

#[test]
fn a_request_in_many_records_is_put_together() {
    let (_server, address, authority) = secured("many-records", Bent::new(1 << 20), Limits::default());
    let mut config = tls13(&authority);
    config.max_fragment_size = Some(32);
    let mut raw = TlsRaw::secure(address, config).open(false);
    let data: Vec<u8> = (0..100_000_u32).map(|index| (index / 7) as u8).collect();
    let bytes = [request(Command::WRITE, CommandFlags::NONE, 1, 77, data.len() as u32), data.clone()].concat();
    // The first of them one byte a record and a packet.
    for byte in &bytes[..300] {
        raw.send(&[*byte]);
        raw.stream.flush().unwrap();
    }
    raw.send(&bytes[300..]);
    assert_eq!(raw.receive().error, 0);
    raw.send(&request(Command::READ, CommandFlags::NONE, 2, 77, data.len() as u32));
    assert_eq!(raw.receive().cookie, 2);
    assert_eq!(raw.bytes(data.len()), data);
}

#[test]
fn a_peer_that_writes_before_it_reads_is_not_left_waiting() {
    let (_server, address, authority) = secured("full-duplex", Bent::new(64 << 20), Limits::default());
    let mut raw = TlsRaw::secure(address, tls13(&authority)).open(false);
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
fn a_peer_that_does_not_read_is_not_read_from_and_then_dropped() {
    let export = Bent::new(8 << 20);
    let started = Arc::clone(&export.reads_started);
    let limits = Limits { requests_max: 4, slow_reader_timeout: Duration::from_millis(100), ..Limits::default() };
    let (server, address, authority) = secured("slow-reader", export, limits);
    let mut raw = TlsRaw::secure(address, tls13(&authority)).open(false);
    for cookie in 0..200 {
        raw.send(&request(Command::READ, CommandFlags::NONE, cookie, 4096, 4 << 20));
    }
    wait_until_alone(&server);
    let started = started.load(Ordering::SeqCst);
    assert!((1..=8).contains(&started), "{started} reads of 4 MiB for a peer that takes none");
}

fn wait_until_alone(server: &Server) {
    while !server.connections().is_empty() {
        std::thread::yield_now();
    }
}

#[test]
fn an_idle_connection_wakes_up() {
    let limits = Limits { idle_after: Duration::from_millis(1), ..Limits::default() };
    let (_server, address, authority) = secured("idle", Bent::new(1 << 20), limits);
    let mut raw = TlsRaw::secure(address, tls13(&authority)).open(false);
    for cookie in 0..20 {
        SystemClock::new().sleep(Duration::from_millis(5));
        raw.stream.conn.refresh_traffic_keys().unwrap();
        raw.send(&request(Command::FLUSH, CommandFlags::NONE, cookie, 0, 0));
        assert_eq!(raw.receive().cookie, cookie);
    }
}

#[test]
fn a_client_without_tls_gets_nothing() {
    let (_server, address, authority) = secured("in-clear", Bent::new(1 << 20), Limits::default());
    let mut raw = Raw::greet(TcpStream::connect(address).unwrap());
    let go = InfoRequest { name: "vol", wants: vec![] }.encode();
    for (option, data) in [(OptionCode::LIST, &[][..]), (OptionCode::GO, &go), (OptionCode::INFO, &go)] {
        assert_eq!(raw.option(option, data), [OptionReply::ERR_TLS_REQD]);
    }
    raw.send(&OptionHeader::encode_with(OptionCode::EXPORT_NAME, b"vol"));
    assert!(raw.is_at_end());
    check_serves(address, &authority);
}

#[test]
fn a_listener_without_tls_offers_none() {
    let server = server(Bent::new(1 << 20), Limits::default());
    let address = server.listen_tcp(loopback()).unwrap();
    let mut raw = Raw::greet(TcpStream::connect(address).unwrap());
    assert_eq!(raw.option(OptionCode::STARTTLS, &[]), [OptionReply::ERR_POLICY]);
    assert_eq!(raw.option(OptionCode::LIST, &[]), [OptionReply::SERVER, OptionReply::ACK]);
}

/// CVE-2011-0411 and its kin: what an attacker puts behind STARTTLS must not count as said by the client.
#[test]
fn what_is_injected_behind_starttls_is_never_answered() {
    let (_server, address, authority) = secured("injected", Bent::new(1 << 20), Limits::default());
    let starttls = OptionHeader::encode_with(OptionCode::STARTTLS, &[]);
    let list = OptionHeader::encode_with(OptionCode::LIST, &[]);
    let mut raw = Raw::greet(TcpStream::connect(address).unwrap());
    raw.send(&[starttls.clone(), list.clone()].concat());
    let mut heard = Vec::new();
    let _ = raw.stream.read_to_end(&mut heard);
    assert_eq!(heard, b"", "not even an acknowledgement");

    let mut raw = Raw::greet(TcpStream::connect(address).unwrap());
    assert_eq!(raw.option(OptionCode::STARTTLS, &[]), [OptionReply::ACK]);
    raw.send(&list);
    let _ = raw.stream.read_to_end(&mut heard);
    assert!(heard.first().is_none_or(|first| *first == 21), "at most an alert of TLS: {heard:?}");
    check_serves(address, &authority);
}

/// A peer past the acknowledgement of STARTTLS that then says something else than TLS.
fn acknowledged(address: SocketAddr) -> Raw<TcpStream> {
    let mut raw = Raw::greet(TcpStream::connect(address).unwrap());
    assert_eq!(raw.option(OptionCode::STARTTLS, &[]), [OptionReply::ACK]);
    raw
}

#[test]
fn garbage_in_place_of_tls_harms_nobody() {
    let (server, address, authority) = secured("garbage", Bent::new(1 << 20), Limits::default());
    let huge_record = [&[22, 3, 1, 0xff, 0xff][..], &[0; 100]].concat();
    let empty_records = [20, 3, 3, 0, 0].repeat(10_000);
    let alerts = [21, 3, 3, 0, 2, 1, 0].repeat(10_000);
    let huge_message = [&[22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff][..], &[0; 16380]].concat();
    let random: Vec<u8> = (0..100_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for garbage in [&huge_record, &empty_records, &alerts, &huge_message, &random, &b"GET / HTTP/1.0\r\n\r\n".to_vec()]
    {
        let mut raw = acknowledged(address);
        let _ = raw.stream.write_all(garbage);
        let _ = raw.stream.shutdown(std::net::Shutdown::Write);
        assert!(raw.is_at_end());
        check_serves(address, &authority);
    }
    wait_until_alone(&server);
}

#[test]
fn a_tls_handshake_does_not_last_for_ever() {
    let limits = Limits { handshake_timeout: Duration::from_millis(200), ..Limits::default() };
    let (server, address, authority) = secured("dripping", Bent::new(1 << 20), limits);
    let mut silent = acknowledged(address);
    let mut dripping = acknowledged(address);
    // The beginning of a handshake message of 60,000 bytes, and no more than a little of it.
    dripping.send(&[22, 3, 1, 0x10, 0, 1, 0, 0xea, 0x60]);
    let drip = std::thread::spawn(move || {
        while dripping.stream.write_all(&[0]).is_ok() {
            SystemClock::new().sleep(Duration::from_millis(10));
        }
    });
    check_serves(address, &authority);
    assert!(silent.is_at_end());
    drip.join().unwrap();
    wait_until_alone(&server);
}

#[test]
fn clients_that_vanish_harm_nobody() {
    let (server, address, authority) = secured("vanishing", Bent::new(16 << 20), Limits::default());
    for cut in [1, 27, 28, 5000, 300_000] {
        let mut raw = TlsRaw::secure(address, tls13(&authority)).open(true);
        let mut bytes = request(Command::READ, CommandFlags::NONE, 9, 0, 1 << 20);
        bytes.extend(request(Command::WRITE, CommandFlags::NONE, 1, 1 << 20, 1 << 20));
        bytes.resize(28 + cut, 7);
        raw.send(&bytes);
        drop(raw);
    }
    let mut raw = TlsRaw::secure(address, tls13(&authority)).open(true);
    // Ciphertext that nobody made.
    raw.stream.sock.write_all(&[&[23, 3, 3, 0, 100][..], &[7; 100]].concat()).unwrap();
    assert!(matches!(raw.stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::InvalidData), "an alert");
    check_serves(address, &authority);
    wait_until_alone(&server);
}

#[test]
fn one_connection_too_many_is_told_so_under_tls() {
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let (_server, address, authority) = secured("too-many", Bent::new(1 << 20), limits);
    let _first = TlsRaw::secure(address, tls13(&authority)).open(false);
    let mut second = TlsRaw::secure(address, tls13(&authority));
    assert_eq!(second.option(OptionCode::LIST, &[]), [OptionReply::ERR_POLICY]);
}

#[test]
fn stopping_ends_connections_under_tls_in_every_state() {
    let limits = Limits { drain_timeout: Duration::from_millis(100), ..Limits::default() };
    let (server, address, authority) = secured("stopping", Bent::new(16 << 20), limits);
    let mut shaking = acknowledged(address);
    let mut haggling = TlsRaw::secure(address, tls13(&authority));
    assert_eq!(haggling.option(OptionCode::STRUCTURED_REPLY, &[]), [OptionReply::ACK]);
    let mut idle = TlsRaw::secure(address, tls13(&authority)).open(false);
    let mut unread = TlsRaw::secure(address, tls13(&authority)).open(false);
    unread.send(&request(Command::READ, CommandFlags::NONE, 4, 4096, 8 << 20));
    server.stop();
    assert!(server.connections().is_empty());
    assert!(shaking.is_at_end());
    assert_eq!(idle.stream.read(&mut [0]).unwrap(), 0, "TLS was closed");
    for mut raw in [haggling, unread] {
        let _ = raw.stream.read_to_end(&mut Vec::new());
    }
}

#[test]
fn clients_show_a_certificate_of_the_right_authority() {
    let (authority, clients, strangers) =
        (Authority::new("servers"), Authority::new("clients"), Authority::new("strangers"));
    clients.certify("own", "backup", &[]);
    strangers.certify("own", "backup", &[]);
    let mut export = Bent::new(1 << 20);
    export.allow = "backup".parse().unwrap();
    let server = server(export, Limits::default());
    let address = server.listen_tls(loopback(), authority.tls(Some(&clients))).unwrap();
    for version in [&TLS12, &TLS13] {
        let client = |own| TlsRaw::secure(address, authority.client(&[version], own));
        assert!(client(None).is_refused(), "without a certificate");
        assert!(client(Some((&strangers, "own"))).is_refused(), "with one of another authority");
        let mut raw = client(Some((&clients, "own"))).open(true);
        raw.send(&request(Command::FLUSH, CommandFlags::NONE, 1, 0, 0));
        assert_eq!(raw.receive().cookie, 1);
    }
}

#[test]
fn what_a_client_may_not_open_is_not_there_for_it() {
    let authority = Authority::new("lists");
    authority.certify("right", "somebody", &["backup.example.org"]);
    authority.certify("wrong", "backup", &["example.org"]);
    let mut export = Bent::new(1 << 20);
    export.allow = "backup.example.org".parse().unwrap();
    let server = server(export, Limits::default());
    let certified = server.listen_tls(loopback(), authority.tls(Some(&authority))).unwrap();
    let anonymous = server.listen_tls(loopback(), authority.tls(None)).unwrap();
    let in_clear = server.listen_tcp(loopback()).unwrap();
    let client = |address, own: Option<&str>| {
        TlsRaw::secure(address, authority.client(&[&TLS13], own.map(|file| (&authority, file))))
    };
    fn check_hidden<S: Read + io::Write>(mut raw: Raw<S>) {
        assert_eq!(raw.option(OptionCode::LIST, &[]), [OptionReply::ACK]);
        let go = InfoRequest { name: "vol", wants: vec![] }.encode();
        assert_eq!(raw.option(OptionCode::INFO, &go), [OptionReply::ERR_UNKNOWN]);
        assert_eq!(raw.option(OptionCode::GO, &go), [OptionReply::ERR_UNKNOWN]);
        raw.send(&OptionHeader::encode_with(OptionCode::EXPORT_NAME, b"vol"));
        assert!(raw.stream.read(&mut [0]).is_ok_and(|count| count == 0) || raw.stream.read(&mut [0]).is_err());
    }
    check_hidden(client(certified, Some("wrong")));
    // A certificate that nobody asked for and nobody checked proves nothing.
    check_hidden(client(anonymous, Some("right")));
    check_hidden(Raw::greet(TcpStream::connect(in_clear).unwrap()));
    let mut right = client(certified, Some("right"));
    assert_eq!(right.option(OptionCode::LIST, &[]), [OptionReply::SERVER, OptionReply::ACK]);
    right.open(true);
    Raw::enter(dial(&server), true);
}

/// A resumed session would skip the check of certificates.
#[test]
fn sessions_are_not_resumed() {
    let (_server, address, authority) = secured("resumed", Bent::new(1 << 20), Limits::default());
    for version in [&TLS12, &TLS13] {
        let config = authority.client(&[version], None);
        for _ in 0..2 {
            let raw = TlsRaw::secure(address, config.clone()).open(false);
            assert_eq!(raw.stream.conn.handshake_kind(), Some(rustls::HandshakeKind::Full));
        }
    }
}
