//! Senders and a receiver on one machine, over real sockets and certificates.

use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lsm_store::clock::Clock;

use super::*;
use crate::access::AllowList;
use crate::tls::ClientTls;
use crate::tls::testing::Authority;
use crate::transfer::remote::{IsTaken, Line, ReceiveError, ReceiveServer, RemoteError, connect};

/// A receiver that lets in whom its own authority has certified.
struct Remote {
    bench: Bench,
    authority: Authority,
    server: ReceiveServer,
    address: SocketAddr,
}

impl Remote {
    fn new(test: &str, clock: Arc<dyn Clock>) -> Self {
        let (bench, authority) = (Bench::new(2), Authority::new(test));
        authority.certify("sender", "sender", &["sender.example.org"]);
        let options = ReceiveOptions { codec: Codec::None, force: false };
        let tls = authority.tls(Some(&authority));
        let (server, address) = ReceiveServer::listen(loopback(), tls, node_of(&bench), options, 256, clock).unwrap();
        Self { bench, authority, server, address }
    }

    fn line(&self, tls: &ClientTls, volume: &str) -> Result<Line, RemoteError> {
        connect(("localhost", self.address.port()), tls, &system(), &volume_name(volume))
    }

    fn sender(&self) -> ClientTls {
        self.authority.client_tls(&self.authority, "sender")
    }

    fn send(&self, tls: &ClientTls, from: &Bench, snapshot: &str, volume: &str) -> Result<Sent> {
        let mut over = Over(self.line(tls, volume).unwrap());
        offer(&from.node, &snapshot_name(snapshot), None, &mut over)
    }
}

/// Of its cluster's volumes one is called `shared`.
fn node_of(bench: &Bench) -> (Arc<Node>, Box<IsTaken>) {
    (Arc::clone(&bench.node), Box::new(|name| name.as_str() == "shared"))
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn system() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

/// A sender's side.
struct Over(Line);

impl Outlet for Over {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write_all(bytes).and_then(|()| self.0.flush()).map_err(|_| TransferError::Stopped)
    }

    fn read(&mut self) -> Result<Vec<u8>> {
        let mut piece = vec![0; 1000];
        let len = self.0.read(&mut piece).map_err(|_| TransferError::Stopped)?;
        piece.truncate(len);
        Ok(piece)
    }

    fn progress(&mut self, _: &str, _: u64, _: u64) -> Result<()> {
        Ok(())
    }
}

/// A node with `vm@monday`, and `vm@tuesday` that differs in one block.
fn with_snapshots() -> Bench {
    let from = Bench::new(1);
    from.create("vm", 64 * BLOCK, Codec::Lz4);
    from.write("vm", 0, &noise(1, 40));
    from.snapshot("vm@monday");
    from.write("vm", 7, &noise(2, 1));
    from.snapshot("vm@tuesday");
    from.settle();
    from
}

#[test]
fn a_snapshot_comes_by_the_network_and_the_next_brings_what_is_new() {
    let (from, remote) = (with_snapshots(), Remote::new("comes", system()));
    let sent = remote.send(&remote.sender(), &from, "vm@monday", "copy").unwrap();
    assert_eq!((sent.data_blocks, sent.had_blocks), (40, 0));
    let sent = remote.send(&remote.sender(), &from, "vm@tuesday", "copy").unwrap();
    assert_eq!((sent.data_blocks, sent.had_blocks), (1, 39));
    assert_eq!(remote.bench.content("copy@tuesday"), from.content("vm@tuesday"));
    assert_eq!(remote.bench.content("copy@monday"), from.content("vm@monday"));
    let again = remote.send(&remote.sender(), &from, "vm@tuesday", "copy").unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Exists, "what the receiver says is heard: {again}");
}

#[test]
fn who_has_no_certificate_of_the_authority_gets_nothing_in() {
    let (from, remote) = (with_snapshots(), Remote::new("strangers", system()));
    let others = Authority::new("strangers of others");
    others.certify("sender", "sender", &["sender.example.org"]);
    let stranger = remote.authority.client_tls(&others, "sender");
    // The server's refusal may come with what is asked next.
    let monday = snapshot_name("vm@monday");
    let tried = remote.line(&stranger, "copy").map(|line| offer(&from.node, &monday, None, &mut Over(line)));
    assert!(!matches!(tried, Ok(Ok(_))));
    let deceived = others.client_tls(&remote.authority, "sender");
    assert!(matches!(remote.line(&deceived, "copy"), Err(RemoteError::Tls { .. })), "another authority's server");
    let full = std::net::TcpListener::bind(loopback()).unwrap();
    let port = full.local_addr().unwrap().port();
    let closing = std::thread::spawn(move || drop(full.accept().unwrap()));
    let refused = connect(("localhost", port), &remote.sender(), &system(), &volume_name("copy"));
    assert!(matches!(refused, Err(RemoteError::Lost { .. })), "a server that has no room");
    closing.join().unwrap();
    let mut clear = TcpStream::connect(remote.address).unwrap();
    clear.write_all(b"SiltSend\x01\0\0\0\x04\0\0\0copy").unwrap();
    clear.shutdown(std::net::Shutdown::Write).unwrap();
    // An alert, or nothing.
    let mut said = Vec::new();
    let _ = clear.read_to_end(&mut said);
    assert!(said.len() < 16, "{said:?}");
    assert_eq!(remote.bench.names(), Vec::<String>::new());
    remote.send(&remote.sender(), &from, "vm@monday", "copy").unwrap();
}

#[test]
fn a_receiver_that_asks_for_no_certificates_does_not_begin() {
    let (bench, authority) = (Bench::new(1), Authority::new("open"));
    let options = ReceiveOptions { codec: Codec::None, force: false };
    let begun = ReceiveServer::listen(loopback(), authority.tls(None), node_of(&bench), options, 256, system());
    assert!(matches!(begun.err(), Some(ReceiveError::Open)));
}

#[test]
fn a_volume_with_a_list_takes_snapshots_of_those_on_it() {
    let (from, remote) = (with_snapshots(), Remote::new("listed", system()));
    remote.send(&remote.sender(), &from, "vm@monday", "copy").unwrap();
    let only = |name: &str| AllowList::new([name]).unwrap();
    remote.bench.node.set_allow(&volume_name("copy"), only("somebody.else")).unwrap();
    let refused = remote.send(&remote.sender(), &from, "vm@tuesday", "copy").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.to_string().contains("not on the list"), "{refused}");
    remote.bench.node.set_allow(&volume_name("copy"), only("sender.example.org")).unwrap();
    remote.send(&remote.sender(), &from, "vm@tuesday", "copy").unwrap();
    let taken = remote.send(&remote.sender(), &from, "vm@tuesday", "shared").unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Unsupported, "{taken}");
}

#[test]
fn what_is_no_hello_is_answered_and_ends() {
    let remote = Remote::new("hello", system());
    let tls = remote.sender();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(remote.address).unwrap();
    let mut line = rustls::StreamOwned::new(tls.connect(name).unwrap(), stream);
    line.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut said = Vec::new();
    line.read_to_end(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("SiltBack") && said.contains("this is no stream"), "{said}");
}

/// It leaps ahead by nearly what a sender has to say who it is, once that has begun.
struct Leaping(AtomicBool);

impl Clock for Leaping {
    fn monotonic(&self) -> Duration {
        if self.0.swap(true, Ordering::Relaxed) { Duration::from_millis(9_900) } else { Duration::ZERO }
    }

    fn wall(&self) -> Duration {
        system().wall()
    }

    fn sleep(&self, duration: Duration) {
        system().sleep(duration);
    }
}

#[test]
fn who_says_nothing_is_not_waited_for() {
    let remote = Remote::new("silent", Arc::new(Leaping(AtomicBool::new(false))));
    let mut silent = TcpStream::connect(remote.address).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0, "it hangs up");
}

#[test]
fn senders_beyond_the_limit_are_told_to_come_later() {
    let (from, remote) = (with_snapshots(), Remote::new("many", system()));
    let at_work = |index: usize| {
        let mut line = remote.line(&remote.sender(), &format!("copy{index}")).unwrap();
        // It is heard: the receiver has begun.
        line.read_exact(&mut [0; 24]).unwrap();
        line
    };
    let senders: Vec<Line> = (0..16).map(at_work).collect();
    let late = remote.send(&remote.sender(), &from, "vm@monday", "late").unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Busy, "{late}");
    drop(senders);
    while let Err(error) = remote.send(&remote.sender(), &from, "vm@monday", "late") {
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    }
}

#[test]
fn a_list_that_is_made_while_a_sender_thinks_holds_for_it() {
    let (from, remote) = (with_snapshots(), Remote::new("thinks", system()));
    let line = remote.line(&remote.sender(), "copy").unwrap();
    remote.bench.create("copy", 64 * BLOCK, Codec::Lz4);
    remote.bench.snapshot("copy@first");
    let only = AllowList::new(["somebody.else"]).unwrap();
    remote.bench.node.set_allow(&volume_name("copy"), only).unwrap();
    let refused = offer(&from.node, &snapshot_name("vm@monday"), None, &mut Over(line)).unwrap_err();
    assert!(refused.to_string().contains("not on the list"), "{refused}");
    assert_eq!(remote.bench.names(), ["copy", "copy@first"]);
}

/// As [`Over`], but waits at what it hears first until it may go on.
struct Pausing<'p> {
    over: Over,
    is_there: &'p AtomicBool,
    may_go: &'p AtomicBool,
}

impl Outlet for Pausing<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.over.write(bytes)
    }

    fn read(&mut self) -> Result<Vec<u8>> {
        let piece = self.over.read();
        self.is_there.store(true, Ordering::Release);
        while !self.may_go.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        piece
    }

    fn progress(&mut self, _: &str, _: u64, _: u64) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_receiver_that_stops_breaks_off() {
    let (from, mut remote) = (with_snapshots(), Remote::new("stops", system()));
    let (is_there, may_go) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut pausing =
        Pausing { over: Over(remote.line(&remote.sender(), "copy").unwrap()), is_there: &is_there, may_go: &may_go };
    std::thread::scope(|scope| {
        let (node, monday) = (&from.node, snapshot_name("vm@monday"));
        let sending = scope.spawn(move || offer(node, &monday, None, &mut pausing));
        while !is_there.load(Ordering::Acquire) && !sending.is_finished() {
            std::thread::yield_now();
        }
        remote.server.stop();
        may_go.store(true, Ordering::Release);
        sending.join().unwrap().unwrap_err();
    });
    assert_eq!(remote.bench.names(), Vec::<String>::new());
    assert!(matches!(remote.line(&remote.sender(), "copy"), Err(RemoteError::Unreachable { .. })));
}
