//! A workload carried out once: the log of its device, and what the model says at every point of it.

use lsm_store::device::sim::{self, SimDevice};

use crate::machine::SimMachine;
use crate::model::{StoreModel, Violation};
use crate::planted::device::Lie;
use crate::random::explain;
use crate::runner::{Observer, Runner, Tolerance, chain};
use crate::system::Maker;
use crate::workload::Operation;

/// What a crash may leave.
#[derive(Clone, Debug)]
pub struct Expected {
    /// False while the store is still being made.
    pub is_created: bool,
    /// What it must hold.
    pub model: StoreModel,
}

/// A recorded run.
pub struct Recording {
    device: sim::Recording,
    moments: Vec<Moment>,
    operations: Vec<(usize, String)>,
}

struct Moment {
    point: usize,
    is_answer: bool,
    expected: Expected,
}

struct Watch {
    disk: SimDevice,
    moments: Vec<Moment>,
}

impl Watch {
    fn note(&mut self, is_answer: bool, model: &StoreModel) {
        let point = self.disk.recording().len();
        let expected = Expected { is_created: true, model: model.clone() };
        let moment = Moment { point, is_answer, expected };
        match self.moments.last_mut() {
            // Nothing reached the device between the two: the later one says more.
            Some(last) if last.point == point && last.is_answer == is_answer => *last = moment,
            _ => self.moments.push(moment),
        }
    }
}

impl Observer for Watch {
    fn begun(&mut self, model: &StoreModel) {
        self.note(false, model);
    }

    fn answered(&mut self, model: &StoreModel) {
        self.note(true, model);
    }
}

impl Recording {
    /// Carries out `operations` on a new store.
    pub fn make(maker: &dyn Maker, lie: Option<Lie>, seed: u64, operations: &[Operation]) -> Result<Self, Violation> {
        let machine = SimMachine::new(seed, lie);
        let disk = machine.disk().clone();
        disk.record();
        let nothing = Expected { is_created: false, model: StoreModel::default() };
        let moments = vec![Moment { point: 0, is_answer: true, expected: nothing }];
        let mut watch = Watch { disk: disk.clone(), moments };
        let runner = Runner::create(maker, machine, Tolerance::Nothing);
        let runner = runner.map_err(|error| Violation(format!("creating the store failed: {}", chain(&error))))?;
        watch.note(true, &StoreModel::default());
        let mut runner = runner.observed_by(&mut watch).audited();
        let mut starts = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            starts.push((disk.recording().len(), format!("{operation:?}")));
            runner.apply(operation).map_err(|violation| explain(&runner, index, &violation))?;
        }
        drop(runner);
        let device = disk.recording();
        Ok(Self { device, moments: watch.moments, operations: starts })
    }

    /// What the store did to its device.
    pub fn device(&self) -> &sim::Recording {
        &self.device
    }

    /// What a crash after the first `point` operations of the device may leave: what was answered there if something was,
    /// else what had begun before.
    pub fn expected(&self, point: usize) -> &Expected {
        let end = self.moments.partition_point(|moment| moment.point <= point);
        let before = &self.moments[..end];
        let answer = before.iter().rev().take_while(|moment| moment.point == point).find(|moment| moment.is_answer);
        let earlier = || before.iter().rev().find(|moment| moment.point < point);
        let moment = answer.or_else(earlier).or_else(|| before.last());
        &moment.expect("the recording starts with a moment at point 0").expected
    }

    /// Where `point` is: in which operation of the workload, and behind which of the device.
    pub fn describe(&self, point: usize) -> String {
        let index = self.operations.partition_point(|(start, _)| *start < point);
        let within = match index.checked_sub(1).and_then(|index| self.operations.get(index)) {
            Some((_, text)) => format!("in operation {} ({text})", index - 1),
            None => "while the store was being made".to_owned(),
        };
        let last = point.checked_sub(1).map(|last| self.device.describe(last)).unwrap_or_default();
        format!("{point} of {} operations of the device ({last}), {within}", self.device.len())
    }
}
