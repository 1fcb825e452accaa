//! Replay of the journal when a store is opened.
//!
//! The chain of batches is followed from the manifest's journal start. Where it breaks is where the machine stopped,
//! unless a later batch says that the broken one had been synced: then it is damage, and the store refuses to open
//! rather than serve less than it promised. A writing opening copies what it replays into new generations and syncs
//! them before it serves, because what was read may not be on stable storage yet.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use super::inner::Inner;
use crate::checksum::crc32c;
use crate::device::{Access, Device};
use crate::error::{Error, Result};
use crate::id::{BLOCK_BYTES, BlockIndex, FamilyId, Generation, LayerId, Sequence, StoreId};
use crate::journal::batch::{Batch, Record, RecordKind};
use crate::journal::generation::{self, GenerationFile};
use crate::journal::replay::{ChainEnd, Reader};
use crate::layers::LayerTree;
use crate::manifest::JournalStart;
use crate::packed;

/// Where the chain broke, and what may lie behind the break.
struct Break {
    end: ChainEnd,
    path: String,
    /// Generations behind the chain's last one, of any incarnation.
    behind: Vec<Generation>,
    /// Generation in which the chain ended, if it ever began.
    within: Option<Generation>,
    /// The newest manifest commit that the chain itself names.
    manifest: u64,
}

/// Follows the journal from `start` and hands every record of the chain to `sink`, in order, with its payload. `files`
/// are the generations to look at: those that the opening makes itself may come and go meanwhile. Returns the
/// generations of the chain: no other is needed.
pub(super) fn replay(
    device: &dyn Device,
    store: StoreId,
    files: &[Generation],
    start: &JournalStart,
    manifest_sequence: u64,
    mut sink: impl FnMut(&Batch, &[(Record, Cow<'_, [u8]>)]) -> Result<()>,
) -> Result<Vec<Generation>> {
    let wanted: Vec<_> = files.iter().copied().filter(|generation| *generation >= start.tail).collect();
    if !start.exists {
        let end = ChainEnd { next: start.first, previous: 0, offset: 0 };
        let broken = Break { end, path: String::new(), behind: wanted, within: None, manifest: 0 };
        refuse_damage(device, store, start, &broken, manifest_sequence)?;
        return Ok(Vec::new());
    }
    if wanted.first() != Some(&start.tail) {
        return Err(Error::corrupt(generation::path(start.tail), 0, "the journal file is missing"));
    }
    let broken = follow(device, store, start, &wanted, &mut sink)?;
    refuse_damage(device, store, start, &broken, manifest_sequence)?;
    // The first one counts even if it never began: the manifest says that it is there.
    let last = broken.within.unwrap_or(start.tail);
    Ok(wanted.into_iter().filter(|generation| *generation <= last).collect())
}

fn follow(
    device: &dyn Device,
    store: StoreId,
    start: &JournalStart,
    wanted: &[Generation],
    sink: &mut impl FnMut(&Batch, &[(Record, Cow<'_, [u8]>)]) -> Result<()>,
) -> Result<Break> {
    let mut end = ChainEnd { next: start.first, previous: 0, offset: 0 };
    let mut within = None;
    let mut manifest = 0;
    let mut expected = start.tail;
    for (index, &generation) in wanted.iter().enumerate() {
        let path = generation::path(generation);
        let stop = |end, within, manifest| {
            let (path, behind) = (path.clone(), wanted[index..].to_vec());
            Break { end, path, behind, within, manifest }
        };
        if generation != expected {
            return Ok(stop(end, within, manifest));
        }
        let (header, mut reader) = Reader::open(device, store, generation)?;
        if generation == start.tail && reader.is_stump() {
            return Err(Error::corrupt(path, 0, "the file was cut short"));
        }
        let begins = header.filter(|header| {
            let follows = generation == start.tail || header.previous == end.previous;
            header.incarnation == start.incarnation && header.first == end.next && follows
        });
        let Some(header) = begins else { return Ok(stop(end, within, manifest)) };
        end = Reader::start(&header);
        within = Some(generation);
        manifest = manifest.max(header.manifest);
        while let Some((batch, bytes)) = reader.next_batch(&mut end)? {
            let payloads = batch.verified_payloads(bytes).expect("a batch of the chain is whole");
            let unpacked = unpack(&payloads)
                .ok_or_else(|| Error::corrupt(&path, end.offset - batch.file_bytes(), "packed blocks do not unpack"))?;
            sink(&batch, &unpacked)?;
            manifest = manifest.max(batch.marks.manifest);
        }
        expected = generation.next();
    }
    let path = within.map(generation::path).unwrap_or_default();
    Ok(Break { end, path, behind: Vec::new(), within, manifest })
}

/// The records with their blocks as they were written; `None` if the bytes of packed ones are not what they should be.
fn unpack<'a>(payloads: &[(&Record, &'a [u8])]) -> Option<Vec<(Record, Cow<'a, [u8]>)>> {
    let unpack = |(record, payload): &(&Record, &'a [u8])| {
        if record.kind != RecordKind::Packed {
            return Some((**record, Cow::Borrowed(*payload)));
        }
        let blocks = packed::unpack(payload, record.count as usize)?;
        let (payload_bytes, payload_checksum) = (blocks.len() as u32, crc32c(&blocks));
        let record = Record { kind: RecordKind::Data, payload_bytes, payload_checksum, ..**record };
        Some((record, Cow::Owned(blocks)))
    };
    payloads.iter().map(unpack).collect()
}

/// A crash leaves nothing behind the break that was placed after a sync of what is missing, and nothing anywhere that
/// was placed after a manifest commit that is missing.
fn refuse_damage(
    device: &dyn Device,
    store: StoreId,
    start: &JournalStart,
    broken: &Break,
    manifest_sequence: u64,
) -> Result<()> {
    let mut synced = Sequence(0);
    let mut manifest = broken.manifest;
    let from_break = broken.within.map(|generation| (generation, broken.end.offset));
    for (generation, offset) in from_break.into_iter().chain(broken.behind.iter().map(|behind| (*behind, 0))) {
        let (header, mut reader) = Reader::open(device, store, generation)?;
        let marks = reader.marks_beyond(offset)?;
        let begun = header.filter(|_| offset == 0);
        // Manifest commits are counted through all openings of the store.
        manifest = manifest.max(marks.map_or(0, |marks| marks.manifest)).max(begun.map_or(0, |header| header.manifest));
        // Records are not: unfinished recoveries have copied this journal into generations with sequences of their own.
        if start.exists && header.is_none_or(|header| header.incarnation == start.incarnation) {
            synced = synced.max(marks.map_or(Sequence(0), |marks| marks.synced));
            synced = synced.max(begun.map_or(Sequence(0), |header| header.synced));
        }
    }
    if synced >= broken.end.next {
        let why = "a batch that had been flushed is not valid";
        return Err(Error::corrupt(&broken.path, broken.end.offset, why));
    }
    if manifest > manifest_sequence {
        return Err(Error::corrupt("manifest", 0, "commits that the journal knows of are missing"));
    }
    Ok(())
}

/// Makes the old journal stable before anything is derived from it. After the death of the process alone it is not, and
/// a recovery that flushes what it replays would put records into runs that a power cut could then take out of the
/// journal: a later recovery would lay the older records that are left over them.
pub(super) fn sync_old_journal(device: &dyn Device, files: &[Generation]) -> Result<()> {
    for &generation in files {
        let path = generation::path(generation);
        let file = device.open(&path, Access::Buffered);
        let file = file.map_err(|error| Error::io("opening the journal", &path, error))?;
        file.sync_data().map_err(|error| Error::io("syncing", &path, error))?;
    }
    Ok(())
}

/// The layer that a replayed record belongs to, when `head` is the one the manifest has its volume in.
///
/// A snapshot moves its volume to a new layer, and only then is committed: what was written to a layer that never got into
/// the manifest is the volume's. Layers that have left the manifest have smaller ids than the one their volume is in
/// now: what was written to them is gone.
pub(super) fn layer_of(record: &Record, head: Option<LayerId>, layers: &LayerTree) -> LayerId {
    match head {
        Some(head) if record.layer > head && !layers.contains(record.layer) => head,
        _ => record.layer,
    }
}

/// The family of a layer. What was written to a layer that is gone reaches no run, so its family may be any.
pub(super) fn family_of(layer: LayerId, layers: &LayerTree) -> FamilyId {
    layers.family_of(layer).unwrap_or(FamilyId::of_first(layer))
}

impl Inner {
    /// Copies a replayed batch into the new journal and the memtable. Its records keep their LSNs and their order.
    pub(super) fn append_replayed(&self, payloads: &[(Record, Cow<'_, [u8]>)]) -> Result<()> {
        for (record, _) in payloads {
            if let Ok(volume) = self.volume_state(record.volume) {
                volume.raise_lsn(record.lsn);
            }
        }
        let pieces: Vec<_> = payloads.iter().flat_map(|(record, payload)| self.cut(record, payload)).collect();
        let pieces: Vec<_> = {
            let layers = self.layers.lock();
            let head = |record: &Record| self.volume_state(record.volume).ok().map(|volume| volume.layer());
            let settled = |(record, payload): (Record, _)| {
                (Record { layer: layer_of(&record, head(&record), &layers), ..record }, payload)
            };
            pieces.into_iter().map(settled).collect()
        };
        let mut rest = &pieces[..];
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |(_, payload): &&(Record, &[u8])| {
                bytes += payload.len();
                bytes <= self.budget.batch_bytes
            };
            let (batch, behind) = rest.split_at(rest.iter().take_while(fits).count());
            self.append_records(batch)?;
            rest = behind;
        }
        Ok(())
    }

    /// The family of a replayed record's layer.
    pub(super) fn family_of(&self, record: &Record) -> FamilyId {
        family_of(record.layer, &self.layers.lock())
    }

    /// The record in parts that fit into this opening's batches, which may be smaller than those it was written with.
    fn cut<'a>(&self, record: &Record, payload: &'a [u8]) -> Vec<(Record, &'a [u8])> {
        if payload.len() <= self.budget.batch_bytes {
            return vec![(*record, payload)];
        }
        let step = self.budget.batch_bytes / BLOCK_BYTES;
        payload
            .chunks(step * BLOCK_BYTES)
            .enumerate()
            .map(|(index, part)| {
                let first = BlockIndex(record.first.0 + (index * step) as u64);
                let count = (part.len() / BLOCK_BYTES) as u64;
                let (payload_bytes, payload_checksum) = (part.len() as u32, crc32c(part));
                (Record { first, count, payload_bytes, payload_checksum, ..*record }, part)
            })
            .collect()
    }

    /// Ends recovery: what was replayed is synced in new generations, and the manifest names those.
    pub(super) fn finish_recovery(&self, old: &[Generation]) -> Result<()> {
        self.sync_all()?;
        let mut meta = self.meta.lock();
        let edit = self.journal_start_edit();
        self.commit(&mut meta, vec![edit])?;
        self.recovering.store(false, Ordering::Release);
        drop(meta);
        for &generation in old {
            self.generations.adopt(GenerationFile::open(&*self.device, generation)?)?;
        }
        self.generations.end_copying()
    }
}
