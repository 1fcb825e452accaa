//! Nodes that join with a token.

use std::sync::Arc;
use std::time::Duration;

use super::cluster::{Node, authority, config, credentials, introduce};
use super::raw::Raw;
use crate::envelope::{Hello, Versions};
use crate::environment::{Clock, SystemClock, SystemRng};
use crate::identity::{Authority, Fingerprint, NodeId, NodeKey};
use crate::join::{Admission, JOIN_PROTOCOL, JoinError, Joined, MemoryTokens, Refusal, Token, TokenKey, TokenStore};
use crate::transport::quic::{close, join};
use crate::transport::{Down, Peer, Transport};

const HOUR: Duration = Duration::from_secs(3600);

struct Founder {
    node: Node,
    tokens: Arc<MemoryTokens>,
    fingerprint: Fingerprint,
}

impl Founder {
    fn start() -> Self {
        Self::of(authority())
    }

    fn of(authority: Authority) -> Self {
        let node = Node::start(&credentials(&authority, 1), config());
        let members = vec![node.peer()];
        let tokens = Arc::new(MemoryTokens::new(NodeId(1), move || members.clone()));
        let fingerprint = authority.fingerprint();
        let store: Arc<dyn TokenStore> = tokens.clone();
        let admission = Admission::new(authority, store, Arc::new(SystemClock), Arc::new(SystemRng));
        node.transport.admit_by(Some(Arc::new(admission)));
        Self { node, tokens, fingerprint }
    }

    fn token(&self) -> Token {
        Token::draw(self.fingerprint, &self.node.peer().addresses, &SystemRng)
    }

    fn invite(&self) -> Token {
        let (token, now) = (self.token(), SystemClock.wall());
        self.tokens.add(token.id(), token.key(), now + HOUR, now);
        token
    }
}

fn join_as(token: &Token, key: &NodeKey) -> Result<Joined, JoinError> {
    join(token, key, &[], Arc::new(SystemClock), "test")
}

fn refusal(token: &Token) -> Refusal {
    match join_as(token, &NodeKey::generate().unwrap()) {
        Err(JoinError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_node_with_a_token_joins_and_speaks() {
    let founder = Founder::start();
    let token: Token = founder.invite().to_string().parse().unwrap();
    let key = NodeKey::generate().unwrap();
    let joined = join_as(&token, &key).unwrap();
    assert_eq!(joined.members, [founder.node.peer()]);
    assert_eq!(joined.issued.node, NodeId(2));
    // The answer may be lost: the same node may ask again, another may not.
    assert_eq!(join_as(&token, &key).unwrap().issued.node, NodeId(2));
    assert_eq!(refusal(&token), Refusal::Used);
    let joined = key.with_certificate(joined.issued, SystemClock.wall()).unwrap();
    assert_eq!(joined.authority_fingerprint(), token.authority());
    let two = Node::start(&joined, config());
    introduce(&[&founder.node, &two]);
    founder.node.up();
    two.up();
}

#[test]
fn tokens_that_are_unknown_expired_or_guessed_are_refused() {
    let founder = Founder::start();
    assert_eq!(refusal(&founder.token()), Refusal::Unknown);
    let (token, now) = (founder.token(), SystemClock.wall());
    founder.tokens.add(token.id(), token.key(), now, Duration::ZERO);
    assert_eq!(refusal(&token), Refusal::Expired);
    let token = founder.token();
    founder.tokens.add(token.id(), TokenKey::new([7; 32]), now + HOUR, now);
    assert_eq!(refusal(&token), Refusal::Unknown);
}

#[test]
fn a_token_does_not_join_another_cluster() {
    let (founder, other) = (Founder::start(), Founder::start());
    let token = Token::draw(other.fingerprint, &founder.node.peer().addresses, &SystemRng);
    let failure = join_as(&token, &NodeKey::generate().unwrap()).unwrap_err();
    assert!(matches!(failure, JoinError::OtherAuthority(_)), "{failure:?}");
}

#[test]
fn a_node_without_the_authority_lets_nobody_join() {
    let founder = Founder::start();
    founder.node.transport.admit_by(None);
    let failure = join_as(&founder.invite(), &NodeKey::generate().unwrap()).unwrap_err();
    assert!(matches!(failure, JoinError::Unreachable(Down::Accused(_))), "{failure:?}");
}

/// More strangers than handshakes may be under way.
#[test]
fn strangers_who_say_nothing_keep_no_node_away() {
    let authority = authority();
    let (fingerprint, second) = (authority.fingerprint(), credentials(&authority, 2));
    let founder = Founder::of(authority);
    let address = founder.node.transport.local_address().unwrap();
    founder.node.transport.set_peers(vec![Peer { node: second.node(), addresses: Vec::new() }]);
    let strangers: Vec<_> = (0..65).map(|_| Raw::nobody(fingerprint, address, JOIN_PROTOCOL)).collect();
    // Fails if it is turned away.
    drop(Raw::dial(&second, founder.node.id, address));
    drop(strangers);
}

#[test]
fn who_wants_to_join_can_say_nothing_else() {
    let founder = Founder::start();
    let address = founder.node.transport.local_address().unwrap();
    let raw = Raw::nobody(founder.fingerprint, address, JOIN_PROTOCOL);
    let hello = Hello { versions: Versions::OURS, session: 1, index: 0, count: 1, program: String::new() };
    assert!(!raw.greet(&hello.encode()));
    assert_eq!(raw.closed(), Some(close::PROTOCOL.into()));
}
