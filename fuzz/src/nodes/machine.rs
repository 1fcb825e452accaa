//! A simulated machine: its disk, its kernel, its clock. What survives a process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use blockdev::replica::log::BootId;
use blockdev::replica::ticks::Ticks;
use lsm_store::device::Device;
use lsm_store::device::sim::{CrashChoice, Fault, SimDevice, SimOptions, Trigger, VirtualClock};
use lsm_store::rng::{Rng, SeededRng};
use net::replication::{Lsn, NodeId, Tick};

use super::bug::Bug;
use crate::planted::device::{Lie, LyingDevice};

/// How the machine's process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Death {
    /// The process alone.
    Kill,
    /// With the kernel.
    PowerCut,
}

/// The machine's clock of leases.
#[derive(Debug)]
pub(super) struct Drifting {
    /// The true time.
    now: Arc<AtomicU64>,
    offset_us: u64,
    drift_ppm: i64,
}

impl Drifting {
    fn new(now: &Arc<AtomicU64>, rng: &SeededRng) -> Self {
        let drift_ppm = rng.below(16_001) as i64 - 8_000;
        Self { now: Arc::clone(now), offset_us: 1 + rng.below(1 << 40), drift_ppm }
    }

    /// The moment of true time at which it shows `tick`.
    pub(super) fn when(&self, tick: Tick) -> u64 {
        // Never is late enough to count on from.
        let own = tick.0.saturating_sub(self.offset_us).min(1 << 62);
        (i128::from(own) * 1_000_000 / (1_000_000 + i128::from(self.drift_ppm))) as u64 + 1
    }
}

impl Ticks for Drifting {
    fn now(&self) -> Tick {
        let now = self.now.load(Ordering::Relaxed) as i64;
        Tick((self.offset_us as i64 + now + now * self.drift_ppm / 1_000_000) as u64)
    }
}

pub(super) struct Machine {
    pub(super) id: NodeId,
    pub(super) disk: SimDevice,
    pub(super) boot: BootId,
    pub(super) ticks: Arc<Drifting>,
    /// The store's clock.
    pub(super) clock: Arc<VirtualClock>,
    pub(super) has_store: bool,
    /// While it is set, a disk that lies now and then does.
    pub(super) lies: Arc<AtomicBool>,
    /// Up to here the store may have something of the order, be it in part.
    pub(super) attempted: Lsn,
    /// It dies with the operation of the disk behind so many.
    pub(super) dies_after: Arc<AtomicU64>,
    death: Death,
    pub(super) paused_until: u64,
    pub(super) slow_until: u64,
    pub(super) full_until: u64,
}

impl Machine {
    pub(super) fn new(id: NodeId, now: &Arc<AtomicU64>, rng: &SeededRng) -> Self {
        Self {
            id,
            disk: SimDevice::with_options(SimOptions::new(rng.next_u64())),
            boot: boot(rng),
            ticks: Arc::new(Drifting::new(now, rng)),
            clock: Arc::new(VirtualClock::new()),
            has_store: false,
            lies: Arc::default(),
            attempted: Lsn(0),
            dies_after: Arc::new(AtomicU64::new(u64::MAX)),
            death: Death::Kill,
            paused_until: 0,
            slow_until: 0,
            full_until: 0,
        }
    }

    /// The disk, as the node's code sees it.
    pub(super) fn device(&self, bug: Option<Bug>) -> Arc<dyn Device> {
        let disk: Arc<dyn Device> = Arc::new(self.disk.clone());
        match bug {
            Some(Bug::LogNotSynced) => Arc::new(LyingDevice::new(disk, Lie::SkipSync { below: "replica-" })),
            Some(Bug::NotedBeforeFlushed) => Arc::new(LyingDevice::new(disk, Lie::SkipSync { below: "journal/" })),
            Some(Bug::InstallNotNoted) => {
                let lie = Lie::SkipSync { below: "replica-" };
                Arc::new(LyingDevice::told_while(disk, lie, Arc::clone(&self.lies)))
            }
            _ => disk,
        }
    }

    /// Lets the machine die in the middle of something: with the operation of its disk behind the next `operations`.
    pub(super) fn doom(&mut self, death: Death, operations: u64) {
        if self.is_doomed() {
            return;
        }
        self.death = death;
        self.dies_after.store(self.disk.operation_count() + operations, Ordering::Relaxed);
        self.disk.inject(Trigger::any().after(operations).forever(), Fault::Io);
    }

    pub(super) fn is_doomed(&self) -> bool {
        self.dies_after.load(Ordering::Relaxed) < u64::MAX
    }

    /// How it has died since it was doomed, if it has.
    pub(super) fn death(&self) -> Option<Death> {
        (self.disk.operation_count() > self.dies_after.load(Ordering::Relaxed)).then_some(self.death)
    }

    /// Ends what runs on the machine.
    pub(super) fn die(&mut self, death: Death, rng: &SeededRng, bug: Option<Bug>) {
        let point = self.disk.crash_point();
        self.disk = match death {
            // What was not synced was not in the kernel either.
            Death::Kill if bug == Some(Bug::AnswersBeforeHanded) => point.image(&CrashChoice::Nothing),
            Death::Kill => point.process_death(),
            Death::PowerCut => {
                let choices = point.choices(rng.next_u64(), 64);
                let choice = match rng.below(6) {
                    0 => CrashChoice::Nothing,
                    1 | 2 => CrashChoice::RandomSectors(rng.next_u64()),
                    _ => choices[rng.below(choices.len() as u64) as usize].clone(),
                };
                point.image(&choice)
            }
        };
        if death == Death::PowerCut && bug != Some(Bug::CutTakenForRestart) {
            self.boot = boot(rng);
        }
        self.dies_after.store(u64::MAX, Ordering::Relaxed);
        self.paused_until = 0;
    }

    /// Another machine in its place, under another number.
    pub(super) fn replace(&mut self, id: NodeId, now: &Arc<AtomicU64>, rng: &SeededRng) {
        *self = Self::new(id, now, rng);
    }
}

fn boot(rng: &SeededRng) -> BootId {
    let mut bytes = [0; 16];
    rng.fill(&mut bytes);
    BootId(bytes)
}
