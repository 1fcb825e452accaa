//! Programs of different age.

use super::cluster::{Node, authority, config, credentials, introduce, numbered, until};
use crate::envelope::Versions;
use crate::transport::quic::Config;
use crate::transport::{Channel, Down, Transport};

fn speaking(min: u16, max: u16) -> Config {
    Config { versions: Versions { min, max }, ..config() }
}

#[test]
fn a_program_speaks_with_the_one_before_it() {
    let authority = authority();
    for (older, newer) in [(speaking(1, 1), speaking(1, 2)), (speaking(1, 2), speaking(1, 1))] {
        let one = Node::start(&credentials(&authority, 1), older);
        let two = Node::start(&credentials(&authority, 2), newer);
        introduce(&[&one, &two]);
        let (link, _) = (one.up(), two.up());
        let channel = Channel::control(0);
        one.transport.send(link, channel, numbered(channel, 5, 8)).unwrap();
        assert_eq!(two.message().message, numbered(channel, 5, 8));
    }
}

#[test]
fn programs_too_far_apart_say_so() {
    let authority = authority();
    let one = Node::start(&credentials(&authority, 1), speaking(1, 1));
    let two = Node::start(&credentials(&authority, 2), speaking(2, 3));
    introduce(&[&one, &two]);
    let expected = Down::Version("node 1 speaks 1 to 1, node 2 2 to 3".to_owned());
    until(&one, || one.transport.last_failure(two.id) == Some(expected.clone()));
}
