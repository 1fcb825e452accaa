//! How many files and sockets the process may have open, and how many of them clients get.
//!
//! Invariant: however many clients come, the store can open its files. One that cannot stops.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For the store's files, the journal, the logs of replicas and the control socket.
const KEPT: u64 = 832;

/// What is shared out even where the limit is below what is kept, so that there is a server at all.
const SHARED_MIN: u64 = 64;

/// Connections by NBD, one descriptor each, where there is no lack.
const NBD_MAX: u64 = 1024;

/// Connections of senders, two descriptors each, where there is no lack.
const SENDERS_MAX: u64 = 256;

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
        (self.shared() / 2).min(NBD_MAX) as usize
    }

    /// Connections of senders to hear at a time.
    pub(super) fn senders(self) -> usize {
        (self.shared() / 8).min(SENDERS_MAX) as usize
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
