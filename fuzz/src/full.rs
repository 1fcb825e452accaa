//! Full disks: the workload runs in too little room, for every amount of it.
//!
//! What needs room may be refused with [`lsm_store::ErrorKind::OutOfSpace`]; reads, flushes, trims of whole blocks,
//! deletions and restarts must go on, and once there is room writes must, without a restart (promise 5). The store keeps a
//! reserve for that. Where somebody else has taken the reserve too it may refuse all changes, but reads, flushes and
//! restarts of every kind go on, and it never loses what it has.

use lsm_store::request::Zeroing;

use crate::content::Content;
use crate::crash::guarded;
use crate::machine::SimMachine;
use crate::model::Violation;
use crate::planted::device::Lie;
use crate::random::explain;
use crate::runner::{Outcome, Runner, Tolerance, chain};
use crate::system::Maker;
use crate::workload::{Compression, Operation, Profile, Span, generate};

/// Room that the store keeps for going on: two segments, a merge of runs, and the part of the disk that writes leave alone.
pub const RESERVE_BYTES: u64 = (2 * 32 + 16 + 8) << 20;

/// Room for data beside the reserve on a disk that is filled, and bytes of each write to it.
const FILL_BYTES: u64 = 8 << 20;
const FILL_WRITE_BYTES: u64 = 128 << 10;

/// Bytes on the disk after the store was made, and the most during the workload of `seed`. That much and
/// [`RESERVE_BYTES`] more is the range in which the store must go on; less is one in which somebody took its reserve.
pub fn range(maker: &dyn Maker, seed: u64, operations: usize) -> Result<(u64, u64), Violation> {
    let runner = Runner::create(maker, SimMachine::new(seed, None), Tolerance::Nothing);
    let mut runner = runner.map_err(|error| Violation(format!("creating the store failed: {}", chain(&error))))?;
    let first = runner.machine_mut().used_bytes();
    let mut most = first;
    for operation in workload(seed, operations) {
        runner.apply(&operation)?;
        most = most.max(runner.machine_mut().used_bytes());
    }
    Ok((first, most))
}

fn workload(seed: u64, operations: usize) -> Vec<Operation> {
    generate(
        seed,
        operations,
        Profile { restarts: true, power_cuts: true, reads: true, blocks_max: 64, ..Profile::SMALL },
    )
}

/// Runs the workload of `seed` on a disk of `capacity_bytes`; how many operations were refused for want of room.
pub fn run(
    maker: &dyn Maker,
    lie: Option<Lie>,
    seed: u64,
    operations: usize,
    capacity_bytes: u64,
) -> Result<u64, Violation> {
    guarded(|| {
        let runner = Runner::create(maker, SimMachine::new(seed, lie), Tolerance::Nothing);
        let mut runner = runner.map_err(|error| Violation(format!("creating the store failed: {}", chain(&error))))?;
        let has_reserve = capacity_bytes >= runner.machine_mut().used_bytes() + RESERVE_BYTES;
        let tolerance = if has_reserve { Tolerance::Full } else { Tolerance::NoRoom };
        runner.tolerate(tolerance);
        runner.machine_mut().disk().set_capacity(Some(capacity_bytes));
        let mut refused = 0;
        let workload = workload(seed, operations);
        for (index, operation) in workload.iter().enumerate() {
            let outcome = runner.apply(operation).map_err(|violation| explain(&runner, index, &violation))?;
            refused += u64::from(matches!(outcome, Outcome::Refused(_)));
        }
        if has_reserve {
            flush_accepted(&mut runner).map_err(|violation| explain(&runner, workload.len(), &violation))?;
        }
        make_room(&mut runner).map_err(|violation| explain(&runner, workload.len(), &violation))?;
        Ok(refused)
    })
}

/// Fills a disk with data that neither compresses nor repeats, as far as the store takes it: bytes it took. As full as it
/// is then, it must flush and collect what it took, and give back what is trimmed.
pub fn fill(maker: &dyn Maker, lie: Option<Lie>, seed: u64) -> Result<u64, Violation> {
    guarded(|| {
        let runner = Runner::create(maker, SimMachine::new(seed, lie), Tolerance::Nothing);
        let mut runner = runner.map_err(|error| Violation(format!("creating the store failed: {}", chain(&error))))?;
        runner.apply(&Operation::Create { blocks: 1 << 20, compression: Compression::None })?;
        let capacity = runner.machine_mut().used_bytes() + RESERVE_BYTES + FILL_BYTES;
        runner.machine_mut().disk().set_capacity(Some(capacity));
        let taken = fill_up(&mut runner, seed)?;
        let halves = (0..taken / FILL_WRITE_BYTES).map(|index| Operation::Zero {
            volume: 0,
            span: Span { offset: index * FILL_WRITE_BYTES, len: FILL_WRITE_BYTES / 2 },
            zeroing: Zeroing::Hole,
        });
        let ending =
            [Operation::Flush { volume: 0 }, Operation::Step { count: 200 }, Operation::Collect, Operation::Kill];
        for (index, operation) in halves.chain(ending).enumerate() {
            runner.apply(&operation).map_err(|violation| explain(&runner, index, &violation))?;
        }
        make_room(&mut runner).map_err(|violation| explain(&runner, usize::MAX, &violation))?;
        Ok(taken)
    })
}

/// Writes until there is no room, and flushes what was taken meanwhile.
fn fill_up(runner: &mut Runner<'_, SimMachine>, seed: u64) -> Result<u64, Violation> {
    let mut offset = 0;
    loop {
        let span = Span { offset, len: FILL_WRITE_BYTES };
        let writes = vec![(span, Content::Unique(seed ^ offset))];
        runner.tolerate(Tolerance::Full);
        let outcome = runner.apply(&Operation::Write { volume: 0, writes })?;
        flush_accepted(runner)?;
        if matches!(outcome, Outcome::Refused(_)) {
            return Ok(offset);
        }
        offset += FILL_WRITE_BYTES;
    }
}

/// As full as the disk is, what was accepted goes into segments: the reserve is there for it.
fn flush_accepted(runner: &mut Runner<'_, SimMachine>) -> Result<(), Violation> {
    runner.tolerate(Tolerance::Nothing);
    runner.apply(&Operation::Step { count: 200 }).map(|_| ())
}

/// There is room again: everything must work.
fn make_room(runner: &mut Runner<'_, SimMachine>) -> Result<(), Violation> {
    runner.machine_mut().disk().set_capacity(None);
    runner.tolerate(Tolerance::Nothing);
    with_room().iter().try_for_each(|operation| runner.apply(operation).map(|_| ()))
}

/// What must work as soon as there is room again.
fn with_room() -> Vec<Operation> {
    let span = Span { offset: 0, len: 64 << 10 };
    let writes = vec![(span, Content::Unique(0xf011))];
    vec![
        Operation::Write { volume: 0, writes },
        Operation::Flush { volume: 0 },
        Operation::Step { count: 200 },
        Operation::Read { volume: 0, span },
        Operation::Kill,
    ]
}
