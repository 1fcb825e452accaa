//! Snapshots: what volumes held at one moment.

use std::io::{Read, Write};
use std::ops::Deref;
use std::time::{Duration, SystemTime};

use blockdev::name::SnapshotName;

use crate::backend::Other;
use crate::error::{Cause, Caused, Result};
use crate::progress::Watch;
use crate::streams::Sent;
use crate::view::View;

/// A snapshot as lists show it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// Its name, `VOLUME@NAME`.
    pub name: String,
    /// The volume it is of.
    pub volume: String,
    /// Its id, never used for another volume or snapshot of the store. Ids grow, so a later snapshot has a larger one. Snapshots of
    /// replicated volumes have none: theirs is 0.
    pub id: u64,
    /// The size in bytes that the volume had.
    pub size_bytes: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// How many have it open now.
    pub connections: u64,
}

impl SnapshotInfo {
    /// When it was made.
    #[must_use]
    pub fn created(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.created_ms)
    }
}

/// An open snapshot, to read; all it can do is in [`View`]. As long as it is open it is neither removed nor renamed.
#[derive(Debug)]
pub struct Snapshot {
    view: View,
}

impl Snapshot {
    pub(crate) fn new(view: View) -> Self {
        Self { view }
    }

    fn snapshot_name(&self) -> &SnapshotName {
        self.view.snapshot_name().expect("a snapshot is opened by a snapshot's name")
    }

    /// Writes it to `to` as a stream: all of it, or what differs from `base`, a snapshot or clone of one family. Blocks go as they
    /// are stored, compressed, each with its fingerprint. [`Store::receive`](crate::Store::receive) and `silt recv` take it, in
    /// any store, where a snapshot of the base's name holds what the base does.
    ///
    /// `watch` hears how far the content has come, and with a base that of two passes over the map, before and after.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("siltstone-send-{}", std::process::id()));
    /// # let store = siltstone::Options::new().memory_bytes(128 << 20).create(&dir)?;
    /// use siltstone::{ReceiveOptions, VolumeOptions, unwatched};
    ///
    /// let disk = store.create_volume("disk", &VolumeOptions::new(1 << 30))?;
    /// disk.write_at(0, &[1; 4096])?;
    /// let monday = disk.snapshot("monday")?;
    /// disk.write_at(1 << 20, &[2; 4096])?;
    /// let tuesday = disk.snapshot("tuesday")?;
    ///
    /// let (mut all, mut rest) = (Vec::new(), Vec::new());
    /// monday.send(None, &mut all, &mut unwatched)?;
    /// let sent = tuesday.send(Some(&monday), &mut rest, &mut unwatched)?;
    /// assert_eq!(sent.data_bytes, 4096, "the second time only what is new goes");
    /// # drop(disk);
    /// # store.close()?;
    /// # std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), siltstone::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if the two share no past, or are not of one store; [`Io`](crate::ErrorKind::Io) if
    /// `to` fails, with its error as the source; [`Cancelled`](crate::ErrorKind::Cancelled),
    /// [`Corrupt`](crate::ErrorKind::Corrupt), [`Unavailable`](crate::ErrorKind::Unavailable). What was written is no whole stream
    /// then, and is not received as one.
    pub fn send(&self, base: Option<&Self>, mut to: impl Write, watch: Watch<'_>) -> Result<Sent> {
        let base = self.base_name(base)?;
        Ok(self.store().backend().send(self.snapshot_name(), base, &mut to, watch)?)
    }

    /// Gives it to another store, of the blocks only those which that lacks: `from` and `to` lead to
    /// [`Store::accept`](crate::Store::accept) or `silt recv --serve`. As [`Snapshot::send`] otherwise, and it returns when the other
    /// store has proved all of it.
    ///
    /// `from` gives what there is and does not wait for more, as a socket or a pipe does.
    ///
    /// # Errors
    /// As [`Snapshot::send`]; [`Io`](crate::ErrorKind::Io) if `from` or `to` fails or the other store is gone, which may have all of
    /// it then: offering it again tells. If the other store fails, of the kind of its failure. The other store learns of a failure here
    /// by the end of what it hears: drop `from` and `to`.
    pub fn offer(
        &self,
        base: Option<&Self>,
        mut from: impl Read,
        mut to: impl Write,
        watch: Watch<'_>,
    ) -> Result<Sent> {
        let (base, mut other) = (self.base_name(base)?, Other::new(&mut from, &mut to));
        Ok(self.store().backend().offer(self.snapshot_name(), base, &mut other, watch)?)
    }

    fn base_name<'a>(&self, base: Option<&'a Self>) -> Caused<Option<&'a SnapshotName>> {
        match base {
            Some(base) if !self.store().is_same(base.store()) => {
                Err(Cause::OtherStore { earlier: base.name().to_owned(), later: self.name().to_owned() })
            }
            base => Ok(base.map(Self::snapshot_name)),
        }
    }
}

impl From<Snapshot> for View {
    fn from(snapshot: Snapshot) -> Self {
        snapshot.view
    }
}

impl Deref for Snapshot {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}
