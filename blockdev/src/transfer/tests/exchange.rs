//! Two nodes that hear each other, over a link that counts, cuts, damages and replaces.

mod resume;

use std::sync::mpsc::{Receiver as Inbox, Sender as Post, channel};
use std::thread;

use super::*;
use crate::transfer::answer::{Answer, AnswerEncoder, Greeting, Wanted};

/// What happens to one direction.
#[derive(Clone, Copy, Default)]
struct Fault {
    /// From this byte on nothing arrives, and the direction ends.
    cut_at: Option<usize>,
    /// This bit arrives as what it is not.
    flipped: Option<usize>,
}

/// One end of a link.
struct End {
    post: Option<Post<Vec<u8>>>,
    inbox: Inbox<Vec<u8>>,
    fault: Fault,
    /// Bytes that were said.
    said: usize,
    /// The same after each time that something was.
    said_by: Vec<usize>,
}

fn link(faults: [Fault; 2]) -> [End; 2] {
    let ((one, other_inbox), (other, one_inbox)) = (channel(), channel());
    let end = |post, inbox, fault| End { post: Some(post), inbox, fault, said: 0, said_by: Vec::new() };
    [end(one, one_inbox, faults[0]), end(other, other_inbox, faults[1])]
}

impl Outlet for End {
    /// What is said to one that has ended is lost: why it ended is in what it said.
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut bytes = bytes.to_vec();
        let start = self.said;
        self.said += bytes.len();
        self.said_by.push(self.said);
        if let Some(bit) = self.fault.flipped.filter(|bit| (start..self.said).contains(&(bit / 8))) {
            bytes[bit / 8 - start] ^= 1 << (bit % 8);
        }
        let cut_at = self.fault.cut_at.filter(|at| *at < self.said);
        bytes.truncate(cut_at.map_or(bytes.len(), |at| at.saturating_sub(start)));
        if let Some(post) = self.post.as_ref().filter(|_| !bytes.is_empty()) {
            let _ = post.send(bytes);
        }
        if cut_at.is_some() {
            self.post = None;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<Vec<u8>> {
        Ok(self.inbox.recv().unwrap_or_default())
    }

    fn progress(&mut self, _what: &str, done: u64, total: u64) -> Result<()> {
        assert!(done <= total);
        Ok(())
    }
}

/// What both ends say of an exchange.
struct Outcome {
    sent: Result<Sent>,
    received: Result<Received>,
    /// Bytes that the sender said, and that it heard.
    bytes: [usize; 2],
    /// Bytes that the sender had said after each of its records.
    records: Vec<usize>,
}

impl Outcome {
    #[track_caller]
    fn sound(self) -> (Sent, Received) {
        (self.sent.unwrap(), self.received.unwrap())
    }
}

fn exchange_over(
    faults: [Fault; 2],
    (from, snapshot, base): (&Bench, &str, Option<&str>),
    (to, name, force): (&Bench, &str, bool),
) -> Outcome {
    let [mut ours, mut theirs] = link(faults);
    let options = ReceiveOptions { codec: Codec::Lz4, force };
    let base = base.map(snapshot_name);
    thread::scope(|scope| {
        let receiving = scope.spawn(move || {
            let received = accept(Arc::clone(&to.node), volume_name(name), options, &mut theirs);
            (received, theirs.said)
        });
        let sent = offer(&from.node, &snapshot_name(snapshot), base.as_ref(), &mut ours);
        let (said, records) = (ours.said, std::mem::take(&mut ours.said_by));
        drop(ours);
        let (received, heard) = receiving.join().unwrap();
        Outcome { sent, received, bytes: [said, heard], records }
    })
}

fn exchange(from: &Bench, snapshot: &str, base: Option<&str>, to: &Bench, name: &str) -> Outcome {
    exchange_over([Fault::default(); 2], (from, snapshot, base), (to, name, false))
}

#[track_caller]
fn assert_same(from: &Bench, snapshot: &str, to: &Bench, name: &str) {
    assert!(from.content(snapshot) == to.content(name), "{snapshot} and {name}");
    assert_eq!(from.root(snapshot), to.root(name));
}

#[test]
fn a_snapshot_comes_back_as_it_was_frozen() {
    let (from, to) = (grown(40), Bench::new(41));
    let (sent, received) = exchange(&from, "vm@mon", None, &to, "copy").sound();
    assert_eq!((sent.data_blocks, sent.had_blocks, sent.root), (150, 0, received.root));
    assert_eq!((received.data_blocks, received.had_blocks, received.base), (150, 0, None));
    from.write("vm", 0, &noise(9, 9));
    for _ in 0..2 {
        assert_same(&from, "vm@mon", &to, "copy");
        assert_same(&from, "vm@mon", &to, "copy@mon");
        to.settle();
    }
    let reopened = Bench { node: opened(&to.device.process_death()), device: to.device.clone() };
    assert_eq!(reopened.names(), ["copy", "copy@mon"]);
    let (sent, received) = exchange(&from, "vm@tue", Some("vm@mon"), &to, "copy").sound();
    assert_eq!((sent.data_blocks, received.base), (10, Some(volume_name("mon"))));
    assert_same(&from, "vm@tue", &to, "copy@tue");
    assert_same(&from, "vm@mon", &to, "copy@mon");
}

/// 1 % of 16 MiB is new, and nobody says since when.
#[test]
fn what_the_receiver_has_does_not_travel() {
    let (from, to) = (Bench::new(42), Bench::new(43));
    let blocks = 4096;
    from.create("vm", blocks * BLOCK, Codec::Lz4);
    from.write("vm", 0, &noise(1, blocks));
    from.snapshot("vm@a");
    from.settle();
    let (sent, _) = exchange(&from, "vm@a", None, &to, "copy").sound();
    assert_eq!((sent.data_blocks, sent.had_blocks), (blocks, 0));
    to.settle();
    for at in 0..40 {
        from.write("vm", 100 * at, &noise(100 + at, 1));
    }
    from.snapshot("vm@b");
    // Each new block with its headers, each other with its fingerprint.
    let bytes_max = |new: u64| new * (BLOCK + 100) + blocks * 33;
    // To the second volume nothing is new: the first has it.
    for (name, base, new) in [("copy", Some(volume_name("a")), 40), ("other", None, 0)] {
        let outcome = exchange(&from, "vm@b", None, &to, name);
        let [said, heard] = outcome.bytes.map(|bytes| bytes as u64);
        let (sent, received) = outcome.sound();
        assert_eq!((sent.data_blocks, sent.had_blocks, &received.base), (new, blocks - new, &base), "{name}");
        assert_eq!((received.data_blocks, received.had_blocks), (new, blocks - new), "{name}");
        assert!(said < bytes_max(new), "{said} bytes to {name}");
        assert!(heard < 2000, "{heard} bytes from {name}");
        assert_same(&from, "vm@b", &to, name);
        to.settle();
    }
    assert_same(&from, "vm@a", &to, "copy@a");
}

/// On a volume that is there, what is zeros is made zeros, and nothing of what it was is left.
#[test]
fn a_volume_that_is_there_becomes_another() {
    let (from, to) = (grown(44), Bench::new(45));
    to.create("vm", 321 * BLOCK + 7, Codec::Lz4);
    to.write("vm", 0, &noise(77, 300));
    let refused = exchange(&from, "vm@mon", None, &to, "vm").received.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Exists, "there is no snapshot to go back to");
    to.snapshot("vm@before");
    to.write("vm", 9, &noise(78, 1));
    let refused = exchange(&from, "vm@mon", None, &to, "vm");
    assert!(matches!(refused.received, Err(TransferError::Changed { .. })));
    let told = refused.sent.unwrap_err();
    assert!(matches!(&told, TransferError::Receiver { kind: ErrorKind::Invalid, .. }), "{told}");
    to.node.roll_back(&snapshot_name("vm@before")).unwrap();
    let held = to.node.export(&"vm".parse().unwrap()).unwrap();
    assert_eq!(exchange(&from, "vm@mon", None, &to, "vm").sent.unwrap_err().kind(), ErrorKind::Busy);
    drop(held);
    let before = to.root("vm@before");
    let (_, received) = exchange(&from, "vm@tue", None, &to, "vm").sound();
    assert_eq!(received.base, Some(volume_name("before")));
    for _ in 0..2 {
        assert_same(&from, "vm@tue", &to, "vm");
        assert_eq!(to.root("vm@before"), before);
        to.settle();
    }
    assert_eq!(exchange(&from, "vm@tue", None, &to, "vm").sent.unwrap_err().kind(), ErrorKind::Exists);
    // What was written since may go if the receiver says so.
    to.write("vm", 0, &noise(79, 1));
    let forced = exchange_over([Fault::default(); 2], (&from, "vm@mon", None), (&to, "vm", true));
    forced.sound();
    assert_same(&from, "vm@mon", &to, "vm@mon");
    assert_eq!(to.names(), ["vm", "vm@before", "vm@tue", "vm@mon"]);
}

#[test]
fn a_base_is_proved_before_anything_is_offered() {
    let (from, to) = (grown(46), Bench::new(47));
    assert_eq!(exchange(&from, "vm@tue", Some("vm@mon"), &to, "vm").sent.unwrap_err().kind(), ErrorKind::NotFound);
    to.create("vm", 200 * BLOCK, Codec::Lz4);
    to.snapshot("vm@mon");
    let refused = exchange(&from, "vm@tue", Some("vm@mon"), &to, "vm");
    assert!(matches!(refused.received, Err(TransferError::OtherBase { .. })));
    assert_eq!(refused.sent.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(to.names(), ["vm", "vm@mon"]);
    let unknown = exchange(&from, "vm@none", None, &to, "vm");
    assert_eq!(unknown.sent.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(unknown.received.unwrap_err().kind(), ErrorKind::Corrupt);
}

/// A small snapshot on a base of which the receiver has a part, and what both said when nothing went wrong.
fn small_pair() -> (Bench, Bench, [usize; 2]) {
    let (from, to) = (Bench::new(48), Bench::new(49));
    from.create("vm", 9 * BLOCK, Codec::Lz4);
    from.write("vm", 0, &text(1, 6));
    from.snapshot("vm@a");
    from.write("vm", 1, &text(2, 1));
    from.write("vm", 7, &text(3, 1));
    from.volume("vm").zero(3 * BLOCK, BLOCK, Zeroing::Hole).unwrap();
    from.snapshot("vm@b");
    exchange(&from, "vm@a", None, &to, "vm").sound();
    let aside = Bench::new(50);
    exchange(&from, "vm@a", None, &aside, "vm").sound();
    let outcome = exchange(&from, "vm@b", None, &aside, "vm");
    let bytes = outcome.bytes;
    outcome.sound();
    (from, to, bytes)
}

/// Holds an exchange in which one direction has a fault. The receiver has nothing or all of it, and the sender says that it has
/// all only if it does.
#[track_caller]
fn assert_whole_or_nothing(from: &Bench, to: &Bench, faults: [Fault; 2], what: &str) {
    let (names, root) = (to.names(), to.root("vm"));
    let Outcome { sent, received, .. } = exchange_over(faults, (from, "vm@b", None), (to, "vm", true));
    match received {
        Err(_) => {
            assert!(sent.is_err(), "{what}: the sender says that it was received");
            assert_eq!((to.names(), to.root("vm")), (names, root), "{what}: something is left");
        }
        Ok(received) => {
            assert_eq!(received.root.to_string(), from.root("vm@b"), "{what}");
            assert_same(from, "vm@b", to, "vm");
            to.node.roll_back(&snapshot_name("vm@a")).unwrap();
            to.node.remove_snapshot(&snapshot_name("vm@b")).unwrap();
        }
    }
}

#[test]
fn an_exchange_that_is_cut_anywhere_leaves_all_or_nothing() {
    let (from, to, [said, heard]) = small_pair();
    for at in (0..said).step_by(3) {
        let faults = [Fault { cut_at: Some(at), ..Fault::default() }, Fault::default()];
        assert_whole_or_nothing(&from, &to, faults, &format!("cut after {at} bytes of the sender"));
    }
    for at in 0..heard {
        let faults = [Fault::default(), Fault { cut_at: Some(at), ..Fault::default() }];
        assert_whole_or_nothing(&from, &to, faults, &format!("cut after {at} bytes of the receiver"));
    }
    exchange(&from, "vm@b", None, &to, "vm").sound();
}

#[test]
fn an_exchange_with_a_bit_flipped_leaves_all_or_nothing() {
    let (from, to, [said, heard]) = small_pair();
    for bit in (0..8 * said).step_by(11) {
        let faults = [Fault { flipped: Some(bit), ..Fault::default() }, Fault::default()];
        assert_whole_or_nothing(&from, &to, faults, &format!("bit {bit} of the sender"));
    }
    for bit in (0..8 * heard).step_by(3) {
        let faults = [Fault::default(), Fault { flipped: Some(bit), ..Fault::default() }];
        assert_whole_or_nothing(&from, &to, faults, &format!("bit {bit} of the receiver"));
    }
    exchange(&from, "vm@b", None, &to, "vm").sound();
}

#[test]
fn a_crash_of_the_receiver_leaves_what_was_there() {
    let (from, to, [said, _]) = small_pair();
    let root = to.root("vm");
    for at in (0..said).step_by(97) {
        let faults = [Fault { cut_at: Some(at), ..Fault::default() }, Fault::default()];
        let [mut ours, mut theirs] = link(faults);
        let node = &from.node;
        let receiver = thread::scope(|scope| {
            scope.spawn(move || offer(node, &snapshot_name("vm@b"), None, &mut ours).map(drop));
            let mut receiver = Receiver::answering(Arc::clone(&to.node), volume_name("vm"), ReceiveOptions::default());
            // What came before this is still there, so that it may be over before the cut.
            while !receiver.is_over() {
                theirs.write(&receiver.take_answers()).unwrap();
                let bytes = theirs.read().unwrap();
                if bytes.is_empty() {
                    break;
                }
                receiver.push(&bytes, &mut ignore).unwrap();
            }
            drop(theirs);
            receiver
        });
        let crashed = Bench { node: opened(&to.device.process_death()), device: to.device.clone() };
        assert_eq!((crashed.names(), crashed.root("vm")), (vec!["vm".to_owned(), "vm@a".to_owned()], root.clone()));
        drop(receiver);
    }
}

/// An end that says what it was told to, whatever it hears.
struct Saying {
    says: Vec<Vec<u8>>,
    heard: Vec<u8>,
}

impl Saying {
    fn new(says: &[&[u8]]) -> Self {
        Self { says: says.iter().rev().map(|bytes| bytes.to_vec()).collect(), heard: Vec::new() }
    }
}

impl Outlet for Saying {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.heard.extend_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self) -> Result<Vec<u8>> {
        Ok(self.says.pop().unwrap_or_default())
    }

    fn progress(&mut self, _what: &str, _done: u64, _total: u64) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_sender_knows_who_does_not_answer_as_it_should() {
    let (from, _, _) = small_pair();
    let told = |says: &[&[u8]]| {
        let mut saying = Saying::new(says);
        let error = offer(&from.node, &snapshot_name("vm@b"), None, &mut saying).unwrap_err();
        (error, saying.heard)
    };
    let said = |greeting, answers: &[Answer]| {
        let (mut encoder, mut bytes) = (AnswerEncoder::default(), Vec::new());
        encoder.greet(greeting, &mut bytes);
        answers.iter().for_each(|answer| encoder.encode(answer, &mut bytes));
        bytes
    };
    let (error, heard) = told(&[b"Welcome", b" to host\n"]);
    assert_eq!(error.to_string(), "the other end does not answer as `silt recv --serve` does: it says \"Welcome\"");
    assert!(heard.is_empty(), "nothing is said to a stranger");
    assert!(matches!(told(&[]).0, TransferError::ReceiverGone));
    let newer = Greeting { version_min: 2, version_max: 3, ..Greeting::OURS };
    let (error, heard) = told(&[&said(newer, &[])]);
    assert_eq!((error.kind(), heard.len()), (ErrorKind::Unsupported, 0));
    assert!(error.to_string().contains("versions 2 to 3"), "{error}");
    let featureless = Greeting { features: 0, ..Greeting::OURS };
    assert_eq!(told(&[&said(featureless, &[])]).0.kind(), ErrorKind::Unsupported);
    // A newer one that still takes what is written here is heard.
    let both = Greeting { version_max: 7, features: 0xff, ..Greeting::OURS };
    assert!(matches!(told(&[&said(both, &[])]).0, TransferError::ReceiverGone));
    let early = Answer::Received { root: [0; 32], snapshot: 1, name: "vm@b".into() };
    let wanted = |first, count| Answer::Wanted(Wanted { first: BlockIndex(first), wanted: vec![false; count] });
    for senseless in [early.clone(), wanted(1, 3), wanted(0, 2), wanted(0, 4)] {
        let error = told(&[&said(Greeting::OURS, &[senseless])]).0;
        assert!(matches!(error, TransferError::Answer(_)), "{error}");
    }
    // One that wants nothing and has something else in the end is not believed.
    let error = told(&[&said(Greeting::OURS, &[wanted(0, 3), wanted(4, 2), wanted(7, 1), early])]).0;
    assert!(matches!(error, TransferError::OtherRoot { .. }), "{error}");
    let full = Answer::Failed { kind: ErrorKind::OutOfSpace, message: "the store is full".into() };
    let error = told(&[&said(Greeting::OURS, &[wanted(0, 3), full])]).0;
    assert_eq!(
        (error.kind(), error.to_string()),
        (ErrorKind::OutOfSpace, "the receiver says: the store is full".into())
    );
}

/// With good checksums: what a hostile sender can do.
#[test]
fn a_sender_gives_what_was_asked_for_and_nothing_else() {
    let to = Bench::new(51);
    let stored = |seed| {
        let data = noise(seed, 1);
        let content: &[u8; BLOCK_BYTES] = data[..].try_into().unwrap();
        StoredBlock { fingerprint: Fingerprint::of(content), encoding: Encoding::Raw, bytes: content.to_vec() }
    };
    let (one, other) = (stored(1), stored(2));
    let begin = begin(3 * BLOCK, 0);
    let offer =
        |first, block: &StoredBlock| Record::Offer { first: BlockIndex(first), fingerprints: vec![block.fingerprint] };
    let blocks = |first, block: &StoredBlock| Record::Blocks { first: BlockIndex(first), blocks: vec![block.clone()] };
    let end = |data_blocks, records| Record::End(format::End { root: [0; 32], data_blocks, zero_blocks: 0, records });
    let told = |records: &[Record]| {
        let (mut encoder, mut bytes) = (StreamEncoder::asking(), Vec::new());
        records.iter().for_each(|record| encoder.encode(record, &mut bytes));
        let mut saying = Saying::new(&[&bytes]);
        accept(Arc::clone(&to.node), volume_name("vm"), ReceiveOptions::default(), &mut saying).unwrap_err()
    };
    let records = |rest: &[Record]| [std::slice::from_ref(&begin), rest].concat();
    let (foreign, unasked) = ("its content has another fingerprint", "are not those that were asked for");
    for (wrong, why) in [
        (records(&[offer(0, &one), blocks(0, &other)]), unasked),
        (records(&[offer(0, &one), offer(1, &other), blocks(1, &other)]), unasked),
        (records(&[offer(0, &one), blocks(0, &one), blocks(0, &one)]), unasked),
        (records(&[offer(0, &one), offer(1, &other), blocks(0, &one), end(1, 4)]), "before all that was asked for"),
        (records(&[blocks(0, &one)]), "were not offered"),
        (records(&[offer(0, &one), blocks(0, &StoredBlock { bytes: noise(3, 1), ..one.clone() })]), foreign),
    ] {
        let error = told(&wrong);
        assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains(why), "{error}");
        assert!(to.node.receptions().is_empty(), "what came is not believed: {error}");
    }
    let whole = records(&[offer(0, &one), blocks(0, &one), end(1, 3)]);
    assert!(matches!(told(&whole), TransferError::OtherRoot { .. }));
    assert!(to.node.receptions().is_empty());
    // It cannot have the receiver remember without end what it wants.
    let size_bytes = 64 * OFFER_BLOCKS_MAX as u64 * BLOCK;
    let offers = (0..64).map(|at| {
        let first = at * OFFER_BLOCKS_MAX as u64;
        let fingerprint = |block: u64| Fingerprint([(block >> 8) as u8 | 1; 32]);
        let fingerprints = (first..first + OFFER_BLOCKS_MAX as u64).map(fingerprint).collect();
        Record::Offer { first: BlockIndex(first), fingerprints }
    });
    let greedy: Vec<_> = [super::begin(size_bytes, 0)].into_iter().chain(offers).collect();
    let error = told(&greedy);
    assert!(error.to_string().contains("offers more"), "{error}");
    let mut plain = Saying::new(&[&Bench::new(52).plain()]);
    let error = accept(Arc::clone(&to.node), volume_name("vm"), ReceiveOptions::default(), &mut plain).unwrap_err();
    assert!(matches!(error, TransferError::Stream(StreamError::AsksNothing)), "{error}");
    assert_eq!(to.names(), [""; 0]);
}

impl Bench {
    /// A stream that asks nothing.
    fn plain(&self) -> Vec<u8> {
        self.create("vm", BLOCK, Codec::Lz4);
        self.snapshot("vm@s");
        self.send("vm@s", None)
    }
}

/// A full disk at the receiver is told to the sender, and what came is gone.
#[test]
fn a_receiver_says_why_it_fails() {
    let (from, to) = (grown(53), Bench::new(54));
    to.create("kept", BLOCK, Codec::Lz4);
    let read_only = Bench { node: to.node.clone(), device: to.device.clone() };
    read_only.node.store().close().unwrap();
    let outcome = exchange(&from, "vm@mon", None, &read_only, "copy");
    let error = outcome.sent.unwrap_err();
    assert!(matches!(error, TransferError::Receiver { .. }), "{error}");
    assert!(error.to_string().starts_with("the receiver says: "), "{error}");
}
