use net::replication::{Body, Epoch, History, Lsn, Record};

use super::super::content::{Change, draft};
use super::Order;
use crate::model::Violation;

/// An order of writes to cell 0, numbered from 1 and called at ten times their numbers.
fn ordered(count: u64) -> (Order, History) {
    let (mut order, mut history) = (Order::new(), History::default());
    for number in 1..=count {
        write(&mut order, number, number * 10);
        history.extend(Epoch(1), 1);
        order.see(Lsn(number), &record(Epoch(1), number, &order)).expect("a first record");
    }
    order.commit(&history, Lsn(count)).expect("a first order");
    (order, history)
}

fn write(order: &mut Order, number: u64, called: u64) {
    order.ask(number, Change::Write { first: 0, count: 1 }, called);
}

fn record(epoch: Epoch, number: u64, order: &Order) -> Record {
    Record { epoch, body: Body::Write(draft(number, order.change(number)).record().clone()) }
}

fn is_wrong<T>(done: Result<T, Violation>) -> bool {
    done.is_err()
}

#[test]
fn reads_see_what_was_answered_and_nothing_that_is_to_come() {
    let read = |value: u64, called: u64, answered: u64| {
        let (mut order, _) = ordered(3);
        order.answer(&[1], 10, 15).expect("it is in the order");
        order.answer(&[2], 20, 25).expect("it is in the order");
        order.read(0, vec![value], called, answered);
        order.check()
    };
    assert!(read(1, 16, 24).is_ok() && read(2, 16, 24).is_ok(), "a write under way may be seen");
    assert!(is_wrong(read(0, 16, 24)), "what was answered was not seen");
    assert!(is_wrong(read(3, 16, 24)), "what had not been called was seen");
    assert!(read(3, 26, 40).is_ok(), "what is never answered may be seen");
    assert!(is_wrong(read(1, 26, 40)), "what was written over was seen");
}

#[test]
fn what_was_seen_is_never_unseen() {
    let (mut order, _) = ordered(2);
    order.read(0, vec![2], 21, 22);
    order.read(0, vec![1], 23, 24);
    assert!(is_wrong(order.check()));
}

#[test]
fn an_answer_needs_a_place() {
    let (mut order, _) = ordered(1);
    write(&mut order, 9, 50);
    assert!(is_wrong(order.answer(&[9], 50, 60)));
}

#[test]
fn what_was_answered_comes_before_what_is_called_after() {
    let (mut order, _) = ordered(2);
    order.answer(&[2], 20, 22).expect("it is in the order");
    order.answer(&[1], 23, 24).expect("it is in the order");
    assert!(is_wrong(order.check()));
}

#[test]
fn one_place_has_one_record() {
    let (mut order, mut history) = ordered(2);
    write(&mut order, 3, 30);
    let other = record(Epoch(1), 3, &order);
    assert!(is_wrong(order.see(Lsn(2), &other)));
    history.truncate(Lsn(1));
    history.extend(Epoch(2), 1);
    order.see(Lsn(2), &record(Epoch(2), 3, &order)).expect("another epoch may put another record there");
    assert!(is_wrong(order.commit(&history, Lsn(2))), "but not where all members held one");
}

#[test]
fn a_loss_takes_the_newest_that_was_not_flushed() {
    let lose = |flushed: bool, kept: u64| {
        let (mut order, mut history) = ordered(3);
        order.answer(&[1], 10, 15).expect("it is in the order");
        order.answer(&[2], 20, 25).expect("it is in the order");
        if flushed {
            order.flush(26);
        }
        history.truncate(Lsn(kept));
        order.lose(Epoch(2), &history).map(|()| order.end())
    };
    assert_eq!(lose(false, 1).expect("nothing was flushed"), Lsn(1));
    assert_eq!(lose(true, 2).expect("what was flushed is there"), Lsn(2));
    assert!(is_wrong(lose(true, 1)));
}

#[test]
fn an_opening_is_a_record_too() {
    let (mut order, mut history) = ordered(1);
    history.extend(Epoch(2), 1);
    order.see(Lsn(2), &Record { epoch: Epoch(2), body: Body::Opening }).expect("a first record");
    order.commit(&history, Lsn(2)).expect("it goes on");
    assert_eq!(order.state(Lsn(1)), order.state(Lsn(2)));
}
