//! Progress bars of long commands: on stderr, only where that is a terminal and nobody said otherwise.

use indicatif::{ProgressBar, ProgressStyle};
use siltstone::control::{Error, NoTransfer, Peer, Progress, Received};

use crate::args::Global;

/// A bar in bytes; `total_bytes` may be unknown.
pub(crate) fn bytes(global: &Global, what: &str, total_bytes: Option<u64>) -> ProgressBar {
    let shape = match total_bytes {
        Some(_) => "{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
        None => "{msg} {spinner} {binary_bytes} {binary_bytes_per_sec}",
    };
    start(global, what, total_bytes, shape)
}

/// A bar in steps.
pub(crate) fn steps(global: &Global, what: &str) -> ProgressBar {
    start(global, what, Some(0), "{msg} [{bar:30}] {pos}/{len} {eta}")
}

fn start(global: &Global, what: &str, total: Option<u64>, shape: &str) -> ProgressBar {
    if global.no_progress || global.quiet || global.json {
        return ProgressBar::hidden();
    }
    // Drawn to stderr; hidden by itself where that is not a terminal.
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let style = ProgressStyle::with_template(shape).expect("the templates above are valid");
    bar.with_style(style.progress_chars("=> ")).with_message(what.to_owned())
}

/// Shows on a bar what a node says of its progress.
pub(crate) struct Watcher {
    pub(crate) bar: ProgressBar,
}

impl Peer for Watcher {
    fn progress(&mut self, progress: &Progress) -> Result<(), Error> {
        self.bar.set_message(progress.what.clone());
        if let Some(total) = progress.total {
            self.bar.set_length(total);
        }
        self.bar.set_position(progress.done);
        Ok(())
    }

    fn send(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        NoTransfer.send(offset, data)
    }

    fn receive(&mut self) -> Result<Received, Error> {
        NoTransfer.receive()
    }
}
