//! How many files and sockets the process may have open, and how many of them clients get.
//!
//! Invariant: however many clients come, the store can open its files. One that cannot stops.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For the store's files (256 segments, 256 runs, 256 more segments that are collected), the journal, the logs of some dozens of
/// replicas, and the control socket.
const KEPT: u64 = 1152;

/// What is shared out even where the limit is below what is kept, so that there is a server at all.
const SHARED_MIN: u64 = 64;

/// Connections by NBD, and what each takes: its socket, a queue for reads, and with a replicated volume what wakes it.
const NBD_MAX: u64 = 1024;
const NBD_EACH: u64 = 4;

/// Connections of senders, and what each takes.
const SENDERS_MAX: u64 = 256;
const SENDER_EACH: u64 = 2;

/// What the process may have open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Descriptors {
    max: u64,
}

impl Descriptors {
    /// Raises the limit as far as the process may.
    pub(super) fn raise() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let highest = Rlimit { current: limit.maximum, maximum: limit.maximum };
        let reached = match setrlimit(Resource::Nofile, highest) {
            Ok(()) => limit.maximum,
            Err(error) => {
                tracing::warn!(%error, "the limit of open files could not be raised");
                limit.current
            }
        };
        let descriptors = Self { max: reached.unwrap_or(u64::MAX) };
        let (nbd_connections, senders) = (descriptors.nbd_connections(), descriptors.senders());
        tracing::info!(open_files = descriptors.max, nbd_connections, senders, "the limit of open files");
        descriptors
    }

    /// Connections to serve by NBD at a time.
    pub(super) fn nbd_connections(self) -> usize {
        (self.shared() / 4 * 3 / NBD_EACH).clamp(1, NBD_MAX) as usize
    }

    /// Connections of senders to hear at a time.
    pub(super) fn senders(self) -> usize {
        (self.shared() / 8 / SENDER_EACH).clamp(1, SENDERS_MAX) as usize
    }

    /// What is to be said of it.
    pub(super) fn warning(self) -> Option<String> {
        let served = self.nbd_connections();
        (served < NBD_MAX as usize).then(|| {
            format!(
                "the limit of open files is {}, so at most {served} clients are served at a time: raise the hard limit \
                 (LimitNOFILE= of systemd, or ulimit -Hn)",
                self.max
            )
        })
    }

    fn shared(self) -> u64 {
        self.max.saturating_sub(KEPT).max(SHARED_MIN)
    }
}

#[cfg(test)]
mod tests;
