//! Nothing is taken on trust: damage, lies and garbage never make a transfer complete with other content.

use lsm_store::store::Limits;
use net::content::{Answer, Begin, End, Entry, Page, Question, Refusal};
use net::envelope::Kind;

use super::*;

fn asked(receiver: &mut Receiver, question: Question) -> Answer {
    Answer::decode(&receiver.handle(&question.encode())).unwrap()
}

fn begin(size_bytes: u64, based: bool) -> Question {
    Question::Begin(Begin { transfer: TransferId(1), volume: VOLUME, size_bytes, based })
}

fn page(first_block: u64, entries: Vec<Entry>) -> Question {
    Question::Page(Page { transfer: TransferId(1), first_block, entries })
}

const SENSELESS: Answer = Answer::Refused(Refusal::Senseless);
const UNKNOWN: Answer = Answer::Refused(Refusal::UnknownTransfer);

/// Flips a bit of one body, which `place` chooses.
fn flipped(message: Message, place: u64) -> Message {
    let mut body = message.body.to_vec();
    if !body.is_empty() {
        let bit = (place % (body.len() as u64 * 8)) as usize;
        body[bit / 8] ^= 1 << (bit % 8);
    }
    Message::new(message.kind, body)
}

#[test]
fn no_flipped_bit_gives_a_complete_transfer_with_other_content() {
    let from = Bench::new(30);
    let snapshot = from.snapshot(&mixed(&from, 120));
    let whole = Link::to(&Bench::new(31).volume(snapshot.size_bytes()));
    sent(&snapshot, None, &whole).unwrap();
    let rng = SeededRng::new(30);
    let mut complete = 0;
    for (at, of_answer) in (0..whole.asked()).flat_map(|at| [(at, false), (at, true)]) {
        for _ in 0..24 {
            let to = Bench::new(32);
            let target = to.volume(snapshot.size_bytes());
            write(&target, 60, &noise(5, 5));
            let place = rng.next_u64();
            let damage = move |index, is_answer, message| {
                if (index, is_answer) == (at, of_answer) { flipped(message, place) } else { message }
            };
            let link = Link { damage: Some(Box::new(damage)), ..Link::to(&target) };
            let ended = sent(&snapshot, None, &link);
            if link.is_complete() {
                complete += 1;
                assert_equal(&target, &snapshot);
            }
            assert!(ended.is_err() || link.is_complete(), "the sender is not told what is not so");
            // What is there of it does not stand in the way of the next.
            let link = Link::to(&target);
            sent(&snapshot, None, &link).unwrap();
            assert!(link.is_complete());
            assert_equal(&target, &snapshot);
        }
    }
    assert!(complete > 0, "some bits do not matter");
}

#[test]
fn a_block_that_is_another_is_refused_and_nothing_of_it_is_written() {
    let (from, to) = (Bench::new(33), Bench::new(34));
    let volume = from.volume(50 * BLOCK);
    write(&volume, 0, &noise(1, 50));
    let target = to.volume(50 * BLOCK);
    let damage = |_, is_answer: bool, message: Message| match Question::decode(&message) {
        Ok(Question::Blocks(mut blocks)) if !is_answer => {
            blocks.blocks[7].stored.bytes[9] ^= 1;
            Question::Blocks(blocks).encode()
        }
        _ => message,
    };
    let link = Link { damage: Some(Box::new(damage)), ..Link::to(&target) };
    let ended = sent(&from.snapshot(&volume), None, &link);
    assert!(matches!(ended, Err(SendError::Refused(Refusal::DamagedBlock))), "{ended:?}");
    assert!(content(&target).iter().all(|byte| *byte == 0));
    assert!(!link.is_complete());
}

#[test]
fn blocks_in_each_others_place_do_not_match_in_the_end() {
    let (from, to) = (Bench::new(35), Bench::new(36));
    let volume = from.volume(50 * BLOCK);
    write(&volume, 0, &noise(1, 50));
    let target = to.volume(50 * BLOCK);
    let damage = |_, is_answer: bool, message: Message| match Question::decode(&message) {
        Ok(Question::Blocks(mut blocks)) if !is_answer => {
            (blocks.blocks[7].block, blocks.blocks[8].block) = (blocks.blocks[8].block, blocks.blocks[7].block);
            Question::Blocks(blocks).encode()
        }
        _ => message,
    };
    let link = Link { damage: Some(Box::new(damage)), ..Link::to(&target) };
    let ended = sent(&from.snapshot(&volume), None, &link);
    assert!(matches!(ended, Err(SendError::OtherRoot)), "{ended:?}");
    assert!(!link.is_complete());
}

#[test]
fn a_receiver_without_the_base_does_not_match_in_the_end() {
    let (from, to) = (Bench::new(37), Bench::new(38));
    let volume = from.volume(50 * BLOCK);
    write(&volume, 0, &noise(1, 50));
    let base = from.snapshot(&volume);
    write(&volume, 5, &noise(2, 1));
    let (snapshot, target) = (from.snapshot(&volume), to.volume(50 * BLOCK));
    assert!(matches!(sent(&snapshot, Some(&base), &Link::to(&target)), Err(SendError::OtherRoot)));
    copied(&snapshot, None, &target);
    assert_equal(&target, &snapshot);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let to = Bench::new(39);
    let target = to.volume(50 * BLOCK);
    let mut receiver = Receiver::new(target.clone(), VOLUME, TransferId(1));
    assert_eq!(asked(&mut receiver, page(0, vec![Entry::Zeros(1)])), UNKNOWN);
    assert_eq!(asked(&mut receiver, begin(50 * BLOCK + 1, false)), Answer::Refused(Refusal::OtherSize));
    let other = Begin { transfer: TransferId(1), volume: VolumeId(4), size_bytes: 50 * BLOCK, based: false };
    assert_eq!(asked(&mut receiver, Question::Begin(other)), UNKNOWN);
    assert_eq!(asked(&mut receiver, begin(50 * BLOCK, false)), Answer::Begun);
    assert_eq!(asked(&mut receiver, page(0, vec![Entry::Same(1)])), SENSELESS, "there is no base");
    assert_eq!(asked(&mut receiver, page(40, vec![Entry::Zeros(11)])), SENSELESS);
    assert_eq!(asked(&mut receiver, page(u64::MAX, vec![Entry::Data([1; 32])])), SENSELESS);
    let elsewhere = Question::Page(Page { transfer: TransferId(2), first_block: 0, entries: Vec::new() });
    assert_eq!(asked(&mut receiver, elsewhere), UNKNOWN);
    let refused = receiver.handle(&Message::new(Kind::bulk(0x70), Vec::new()));
    assert_eq!(Answer::decode(&refused), Ok(SENSELESS));
    let end = |root| Question::End(End { transfer: TransferId(1), root });
    assert_eq!(asked(&mut receiver, end([1; 32])), Answer::Ended { matches: false });
    assert!(!receiver.is_complete());
}

#[test]
fn what_is_complete_is_not_touched_again() {
    let (from, to) = (Bench::new(40), Bench::new(41));
    let volume = from.volume(50 * BLOCK);
    write(&volume, 0, &noise(1, 50));
    let target = to.volume(50 * BLOCK);
    let last = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&last);
    let watch = move |_, is_answer: bool, message: Message| {
        if !is_answer {
            *seen.lock() = Some(message.clone());
        }
        message
    };
    let link = Link { damage: Some(Box::new(watch)), ..Link::to(&target) };
    sent(&from.snapshot(&volume), None, &link).unwrap();
    write(&target, 0, &noise(2, 1));
    let mut receiver = link.receiver.lock();
    assert_eq!(asked(&mut receiver, begin(50 * BLOCK, false)), UNKNOWN);
    assert_eq!(asked(&mut receiver, page(0, vec![Entry::Zeros(50)])), UNKNOWN);
    let end = last.lock().take().unwrap();
    assert_eq!(Answer::decode(&receiver.handle(&end)), Ok(Answer::Ended { matches: true }), "the answer was lost");
    assert!(receiver.is_complete());
    assert!(content(&target)[..BLOCK_BYTES] == noise(2, 1));
}

#[test]
fn a_full_store_refuses_and_goes_on_once_there_is_room() {
    let (from, to) = (Bench::new(42), Bench::new(43));
    let volume = from.volume(600 * BLOCK);
    write(&volume, 0, &noise(1, 600));
    let (snapshot, target) = (from.snapshot(&volume), to.volume(600 * BLOCK));
    let quota = |blocks: u64| Limits { reserve_bytes: None, quota_bytes: Some(blocks * BLOCK) };
    to.store.set_limits(target.id(), quota(300)).unwrap();
    let link = Link::to(&target);
    let ended = sent(&snapshot, None, &link);
    assert!(matches!(ended, Err(SendError::Refused(Refusal::OutOfSpace))), "{ended:?}");
    assert!(!link.is_complete());
    to.store.set_limits(target.id(), quota(600)).unwrap();
    let again = sent(&snapshot, None, &link).unwrap();
    assert!((1..600).contains(&again.blocks_moved), "{} blocks", again.blocks_moved);
    assert!(link.is_complete());
    assert_equal(&target, &snapshot);
}

#[test]
fn garbage_in_between_changes_nothing() {
    let (from, to) = (Bench::new(44), Bench::new(45));
    let snapshot = from.snapshot(&mixed(&from, 900));
    let target = to.volume(snapshot.size_bytes());
    let (link, is_over) = (Link::to(&target), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let rng = SeededRng::new(44);
            while !is_over.load(Ordering::Relaxed) {
                let mut body = vec![0; rng.below(200) as usize];
                rng.fill(&mut body);
                let answer = link.receiver.lock().handle(&Message::new(Kind::bulk(rng.below(256) as u8), body));
                Answer::decode(&answer).unwrap();
            }
        });
        let ended = sent(&snapshot, None, &link);
        is_over.store(true, Ordering::Relaxed);
        ended.unwrap();
    });
    assert!(link.is_complete());
    assert_equal(&target, &snapshot);
}
