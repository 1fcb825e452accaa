//! The other end of an exchange: another store, which is heard and spoken to by what the caller gives.

use std::io::{self, ErrorKind, Read, Write};

use super::PIECE_BYTES;
use crate::error::{Cause, Caused};

pub(crate) struct Other<'a> {
    from: &'a mut dyn Read,
    /// Until the other end listens no longer.
    to: Option<&'a mut dyn Write>,
}

impl<'a> Other<'a> {
    pub(crate) fn new(from: &'a mut dyn Read, to: &'a mut dyn Write) -> Self {
        Self { from, to: Some(to) }
    }

    /// Says something. If the other end listens no longer, what it said before it ended tells why: that is heard later.
    pub(crate) fn say(&mut self, data: &[u8]) -> Caused<()> {
        let Some(to) = &mut self.to else { return Ok(()) };
        match to.write_all(data).and_then(|()| to.flush()) {
            Err(error) if has_ended(&error) => self.to = None,
            said => said.map_err(Cause::Output)?,
        }
        Ok(())
    }

    /// Waits for the next that is said, which is nothing once the other end has ended. What there is, not as much as fits: the
    /// other end may wait for an answer to it.
    pub(crate) fn hear(&mut self) -> Caused<Vec<u8>> {
        let mut data = vec![0; PIECE_BYTES / 4];
        loop {
            match self.from.read(&mut data) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if has_ended(&error) => return Ok(Vec::new()),
                heard => {
                    data.truncate(heard.map_err(Cause::Input)?);
                    return Ok(data);
                }
            }
        }
    }
}

/// A socket whose other end left with something unheard is reset, and is at its end all the same.
fn has_ended(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests;
