use bytes::Bytes;
use lsm_store::id::{BLOCK_BYTES, BlockIndex};
use lsm_store::packed::{BlockPacker, PackedBlocks};
use lsm_store::request::Zeroing;
use proptest::prelude::*;

use super::*;

const SIZE: usize = 40 << 16;

fn write(offset: u64, byte: u8, len: usize) -> Operation {
    Operation::Write { offset, data: Bytes::from(vec![byte; len]) }
}

/// Whole blocks from the one of `offset` on, one of them zeros.
fn write_blocks(offset: u64, byte: u8, len: usize) -> Operation {
    let first =
        (offset / BLOCK_BYTES as u64).min((SIZE - len.next_multiple_of(BLOCK_BYTES)) as u64 / BLOCK_BYTES as u64);
    let mut data = vec![byte; len.next_multiple_of(BLOCK_BYTES)];
    data[..BLOCK_BYTES].fill(byte % 2 * byte);
    let mut bytes = Vec::new();
    assert!(BlockPacker::default().pack(&data, usize::MAX, &mut bytes));
    let blocks = PackedBlocks::read(bytes.into(), data.len() / BLOCK_BYTES).unwrap();
    Operation::WriteBlocks { first: BlockIndex(first), blocks }
}

fn record(operations: impl Into<Vec<Operation>>) -> Operations {
    operations.into().into()
}

/// A volume as the store has it, with what is over it.
struct World {
    pending: Pending,
    store: Vec<u8>,
    /// Every record since the beginning.
    log: Vec<Operations>,
}

impl World {
    fn new() -> Self {
        Self { pending: Pending::new(Lsn(0), Arc::default()), store: vec![0; SIZE], log: Vec::new() }
    }

    fn append(&mut self, operations: Operations) {
        self.pending.append(Lsn(self.log.len() as u64 + 1), [Arc::clone(&operations)]);
        self.log.push(operations);
    }

    fn apply_some(&mut self, upto: u64) {
        let Some(batch) = self.pending.next_batch(Lsn(upto), 200_000) else { return };
        batch.records.iter().flat_map(|it| it.iter()).for_each(|change| apply(change, &mut self.store, 0));
        self.pending.batch_applied();
    }

    fn truth(&self) -> Vec<u8> {
        let mut bytes = vec![0; SIZE];
        let visible = self.pending.visible().0 as usize;
        self.log[..visible].iter().flat_map(|it| it.iter()).for_each(|change| match change {
            Operation::WriteBlocks { first, blocks } => {
                let content = blocks.content();
                bytes[first.byte_offset() as usize..][..content.len()].copy_from_slice(&content);
            }
            change => apply(change, &mut bytes, 0),
        });
        bytes
    }

    fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        let overlay = self.pending.overlay(offset as u64, len as u64);
        let mut data = ReadData::default();
        data.push(Piece::Bytes(Bytes::copy_from_slice(&self.store[offset..offset + len])));
        assert!(!self.pending.is_outdated(&overlay));
        let laid = overlay.lay_over(data, offset as u64);
        let mut bytes = vec![0; len];
        laid.copy_to(&mut bytes);
        bytes
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Zero,
    Write,
    Blocks,
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(Kind, u64, u8, usize)>),
    Show(u64),
    Apply(u64),
    Truncate(u64),
    Read(usize, usize),
}

fn steps() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![Just(Kind::Zero), Just(Kind::Write), Just(Kind::Blocks)];
    let change = (kind, 0..SIZE as u64 / 512, 1..255u8, 1..300usize);
    prop_oneof![
        4 => prop::collection::vec(change, 1..4).prop_map(Step::Append),
        2 => (0..9u64).prop_map(Step::Show),
        2 => (0..9u64).prop_map(Step::Apply),
        1 => (0..9u64).prop_map(Step::Truncate),
        4 => (0..SIZE - 1, 1..200_000usize).prop_map(|(offset, len)| Step::Read(offset, len.min(SIZE - offset))),
    ]
}

proptest! {
    #[test]
    fn reads_see_what_is_visible(steps in prop::collection::vec(steps(), 1..40)) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Append(changes) => {
                    let change = |(kind, sector, byte, sectors): (Kind, u64, u8, usize)| {
                        let (offset, len) = (sector * 512, (sectors * 512).min(SIZE - sector as usize * 512));
                        match kind {
                            Kind::Zero => Operation::Zero { offset, len: len as u64, zeroing: Zeroing::Hole },
                            Kind::Write => write(offset, byte, len),
                            Kind::Blocks => write_blocks(offset, byte, len),
                        }
                    };
                    world.append(record(changes.into_iter().map(change).collect::<Vec<_>>()));
                }
                Step::Show(back) => world.pending.show(Lsn((world.log.len() as u64).saturating_sub(back))),
                Step::Apply(back) => world.apply_some(world.pending.visible().0.saturating_sub(back)),
                Step::Truncate(back) => {
                    let beyond = (world.log.len() as u64).saturating_sub(back).max(world.pending.applied().0);
                    world.pending.truncate(Lsn(beyond));
                    world.log.truncate(beyond as usize);
                }
                Step::Read(offset, len) => {
                    prop_assert_eq!(world.read(offset, len) == world.truth()[offset..offset + len], true);
                }
            }
        }
        world.pending.show(Lsn(world.log.len() as u64));
        while world.pending.applied() < world.pending.visible() {
            world.apply_some(u64::MAX);
        }
        prop_assert_eq!(world.pending.bytes(), 0);
        prop_assert!(world.pending.overlay(0, SIZE as u64).is_empty());
        let state = world.pending.state.lock();
        prop_assert!(state.chunks.is_empty() && state.wide.is_empty());
    }
}

#[test]
fn what_is_not_visible_is_not_read_and_not_applied() {
    let mut world = World::new();
    world.append(record([write(0, 7, 512)]));
    assert_eq!(world.read(0, 512), [0; 512]);
    assert!(world.pending.next_batch(Lsn(1), 1 << 20).is_none());
    world.pending.show(Lsn(1));
    assert_eq!(world.read(0, 512), [7; 512]);
    world.apply_some(0);
    assert_eq!(world.store[0], 0, "every member has not synced it");
}

#[test]
fn a_read_that_the_store_has_overtaken_begins_anew() {
    let mut world = World::new();
    world.append(record([write(0, 1, 512)]));
    world.pending.show(Lsn(1));
    let overlay = world.pending.overlay(0, 512);
    world.append(record([write(0, 2, 512)]));
    world.pending.show(Lsn(2));
    assert!(!world.pending.is_outdated(&overlay));
    let batch = world.pending.next_batch(Lsn(2), 1 << 20).unwrap();
    assert!(world.pending.is_outdated(&overlay), "the store may have the second one now");
    assert_eq!(batch.last, Lsn(2));
}

#[test]
fn a_barrier_is_applied_alone() {
    let mut world = World::new();
    for operation in [write(0, 1, 512), Operation::Snapshot { name: "a".parse().unwrap() }, write(0, 2, 512)] {
        world.append(record([operation]));
    }
    world.pending.show(Lsn(3));
    for last in 1..=3 {
        assert_eq!(world.pending.next_batch(Lsn(3), 1 << 20).unwrap().last, Lsn(last));
        world.pending.batch_applied();
    }
}

#[test]
fn a_barrier_is_told_to_whoever_reads_anything() {
    let mut world = World::new();
    world.append(record([Operation::RollBack { to: "a".parse().unwrap() }]));
    assert_eq!(world.pending.overlay(5, 1).barrier, None);
    world.pending.show(Lsn(1));
    assert_eq!(world.pending.overlay(5, 1).barrier, Some(Lsn(1)));
    assert!(!world.pending.wait_applied(Lsn(1), std::time::Duration::ZERO));
    world.apply_some(1);
    assert!(world.pending.wait_applied(Lsn(1), std::time::Duration::ZERO));
    assert_eq!(world.pending.overlay(5, 1).barrier, None);
}
