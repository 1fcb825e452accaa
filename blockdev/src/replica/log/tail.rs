//! The end of a log: the file that frames go into, and how they get there.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;
use lsm_store::device::{Access, DIRECT_ALIGNMENT, Device, File};
use net::id::Lsn;

use super::error::{LogError, Result};
use super::frame::{Content, FRAME_HEADER_BYTES, Link, Seals, Sequence};
use super::header::{HEADER_BYTES, Header};
use super::index::{Indexed, Placed};
use super::place::{FileNumber, Place};
use super::shared::{Held, LogFile};
use super::state::State;
use super::{BootId, ReplicaLog, Sizes};

/// What a new file follows.
pub(super) struct Begin<'a> {
    pub(super) boot: BootId,
    /// Checksum of what comes before it in the chain.
    pub(super) previous: u32,
    /// Sequence of the last frame.
    pub(super) last: Sequence,
    /// Frames up to here are durable.
    pub(super) synced: Sequence,
    /// The log begins anew.
    pub(super) is_install: bool,
    /// On a full disk the file may be the one that is kept for that.
    pub(super) may_use_spare: bool,
    /// There is a trimmed file to make it of.
    pub(super) has_recycled: bool,
    pub(super) state: &'a State,
}

/// What a file was before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Nothing: where nothing was written it has zeros.
    New,
    /// The file for a full disk.
    Spare,
    /// An older file of the log, whose frames are still in it. None of them is taken for one of this file, whose seals are
    /// others; but what is behind the end has to be seen to be the end.
    Recycled,
}

/// What is behind the last frame of a file.
const NO_FRAME: [u8; FRAME_HEADER_BYTES] = [0; FRAME_HEADER_BYTES];

/// The file that frames go into.
pub(super) struct Tail {
    file: Arc<LogFile>,
    seals: Seals,
    /// Where the next frame goes.
    offset: u64,
    /// Length of the file.
    bytes: u64,
    origin: Origin,
    /// Checksum that the next frame names.
    previous: u32,
    last: Sequence,
}

/// Frames that are written together.
#[derive(Default)]
pub(super) struct Batch {
    pieces: Vec<Bytes>,
    bytes: u64,
    /// What they do to the index.
    changes: Vec<Indexed>,
}

impl Tail {
    /// Begins a file, which is there as a whole or not at all, and in place of one that is not of the log. Durable on return.
    pub(super) fn begin_durably(
        device: &dyn Device,
        place: &Place,
        number: FileNumber,
        sizes: Sizes,
        begin: &Begin<'_>,
    ) -> Result<Self> {
        let (new, path) = (place.new_path(), place.path(number));
        place.remove(device, &new)?;
        let tail = Self::begin_at(device, place, number, &new, sizes, begin)?;
        tail.file.file.sync_data().map_err(|error| LogError::io("syncing", &new, error))?;
        device.rename(&new, &path).map_err(|error| LogError::io("renaming", &new, error))?;
        place.sync(device)?;
        Ok(tail)
    }

    /// Begins a file under its own name, which is not taken.
    fn begin(device: &dyn Device, place: &Place, number: FileNumber, sizes: Sizes, begin: &Begin<'_>) -> Result<Self> {
        Self::begin_at(device, place, number, &place.path(number), sizes, begin)
    }

    fn begin_at(
        device: &dyn Device,
        place: &Place,
        number: FileNumber,
        path: &str,
        sizes: Sizes,
        begin: &Begin<'_>,
    ) -> Result<Self> {
        let header = Header {
            first: begin.last.next(),
            synced: begin.synced,
            previous: begin.previous,
            boot: begin.boot,
            is_install: begin.is_install,
            state: begin.state.clone(),
        };
        let (header, previous) = header.encode(place, number);
        let (file, bytes, origin) = if begin.has_recycled {
            (recycle_file(device, place, path, &header)?, sizes.file_bytes, Origin::Recycled)
        } else {
            let (file, bytes, origin) = make_file(device, place, path, sizes, begin.may_use_spare)?;
            let written = file.write_at(&[IoSlice::new(&header)], 0);
            written.map_err(|error| LogError::io("beginning", path, error))?;
            (file, bytes, origin)
        };
        let file = Arc::new(LogFile { number, path: place.path(number), file });
        let (seals, offset) = (Seals::new(place, number), HEADER_BYTES as u64);
        Ok(Self { file, seals, offset, bytes, origin, previous, last: begin.last })
    }

    pub(super) fn held(&self) -> Held {
        Held { file: Arc::clone(&self.file), bytes: self.bytes }
    }

    /// Adds a frame to those that are to be written.
    fn add(&mut self, batch: &mut Batch, content: Content<'_>, synced: Sequence) {
        let offset = self.offset + batch.bytes;
        let link = Link { sequence: self.last.next(), previous: self.previous, synced };
        let encoded = content.encode(&self.seals, offset, &link);
        (self.previous, self.last) = (encoded.checksum, link.sequence);
        batch.pieces.extend(encoded.pieces);
        batch.bytes += encoded.bytes;
        match content {
            Content::Records { first, records } => {
                let placed = Placed { first, file: self.file.number, offset, body_bytes: encoded.body_bytes };
                batch.changes.push(Indexed::Records(placed, Lsn(first.0 + records.len() as u64 - 1)));
            }
            Content::Truncate { beyond } => batch.changes.push(Indexed::Truncate(beyond)),
            Content::Note(_) | Content::Checkpoint { .. } | Content::Tear => {}
        }
    }

    /// Has room for frames up to `end`, and for some more if the disk has.
    fn allocate(&mut self, end: u64, sizes: Sizes) -> Result<()> {
        if end <= self.bytes {
            return Ok(());
        }
        let ahead = end.next_multiple_of(sizes.step_bytes).min(sizes.file_bytes);
        let least = end.next_multiple_of(DIRECT_ALIGNMENT as u64).min(ahead);
        let grow = |bytes: u64| {
            let grown = self.file.file.allocate(self.bytes, bytes - self.bytes);
            grown.map(|()| bytes).map_err(|error| LogError::growing(&self.file.path, error))
        };
        self.bytes = match grow(ahead) {
            Err(error) if error.is_full() => grow(least)?,
            grown => grown?,
        };
        Ok(())
    }

    /// Writes frames to their place, for which there is room.
    fn write(&mut self, batch: &Batch) -> Result<()> {
        let end = self.offset + batch.bytes;
        assert!(end <= self.bytes, "room was made for what is written");
        let mut pieces: Vec<_> = batch.pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        if self.origin == Origin::Recycled && end + NO_FRAME.len() as u64 <= self.bytes {
            pieces.push(IoSlice::new(&NO_FRAME));
        }
        let written = self.file.file.write_at(&pieces, self.offset);
        written.map_err(|error| LogError::io("writing", &self.file.path, error))?;
        self.offset = end;
        Ok(())
    }
}

/// Makes a file with room for a header and some frames, of so many bytes; or takes the one that is kept for a full disk.
fn make_file(
    device: &dyn Device,
    place: &Place,
    path: &str,
    sizes: Sizes,
    may_use_spare: bool,
) -> Result<(Arc<dyn File>, u64, Origin)> {
    let bytes = sizes.step_bytes.max(sizes.spare_bytes()).min(sizes.file_bytes);
    let full = match allocate_file(device, path, bytes) {
        Err(error) if error.is_full() => error,
        made => return Ok((made?, bytes, Origin::New)),
    };
    place.remove(device, path)?;
    if !may_use_spare {
        return Err(full);
    }
    let fail = |error| LogError::io("beginning", path, error);
    match device.rename(&place.spare_path(), path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(full),
        renamed => renamed.map_err(fail)?,
    }
    Ok((device.open(path, Access::Buffered).map_err(fail)?, sizes.spare_bytes(), Origin::Spare))
}

/// Makes a file with a header of the trimmed one: all of it was written before, so a sync of what is written into it changes
/// nothing but data.
fn recycle_file(device: &dyn Device, place: &Place, path: &str, header: &[u8]) -> Result<Arc<dyn File>> {
    let recycled = place.recycled_path();
    let fail = |error| LogError::io("beginning", path, error);
    let file = device.open(&recycled, Access::Buffered).map_err(fail)?;
    file.write_at(&[IoSlice::new(header), IoSlice::new(&NO_FRAME)], 0).map_err(fail)?;
    device.rename(&recycled, path).map_err(fail)?;
    Ok(file)
}

/// Makes the file that is kept for a full disk; false if there is no room for it.
pub(super) fn make_spare(device: &dyn Device, place: &Place, sizes: Sizes) -> Result<bool> {
    let path = place.spare_path();
    place.remove(device, &path)?;
    match allocate_file(device, &path, sizes.spare_bytes()) {
        Err(error) if error.is_full() => place.remove(device, &path).map(|()| false),
        made => {
            // It has to be there after a power cut, on a disk that is full by then.
            made?.sync_data().map_err(|error| LogError::io("syncing", &path, error))?;
            place.sync(device).map(|()| true)
        }
    }
}

/// Takes over the file that an earlier opening kept for a full disk; false if there is none. It may have been used, and
/// have got its name back with a power cut: nothing in it may come to light again.
pub(super) fn adopt_spare(device: &dyn Device, place: &Place, sizes: Sizes) -> Result<bool> {
    let path = place.spare_path();
    let fail = |error| LogError::io("clearing", &path, error);
    let file = match device.open(&path, Access::Buffered) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(fail)?,
    };
    if file.len().map_err(fail)? != sizes.spare_bytes() {
        return Ok(false);
    }
    file.write_at(&[IoSlice::new(&vec![0; sizes.spare_bytes() as usize])], 0).map_err(fail)?;
    file.sync_data().map_err(fail)?;
    Ok(true)
}

fn allocate_file(device: &dyn Device, path: &str, bytes: u64) -> Result<Arc<dyn File>> {
    let file = device.create(path, Access::Buffered).map_err(|error| LogError::growing(path, error))?;
    file.allocate(0, bytes).map_err(|error| LogError::growing(path, error))?;
    Ok(file)
}

impl ReplicaLog {
    /// Makes sure that a frame of so many bytes behind the batch has room in the file, if need be a new one, with `reserve` behind
    /// it. What leaves no reserve may use it up, and then the file that is kept for a full disk.
    pub(super) fn make_room(&mut self, batch: &mut Batch, bytes: u64, reserve: u64) -> Result<()> {
        let is_reserved = reserve == 0;
        if self.tail.offset + batch.bytes + bytes + reserve <= self.sizes.file_bytes {
            match self.allocate(batch.bytes + bytes + reserve) {
                Err(error) if error.is_full() && is_reserved => {}
                allocated => return allocated,
            }
        }
        self.write(std::mem::take(batch))?;
        self.shared.sync_names()?;
        let begun = self.begin(false, is_reserved);
        self.tail = self.shared.settle(begun)?;
        self.shared.with(|contents| contents.begin(self.tail.held()))?;
        self.note_origin()?;
        self.allocate(bytes + reserve)
    }

    /// Has room for so many bytes behind what was written.
    fn allocate(&mut self, bytes: u64) -> Result<()> {
        let allocated = self.tail.allocate(self.tail.offset + bytes, self.sizes);
        self.shared.settle(allocated)
    }

    /// Notes what the new file was made of, and makes another one for a full disk if that was used and there is room.
    pub(super) fn note_origin(&mut self) -> Result<()> {
        match self.tail.origin {
            Origin::New => {}
            Origin::Spare => self.has_spare = false,
            Origin::Recycled => self.has_recycled = false,
        }
        self.keep_spare()
    }

    /// Adds a frame to the batch, and what it says to the state.
    pub(super) fn add(&mut self, batch: &mut Batch, content: Content<'_>) -> Result<()> {
        let synced = self.shared.with(|contents| contents.synced())?;
        self.state.apply(&content.change()).expect("the owner asks for nothing that contradicts the log");
        self.tail.add(batch, content, synced);
        Ok(())
    }

    /// Writes a batch, if there is anything in it.
    pub(super) fn write(&mut self, batch: Batch) -> Result<()> {
        if batch.bytes == 0 {
            return Ok(());
        }
        let written = self.tail.write(&batch);
        self.shared.settle(written)?;
        let (last, bytes) = (self.tail.last, self.tail.bytes);
        self.shared.with(|contents| contents.hand(last, bytes, &batch.changes))
    }

    /// Writes one frame without records.
    pub(super) fn log(&mut self, content: Content<'_>) -> Result<()> {
        let mut batch = Batch::default();
        self.make_room(&mut batch, FRAME_HEADER_BYTES as u64, 0)?;
        self.add(&mut batch, content)?;
        self.write(batch)
    }

    /// Begins the next file: an install durably, else as part of what is to be synced.
    pub(super) fn begin(&mut self, is_install: bool, may_use_spare: bool) -> Result<Tail> {
        let synced = self.shared.with(|contents| contents.synced())?;
        let Tail { previous, last, .. } = self.tail;
        let (boot, has_recycled, state) = (self.boot, self.has_recycled, &self.state);
        let begin = Begin { boot, previous, last, synced, is_install, may_use_spare, has_recycled, state };
        let (device, place, number) = (&*self.shared.device, &self.shared.place, self.tail.file.number.next());
        if is_install {
            return Tail::begin_durably(device, place, number, self.sizes, &begin);
        }
        Tail::begin(device, place, number, self.sizes, &begin)
    }

    /// Removes the first files of the log. What they say is in the header of the one behind them, which is made durable.
    pub(super) fn drop_files(&mut self, count: usize) -> Result<()> {
        if count > 0 {
            self.shared.sync()?;
        }
        for _ in 0..count {
            let path = self.shared.look(|contents| contents.files[0].file.path.clone());
            self.shared.place.remove(&*self.shared.device, &path)?;
            self.shared.with(|contents| contents.drop_first())?;
        }
        Ok(())
    }

    /// Keeps the first file of the log for the next one to be made of, before it is dropped, if it is as long as that and nobody
    /// reads it.
    pub(super) fn recycle_first(&mut self) -> Result<()> {
        let (device, place) = (&*self.shared.device, &self.shared.place);
        self.shared.sync()?;
        let path = self.shared.with(|contents| contents.recyclable(self.sizes.file_bytes))?;
        let Some(path) = path else { return Ok(()) };
        device.rename(&path, &place.recycled_path()).map_err(|error| LogError::io("renaming", &path, error))?;
        self.shared.with(|contents| contents.drop_first())?;
        // A power cut must not bring the name back once there is something else in the file.
        self.shared.settle(place.sync(device))?;
        self.has_recycled = true;
        Ok(())
    }

    /// Removes the file that the next one would be made of.
    pub(super) fn drop_recycled(&mut self) -> Result<()> {
        if std::mem::take(&mut self.has_recycled) {
            self.shared.place.remove(&*self.shared.device, &self.shared.place.recycled_path())?;
        }
        Ok(())
    }
}
