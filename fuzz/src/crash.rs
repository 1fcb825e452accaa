//! The crash enumerator: a workload is recorded once, then the machine loses power after every single operation of its
//! device, in every way worth trying, and the store is recovered from what is left and compared with the model.
//!
//! Crashes inside recovery are tried too (depth 2): a recovered store is durable as it was read, so whatever a second
//! crash leaves must recover to something the model admits as well.

mod image;
mod recording;

use std::panic::{AssertUnwindSafe, catch_unwind};

use lsm_store::ErrorKind;
use lsm_store::device::sim::{CrashPoint, SimDevice};
use lsm_store::rng::SeededRng;

use crate::machine::SimMachine;
use crate::model::{StoreModel, Survives, Violation};
use crate::planted::device::Lie;
use crate::runner::{Machine, Runner, Tolerance, chain};
use crate::system::{Maker, audit, read_back};
use crate::workload::{Operation, Profile, generate};

pub use image::Choice;
pub use recording::{Expected, Recording};

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Operations of the workload.
    pub operations: usize,
    /// Images at one point of the device's log at most.
    pub images_per_point: usize,
    /// One in so many recoveries is crashed in its turn.
    pub nested_one_in: u64,
    /// Pending changes of which every subset is tried, if there are no more; of more, some.
    pub subsets_of_max: usize,
    /// The first point of the log that is tried, and the one behind the last.
    pub points: (usize, usize),
    /// Hears which point of how many is tried.
    pub progress: fn(usize, usize),
}

impl Effort {
    /// All points of a workload of so many operations, of which some images are tried, as in a test run.
    #[must_use]
    pub const fn usual(operations: usize) -> Self {
        let points = (0, usize::MAX);
        Self { operations, images_per_point: 10, nested_one_in: 24, subsets_of_max: 8, points, progress: |_, _| {} }
    }

    /// The same of only one point, to repeat a failure.
    #[must_use]
    pub const fn at(self, point: usize) -> Self {
        Self { points: (point, point + 1), ..self }
    }
}

/// States tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tried {
    /// Recoveries from a crash of the workload.
    pub states: u64,
    /// Recoveries from a crash of a recovery.
    pub nested_states: u64,
}

/// Enumerates the crashes of the workload of `seed`.
pub fn enumerate(maker: &dyn Maker, lie: Option<Lie>, seed: u64, effort: Effort) -> Result<Tried, Violation> {
    let operations = generate(seed, effort.operations, Profile::SMALL);
    let recording = Recording::make(maker, lie, seed, &operations)?;
    let mut tried = Tried::default();
    for (count, point) in recording.device().walk() {
        if (effort.points.0..effort.points.1).contains(&count) {
            (effort.progress)(count, recording.device().len());
            let enumeration =
                Enumeration { maker, lie, effort, seed: seed ^ (count as u64).wrapping_mul(GOLDEN_RATIO) };
            let expected = recording.expected(count);
            enumeration
                .crash_here(&point, expected, &mut tried)
                .map_err(|Violation(why)| Violation(format!("crash after {}: {why}", recording.describe(count))))?;
        }
    }
    Ok(tried)
}

/// Spreads neighbouring points over all seeds.
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

/// Points of one recovery that are crashed in their turn, and images tried at each.
const NESTED_POINTS: usize = 6;
const NESTED_IMAGES: usize = 4;

struct Enumeration<'a> {
    maker: &'a dyn Maker,
    lie: Option<Lie>,
    effort: Effort,
    seed: u64,
}

impl Enumeration<'_> {
    fn crash_here(&self, point: &CrashPoint, expected: &Expected, tried: &mut Tried) -> Result<(), Violation> {
        let dice = SeededRng::new(self.seed);
        for choice in image::choices(point, &dice, self.effort.images_per_point, self.effort.subsets_of_max) {
            let machine = SimMachine::on(choice.image(point), self.lie);
            let is_nested = dice.below(self.effort.nested_one_in) == 0;
            let verdict = guarded(|| self.recover(&machine, expected, choice.survives(), is_nested.then_some(&dice)));
            let nested = verdict.map_err(|Violation(why)| Violation(format!("image {choice:?}: {why}")))?;
            tried.states += 1;
            tried.nested_states += nested;
        }
        Ok(())
    }

    /// Recovers the store on `machine` and compares; with dice it goes on to work with it, and crashes the recovery too.
    fn recover(
        &self,
        machine: &SimMachine,
        expected: &Expected,
        survives: Survives,
        nested: Option<&SeededRng>,
    ) -> Result<u64, Violation> {
        if nested.is_some() {
            machine.disk().record();
        }
        let settled = self.open_and_compare(machine, expected, survives)?;
        let (Some(settled), Some(dice)) = (settled, nested) else { return Ok(0) };
        let recording = machine.disk().recording();
        self.go_on(machine.disk().process_death(), settled.clone())?;
        // A recovery that was finished has made durable what it found.
        let finished = Expected { is_created: true, model: settled };
        let mut states = 0;
        for count in sampled_points(recording.len(), dice) {
            let point = recording.at(count);
            for choice in image::choices(&point, dice, NESTED_IMAGES, self.effort.subsets_of_max) {
                let again = SimMachine::on(choice.image(&point), self.lie);
                let (expected, survives) = match choice {
                    _ if count == recording.len() => (&finished, Survives::Answered),
                    Choice::ProcessDeath => (expected, survives),
                    Choice::PowerCut(_) => (expected, Survives::Flushed),
                };
                self.open_and_compare(&again, expected, survives).map_err(|Violation(why)| {
                    let place = format!("operation {count} of {} of its recovery", recording.len());
                    Violation(format!("then after {place}, image {choice:?}: {why}"))
                })?;
                states += 1;
            }
        }
        Ok(states)
    }

    /// The model that goes on from what was recovered; `None` if there is rightly no store yet.
    fn open_and_compare(
        &self,
        machine: &SimMachine,
        expected: &Expected,
        survives: Survives,
    ) -> Result<Option<StoreModel>, Violation> {
        let system = match self.maker.open(&machine.device()) {
            Ok(system) => system,
            Err(error) if error.kind() == ErrorKind::NotFound && !expected.is_created => return Ok(None),
            Err(error) => return Err(Violation(format!("recovery failed: {}", chain(&error)))),
        };
        let image = read_back(&*system, &expected.model)
            .map_err(|error| Violation(format!("reading back failed: {}", chain(&error))))?;
        let settled = expected.model.admits(&image, survives)?;
        audit(&*system)?;
        Ok(Some(settled))
    }

    /// A recovered store must be of use: some more work on it, and a second restart.
    fn go_on(&self, disk: SimDevice, settled: StoreModel) -> Result<(), Violation> {
        let machine = SimMachine::on(disk, self.lie);
        let mut runner = Runner::stopped(self.maker, machine, Tolerance::Nothing, settled).audited();
        let more = generate(self.seed, 6, Profile::SMALL);
        runner
            .start(Survives::Answered)
            .and_then(|_| runner.run(&more))
            .and_then(|()| runner.run(&[Operation::Kill]))
            .map_err(|Violation(why)| {
                let tail: Vec<&str> = runner.log().tail().collect();
                Violation(format!("work after recovery: {why}\n  {}", tail.join("\n  ")))
            })
    }
}

fn sampled_points(count: usize, dice: &SeededRng) -> Vec<usize> {
    let mut points: Vec<usize> = if count <= NESTED_POINTS {
        (0..=count).collect()
    } else {
        (0..NESTED_POINTS).map(|_| dice.below(count as u64 + 1) as usize).collect()
    };
    points.sort_unstable();
    points.dedup();
    points
}

/// Runs `work`, and makes a violation of its panic.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, Violation>) -> Result<T, Violation> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Violation(format!("panic: {}", text.unwrap_or_default())))
    })
}
