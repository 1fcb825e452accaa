use proptest::prelude::*;

use super::*;

fn hex(message: &Message) -> String {
    message.body.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn question(step: Step) -> Question {
    Question { volume: VolumeId(1), transfer: TransferId(2), step }
}

fn history() -> History {
    History::new(vec![(Epoch(1), Lsn(1)), (Epoch(3), Lsn(9))], Lsn(12)).unwrap()
}

#[test]
fn bodies_keep_their_bytes() {
    let golden: Vec<_> = include_str!("golden.txt").lines().collect();
    let found = [
        hex(&question(Step::Prepare { size_bytes: 4096 }).encode()),
        hex(&question(Step::Install { history: history() }).encode()),
        hex(&Answer::Done.encode()),
    ];
    assert_eq!(golden, found, "the form of version 1 does not change");
}

fn steps() -> impl Strategy<Value = Step> {
    let name = "[a-z]{1,9}";
    prop_oneof![
        prop::option::of(0..1_u64 << 63).prop_map(|base| Step::Begin { base: base.map(Lsn) }),
        any::<u64>().prop_map(|size_bytes| Step::Prepare { size_bytes }),
        name.prop_map(|snapshot| Step::Freeze { snapshot }),
        Just(Step::Install { history: history() }),
    ]
}

proptest! {
    #[test]
    fn questions_come_back(step in steps()) {
        let asked = question(step);
        prop_assert_eq!(Question::decode(&asked.encode()), Ok(asked));
    }

    #[test]
    fn what_was_changed_does_no_harm(step in steps(), at in any::<prop::sample::Index>(), bit in 0..8u32) {
        let message = question(step).encode();
        let mut body = message.body.to_vec();
        let at = at.index(body.len());
        body[at] ^= 1u8 << bit;
        let read = Question::decode(&Message::new(INSTALLATION, body));
        if let Ok(Question { step: Step::Install { history }, .. }) = read {
            prop_assert!(History::new(history.starts().to_vec(), history.end().lsn).is_some());
        }
    }
}

#[test]
fn a_history_that_cannot_be_is_refused() {
    let step = StepV1::Install { starts: vec![(Epoch(2), Lsn(5)), (Epoch(1), Lsn(6))], end: Lsn(9) };
    let body = encode_body(&QuestionV1 { volume: VolumeId(1), transfer: 2, step });
    assert_eq!(Question::decode(&Message::new(INSTALLATION, body)), Err(Error::Body));
}

#[test]
fn numbers_that_could_overflow_are_refused() {
    let read = |step| {
        let body = encode_body(&QuestionV1 { volume: VolumeId(1), transfer: 2, step });
        Question::decode(&Message::new(INSTALLATION, body)).map(drop)
    };
    for (number, found) in [((1 << 63) - 1, Ok(())), (1 << 63, Err(Error::Body)), (u64::MAX, Err(Error::Body))] {
        assert_eq!(read(StepV1::Begin { base: Some(Lsn(number)) }), found, "base {number}");
        assert_eq!(read(StepV1::Install { starts: vec![(Epoch(1), Lsn(1))], end: Lsn(number) }), found, "end {number}");
        assert_eq!(
            read(StepV1::Install { starts: vec![(Epoch(number), Lsn(1))], end: Lsn(1) }),
            found,
            "epoch {number}"
        );
    }
}

#[test]
fn answers_come_back() {
    for answer in [Answer::Done, Answer::Refused] {
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }
}
