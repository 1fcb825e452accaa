//! A store, open: its volumes and snapshots by name.

mod objects;
mod streams;

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use blockdev::name::{ExportName, InvalidName, SnapshotName, VolumeName};
use blockdev::node::{NodeError, Shrink, SnapshotLoss};

use crate::backend::Backend;
#[cfg(feature = "connect")]
use crate::backend::connected;
use crate::error::{Cause, Caused, ErrorKind, Result};
use crate::options::Options;
use crate::progress::Watch;
use crate::scrub::ScrubStatus;
use crate::snapshot::{Snapshot, SnapshotInfo};
use crate::space::{Collected, Space, Usage};
use crate::view::View;
use crate::volume::{Volume, VolumeInfo, VolumeOptions};

/// An open store: embedded, with the engine in this process, or connected to the daemon that has it. Nothing but
/// [`Store::connect`] and the overhead of a socket tells them apart.
///
/// Clones are the same store, and all methods may be called from many threads at once. An embedded store ends with
/// [`Store::close`]; if all its handles are dropped without that, it ends as in a crash, which loses nothing that was flushed
/// and costs the next opening the time to replay the journal.
#[derive(Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
}

fn parse<N: FromStr<Err = InvalidName>>(name: &str) -> Caused<N> {
    Ok(name.parse()?)
}

impl Store {
    pub(crate) fn over(backend: impl Backend + 'static) -> Self {
        Self { backend: Arc::new(backend) }
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.backend, &other.backend)
    }

    /// Makes a store in `dir`, which is made too if need be, and opens it. [`Options`] has more to choose.
    ///
    /// # Errors
    /// Those of [`Options::create`].
    pub fn create(dir: impl AsRef<Path>) -> Result<Self> {
        Options::new().create(dir)
    }

    /// Opens the store in `dir`. [`Options`] has more to choose.
    ///
    /// # Errors
    /// Those of [`Options::open`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Options::new().open(dir)
    }

    /// Opens the store in `dir`; makes it first if there is none.
    ///
    /// # Errors
    /// Those of [`Options::open_or_create`].
    pub fn open_or_create(dir: impl AsRef<Path>) -> Result<Self> {
        Options::new().open_or_create(dir)
    }

    /// Connects to the daemon that serves `dir` (`silt serve --data dir`), by the sockets in it.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) if no daemon answers: [`Store::open`] may work then.
    /// [`Unsupported`](crate::ErrorKind::Unsupported) if it is too old or too new.
    #[cfg(feature = "connect")]
    pub fn connect(dir: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::over(connected::connect(dir.as_ref())?))
    }

    /// Connects to the daemon that serves `dir`, or opens the store if none does. [`Options`] has more to choose.
    ///
    /// # Errors
    /// Those of [`Options::connect_or_open`].
    #[cfg(feature = "connect")]
    pub fn connect_or_open(dir: impl AsRef<Path>) -> Result<Self> {
        Options::new().connect_or_open(dir)
    }

    /// True if it was opened for reading only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.backend.is_read_only()
    }

    /// Ends an embedded store in order: what was written goes into segments, and the journal is removed. What is still open of
    /// it fails from then on with [`Unavailable`](crate::ErrorKind::Unavailable), but for reads, which may still be answered. Of a
    /// connected store it lets go of idle connections; the daemon goes on.
    ///
    /// # Errors
    /// [`Stopped`](crate::ErrorKind::Stopped) if the disk failed, now or before.
    pub fn close(&self) -> Result<()> {
        Ok(self.backend.close()?)
    }

    /// Makes a volume, all hole, and opens it.
    ///
    /// # Errors
    /// [`Exists`](crate::ErrorKind::Exists); [`Invalid`](crate::ErrorKind::Invalid) for a name or size that cannot be one;
    /// [`OutOfSpace`](crate::ErrorKind::OutOfSpace) if there is no room for it, or for what it reserves;
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly).
    pub fn create_volume(&self, name: &str, options: &VolumeOptions) -> Result<Volume> {
        let name: VolumeName = parse(name)?;
        let info = self.backend.create_volume(&name, options)?;
        self.opened(name, info.id)
    }

    /// Opens a volume.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Invalid`](crate::ErrorKind::Invalid) if it is not a volume's name,
    /// [`Busy`](crate::ErrorKind::Busy) while it is being imported.
    pub fn volume(&self, name: &str) -> Result<Volume> {
        let name: VolumeName = parse(name)?;
        let id = self.ready(&name)?;
        self.opened(name, id)
    }

    /// The id of a volume that can be opened.
    fn ready(&self, name: &VolumeName) -> Caused<u64> {
        let info = self.backend.volume(name)?;
        if !info.is_ready {
            return Err(Cause::Node(NodeError::Importing(name.clone())));
        }
        Ok(info.id)
    }

    /// Opens a volume; makes it first if there is none. One that exists keeps the settings it has, its size too.
    ///
    /// # Errors
    /// Those of [`Store::volume`] and [`Store::create_volume`].
    pub fn open_or_create_volume(&self, name: &str, options: &VolumeOptions) -> Result<Volume> {
        match self.volume(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => return opened,
        }
        match self.create_volume(name, options) {
            // Somebody else was quicker.
            Err(error) if error.kind() == ErrorKind::Exists => self.volume(name),
            created => created,
        }
    }

    fn opened(&self, name: VolumeName, id: u64) -> Result<Volume> {
        Ok(Volume::new(View::open(self, name.into(), id)?))
    }

    /// Opens a snapshot, `VOLUME@NAME`.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Invalid`](crate::ErrorKind::Invalid) if it is not a snapshot's name.
    pub fn snapshot(&self, name: &str) -> Result<Snapshot> {
        let name: SnapshotName = parse(name)?;
        let id = self.backend.snapshot(&name)?.id;
        self.opened_snapshot(name, id)
    }

    /// Opens a volume by its name, or a snapshot by `VOLUME@NAME`, to read.
    ///
    /// # Errors
    /// Those of [`Store::volume`] and [`Store::snapshot`].
    pub fn view(&self, name: &str) -> Result<View> {
        let name: ExportName = parse(name)?;
        let id = match &name {
            ExportName::Volume(volume) => self.ready(volume)?,
            ExportName::Snapshot(snapshot) => self.backend.snapshot(snapshot)?.id,
        };
        Ok(View::open(self, name, id)?)
    }

    fn opened_snapshot(&self, name: SnapshotName, id: u64) -> Result<Snapshot> {
        Ok(Snapshot::new(View::open(self, ExportName::Snapshot(name), id)?))
    }

    /// All volumes, by name.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable).
    pub fn volumes(&self) -> Result<Vec<VolumeInfo>> {
        Ok(self.backend.volumes()?)
    }

    /// A volume, as it is now, without opening it.
    ///
    /// # Errors
    /// As [`Store::volume`].
    pub fn volume_info(&self, name: &str) -> Result<VolumeInfo> {
        Ok(self.backend.volume(&parse(name)?)?)
    }

    /// The snapshots of a volume, from the oldest.
    ///
    /// # Errors
    /// As [`Store::volume`].
    pub fn snapshots(&self, volume: &str) -> Result<Vec<SnapshotInfo>> {
        Ok(self.backend.snapshots(Some(&parse(volume)?))?)
    }

    /// All snapshots, by volume, then from the oldest.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable).
    pub fn all_snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        Ok(self.backend.snapshots(None)?)
    }

    /// Freezes what a volume holds now as the snapshot `VOLUME@NAME`, and opens it.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Exists`](crate::ErrorKind::Exists), [`Invalid`](crate::ErrorKind::Invalid),
    /// [`OutOfSpace`](crate::ErrorKind::OutOfSpace), [`ReadOnly`](crate::ErrorKind::ReadOnly).
    pub fn create_snapshot(&self, name: &str) -> Result<Snapshot> {
        let name: SnapshotName = parse(name)?;
        let made = self.backend.create_snapshots(std::slice::from_ref(&name))?;
        let id = made.first().map_or(0, |info| info.id);
        self.opened_snapshot(name, id)
    }

    /// Freezes what up to 64 volumes hold, all at the same moment, each named once as `VOLUME@NAME`. Makes all or none.
    ///
    /// # Errors
    /// As [`Store::create_snapshot`].
    pub fn create_snapshots(&self, names: &[&str]) -> Result<Vec<SnapshotInfo>> {
        let names = names.iter().map(|name| parse(name)).collect::<Caused<Vec<SnapshotName>>>()?;
        Ok(self.backend.create_snapshots(&names)?)
    }

    /// Gives a snapshot another name among those of its volume; `to` is without the volume.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Exists`](crate::ErrorKind::Exists), [`Busy`](crate::ErrorKind::Busy) while it
    /// is open.
    pub fn rename_snapshot(&self, name: &str, to: &str) -> Result<SnapshotInfo> {
        Ok(self.backend.rename_snapshot(&parse(name)?, &parse(to)?)?)
    }

    /// Removes a snapshot. Its volume and clones of it stay as they are.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Busy`](crate::ErrorKind::Busy) while it is open,
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly).
    pub fn remove_snapshot(&self, name: &str) -> Result<()> {
        Ok(self.backend.remove_snapshot(&parse(name)?)?)
    }

    /// Makes a volume that holds what `of`, a volume or a `VOLUME@NAME`, holds now, and opens it. Copies nothing, and neither needs
    /// the other afterwards.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Exists`](crate::ErrorKind::Exists), [`Invalid`](crate::ErrorKind::Invalid),
    /// [`OutOfSpace`](crate::ErrorKind::OutOfSpace), [`ReadOnly`](crate::ErrorKind::ReadOnly).
    pub fn clone_volume(&self, of: &str, name: &str) -> Result<Volume> {
        let (of, name): (ExportName, VolumeName) = (parse(of)?, parse(name)?);
        let info = self.backend.clone_volume(&of, &name)?;
        self.opened(name, info.id)
    }

    /// Puts a volume back to what its snapshot `VOLUME@NAME` holds, its size too. What was written since is lost.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Busy`](crate::ErrorKind::Busy) while anybody has the volume open,
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly).
    pub fn roll_back(&self, to: &str) -> Result<VolumeInfo> {
        Ok(self.backend.roll_back(&parse(to)?)?)
    }

    /// Changes the size of a volume that is not open here; see [`Volume::resize`](crate::Volume::resize).
    ///
    /// # Errors
    /// As there.
    pub fn resize_volume(&self, name: &str, size_bytes: u64, shrink: Shrink) -> Result<VolumeInfo> {
        Ok(self.backend.resize_volume(&parse(name)?, size_bytes, shrink)?)
    }

    /// Removes a volume for good, not into the trash. Clones of it stay as they are.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound); [`Busy`](crate::ErrorKind::Busy) while it is open;
    /// [`Invalid`](crate::ErrorKind::Invalid) if it has snapshots; [`ReadOnly`](crate::ErrorKind::ReadOnly).
    pub fn remove_volume(&self, name: &str) -> Result<()> {
        Ok(self.backend.remove_volume(&parse(name)?, SnapshotLoss::Refused)?)
    }

    /// Removes a volume for good with all its snapshots.
    ///
    /// # Errors
    /// As [`Store::remove_volume`]; [`Busy`](crate::ErrorKind::Busy) also while one of the snapshots is open.
    pub fn remove_volume_with_snapshots(&self, name: &str) -> Result<()> {
        Ok(self.backend.remove_volume(&parse(name)?, SnapshotLoss::Allowed)?)
    }

    /// How full the store is. Costs next to nothing.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable).
    pub fn space(&self) -> Result<Space> {
        Ok(self.backend.space()?)
    }

    /// What each volume and snapshot holds, shares, and gives back when it is removed. Reads the whole map, of which 3.7 s
    /// per TiB is the order; what has not been flushed into segments yet is not in it.
    ///
    /// # Errors
    /// [`Cancelled`](crate::ErrorKind::Cancelled), [`Corrupt`](crate::ErrorKind::Corrupt), [`Io`](crate::ErrorKind::Io),
    /// [`Unavailable`](crate::ErrorKind::Unavailable).
    pub fn usage(&self, watch: Watch<'_>) -> Result<Usage> {
        Ok(self.backend.usage(watch)?)
    }

    /// Gives back the room of what nobody sees any more, until nothing is worth it. The store does so by itself as need be;
    /// with `now` also where little is dead.
    ///
    /// # Errors
    /// [`OutOfSpace`](crate::ErrorKind::OutOfSpace) if there is no room to move what lives: nothing is lost.
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly), [`Corrupt`](crate::ErrorKind::Corrupt), [`Stopped`](crate::ErrorKind::Stopped).
    pub fn collect(&self, now: bool) -> Result<Collected> {
        Ok(self.backend.collect(now)?)
    }

    /// Begins to verify all that is stored, in the background, unless that is under way already.
    ///
    /// # Errors
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly), [`Stopped`](crate::ErrorKind::Stopped).
    pub fn start_scrub(&self) -> Result<()> {
        Ok(self.backend.start_scrub()?)
    }

    /// How far that has come, and what damage is known.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable).
    pub fn scrub_status(&self) -> Result<ScrubStatus> {
        Ok(self.backend.scrub_status()?)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}
