use proptest::prelude::*;

use super::*;

fn hex(message: &Message) -> String {
    message.body.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_write_keeps_its_bytes() {
    let attempt = Attempt { session: 7, number: 8 };
    let records = vec![Bytes::from_static(b"abc"), Bytes::from_static(b"de")];
    let message = encode_question(&Question { volume: VolumeId(9), asked: Asked::Write(attempt, records) });
    assert_eq!(message.kind, FORWARD);
    let body = hex(&message);
    assert!(body.ends_with("6162636465"), "{body}");
    assert_eq!(body.len() / 2, 4 + u32::from_le_bytes(message.body[..4].try_into().unwrap()) as usize + 5);
}

#[test]
fn heads_keep_their_bytes() {
    let flush = encode_question(&Question { volume: VolumeId(9), asked: Asked::Flush });
    let refused = Answer { served: (Epoch(3), Epoch(2)), result: Err(Refused::NotPrimary(Some(NodeId(4)))) };
    let golden = [hex(&flush), hex(&encode_answer(&refused))];
    check_golden(&golden);
}

#[test]
fn what_came_later_has_these_bytes() {
    let asked = encode_question(&Question { volume: VolumeId(9), asked: Asked::Size });
    let brought = Answer { served: (Epoch(3), Epoch(2)), result: Ok(Brought::Size(0x7000)) };
    let found = [hex(&asked), hex(&encode_answer(&brought))];
    let asked = "260000000900000000000000060000000000000000000000000000000000000000000000000000000000";
    let brought = "1b000000030000000000000002000000000000000004007000000000000000";
    assert_eq!(found, [asked, brought], "they do not change");
}

#[test]
fn pauses_have_these_bytes() {
    let question = |asked| hex(&encode_question(&Question { volume: VolumeId(9), asked }));
    let exists = Answer { served: (Epoch(3), Epoch(2)), result: Err(Refused::Exists) };
    let found = [
        question(Asked::Pause { pause: 7, snapshot: "mon".into() }),
        question(Asked::PausedWrite { pause: 7, record: Bytes::from_static(b"abc") }),
        question(Asked::Resume(7)),
        hex(&encode_answer(&exists)),
    ];
    let golden = include_str!("pauses.txt").lines().collect::<Vec<_>>();
    assert_eq!(found.to_vec(), golden, "they do not change");
}

/// The bytes as they were when the version was made.
fn check_golden(found: &[String; 2]) {
    let golden = include_str!("golden.txt");
    let golden: Vec<_> = golden.lines().collect();
    assert_eq!(golden, found, "the form of version 1 does not change");
}

fn asked() -> impl Strategy<Value = Asked> {
    let snapshot = prop::option::of("[a-z]{1,8}");
    let bytes = prop::collection::vec(any::<u8>(), 0..100).prop_map(Bytes::from);
    prop_oneof![
        (any::<u64>(), any::<u64>(), prop::collection::vec(bytes, 0..5))
            .prop_map(|(session, number, records)| Asked::Write(Attempt { session, number }, records)),
        Just(Asked::Flush),
        Just(Asked::Snapshots),
        Just(Asked::HandOver),
        Just(Asked::Size),
        any::<u64>().prop_map(Asked::Resume),
        (any::<u64>(), "[a-z]{1,8}").prop_map(|(pause, snapshot)| Asked::Pause { pause, snapshot }),
        (snapshot.clone(), any::<u64>(), 0..=BYTES_MAX as u32).prop_map(|(snapshot, offset, len)| Asked::Read {
            snapshot,
            offset,
            len
        }),
        ("[a-z]{1,8}", snapshot.clone(), any::<u64>(), any::<u64>())
            .prop_map(|(from, to, offset, len)| Asked::Changes { from, to, offset, len }),
        (snapshot, any::<u64>(), any::<u64>(), any::<u32>())
            .prop_map(|(snapshot, offset, len, extents_max)| { Asked::Status { snapshot, offset, len, extents_max } }),
    ]
}

fn result() -> impl Strategy<Value = Result<Brought, Refused>> {
    let snapshots = prop::collection::vec(("[a-z]{1,8}", any::<u64>(), any::<u64>()), 0..3);
    let snapshot = |(name, size_bytes, created_ms)| SnapshotEntry { name, size_bytes, created_ms };
    prop_oneof![
        Just(Ok(Brought::Nothing)),
        any::<u64>().prop_map(|size_bytes| Ok(Brought::Size(size_bytes))),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| Ok(Brought::Bytes(bytes.into()))),
        prop::collection::vec((any::<u64>(), 0..3u8), 0..5).prop_map(|extents| Ok(Brought::Extents(extents))),
        snapshots.prop_map(move |all| Ok(Brought::Snapshots(all.into_iter().map(snapshot).collect()))),
        (any::<(u64, u64)>(), any::<(u64, u64)>(), prop::collection::vec(any::<(u64, bool)>(), 0..5)).prop_map(
            |(ids, sizes_bytes, extents)| Ok(Brought::Changes(Box::new(ChangedExtents { ids, sizes_bytes, extents })))
        ),
        prop::option::of(any::<u64>()).prop_map(|node| Err(Refused::NotPrimary(node.map(NodeId)))),
        Just(Err(Refused::Overtaken)),
        Just(Err(Refused::Exists)),
        "[ -~]{0,20}".prop_map(|why| Err(Refused::Failed(why))),
    ]
}

proptest! {
    #[test]
    fn questions_come_back(volume in any::<u64>(), asked in asked()) {
        let question = Question { volume: VolumeId(volume), asked };
        prop_assert_eq!(decode_question(&encode_question(&question)), Ok(question));
    }

    #[test]
    fn answers_come_back(epoch in any::<u64>(), loss in any::<u64>(), result in result()) {
        let answer = Answer { served: (Epoch(epoch), Epoch(loss)), result };
        prop_assert_eq!(decode_answer(&encode_answer(&answer)), Ok(answer));
    }

    #[test]
    fn records_in_pauses_come_back(pause in any::<u64>(), bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let asked = Asked::PausedWrite { pause, record: bytes.into() };
        let question = Question { volume: VolumeId(1), asked };
        prop_assert_eq!(decode_question(&encode_question(&question)), Ok(question));
    }

    #[test]
    fn what_was_cut_is_an_error(asked in asked(), cut in any::<prop::sample::Index>()) {
        let whole = encode_question(&Question { volume: VolumeId(1), asked });
        let cut = cut.index(whole.body.len());
        let part = Message::new(FORWARD, whole.body.slice(..cut));
        prop_assert!(decode_question(&part).is_err());
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let body = Bytes::from(bytes);
        let _ = decode_question(&Message::new(FORWARD, body.clone()));
        let _ = decode_answer(&Message::new(FORWARDED, body));
    }
}
