//! A store whose answers are wrong in one way.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use lsm_store::device::Device;
use lsm_store::id::{BLOCK_BYTES, VolumeId};
use lsm_store::request::{BlockState, StatusExtent, Write, Zeroing};
use lsm_store::store::CollectPlan;
use lsm_store::{Error, ErrorKind, Result};

use crate::mark::Mark;
use crate::system::{Maker, System};
use crate::workload::Compression;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// Of a group of writes only the first is carried out.
    GroupKeepsFirst,
    /// The writes of a group are carried out backwards.
    GroupBackwards,
    /// A write that ends within a block fills the rest of the block with zeros.
    PartialWriteClearsBlock,
    /// A trim that starts within a block takes all of the block.
    TrimRoundsOutward,
    /// NO_HOLE is forgotten.
    NoHoleForgotten,
    /// A volume made smaller and larger again shows its old content.
    ShrinkForgets,
    /// Block status reports data as a hole.
    DataReportedAsHole,
    /// Every 50th write is answered and forgotten.
    WriteForgotten,
    /// Answers flushes without doing them.
    FlushIgnored,
    /// Answers writes before carrying them out, at the next flush.
    WriteHeldBack,
    /// Answers a deletion without doing it.
    DeleteIgnored,
    /// A snapshot shows what its volume holds now.
    SnapshotFollowsVolume,
    /// Writes to a clone reach what it is a clone of.
    CloneWritesThrough,
    /// Answers a rollback without doing it.
    RollbackIgnored,
    /// Answers damage with zeros.
    ZerosForDamage,
    /// Panics at damage.
    PanicAtDamage,
    /// Starts anew where a store is damaged.
    ForgetsDamagedStore,
    /// Reports a damaged volume as missing.
    DamageLooksMissing,
    /// Its check finds nothing.
    CheckIsBlind,
    /// Its check finds no damage in segments.
    CheckSkipsSegments,
    /// Its check finds no damage in runs.
    CheckSkipsRuns,
    /// Panics at an I/O error.
    PanicAtIoError,
    /// Answers writes that met an I/O error as done.
    IoErrorIgnored,
    /// Once full, refuses writes for ever.
    FullForEver,
    /// Refuses trims when full.
    FullRefusesTrim,
    /// Refuses flushes when full.
    FullRefusesFlush,
    /// Refuses deletions when full.
    FullRefusesDelete,
    /// Answers writes that found no room as done.
    FullIgnored,
}

/// A maker of stores with a bug.
pub struct Planted<M> {
    maker: M,
    bug: Bug,
}

impl<M> Planted<M> {
    /// Plants `bug` in the stores of `maker`.
    pub fn new(maker: M, bug: Bug) -> Self {
        Self { maker, bug }
    }
}

impl<M: Maker> Maker for Planted<M> {
    fn create(&self, device: &Arc<dyn Device>) -> Result<()> {
        self.maker.create(device)
    }

    fn open(&self, device: &Arc<dyn Device>) -> Result<Box<dyn System>> {
        let opened = self.maker.open(device);
        if let Err(error) = &opened {
            react_to(self.bug, error);
            if self.bug == Bug::ForgetsDamagedStore && error.kind() == ErrorKind::Corrupt {
                return Ok(Box::new(Empty));
            }
        }
        let inner = opened?;
        let (held, shrunk, copies) = (RefCell::default(), RefCell::default(), RefCell::default());
        let (count, is_full) = (Cell::new(0), Cell::new(false));
        Ok(Box::new(BuggySystem { inner, bug: self.bug, count, is_full, held, shrunk, copies }))
    }

    fn check(&self, device: &Arc<dyn Device>) -> Result<Vec<String>> {
        let mut damages = self.maker.check(device)?;
        match self.bug {
            Bug::CheckIsBlind => damages.clear(),
            Bug::CheckSkipsSegments => damages.retain(|damage| !damage.contains("segment")),
            Bug::CheckSkipsRuns => damages.retain(|damage| !damage.contains("run")),
            _ => {}
        }
        Ok(damages)
    }
}

fn react_to(bug: Bug, error: &Error) {
    match (bug, error.kind()) {
        (Bug::PanicAtDamage, ErrorKind::Corrupt) => panic!("planted: {error}"),
        (Bug::PanicAtIoError, ErrorKind::Io | ErrorKind::Poisoned) => panic!("planted: {error}"),
        _ => {}
    }
}

struct BuggySystem {
    inner: Box<dyn System>,
    bug: Bug,
    count: Cell<u64>,
    is_full: Cell<bool>,
    held: RefCell<Vec<(VolumeId, u64, Vec<u8>)>>,
    shrunk: RefCell<Vec<(VolumeId, u64, Vec<u8>)>>,
    /// Snapshots and clones with what they were made of, if the bug needs them.
    copies: RefCell<Vec<(VolumeId, VolumeId)>>,
}

impl BuggySystem {
    fn answer<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            react_to(self.bug, error);
            if error.kind() == ErrorKind::OutOfSpace {
                self.is_full.set(true);
            }
        }
        result
    }

    fn refuse_if_full(&self, bug: Bug) -> Result<()> {
        if self.bug == bug && self.is_full.get() { Err(Error::OutOfSpace) } else { Ok(()) }
    }

    fn origin_of(&self, id: VolumeId) -> Option<VolumeId> {
        self.copies.borrow().iter().find(|(copy, _)| *copy == id).map(|(_, of)| *of)
    }

    fn write_held(&self) -> Result<()> {
        self.held
            .take()
            .iter()
            .try_for_each(|(id, offset, data)| self.inner.write(*id, &[Write { offset: *offset, data }]))
    }

    fn write_cleared(&self, id: VolumeId, writes: &[Write<'_>]) -> Result<()> {
        let size = self.inner.size_bytes(id)?;
        writes.iter().try_for_each(|write| {
            let end = write.offset + write.data.len() as u64;
            let mut data = write.data.to_vec();
            data.resize(data.len() + (end.next_multiple_of(BLOCK).min(size) - end) as usize, 0);
            self.inner.write(id, &[Write { offset: write.offset, data: &data }])
        })
    }
}

impl System for BuggySystem {
    fn create_volume(&self, size_bytes: u64, compression: Compression, named: &mut dyn FnMut(VolumeId)) -> Result<()> {
        self.answer(self.inner.create_volume(size_bytes, compression, named))
    }

    fn resize_volume(&self, id: VolumeId, size_bytes: u64) -> Result<()> {
        let before = self.inner.size_bytes(id)?;
        if self.bug != Bug::ShrinkForgets {
            return self.answer(self.inner.resize_volume(id, size_bytes));
        }
        if size_bytes < before && before < 1 << 30 {
            let tail = self.inner.read(id, size_bytes, before - size_bytes)?;
            self.shrunk.borrow_mut().push((id, size_bytes, tail));
        }
        self.inner.resize_volume(id, size_bytes)?;
        let regrown =
            self.shrunk.borrow_mut().extract_if(.., |(of, at, _)| *of == id && *at < size_bytes).collect::<Vec<_>>();
        regrown.iter().try_for_each(|(_, at, tail)| {
            let data = &tail[..tail.len().min((size_bytes - at) as usize)];
            self.inner.write(id, &[Write { offset: *at, data }])
        })
    }

    fn snapshot_volume(&self, of: VolumeId, named: &mut dyn FnMut(VolumeId)) -> Result<()> {
        let note = &mut |id| {
            named(id);
            if self.bug == Bug::SnapshotFollowsVolume {
                self.copies.borrow_mut().push((id, of));
            }
        };
        self.answer(self.inner.snapshot_volume(of, note))
    }

    fn clone_volume(&self, of: VolumeId, named: &mut dyn FnMut(VolumeId)) -> Result<()> {
        let note = &mut |id| {
            named(id);
            if self.bug == Bug::CloneWritesThrough {
                self.copies.borrow_mut().push((id, of));
            }
        };
        self.answer(self.inner.clone_volume(of, note))
    }

    fn roll_back_volume(&self, id: VolumeId, to: VolumeId) -> Result<()> {
        if self.bug == Bug::RollbackIgnored { Ok(()) } else { self.answer(self.inner.roll_back_volume(id, to)) }
    }

    fn delete_volume(&self, id: VolumeId) -> Result<()> {
        self.refuse_if_full(Bug::FullRefusesDelete)?;
        if self.bug == Bug::DeleteIgnored { Ok(()) } else { self.answer(self.inner.delete_volume(id)) }
    }

    fn size_bytes(&self, id: VolumeId) -> Result<u64> {
        self.inner.size_bytes(id)
    }

    fn write(&self, id: VolumeId, writes: &[Write<'_>]) -> Result<()> {
        self.refuse_if_full(Bug::FullForEver)?;
        self.count.set(self.count.get() + 1);
        let result = match self.bug {
            Bug::GroupKeepsFirst => self.inner.write(id, &writes[..1]),
            Bug::GroupBackwards => self.inner.write(id, &writes.iter().rev().copied().collect::<Vec<_>>()),
            Bug::PartialWriteClearsBlock => self.write_cleared(id, writes),
            Bug::CloneWritesThrough => {
                if let Some(of) = self.origin_of(id) {
                    // The origin may be a snapshot, smaller, or gone.
                    drop(self.inner.write(of, writes));
                }
                self.inner.write(id, writes)
            }
            Bug::WriteForgotten if self.count.get().is_multiple_of(50) => Ok(()),
            Bug::WriteHeldBack => {
                let copies = writes.iter().map(|write| (id, write.offset, write.data.to_vec()));
                self.held.borrow_mut().extend(copies);
                Ok(())
            }
            _ => self.inner.write(id, writes),
        };
        match (self.bug, self.answer(result)) {
            (Bug::IoErrorIgnored, Err(error)) if error.kind() != ErrorKind::OutOfSpace => Ok(()),
            (Bug::FullIgnored, Err(error)) if error.kind() == ErrorKind::OutOfSpace => Ok(()),
            (_, result) => result,
        }
    }

    fn zero(&self, id: VolumeId, offset: u64, len: u64, zeroing: Zeroing) -> Result<()> {
        self.refuse_if_full(Bug::FullRefusesTrim)?;
        let result = match self.bug {
            Bug::TrimRoundsOutward => {
                let start = offset / BLOCK * BLOCK;
                self.inner.zero(id, start, len + offset - start, zeroing)
            }
            Bug::NoHoleForgotten => self.inner.zero(id, offset, len, Zeroing::Hole),
            _ => self.inner.zero(id, offset, len, zeroing),
        };
        self.answer(result)
    }

    fn flush(&self, id: VolumeId) -> Result<()> {
        self.refuse_if_full(Bug::FullRefusesFlush)?;
        self.write_held()?;
        if self.bug == Bug::FlushIgnored { Ok(()) } else { self.answer(self.inner.flush(id)) }
    }

    fn read(&self, id: VolumeId, offset: u64, len: u64) -> Result<Vec<u8>> {
        if self.bug == Bug::WriteHeldBack {
            let mut bytes = self.inner.read(id, offset, len)?;
            for (of, at, data) in self.held.borrow().iter().filter(|(of, ..)| *of == id) {
                debug_assert_eq!(*of, id, "only this volume's writes are laid over");
                let from = offset.max(*at);
                let to = (offset + len).min(at + data.len() as u64);
                if from < to {
                    let new = &data[(from - at) as usize..(to - at) as usize];
                    bytes[(from - offset) as usize..(to - offset) as usize].copy_from_slice(new);
                }
            }
            return Ok(bytes);
        }
        let shown = self.origin_of(id).filter(|_| self.bug == Bug::SnapshotFollowsVolume);
        if let Some(Ok(bytes)) = shown.map(|of| self.inner.read(of, offset, len)) {
            return Ok(bytes);
        }
        match (self.bug, self.answer(self.inner.read(id, offset, len))) {
            (Bug::ZerosForDamage, Err(error)) if error.kind() == ErrorKind::Corrupt => Ok(vec![0; len as usize]),
            (Bug::DamageLooksMissing, Err(error)) if error.kind() == ErrorKind::Corrupt => Err(Error::NoSuchVolume(id)),
            (_, result) => result,
        }
    }

    fn block_status(&self, id: VolumeId, offset: u64, len: u64, extents_max: usize) -> Result<Vec<StatusExtent>> {
        let mut extents = self.answer(self.inner.block_status(id, offset, len, extents_max))?;
        match extents.first_mut() {
            Some(first) if self.bug == Bug::DataReportedAsHole && first.state == BlockState::Data => {
                let state = BlockState::Hole;
                Ok(vec![StatusExtent { len: first.len, state }])
            }
            _ => Ok(extents),
        }
    }

    fn step(&self) -> Result<bool> {
        self.answer(self.inner.step())
    }

    fn collect(&self) -> Result<()> {
        self.answer(self.inner.collect())
    }

    fn collect_plan(&self) -> Result<CollectPlan> {
        self.inner.collect_plan()
    }

    fn mark(&self) -> Result<Mark> {
        self.inner.mark()
    }

    fn collect_cold(&self) -> Result<()> {
        self.answer(self.inner.collect_cold())
    }

    fn freeze(&self) -> Result<()> {
        self.answer(self.inner.freeze())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.inner.close()
    }
}

/// A store without volumes, where there was one with damage.
struct Empty;

impl System for Empty {
    fn create_volume(&self, _: u64, _: Compression, _: &mut dyn FnMut(VolumeId)) -> Result<()> {
        Err(Error::OutOfSpace)
    }

    fn resize_volume(&self, id: VolumeId, _: u64) -> Result<()> {
        Err(Error::NoSuchVolume(id))
    }

    fn snapshot_volume(&self, of: VolumeId, _: &mut dyn FnMut(VolumeId)) -> Result<()> {
        Err(Error::NoSuchVolume(of))
    }

    fn clone_volume(&self, of: VolumeId, _: &mut dyn FnMut(VolumeId)) -> Result<()> {
        Err(Error::NoSuchVolume(of))
    }

    fn roll_back_volume(&self, id: VolumeId, _: VolumeId) -> Result<()> {
        Err(Error::NoSuchVolume(id))
    }

    fn delete_volume(&self, id: VolumeId) -> Result<()> {
        Err(Error::NoSuchVolume(id))
    }

    fn size_bytes(&self, id: VolumeId) -> Result<u64> {
        Err(Error::NoSuchVolume(id))
    }

    fn write(&self, id: VolumeId, _: &[Write<'_>]) -> Result<()> {
        Err(Error::NoSuchVolume(id))
    }

    fn zero(&self, id: VolumeId, _: u64, _: u64, _: Zeroing) -> Result<()> {
        Err(Error::NoSuchVolume(id))
    }

    fn flush(&self, id: VolumeId) -> Result<()> {
        Err(Error::NoSuchVolume(id))
    }

    fn read(&self, id: VolumeId, _: u64, _: u64) -> Result<Vec<u8>> {
        Err(Error::NoSuchVolume(id))
    }

    fn block_status(&self, id: VolumeId, _: u64, _: u64, _: usize) -> Result<Vec<StatusExtent>> {
        Err(Error::NoSuchVolume(id))
    }

    fn step(&self) -> Result<bool> {
        Ok(false)
    }

    fn collect(&self) -> Result<()> {
        Ok(())
    }

    fn collect_plan(&self) -> Result<CollectPlan> {
        Ok(CollectPlan::default())
    }

    fn mark(&self) -> Result<Mark> {
        Ok(Mark::default())
    }

    fn collect_cold(&self) -> Result<()> {
        Ok(())
    }

    fn freeze(&self) -> Result<()> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
