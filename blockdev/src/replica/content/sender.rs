//! Sends content: asks what the receiver lacks of it page after page, and meanwhile moves that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, scope};

use lsm_store::id::BlockIndex;
use lsm_store::store::StoredBlock;
use net::content::{Answer, Begin, Blocks, End, Entry, Page, PlacedBlock, Question};
use net::replication::{TransferId, VolumeId};
use parking_lot::Mutex;

use super::Asking;
use super::error::SendError;
use super::form::form_of;
use super::pace::{Gate, Pace};
use super::source::{Described, Pages, Source};
use crate::root::{PLAIN_DOMAIN, RootBuilder};

/// Questions' worth of blocks that wait to be moved: what keeps pages from running ahead.
const BATCHES_AHEAD: usize = 8;

/// How far a transfer has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Up to this block what the receiver lacks is known.
    pub blocks_compared: u64,
    /// Those of them that it does not lack any more.
    pub blocks_done: u64,
    /// Blocks of the content.
    pub blocks_total: u64,
    /// Blocks that were moved.
    pub blocks_moved: u64,
    /// Bytes of questions and answers so far.
    pub bytes_moved: u64,
}

/// What was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Blocks that were compared: all, or those that may differ from the base.
    pub blocks: u64,
    /// Blocks that the receiver lacked.
    pub blocks_moved: u64,
    /// Bytes of all questions and answers, with their headers.
    pub bytes_moved: u64,
}

/// Gives the receiver the content of `source`, which is that of `volume`. Once it returns the receiver has it durably.
///
/// # Errors
/// See [`SendError`]. What has come by then is not moved again by the next transfer.
pub fn send(
    source: &Source,
    volume: VolumeId,
    transfer: TransferId,
    asking: &dyn Asking,
    pace: &Pace<'_>,
    watch: &(dyn Fn(Progress) + Sync),
) -> Result<Sent, SendError> {
    let sending = Sending {
        source,
        transfer,
        asking,
        gate: Gate::new(*pace),
        pace,
        watch,
        compared: AtomicU64::new(0),
        counts: Counts::default(),
        failed: Mutex::new(None),
    };
    sending.begin(volume)?;
    sending.content()?;
    sending.end()?;
    Ok(sending.sent())
}

#[derive(Default)]
struct Counts {
    blocks: AtomicU64,
    blocks_lacking: AtomicU64,
    blocks_moved: AtomicU64,
    bytes_moved: AtomicU64,
}

struct Sending<'a> {
    source: &'a Source,
    transfer: TransferId,
    asking: &'a dyn Asking,
    gate: Gate<'a>,
    pace: &'a Pace<'a>,
    watch: &'a (dyn Fn(Progress) + Sync),
    compared: AtomicU64,
    counts: Counts,
    /// The first failure: everybody stops.
    failed: Mutex<Option<SendError>>,
}

/// Blocks to be moved together.
type Batch = Vec<BlockIndex>;

impl Sending<'_> {
    fn ask(&self, question: Question) -> Result<Answer, SendError> {
        let message = question.encode();
        let asked_bytes = message.wire_bytes();
        self.gate.pass(asked_bytes)?;
        let answer = self.asking.ask(message)?;
        let bytes = asked_bytes + answer.wire_bytes();
        self.counts.bytes_moved.fetch_add(bytes as u64, Ordering::Relaxed);
        match Answer::decode(&answer) {
            Ok(Answer::Refused(refusal)) => Err(SendError::Refused(refusal)),
            Ok(answer) => Ok(answer),
            Err(_) => Err(SendError::Senseless),
        }
    }

    fn begin(&self, volume: VolumeId) -> Result<(), SendError> {
        let (size_bytes, based) = (self.source.volume.size_bytes(), self.source.base.is_some());
        let begin = Begin { transfer: self.transfer, volume, size_bytes, based };
        match self.ask(Question::Begin(begin))? {
            Answer::Begun => Ok(()),
            _ => Err(SendError::Senseless),
        }
    }

    /// Brings the receiver what it lacks.
    fn content(&self) -> Result<(), SendError> {
        if self.pace.questions_at_once == 0 {
            return self.compare(&mut |batch| self.move_batch(&batch));
        }
        let (batches, waiting) = sync_channel(BATCHES_AHEAD);
        let waiting = Mutex::new(waiting);
        scope(|scope| {
            let move_all = || self.move_batches(&waiting);
            for _ in 0..self.pace.questions_at_once {
                let started = Builder::new().name("silt-content".to_owned()).spawn_scoped(scope, move_all);
                self.keep(started.map(drop).map_err(|error| SendError::Thread(Arc::new(error))));
            }
            self.keep(self.compare(&mut |batch| {
                batches.send(batch).expect("the other end outlives those who use it");
                Ok(())
            }));
            drop(batches);
        });
        self.failed.lock().take().map_or(Ok(()), Err)
    }

    /// Asks what is lacking, page after page.
    fn compare(&self, move_it: &mut dyn FnMut(Batch) -> Result<(), SendError>) -> Result<(), SendError> {
        let mut pages = Pages::new(self.source);
        while !self.has_failed()
            && let Some(page) = pages.next_page()?
        {
            let wanted = self.ask_page(page)?;
            self.counts.blocks_lacking.fetch_add(wanted.len() as u64, Ordering::Relaxed);
            self.compared.store(pages.position(), Ordering::Relaxed);
            self.tell();
            for batch in wanted.chunks(self.pace.blocks_at_once.clamp(1, net::content::BLOCKS_MAX)) {
                move_it(batch.to_vec())?;
            }
        }
        Ok(())
    }

    fn ask_page(&self, page: Described) -> Result<Vec<BlockIndex>, SendError> {
        let (mut at, mut data) = (page.first, Vec::new());
        for entry in &page.entries {
            match entry {
                Entry::Data(_) => data.push(BlockIndex(at)),
                Entry::Same(_) | Entry::Zeros(_) => {}
            }
            at += entry.block_count();
        }
        let said = page.entries.iter().filter(|entry| !matches!(entry, Entry::Same(_)));
        self.counts.blocks.fetch_add(said.map(Entry::block_count).sum(), Ordering::Relaxed);
        let page = Page { transfer: self.transfer, first_block: page.first, entries: page.entries };
        let Answer::Wanted(places) = self.ask(Question::Page(page))? else { return Err(SendError::Senseless) };
        let wanted = places.iter().map(|place| data.get(usize::from(*place)).copied());
        wanted.collect::<Option<_>>().ok_or(SendError::Senseless)
    }

    fn move_batches(&self, waiting: &Mutex<Receiver<Batch>>) {
        loop {
            let batch = waiting.lock().recv();
            let Ok(batch) = batch else { return };
            // After a failure what waits is only taken out, so that nobody waits for room.
            if !self.has_failed() {
                self.keep(self.move_batch(&batch));
            }
        }
    }

    fn move_batch(&self, batch: &[BlockIndex]) -> Result<(), SendError> {
        let mut blocks = Vec::with_capacity(batch.len());
        for run in batch.chunk_by(|a, b| a.next() == *b) {
            let stored = self.source.volume.stored_blocks(run[0], run.len() as u64)?;
            blocks.extend(stored.into_iter().map(placed));
        }
        let moved = blocks.len() as u64;
        match self.ask(Question::Blocks(Blocks { transfer: self.transfer, blocks }))? {
            Answer::Took => {
                self.counts.blocks_moved.fetch_add(moved, Ordering::Relaxed);
                self.tell();
                Ok(())
            }
            _ => Err(SendError::Senseless),
        }
    }

    /// Has the receiver compare what it has in the end.
    fn end(&self) -> Result<(), SendError> {
        let volume = &self.source.volume;
        let mut root = RootBuilder::new(PLAIN_DOMAIN, volume.size_bytes());
        while !root.is_complete() {
            self.gate.check()?;
            root.push_next_of(volume)?;
        }
        match self.ask(Question::End(End { transfer: self.transfer, root: root.finish().digest }))? {
            Answer::Ended { matches: true } => Ok(()),
            Answer::Ended { matches: false } => Err(SendError::OtherRoot),
            _ => Err(SendError::Senseless),
        }
    }

    fn has_failed(&self) -> bool {
        self.failed.lock().is_some()
    }

    fn keep(&self, result: Result<(), SendError>) {
        if let Err(error) = result {
            self.failed.lock().get_or_insert(error);
        }
    }

    fn tell(&self) {
        let Sent { blocks_moved, bytes_moved, .. } = self.sent();
        let blocks_compared = self.compared.load(Ordering::Relaxed);
        let blocks_total = self.source.volume.block_count();
        let lacking = self.counts.blocks_lacking.load(Ordering::Relaxed).saturating_sub(blocks_moved);
        let blocks_done = blocks_compared.saturating_sub(lacking);
        (self.watch)(Progress { blocks_compared, blocks_done, blocks_total, blocks_moved, bytes_moved });
    }

    fn sent(&self) -> Sent {
        let Counts { blocks, blocks_moved, bytes_moved, .. } = &self.counts;
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        Sent { blocks: count(blocks), blocks_moved: count(blocks_moved), bytes_moved: count(bytes_moved) }
    }
}

fn placed((block, stored): (BlockIndex, StoredBlock)) -> PlacedBlock {
    PlacedBlock { block: block.0, stored: form_of(stored) }
}
