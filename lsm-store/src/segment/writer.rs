//! Writing a segment: frames as they come, then the directory and the footer.
//!
//! Nothing of a segment may be referred to before [`SegmentWriter::seal`] has returned and the caller has synced the
//! directory of segments. After any error the segment is lost: [`SegmentWriter::discard`] it.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use super::fingerprint_page;
use super::frame::{self, FRAME_HEADER_BYTES, FRAME_KIND};
use super::geometry::{FRAMES_START, Geometry};
use super::slot_table::{self, SlotTableBuilder};
use super::staging::{Staging, WriteMode};
use super::trailer::{self, Footer};
use super::{GROUP_BLOCKS_MAX, Identity, SEGMENT_BYTES_MAX, path};
use crate::checksum::Seal;
use crate::codec::Stored;
use crate::device::{Access, Device, File};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::id::{Slot, StoreId};

/// What is known of a sealed segment without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentSummary {
    /// What it was told at its creation.
    pub identity: Identity,
    /// Where its parts are, and how long its file is.
    pub geometry: Geometry,
    /// Frames in it.
    pub frames: u32,
    /// Blocks in it: its used slots.
    pub blocks: u32,
}

impl SegmentSummary {
    /// Bytes of all frames.
    #[must_use]
    pub fn frame_bytes(&self) -> u32 {
        self.geometry.frames_end() - FRAMES_START
    }
}

/// A segment on its way to being sealed.
pub enum Sealing {
    /// It is, or cannot be.
    Done(Box<Result<SegmentSummary>>),
    /// A thread does it.
    Behind(JoinHandle<Result<SegmentSummary>>),
}

impl Sealing {
    /// Waits for the end. Nothing is written to the file any more once this has returned.
    ///
    /// # Errors
    /// Those of [`SegmentWriter::seal`].
    ///
    /// # Panics
    /// If the thread has panicked.
    pub fn wait(self) -> Result<SegmentSummary> {
        match self {
            Self::Done(result) => *result,
            Self::Behind(thread) => thread.join().expect("sealing does not panic"),
        }
    }
}

/// A segment being written, by one thread.
pub struct SegmentWriter {
    device: Arc<dyn Device>,
    file: Arc<dyn File>,
    store: StoreId,
    identity: Identity,
    frame_seal: Seal,
    staging: Staging,
    slots: SlotTableBuilder,
    fingerprints: Vec<Fingerprint>,
    frames: u32,
    blocks: u32,
}

impl SegmentWriter {
    /// Makes the file of a new segment and reserves a whole segment's space for it.
    ///
    /// # Errors
    /// [`Error::OutOfSpace`] if there is no room; then there is no file either, and none of the later writes can fail
    /// for want of space.
    pub fn create(device: Arc<dyn Device>, store: StoreId, identity: Identity, mode: WriteMode) -> Result<Self> {
        // As the footer will give it back.
        let created = Duration::from_millis(identity.created.as_millis() as u64);
        let identity = Identity { created, ..identity };
        let path = path(identity.id);
        let file = device.create(&path, Access::Direct).map_err(|error| Error::io("creating", &path, error))?;
        if let Err(error) = file.allocate(0, SEGMENT_BYTES_MAX) {
            // The name alone does no harm: recovery removes what is not sealed. The first error tells more.
            let _ = device.remove(&path);
            return Err(Error::io("allocating", &path, error));
        }
        let staging = Staging::new(&file, mode);
        let mut writer = Self {
            device,
            file,
            store,
            identity,
            frame_seal: Seal::new(store, FRAME_KIND, identity.id.0.into()),
            staging,
            slots: SlotTableBuilder::default(),
            fingerprints: Vec::new(),
            frames: 0,
            blocks: 0,
        };
        writer.write(&trailer::encode_header(store, &identity))?;
        Ok(writer)
    }

    /// What the segment was told at its creation.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// True if a frame of `blocks` blocks and `payload_bytes` stored bytes can be appended.
    #[must_use]
    pub fn room_for(&self, blocks: usize, payload_bytes: usize) -> bool {
        let slots = self.slots.slots() + self.slots.skipped_before(blocks) + blocks;
        let frames_end = self.staging.position() as usize + FRAME_HEADER_BYTES + payload_bytes;
        Geometry::new(slots as u32, frames_end as u32).is_some()
    }

    /// Appends one block; its slot.
    ///
    /// # Panics
    /// If there is no [room](Self::room_for), or `stored` is not the form of one block.
    pub fn append_block(&mut self, fingerprint: Fingerprint, stored: Stored<'_>) -> Result<Slot> {
        self.append_group(&[fingerprint], stored)
    }

    /// Appends adjacent blocks stored together; the slot of the first, the others follow it.
    ///
    /// # Panics
    /// If there is no [room](Self::room_for), there are more than [`GROUP_BLOCKS_MAX`] blocks, or `stored` is raw for
    /// more than one block, or larger than 15/16 of them.
    pub fn append_group(&mut self, fingerprints: &[Fingerprint], stored: Stored<'_>) -> Result<Slot> {
        let blocks = fingerprints.len();
        assert!(blocks <= GROUP_BLOCKS_MAX && self.room_for(blocks, stored.bytes.len()), "there is room for the frame");
        let offset = self.staging.position() as u32;
        let header = frame::encode_header(&self.frame_seal, offset, blocks, &stored);
        let skipped = self.slots.skipped_before(blocks);
        self.slots.skip(skipped);
        self.fingerprints.extend(std::iter::repeat_n(Fingerprint([0; 32]), skipped));
        let slot = self.slots.push(FRAME_HEADER_BYTES + stored.bytes.len(), blocks);
        self.fingerprints.extend_from_slice(fingerprints);
        self.frames += 1;
        self.blocks += blocks as u32;
        self.write(&header)?;
        self.write(stored.bytes)?;
        Ok(slot)
    }

    /// Writes the directory and the footer, cuts the file to its length and syncs it. The caller syncs the directory of
    /// segments (one sync for several segments) before anything refers to this one.
    pub fn seal(mut self) -> Result<SegmentSummary> {
        let frames_end = self.staging.position() as u32;
        let geometry = Geometry::new(self.slots.slots() as u32, frames_end).expect("frames were appended with room");
        self.staging.pad().map_err(|error| self.failed("writing", error))?;
        let directory_digest = self.write_directory()?;
        let summary = SegmentSummary { identity: self.identity, geometry, frames: self.frames, blocks: self.blocks };
        let footer =
            Footer { identity: self.identity, geometry, frames: self.frames, blocks: self.blocks, directory_digest };
        self.write(&trailer::encode_footer(self.store, &footer))?;
        self.staging.finish().map_err(|error| self.failed("writing", error))?;
        self.file.set_len(geometry.file_bytes().into()).map_err(|error| self.failed("cutting", error))?;
        self.file.sync_data().map_err(|error| self.failed("syncing", error))?;
        Ok(summary)
    }

    /// As [`SegmentWriter::seal`], but whoever writes behind the caller's back also seals there: the caller goes on with the
    /// next segment while the device works on this one.
    pub fn seal_behind(self) -> Sealing {
        if self.staging.mode() == WriteMode::Inline {
            return Sealing::Done(Box::new(self.seal()));
        }
        let (hand, handed) = mpsc::channel::<Self>();
        let seal = move || handed.recv().expect("the writer is handed over").seal();
        match std::thread::Builder::new().name("silt-seal".to_owned()).spawn(seal) {
            Ok(thread) => {
                hand.send(self).expect("the thread waits for the writer");
                Sealing::Behind(thread)
            }
            Err(error) => {
                tracing::debug!(%error, "no thread to seal a segment: the caller does it");
                Sealing::Done(Box::new(self.seal()))
            }
        }
    }

    /// Gives up: removes the file.
    pub fn discard(self) -> Result<()> {
        let path = path(self.identity.id);
        self.device.remove(&path).map_err(|error| Error::io("removing", path, error))
    }

    /// Writes the sealed pages of slot table and fingerprints; the digest over all of them.
    fn write_directory(&mut self) -> Result<[u8; 32]> {
        let slots = std::mem::take(&mut self.slots);
        let fingerprints = std::mem::take(&mut self.fingerprints);
        let slot_seal = slot_table::seal(self.store, self.identity.id);
        let fingerprint_seal = fingerprint_page::seal(self.store, self.identity.id);
        let slot_pages = slots.pages().map(|page| (slot_seal, page));
        let fingerprint_pages = fingerprint_page::pages(&fingerprints).map(|page| (fingerprint_seal, page));
        let mut digest = blake3::Hasher::new();
        for (seal, mut page) in slot_pages.chain(fingerprint_pages) {
            seal.seal_page(self.staging.position(), &mut page);
            digest.update(&page);
            self.write(&page)?;
        }
        Ok(*digest.finalize().as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.staging.append(bytes).map_err(|error| self.failed("writing", error))
    }

    fn failed(&self, action: &'static str, error: std::io::Error) -> Error {
        Error::io(action, path(self.identity.id), error)
    }
}
