//! Nodes that die, are removed, or are not who they should be.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::{Node, authority, config, credentials, credentials_at, introduce, numbered, pair, until};
use crate::environment::{Clock, SystemClock, SystemRng};
use crate::identity::{Authority, Credentials, NodeId, PublicKey};
use crate::transport::quic::Config;
use crate::transport::{Channel, Down, Peer, Transport};

fn refused(node: &Node, peer: &Node) {
    until(node, || matches!(node.transport.last_failure(peer.id), Some(Down::Identity(_))));
    assert_eq!(node.transport.link(peer.id), None);
    assert_eq!(peer.transport.link(node.id), None);
}

#[test]
fn a_node_that_died_is_found_again() {
    let authority = authority();
    let one = Node::start(&credentials(&authority, 1), config());
    let identity = credentials(&authority, 2);
    let two = Node::start(&identity, config());
    introduce(&[&one, &two]);
    let first = one.up();
    let listen = two.transport.local_address().unwrap();
    drop(two);
    assert_eq!(one.down(), (first, Down::Stopped));
    let two = Node::start(&identity, Config { listen, ..config() });
    introduce(&[&one, &two]);
    let second = one.up();
    assert!(second.session > first.session);
    let channel = Channel::journal(1);
    one.transport.send(second, channel, numbered(channel, 1, 8)).unwrap();
    two.up();
    assert_eq!(two.message().message, numbered(channel, 1, 8));
}

#[test]
fn a_node_that_moved_is_found_again() {
    let authority = authority();
    let one = Node::start(&credentials(&authority, 1), config());
    let identity = credentials(&authority, 2);
    let two = Node::start(&identity, config());
    introduce(&[&one, &two]);
    one.up();
    drop(two);
    one.down();
    let two = Node::start(&identity, config());
    introduce(&[&one, &two]);
    one.up();
    two.up();
}

#[test]
fn a_session_that_is_ended_is_taken_up_again() {
    let (one, two, to_two, to_one) = pair(config());
    two.transport.disconnect(to_one);
    assert_eq!(two.down(), (to_one, Down::Asked));
    assert_eq!(one.down(), (to_two, Down::Stopped));
    assert!(one.up().session > to_two.session);
    two.up();
}

#[test]
fn a_removed_node_loses_its_session_and_does_not_come_back() {
    let (one, two, to_two, to_one) = pair(config());
    two.transport.set_peers(vec![two.peer()]);
    assert_eq!(two.down(), (to_one, Down::Removed));
    assert_eq!(one.down(), (to_two, Down::NotAllowed));
    refused(&one, &two);
    // Until it is let in again.
    introduce(&[&one, &two]);
    one.up();
    two.up();
}

#[test]
fn a_node_of_another_cluster_is_refused() {
    let one = Node::start(&credentials(&authority(), 1), config());
    let two = Node::start(&credentials(&authority(), 2), config());
    introduce(&[&one, &two]);
    refused(&one, &two);
}

#[test]
fn a_node_that_is_not_the_one_meant_is_refused() {
    let authority = authority();
    let one = Node::start(&credentials(&authority, 1), config());
    let three = Node::start(&credentials(&authority, 3), config());
    introduce(&[&one, &three]);
    one.up();
    let two = Peer { node: NodeId(2), addresses: three.peer().addresses };
    one.transport.set_peers(vec![one.peer(), two, three.peer()]);
    until(&one, || matches!(one.transport.last_failure(NodeId(2)), Some(Down::Identity(_))));
    assert_eq!(one.transport.link(NodeId(2)), None);
}

#[test]
fn an_expired_certificate_is_refused() {
    let authority = authority();
    let now = SystemClock.wall();
    let long_ago = now - Duration::from_secs(100 * 24 * 3600);
    let one = Node::start(&credentials_at(&authority, 1, long_ago), config());
    let two = Node::start(&credentials(&authority, 2), config());
    introduce(&[&one, &two]);
    refused(&one, &two);
    // A renewed one is taken, without a restart.
    one.transport.renew(&credentials(&authority, 1)).unwrap();
    one.up();
    two.up();
    assert!(one.transport.renew(&credentials(&authority, 3)).is_err());
}

#[test]
fn a_certificate_from_the_future_is_refused() {
    let authority = authority();
    let one = Node::start(&credentials(&authority, 1), config());
    let later = SystemClock.wall() + Duration::from_secs(3 * 24 * 3600);
    let two = Node::start(&credentials_at(&authority, 2, later), config());
    introduce(&[&one, &two]);
    refused(&one, &two);
}

fn keys(known: &[&Credentials]) -> Option<BTreeMap<NodeId, PublicKey>> {
    Some(known.iter().map(|credentials| (credentials.node(), credentials.public_key().unwrap())).collect())
}

/// What somebody could do who has the authority's key and no node's.
#[test]
fn a_certificate_with_another_key_is_refused_where_keys_are_known() {
    let authority = authority();
    let (first, second, forged) = (credentials(&authority, 1), credentials(&authority, 2), credentials(&authority, 2));
    let one = Node::start(&first, config());
    one.transport.pin_keys(keys(&[&first, &second]));
    let thief = Node::start(&forged, config());
    introduce(&[&one, &thief]);
    refused(&one, &thief);
    let two = Node::start(&second, config());
    introduce(&[&one, &two]);
    one.up();
    two.up();
}

#[test]
fn a_session_with_another_key_ends_when_keys_become_known() {
    let authority = authority();
    let (first, second, forged) = (credentials(&authority, 1), credentials(&authority, 2), credentials(&authority, 2));
    let (one, thief) = (Node::start(&first, config()), Node::start(&forged, config()));
    introduce(&[&one, &thief]);
    let link = one.up();
    one.transport.pin_keys(keys(&[&first, &second]));
    let (down, reason) = one.down();
    assert_eq!(down, link);
    assert!(matches!(reason, Down::Identity(_)), "{reason:?}");
    refused(&one, &thief);
}

#[test]
fn renewing_a_key_interrupts_nothing() {
    let authority = authority();
    let (first, second, renewed) = (credentials(&authority, 1), credentials(&authority, 2), credentials(&authority, 2));
    let (one, two) = (Node::start(&first, config()), Node::start(&second, config()));
    introduce(&[&one, &two]);
    let (to_two, to_one) = (one.up(), two.up());
    for node in [&one, &two] {
        node.transport.pin_keys(keys(&[&first, &second]));
        node.transport.pin_keys(keys(&[&first, &renewed]));
    }
    two.transport.renew(&renewed).unwrap();
    let channel = Channel::journal(1);
    one.transport.send(to_two, channel, numbered(channel, 0, 8)).unwrap();
    assert_eq!(two.message().message, numbered(channel, 0, 8));
    assert_eq!((one.transport.link(two.id), two.transport.link(one.id)), (Some(to_two), Some(to_one)));
    // The next session is with the new key.
    one.transport.disconnect(to_two);
    assert!(one.up().session > to_two.session);
}

/// Both certificates are good while both authorities are trusted, and each alone where one is.
#[test]
fn two_authorities_are_trusted_as_long_as_they_shall_be() {
    let former = authority();
    let next = Authority::draw(former.cluster(), &SystemRng).unwrap();
    let both = || vec![former.certificate().to_vec(), next.certificate().to_vec()];
    let (first, second) = (credentials(&former, 1), credentials(&next, 2));
    let one = Node::start(&first, config());
    let two = Node::start(&second, config());
    introduce(&[&one, &two]);
    refused(&one, &two);
    // One side is not enough: each shows what the other must trust.
    one.transport.trust(both());
    one.transport.set_peers(vec![one.peer()]);
    until(&one, || one.transport.last_failure(two.id).is_none());
    introduce(&[&one, &two]);
    refused(&one, &two);
    two.transport.trust(both());
    let link = one.up();
    assert!(one.transport.is_open(link));
    // Sessions go on when the former one is not trusted any more, and no new one begins.
    two.transport.trust(Vec::new());
    two.up();
    let channel = Channel::journal(1);
    one.transport.send(link, channel, numbered(channel, 0, 8)).unwrap();
    assert_eq!(two.message().message, numbered(channel, 0, 8));
    one.transport.disconnect(link);
    one.down();
    assert!(!one.transport.is_open(link));
    refused(&one, &two);
    let now = SystemClock.wall();
    one.transport.renew(&first.reissued(&next, now, &SystemRng).unwrap()).unwrap();
    one.transport.trust(Vec::new());
    one.up();
}

#[test]
fn a_node_that_stops_says_so() {
    let (one, two, to_two, _) = pair(config());
    two.transport.stop();
    assert_eq!(one.down(), (to_two, Down::Stopped));
    assert_eq!(two.transport.link(one.id), None);
    two.transport.stop();
}
