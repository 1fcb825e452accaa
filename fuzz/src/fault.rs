//! I/O errors: the K-th operation of the device fails, for every K, once or from then on.
//!
//! The store must answer with a clean error or get by; once it is started again on what is on disk, without the fault,
//! the model must hold: every flush that was answered is there.

use lsm_store::device::sim::{Fault, OperationKind, Trigger};

use crate::crash::guarded;
use crate::machine::SimMachine;
use crate::model::{StoreModel, Survives, Violation};
use crate::planted::device::Lie;
use crate::random::explain;
use crate::runner::{Machine, Outcome, Runner, Tolerance, chain};
use crate::system::Maker;
use crate::workload::{Operation, Profile, generate};

/// How the device fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// One operation fails with EIO.
    Once,
    /// All operations fail with EIO from one on.
    FromThen,
    /// A sync fails with EIO and drops what was written, as Linux does; the next one succeeds.
    DropDirty,
    /// A write fails with ENOSPC, though there is room.
    NoSpace,
    /// A read ends early.
    ShortRead,
    /// A sync of a directory fails with EIO.
    Names,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Once, Self::FromThen, Self::DropDirty, Self::NoSpace, Self::ShortRead, Self::Names];

    /// What operations of the device it strikes; `None` is any.
    fn strikes(self) -> Option<OperationKind> {
        match self {
            Self::Once | Self::FromThen => None,
            Self::DropDirty => Some(OperationKind::Sync),
            Self::NoSpace => Some(OperationKind::Write),
            Self::ShortRead => Some(OperationKind::Read),
            Self::Names => Some(OperationKind::SyncDirectory),
        }
    }

    fn inject(self, machine: &SimMachine, at: u64) {
        let trigger = self.strikes().map_or_else(Trigger::any, Trigger::on).after(at - 1);
        match self {
            Self::Once | Self::Names => machine.inject(trigger, Fault::Io),
            Self::FromThen => machine.inject(trigger.forever(), Fault::Io),
            Self::DropDirty => machine.inject(trigger, Fault::DropDirty),
            Self::NoSpace => machine.inject(trigger, Fault::NoSpace),
            Self::ShortRead => machine.inject(trigger, Fault::ShortRead),
        }
    }
}

/// Operations of the device that `failure` could strike in a run of the workload of `seed`.
pub fn count_places(maker: &dyn Maker, seed: u64, operations: usize, failure: Failure) -> Result<u64, Violation> {
    let mut runner =
        Runner::create(maker, SimMachine::new(seed, None), Tolerance::Nothing).map_err(failed_to_create)?;
    runner.run(&workload(seed, operations))?;
    let disk = runner.machine_mut().disk();
    Ok(failure.strikes().map_or_else(|| disk.operation_count(), |kind| disk.operation_count_of(kind)))
}

fn workload(seed: u64, operations: usize) -> Vec<Operation> {
    let profile = Profile { restarts: true, reads: true, ..Profile::SMALL };
    generate(seed, operations, profile)
}

fn failed_to_create(error: lsm_store::Error) -> Violation {
    Violation(format!("creating the store failed: {}", chain(&error)))
}

/// Runs the workload of `seed` with the device's operation number `at` (from 1) failing.
pub fn run(
    maker: &dyn Maker,
    lie: Option<Lie>,
    seed: u64,
    operations: usize,
    at: u64,
    failure: Failure,
) -> Result<(), Violation> {
    guarded(|| {
        let machine = SimMachine::new(seed, lie);
        failure.inject(&machine, at);
        let mut runner = create(maker, machine, at)?;
        for (index, operation) in workload(seed, operations).iter().enumerate() {
            apply(&mut runner, operation, at).map_err(|violation| explain(&runner, index, &violation))?;
        }
        // A fault that the store has met and hidden shows when what it did is read back without its caches.
        restart(&mut runner, at).map_err(|violation| explain(&runner, operations, &violation))
    })
}

/// Makes a store on a device that may fail meanwhile: what is left must be a store, or let one be made.
fn create(maker: &dyn Maker, machine: SimMachine, at: u64) -> Result<Runner<'_, SimMachine>, Violation> {
    let device = machine.device();
    if maker.create(&device).is_err() {
        machine.disk().clear_faults();
        if maker.open(&device).is_err() {
            maker.create(&device).map_err(failed_to_create)?;
        }
    }
    let mut runner = Runner::stopped(maker, machine, Tolerance::Faults, StoreModel::default());
    if let Outcome::Refused(_) = runner.start(Survives::Flushed)? {
        restart(&mut runner, at)?;
    }
    Ok(runner)
}

fn apply(runner: &mut Runner<'_, SimMachine>, operation: &Operation, at: u64) -> Result<(), Violation> {
    let outcome = runner.apply(operation)?;
    let has_failed = matches!(outcome, Outcome::Refused(_)) || !runner.is_running();
    if has_failed { restart(runner, at) } else { Ok(()) }
}

/// The owner sees an error, mends the disk and starts the store again; every other time the power fails before.
fn restart(runner: &mut Runner<'_, SimMachine>, at: u64) -> Result<(), Violation> {
    runner.kill();
    runner.machine_mut().disk().clear_faults();
    runner.tolerate(Tolerance::Nothing);
    let is_power_cut = at.is_multiple_of(2);
    if is_power_cut {
        runner.machine_mut().power_cut(at);
    }
    let started = runner.start(Survives::Flushed);
    runner.tolerate(Tolerance::Faults);
    started.map(|_| ()).map_err(|Violation(why)| Violation(format!("after a restart: {why}")))
}
