//! How the daemon is told to stop: SIGTERM or SIGINT stop it cleanly, a second SIGINT at once.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// What a shell says of a process that SIGINT ended.
const KILLED_BY_SIGINT: i32 = 130;

/// Signals caught since this was made.
pub(crate) struct Signals {
    caught: UnixStream,
}

impl Signals {
    /// Catches signals from now on.
    pub(crate) fn catch() -> io::Result<Self> {
        let (caught, on_signal) = UnixStream::pair()?;
        let stopping = Arc::new(AtomicBool::new(false));
        // In this order: the first SIGINT finds the flag down and then raises it, the second finds it up.
        flag::register_conditional_shutdown(SIGINT, KILLED_BY_SIGINT, Arc::clone(&stopping))?;
        flag::register(SIGINT, stopping)?;
        low_level::pipe::register(SIGINT, on_signal.try_clone()?)?;
        low_level::pipe::register(SIGTERM, on_signal)?;
        Ok(Self { caught })
    }

    /// Waits for the first.
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        self.caught.read_exact(&mut [0])
    }
}
