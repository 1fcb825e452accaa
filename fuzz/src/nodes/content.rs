//! What clients put into the simulated volume, and what it holds then.
//!
//! A volume is cells of 1 KiB, so that blocks are shared by writes. A record has a number that no other has: it is what its
//! write puts into cells, and is carried as a write far beyond the volume's end, which does nothing there.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use blockdev::name::VolumeName;
use blockdev::replica::operation::{self, Draft, Operation};
use bytes::Bytes;
use lsm_store::id::{BLOCK_BYTES, BlockIndex};
use lsm_store::packed::{BlockPacker, PackedBlocks};
use lsm_store::request::Zeroing;
use lsm_store::rng::{Rng, SeededRng};
use net::replication::{Body, Record};

pub(super) const CELL_BYTES: u64 = 1024;

/// Cells of a block.
const BLOCK_CELLS: u64 = BLOCK_BYTES as u64 / CELL_BYTES;

/// Cells that the volume has at first.
pub(super) const CELLS: u64 = 48;

/// And at most.
pub(super) const CELLS_MAX: u64 = 96;

/// Where the numbers of records are written to.
const BEYOND: u64 = 1 << 50;

/// What a client wants changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    Write {
        first: u64,
        count: u64,
    },
    Zero {
        first: u64,
        count: u64,
    },
    Resize {
        cells: u64,
    },
    /// Snapshots are named by the number of the record that made them.
    Snapshot,
    RemoveSnapshot {
        of: u64,
    },
    RollBack {
        to: u64,
    },
}

fn name(number: u64) -> VolumeName {
    format!("s{number}").parse().expect("a letter and digits are a name")
}

/// The number in a snapshot's name.
pub(super) fn number_of(name: &VolumeName) -> Option<u64> {
    name.as_str().strip_prefix('s')?.parse().ok()
}

/// The record that asks for a change.
pub(super) fn draft(number: u64, change: Change) -> Draft {
    let operation = match change {
        Change::Write { first, count } => return write(number, first, count),
        Change::Zero { first, count } => {
            let zeroing = if number.is_multiple_of(2) { Zeroing::Hole } else { Zeroing::Allocated };
            Operation::Zero { offset: first * CELL_BYTES, len: count * CELL_BYTES, zeroing }
        }
        Change::Resize { cells } => Operation::Resize { size_bytes: cells * CELL_BYTES },
        Change::Snapshot => Operation::Snapshot { name: name(number) },
        Change::RemoveSnapshot { of } => Operation::RemoveSnapshot { name: name(of) },
        Change::RollBack { to } => Operation::RollBack { to: name(to) },
    };
    Draft::of(&[operation, mark(number)])
}

fn mark(number: u64) -> Operation {
    Operation::Write { offset: BEYOND + number, data: Bytes::from_static(&[1]) }
}

/// The record of a write: what is whole blocks of it packed, in every other record.
fn write(number: u64, first: u64, count: u64) -> Draft {
    let cells = |cells: Range<u64>| cells.flat_map(|cell| bytes_of(number, cell)).collect::<Vec<u8>>();
    let plain = |range: Range<u64>| {
        let offset = range.start * CELL_BYTES;
        (!range.is_empty()).then(|| Operation::Write { offset, data: cells(range).into() })
    };
    let end = first + count;
    let (start, stop) = (first.next_multiple_of(BLOCK_CELLS), end / BLOCK_CELLS * BLOCK_CELLS);
    if start >= stop || number.is_multiple_of(2) {
        return Draft::of(&plain(first..end).into_iter().chain([mark(number)]).collect::<Vec<_>>());
    }
    let mut packed = Vec::new();
    assert!(BlockPacker::default().pack(&cells(start..stop), usize::MAX, &mut packed));
    let blocks = PackedBlocks::read(packed.into(), ((stop - start) / BLOCK_CELLS) as usize);
    let blocks = blocks.expect("what was packed can be read");
    let packed = Operation::WriteBlocks { first: BlockIndex(start / BLOCK_CELLS), blocks };
    let around = [plain(first..start), Some(packed), plain(stop..end), Some(mark(number))];
    Draft::of(&around.into_iter().flatten().collect::<Vec<_>>())
}

/// The number of a record; `None` if it is the opening of an epoch.
///
/// # Panics
/// If it is neither.
pub(super) fn number(record: &Record) -> Option<u64> {
    let Body::Write(payload) = &record.body else { return None };
    let operations = operation::decode(payload).expect("what a client wrote");
    match operations.last() {
        Some(Operation::Write { offset, .. }) if *offset >= BEYOND => Some(offset - BEYOND),
        other => panic!("{other:?} is none of the simulation's"),
    }
}

/// What a cell holds after a write.
fn bytes_of(number: u64, cell: u64) -> Vec<u8> {
    let word = number << 8 | cell;
    let mut bytes = word.to_le_bytes().repeat(CELL_BYTES as usize / 8);
    // Some of it compresses, some does not.
    if number.is_multiple_of(3) {
        SeededRng::new(word).fill(&mut bytes[8..]);
    }
    bytes
}

/// What a cell with these bytes holds; an error if no write left that.
pub(super) fn value_of(cell: u64, bytes: &[u8]) -> Result<u64, String> {
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(0);
    }
    let word = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes are eight bytes"));
    let value = word >> 8;
    if word & 0xff == cell && bytes_of(value, cell) == bytes {
        return Ok(value);
    }
    Err(format!("cell {cell} is torn or foreign: it begins like number {value} of cell {}", word & 0xff))
}

/// What the cells from `first` on hold whose bytes these are.
pub(super) fn values_of(first: u64, bytes: &[u8]) -> Result<Vec<u64>, String> {
    (first..).zip(bytes.chunks(CELL_BYTES as usize)).map(|(cell, bytes)| value_of(cell, bytes)).collect()
}

/// What a volume holds: for each cell the number of the record that wrote it, 0 for zeros; and the same of its snapshots.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Held {
    pub(super) cells: Vec<u64>,
    pub(super) snapshots: BTreeMap<u64, Arc<Vec<u64>>>,
}

impl Held {
    pub(super) fn empty() -> Self {
        Self { cells: vec![0; CELLS as usize], snapshots: BTreeMap::new() }
    }

    pub(super) fn apply(&mut self, number: u64, change: Change) {
        match change {
            Change::Write { first, count } => self.fill(first, count, number),
            Change::Zero { first, count } => self.fill(first, count, 0),
            Change::Resize { cells } => self.cells.resize(cells as usize, 0),
            Change::Snapshot => _ = self.snapshots.entry(number).or_insert_with(|| Arc::new(self.cells.clone())),
            Change::RemoveSnapshot { of } => _ = self.snapshots.remove(&of),
            Change::RollBack { to } => {
                if let Some(snapshot) = self.snapshots.get(&to) {
                    self.cells = Vec::clone(snapshot);
                }
            }
        }
    }

    fn fill(&mut self, first: u64, count: u64, value: u64) {
        // Beyond the end it does nothing.
        let end = (first + count).min(self.cells.len() as u64);
        for cell in first..end {
            self.cells[cell as usize] = value;
        }
    }

    /// The cells of a range; `None` if it ends beyond the volume.
    pub(super) fn range(&self, first: u64, count: u64) -> Option<&[u64]> {
        self.cells.get(first as usize..(first + count) as usize)
    }
}
