//! Objects on their way in. Nobody sees one before it is complete; what was broken off goes, or waits to be resumed.

use std::sync::Arc;

use lsm_store::codec::Codec;
use lsm_store::id::VolumeId;
use lsm_store::store::VolumeSpec;

use super::claim::Claim;
use super::{NamedObject, Node, NodeError, Result};
use crate::catalog::{self, ObjectEntry, UploadEntry};
use crate::name::ObjectName;
use crate::object::{Chunker, Laid, Metadata, StreamWriter, UPLOAD_BYTES};
use crate::span::Span;

/// How long what was broken off waits to be resumed.
pub(super) const BROKEN_OFF_KEEP_MS: u64 = 7 * 86_400 * 1000;

/// Most bytes before a position that are shown, so that whoever resumes can compare.
const TAIL_BYTES: u64 = 1 << 20;

/// How an object is put.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectSpec {
    /// How it is cut.
    pub chunker: Chunker,
    /// How its blocks are compressed.
    pub codec: Codec,
    /// What is said of it.
    pub metadata: Metadata,
    /// How long it stays; for good if this is absent.
    pub keep: Option<Span>,
    /// It may take the place of an object of its name.
    pub replace: bool,
    /// What was broken off of it before is gone on with, and it is kept for 7 days if it is broken off.
    pub resumable: bool,
}

/// Where an upload goes on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UploadPosition {
    /// Bytes of the stream that are there.
    pub position: u64,
    /// The last of them, up to 1 MiB: the stream is the same only if it has these there.
    pub tail: Vec<u8>,
}

/// An object as it comes. Dropped before [`ObjectWriter::finish`], it goes, unless it can be resumed.
pub struct ObjectWriter {
    node: Arc<Node>,
    id: VolumeId,
    spec: ObjectSpec,
    /// Until the stream has ended.
    stream: Option<StreamWriter>,
    position: u64,
    open: bool,
    claim: Claim<ObjectName>,
}

impl Node {
    /// Begins an object, or goes on with one that was broken off if `spec` says so and was the same then:
    /// [`ObjectWriter::position`] tells which.
    ///
    /// # Errors
    /// [`NodeError::ObjectExists`] if there is one that may not be replaced; [`NodeError::UploadUnderWay`].
    pub fn put(self: &Arc<Self>, name: &ObjectName, spec: ObjectSpec) -> Result<ObjectWriter> {
        let claim = self.claim(name)?;
        self.refuse_if_object(name, &spec)?;
        let (id, stream) = match self.broken_off(name, &spec)? {
            Some((id, stream)) => {
                stream.clear_rest()?;
                self.note_upload(name, self.upload_of(id, &spec))?;
                (id, stream)
            }
            None => self.begin(name, &spec)?,
        };
        let position = stream.position();
        let node = Arc::clone(self);
        Ok(ObjectWriter { node, id, spec, stream: Some(stream), position, open: true, claim })
    }

    /// Where [`Node::put`] of a resumable object would go on: at 0 if nothing was broken off. Changes nothing.
    ///
    /// # Errors
    /// [`NodeError::UploadUnderWay`].
    pub fn upload_position(&self, name: &ObjectName, spec: &ObjectSpec) -> Result<UploadPosition> {
        let _claim = self.claim(name)?;
        let Some((_, stream)) = self.broken_off(name, spec)? else { return Ok(UploadPosition::default()) };
        let position = stream.position();
        let start = position.saturating_sub(TAIL_BYTES);
        let tail = stream.reader().read_at(start, (position - start) as usize)?;
        Ok(UploadPosition { position, tail })
    }

    /// What has not come to its end, by name.
    #[must_use]
    pub fn uploads(&self) -> Vec<(ObjectName, UploadEntry)> {
        let catalog = self.catalog.read();
        catalog.uploads().map(|(name, upload)| (name.clone(), *upload)).collect()
    }

    /// Removes what was broken off.
    ///
    /// # Errors
    /// [`NodeError::NoSuchUpload`]; [`NodeError::UploadUnderWay`].
    pub fn remove_upload(&self, name: &ObjectName) -> Result<()> {
        let _claim = self.claim(name)?;
        match self.drop_upload(name)? {
            true => Ok(()),
            false => Err(NodeError::NoSuchUpload(name.clone())),
        }
    }

    fn claim(&self, name: &ObjectName) -> Result<Claim<ObjectName>> {
        self.uploading.claim(name).ok_or_else(|| NodeError::UploadUnderWay(name.clone()))
    }

    fn refuse_if_object(&self, name: &ObjectName, spec: &ObjectSpec) -> Result<()> {
        match self.catalog.read().object(name) {
            Some(_) if !spec.replace => Err(NodeError::ObjectExists(name.clone())),
            _ => Ok(()),
        }
    }

    /// What was broken off, if it can be gone on with as `spec` says.
    fn broken_off(&self, name: &ObjectName, spec: &ObjectSpec) -> Result<Option<(VolumeId, StreamWriter)>> {
        let Some(upload) = self.catalog.read().upload(name).copied() else { return Ok(None) };
        let volume = self.store.volume(upload.id)?;
        // One that was broken off at its very end has no index where it is looked for any more.
        let fits = upload.resumable && upload.chunker == spec.chunker && volume.codec() == spec.codec;
        if !spec.resumable || !fits || volume.size_bytes() != UPLOAD_BYTES {
            return Ok(None);
        }
        Ok(Some((upload.id, StreamWriter::find(volume, upload.chunker)?)))
    }

    /// Begins from the start, without what was broken off.
    fn begin(&self, name: &ObjectName, spec: &ObjectSpec) -> Result<(VolumeId, StreamWriter)> {
        self.drop_upload(name)?;
        let mut catalog = self.catalog.write();
        let volume = VolumeSpec { size_bytes: UPLOAD_BYTES, codec: spec.codec };
        let record = |id| vec![catalog::upload_record(name, &self.upload_of(id, spec))];
        let id = self.store.create_volume(volume, record)?;
        catalog.insert_upload(name.clone(), self.upload_of(id, spec));
        Ok((id, StreamWriter::new(self.store.volume(id)?, spec.chunker)))
    }

    fn upload_of(&self, id: VolumeId, spec: &ObjectSpec) -> UploadEntry {
        let began_ms = self.wall_ms();
        let expires_ms = began_ms.saturating_add(BROKEN_OFF_KEEP_MS);
        UploadEntry { id, chunker: spec.chunker, resumable: spec.resumable, began_ms, expires_ms }
    }

    fn note_upload(&self, name: &ObjectName, upload: UploadEntry) -> Result<()> {
        let mut catalog = self.catalog.write();
        self.store.put_records(vec![catalog::upload_record(name, &upload)])?;
        catalog.insert_upload(name.clone(), upload);
        Ok(())
    }

    /// Makes an object of an upload, in place of the one that had its name.
    fn publish(&self, name: &ObjectName, id: VolumeId, spec: &ObjectSpec, laid: Laid) -> Result<NamedObject> {
        let mut catalog = self.catalog.write();
        let old = catalog.object(name).map(|entry| entry.id);
        if old.is_some() && !spec.replace {
            return Err(NodeError::ObjectExists(name.clone()));
        }
        let created_ms = self.wall_ms();
        let entry = ObjectEntry {
            id,
            chunker: spec.chunker,
            length: laid.length,
            index_pages: laid.index_pages,
            created_ms,
            expires_ms: spec.keep.map(|keep| created_ms.saturating_add(keep.ms())),
            metadata: spec.metadata.clone(),
        };
        let records = vec![catalog::upload_removal(name), catalog::object_record(name, &entry)];
        match old {
            Some(old) => self.store.delete_volume(old, records)?,
            None => self.store.put_records(records)?,
        }
        catalog.remove_upload(name);
        catalog.insert_object(name.clone(), entry.clone());
        Ok(NamedObject { name: name.clone(), entry, codec: spec.codec })
    }

    /// Removes an upload, if there is one. Whoever calls has the claim.
    fn drop_upload(&self, name: &ObjectName) -> Result<bool> {
        let mut catalog = self.catalog.write();
        let Some(upload) = catalog.upload(name).copied() else { return Ok(false) };
        self.store.delete_volume(upload.id, vec![catalog::upload_removal(name)])?;
        catalog.remove_upload(name);
        Ok(true)
    }

    /// Removes what a crash broke off and cannot be resumed.
    pub(super) fn drop_broken_uploads(&self) -> Result<()> {
        for name in self.uploads_that(|upload| !upload.resumable) {
            tracing::warn!(object = %name, "removing an object that did not come to its end");
            self.drop_upload(&name)?;
        }
        Ok(())
    }

    /// Removes what was broken off and nobody resumed in time.
    pub(super) fn expire_uploads(&self) -> Result<()> {
        let now_ms = self.wall_ms();
        for name in self.uploads_that(|upload| upload.expires_ms <= now_ms) {
            // One that is under way has all the time it needs.
            if let Ok(_claim) = self.claim(&name) {
                self.drop_upload(&name)?;
                tracing::info!(object = %name, "removed an upload that nobody has resumed");
            }
        }
        Ok(())
    }

    fn uploads_that(&self, is_meant: impl Fn(&UploadEntry) -> bool) -> Vec<ObjectName> {
        let catalog = self.catalog.read();
        catalog.uploads().filter(|(_, upload)| is_meant(upload)).map(|(name, _)| name.clone()).collect()
    }
}

impl ObjectWriter {
    /// Bytes of the stream that have come, those before it was broken off included.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Takes more of the stream. Survives the death of the process when a megabyte more has come.
    ///
    /// # Errors
    /// `OutOfSpace`, `Poisoned`; `Invalid` beyond 512 TiB. Then the writer can only be dropped.
    pub fn write(&mut self, data: &[u8]) -> Result<()> {
        self.stream().write(data)?;
        self.position += data.len() as u64;
        Ok(())
    }

    /// Takes so many zeros; for an object that is not cut they cost nothing.
    ///
    /// # Errors
    /// As [`ObjectWriter::write`].
    pub fn write_zeros(&mut self, len: u64) -> Result<()> {
        self.stream().write_zeros(len)?;
        self.position += len;
        Ok(())
    }

    fn stream(&mut self) -> &mut StreamWriter {
        self.stream.as_mut().expect("the stream ends with the writer")
    }

    /// Ends the stream, makes all of it durable and shows it to everybody, at once or not at all.
    ///
    /// # Errors
    /// As [`ObjectWriter::write`]; [`NodeError::ObjectExists`] if there is one by now that may not be replaced.
    pub fn finish(mut self) -> Result<NamedObject> {
        let stream = self.stream.take().expect("the stream ends with the writer");
        let laid = stream.finish(&self.node.store)?;
        let object = self.node.publish(&self.claim.name, self.id, &self.spec, laid)?;
        self.open = false;
        Ok(object)
    }

    /// Ends as in a crash: nothing is tidied up.
    #[cfg(test)]
    pub(super) fn vanish(mut self) {
        self.open = false;
    }
}

impl Drop for ObjectWriter {
    fn drop(&mut self) {
        if !self.open || self.spec.resumable {
            return;
        }
        if let Err(error) = self.node.drop_upload(&self.claim.name) {
            // The next start removes it.
            tracing::warn!(object = %self.claim.name, %error, "what came of an object could not be removed");
        }
    }
}
