//! Long reads are decoded by workers, and answered also if a worker is lost.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::device::Wake;
use crate::error::ErrorKind;
use crate::read::ReadData;
use crate::store::decode::{self, Order};

const LEN: usize = 64 * BLOCK;

/// A store with something to read from segments, and a place for reads that offers its fetches to `orders`.
fn reads_offered_to(orders: SyncSender<Order>) -> (Arc<Store>, VolumeReads) {
    let store = new_store(&SimDevice::new(41, Faults::none()));
    let volume = new_volume(&store, 1 << 20);
    write(&volume, 0, &pattern(1, LEN));
    settle(&store);
    let mut reads = volume.reads().unwrap();
    reads.aside.orders = Some(orders);
    (store, reads)
}

fn read_long(reads: &mut VolumeReads) -> Result<ReadData> {
    reads.start(7, 0, LEN);
    long_answer(reads)
}

fn long_answer(reads: &mut VolumeReads) -> Result<ReadData> {
    loop {
        match reads.next_finished() {
            Some((token, answer)) => {
                assert_eq!((token, reads.in_flight()), (7, 0));
                return answer;
            }
            None => drop(reads.wait(None, None).unwrap()),
        }
    }
}

#[test]
fn what_workers_decode_is_what_was_written() {
    let (orders, waiting) = sync_channel(8);
    let (store, mut reads) = reads_offered_to(orders.clone());
    let pool = Arc::clone(&store.inner.read_payloads);
    let worker = std::thread::spawn(move || decode::work(&Mutex::new(waiting), &pool));
    for _ in 0..3 {
        let mut found = vec![0; LEN];
        read_long(&mut reads).unwrap().copy_to(&mut found);
        assert!(found == pattern(1, LEN));
    }
    orders.send(Order::Stop).unwrap();
    worker.join().unwrap();
}

/// The reader would have waited for ever.
#[test]
fn a_read_whose_worker_is_lost_fails_and_the_next_one_does_not() {
    let (orders, waiting) = sync_channel(8);
    let (_store, mut reads) = reads_offered_to(orders);
    let loser = std::thread::spawn(move || {
        if let Order::Decode(mut job) = waiting.recv().unwrap() {
            drop(job.take());
        }
    });
    assert_eq!(read_long(&mut reads).unwrap_err().kind(), ErrorKind::Poisoned);
    loser.join().unwrap();
    let mut found = vec![0; LEN];
    read_long(&mut reads).unwrap().copy_to(&mut found);
    assert!(found == pattern(1, LEN));
}

/// A read whose fetch waits in the channel, where nobody takes it from.
fn offered_read() -> (Arc<Store>, VolumeReads, Receiver<Order>) {
    let (orders, waiting) = sync_channel(8);
    let (store, mut reads) = reads_offered_to(orders);
    reads.start(7, 0, LEN);
    while reads.aside.under_way.is_empty() {
        assert!(reads.next_finished().is_none());
        reads.wait(None, Some(Duration::ZERO)).unwrap();
    }
    (store, reads, waiting)
}

/// As when a store is closed in the middle of a read: it would have failed although nothing was wrong.
#[test]
fn a_read_that_workers_have_not_begun_when_they_end_is_decoded_by_the_reader() {
    let (_store, mut reads, waiting) = offered_read();
    drop(waiting);
    let mut found = vec![0; LEN];
    long_answer(&mut reads).unwrap().copy_to(&mut found);
    assert!(found == pattern(1, LEN));
}

/// A read that waits for a worker that does not come, and a watch that ends the wait after all: true if it was not needed.
fn read_without_workers() -> (Arc<Store>, VolumeReads, impl FnOnce() -> bool) {
    let (store, reads, waiting) = offered_read();
    let (done, is_done) = sync_channel::<()>(1);
    let watch = std::thread::spawn(move || {
        let in_time = is_done.recv_timeout(Duration::from_secs(20)).is_ok();
        drop(waiting);
        in_time
    });
    let end = move || {
        done.send(()).unwrap();
        watch.join().unwrap()
    };
    (store, reads, end)
}

#[test]
fn a_wait_without_time_does_not_wait_for_workers() {
    let (_store, mut reads, end) = read_without_workers();
    assert_eq!(reads.wait(None, Some(Duration::ZERO)).unwrap(), Wake::default());
    assert!(end(), "the wait waited for the worker");
}

#[test]
fn a_wait_whose_socket_has_something_does_not_wait_for_workers() {
    let (_store, mut reads, end) = read_without_workers();
    let (socket, mut peer) = UnixStream::pair().unwrap();
    peer.write_all(b"x").unwrap();
    assert!(reads.wait(Some(socket.as_fd()), None).unwrap().socket_readable);
    assert!(end(), "the wait waited for the worker");
}
