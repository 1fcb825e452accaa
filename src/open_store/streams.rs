//! Snapshots that come from elsewhere.

use std::io::{Read, Write};

use super::{Store, parse};
use crate::backend::Other;
use crate::error::Result;
use crate::progress::Watch;
use crate::streams::{ReceiveOptions, Received, ReceptionInfo};

impl Store {
    /// Receives what [`Snapshot::send`](crate::Snapshot::send) or `silt send` wrote, into the volume `name`. A stream without a base
    /// makes it; any other goes on from a snapshot of the volume, and afterwards the volume holds what the new snapshot does.
    ///
    /// Every block is compared with its fingerprint and the whole with the sender's root before anybody sees anything of it: it is
    /// there as a whole or not at all. `watch` hears how far the content has come, and that of proofs before and after. Once a
    /// daemon has all of the stream it is too late to end that.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("siltstone-receive-{}", std::process::id()));
    /// # let store = siltstone::Options::new().memory_bytes(128 << 20).create(&dir)?;
    /// use siltstone::{ReceiveOptions, VolumeOptions, unwatched};
    ///
    /// let disk = store.create_volume("disk", &VolumeOptions::new(1 << 20))?;
    /// disk.write_at(0, b"to be copied")?;
    /// let mut stream = Vec::new();
    /// let sent = disk.snapshot("monday")?.send(None, &mut stream, &mut unwatched)?;
    ///
    /// let received = store.receive("copy", &ReceiveOptions::new(), &stream[..], &mut unwatched)?;
    /// assert_eq!((received.name.as_str(), received.root), ("copy@monday", sent.root));
    /// # drop(disk);
    /// # store.close()?;
    /// # std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), siltstone::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if the stream is damaged or not whole; [`Unsupported`](crate::ErrorKind::Unsupported) if
    /// it is newer; [`NotFound`](crate::ErrorKind::NotFound) if what it goes on from is not here: receive that first, or a stream
    /// without a base. [`Exists`](crate::ErrorKind::Exists) if it has no base and there is a volume of the name, or the volume has a
    /// snapshot of the new one's name; [`Busy`](crate::ErrorKind::Busy) if it goes on and the volume is open.
    /// [`Invalid`](crate::ErrorKind::Invalid) if it is no stream, if the base holds something else here, or if the volume was changed
    /// since, unless [`force`](ReceiveOptions::force) lets that be lost. [`Io`](crate::ErrorKind::Io) if `from` fails, with its
    /// error as the source; [`Cancelled`](crate::ErrorKind::Cancelled), [`OutOfSpace`](crate::ErrorKind::OutOfSpace),
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly), [`Stopped`](crate::ErrorKind::Stopped),
    /// [`Unavailable`](crate::ErrorKind::Unavailable).
    pub fn receive(
        &self,
        name: &str,
        options: &ReceiveOptions,
        mut from: impl Read,
        watch: Watch<'_>,
    ) -> Result<Received> {
        Ok(self.backend.receive(&parse(name)?, options, &mut from, watch)?)
    }

    /// Takes a snapshot that [`Snapshot::offer`](crate::Snapshot::offer), `silt send --to` or `silt send --via` offers into the volume
    /// `name`, and asks only for the blocks that this store lacks. As [`Store::receive`], but that a snapshot which is offered without
    /// a base may also go on from the newest snapshot of a volume that is there.
    ///
    /// `from` gives what there is and does not wait for more, as a socket or a pipe does.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("siltstone-accept-{}", std::process::id()));
    /// # let store = siltstone::Options::new().memory_bytes(128 << 20).create(&dir)?;
    /// use std::os::unix::net::UnixStream;
    ///
    /// use siltstone::{ReceiveOptions, VolumeOptions, unwatched};
    ///
    /// let disk = store.create_volume("disk", &VolumeOptions::new(1 << 20))?;
    /// disk.write_at(0, b"to be copied")?;
    /// let monday = disk.snapshot("monday")?;
    ///
    /// // Here both ends are in one process; a process at the other end of a pipe or of ssh is as good.
    /// let (ours, theirs) = UnixStream::pair().unwrap();
    /// let other = store.clone();
    /// let accepting = std::thread::spawn(move || {
    ///     other.accept("copy", &ReceiveOptions::new(), &theirs, &theirs, &mut unwatched)
    /// });
    /// let sent = monday.offer(None, &ours, &ours, &mut unwatched)?;
    /// let received = accepting.join().unwrap()?;
    /// assert_eq!((received.name.as_str(), received.root), ("copy@monday", sent.root));
    /// # drop((disk, monday));
    /// # store.close()?;
    /// # std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), siltstone::Error>(())
    /// ```
    ///
    /// What came stays for 7 days when it is broken off, by either side or a crash. Nobody sees it, but the next that is accepted into
    /// the volume, on the same snapshot of it and of the same size, is asked only for the rest. It does not stay if it may be wrong
    /// or found no room. [`Store::receptions`] lists it, and [`Store::remove_reception`] removes it.
    ///
    /// # Errors
    /// As [`Store::receive`], [`Io`](crate::ErrorKind::Io) if `to` fails before all has come, and [`Busy`](crate::ErrorKind::Busy)
    /// while another snapshot is accepted into the volume. The other end is told why, unless that cannot be said: drop `from` and
    /// `to`, or it waits. Once the snapshot is there the result is `Ok`, also if the other end can no longer be told.
    pub fn accept(
        &self,
        name: &str,
        options: &ReceiveOptions,
        mut from: impl Read,
        mut to: impl Write,
        watch: Watch<'_>,
    ) -> Result<Received> {
        Ok(self.backend.accept(&parse(name)?, options, &mut Other::new(&mut from, &mut to), watch)?)
    }

    /// The snapshots that are being accepted, and what is kept of those that were broken off, by the volume they are for.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable).
    pub fn receptions(&self) -> Result<Vec<ReceptionInfo>> {
        Ok(self.backend.receptions()?)
    }

    /// Removes what was broken off on its way into the volume `name`.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound); [`Busy`](crate::ErrorKind::Busy) while it comes;
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly).
    pub fn remove_reception(&self, name: &str) -> Result<()> {
        Ok(self.backend.remove_reception(&parse(name)?)?)
    }
}
