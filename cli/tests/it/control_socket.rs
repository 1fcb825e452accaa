//! What a client of the control socket can do to a daemon by behaving badly: nothing.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use siltstone::control::{Chunk, Client, Error, ImportVolume, Kind, NoTransfer, Peer, Progress, Received, Request};

use crate::daemon::Daemon;
use crate::scratch::Scratch;
use crate::silt::Silt;

fn connect(silt: &Silt) -> UnixStream {
    UnixStream::connect(silt.data().join("control.sock")).unwrap()
}

#[test]
fn garbage_ends_the_connection_and_nothing_else() {
    let scratch = Scratch::new("control-garbage");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &["--create", "demo=1M"]);
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], &[0; 8], b"\x04\0\0\0\x01\0\0\0null"] {
        let mut stream = connect(&silt);
        stream.write_all(garbage).unwrap();
        let mut answer = Vec::new();
        // Reset or answered: either way it is over.
        let _ = stream.read_to_end(&mut answer);
    }
    let _silent: Vec<_> = (0..20).map(|_| connect(&silt)).collect();
    assert_eq!(silt.json(&["ls"])["volumes"][0]["name"], "demo");
    daemon.stop().expect(0);
}

/// Gives one chunk, then stops giving.
struct Quitter<'s> {
    silt: &'s Silt,
    given: bool,
}

impl Peer for Quitter<'_> {
    fn progress(&mut self, _progress: &Progress) -> Result<(), Error> {
        Ok(())
    }

    fn send(&mut self, _offset: u64, _data: &[u8]) -> Result<(), Error> {
        unreachable!("an import sends nothing back")
    }

    fn receive(&mut self) -> Result<Received, Error> {
        if !self.given {
            self.given = true;
            return Ok(Received::Chunk(Chunk { offset: 0, data: vec![1; 8192] }));
        }
        // The volume exists by now, and is nobody's to use.
        self.silt.run(&["rm", "half"]).expect(11);
        Err(Error::Protocol("the client gives up"))
    }
}

fn import(keep_partial: bool) -> Request {
    Request::Import(ImportVolume { name: "half".into(), size_bytes: None, codec: None, keep_partial, replicas: None })
}

#[test]
fn a_broken_import_leaves_no_volume_unless_told_to() {
    let scratch = Scratch::new("control-import");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &[]);
    let mut client = Client::connect(connect(&silt), "test").unwrap();
    client.call(&import(false), &mut Quitter { silt: &silt, given: false }).unwrap_err();
    assert_eq!(silt.json(&["ls"])["volumes"].as_array().unwrap().len(), 0);

    client.call(&import(true), &mut Quitter { silt: &silt, given: false }).unwrap_err();
    assert_eq!(silt.json(&["info", "half"])["size_bytes"], 8192);
    assert!(silt.run(&["export", "half", "-"]).expect(0).stdout == [1; 8192]);
    daemon.stop().expect(0);
}

/// Stops the daemon in the middle of the import.
struct Killer {
    daemon: Option<Daemon>,
    given: bool,
}

impl Peer for Killer {
    fn progress(&mut self, _progress: &Progress) -> Result<(), Error> {
        Ok(())
    }

    fn send(&mut self, _offset: u64, _data: &[u8]) -> Result<(), Error> {
        unreachable!("an import sends nothing back")
    }

    fn receive(&mut self) -> Result<Received, Error> {
        if let (true, Some(daemon)) = (self.given, self.daemon.take()) {
            daemon.kill();
        }
        self.given = true;
        Ok(Received::Chunk(Chunk { offset: 0, data: vec![1; 8192] }))
    }
}

#[test]
fn an_import_cut_short_by_a_crash_is_gone_after_the_next_start() {
    let scratch = Scratch::new("control-crash");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &[]);
    let mut client = Client::connect(connect(&silt), "test").unwrap();
    let error = client.call(&import(false), &mut Killer { daemon: Some(daemon), given: false }).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    let daemon = Daemon::start(&silt, &[]);
    assert_eq!(silt.json(&["ls"])["volumes"].as_array().unwrap().len(), 0);
    daemon.stop().expect(0);
}

#[test]
fn a_daemon_stops_while_clients_are_connected() {
    let scratch = Scratch::new("control-stop");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &[]);
    let mut client = Client::connect(connect(&silt), "test").unwrap();
    client.call(&Request::List, &mut NoTransfer).unwrap();
    daemon.stop().expect(0);
    assert_eq!(client.call(&Request::List, &mut NoTransfer).unwrap_err().kind(), Kind::Unavailable);
}
