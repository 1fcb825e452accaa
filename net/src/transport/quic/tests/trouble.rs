//! Nodes that die, are removed, or are not who they should be.

use std::time::Duration;

use super::cluster::{Node, authority, config, credentials, credentials_at, introduce, numbered, pair, until};
use crate::environment::{Clock, SystemClock};
use crate::identity::NodeId;
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
