//! Full disks: the workload runs in too little room, for every amount of it.
//!
//! What needs room may be refused with [`lsm_store::ErrorKind::OutOfSpace`]; reads, flushes, trims of whole blocks,
//! deletions and restarts must go on, and once there is room writes must, without a restart (promise 5). The store keeps a
//! reserve for that. Where somebody else has taken the reserve too it may refuse all changes, but reads, flushes and
//! restarts of every kind go on, and it never loses what it has.

use crate::content::Content;
use crate::crash::guarded;
use crate::machine::SimMachine;
use crate::model::Violation;
use crate::random::explain;
use crate::runner::{Outcome, Runner, Tolerance, chain};
use crate::system::Maker;
use crate::workload::{Operation, Profile, Span, generate};

/// Room that the store keeps for going on: two segments, a merge of runs, and the part of the disk that writes leave alone.
pub const RESERVE_BYTES: u64 = (2 * 32 + 16 + 8) << 20;

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
pub fn run(maker: &dyn Maker, seed: u64, operations: usize, capacity_bytes: u64) -> Result<u64, Violation> {
    guarded(|| {
        let runner = Runner::create(maker, SimMachine::new(seed, None), Tolerance::Nothing);
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
        make_room(&mut runner).map_err(|violation| explain(&runner, workload.len(), &violation))?;
        Ok(refused)
    })
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
