//! Snapshots that come from senders which can be asked again. What came stays when it is broken off, unseen and for a while, and the
//! next that comes into the same volume goes on with it if it is fit for that.
//!
//! A reception's record and its volume come and go in one commit. Of what it holds nothing is believed: whoever goes on with it
//! compares all that the sender names, and proves the root.

use std::sync::Arc;

use lsm_store::id::VolumeId;
use lsm_store::store::{Volume, VolumeSpec};

use super::claim::Claim;
use super::snapshot::find;
use super::uploads::BROKEN_OFF_KEEP_MS;
use super::{Node, NodeError, Result, refuse_if_taken};
use crate::catalog::{self, Catalog, ReceptionEntry, SentSnapshot};
use crate::name::{SnapshotName, VolumeName};

/// What is about to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coming<'a> {
    /// The volume that it is for.
    pub(crate) name: &'a VolumeName,
    /// The snapshot of that which it goes on from; without it the volume is a new one.
    pub(crate) base: Option<&'a VolumeName>,
    /// What the volume is to be; a base brings its own codec.
    pub(crate) spec: VolumeSpec,
    /// What the sender sends.
    pub(crate) sent: SentSnapshot,
    /// The sender names all blocks, so it does not matter of which snapshot those are that came before.
    pub(crate) is_full: bool,
}

/// A snapshot that comes. When it is dropped what came stays, as after a crash.
pub(crate) struct Reception {
    node: Arc<Node>,
    volume: Volume,
    claim: Claim<VolumeName>,
}

impl Node {
    /// Goes on with what was broken off, if that is fit for what is coming, or begins without it.
    ///
    /// # Errors
    /// [`NodeError::ReceptionUnderWay`]; [`NodeError::NameTaken`] without a base, [`NodeError::NoSuchSnapshot`] with one.
    pub(crate) fn receive_resumably(self: &Arc<Self>, coming: &Coming<'_>) -> Result<Reception> {
        let claim = self.claim_reception(coming.name)?;
        let id = match self.go_on(coming)? {
            Some(id) => id,
            None => self.begin_reception(coming)?,
        };
        let reception = Reception { node: Arc::clone(self), volume: self.store.volume(id)?, claim };
        let size_bytes = coming.spec.size_bytes;
        if reception.volume.size_bytes() != size_bytes
            && let Err(error) = self.store.resize_volume(id, size_bytes)
        {
            reception.remove();
            return Err(error.into());
        }
        Ok(reception)
    }

    fn claim_reception(&self, name: &VolumeName) -> Result<Claim<VolumeName>> {
        self.receiving.claim(name).ok_or_else(|| NodeError::ReceptionUnderWay(name.clone()))
    }

    /// The volume of what was broken off, if it is fit for what is coming.
    fn go_on(&self, coming: &Coming<'_>) -> Result<Option<VolumeId>> {
        let mut catalog = self.catalog.write();
        let base = base_id(&catalog, coming)?;
        let Some(kept) = catalog.reception(coming.name).copied() else { return Ok(None) };
        let is_same = kept.sent == Some(coming.sent);
        let is_of_codec = base.is_some() || self.store.volume(kept.id)?.codec() == coming.spec.codec;
        let is_in_time = kept.expires_ms > self.wall_ms();
        let is_there = kept.base == base && kept.size_bytes == coming.spec.size_bytes;
        if !(is_there && is_in_time && is_of_codec && (coming.is_full || is_same)) {
            return Ok(None);
        }
        let entry = ReceptionEntry { sent: kept.sent.filter(|_| is_same), ..self.entry_of(coming, kept.id, base) };
        self.store.put_records(vec![catalog::reception_record(coming.name, &entry)])?;
        catalog.insert_reception(coming.name.clone(), entry);
        Ok(Some(kept.id))
    }

    fn begin_reception(&self, coming: &Coming<'_>) -> Result<VolumeId> {
        self.drop_reception(coming.name)?;
        let mut catalog = self.catalog.write();
        let base = base_id(&catalog, coming)?;
        let record = |id| vec![catalog::reception_record(coming.name, &self.entry_of(coming, id, base))];
        let id = match base {
            None => self.store.create_volume(coming.spec, record)?,
            Some(base) => self.store.clone_volume(base, record)?,
        };
        catalog.insert_reception(coming.name.clone(), self.entry_of(coming, id, base));
        Ok(id)
    }

    fn entry_of(&self, coming: &Coming<'_>, id: VolumeId, base: Option<VolumeId>) -> ReceptionEntry {
        let began_ms = self.wall_ms();
        let expires_ms = began_ms.saturating_add(BROKEN_OFF_KEEP_MS);
        // An id that no store gives is not known again.
        let sent = Some(coming.sent).filter(|sent| sent.id.0 != 0);
        ReceptionEntry { id, base, size_bytes: coming.spec.size_bytes, began_ms, expires_ms, sent }
    }

    /// The snapshots that come from senders which can be asked again, and those that were broken off, by the volume they are for.
    #[must_use]
    pub fn receptions(&self) -> Vec<(VolumeName, ReceptionEntry)> {
        let catalog = self.catalog.read();
        catalog.receptions().map(|(name, entry)| (name.clone(), *entry)).collect()
    }

    /// Removes what was broken off on its way into the volume `name`.
    ///
    /// # Errors
    /// [`NodeError::NoSuchReception`]; [`NodeError::ReceptionUnderWay`].
    pub fn remove_reception(&self, name: &VolumeName) -> Result<()> {
        let _claim = self.claim_reception(name)?;
        match self.drop_reception(name)? {
            true => Ok(()),
            false => Err(NodeError::NoSuchReception(name.clone())),
        }
    }

    /// Removes a reception, if there is one. Whoever calls has the claim.
    fn drop_reception(&self, name: &VolumeName) -> Result<bool> {
        let mut catalog = self.catalog.write();
        let Some(entry) = catalog.reception(name).copied() else { return Ok(false) };
        self.store.delete_volume(entry.id, vec![catalog::reception_removal(name)])?;
        catalog.remove_reception(name);
        Ok(true)
    }

    /// Removes what was broken off on its way into a volume that has come to its content another way.
    pub(super) fn drop_overtaken_reception(&self, name: &VolumeName) {
        // One that is under way finds out by itself.
        let Ok(_claim) = self.claim_reception(name) else { return };
        if let Err(error) = self.drop_reception(name) {
            tracing::warn!(volume = %name, %error, "what was broken off on its way into a volume stays until it expires");
        }
    }

    /// Removes what was broken off and nobody resumed in time.
    pub(super) fn expire_receptions(&self) -> Result<()> {
        let now_ms = self.wall_ms();
        for (name, _) in self.receptions().into_iter().filter(|(_, entry)| entry.expires_ms <= now_ms) {
            // One that is under way has all the time it needs.
            if let Ok(_claim) = self.claim_reception(&name) {
                self.drop_reception(&name)?;
                tracing::info!(volume = %name, "removed what came of a snapshot, which nobody has resumed");
            }
        }
        Ok(())
    }
}

/// The id of what it goes on from.
fn base_id(catalog: &Catalog, coming: &Coming<'_>) -> Result<Option<VolumeId>> {
    let Some(base) = coming.base else { return refuse_if_taken(catalog, coming.name).map(|()| None) };
    let name = SnapshotName { volume: coming.name.clone(), snapshot: base.clone() };
    Ok(Some(find(catalog, &name)?.id))
}

impl Reception {
    /// Where the content goes.
    pub(crate) fn volume(&self) -> &Volume {
        &self.volume
    }

    /// The volume that it is for.
    pub(super) fn name(&self) -> &VolumeName {
        &self.claim.name
    }

    /// Keeps what came, so that not even the loss of the machine takes it.
    pub(crate) fn keep(self) {
        if let Err(error) = self.volume.flush() {
            tracing::warn!(volume = %self.name(), %error, "what came of a snapshot may not last");
        }
    }

    /// Removes what came.
    pub(crate) fn remove(self) {
        if let Err(error) = self.node.drop_reception(self.name()) {
            tracing::warn!(volume = %self.name(), %error, "what came of a snapshot stays until it expires");
        }
    }
}
