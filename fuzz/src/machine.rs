//! The simulated machine below every harness: a simulated device, with a lie in front of it if one is planted.

use std::io;
use std::sync::Arc;

use lsm_store::device::sim::{CrashChoice, Fault, SimDevice, SimOptions, Trigger};
use lsm_store::device::{Access, Device};
use lsm_store::rng::SeededRng;

use crate::planted::device::{Lie, LyingDevice};
use crate::runner::Machine;

/// A machine whose disk is in memory.
pub struct SimMachine {
    disk: SimDevice,
    lie: Option<Lie>,
}

impl SimMachine {
    /// A machine with an empty disk.
    #[must_use]
    pub fn new(seed: u64, lie: Option<Lie>) -> Self {
        Self::on(SimDevice::with_options(SimOptions::new(seed)), lie)
    }

    /// A machine with this disk.
    #[must_use]
    pub fn on(disk: SimDevice, lie: Option<Lie>) -> Self {
        Self { disk, lie }
    }

    /// The disk, without the lie.
    #[must_use]
    pub fn disk(&self) -> &SimDevice {
        &self.disk
    }

    /// Lets something fail from now on.
    pub fn inject(&self, trigger: Trigger, fault: Fault) {
        self.disk.inject(trigger, fault);
    }

    /// Bytes that files take.
    ///
    /// # Panics
    /// Never: a simulated device knows its room.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        let space = self.disk.space().expect("a simulated device knows its room");
        space.total_bytes - space.available_bytes
    }
}

impl Machine for SimMachine {
    fn device(&self) -> Arc<dyn Device> {
        let disk: Arc<dyn Device> = Arc::new(self.disk.clone());
        match self.lie {
            Some(lie) => Arc::new(LyingDevice::new(disk, lie)),
            None => disk,
        }
    }

    fn power_cut(&mut self, seed: u64) {
        let point = self.disk.crash_point();
        let choices = point.choices(seed, usize::MAX);
        let choice = match SeededRng::new(seed).below(8) {
            0 => CrashChoice::Nothing,
            1 | 2 => CrashChoice::RandomSectors(seed),
            drawn => choices[(seed.rotate_left(17) ^ drawn) as usize % choices.len()].clone(),
        };
        self.disk = point.image(&choice);
    }
}

/// All bytes of a file.
pub(crate) fn read_file(disk: &SimDevice, path: &str) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Access::Buffered)?;
    let mut bytes = vec![0; file.len()? as usize];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}
