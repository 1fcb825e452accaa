//! What one node gets from another: a sound message of every kind in `docs/protocol.md`, and the reading of any.
//!
//! A fuzzer edits the bodies of sound ones, since it would hardly find an archive by chance. What keeps its sense when content
//! is received is in [`crate::transfer`].

use blockdev::name::VolumeName;
use blockdev::replica::operation::{self, Operation, Packer, WriteRecord};
use bytes::Bytes;
use lsm_store::request::Zeroing;
use net::content::{Answer, Begin, Blocks, End, Entry, Lend, Lent, Page, PlacedBlock, Question, Refusal, StoredForm};
use net::envelope::{Hello, Message, Opening, Versions, Welcome};
use net::id::{Epoch, Lsn, NodeId, VolumeId};
use net::join::{JoinRequest, decode_answer};
use net::replication::{
    Append, Appended, Body, Greet, History, Incarnation, Message as Said, Offer, Position, Record, Standing, Status,
    Tick, TransferId, wire,
};
use net::{forward, installation};

use crate::specimen::edited;

const VOLUME: VolumeId = VolumeId(3);
const TRANSFER: TransferId = TransferId(0x0807_0605);

/// Sound messages: of each kind one, of those with several forms one of each.
#[must_use]
pub fn golden() -> Vec<Message> {
    [links(), replication(), content(), installation(), forwarding()].concat()
}

/// Has a message read that `script` makes of a sound one.
pub fn try_script(golden: &[Message], script: &[u8]) {
    let Some((choice, script)) = script.split_first() else { return };
    let message = &golden[usize::from(*choice) % golden.len()];
    read(&Message::new(message.kind, edited(&message.body, script)));
}

/// Reads a message as whatever may have its kind. What is read is what is written.
///
/// # Panics
/// If it is not, which is a bug.
pub fn read(message: &Message) {
    read_link(message);
    if let Ok(said) = wire::decode(message) {
        assert_eq!(wire::decode(&wire::encode(&said)).as_ref(), Ok(&said));
        if let Said::Append(append) = said {
            append.records.iter().for_each(read_record);
        }
    }
    if let Ok(question) = Question::decode(message) {
        assert_eq!(Question::decode(&question.clone().encode()), Ok(question));
    }
    if let Ok(answer) = Answer::decode(message) {
        assert_eq!(Answer::decode(&answer.clone().encode()), Ok(answer));
    }
    if let Ok(lend) = Lend::decode(message) {
        assert_eq!(Lend::decode(&lend.clone().encode()), Ok(lend));
    }
    if let Ok(lent) = Lent::decode(message) {
        assert_eq!(Lent::decode(&lent.clone().encode()), Ok(lent));
    }
    if let Ok(question) = installation::Question::decode(message) {
        assert_eq!(installation::Question::decode(&question.encode()), Ok(question));
    }
    if let Ok(answer) = installation::Answer::decode(message) {
        assert_eq!(installation::Answer::decode(&answer.encode()), Ok(answer));
    }
    if let Ok(question) = forward::decode_question(message) {
        assert_eq!(forward::decode_question(&forward::encode_question(&question)).as_ref(), Ok(&question));
        match question.asked {
            forward::Asked::Write(_, records) => records.iter().for_each(read_operations),
            forward::Asked::PausedWrite { record, .. } => read_operations(&record),
            _ => {}
        }
    }
    if let Ok(answer) = forward::decode_answer(message) {
        assert_eq!(forward::decode_answer(&forward::encode_answer(&answer)), Ok(answer));
    }
}

/// Before two nodes have agreed on a version, and when one joins.
fn read_link(message: &Message) {
    if let Ok(hello) = Hello::decode(message) {
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    }
    if let Ok(welcome) = Welcome::decode(message) {
        assert_eq!(Welcome::decode(&welcome.encode()), Ok(welcome));
    }
    if let Ok(opening) = Opening::decode(message) {
        assert_eq!(Opening::decode(&opening.encode()), Ok(opening));
    }
    if let Ok(request) = JoinRequest::decode(message) {
        assert_eq!(JoinRequest::decode(&request.encode()), Ok(request));
    }
    // An answer may name more members than one is written with.
    let _ = decode_answer(message);
}

fn read_record(record: &Record) {
    if let Body::Write(payload) = &record.body {
        read_operations(payload);
    }
}

fn read_operations(payload: &Bytes) {
    let Ok(operations) = operation::decode(payload) else { return };
    // Longer ones than a node makes are read, and refused by the primary they are forwarded to.
    if payload.len() <= operation::RECORD_BYTES_MAX {
        // Packed ones have more than one form.
        assert_eq!(operation::decode(&operation::encode(&operations)), Ok(operations));
    }
}

fn links() -> Vec<Message> {
    let versions = Versions { min: 1, max: 1 };
    vec![
        Hello { versions, session: 7, index: 0, count: 4, program: "silt 0.1.0".into() }.encode(),
        Welcome { version: 1, program: "silt 0.1.0".into() }.encode(),
        Opening { class: 1, id: 3 }.encode(),
    ]
}

fn operations() -> Bytes {
    let name: VolumeName = "monday".parse().expect("a name of the harness is one");
    operation::encode(&[
        Operation::Write { offset: 4096, data: Bytes::from_static(b"written") },
        Operation::Zero { offset: 0, len: 4096, zeroing: Zeroing::Hole },
        Operation::Zero { offset: 8192, len: 512, zeroing: Zeroing::Allocated },
        Operation::Resize { size_bytes: 1 << 20 },
        Operation::Snapshot { name: name.clone() },
        Operation::RollBack { to: name.clone() },
        Operation::RemoveSnapshot { name },
    ])
}

/// A record whose data shrinks: as a whole if it is short, else as blocks.
fn packed_operations(bytes: usize) -> Bytes {
    let data = vec![7; bytes];
    let mut packer = Packer::default();
    let mut record = WriteRecord::with_capacity(WriteRecord::bytes_of(data.len()));
    record.push(4000, &data, &mut packer);
    record.finish(&mut packer).record().clone()
}

fn history() -> History {
    let starts = vec![(Epoch(1), Lsn(1)), (Epoch(3), Lsn(5))];
    History::new(starts, Lsn(9)).expect("a history of the harness is one")
}

fn replication() -> Vec<Message> {
    let (epoch, from, sent) = (Epoch(3), Incarnation(11), Tick(1234));
    let offer = Offer { epoch, to: from, transfer: TRANSFER };
    let written = [operations(), packed_operations(32 << 10), packed_operations(80 << 10)];
    let bodies = [Body::Opening].into_iter().chain(written.map(Body::Write));
    let records = bodies.map(|body| Record { epoch, body }).collect();
    let append = Append {
        epoch,
        to: from,
        sent,
        as_member: true,
        prev: Position { epoch: Epoch(1), lsn: Lsn(4) },
        records,
        committed: Lsn(5),
        flushable: Lsn(4),
        sync: Lsn(5),
    };
    let (granted, history, floor, transfer) = (true, history(), Lsn(4), Some(TRANSFER));
    let status = |standing| {
        let (history, sees_primary) = (history.clone(), true);
        Said::Status(Status { epoch, from, sent, granted, standing, history, floor, transfer, sees_primary })
    };
    let appended = Appended { epoch, from, sent, granted, held: Lsn(9), synced: Lsn(8), resend_after: Some(Lsn(2)) };
    let said = [
        Said::Greet(Greet { epoch, sent }),
        status(Standing::Sound(epoch)),
        status(Standing::Doubtful(epoch)),
        status(Standing::Outside),
        Said::Append(append),
        Said::Appended(appended),
        Said::Offer(offer),
        Said::Ready(offer),
        Said::WantSync(epoch),
        Said::Resigned(epoch),
        Said::Stale(epoch),
    ];
    said.iter().map(wire::encode).collect()
}

fn content() -> Vec<Message> {
    let (transfer, fingerprint) = (TRANSFER, [7; 32]);
    let stored = StoredForm { fingerprint, encoding: 1, bytes: b"stored".to_vec() };
    let entries = vec![Entry::Same(3), Entry::Zeros(2), Entry::Data(fingerprint), Entry::Data([8; 32])];
    let questions = [
        Question::Begin(Begin { transfer, volume: VOLUME, size_bytes: 9 << 12, based: true }),
        Question::Page(Page { transfer, first_block: 1, entries }),
        Question::Blocks(Blocks { transfer, blocks: vec![PlacedBlock { block: 5, stored: stored.clone() }] }),
        Question::End(End { transfer, root: [9; 32] }),
    ];
    let answers = [
        Answer::Begun,
        Answer::Wanted(vec![0, 1, 700]),
        Answer::Took,
        Answer::Ended { matches: true },
        Answer::Refused(Refusal::DamagedBlock),
    ];
    let lending = [Lend { fingerprints: vec![fingerprint, [8; 32]] }.encode(), Lent { blocks: vec![stored] }.encode()];
    let questions = questions.into_iter().map(Question::encode);
    questions.chain(answers.into_iter().map(Answer::encode)).chain(lending).collect()
}

fn installation() -> Vec<Message> {
    use net::installation::{Answer, Question, Step};
    let steps = [
        Step::Begin { base: Some(Lsn(4)) },
        Step::Begin { base: None },
        Step::Prepare { size_bytes: 1 << 30 },
        Step::Freeze { snapshot: "monday".into() },
        Step::Install { history: history() },
    ];
    let question = |step| Question { volume: VOLUME, transfer: TRANSFER, step }.encode();
    let answers = [Answer::Done, Answer::Refused].map(|answer| answer.encode());
    steps.into_iter().map(question).chain(answers).collect()
}

fn forwarding() -> Vec<Message> {
    use net::forward::{Answer, Asked, Attempt, Brought, Question, Refused, SnapshotEntry};
    let snapshot = Some("monday".to_owned());
    let asked = [
        Asked::Write(
            Attempt { session: 5, number: 6 },
            vec![operations(), packed_operations(32 << 10), packed_operations(80 << 10)],
        ),
        Asked::Flush,
        Asked::Read { snapshot: snapshot.clone(), offset: 4096, len: 512 },
        Asked::Status { snapshot, offset: 0, len: 1 << 20, extents_max: 9 },
        Asked::Snapshots,
        Asked::HandOver,
        Asked::Pause { pause: 7, snapshot: "monday".into() },
        Asked::PausedWrite { pause: 7, record: operations() },
        Asked::Resume(7),
    ];
    let question = |asked| forward::encode_question(&Question { volume: VOLUME, asked });
    let entry = SnapshotEntry { name: "monday".into(), size_bytes: 1 << 20, created_ms: 99 };
    let results = [
        Ok(Brought::Nothing),
        Ok(Brought::Bytes(Bytes::from_static(b"read"))),
        Ok(Brought::Extents(vec![(4096, 0), (512, 2)])),
        Ok(Brought::Snapshots(vec![entry])),
        Err(Refused::NotPrimary(Some(NodeId(2)))),
        Err(Refused::Failed("no".into())),
    ];
    let answer = |result| forward::encode_answer(&Answer { served: (Epoch(3), Epoch(1)), result });
    asked.into_iter().map(question).chain(results.into_iter().map(answer)).collect()
}

#[cfg(test)]
mod tests;
