//! Exchanges that are broken off, and gone on with.

use super::*;
use crate::node::NodeError;

/// What was broken off, by the volume it is for.
fn kept(to: &Bench) -> Vec<String> {
    to.node.receptions().into_iter().map(|(name, _)| name.to_string()).collect()
}

fn cut_at(at: usize) -> [Fault; 2] {
    [Fault { cut_at: Some(at), ..Fault::default() }, Fault::default()]
}

/// Has an exchange broken off after so many bytes of the sender.
#[track_caller]
fn break_off(at: usize, from: (&Bench, &str, Option<&str>), to: (&Bench, &str)) {
    let Outcome { sent, received, .. } = exchange_over(cut_at(at), from, (to.0, to.1, false));
    assert!(matches!(received, Err(TransferError::Stream(StreamError::Truncated { .. }))));
    assert_eq!(sent.unwrap_err().kind(), ErrorKind::Corrupt, "the receiver says so");
}

/// As a crash does: without a word, and without anything that is done at the end.
fn die_after(at: usize, from: (&Bench, &str, Option<&str>), to: &Bench, name: &str) -> Bench {
    let [mut ours, mut theirs] = link(cut_at(at));
    let base = from.2.map(snapshot_name);
    let receiver = thread::scope(|scope| {
        scope.spawn(move || offer(&from.0.node, &snapshot_name(from.1), base.as_ref(), &mut ours).map(drop));
        let mut receiver = Receiver::answering(Arc::clone(&to.node), volume_name(name), ReceiveOptions::default());
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
    let device = to.device.process_death();
    drop(receiver);
    Bench { node: opened(&device), device }
}

/// A volume in pieces, so that its stream has many records; of the base it keeps a few.
fn pieces() -> Bench {
    let from = Bench::new(60);
    from.create("vm", 400 * BLOCK - 5, Codec::Lz4);
    from.write("vm", 0, &noise(1, 20));
    from.snapshot("vm@a");
    for piece in 0..12 {
        from.write("vm", 5 + 31 * piece, &noise(100 + piece, 3));
    }
    from.snapshot("vm@b");
    from
}

/// A node that has the base.
fn with_base(from: &Bench) -> Bench {
    let to = Bench::new(61);
    exchange(from, "vm@a", None, &to, "vm").sound();
    to
}

#[test]
fn after_any_record_only_what_had_not_come_travels() {
    let from = pieces();
    for base in [None, Some("vm@a")] {
        let sample = exchange(&from, "vm@b", base, &with_base(&from), "vm");
        let records = sample.records.clone();
        let (whole, _) = sample.sound();
        let mut came = 0;
        for (number, at) in records[..records.len() - 1].iter().enumerate() {
            let to = with_base(&from);
            let to = match number % 2 {
                0 => {
                    break_off(*at, (&from, "vm@b", base), (&to, "vm"));
                    to
                }
                _ => die_after(*at, (&from, "vm@b", base), &to, "vm"),
            };
            assert_eq!((kept(&to), to.names()), (vec!["vm".into()], vec!["vm".into(), "vm@a".into()]));
            assert!(to.root("vm") == from.root("vm@a"), "nobody sees it");
            let (sent, received) = exchange(&from, "vm@b", base, &to, "vm").sound();
            assert_eq!(sent.data_blocks + sent.had_blocks, whole.data_blocks + whole.had_blocks);
            assert!(whole.data_blocks - sent.data_blocks >= came, "record {number}: less came than before");
            came = whole.data_blocks - sent.data_blocks;
            assert_eq!((received.base, kept(&to)), (Some(volume_name("a")), vec![]));
            assert_same(&from, "vm@b", &to, "vm@b");
        }
        assert_eq!(came, whole.data_blocks, "before the end all of it had come");
    }
}

#[test]
fn a_new_volume_that_comes_in_many_attempts() {
    let (from, mut to) = (Bench::new(62), Bench::new(63));
    let blocks = 4096;
    from.create("vm", blocks * BLOCK, Codec::Lz4);
    from.write("vm", 0, &noise(1, blocks));
    from.snapshot("vm@s");
    let mut attempts = 0;
    let (sent, received) = loop {
        let outcome = exchange_over(cut_at(5 << 20), (&from, "vm@s", None), (&to, "copy", false));
        attempts += 1;
        if outcome.sent.is_ok() {
            break outcome.sound();
        }
        assert_eq!(to.names(), [""; 0]);
        if attempts % 2 == 0 {
            let device = to.device.process_death();
            to = Bench { node: opened(&device), device };
        }
        assert!(attempts < 9, "it makes no progress");
    };
    assert!((4..=5).contains(&attempts), "{attempts} attempts for 16 MiB");
    assert!(sent.had_blocks > blocks / 2 && received.base.is_none());
    assert_same(&from, "vm@s", &to, "copy@s");
    assert_eq!(kept(&to), [""; 0]);
}

/// Half of the volume, which takes some thousand bytes on the way.
fn half(from: &Bench, base: Option<&str>) -> usize {
    exchange(from, "vm@b", base, &with_base(from), "vm").bytes[0] / 2
}

#[test]
fn what_does_not_fit_is_not_gone_on_with() {
    let from = pieces();
    let (half, half_of_changes) = (half(&from, None), half(&from, Some("vm@a")));
    let broken = |base: Option<&str>, name| {
        let to = with_base(&from);
        break_off(if base.is_some() { half_of_changes } else { half }, (&from, "vm@b", base), (&to, name));
        let id = to.node.receptions()[0].1.id;
        (to, id)
    };
    let id_after = |to: &Bench, from: (&Bench, &str, Option<&str>), name| {
        break_off(2000, from, (to, name));
        assert_eq!(to.node.receptions().len(), 1);
        to.node.receptions()[0].1.id
    };
    // The same is; and a full one, whichever it is.
    let (to, id) = broken(Some("vm@a"), "vm");
    assert_eq!(id_after(&to, (&from, "vm@b", Some("vm@a")), "vm"), id);
    let other = pieces();
    other.write("vm", 300, &noise(7, 4));
    other.snapshot("vm@c");
    assert_eq!(id_after(&to, (&other, "vm@c", None), "vm"), id);
    // Now it holds some of both, and what differs from the base is not all that it has to be told.
    assert_ne!(id_after(&to, (&from, "vm@b", Some("vm@a")), "vm"), id);
    exchange(&from, "vm@b", Some("vm@a"), &to, "vm").sound();
    assert_same(&from, "vm@b", &to, "vm");
    // Changes that are of another snapshot.
    let (to, id) = broken(Some("vm@a"), "vm");
    from.node.roll_back(&snapshot_name("vm@a")).unwrap();
    from.write("vm", 200, &noise(8, 9));
    from.snapshot("vm@d");
    let (_, received) = exchange(&from, "vm@d", Some("vm@a"), &to, "vm").sound();
    assert_ne!(received.snapshot.info.id, id);
    assert_same(&from, "vm@d", &to, "vm");
    // Another base.
    let (to, id) = broken(None, "vm");
    to.snapshot("vm@later");
    assert_ne!(id_after(&to, (&from, "vm@b", None), "vm"), id);
    let (to, id) = broken(None, "vm");
    to.node.remove(&volume_name("vm"), SnapshotLoss::Allowed).unwrap();
    assert_ne!(id_after(&to, (&from, "vm@b", None), "vm"), id);
    // Another size.
    let (to, id) = broken(None, "vm");
    from.node.resize(&volume_name("vm"), 500 * BLOCK, Shrink::Refused).unwrap();
    from.snapshot("vm@e");
    assert_ne!(id_after(&to, (&from, "vm@e", None), "vm"), id);
    exchange(&from, "vm@e", None, &to, "vm").sound();
    assert_same(&from, "vm@e", &to, "vm");
    // Another codec, of a new volume.
    let (to, id) = broken(None, "new");
    let options = ReceiveOptions { codec: Codec::None, force: false };
    let [mut ours, mut theirs] = link(cut_at(2000));
    thread::scope(|scope| {
        scope.spawn(|| accept(Arc::clone(&to.node), volume_name("new"), options, &mut theirs).unwrap_err());
        offer(&from.node, &snapshot_name("vm@b"), None, &mut ours).unwrap_err();
    });
    assert_ne!(to.node.receptions()[0].1.id, id);
}

/// What makes an exchange impossible now does not take what came before.
#[test]
fn a_refusal_leaves_what_was_broken_off() {
    let from = pieces();
    let to = with_base(&from);
    break_off(half(&from, None), (&from, "vm@b", None), (&to, "vm"));
    to.write("vm", 399, &[1]);
    let refused = exchange(&from, "vm@b", None, &to, "vm").received.unwrap_err();
    assert!(matches!(refused, TransferError::Changed { .. }));
    let held = to.node.export(&"vm".parse().unwrap()).unwrap();
    assert_eq!(exchange(&from, "vm@b", None, &to, "vm").received.unwrap_err().kind(), ErrorKind::Busy);
    drop(held);
    let (sent, _) = exchange_over([Fault::default(); 2], (&from, "vm@b", None), (&to, "vm", true)).sound();
    assert!(sent.had_blocks > 17, "more than the base brings: {}", sent.had_blocks);
    assert_same(&from, "vm@b", &to, "vm");
}

#[test]
fn of_two_receivers_of_one_volume_the_second_is_told() {
    let from = pieces();
    let to = Bench::new(64);
    let begun = || {
        let mut receiver = Receiver::answering(Arc::clone(&to.node), volume_name("vm"), ReceiveOptions::default());
        let (mut encoder, mut bytes) = (StreamEncoder::asking(), Vec::new());
        encoder.encode(&begin(400 * BLOCK - 5, 0), &mut bytes);
        receiver.push(&bytes, &mut ignore).map(|()| receiver)
    };
    let first = begun().unwrap();
    let refused = exchange(&from, "vm@b", None, &to, "vm");
    assert!(matches!(refused.received, Err(TransferError::Node(NodeError::ReceptionUnderWay(_)))));
    assert_eq!(refused.sent.unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(exchange(&from, "vm@b", None, &to, "other").sent.map(|sent| sent.had_blocks).unwrap(), 0);
    drop(first);
    exchange(&from, "vm@b", None, &to, "vm").sound();
    // Somebody else is given the name meanwhile: it stays theirs.
    let device = to.device.process_death();
    let to = Bench { node: opened(&device), device };
    let [mut ours, mut theirs] = link([Fault::default(); 2]);
    let outcome = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let sent = offer(&from.node, &snapshot_name("vm@b"), None, &mut ours);
            drop(ours);
            sent
        });
        let mut receiver = Receiver::answering(Arc::clone(&to.node), volume_name("late"), ReceiveOptions::default());
        while !receiver.is_over() {
            theirs.write(&receiver.take_answers()).unwrap();
            receiver.push(&theirs.read().unwrap(), &mut ignore).unwrap();
            if receiver.size_bytes().is_some() && !to.names().contains(&"late".to_owned()) {
                to.create("late", BLOCK, Codec::Lz4);
            }
        }
        let refused = receiver.name_it(&mut ignore).unwrap_err();
        receiver.break_off(&refused);
        drop(theirs);
        (sending.join().unwrap(), refused)
    });
    assert!(matches!(outcome.0, Err(TransferError::ReceiverGone)));
    assert_eq!((outcome.1.kind(), kept(&to)), (ErrorKind::Exists, vec!["late".into()]));
    to.node.remove(&volume_name("late"), SnapshotLoss::Refused).unwrap();
    let (sent, _) = exchange(&from, "vm@b", None, &to, "late").sound();
    assert_eq!(sent.data_blocks, 0, "all of it had come");
}

#[test]
fn what_comes_another_way_ends_what_was_broken_off() {
    let from = pieces();
    let (full, changes) = (from.send("vm@b", None), from.send("vm@b", Some("vm@a")));
    let to = Bench::new(66);
    break_off(half(&from, None), (&from, "vm@b", None), (&to, "vm"));
    assert!(to.receive("vm", &full[..full.len() - 1], false).is_err());
    assert_eq!((kept(&to), to.node.store().volumes().len()), (vec!["vm".into()], 1), "a plain stream leaves nothing");
    to.receive("vm", &full, false).unwrap();
    assert_eq!(kept(&to), [""; 0]);
    let to = with_base(&from);
    break_off(half(&from, None), (&from, "vm@b", None), (&to, "vm"));
    to.receive("vm", &changes, false).unwrap();
    assert_eq!((kept(&to), to.node.store().volumes().len()), (vec![], 3));
}

/// What is not what was sent, and what finds no room, goes.
#[test]
fn what_looks_wrong_is_not_kept() {
    let from = pieces();
    let half = half(&from, None);
    let to = with_base(&from);
    break_off(half, (&from, "vm@b", None), (&to, "vm"));
    let flipped = [Fault { flipped: Some(8 * half + 3), ..Fault::default() }, Fault::default()];
    let damaged = exchange_over(flipped, (&from, "vm@b", None), (&to, "vm", false));
    assert_eq!(damaged.received.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!((kept(&to), to.node.store().volumes().len()), (vec![], 2));
    // What came before is changed behind the sender's back, where the changes do not name it.
    let half_of_changes = self::half(&from, Some("vm@a"));
    break_off(half_of_changes, (&from, "vm@b", Some("vm@a")), (&to, "vm"));
    let hidden = to.node.store().volume(to.node.receptions()[0].1.id).unwrap();
    hidden.write(&[Write { offset: 19 * BLOCK, data: &[9] }]).unwrap();
    let wrong = exchange(&from, "vm@b", Some("vm@a"), &to, "vm");
    assert!(matches!(wrong.received, Err(TransferError::OtherRoot { .. })));
    assert_eq!((kept(&to), to.names()), (vec![], vec!["vm".into(), "vm@a".into()]));
    exchange(&from, "vm@b", Some("vm@a"), &to, "vm").sound();
    // A full disk.
    let to = Bench::new(67);
    let (big, blocks) = (Bench::new(68), 8192);
    big.create("vm", blocks * BLOCK, Codec::None);
    (0..8).for_each(|part| big.write("vm", part * blocks / 8, &noise(part, blocks / 8)));
    big.snapshot("vm@s");
    to.device.set_capacity(Some(24 << 20));
    let full = exchange(&big, "vm@s", None, &to, "vm").received.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::OutOfSpace, "{full}");
    assert_eq!((kept(&to), to.node.store().volumes().len()), (vec![], 0));
}

/// After a loss of power at any moment what was broken off is there as a record with its volume or not at all, and is gone on with.
#[test]
fn a_power_cut_leaves_what_can_be_gone_on_with() {
    let from = pieces();
    let half = half(&from, None);
    let to = with_base(&from);
    to.device.record();
    break_off(half, (&from, "vm@b", None), (&to, "vm"));
    to.node.remove_reception(&volume_name("vm")).unwrap();
    break_off(half, (&from, "vm@b", None), (&to, "vm"));
    let last_id = to.node.receptions()[0].1.id;
    let (mut resumed, mut count_max) = (0, 0);
    let recording = to.device.recording();
    for (count, point) in recording.walk() {
        count_max = count;
        for (_, device) in point.images(count as u64, 1) {
            let crashed = Bench { node: opened(&device), device };
            assert_eq!(crashed.names(), ["vm", "vm@a"]);
            let receptions = crashed.node.receptions();
            assert_eq!(crashed.node.store().volumes().len(), 2 + receptions.len(), "after {count} operations");
            assert!(receptions.iter().all(|(_, entry)| crashed.node.store().volume(entry.id).is_ok()));
            let (sent, _) = exchange(&from, "vm@b", None, &crashed, "vm").sound();
            resumed += u32::from(sent.had_blocks > 17);
            assert_same(&from, "vm@b", &crashed, "vm@b");
        }
    }
    assert!(resumed > 0, "{count_max} operations");
    // What was kept is durable.
    let device = to.device.crash_image(&lsm_store::device::sim::CrashChoice::Nothing);
    let crashed = Bench { node: opened(&device), device };
    assert_eq!(crashed.node.receptions()[0].1.id, last_id);
    let (sent, _) = exchange(&from, "vm@b", None, &crashed, "vm").sound();
    assert!(sent.had_blocks > 17, "{}", sent.had_blocks);
}
