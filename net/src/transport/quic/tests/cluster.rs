//! Nodes of a cluster to test with, and what they heard.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use parking_lot::Mutex;

use crate::envelope::{Kind, Message};
use crate::environment::{Clock, SystemClock, SystemRng};
use crate::identity::{Authority, Credentials, MemoryFolder, NodeId, NodeKey};
use crate::transport::quic::{Config, QuicTransport};
use crate::transport::{Channel, Class, Down, Handler, Link, Peer, Received, Responder, Transport};

/// Longer than anything here takes on a busy machine.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// What a node heard.
#[derive(Debug)]
pub(super) enum Heard {
    Up(Link),
    Down(Link, Down),
    Message(Received),
    Room(Class),
    Question(Responder),
}

/// Passes on what it hears, with questions that are kept; answers other questions with their own body.
#[derive(Debug)]
pub(super) struct Ear {
    heard: Mutex<Sender<Heard>>,
}

/// Kind of questions that are not answered at all.
pub(super) const UNANSWERED: Kind = Kind::control(0xfe);

/// Kinds of questions whose answer a test decides about.
pub(super) const KEPT: Kind = Kind::control(0xfd);
pub(super) const KEPT_JOURNAL: Kind = Kind::journal(0xfd);

/// Kind of questions that are refused.
pub(super) const REFUSED: Kind = Kind::control(0xff);

impl Ear {
    pub(super) fn new() -> (Arc<Self>, Receiver<Heard>) {
        let (sender, receiver) = mpsc::channel();
        (Arc::new(Self { heard: Mutex::new(sender) }), receiver)
    }

    fn say(&self, heard: Heard) {
        // A test may have stopped listening.
        let _ = self.heard.lock().send(heard);
    }
}

impl Handler for Ear {
    fn handle_up(&self, link: Link) {
        self.say(Heard::Up(link));
    }

    fn handle_down(&self, link: Link, reason: &Down) {
        self.say(Heard::Down(link, reason.clone()));
    }

    fn handle_message(&self, received: Received) {
        self.say(Heard::Message(received));
    }

    fn handle_request(&self, _link: Link, message: Message, responder: Responder) {
        match message.kind {
            REFUSED => drop(responder),
            UNANSWERED => std::mem::forget(responder),
            KEPT | KEPT_JOURNAL => self.say(Heard::Question(responder)),
            _ => responder.answer(message),
        }
    }

    fn handle_room(&self, _link: Link, class: Class) {
        self.say(Heard::Room(class));
    }
}

/// A cluster's authority.
pub(super) fn authority() -> Authority {
    Authority::create(&MemoryFolder::default(), &SystemRng).unwrap()
}

/// Credentials of a node, issued at `now`.
pub(super) fn credentials_at(authority: &Authority, node: u64, now: Duration) -> Credentials {
    let key = NodeKey::generate().unwrap();
    let issued = authority.issue(NodeId(node), key.public(), now, &SystemRng).unwrap();
    key.with_certificate(issued, now).unwrap()
}

pub(super) fn credentials(authority: &Authority, node: u64) -> Credentials {
    credentials_at(authority, node, SystemClock.wall())
}

/// A configuration that is patient with a busy machine.
pub(super) fn config() -> Config {
    let mut config = Config::new("127.0.0.1:0".parse().unwrap());
    config.idle_timeout = Duration::from_secs(20);
    config.handshake_timeout = Duration::from_secs(20);
    config.backoff = (Duration::from_millis(10), Duration::from_millis(100));
    config
}

/// A node and its ears.
pub(super) struct Node {
    pub(super) transport: QuicTransport,
    pub(super) heard: Receiver<Heard>,
    pub(super) id: NodeId,
}

impl Node {
    pub(super) fn start(credentials: &Credentials, config: Config) -> Self {
        let (ear, heard) = Ear::new();
        let transport =
            QuicTransport::start(config, credentials, Arc::new(SystemClock), Arc::new(SystemRng), ear).unwrap();
        Self { transport, heard, id: credentials.node() }
    }

    pub(super) fn peer(&self) -> Peer {
        Peer { node: self.id, addresses: vec![self.transport.local_address().unwrap()] }
    }

    pub(super) fn next(&self) -> Heard {
        self.heard.recv_timeout(LONG).unwrap()
    }

    /// Waits for a session, passing over anything else.
    pub(super) fn up(&self) -> Link {
        loop {
            if let Heard::Up(link) = self.next() {
                return link;
            }
        }
    }

    /// Waits for the end of a session, passing over anything else.
    pub(super) fn down(&self) -> (Link, Down) {
        loop {
            if let Heard::Down(link, reason) = self.next() {
                return (link, reason);
            }
        }
    }

    pub(super) fn message(&self) -> Received {
        match self.next() {
            Heard::Message(received) => received,
            other => panic!("a message should come, not {other:?}"),
        }
    }
}

/// Waits until `done`, hearing what `node` hears.
pub(super) fn until(node: &Node, done: impl Fn() -> bool) {
    for _ in 0..LONG.as_millis() / 10 {
        if done() {
            return;
        }
        // What it is does not matter, only that time passes.
        let _ = node.heard.recv_timeout(Duration::from_millis(10));
    }
    panic!("it should have happened by now");
}

/// Makes all nodes peers of one another.
pub(super) fn introduce(nodes: &[&Node]) {
    let peers: Vec<_> = nodes.iter().map(|node| node.peer()).collect();
    nodes.iter().for_each(|node| node.transport.set_peers(peers.clone()));
}

/// Two nodes of one cluster and their links to each other.
pub(super) fn pair(config: Config) -> (Node, Node, Link, Link) {
    let authority = authority();
    let one = Node::start(&credentials(&authority, 1), config.clone());
    let two = Node::start(&credentials(&authority, 2), config);
    introduce(&[&one, &two]);
    let (to_two, to_one) = (one.up(), two.up());
    (one, two, to_two, to_one)
}

/// Message number `number` for a channel, with a body of `bytes`.
pub(super) fn numbered(channel: Channel, number: u64, bytes: usize) -> Message {
    let mut body = vec![0; bytes.max(8)];
    body[..8].copy_from_slice(&number.to_le_bytes());
    let kind = match channel.class {
        Class::Control => Kind::control(1),
        Class::Journal => Kind::journal(1),
        Class::Bulk => Kind::bulk(1),
    };
    Message::new(kind, body)
}

pub(super) fn number(message: &Message) -> u64 {
    u64::from_le_bytes(message.body[..8].try_into().unwrap())
}

/// Checks that each channel's messages come numbered from 0 without gaps.
#[derive(Default)]
pub(super) struct Order(BTreeMap<(NodeId, Channel), u64>);

impl Order {
    pub(super) fn check(&mut self, received: &Received) {
        let next = self.0.entry((received.link.peer, received.channel)).or_default();
        assert_eq!(number(&received.message), *next, "{:?}", received.channel);
        *next += 1;
    }

    /// How many were checked.
    pub(super) fn checked(&self) -> u64 {
        self.0.values().sum()
    }
}
