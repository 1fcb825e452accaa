//! What volumes with limits map: counted from the view, and looked up for single changes near a quota.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::allowance::{Charge, Limits};
use super::changes::in_memory;
use super::collect::is_unreadable;
use super::front::Change;
use super::inner::{Inner, chain};
use super::states::Piece;
use super::view::View;
use super::volume::VolumeState;
use crate::error::{Error, Result};
use crate::fingerprint::is_zero;
use crate::id::{BLOCK_BYTES, BlockIndex, VolumeId};
use crate::journal::batch::RecordKind;
use crate::layers::Lineage;
use crate::map::Target;
use crate::memtable::Content;
use crate::packed::Packed;

impl Inner {
    /// What the changes do to the bytes that the volume maps; looked up near its quota, and then others wait until what is
    /// returned is dropped.
    ///
    /// # Errors
    /// [`Error::QuotaReached`].
    pub(super) fn charge<'a>(
        &self,
        volume: &'a VolumeState,
        changes: &[Change<'_>],
        packed: Option<&Packed>,
    ) -> Result<Charge<'a>> {
        let allowance = volume.allowance();
        let bounded = bounded(changes);
        if allowance.permits(&bounded) {
            return Ok(bounded);
        }
        let mut turn = allowance.turn();
        loop {
            turn = match allowance.exact(self.growth(volume, changes, packed)?, turn) {
                Ok(charge) => return Ok(charge),
                Err(_) if allowance.is_exact() => return Err(Error::QuotaReached),
                Err(turn) => turn,
            };
            self.count(volume)?;
        }
    }

    /// How many more bytes are mapped after the changes than are now.
    fn growth(&self, volume: &VolumeState, changes: &[Change<'_>], packed: Option<&Packed>) -> Result<i64> {
        let view = self.view();
        let lineage = volume.lineage()?;
        let mut growth = 0;
        // Of the changes to a block the last counts.
        let mut seen = FxHashSet::default();
        for change in changes.iter().rev() {
            let blocks = change.first.0..change.first.0 + change.count;
            if matches!(change.kind, RecordKind::Zero | RecordKind::Hole) {
                let blocks = BlockIndex(blocks.start)..BlockIndex(blocks.end);
                growth -= mapped_blocks(&view, &lineage, &blocks, || self.refuse_if_poisoned())? as i64;
                continue;
            }
            for (step, block) in blocks.enumerate().filter(|(_, block)| changes.len() == 1 || seen.insert(*block)) {
                let before = is_mapped(&view, &lineage, BlockIndex(block))?;
                growth += i64::from(holds_data(change, packed, step)) - i64::from(before);
            }
        }
        Ok(growth * BLOCK_BYTES as i64)
    }

    /// Counts what a volume maps. The caller holds its turn.
    fn count(&self, volume: &VolumeState) -> Result<()> {
        let (counting, view) = {
            let _front = self.front.lock();
            (volume.allowance().begin_count(), self.view())
        };
        let bytes = self.mapped_bytes_in(&view, volume, || self.refuse_if_poisoned())?;
        // Under the lock, so that no change is accounted for in between.
        let _front = self.front.lock();
        volume.allowance().end_count(counting, bytes);
        Ok(())
    }

    /// See [`super::Volume::mapped_bytes`].
    pub(super) fn mapped_bytes(&self, volume: &VolumeState, go_on: impl Fn() -> bool) -> Result<Option<u64>> {
        let is_over = Cell::new(false);
        let look = || {
            is_over.set(!go_on());
            // Any error ends it.
            if is_over.get() { Err(Error::Closed) } else { self.refuse_if_poisoned() }
        };
        match self.mapped_bytes_in(&self.view(), volume, look) {
            Err(_) if is_over.get() => Ok(None),
            counted => counted.map(Some),
        }
    }

    /// See [`super::Volume::are_mapped`].
    pub(super) fn are_mapped(&self, volume: &VolumeState, blocks: Range<u64>) -> Result<Vec<bool>> {
        let (view, lineage) = (self.view(), volume.lineage()?);
        blocks.map(|block| is_mapped(&view, &lineage, BlockIndex(block))).collect()
    }

    fn mapped_bytes_in(&self, view: &View, volume: &VolumeState, go_on: impl Fn() -> Result<()>) -> Result<u64> {
        let all = BlockIndex(0)..BlockIndex(BlockIndex::COUNT_MAX);
        let blocks = mapped_blocks(view, &volume.lineage()?, &all, go_on)?;
        Ok(blocks * BLOCK_BYTES as u64)
    }

    /// Counts one of the volumes of which too little is known; `false` if there is none.
    pub(super) fn count_one(&self) -> Result<bool> {
        let due = |volume: &&Arc<VolumeState>| volume.allowance().awaits_count();
        let Some(volume) = self.limited.read().iter().find(due).cloned() else { return Ok(false) };
        let _turn = volume.allowance().turn();
        if !volume.allowance().awaits_count() {
            return Ok(true);
        }
        match self.count(&volume) {
            Err(Error::NoSuchVolume(_)) => volume.allowance().give_up_counting(),
            Err(error) if is_unreadable(&error) => {
                tracing::error!(volume = %volume.id(), error = %chain(&error), "a volume's quota is not kept: run silt check");
                volume.allowance().give_up_counting();
            }
            counted => counted?,
        }
        Ok(true)
    }

    /// What is reserved and not taken yet: for other volumes than `own`, and for `own`.
    pub(super) fn unfilled_bytes(&self, own: Option<VolumeId>) -> (u64, u64) {
        let (mut others, mut mine) = (0_u64, 0);
        for volume in self.limited.read().iter() {
            let unfilled = volume.allowance().unfilled_bytes(volume.size_bytes());
            match own == Some(volume.id()) {
                true => mine = unfilled,
                false => others = others.saturating_add(unfilled),
            }
        }
        (others, mine)
    }

    /// What is reserved, as far as it is missing to the writes of a volume, and as far as it is not.
    pub(super) fn reserved_beside(&self, volume: &VolumeState) -> (u64, u64) {
        let (others, own) = self.unfilled_bytes(Some(volume.id()));
        if volume.is_foreseen() { (0, others.saturating_add(own)) } else { (others, own) }
    }

    /// See [`super::Store::restore_limits`].
    pub(super) fn restore_limits(&self, id: VolumeId, limits: Limits) -> Result<()> {
        let volume = self.volume_state(id)?;
        {
            let _front = self.front.lock();
            volume.allowance().set(limits);
        }
        let mut limited = self.limited.write();
        limited.retain(|other| other.id() != id);
        if !limits.is_none() {
            limited.push(volume);
        }
        drop(limited);
        self.space.forget_grant();
        Ok(())
    }

    /// See [`super::Store::reserve_backed`].
    pub(super) fn reserve_backed(&self, id: VolumeId, wanted_bytes: u64) -> Result<Option<u64>> {
        let volume = self.volume_state(id)?;
        let before = volume.allowance().limits();
        let now = before.reserve_bytes.unwrap_or(0);
        let is_known = wanted_bytes == 0 || volume.allowance().is_known();
        let kept = if !is_known {
            // All of it would count as unfilled, and others would find no room.
            0
        } else if wanted_bytes <= now {
            wanted_bytes
        } else {
            let (others, _) = self.unfilled_bytes(Some(id));
            let unfilled = volume.allowance().unfilled_of(wanted_bytes, volume.size_bytes());
            let missing = unfilled.saturating_sub(self.room_to_reserve(others)?);
            wanted_bytes.saturating_sub(missing).max(now)
        };
        // One of nothing has the volume counted, so that more can be kept once it is known what it maps.
        let reserve_bytes = (wanted_bytes > 0).then_some(kept);
        if reserve_bytes != before.reserve_bytes {
            self.restore_limits(id, Limits { reserve_bytes, ..before })?;
        }
        Ok(is_known.then_some(kept))
    }

    /// See [`super::Store::count_for_limits`].
    pub(super) fn count_for_limits(&self, id: VolumeId) -> Result<()> {
        let volume = self.volume_state(id)?;
        check_kind(&volume)?;
        {
            let _front = self.front.lock();
            volume.allowance().foresee();
        }
        let _turn = volume.allowance().turn();
        self.count(&volume)
    }

    /// See [`super::Store::set_counted_limits`].
    pub(super) fn set_counted_limits(&self, id: VolumeId, limits: Limits) -> Result<()> {
        self.refuse_if_unwritable()?;
        let _changing = self.volume_changes.lock();
        let volume = self.volume_state(id)?;
        check_kind(&volume)?;
        check_sense(&limits, volume.size_bytes())?;
        let before = volume.allowance().limits();
        self.restore_limits(id, limits)?;
        let checked = self.check_reservation(&volume, &limits, &before);
        if checked.is_err() {
            self.restore_limits(id, before)?;
        }
        checked
    }

    /// Fails if there is no room for the rest of a larger reservation. Counts what the volume maps if it was not counted before.
    /// Without limits nothing has to be known: they can also be taken away where the map cannot be read.
    fn check_reservation(&self, volume: &VolumeState, limits: &Limits, before: &Limits) -> Result<()> {
        if limits.is_none() {
            return Ok(());
        }
        let turn = volume.allowance().turn();
        if !volume.allowance().is_counted() {
            self.count(volume)?;
        }
        drop(turn);
        let wanted = limits.reserve_bytes.unwrap_or(0);
        if wanted <= before.reserve_bytes.unwrap_or(0) {
            return Ok(());
        }
        let (others, unfilled) = self.unfilled_bytes(Some(volume.id()));
        let room_bytes = self.room_to_reserve(others)?;
        if unfilled > room_bytes {
            return Err(Error::NotBacked { reserve_bytes: wanted, missing_bytes: unfilled - room_bytes });
        }
        Ok(())
    }
}

/// Ranges of no more blocks are looked up by the caches; others are read past them.
const LOOKED_UP_MAX: u64 = 16 << 10;

/// Stretches between two looks at whether to go on.
const STRETCHES_BETWEEN: usize = 4096;

fn check_kind(volume: &VolumeState) -> Result<()> {
    match volume.snapshot_of() {
        None => Ok(()),
        Some(_) => Err(Error::Invalid { what: "what has limits", must: "a volume, not a snapshot" }),
    }
}

fn check_sense(limits: &Limits, size_bytes: u64) -> Result<()> {
    let reserve = limits.reserve_bytes.unwrap_or(0);
    if reserve > size_bytes {
        return Err(Error::Invalid { what: "a reservation", must: "no more than the volume's size" });
    }
    if limits.quota_bytes.is_some_and(|quota| quota < reserve) {
        return Err(Error::Invalid { what: "a quota", must: "no less than the reservation" });
    }
    Ok(())
}

fn bounded<'a>(changes: &[Change<'_>]) -> Charge<'a> {
    let (mut written, mut zeroed) = (0_u64, 0_u64);
    for change in changes {
        let bytes = change.count * BLOCK_BYTES as u64;
        match change.kind {
            RecordKind::Data | RecordKind::Packed => written += bytes,
            RecordKind::Zero | RecordKind::Hole => zeroed += bytes,
        }
    }
    Charge::bounded(written, zeroed)
}

/// False if the block is all zeros, which takes no room.
fn holds_data(change: &Change<'_>, packed: Option<&Packed>, step: usize) -> bool {
    match packed {
        Some(packed) => !packed.is_zero(step),
        None => !is_zero(&change.payload.as_chunks::<BLOCK_BYTES>().0[step]),
    }
}

fn is_mapped(view: &View, lineage: &Lineage, block: BlockIndex) -> Result<bool> {
    match view.memtables().find_map(|memtable| memtable.lookup(lineage, block)) {
        Some(content) => Ok(is_data(&content)),
        None => Ok(matches!(view.version.find(lineage, block)?, Some(Target::Data(_)))),
    }
}

fn is_data(content: &Content) -> bool {
    match content {
        Content::Data(bytes) => !bytes.as_chunks::<BLOCK_BYTES>().0.iter().all(|block| is_zero(block)),
        Content::Packed(_) => true,
        Content::Zero | Content::Hole => false,
    }
}

/// Blocks with data that a lineage sees in a range.
fn mapped_blocks(
    view: &View,
    lineage: &Lineage,
    range: &Range<BlockIndex>,
    go_on: impl Fn() -> Result<()>,
) -> Result<u64> {
    let memory: Vec<Piece<bool>> = in_memory(view, lineage, range)
        .into_iter()
        .map(|piece| Piece { first: piece.first, end: piece.end, state: is_data(&piece.state) })
        .collect();
    let mut blocks: u64 = memory.iter().filter(|piece| piece.state).map(|piece| piece.end.0 - piece.first.0).sum();
    let mut hidden = &memory[..];
    let mut add = |first: BlockIndex, end: BlockIndex| {
        hidden = &hidden[hidden.partition_point(|piece| piece.end <= first)..];
        let over = hidden.iter().take_while(|piece| piece.first < end);
        let covered: u64 = over.map(|piece| piece.end.min(end).0 - piece.first.max(first).0).sum();
        blocks += end.0 - first.0 - covered;
    };
    if range.end.0 - range.start.0 <= LOOKED_UP_MAX {
        for resolved in view.version.lookup(lineage, range.clone())? {
            if matches!(resolved.target, Some(Target::Data(_))) {
                add(resolved.first, BlockIndex(resolved.first.0 + resolved.count));
            }
        }
        return Ok(blocks);
    }
    for (number, stretch) in view.version.scan(lineage, range.start, Some(range.end)).enumerate() {
        let stretch = stretch?;
        if number % STRETCHES_BETWEEN == 0 {
            go_on()?;
        }
        if matches!(stretch.target, Target::Data(_)) {
            add(stretch.first, stretch.end());
        }
    }
    Ok(blocks)
}
