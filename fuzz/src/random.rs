//! Long seeded runs: every kind of operation, clean stops, deaths of the process and power cuts included.

use crate::machine::SimMachine;
use crate::model::Violation;
use crate::planted::device::Lie;
use crate::runner::{Machine, Runner, Tolerance, chain};
use crate::system::Maker;
use crate::workload::{Operation, Profile, generate};

/// Carries out the workload of `seed` and reads everything back at the end; the digest of the log.
pub fn run(maker: &dyn Maker, lie: Option<Lie>, seed: u64, operations: usize) -> Result<String, Violation> {
    run_operations(maker, lie, seed, &generate(seed, operations, Profile::FULL))
}

/// Carries out `operations` and reads everything back at the end; the digest of the log. `seed` decides
/// what chance there is in the machine.
pub fn run_operations(
    maker: &dyn Maker,
    lie: Option<Lie>,
    seed: u64,
    operations: &[Operation],
) -> Result<String, Violation> {
    let runner = Runner::create(maker, SimMachine::new(seed, lie), Tolerance::Nothing);
    let runner = runner.map_err(|error| Violation(format!("creating the store failed: {}", chain(&error))))?;
    let mut runner = runner.audited();
    let ending = [Operation::Check, Operation::Reopen];
    for (index, operation) in operations.iter().chain(&ending).enumerate() {
        runner.apply(operation).map_err(|violation| explain(&runner, index, &violation))?;
    }
    Ok(runner.log().digest())
}

/// A violation with the operations that led to it.
pub(crate) fn explain<M: Machine>(runner: &Runner<'_, M>, index: usize, violation: &Violation) -> Violation {
    let tail: Vec<&str> = runner.log().tail().collect();
    Violation(format!("at operation {index}: {violation}\nlast operations:\n  {}", tail.join("\n  ")))
}
