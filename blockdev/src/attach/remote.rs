//! A volume at the other end of a connection that can break, and a wrapper that outlives the breaks.
//!
//! A request that was not answered when the connection broke is sent again on the next one. That is safe because
//! requests are idempotent and a block device owes no order to requests that are in flight together; and it loses nothing
//! because the daemon's answered writes survive its death.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lsm_store::clock::Clock;
use parking_lot::Mutex;
use rustix::io::Errno;

pub(super) mod nbd;

/// Pause between two attempts to reach the daemon.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// Why a request to the remote end failed.
#[derive(Debug)]
pub(super) enum RemoteError {
    /// It was answered with this error.
    Refused(Errno),
    /// The connection broke before it was answered.
    Lost(io::Error),
}

/// A volume served elsewhere. Requests may be made from many threads at once; each waits for its answer.
pub(super) trait RemoteDisk: Send + Sync {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), RemoteError>;

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), RemoteError>;

    /// Makes a range read as zeros; with `deallocate`, gives back its space.
    fn zero(&self, offset: u64, len: u64, deallocate: bool) -> Result<(), RemoteError>;

    fn flush(&self) -> Result<(), RemoteError>;
}

/// Makes connections to one volume.
pub(super) trait Connect: Send + Sync {
    type Disk: RemoteDisk;

    /// Connects once, without retrying. An error if what is there is not the volume that was there first.
    fn connect(&self) -> io::Result<Self::Disk>;
}

/// A [`RemoteDisk`] that reconnects.
///
/// Its own errors are final answers. A failed flush is the last thing that ever succeeds or fails on its own merits: the kernel
/// will believe that what it wrote is either safe or reported lost, so everything but reads fails from then on.
pub(super) struct ReconnectingDisk<C: Connect> {
    connector: C,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    link: Mutex<Link<C::Disk>>,
    /// No request has succeeded on the current connection yet.
    is_unproven: AtomicBool,
    has_failed_flush: AtomicBool,
    on_give_up: Box<dyn Fn() + Send + Sync>,
}

struct Link<D> {
    disk: Option<Arc<D>>,
    /// Counts connections, so that a late failure of an old one does not drop its successor.
    generation: u64,
    /// When requests last stopped succeeding.
    lost_since: Option<Duration>,
    has_given_up: bool,
}

impl<C: Connect> ReconnectingDisk<C> {
    /// Wraps `disk`, the first connection. `on_give_up` is called once, when the daemon has been away for `timeout`.
    pub(super) fn new(
        connector: C,
        disk: C::Disk,
        clock: Arc<dyn Clock>,
        timeout: Duration,
        on_give_up: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        let link = Link { disk: Some(Arc::new(disk)), generation: 0, lost_since: None, has_given_up: false };
        Self {
            connector,
            clock,
            timeout,
            link: Mutex::new(link),
            is_unproven: AtomicBool::new(false),
            has_failed_flush: AtomicBool::new(false),
            on_give_up,
        }
    }

    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        self.perform(|disk| disk.read(offset, buffer))
    }

    pub(super) fn write(&self, offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.check_flushes()?;
        self.perform(|disk| disk.write(offset, data))
    }

    pub(super) fn zero(&self, offset: u64, len: u64, deallocate: bool) -> Result<(), Errno> {
        self.check_flushes()?;
        self.perform(|disk| disk.zero(offset, len, deallocate))
    }

    pub(super) fn flush(&self) -> Result<(), Errno> {
        self.check_flushes()?;
        self.perform(RemoteDisk::flush).inspect_err(|errno| {
            tracing::error!(%errno, "a flush failed: writes are refused until the volume is attached again");
            self.has_failed_flush.store(true, Ordering::Release);
        })
    }

    fn check_flushes(&self) -> Result<(), Errno> {
        if self.has_failed_flush.load(Ordering::Acquire) { Err(Errno::IO) } else { Ok(()) }
    }

    fn perform(&self, mut request: impl FnMut(&C::Disk) -> Result<(), RemoteError>) -> Result<(), Errno> {
        loop {
            let (generation, disk) = self.connection()?;
            match request(&disk) {
                // The daemon is going away: its successor will take the request.
                Err(RemoteError::Refused(Errno::SHUTDOWN)) => self.lost(generation, &Errno::SHUTDOWN.into()),
                Err(RemoteError::Lost(error)) => self.lost(generation, &error),
                answer => {
                    if self.is_unproven.swap(false, Ordering::AcqRel) {
                        self.proven(generation);
                    }
                    return match answer {
                        Err(RemoteError::Refused(errno)) => Err(errno),
                        _ => Ok(()),
                    };
                }
            }
        }
    }

    /// The current connection, made anew if need be. Other requests wait for the lock meanwhile.
    fn connection(&self) -> Result<(u64, Arc<C::Disk>), Errno> {
        let mut link = self.link.lock();
        loop {
            if link.has_given_up {
                return Err(Errno::IO);
            }
            if let Some(disk) = &link.disk {
                return Ok((link.generation, Arc::clone(disk)));
            }
            let now = self.clock.monotonic();
            let lost_since = *link.lost_since.get_or_insert(now);
            if now.saturating_sub(lost_since) >= self.timeout {
                tracing::error!("the daemon stayed away: all further I/O fails");
                link.has_given_up = true;
                (self.on_give_up)();
            } else {
                self.reconnect(&mut link);
            }
        }
    }

    fn reconnect(&self, link: &mut Link<C::Disk>) {
        match self.connector.connect() {
            Ok(disk) => {
                tracing::info!("connected to the daemon again");
                link.disk = Some(Arc::new(disk));
                link.generation += 1;
                self.is_unproven.store(true, Ordering::Release);
            }
            Err(error) => {
                tracing::debug!(%error, "the daemon does not answer yet");
                self.clock.sleep(RETRY_INTERVAL);
            }
        }
    }

    fn lost(&self, generation: u64, error: &io::Error) {
        let mut link = self.link.lock();
        if link.generation == generation && link.disk.take().is_some() {
            tracing::warn!(%error, "the connection to the daemon broke");
            link.lost_since.get_or_insert(self.clock.monotonic());
            // A daemon that accepts connections only to drop them must neither be hammered nor reset the timeout.
            if self.is_unproven.load(Ordering::Acquire) {
                self.clock.sleep(RETRY_INTERVAL);
            }
        }
    }

    fn proven(&self, generation: u64) {
        let mut link = self.link.lock();
        if link.generation == generation {
            link.lost_since = None;
        }
    }
}

#[cfg(test)]
mod tests;
