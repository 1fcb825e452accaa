//! Objects that are complete: finding, reading and removing them.

use std::collections::HashSet;

use lsm_store::codec::Codec;
use lsm_store::id::VolumeId;

use super::{Node, NodeError, Result};
use crate::catalog::{self, Catalog, ObjectEntry};
use crate::name::ObjectName;
use crate::object::{ObjectReader, ObjectStream};

/// An object with its name.
#[derive(Clone, Debug)]
pub struct NamedObject {
    /// Its name.
    pub name: ObjectName,
    /// What the catalog knows of it.
    pub entry: ObjectEntry,
    /// How its blocks were compressed when they came.
    pub codec: Codec,
}

/// All objects together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ObjectTotals {
    /// Objects that are complete.
    pub count: u64,
    /// Sum of their lengths in bytes.
    pub length_bytes: u64,
    /// Objects whose stream still comes, or was broken off and can be resumed.
    pub uploads: u64,
}

/// An object to read. Its removal does not wait for readers, who then get [`NodeError::ObjectGone`].
pub struct OpenObject {
    object: NamedObject,
    reader: ObjectReader,
}

/// What is left to come of an object.
pub struct ObjectPieces {
    name: ObjectName,
    stream: ObjectStream,
}

impl Node {
    /// At most `count` objects whose names begin with `prefix`, by name, those behind `after` only if it is given.
    #[must_use]
    pub fn objects(&self, prefix: &str, after: Option<&ObjectName>, count: usize) -> Vec<NamedObject> {
        let catalog = self.catalog.read();
        let named = |(name, entry): (&ObjectName, &ObjectEntry)| {
            let codec = self.store.volume(entry.id).ok()?.codec();
            Some(NamedObject { name: name.clone(), entry: entry.clone(), codec })
        };
        catalog.objects(prefix, after).filter_map(named).take(count).collect()
    }

    /// One object.
    ///
    /// # Errors
    /// [`NodeError::NoSuchObject`].
    pub fn object(&self, name: &ObjectName) -> Result<NamedObject> {
        let entry = entry(&self.catalog.read(), name)?;
        let codec = self.store.volume(entry.id)?.codec();
        Ok(NamedObject { name: name.clone(), entry, codec })
    }

    /// Opens an object to read it.
    ///
    /// # Errors
    /// [`NodeError::NoSuchObject`].
    pub fn open_object(&self, name: &ObjectName) -> Result<OpenObject> {
        let catalog = self.catalog.read();
        let entry = entry(&catalog, name)?;
        let volume = self.store.volume(entry.id)?;
        let codec = volume.codec();
        let reader = ObjectReader::of_whole(volume, entry.chunker, entry.length, entry.index_pages)?;
        Ok(OpenObject { object: NamedObject { name: name.clone(), entry, codec }, reader })
    }

    /// Removes an object for good. Whoever reads it meanwhile gets an error.
    ///
    /// # Errors
    /// [`NodeError::NoSuchObject`].
    pub fn remove_object(&self, name: &ObjectName) -> Result<()> {
        let mut catalog = self.catalog.write();
        let entry = entry(&catalog, name)?;
        self.store.delete_volume(entry.id, vec![catalog::object_removal(name)])?;
        catalog.remove_object(name);
        Ok(())
    }

    /// What there is of objects in all.
    #[must_use]
    pub fn object_totals(&self) -> ObjectTotals {
        let catalog = self.catalog.read();
        let mut totals = ObjectTotals { uploads: catalog.uploads().count() as u64, ..ObjectTotals::default() };
        for (_, entry) in catalog.objects("", None) {
            totals.count += 1;
            totals.length_bytes += entry.length;
        }
        totals
    }

    /// The volumes that hold objects, and what has come of others: they have no names of their own.
    #[must_use]
    pub fn hidden_volumes(&self) -> HashSet<VolumeId> {
        let catalog = self.catalog.read();
        let objects = catalog.objects("", None).map(|(_, entry)| entry.id);
        objects.chain(catalog.uploads().map(|(_, upload)| upload.id)).collect()
    }

    /// Removes the objects whose time is over.
    pub(super) fn expire_objects(&self) -> Result<()> {
        let now_ms = self.wall_ms();
        let is_over = |entry: &ObjectEntry| entry.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms);
        let over: Vec<_> = {
            let catalog = self.catalog.read();
            catalog.objects("", None).filter(|(_, entry)| is_over(entry)).map(|(name, _)| name.clone()).collect()
        };
        for name in over {
            // One at a time, so that others get their turn; meanwhile it may have been replaced.
            let mut catalog = self.catalog.write();
            let Some(entry) = catalog.object(&name).filter(|entry| is_over(entry)) else { continue };
            self.store.delete_volume(entry.id, vec![catalog::object_removal(&name)])?;
            catalog.remove_object(&name);
            tracing::info!(object = %name, "removed an object whose time was over");
        }
        Ok(())
    }
}

fn entry(catalog: &Catalog, name: &ObjectName) -> Result<ObjectEntry> {
    catalog.object(name).cloned().ok_or_else(|| NodeError::NoSuchObject(name.clone()))
}

impl OpenObject {
    /// What it is.
    #[must_use]
    pub fn object(&self) -> &NamedObject {
        &self.object
    }

    /// Reads `len` bytes from `offset` on, fewer at the end.
    ///
    /// # Errors
    /// Those of the store; [`NodeError::ObjectGone`].
    pub fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.reader.read_at(offset, len).map_err(|error| failed(&self.object.name, error))
    }

    /// Reads from `offset` to `end`, or the object's end, ahead of whoever takes it.
    ///
    /// # Errors
    /// Those of the store.
    pub fn pieces(&self, offset: u64, end: u64) -> Result<ObjectPieces> {
        let name = self.object.name.clone();
        let stream = self.reader.stream(offset, end).map_err(|error| failed(&name, error))?;
        Ok(ObjectPieces { name, stream })
    }
}

fn failed(name: &ObjectName, error: lsm_store::Error) -> NodeError {
    match error {
        lsm_store::Error::NoSuchVolume(_) => NodeError::ObjectGone(name.clone()),
        other => other.into(),
    }
}

impl ObjectPieces {
    /// The next piece, of at most 1 MiB and never empty; `None` at the end.
    ///
    /// # Errors
    /// As [`OpenObject::read_at`].
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>> {
        self.stream.next_piece().map_err(|error| failed(&self.name, error))
    }
}
