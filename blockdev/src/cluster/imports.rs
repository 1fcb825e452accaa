//! Volumes of the cluster whose content comes from a client of one of its nodes. Nobody sees one before it is complete.
//!
//! The node notes in its store which it has begun: what it could not remove when one was broken off, or as it ended itself, it has
//! removed later. One whose node is lost for good stays, shown as importing, until somebody removes it; and so does one whose node
//! ended, or lost touch with the cluster, just as it was made.

use std::sync::Arc;
use std::time::Duration;

use lsm_store::request::Write;
use net::config::state::{Command, Configuration, VolumeState};
use net::id::VolumeId;

use super::asking::Session;
use super::core::Core;
use super::export::records;
use super::volumes::{check_size, order};
use super::{Cluster, NewVolume, Result, VolumeReport};
use crate::name::VolumeName;
use crate::replica::operation::{Operation, Packer};

/// How long a volume may not be served until its import fails: meanwhile nobody hears whether the client is still there.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A volume of the cluster while its content comes. Dropped before [`ClusterImport::finish`], it takes the volume with it.
pub struct ClusterImport {
    cluster: Arc<Cluster>,
    session: Session,
    name: VolumeName,
    size_bytes: u64,
    is_open: bool,
}

impl Cluster {
    /// Makes a volume whose content comes by what is returned.
    ///
    /// # Errors
    /// As [`Cluster::create`].
    pub fn import(self: &Arc<Self>, volume: &NewVolume) -> Result<ClusterImport> {
        let id = self.make(volume, VolumeState::Importing)?;
        let import = ClusterImport {
            cluster: Arc::clone(self),
            session: Session::with_patience(self.core(), id, PATIENCE),
            name: volume.name.clone(),
            size_bytes: volume.size_bytes,
            is_open: true,
        };
        // It is in use as long as somebody brings its content.
        self.core.note_open(id);
        self.core.node.note_import(id)?;
        self.begin_log(id, volume)?;
        Ok(import)
    }
}

impl ClusterImport {
    fn core(&self) -> &Core {
        &self.session.core
    }

    /// Writes content, from any thread; on return every member holds it.
    ///
    /// # Errors
    /// As a client's write to a replicated volume; `Io` if the volume is not served for a minute; `Invalid` beyond the size that it was made
    /// with, and then nothing was written.
    pub fn write(&self, writes: &[Write<'_>]) -> lsm_store::Result<()> {
        for Write { offset, data } in writes {
            let (len, size) = (data.len() as u64, self.size_bytes);
            if offset.checked_add(len).is_none_or(|end| end > size) {
                return Err(lsm_store::Error::BeyondEnd { offset: *offset, len, size });
            }
        }
        let records = records(writes, &mut Packer::default());
        if records.is_empty() { Ok(()) } else { self.session.write(&records) }
    }

    /// Gives the volume its final size, makes the content durable on every member and opens it to everybody.
    ///
    /// # Errors
    /// As [`Self::write`]; `Invalid` if no volume has this size. The volume is gone then.
    pub fn finish(self, size_bytes: u64) -> Result<VolumeReport> {
        check_size(size_bytes)?;
        let volume = self.session.volume;
        if size_bytes == self.size_bytes {
            self.session.flush()?;
        } else {
            order(&self.session, Operation::Resize { size_bytes })?;
            self.core().propose(Command::ResizeVolume { volume, size_bytes })?;
        }
        self.open_to_everybody()
    }

    /// Makes the content durable on every member, freezes it as the volume's first snapshot, and opens the volume to everybody.
    ///
    /// # Errors
    /// As [`Self::write`]. The volume is gone then.
    pub(super) fn finish_frozen(self, snapshot: &VolumeName) -> Result<VolumeReport> {
        order(&self.session, Operation::Snapshot { name: snapshot.clone() })?;
        self.open_to_everybody()
    }

    fn open_to_everybody(mut self) -> Result<VolumeReport> {
        let volume = self.session.volume;
        self.core().propose(Command::FinishImport { volume })?;
        self.is_open = false;
        if let Err(error) = self.core().node.forget_import(volume) {
            // What is complete is not removed for the note.
            tracing::warn!(volume = %self.name, %error, "the note of an import stays");
        }
        self.cluster.volume_of(volume, &self.name)
    }
}

impl Drop for ClusterImport {
    fn drop(&mut self) {
        let (core, volume) = (self.core(), self.session.volume);
        core.note_closed(volume);
        if !self.is_open {
            return;
        }
        if let Err(error) =
            core.fresh_configuration().map_err(Into::into).and_then(|now| core.give_up_import(&now, volume))
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(volume = %self.name, error, "a broken import is removed later");
            core.left_imports.lock().push(volume);
        }
    }
}

impl Core {
    /// Removes imports that were broken off, as far as that could not be done at once.
    pub(super) fn settle_imports(&self) {
        let left = std::mem::take(&mut *self.left_imports.lock());
        if left.is_empty() {
            return;
        }
        let still_left: Vec<VolumeId> = match self.fresh_configuration() {
            Ok(now) => left.into_iter().filter(|import| self.give_up_import(&now, *import).is_err()).collect(),
            Err(_) => left,
        };
        self.left_imports.lock().extend(still_left);
    }

    fn give_up_import(&self, now: &Configuration, volume: VolumeId) -> Result<()> {
        if now.volume(volume).is_some_and(|volume| volume.state == VolumeState::Importing) {
            self.propose(Command::DeleteVolume { volume, with_snapshots: true })?;
        }
        Ok(self.node.forget_import(volume)?)
    }
}

#[cfg(test)]
mod tests;
