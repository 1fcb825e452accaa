//! The clock of leases.

use net::replication::Tick;

/// A clock that goes on while the machine sleeps, and that nobody sets.
pub trait Ticks: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Tick;
}

/// The machine's.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootTicks;

impl Ticks for BootTicks {
    fn now(&self) -> Tick {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let (seconds, nanoseconds) = (time.tv_sec as u64, time.tv_nsec as u64);
        Tick(seconds * 1_000_000 + nanoseconds / 1000)
    }
}
