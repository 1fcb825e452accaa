//! A command that speaks with another `silt`: what its node says goes out, what the other end says comes in, piece by piece.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use anyhow::Context;
use indicatif::ProgressBar;
use siltstone::control::{Chunk, Error, Failure, Kind, Peer, Progress, Received};

use crate::progress;

/// Bytes taken at once at most.
const PIECE_BYTES: usize = 256 << 10;

/// Both directions.
pub(crate) struct Conversation<R, W> {
    reader: R,
    /// Until the other end listens no longer.
    writer: Option<W>,
    /// Bytes that came.
    heard: u64,
    ended: bool,
    pub(crate) bar: ProgressBar,
}

impl<R: Read, W: Write> Conversation<R, W> {
    pub(crate) fn new(reader: R, writer: W, bar: ProgressBar) -> Self {
        Self { reader, writer: Some(writer), heard: 0, ended: false, bar }
    }

    /// True once something has come.
    pub(crate) fn has_spoken(&self) -> bool {
        self.heard > 0
    }

    /// True once the other end has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }
}

impl<R: Read, W: Write> Peer for Conversation<R, W> {
    fn progress(&mut self, progress: &Progress) -> Result<(), Error> {
        progress::Watcher { bar: self.bar.clone() }.progress(progress)
    }

    fn send(&mut self, _offset: u64, data: &[u8]) -> Result<(), Error> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        match writer.write_all(data).and_then(|()| writer.flush()) {
            // What the other end said before it ended tells why, and is heard later.
            Err(error) if left(&error) => self.writer = None,
            other => other.map_err(|error| Failure::new(Kind::Io, format!("speaking to the other end: {error}")))?,
        }
        Ok(())
    }

    /// What there is, not as much as fits: the other end may wait for an answer to it.
    fn receive(&mut self) -> Result<Received, Error> {
        let mut data = vec![0; PIECE_BYTES];
        let len = loop {
            match self.reader.read(&mut data) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if left(&error) => break 0,
                other => {
                    break other.map_err(|error| Failure::new(Kind::Io, format!("hearing the other end: {error}")))?;
                }
            }
        };
        if len == 0 {
            self.ended = true;
            return Ok(Received::End { size_bytes: self.heard });
        }
        data.truncate(len);
        let offset = self.heard;
        self.heard += len as u64;
        Ok(Received::Chunk(Chunk { offset, data }))
    }
}

/// A socket whose other end left with something unheard is reset, and is at its end all the same.
fn left(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// A command whose stdin and stdout reach another `silt`.
pub(crate) struct Other {
    child: Child,
    pub(crate) conversation: Conversation<ChildStdout, ChildStdin>,
}

impl Other {
    /// Starts it; what it says on stderr is seen.
    pub(crate) fn start(mut command: Command, bar: ProgressBar) -> anyhow::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {}", command.get_program().display()))?;
        let reader = child.stdout.take().context("the command's stdout")?;
        let writer = child.stdin.take().context("the command's stdin")?;
        Ok(Self { child, conversation: Conversation::new(reader, writer, bar) })
    }

    /// Hangs up and waits until it has ended.
    pub(crate) fn hang_up(self) -> io::Result<ExitStatus> {
        let Self { mut child, conversation } = self;
        drop(conversation);
        child.wait()
    }

    /// Hangs up and ends it if it has not ended.
    pub(crate) fn stop(self) -> io::Result<()> {
        let Self { mut child, conversation } = self;
        drop(conversation);
        child.kill()?;
        child.wait().map(drop)
    }
}

#[cfg(test)]
mod tests;
