//! Golden bytes of each question and answer; round trips; bounds; damage.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::envelope::{Error, Message};
use crate::replication::{TransferId, VolumeId};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn stored(bytes: &[u8]) -> StoredForm {
    StoredForm { fingerprint: [0xab; 32], encoding: 1, bytes: bytes.to_vec() }
}

fn page(first_block: u64, entries: Vec<Entry>) -> Question {
    Question::Page(Page { transfer: TransferId(7), first_block, entries })
}

fn blocks(blocks: Vec<PlacedBlock>) -> Question {
    Question::Blocks(Blocks { transfer: TransferId(7), blocks })
}

#[track_caller]
fn question_is(question: Question, kind: u16, body: &str) {
    let message = question.clone().encode();
    assert_eq!((message.kind.0, hex(&message.body).as_str()), (kind, body));
    assert_eq!(Question::decode(&message), Ok(question));
}

#[track_caller]
fn answer_is(answer: Answer, kind: u16, body: &str) {
    let message = answer.clone().encode();
    assert_eq!((message.kind.0, hex(&message.body).as_str()), (kind, body));
    assert_eq!(Answer::decode(&message), Ok(answer));
}

#[test]
fn golden_questions() {
    let begin = Begin { transfer: TransferId(7), volume: VolumeId(3), size_bytes: 0x1234_5678, based: true };
    question_is(Question::Begin(begin), 0x0401, "07000000000000000300000000000000785634120000000001");
    let entries = vec![Entry::Same(2), Entry::Zeros(3), Entry::Data([0xcd; 32])];
    let gap = "00".repeat(24);
    let head = format!("000200000000000000{gap}010300000000000000{gap}02{}", "cd".repeat(32));
    question_is(page(5, entries), 0x0402, &(head + "070000000000000005000000000000008dffffff03000000"));
    let placed = PlacedBlock { block: 9, stored: stored(b"basalt") };
    let head = format!("626173616c740900000000000000{}01d1ffffff06000000", "ab".repeat(32));
    question_is(blocks(vec![placed]), 0x0403, &(head + "0700000000000000c7ffffff01000000"));
    let end = End { transfer: TransferId(7), root: [0xef; 32] };
    question_is(Question::End(end), 0x0404, &["0700000000000000", &"ef".repeat(32)].concat());
}

#[test]
fn golden_answers() {
    answer_is(Answer::Begun, 0x0481, "");
    answer_is(Answer::Wanted(vec![0, 5, 2047]), 0x0482, "00000500ff07faffffff03000000");
    answer_is(Answer::Took, 0x0483, "");
    answer_is(Answer::Ended { matches: true }, 0x0484, "01");
    answer_is(Answer::Ended { matches: false }, 0x0484, "00");
    let refusals = [
        Refusal::UnknownTransfer,
        Refusal::OtherSize,
        Refusal::Senseless,
        Refusal::DamagedBlock,
        Refusal::OutOfSpace,
        Refusal::StoreFailed,
    ];
    for (refusal, body) in refusals.into_iter().zip(["01", "02", "03", "04", "05", "06"]) {
        answer_is(Answer::Refused(refusal), 0x04ff, body);
    }
}

#[test]
fn golden_lending() {
    let lend = Lend { fingerprints: vec![[0xab; 32], [0xcd; 32]] };
    let message = lend.clone().encode();
    let body = ["ab".repeat(32), "cd".repeat(32), "c0ffffff02000000".to_owned()].concat();
    assert_eq!((message.kind.0, hex(&message.body)), (0x0405, body));
    assert_eq!(Lend::decode(&message), Ok(lend));
    let lent = Lent { blocks: vec![stored(b"basalt")] };
    let message = lent.clone().encode();
    let body = format!("626173616c74{}01d9ffffff06000000d7ffffff01000000", "ab".repeat(32));
    assert_eq!((message.kind.0, hex(&message.body)), (0x0485, body));
    assert_eq!(Lent::decode(&message), Ok(lent));
    assert_eq!(Lend::decode(&message), Err(Error::Misplaced(0x0485)));
}

#[test]
fn what_is_beyond_its_bounds_does_not_decode() {
    let decoded = |question: Question| Question::decode(&question.encode()).map(drop);
    let data = |count| vec![Entry::Data([1; 32]); count];
    assert_eq!(decoded(page(0, data(PAGE_ENTRIES_MAX))), Ok(()));
    assert_eq!(decoded(page(0, data(PAGE_ENTRIES_MAX + 1))), Err(Error::Body));
    assert_eq!(decoded(page(0, vec![Entry::Zeros(PAGE_BLOCKS_MAX)])), Ok(()));
    assert_eq!(decoded(page(0, vec![Entry::Zeros(PAGE_BLOCKS_MAX), Entry::Data([1; 32])])), Err(Error::Body));
    assert_eq!(decoded(page(0, vec![Entry::Zeros(u64::MAX), Entry::Same(u64::MAX)])), Err(Error::Body));
    assert_eq!(decoded(page(0, vec![Entry::Zeros(0)])), Err(Error::Body));
    let placed = |len| PlacedBlock { block: 0, stored: stored(&vec![1; len]) };
    assert_eq!(decoded(blocks(vec![placed(4096); BLOCKS_MAX])), Ok(()));
    assert_eq!(decoded(blocks(vec![placed(1); BLOCKS_MAX + 1])), Err(Error::Body));
    assert_eq!(decoded(blocks(vec![placed(4097)])), Err(Error::Body));
    let lend = |count| Lend::decode(&Lend { fingerprints: vec![[1; 32]; count] }.encode()).map(drop);
    assert_eq!((lend(BLOCKS_MAX), lend(BLOCKS_MAX + 1)), (Ok(()), Err(Error::Body)));
    let lent = |count, len| Lent::decode(&Lent { blocks: vec![stored(&vec![1; len]); count] }.encode()).map(drop);
    assert_eq!(lent(BLOCKS_MAX, 4096), Ok(()));
    assert_eq!((lent(BLOCKS_MAX + 1, 1), lent(1, 4097)), (Err(Error::Body), Err(Error::Body)));
    for places in [vec![1, 1], vec![2, 1], vec![PAGE_ENTRIES_MAX as u16]] {
        assert_eq!(Answer::decode(&Answer::Wanted(places).encode()), Err(Error::Body));
    }
    for (kind, body) in [(REFUSED, vec![0]), (REFUSED, vec![7]), (ENDED, vec![2]), (BEGUN, vec![0]), (TOOK, vec![0])] {
        assert_eq!(Answer::decode(&Message::new(kind, body)), Err(Error::Body));
    }
}

#[test]
fn the_longest_question_fits_into_its_family() {
    let placed = PlacedBlock { block: u64::MAX, stored: stored(&[1; 4096]) };
    let message = blocks(vec![placed; BLOCKS_MAX]).encode();
    assert!(message.body.len() < message.kind.body_bytes_max() as usize / 2);
}

fn entries() -> impl Strategy<Value = Entry> {
    prop_oneof![
        (1..100_u64).prop_map(Entry::Same),
        (1..100_u64).prop_map(Entry::Zeros),
        any::<[u8; 32]>().prop_map(Entry::Data),
    ]
}

fn forms() -> impl Strategy<Value = StoredForm> {
    (any::<[u8; 32]>(), any::<u8>(), vec(any::<u8>(), 0..200)).prop_map(|(fingerprint, encoding, bytes)| StoredForm {
        fingerprint,
        encoding,
        bytes,
    })
}

fn questions() -> impl Strategy<Value = Question> {
    let placed = (any::<u64>(), forms()).prop_map(|(block, stored)| PlacedBlock { block, stored });
    prop_oneof![
        (any::<u64>(), any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(transfer, volume, size_bytes, based)| {
            let (transfer, volume) = (TransferId(transfer), VolumeId(volume));
            Question::Begin(Begin { transfer, volume, size_bytes, based })
        }),
        (any::<u64>(), vec(entries(), 0..50)).prop_map(|(first_block, entries)| page(first_block, entries)),
        vec(placed, 0..20).prop_map(blocks),
        any::<[u8; 32]>().prop_map(|root| Question::End(End { transfer: TransferId(1), root })),
    ]
}

proptest! {
    #[test]
    fn questions_come_back(question in questions()) {
        prop_assert_eq!(Question::decode(&question.clone().encode()), Ok(question));
    }

    #[test]
    fn wants_come_back(places in proptest::collection::btree_set(0..PAGE_ENTRIES_MAX as u16, 0..99)) {
        let answer = Answer::Wanted(places.into_iter().collect());
        prop_assert_eq!(Answer::decode(&answer.clone().encode()), Ok(answer));
    }

    #[test]
    fn loans_come_back(fingerprints in vec(any::<[u8; 32]>(), 0..99), blocks in vec(forms(), 0..20)) {
        let (lend, lent) = (Lend { fingerprints }, Lent { blocks });
        prop_assert_eq!(Lend::decode(&lend.clone().encode()), Ok(lend));
        prop_assert_eq!(Lent::decode(&lent.clone().encode()), Ok(lent));
    }

    #[test]
    fn garbage_never_panics(low: u8, body in vec(any::<u8>(), 0..400)) {
        let message = Message::new(Kind::bulk(low), body);
        let _ = (Question::decode(&message), Answer::decode(&message));
        let _ = (Lend::decode(&message), Lent::decode(&message));
    }

    #[test]
    fn damage_never_panics(question in questions(), bit: prop::sample::Index) {
        let message = question.encode();
        let mut body = message.body.to_vec();
        let bit = bit.index(body.len() * 8);
        body[bit / 8] ^= 1 << (bit % 8);
        let _ = Question::decode(&Message::new(message.kind, body));
    }
}
