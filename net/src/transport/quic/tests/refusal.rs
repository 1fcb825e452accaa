//! Bytes that are no messages, from a peer that is known and from strangers.

use super::cluster::{Node, authority, config, credentials, number, numbered};
use super::raw::{Raw, bytes, opening};
use crate::envelope::{Error, Hello, Kind, Message, VERSION, Versions};
use crate::transport::quic::{CLUSTER_PROTOCOL, close};
use crate::transport::{Channel, Down, Peer, Transport};

/// Node 2, and node 1 as a test says, before its hello.
fn victim() -> (Node, Raw) {
    let authority = authority();
    let two = Node::start(&credentials(&authority, 2), config());
    let one = credentials(&authority, 1);
    two.transport.set_peers(vec![two.peer(), Peer { node: one.node(), addresses: Vec::new() }]);
    let raw = Raw::dial(&one, two.id, two.transport.local_address().unwrap());
    (two, raw)
}

/// What becomes of a session on which `write` happens.
fn reaction(write: impl Fn(&Raw)) -> Down {
    let (two, raw) = victim();
    assert!(raw.hello());
    let link = two.up();
    write(&raw);
    let (down, reason) = two.down();
    assert_eq!(down, link);
    assert_eq!(raw.closed(), Some(close::PROTOCOL.into()));
    reason
}

fn message() -> Vec<u8> {
    bytes(VERSION, &numbered(Channel::journal(1), 0, 100))
}

fn with(edit: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = message();
    edit(&mut message);
    [opening(1, 1), message].concat()
}

#[test]
fn garbage_on_a_channel_ends_the_session() {
    let cases: [(Vec<u8>, Down); 9] = [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Down::Envelope(Error::Magic)),
        (with(|message| message[0] ^= 1), Down::Envelope(Error::Magic)),
        (with(|message| message[4] ^= 2), Down::Envelope(Error::Version { found: VERSION ^ 2, agreed: VERSION })),
        (with(|message| message[7] = 0x77), Down::Envelope(Error::Kind(0x7701))),
        (with(|message| message[11] = 0xff), Down::Envelope(Error::TooLong { found: 0xff00_0064, max: 4 << 20 })),
        (with(|message| message[50] ^= 1), Down::Envelope(Error::Checksum)),
        (with(|message| message.truncate(60)), Down::Envelope(Error::Short)),
        (with(|message| message[7] = 2), Down::Protocol("a message on a channel of another class")),
        (opening(3, 1), Down::Protocol("a channel of unknown class")),
    ];
    for (bytes, expected) in cases {
        assert_eq!(reaction(|raw| raw.write(&bytes)), expected);
    }
}

#[test]
fn a_channel_that_is_begun_again_waits_for_the_end_of_the_stream_before() {
    let (two, raw) = victim();
    assert!(raw.hello());
    two.up();
    let said = |channel: Channel, number| {
        [opening(channel.class.number() as u8, channel.id), bytes(VERSION, &numbered(channel, number, 8))].concat()
    };
    let (channel, other) = (Channel::journal(1), Channel::journal(2));
    let first = raw.begin(&said(channel, 0));
    raw.write(&said(channel, 1));
    raw.write(&said(other, 2));
    let mut came = [two.message(), two.message()].map(|received| (received.channel, number(&received.message)));
    came.sort();
    assert_eq!(came, [(channel, 0), (other, 2)]);
    raw.end(first);
    assert_eq!(number(&two.message().message), 1);
}

#[test]
fn a_question_that_breaks_off_was_given_up() {
    let (two, raw) = victim();
    assert!(raw.hello());
    let link = two.up();
    let question = bytes(VERSION, &Message::new(Kind::journal(1), vec![1; 100]));
    [10, 60].into_iter().for_each(|kept| raw.ask(&question[..kept]));
    raw.write(&with(|_| ()));
    assert_eq!(number(&two.message().message), 0);
    assert_eq!(two.transport.link(link.peer), Some(link));
}

#[test]
fn garbage_as_a_question_ends_the_session() {
    assert_eq!(reaction(|raw| raw.ask(&[0; 16])), Down::Envelope(Error::Magic));
    let hello = bytes(0, &Message::new(Kind::HELLO, Vec::new()));
    assert_eq!(reaction(|raw| raw.ask(&hello)), Down::Protocol("a question of a kind that asks nothing"));
}

#[test]
fn what_is_no_hello_makes_no_session() {
    let hello =
        |index, count| Hello { versions: Versions::OURS, session: 1, index, count, program: String::new() }.encode();
    let cases =
        [Message::new(Kind::HELLO, vec![7; 40]), Message::new(Kind::WELCOME, Vec::new()), hello(1, 1), hello(0, 9)];
    for case in cases {
        let (two, raw) = victim();
        assert!(!raw.greet(&case));
        assert_eq!(raw.closed(), Some(close::PROTOCOL.into()));
        assert!(two.heard.try_recv().is_err());
    }
}

#[test]
fn who_has_no_certificate_is_not_listened_to() {
    let authority = authority();
    let two = credentials(&authority, 2);
    let node = Node::start(&two, config());
    node.transport.set_peers(vec![node.peer()]);
    let raw = Raw::nobody(two.authority_fingerprint(), node.transport.local_address().unwrap(), CLUSTER_PROTOCOL);
    assert_eq!(raw.closed(), Some(close::NOT_ALLOWED.into()));
}

#[test]
fn a_newer_session_takes_the_place_of_an_older_one() {
    let authority = authority();
    let (one, two) = (credentials(&authority, 1), Node::start(&credentials(&authority, 2), config()));
    two.transport.set_peers(vec![two.peer(), Peer { node: one.node(), addresses: Vec::new() }]);
    let dial = || Raw::dial(&one, two.id, two.transport.local_address().unwrap());
    let older = dial();
    assert!(older.hello());
    let first = two.up();
    let newer = dial();
    assert!(newer.hello());
    assert_eq!(two.down(), (first, Down::Superseded));
    let second = two.up();
    assert_eq!(two.transport.link(one.node()), Some(second));
    assert_eq!(older.closed(), Some(close::SUPERSEDED.into()));
}
