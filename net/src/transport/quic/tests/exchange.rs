//! Messages, questions and answers between nodes that like each other.

use std::time::Duration;

use super::cluster::{
    Heard, KEPT, KEPT_JOURNAL, LONG, Node, Order, REFUSED, UNANSWERED, authority, config, credentials, introduce,
    number, numbered, pair,
};
use crate::envelope::{Kind, Message};
use crate::transport::quic::Config;
use crate::transport::quic::outbox::CHANNELS_MAX;
use crate::transport::quic::request::QUESTIONS_MAX;
use crate::transport::{Channel, Class, Down, Link, Received, RequestError, SendError, Transport, call};

#[test]
fn two_nodes_exchange_messages() {
    let (one, two, to_two, to_one) = pair(config());
    assert_eq!((to_two.peer, to_one.peer), (two.id, one.id));
    let channel = Channel::journal(7);
    one.transport.send(to_two, channel, numbered(channel, 3, 4096)).unwrap();
    let received = two.message();
    assert_eq!((received.link, received.channel), (to_one, channel));
    assert_eq!(received.message, numbered(channel, 3, 4096));
    two.transport.send(to_one, channel, numbered(channel, 4, 8)).unwrap();
    assert_eq!(one.message().message, numbered(channel, 4, 8));
}

/// Sends, waiting for room where the queue is full; gives what came meanwhile.
fn send(node: &Node, link: Link, channel: Channel, message: &Message) -> Vec<Received> {
    let mut came = Vec::new();
    while node.transport.send(link, channel, message.clone()) == Err(SendError::Full) {
        loop {
            match node.next() {
                Heard::Room(class) if class == channel.class => break,
                Heard::Message(received) => came.push(received),
                _ => {}
            }
        }
    }
    came
}

#[test]
fn three_nodes_keep_the_order_of_every_channel() {
    let authority = authority();
    let nodes: Vec<_> = (1..=3).map(|id| Node::start(&credentials(&authority, id), config())).collect();
    introduce(&nodes.iter().collect::<Vec<_>>());
    let links: Vec<_> = nodes.iter().map(|node| [node.up(), node.up()]).collect();
    let channels = [Channel::control(0), Channel::journal(1), Channel::journal(2), Channel::bulk(1)];
    let mut orders: Vec<_> = nodes.iter().map(|_| Order::default()).collect();
    for number in 0..200 {
        for channel in channels {
            let message = numbered(channel, number, 8 + (number as usize * 997) % 40_000);
            for ((node, links), order) in nodes.iter().zip(&links).zip(&mut orders) {
                for link in links {
                    send(node, *link, channel, &message).iter().for_each(|received| order.check(received));
                }
            }
        }
    }
    for (node, order) in nodes.iter().zip(&mut orders) {
        while order.checked() < 2 * channels.len() as u64 * 200 {
            if let Heard::Message(received) = node.next() {
                order.check(&received);
            }
        }
    }
}

#[test]
fn questions_are_answered_refused_or_time_out() {
    let (one, _two, to_two, _) = pair(config());
    let question = Message::new(Kind::control(9), vec![5; 700_000]);
    assert_eq!(call(&one.transport, to_two, question.clone(), LONG), Ok(question));
    let refused = Message::new(REFUSED, Vec::new());
    assert_eq!(call(&one.transport, to_two, refused, LONG), Err(RequestError::Refused));
    let unanswered = Message::new(UNANSWERED, Vec::new());
    let short = Duration::from_millis(50);
    assert_eq!(call(&one.transport, to_two, unanswered, short), Err(RequestError::Deadline));
    let own = Message::new(Kind::HELLO, Vec::new());
    assert!(matches!(call(&one.transport, to_two, own, LONG), Err(RequestError::Unsent(SendError::Misplaced(_)))));
}

#[test]
fn a_question_that_is_given_up_while_it_is_sent_ends_nothing() {
    let (one, two, to_two, to_one) = pair(Config { window_bytes: 1 << 20, ..config() });
    let long = vec![5; 1 << 20];
    one.transport.request(to_two, Message::new(KEPT, long.clone()), LONG, Box::new(drop));
    let Heard::Question(kept) = two.next() else { panic!("a question should come") };
    // There is room for one of this length: of another one only what fits the window leaves.
    let late = Message::new(Kind::control(1), long);
    assert_eq!(call(&one.transport, to_two, late, Duration::from_millis(200)), Err(RequestError::Deadline));
    drop(kept);
    let next = Message::new(Kind::control(1), vec![6; 100]);
    assert_eq!(call(&one.transport, to_two, next.clone(), LONG), Ok(next));
    assert_eq!((one.transport.link(two.id), two.transport.link(one.id)), (Some(to_two), Some(to_one)));
}

#[test]
fn the_agreement_can_ask_while_clients_ask_as_much_as_they_may() {
    let (one, two, to_two, _) = pair(config());
    let client = || Message::new(KEPT_JOURNAL, Vec::new());
    let asked = QUESTIONS_MAX[1];
    (0..asked).for_each(|_| one.transport.request(to_two, client(), LONG, Box::new(drop)));
    let kept: Vec<_> = (0..asked).map(|_| two.next()).collect();
    assert_eq!(call(&one.transport, to_two, client(), LONG), Err(RequestError::Unsent(SendError::Full)));
    let agreement = Message::new(Kind::control(1), vec![1; 100]);
    assert_eq!(call(&one.transport, to_two, agreement.clone(), LONG), Ok(agreement));
    drop(kept);
}

#[test]
fn channels_that_are_not_wanted_make_room_and_keep_their_order() {
    let (one, two, to_two, _) = pair(config());
    let mut order = Order::default();
    let channel = |id: u32| Channel::journal(id.into());
    let send = |id, number, order: &mut Order| {
        one.transport.send(to_two, channel(id), numbered(channel(id), number, 8)).unwrap();
        order.check(&two.message());
    };
    (0..CHANNELS_MAX).for_each(|id| send(id, 0, &mut order));
    let further = channel(CHANNELS_MAX);
    let message = numbered(further, 0, 8);
    assert_eq!(one.transport.send(to_two, further, message.clone()), Err(SendError::Channels));
    one.transport.retain_channels(&|link, channel| link != to_two || channel.id == 7);
    one.transport.send(to_two, further, message).unwrap();
    order.check(&two.message());
    // Some are wanted again, one of them was wanted all the time, and some end with much on its way.
    for number in 1..200 {
        (5..10).for_each(|id| one.transport.send(to_two, channel(id), numbered(channel(id), number, 4000)).unwrap());
        one.transport.retain_channels(&|_, channel| channel.id % 2 == 0);
    }
    (0..199 * 5).for_each(|_| order.check(&two.message()));
    assert!(two.heard.try_recv().is_err());
}

#[test]
fn questions_end_with_their_link() {
    let (one, two, to_two, _) = pair(config());
    let (sender, answers) = std::sync::mpsc::channel();
    let answer = move |answer| sender.send(answer).unwrap();
    one.transport.request(to_two, Message::new(UNANSWERED, Vec::new()), LONG * 10, Box::new(answer));
    // An answered question after it shows that the peer has it.
    call(&one.transport, to_two, Message::new(Kind::control(1), Vec::new()), LONG).unwrap();
    drop(two);
    assert_eq!(answers.recv_timeout(LONG).unwrap(), Err(RequestError::Down));
    assert_eq!(one.down(), (to_two, Down::Stopped));
    let late = Message::new(Kind::control(1), Vec::new());
    assert_eq!(call(&one.transport, to_two, late, LONG), Err(RequestError::Unsent(SendError::Down)));
}

#[test]
fn senders_are_told_what_they_did_wrong() {
    let (one, _two, to_two, _) = pair(config());
    let message = numbered(Channel::bulk(0), 0, 8);
    assert_eq!(one.transport.send(to_two, Channel::journal(0), message), Err(SendError::Misplaced(Kind::bulk(1).0)));
    let long = Message::new(Kind::control(1), vec![0; (1 << 20) + 1]);
    assert!(matches!(one.transport.send(to_two, Channel::control(0), long), Err(SendError::Message(_))));
    let old = Link { session: to_two.session + 1, ..to_two };
    let message = numbered(Channel::control(0), 0, 8);
    assert_eq!(one.transport.send(old, Channel::control(0), message), Err(SendError::Down));
}

#[test]
fn a_slow_receiver_stops_its_sender_and_nothing_grows() {
    let config = config();
    let (one, two, to_two, _) = pair(config.clone());
    let channel = Channel::bulk(1);
    let bytes = 1 << 20;
    let message = numbered(channel, 0, bytes);
    // Two takes messages off the network and keeps them; so it goes on until all room there is is taken.
    let mut sent = 0;
    loop {
        match one.transport.send(to_two, channel, numbered(channel, sent, bytes)) {
            Ok(()) => sent += 1,
            Err(SendError::Full) => match one.heard.recv_timeout(Duration::from_secs(2)) {
                Ok(Heard::Room(Class::Bulk)) => {}
                Ok(other) => panic!("no {other:?} expected"),
                Err(_) => break,
            },
            Err(other) => panic!("{other}"),
        }
    }
    let room = config.send_bytes_max[2] + config.receive_bytes_max[2] + 2 * config.window_bytes as usize;
    assert!(sent as usize * message.wire_bytes() <= room, "{sent} messages are more than {room} bytes");
    // The other classes go on.
    let urgent = numbered(Channel::control(0), 0, 8);
    one.transport.send(to_two, Channel::control(0), urgent).unwrap();
    let mut kept = Vec::new();
    loop {
        match two.message() {
            received if received.channel == channel => kept.push(received),
            received => break assert_eq!(received.channel, Channel::control(0)),
        }
    }
    assert!(kept.len() * bytes <= config.receive_bytes_max[2]);
    // Once what was kept is dropped the rest comes.
    let next = kept.len() as u64;
    kept.clear();
    for expected in next..sent {
        assert_eq!(number(&two.message().message), expected);
    }
    assert!(matches!(one.next(), Heard::Room(Class::Bulk)));
}
