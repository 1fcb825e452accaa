//! The oracle for one volume: its bytes, and the writes since the last flush in their order.
//!
//! Blocks that were never written are not kept, so that a volume of many terabytes costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lsm_store::id::BLOCK_BYTES;
use lsm_store::request::{BlockState, StatusExtent, Zeroing};

use super::{Image, Violation};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Whole blocks of one write that a crash may not part. What a write does to the blocks at its ends, if it covers them
/// in part only, is a step of its own, in the order of addresses.
const ATOMIC_BLOCKS_MAX: usize = 4;

/// Writes whose fate is unknown are tried both ways; more of them than this at once is a fault of the driver.
const DOUBTFUL_MAX: usize = 8;

/// What a block holds, and with it what block status may say of it.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Cell {
    /// Never written or trimmed as a whole.
    Hole,
    /// Zeroed as a whole, and allocated.
    Allocated,
    /// Zeros that came by writing, wholly or in part: any state is right.
    Zeros,
    /// Anything else.
    Data(Arc<[u8]>),
}

impl Cell {
    fn new(bytes: Vec<u8>) -> Self {
        if bytes.iter().all(|byte| *byte == 0) { Self::Zeros } else { Self::Data(bytes.into()) }
    }

    fn copy_to(&self, out: &mut [u8]) {
        match self {
            Self::Data(bytes) => {
                let len = bytes.len().min(out.len());
                out[..len].copy_from_slice(&bytes[..len]);
                out[len..].fill(0);
            }
            _ => out.fill(0),
        }
    }

    fn holds(&self, found: &[u8]) -> bool {
        match self {
            Self::Data(bytes) => &**bytes == found,
            _ => found.iter().all(|byte| *byte == 0),
        }
    }

    fn may_report(&self, state: BlockState) -> bool {
        match self {
            Self::Hole => state == BlockState::Hole,
            Self::Allocated => state == BlockState::Zero,
            Self::Zeros => true,
            Self::Data(_) => state == BlockState::Data,
        }
    }

    fn settled(found: &[u8], state: Option<BlockState>) -> Self {
        match (Self::new(found.to_vec()), state) {
            (Self::Zeros, Some(BlockState::Hole)) => Self::Hole,
            (cell, _) => cell,
        }
    }
}

/// What is known of a write's fate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Begun,
    Answered,
    Doubtful,
}

#[derive(Clone, Debug)]
struct Entry {
    changes: Vec<(u64, Cell)>,
    fate: Fate,
    /// A crash may leave the changes before each of these, and not the others.
    cuts: Vec<usize>,
}

/// Which writes must be there after a crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Survives {
    /// Those an answered flush covers: the machine lost power.
    Flushed,
    /// Those that were answered: the process died, or was stopped.
    Answered,
}

/// The oracle for one volume.
#[derive(Clone, Debug)]
pub struct VolumeModel {
    size_bytes: u64,
    /// The blocks below the order; a missing one is a hole.
    base: BTreeMap<u64, Cell>,
    /// The blocks now, with everything answered.
    now: BTreeMap<u64, Cell>,
    order: Vec<Entry>,
    /// How many entries of the order the last answered flush covers.
    flushed_count: usize,
    touched: BTreeSet<u64>,
}

impl VolumeModel {
    /// A new volume, all hole.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        let (base, now, touched) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { size_bytes, base, now, order: Vec::new(), flushed_count: 0, touched }
    }

    /// A volume that holds durably what was read back.
    #[must_use]
    pub(super) fn settled(image: &Image) -> Self {
        let mut volume = Self::new(image.size_bytes);
        volume.touched.extend(image.blocks.keys());
        let cells = image.blocks.iter().map(|(block, found)| (*block, Cell::settled(found, image.state(*block))));
        volume.base = cells.filter(|(_, cell)| *cell != Cell::Hole).collect();
        volume.now = volume.base.clone();
        volume
    }

    /// Size in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The blocks that were ever written, ascending.
    #[must_use]
    pub fn touched(&self) -> Vec<u64> {
        self.touched.iter().copied().collect()
    }

    /// Takes the blocks that another has written for its own: holes, unless it says otherwise.
    pub(super) fn touch(&mut self, other: &Self) {
        let end = self.size_bytes.div_ceil(BLOCK);
        self.touched.extend(other.touched.range(..end));
    }

    /// Begins a write. Its place in the order is taken, and a crash from now on may show it.
    pub fn begin_write(&mut self, offset: u64, data: &[u8]) {
        let changes = self.blocks_of(offset, data.len() as u64).map(|(block, from, to)| {
            let start = block * BLOCK + from - offset;
            let new = &data[start as usize..(start + to - from) as usize];
            if to - from == self.block_len(block) {
                return (block, Cell::new(new.to_vec()));
            }
            let mut bytes = self.block_after_begun(block);
            bytes[from as usize..to as usize].copy_from_slice(new);
            (block, Cell::new(bytes))
        });
        let changes: Vec<_> = changes.collect();
        let (head, tail) = self.partial_ends(offset, data.len() as u64);
        let whole = head..changes.len() - tail;
        let cuts = match whole.len() {
            0..=ATOMIC_BLOCKS_MAX => vec![whole.start, whole.end],
            _ => whole.chain([changes.len() - tail]).collect(),
        };
        self.begin(changes, cuts);
    }

    /// Whether the first and the last block of a range are covered in part only, as numbers of blocks. A range within
    /// one block has no last one.
    fn partial_ends(&self, offset: u64, len: u64) -> (usize, usize) {
        let end = offset + len;
        let is_one_block = offset / BLOCK == (end - 1) / BLOCK;
        let head = !offset.is_multiple_of(BLOCK);
        let tail = !(end.is_multiple_of(BLOCK) || head && is_one_block);
        (usize::from(head), usize::from(tail))
    }

    /// Begins to zero a range.
    pub fn begin_zero(&mut self, offset: u64, len: u64, zeroing: Zeroing) {
        let (first, end) = (offset / BLOCK, (offset + len).div_ceil(BLOCK));
        let blocks: Vec<u64> = match zeroing {
            Zeroing::Allocated => (first..end).collect(),
            // Only blocks that hold something change, and the range may be huge. The edges may be partial.
            Zeroing::Hole => {
                let mut blocks: BTreeSet<u64> = self.touched.range(first..end).copied().collect();
                blocks.extend([first, end - 1]);
                blocks.into_iter().collect()
            }
        };
        let changes = blocks.into_iter().map(|block| {
            let from = offset.saturating_sub(block * BLOCK);
            let to = (offset + len - block * BLOCK).min(self.block_len(block));
            let cell = match zeroing {
                _ if to - from < self.block_len(block) => {
                    let mut bytes = self.block_after_begun(block);
                    bytes[from as usize..to as usize].fill(0);
                    Cell::new(bytes)
                }
                Zeroing::Hole => Cell::Hole,
                Zeroing::Allocated => Cell::Allocated,
            };
            (block, cell)
        });
        let changes: Vec<_> = changes.collect();
        let (head, tail) = self.partial_ends(offset, len);
        let cuts = vec![head, changes.len() - tail];
        self.begin(changes, cuts);
    }

    fn begin(&mut self, changes: Vec<(u64, Cell)>, cuts: Vec<usize>) {
        self.touched.extend(changes.iter().map(|(block, _)| *block));
        self.order.push(Entry { changes, fate: Fate::Begun, cuts });
    }

    /// Everything begun was refused, perhaps after a part of it was done: `read` tells what the blocks hold now. The
    /// longest part, in order, that agrees with it counts as answered.
    pub fn resolve(&mut self, read: impl Fn(u64, u64) -> Option<Vec<u8>>) -> Result<(), Violation> {
        let begun: Vec<Entry> = self.order.extract_if(.., |entry| entry.fate == Fate::Begun).collect();
        let blocks: BTreeSet<u64> = begun.iter().flat_map(|entry| &entry.changes).map(|(block, _)| *block).collect();
        let mut found = Image { size_bytes: self.size_bytes, ..Image::default() };
        for block in &blocks {
            match read(block * BLOCK, self.block_len(*block)) {
                Some(bytes) => _ = found.blocks.insert(*block, bytes),
                None => {
                    self.order.extend(begun.into_iter().map(|entry| Entry { fate: Fate::Doubtful, ..entry }));
                    return Ok(());
                }
            }
        }
        let differs = |cell: &Cell, block: &u64| !cell.holds(&found.blocks[block]);
        let before = self.now.clone();
        let now = |block: &u64| before.get(block).unwrap_or(&Cell::Hole).clone();
        let mut differing: BTreeSet<u64> = blocks.iter().filter(|block| differs(&now(block), block)).copied().collect();
        let mut done = differing.is_empty().then_some((0, 0));
        for (index, entry) in begun.iter().enumerate() {
            for (count, (block, cell)) in entry.changes.iter().enumerate() {
                if differs(cell, block) {
                    differing.insert(*block)
                } else {
                    differing.remove(block)
                };
                let is_whole = count + 1 == entry.changes.len();
                if differing.is_empty() && (is_whole || entry.cuts.contains(&(count + 1))) {
                    done = Some((index, count + 1));
                }
            }
        }
        let Some((index, count)) = done else {
            return Err(Violation(format!("a refused write left blocks {differing:?} in a state of their own")));
        };
        for (at, mut entry) in begun.into_iter().enumerate().take(index + 1) {
            entry.changes.truncate(if at == index { count } else { usize::MAX });
            entry.fate = Fate::Answered;
            for (block, cell) in &mut entry.changes {
                // Reading cannot tell whether zeros became zeros of the other kind.
                if *cell != now(block) && !differs(cell, block) && !differs(&now(block), block) {
                    *cell = Cell::Zeros;
                }
            }
            self.now.extend(entry.changes.iter().cloned());
            self.order.push(entry);
        }
        Ok(())
    }

    /// Everything begun was answered with success.
    pub fn answer(&mut self) {
        for entry in self.order.iter_mut().filter(|entry| entry.fate == Fate::Begun) {
            entry.fate = Fate::Answered;
            self.now.extend(entry.changes.iter().cloned());
        }
    }

    /// Everything begun was refused without effect.
    pub fn refuse(&mut self) {
        self.order.retain(|entry| entry.fate != Fate::Begun);
    }

    /// Everything begun was answered with an error that leaves its effect open.
    pub fn doubt(&mut self) {
        let begun = self.order.iter_mut().filter(|entry| entry.fate == Fate::Begun);
        begun.for_each(|entry| entry.fate = Fate::Doubtful);
    }

    /// A flush was answered with success: everything answered before is durable.
    pub fn flush(&mut self) {
        self.flushed_count = self.order.len();
        if self.order.iter().all(|entry| entry.fate == Fate::Answered) {
            self.base = self.now.clone();
            self.order.clear();
            self.flushed_count = 0;
        }
    }

    /// The volume has another size; what lies beyond it is gone for good.
    pub(super) fn resize(&mut self, size_bytes: u64) {
        self.size_bytes = size_bytes;
        let end = size_bytes.div_ceil(BLOCK);
        self.base.retain(|block, _| *block < end);
        self.now.retain(|block, _| *block < end);
        self.touched.retain(|block| *block < end);
        self.order.iter_mut().for_each(|entry| entry.changes.retain(|(block, _)| *block < end));
    }

    /// What a read must answer now.
    #[must_use]
    pub fn read(&self, offset: u64, len: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(len as usize);
        for (block, from, to) in self.blocks_of(offset, len) {
            let bytes = self.block_now(block);
            out.extend_from_slice(&bytes[from as usize..to as usize]);
        }
        out
    }

    /// True if a write whose fate is unknown changed some of the range: a read may then answer either.
    #[must_use]
    pub fn is_doubtful(&self, offset: u64, len: u64) -> bool {
        let blocks = offset / BLOCK..(offset + len).div_ceil(BLOCK);
        let doubtful = self.order.iter().filter(|entry| entry.fate == Fate::Doubtful);
        doubtful.flat_map(|entry| &entry.changes).any(|(block, _)| blocks.contains(block))
    }

    /// Checks an answer of block status for `[offset, offset + len)`, which may end early.
    pub fn admits_status(&self, offset: u64, len: u64, extents: &[StatusExtent]) -> Result<(), Violation> {
        let mut at = offset;
        for (index, extent) in extents.iter().enumerate() {
            if extent.len == 0 || at + extent.len > offset + len {
                return Err(Violation(format!(
                    "status extent {index} of {} bytes at {at} is out of range",
                    extent.len
                )));
            }
            if index > 0 && extents[index - 1].state == extent.state {
                return Err(Violation(format!("status extents {} and {index} have one state", index - 1)));
            }
            self.admits_extent(at, *extent)?;
            at += extent.len;
        }
        if extents.is_empty() { Err(Violation("block status answered nothing".to_owned())) } else { Ok(()) }
    }

    fn admits_extent(&self, at: u64, extent: StatusExtent) -> Result<(), Violation> {
        let blocks = at / BLOCK..(at + extent.len).div_ceil(BLOCK);
        let untouched = blocks.end - blocks.start - self.touched.range(blocks.clone()).count() as u64;
        if untouched > 0 && extent.state != BlockState::Hole {
            return Err(Violation(format!("status {extent:?} at {at} covers {untouched} blocks never written")));
        }
        for block in self.touched.range(blocks) {
            let cell = self.now.get(block).unwrap_or(&Cell::Hole);
            if !cell.may_report(extent.state) && !self.is_doubtful(block * BLOCK, 1) {
                return Err(Violation(format!("block {block} is {}, status says {extent:?}", describe(cell))));
            }
        }
        Ok(())
    }

    /// Checks what was read back after a crash.
    pub(super) fn admits(&self, image: &Image, survives: Survives) -> Result<(), Violation> {
        if image.size_bytes != self.size_bytes {
            return Err(Violation(format!("size is {}, should be {}", image.size_bytes, self.size_bytes)));
        }
        self.admits_untouched(image)?;
        let doubtful: Vec<usize> =
            (0..self.order.len()).filter(|index| self.order[*index].fate == Fate::Doubtful).collect();
        assert!(doubtful.len() <= DOUBTFUL_MAX, "a driver resolves doubts before they pile up");
        let mut nearest = Nearest::default();
        for taken in (0_u32..1 << doubtful.len()).rev() {
            let skipped: BTreeSet<usize> =
                (0..doubtful.len()).filter(|bit| taken & 1 << bit == 0).map(|bit| doubtful[bit]).collect();
            if self.some_prefix_matches(image, survives, &skipped, &mut nearest) {
                return Ok(());
            }
        }
        Err(self.explain(image, survives, &nearest))
    }

    fn admits_untouched(&self, image: &Image) -> Result<(), Violation> {
        for (first, len, state) in &image.status {
            let blocks = first / BLOCK..(first + len).div_ceil(BLOCK);
            let touched_count = self.touched.range(blocks.clone()).count() as u64;
            if *state != BlockState::Hole && touched_count < blocks.end - blocks.start {
                return Err(Violation(format!("blocks {blocks:?} are {state:?}, some of them were never written")));
            }
        }
        Ok(())
    }

    /// Walks the order from the base, keeping the set of blocks that differ from the image.
    fn some_prefix_matches(
        &self,
        image: &Image,
        survives: Survives,
        skipped: &BTreeSet<usize>,
        nearest: &mut Nearest,
    ) -> bool {
        let floor = self.floor(survives);
        let mut differing: BTreeSet<u64> = BTreeSet::new();
        for block in &self.touched {
            update(&mut differing, image, *block, self.base.get(block).unwrap_or(&Cell::Hole));
        }
        if floor == 0 && nearest.offer(0, &differing) {
            return true;
        }
        for (index, entry) in self.order.iter().enumerate().filter(|(index, _)| !skipped.contains(index)) {
            for (done, (block, cell)) in entry.changes.iter().enumerate() {
                update(&mut differing, image, *block, cell);
                let is_cut = index >= floor && entry.cuts.contains(&(done + 1));
                if is_cut && nearest.offer(index + 1, &differing) {
                    return true;
                }
            }
            if index + 1 >= floor && nearest.offer(index + 1, &differing) {
                return true;
            }
        }
        false
    }

    fn floor(&self, survives: Survives) -> usize {
        let is_answered = |entry: &Entry| entry.fate == Fate::Answered;
        let range = match survives {
            Survives::Flushed => &self.order[..self.flushed_count],
            Survives::Answered => &self.order[..],
        };
        range.iter().rposition(is_answered).map_or(0, |last| last + 1)
    }

    fn explain(&self, image: &Image, survives: Survives, nearest: &Nearest) -> Violation {
        let floor = self.floor(survives);
        let block = nearest.differing.first().copied().unwrap_or_default();
        let found = image.blocks.get(&block).map(Vec::as_slice).unwrap_or_default();
        let holders: Vec<String> = std::iter::once((0, self.base.get(&block).unwrap_or(&Cell::Hole)))
            .chain(self.order.iter().enumerate().flat_map(|(index, entry)| {
                let here = entry.changes.iter().filter(|(changed, _)| *changed == block);
                here.map(move |(_, cell)| (index + 1, cell))
            }))
            .map(|(prefix, cell)| {
                let sign = if cell.holds(found) { "=" } else { "!" };
                format!("{prefix}{sign}{}", describe(cell))
            })
            .collect();
        Violation(format!(
            "no prefix of {} writes with at least {floor} in it ({survives:?}); the nearest is {}, {} blocks off; block \
             {block} is {} with status {:?}, and was, by prefix: {}",
            self.order.len(),
            nearest.prefix,
            nearest.differing.len(),
            describe(&Cell::new(found.to_vec())),
            image.state(block),
            holders.join(" "),
        ))
    }

    /// The parts of blocks that a range covers, as (block, first byte in it, end in it).
    fn blocks_of(&self, offset: u64, len: u64) -> impl Iterator<Item = (u64, u64, u64)> + use<> {
        let end = offset + len;
        (offset / BLOCK..end.div_ceil(BLOCK)).map(move |block| {
            let start = block * BLOCK;
            (block, offset.saturating_sub(start), (end - start).min(BLOCK))
        })
    }

    fn block_len(&self, block: u64) -> u64 {
        (self.size_bytes - block * BLOCK).min(BLOCK)
    }

    fn block_now(&self, block: u64) -> Vec<u8> {
        let mut bytes = vec![0; self.block_len(block) as usize];
        self.now.get(&block).unwrap_or(&Cell::Hole).copy_to(&mut bytes);
        bytes
    }

    /// The block with what is begun applied: writes of one group see each other.
    fn block_after_begun(&self, block: u64) -> Vec<u8> {
        let mut bytes = self.block_now(block);
        let begun = self.order.iter().filter(|entry| entry.fate == Fate::Begun);
        for (changed, cell) in begun.flat_map(|entry| &entry.changes) {
            if *changed == block {
                cell.copy_to(&mut bytes);
            }
        }
        bytes
    }
}

fn update(differing: &mut BTreeSet<u64>, image: &Image, block: u64, cell: &Cell) {
    let bytes_match = match image.blocks.get(&block) {
        Some(found) => cell.holds(found),
        None => !matches!(cell, Cell::Data(_)),
    };
    if bytes_match && image.state(block).is_some_and(|state| cell.may_report(state)) {
        differing.remove(&block);
    } else {
        differing.insert(block);
    }
}

fn describe(cell: &Cell) -> String {
    match cell {
        Cell::Hole => "hole".to_owned(),
        Cell::Allocated => "allocated".to_owned(),
        Cell::Zeros => "zeros".to_owned(),
        Cell::Data(bytes) => blake3::hash(bytes).to_hex()[..8].to_owned(),
    }
}

/// The prefix with the fewest differing blocks so far, to explain a violation with.
#[derive(Default)]
struct Nearest {
    prefix: usize,
    differing: BTreeSet<u64>,
    is_set: bool,
}

impl Nearest {
    /// Notes a prefix; true if nothing differs.
    fn offer(&mut self, prefix: usize, differing: &BTreeSet<u64>) -> bool {
        if !self.is_set || differing.len() < self.differing.len() {
            *self = Self { prefix, differing: differing.clone(), is_set: true };
        }
        differing.is_empty()
    }
}
