//! Content on its way to a replica, between two stores of which one does not say what it should.
//!
//! Fingerprints and roots are never switched off: whatever a receiver takes for complete is what was sent, and what a lender gives
//! is what was asked for, or nothing.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use blockdev::replica::content::{Asking, Pace, Receiver, SendError, Source, lend, repair, send};
use lsm_store::clock::SystemClock;
use lsm_store::codec::Codec;
use lsm_store::device::sim::{Faults, SimDevice};
use lsm_store::id::{BLOCK_BYTES, BlockIndex};
use lsm_store::request::{Write, Zeroing};
use lsm_store::rng::{Rng, SeededRng};
use lsm_store::store::{Store, Volume, VolumeSpec};
use net::envelope::Message;
use net::id::VolumeId;
use net::replication::TransferId;
use net::transport::RequestError;
use parking_lot::Mutex;

use crate::model::Violation;
use crate::specimen::{broken, edited, opened};

const VOLUME: VolumeId = VolumeId(3);
const TRANSFER: TransferId = TransferId(1);

/// Blocks of the volume; the last is cut by its end.
const BLOCKS: u64 = 40;
const SIZE_BYTES: u64 = BLOCKS * BLOCK_BYTES as u64 - 100;

/// Questions of a transfer at most, edited or not.
const QUESTIONS_MAX: usize = 64;

fn settle(store: &Store) -> Result<(), Violation> {
    store.freeze().map_err(broken)?;
    while store.step().map_err(broken)? {}
    Ok(())
}

fn read_all(volume: &Volume) -> Result<Vec<u8>, Violation> {
    let mut content = vec![0; volume.size_bytes() as usize];
    volume.read(0, content.len()).map_err(broken)?.copy_to(&mut content);
    Ok(content)
}

/// A way to the other node on which one question or answer is edited.
struct Way<'a> {
    other: &'a (dyn Fn(&Message) -> Message + Sync),
    asked: AtomicUsize,
    /// Which question, whether its answer instead, and how.
    edit: (usize, bool, &'a [u8]),
}

impl Way<'_> {
    fn pass(&self, number: usize, is_answer: bool, message: Message) -> Message {
        let (at, answers, script) = self.edit;
        let is_edited = number == at && is_answer == answers;
        if is_edited { Message::new(message.kind, edited(&message.body, script)) } else { message }
    }
}

impl Asking for Way<'_> {
    fn ask(&self, message: Message) -> Result<Message, RequestError> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        if number >= QUESTIONS_MAX {
            return Err(RequestError::Down);
        }
        let question = self.pass(number, false, message);
        Ok(self.pass(number, true, (self.other)(&question)))
    }
}

/// Two stores: one has content, the other an older one of the same volume.
pub struct Transfer {
    sender: SimDevice,
    receiver: SimDevice,
    source: (lsm_store::id::VolumeId, lsm_store::id::VolumeId),
    target: lsm_store::id::VolumeId,
    content: Vec<u8>,
}

impl Transfer {
    /// Makes both.
    ///
    /// # Errors
    /// If the stores cannot be made: a bug to find by other harnesses.
    pub fn make() -> Result<Self, Violation> {
        let (sender, receiver) = (SimDevice::new(1, Faults::none()), SimDevice::new(2, Faults::none()));
        let (from, to) = (opened(&sender)?, opened(&receiver)?);
        let spec = VolumeSpec { size_bytes: SIZE_BYTES, codec: Codec::Lz4 };
        let create = |store: &Arc<Store>| {
            store.create_volume(spec, |_| Vec::new()).and_then(|id| store.volume(id)).map_err(broken)
        };
        let (volume, target) = (create(&from)?, create(&to)?);
        for volume in [&volume, &target] {
            fill(volume, 0..BLOCKS / 2, 1)?;
        }
        let freeze = |volume: &Volume| {
            let frozen = from.snapshot_volumes(&[volume.id()], |_| Vec::new()).map_err(broken)?;
            Ok::<_, Violation>(frozen[0])
        };
        let base = freeze(&volume)?;
        fill(&volume, BLOCKS / 4..BLOCKS - 3, 2)?;
        volume.zero(3 * BLOCK_BYTES as u64, 5 * BLOCK_BYTES as u64, Zeroing::Hole).map_err(broken)?;
        let source = (freeze(&volume)?, base);
        let content = read_all(&volume)?;
        [&from, &to].into_iter().try_for_each(|store| settle(store))?;
        Ok(Self { source, target: target.id(), content, sender, receiver })
    }

    /// Sends the content while one message is edited: the first two bytes say which, and whether there is a base.
    ///
    /// # Errors
    /// If the receiver takes something else for complete, or the sender is told so.
    pub fn try_script(&self, script: &[u8]) -> Result<(), Violation> {
        let [choice, number, script @ ..] = script else { return Ok(()) };
        let (from, to) = (opened(&self.sender.process_death())?, opened(&self.receiver.process_death())?);
        let volume = |store: &Arc<Store>, id| store.volume(id).map_err(broken);
        let base = if choice & 2 == 0 { Some(volume(&from, self.source.1)?) } else { None };
        let source = Source { volume: volume(&from, self.source.0)?, base };
        let target = volume(&to, self.target)?;
        let receiver = Mutex::new(Receiver::new(target.clone(), VOLUME, TRANSFER));
        let answer = |message: &Message| receiver.lock().handle(message);
        let edit = (usize::from(*number) % 8, choice & 1 == 1, script);
        let way = Way { other: &answer, asked: AtomicUsize::new(0), edit };
        let clock = SystemClock::new();
        let sent = send(&source, VOLUME, TRANSFER, &way, &Pace::new(&clock), &|_| {});
        self.verdict(sent.map(|_| ()), receiver.lock().is_complete(), &target, edit.1)
    }

    fn verdict(
        &self,
        sent: Result<(), SendError>,
        is_complete: bool,
        target: &Volume,
        lies_to_sender: bool,
    ) -> Result<(), Violation> {
        if is_complete && read_all(target)? != self.content {
            return Err(Violation("the receiver takes something else for complete".into()));
        }
        // Whoever answers may say that it has everything; then it is the answer that is wrong.
        if sent.is_ok() && !is_complete && !lies_to_sender {
            return Err(Violation("the sender believes that the content is there".into()));
        }
        Ok(())
    }

    /// Has blocks repaired that are sound, by a lender whose answer or question is edited.
    ///
    /// # Errors
    /// If the volume holds something else afterwards.
    pub fn try_lending(&self, script: &[u8]) -> Result<(), Violation> {
        let Some((choice, script)) = script.split_first() else { return Ok(()) };
        let (from, to) = (opened(&self.sender.process_death())?, opened(&self.receiver.process_death())?);
        let target = to.volume(self.target).map_err(broken)?;
        let before = read_all(&target)?;
        let answer = |message: &Message| lend(&from, message);
        let way = Way { other: &answer, asked: AtomicUsize::new(0), edit: (0, choice & 1 == 1, script) };
        let damaged: Range<BlockIndex> = BlockIndex(0)..BlockIndex(BLOCKS);
        // A lender that talks nonsense is an error, one that lacks blocks leaves them as they are.
        let _ = repair(&target, damaged, &way);
        if read_all(&target)? == before { Ok(()) } else { Err(Violation("lent blocks change the content".into())) }
    }
}

/// Different blocks, as noise and as text, in turn.
fn fill(volume: &Volume, blocks: Range<u64>, seed: u64) -> Result<(), Violation> {
    for block in blocks {
        let mut data = vec![block as u8; BLOCK_BYTES];
        if block % 2 == 0 {
            SeededRng::new(seed << 32 | block).fill(&mut data);
        }
        volume.write(&[Write { offset: block * BLOCK_BYTES as u64, data: &data }]).map_err(broken)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
