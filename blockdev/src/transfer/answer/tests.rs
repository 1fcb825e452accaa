use std::mem::offset_of;

use proptest::prelude::*;

use super::*;
use crate::transfer::format::tests::{assert_specified, table_of};

#[test]
fn the_document_has_the_offsets_of_the_code() {
    assert_specified!(GreetingV1 { magic, version_min, version_max, features, reserved });
    assert_specified!(WantedV1 { first, count, reserved });
    assert_specified!(ReceivedV1 { root, snapshot, name_bytes, reserved });
    assert_specified!(FailedV1 { kind, message_bytes, reserved });
}

fn any_answer() -> impl Strategy<Value = Answer> {
    let kind = prop::sample::select(KINDS.map(|(_, kind)| kind).to_vec());
    prop_oneof![
        (any::<u64>(), prop::collection::vec(any::<bool>(), 1..40))
            .prop_map(|(first, wanted)| Answer::Wanted(Wanted { first: BlockIndex(first), wanted })),
        (any::<[u8; 32]>(), any::<u64>(), "[a-z]{1,20}@[a-z]{1,20}")
            .prop_map(|(root, snapshot, name)| Answer::Received { root, snapshot, name }),
        (kind, "\\PC{0,80}").prop_map(|(kind, message)| Answer::Failed { kind, message }),
    ]
}

fn encoded(answers: &[Answer]) -> Vec<u8> {
    let (mut encoder, mut bytes) = (AnswerEncoder::default(), Vec::new());
    encoder.greet(Greeting::OURS, &mut bytes);
    answers.iter().for_each(|answer| encoder.encode(answer, &mut bytes));
    bytes
}

/// All answers of bytes that come `piece` at a time, as far as they can be made sense of.
fn decoded(bytes: &[u8], piece: usize) -> (Option<Greeting>, Vec<Answer>, bool) {
    let (mut decoder, mut greeting, mut answers) = (AnswerDecoder::default(), None, Vec::new());
    for part in bytes.chunks(piece) {
        decoder.push(part);
        if greeting.is_none() {
            match decoder.greeting() {
                Ok(found) => greeting = found,
                Err(_) => return (None, answers, false),
            }
        }
        while greeting.is_some() {
            match decoder.next_answer() {
                Ok(Some(answer)) => answers.push(answer),
                Ok(None) => break,
                Err(_) => return (greeting, answers, false),
            }
        }
    }
    (greeting, answers, true)
}

proptest! {
    #[test]
    fn answers_are_decoded_as_they_were_encoded(
        answers in prop::collection::vec(any_answer(), 0..6),
        piece in 1..200_usize,
    ) {
        prop_assert_eq!(decoded(&encoded(&answers), piece), (Some(Greeting::OURS), answers, true));
    }

    #[test]
    fn any_bytes_are_an_answer_or_none(kind in 0x80..0x85_u8, body in prop::collection::vec(any::<u8>(), 0..100)) {
        let known = |answer: &Answer| !matches!(answer, Answer::Failed { kind: ErrorKind::Io, .. });
        if let Some(answer) = Answers::decode(&RecordHeaderV1::new(kind, 0, 0), &body).filter(known) {
            let mut bytes = Vec::new();
            encode_body(&answer, &mut bytes);
            prop_assert_eq!(bytes, body, "one answer has one form");
        }
    }
}

#[test]
fn the_largest_answers_are_within_the_bound() {
    for answer in [
        Answer::Wanted(Wanted { first: BlockIndex(0), wanted: vec![true; OFFER_BLOCKS_MAX] }),
        Answer::Received { root: [1; 32], snapshot: 1, name: "v".repeat(NAMES_BYTES_MAX) },
        Answer::Failed { kind: ErrorKind::Busy, message: "m".repeat(MESSAGE_BYTES_MAX) },
    ] {
        assert_eq!(decoded(&encoded(std::slice::from_ref(&answer)), 1 << 20).1, [answer]);
    }
}

fn golden() -> [Answer; 3] {
    [
        Answer::Wanted(Wanted { first: BlockIndex(4), wanted: [vec![true, false, true], vec![false; 6]].concat() }),
        Answer::Received { root: [0xee; 32], snapshot: 5, name: "vm@tue".into() },
        Answer::Failed { kind: ErrorKind::OutOfSpace, message: "full".into() },
    ]
}

#[test]
fn golden_bytes() {
    let bytes: String = encoded(&golden()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(bytes, GOLDEN);
}

const GOLDEN: &str = concat!(
    "53696c744261636b01000000010000000100000000000000",
    "2dd4558491eba3a581cbbe7f12000000",
    "040000000000000009000000000000000500",
    "b782e3932dd4558482da566c36000000",
    "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee05000000000000000600000000000000766d40747565",
    "284fe616b782e39383fdff400c000000",
    "040004000000000066756c6c",
);

#[test]
fn every_flipped_bit_is_noticed() {
    let (bytes, answers) = (encoded(&golden()), golden());
    for bit in 0..8 * bytes.len() {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let (_, found, sound) = decoded(&damaged, 64);
        assert!(answers.starts_with(&found) && found.len() < answers.len(), "bit {bit}");
        assert!(!sound, "bit {bit}: more is waited for");
    }
}

#[test]
fn strangers_are_told_apart_from_damage() {
    let greeting = |bytes: &[u8]| {
        let mut decoder = AnswerDecoder::default();
        decoder.push(bytes);
        decoder.greeting()
    };
    let ours = encoded(&[]);
    for len in 0..ours.len() {
        assert_eq!(greeting(&ours[..len]), Ok(None));
    }
    assert_eq!(greeting(b"Last login:"), Err(BadGreeting::Stranger(b"Last login:".to_vec())));
    assert_eq!(greeting(b"S!"), Err(BadGreeting::Stranger(b"S!".to_vec())));
    let mut reserved = ours.clone();
    reserved[23] = 1;
    assert_eq!(greeting(&reserved), Err(BadGreeting::Damaged));
    let mut newer = ours;
    newer[12] = 9;
    assert_eq!(greeting(&newer), Ok(Some(Greeting { version_max: 9, ..Greeting::OURS })));
}

#[test]
fn a_kind_of_failure_that_is_not_known_is_one_all_the_same() {
    let mut body = vec![77, 0, 2, 0, 0, 0, 0, 0];
    body.extend_from_slice(b"oh");
    let found = Answers::decode(&RecordHeaderV1::new(FAILED, 0, 0), &body);
    assert_eq!(found, Some(Answer::Failed { kind: ErrorKind::Io, message: "oh".into() }));
}
