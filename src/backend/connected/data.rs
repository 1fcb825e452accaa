//! The content of a volume or snapshot over NBD. One connection, which all threads share: their requests overlap on it.

use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use blockdev::export::{StatusExtent, Zeroing};
use blockdev::frontend::nbd::Client;
use blockdev::frontend::nbd::client::ClientOptions;
use blockdev::frontend::nbd::wire::transmission::Request;
use blockdev::frontend::nbd::wire::{Command, CommandFlags, Cookie};
use blockdev::lsm_store::fingerprint::Fingerprint;
use blockdev::lsm_store::request::BlockIdentity;
use blockdev::name::ExportName;

use super::calls::Calls;
use super::prints;
use crate::backend::Data;
use crate::error::{Cause, Caused};
use crate::socket;

/// Bytes read by one request at most.
const READ_BYTES_MAX: usize = 4 << 20;

/// How long a daemon may take to let go of what is no longer open.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(5);

/// An NBD client of one export, and its name for what NBD cannot say.
pub(super) struct Remote {
    calls: Calls,
    name: ExportName,
    client: Client,
    stream: UnixStream,
}

/// Opens what a daemon exports under a name.
pub(super) fn open(calls: &Calls, name: &ExportName) -> Caused<Remote> {
    let dir = calls.dir();
    let unreachable = |source| Cause::NoDaemon { dir: dir.into(), source };
    let stream = socket::connect(&dir.join("nbd.sock")).map_err(unreachable)?;
    let socket = stream.try_clone().map_err(unreachable)?;
    let client = Client::from_socket(socket.into(), &name.to_string(), ClientOptions::default())?;
    Ok(Remote { calls: calls.clone(), name: name.clone(), client, stream })
}

impl Drop for Remote {
    /// Waits until the daemon has let go, so that what is dropped can be removed, as in one process. It hangs up after that.
    fn drop(&mut self) {
        let (flags, command) = (CommandFlags::NONE, Command::DISC);
        let goodbye = Request { flags, command, cookie: Cookie(0), offset: 0, len: 0 };
        let said = self.stream.write_all(&goodbye.encode());
        let waiting = said.and_then(|()| self.stream.set_read_timeout(Some(GOODBYE_TIMEOUT)));
        // A daemon that is gone has let go, and one that hangs is not waited for any longer.
        while waiting.is_ok() && self.stream.read(&mut [0; 512]).is_ok_and(|count| count > 0) {}
    }
}

impl Data for Remote {
    fn size_bytes(&self) -> u64 {
        self.client.size_bytes()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Caused<()> {
        let mut at = offset;
        for part in buf.chunks_mut(READ_BYTES_MAX) {
            part.copy_from_slice(&self.client.read(at, part.len())?);
            at += part.len() as u64;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Caused<()> {
        Ok(self.client.write(offset, data, false)?)
    }

    fn zero(&self, offset: u64, len: u64, zeroing: Zeroing) -> Caused<()> {
        Ok(self.client.zero(offset, len, zeroing, false)?)
    }

    fn flush(&self) -> Caused<()> {
        Ok(self.client.flush()?)
    }

    fn states(&self, offset: u64, len: u64) -> Caused<Vec<StatusExtent>> {
        Ok(self.client.block_status(offset, len)?)
    }

    fn fingerprints(&self, first_block: u64, block_count: u64) -> Caused<Vec<BlockIdentity>> {
        prints::page(&self.calls, &self.name, first_block, block_count)
    }

    fn fingerprints_of(&self, ranges: &[Range<u64>]) -> Caused<Vec<Option<Fingerprint>>> {
        prints::of_ranges(&self.calls, &self.name, ranges, self.size_bytes())
    }

    fn read_many(&self, ranges: &[Range<u64>]) -> Caused<Vec<Vec<u8>>> {
        let ranges: Vec<_> = ranges.iter().map(|range| (range.start, (range.end - range.start) as u32)).collect();
        Ok(self.client.read_many(&ranges)?)
    }

    fn write_known(&self, _first_block: u64, fingerprints: &[Fingerprint]) -> Caused<Vec<bool>> {
        // Neither NBD nor the control protocol can say it: all content goes to the daemon, which stores it once.
        Ok(vec![false; fingerprints.len()])
    }
}
