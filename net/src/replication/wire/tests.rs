//! Every message there and back, byte for byte; damage; what does not hold together.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{Append, Body, Credit, History, Record, Shortage, Standing, Status, Windows};
use super::*;
use crate::envelope::Family;

fn append(records: Vec<Record>) -> Append {
    let (epoch, to, sent) = (Epoch(5), Incarnation(0x0102_0304_0506_0708), Tick(9));
    let prev = Position { epoch: Epoch(4), lsn: Lsn(20) };
    let (committed, flushable, sync) = (Lsn(19), Lsn(18), Lsn(17));
    Append { epoch, to, sent, as_member: true, prev, records, committed, flushable, sync }
}

fn write(epoch: u64, payload: impl Into<Bytes>) -> Record {
    Record { epoch: Epoch(epoch), body: Body::Write(payload.into()) }
}

fn opening(epoch: u64) -> Record {
    Record { epoch: Epoch(epoch), body: Body::Opening }
}

fn status() -> Status {
    Status {
        epoch: Epoch(5),
        from: Incarnation(6),
        sent: Tick(7),
        granted: true,
        standing: Standing::Sound(Epoch(4)),
        history: History::new(vec![(Epoch(1), Lsn(1)), (Epoch(4), Lsn(9))], Lsn(20)).unwrap(),
        floor: Lsn(8),
        transfer: Some(TransferId(9)),
        sees_primary: true,
    }
}

fn appended() -> Appended {
    let (held, synced) = (Lsn(20), Lsn(19));
    let (epoch, from, sent) = (Epoch(5), Incarnation(6), Tick(7));
    Appended { epoch, from, sent, granted: true, held, synced, resend_after: Some(Lsn(3)) }
}

fn messages() -> Vec<Message> {
    let offer = Offer { epoch: Epoch(5), to: Incarnation(6), transfer: TransferId(7) };
    let records = vec![write(4, &b"basalt"[..]), opening(5), write(5, &b""[..]), write(5, &b"tuff"[..])];
    vec![
        Message::Greet(Greet { epoch: Epoch(5), sent: Tick(7) }),
        Message::Status(status()),
        Message::Append(append(records)),
        Message::Appended(appended()),
        Message::Offer(offer),
        Message::Ready(offer),
        Message::WantSync(Epoch(5)),
        Message::Resigned(Epoch(6)),
        Message::Stale(Epoch(7)),
        Message::Credit {
            epoch: Epoch(5),
            from: Incarnation(6),
            credit: Credit { at: Lsn(20), bytes: 0x0700, shortage: Shortage::Stuck },
        },
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn messages_have_these_bytes() {
    let found: Vec<_> = messages().iter().map(encode).map(|message| (message.kind.0, hex(&message.body))).collect();
    let found: Vec<_> = found.iter().map(|(kind, body)| (*kind, body.as_str())).collect();
    assert_eq!(found, GOLDEN, "{found:#x?}");
}

const GOLDEN: [(u16, &str); 10] = [
    (0x301, "05000000000000000700000000000000"),
    (
        0x302,
        "010000000000000001000000000000000400000000000000090000000000000005000000000000000600000000000000\
         070000000000000001020400000000000000beffffff0200000014000000000000000800000000000000010900000000\
         00000001",
    ),
    (
        0x303,
        "7d0000000400000000000000010600000005000000000000000000000000050000000000000001000000000500000000\
         000000010400000005000000000000000807060504030201090000000000000001040000000000000014000000000000\
         00a3ffffff04000000130000000000000012000000000000001100000000000000626173616c7474756666",
    ),
    (
        0x304,
        "050000000000000006000000000000000700000000000000011400000000000000130000000000000001030000000000\
         0000",
    ),
    (0x305, "050000000000000006000000000000000700000000000000"),
    (0x306, "050000000000000006000000000000000700000000000000"),
    (0x307, "0500000000000000"),
    (0x308, "0600000000000000"),
    (0x309, "0700000000000000"),
    (0x30a, "050000000000000006000000000000001400000000000000000700000000000002"),
];

#[test]
fn payloads_are_parts_of_the_body() {
    let message = encode(&Message::Append(append(vec![write(5, &b"basalt"[..])])));
    let Ok(Message::Append(append)) = decode(&message) else { panic!("an append") };
    let Body::Write(payload) = &append.records[0].body else { panic!("a write") };
    let within = message.body.as_ptr_range();
    assert!(within.contains(&payload.as_ptr()), "it was copied");
}

#[test]
fn the_largest_message_fits_its_kind() {
    let each = PAYLOAD_BYTES_MAX as usize / RECORDS_MAX;
    let payload = Bytes::from(vec![7; each]);
    let largest = append(vec![write(5, payload); RECORDS_MAX]);
    let message = encode(&Message::Append(largest));
    assert!(message.body.len() as u64 > PAYLOAD_BYTES_MAX);
    assert!(message.body.len() <= Family::Journal.body_bytes_max() as usize, "{}", message.body.len());
    assert!(decode(&message).is_ok());
}

#[test]
fn a_message_of_another_kind_is_misplaced() {
    let body = encode(&messages()[0]).body;
    for kind in [Kind::HELLO, Kind::control(1), Kind::bulk(1), Kind::journal(0), Kind::journal(11)] {
        assert_eq!(decode(&envelope::Message::new(kind, body.clone())), Err(Error::Misplaced(kind.0)));
    }
}

#[test]
fn what_does_not_hold_together_is_refused() {
    let from = |epoch, lsn, records| {
        let prev = Position { epoch: Epoch(epoch), lsn: Lsn(lsn) };
        Message::Append(Append { prev, ..append(records) })
    };
    let huge = NUMBER_MAX + 1;
    let of = |starts, end| History::new(starts, end).unwrap();
    for wrong in [
        // A record of an older epoch than the one before, of none, of a newer one than the sender's.
        from(4, 20, vec![write(5, &b"a"[..]), write(4, &b"b"[..])]),
        from(4, 20, vec![write(3, &b"a"[..])]),
        from(0, 0, vec![write(0, &b"a"[..])]),
        from(4, 20, vec![opening(6)]),
        from(6, 20, vec![]),
        // No places.
        from(0, 20, vec![]),
        from(4, 0, vec![]),
        from(4, huge, vec![]),
        Message::Append(Append { committed: Lsn(huge), ..append(vec![]) }),
        Message::Append(Append { sync: Lsn(huge), ..append(vec![]) }),
        Message::Appended(Appended { resend_after: Some(Lsn(huge)), ..appended() }),
        Message::Appended(Appended { held: Lsn(huge), ..appended() }),
        Message::Status(Status { standing: Standing::Doubtful(Epoch(huge)), ..status() }),
        Message::Status(Status { history: of(vec![(Epoch(huge), Lsn(1))], Lsn(1)), ..status() }),
        Message::Status(Status { history: of(vec![(Epoch(1), Lsn(1))], Lsn(huge)), ..status() }),
        Message::Status(Status { floor: Lsn(huge), ..status() }),
        Message::Greet(Greet { epoch: Epoch(huge), sent: Tick(0) }),
        Message::Stale(Epoch(huge)),
    ] {
        assert_eq!(decode(&encode(&wrong)), Err(Error::Body), "{wrong:?}");
    }
}

#[test]
fn payloads_are_all_of_what_follows_the_head() {
    let message = encode(&Message::Append(append(vec![write(5, &b"basalt"[..])])));
    let mut longer = message.body.to_vec();
    longer.push(0);
    let shorter = &message.body[..message.body.len() - 1];
    for body in [&longer[..], shorter, &message.body[..3], &[], &u32::MAX.to_le_bytes()] {
        assert_eq!(decode(&envelope::Message::new(APPEND, body.to_vec())), Err(Error::Body));
    }
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![0..4_u64, 0..=NUMBER_MAX]
}

prop_compose! {
    fn appends()(
        (epoch, to, sent) in (1..=NUMBER_MAX, any::<u64>(), any::<u64>()),
        prev in prop::option::of((1..=NUMBER_MAX, 1..=NUMBER_MAX)),
        records in vec((any::<prop::sample::Index>(), prop::option::of(vec(any::<u8>(), 0..40))), 0..12),
        as_member in any::<bool>(),
        marks in [numbers(), numbers(), numbers()],
    ) -> Append {
        let prev = prev.map_or(Position::default(), |(of, lsn)| Position { epoch: Epoch(of.min(epoch)), lsn: Lsn(lsn) });
        let oldest = prev.epoch.0.max(1);
        let of = |index: prop::sample::Index| oldest + index.index((epoch - oldest).min(5) as usize + 1) as u64;
        let record = |(index, payload): (_, Option<Vec<u8>>)| Record {
            epoch: Epoch(of(index)),
            body: payload.map_or(Body::Opening, |payload| Body::Write(payload.into())),
        };
        let mut records: Vec<Record> = records.into_iter().map(record).collect();
        records.sort_by_key(|record| record.epoch);
        let [committed, flushable, sync] = marks.map(Lsn);
        let (epoch, to, sent) = (Epoch(epoch), Incarnation(to), Tick(sent));
        Append { epoch, to, sent, as_member, prev, records, committed, flushable, sync }
    }
}

prop_compose! {
    fn statuses()(
        (epoch, from, sent, floor) in (numbers(), any::<u64>(), any::<u64>(), numbers()),
        (granted, sees_primary) in any::<(bool, bool)>(),
        standing in (0..3, numbers()),
        steps in vec((1..1000_u64, 1..1000_u64), 0..256),
        transfer in prop::option::of(any::<u64>()),
    ) -> Status {
        let mut history = History::default();
        let mut last = Epoch(0);
        for (newer, count) in steps {
            last.0 += newer;
            history.extend(last, count);
        }
        Status {
            epoch: Epoch(epoch),
            from: Incarnation(from),
            sent: Tick(sent),
            granted,
            standing: match standing {
                (0, _) => Standing::Outside,
                (1, of) => Standing::Doubtful(Epoch(of)),
                (_, of) => Standing::Sound(Epoch(of)),
            },
            history,
            floor: Lsn(floor),
            transfer: transfer.map(TransferId),
            sees_primary,
        }
    }
}

prop_compose! {
    fn answers()(
        (epoch, held, synced) in (numbers(), numbers(), numbers()),
        (from, sent, granted) in any::<(u64, u64, bool)>(),
        resend_after in prop::option::of(numbers().prop_map(Lsn)),
    ) -> Appended {
        let (epoch, from, sent) = (Epoch(epoch), Incarnation(from), Tick(sent));
        Appended { epoch, from, sent, granted, held: Lsn(held), synced: Lsn(synced), resend_after }
    }
}

fn any_message() -> impl Strategy<Value = Message> {
    let numbered =
        |(epoch, to, transfer)| Offer { epoch: Epoch(epoch), to: Incarnation(to), transfer: TransferId(transfer) };
    let offer = || (numbers(), any::<u64>(), any::<u64>()).prop_map(numbered);
    let epoch = || numbers().prop_map(Epoch);
    prop_oneof![
        (epoch(), any::<u64>()).prop_map(|(epoch, sent)| Message::Greet(Greet { epoch, sent: Tick(sent) })),
        statuses().prop_map(Message::Status),
        appends().prop_map(Message::Append),
        answers().prop_map(Message::Appended),
        offer().prop_map(Message::Offer),
        offer().prop_map(Message::Ready),
        epoch().prop_map(Message::WantSync),
        epoch().prop_map(Message::Resigned),
        epoch().prop_map(Message::Stale),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_is_what_was_written(message in any_message()) {
        prop_assert_eq!(decode(&encode(&message)), Ok(message));
    }

    #[test]
    fn damaged_bodies_are_errors_or_other_messages(
        message in any_message(),
        flips in vec((any::<prop::sample::Index>(), 1..=u8::MAX), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let envelope::Message { kind, body } = encode(&message);
        let shorter = body[..cut.index(body.len())].to_vec();
        let mut flipped = body.to_vec();
        for (at, byte) in flips {
            let at = at.index(flipped.len());
            flipped[at] ^= byte;
        }
        // Checksums are the envelope's affair: what is damaged may well be another message.
        for body in [shorter, flipped] {
            if let Ok(other) = decode(&envelope::Message::new(kind, body)) {
                prop_assert_eq!(decode(&encode(&other)), Ok(other));
            }
        }
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(low in 0..12_u8, body in vec(any::<u8>(), 0..200)) {
        if let Ok(message) = decode(&envelope::Message::new(Kind::journal(low), body)) {
            prop_assert_eq!(decode(&encode(&message)), Ok(message));
        }
    }
}

#[test]
fn a_body_that_is_cut_off_is_an_error() {
    for message in messages() {
        let envelope::Message { kind, body } = encode(&message);
        for length in 0..body.len() {
            let cut = envelope::Message::new(kind, body.slice(..length));
            assert_eq!(decode(&cut), Err(Error::Body), "{length} bytes of {message:?}");
        }
    }
}

#[test]
fn default_windows_keep_to_the_limits() {
    let windows = Windows::DEFAULT;
    assert!(windows.batch <= RECORDS_MAX && windows.batch_bytes <= PAYLOAD_BYTES_MAX);
}
