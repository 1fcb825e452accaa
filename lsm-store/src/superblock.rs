//! The superblock: which store this is, what a program must understand to open it, and which manifest is current.
//!
//! Four identical pages in one file. An update writes the first two, syncs, writes the other two and syncs: at every
//! moment two pages of the old or of the new superblock are whole. The page with the highest generation counts.
//! `docs/disk-format.md`, "Superblock".

use std::io::{self, IoSlice};
use std::sync::Arc;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::checksum::{Kind, Seal};
use crate::device::{Access, AlignedBuffer, Device, File};
use crate::error::{Error, Result};
use crate::id::{BLOCK_BYTES, StoreId};

/// Name of the superblock's file.
pub(crate) const SUPERBLOCK_FILE: &str = "superblock";
const SUPERBLOCK_NEW: &str = "superblock.new";
const MAGIC: [u8; 8] = *b"SILTSTON";
const VERSION: u32 = 1;
const PAGE_BYTES: usize = 4096;
const COPIES: u64 = 4;

/// Length of the file in bytes.
pub(crate) const SUPERBLOCK_BYTES: u64 = COPIES * PAGE_BYTES as u64;

/// Features whose absence a program need not notice. None yet.
const COMPAT_KNOWN: u64 = 0;
/// Features without which a program may still read the store. None yet.
const RO_COMPAT_KNOWN: u64 = 0;
/// Features without which a program must not open the store. None yet.
const INCOMPAT_KNOWN: u64 = 0;

/// What the superblock says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Superblock {
    pub(crate) store: StoreId,
    /// Counts updates of the superblock.
    pub(crate) generation: u64,
    /// The current manifest's file id.
    pub(crate) manifest: u64,
    /// The manifest has a commit of this sequence: one that ends earlier has lost commits.
    pub(crate) sequence: u64,
    /// Milliseconds since the Unix epoch.
    pub(crate) created_ms: u64,
    /// What the store has and this program may lack.
    pub(crate) features: Features,
}

/// Feature bits of a store that do not keep this program from reading it. An update carries all of them along.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Features {
    compat: u64,
    ro_compat: u64,
}

impl Features {
    /// What a store has that this program makes.
    pub(crate) const KNOWN: Self = Self { compat: COMPAT_KNOWN, ro_compat: RO_COMPAT_KNOWN };

    /// Refuses to write to a store that a newer program must keep consistent.
    pub(crate) fn permit_writing(self) -> Result<()> {
        match self.ro_compat & !RO_COMPAT_KNOWN {
            0 => Ok(()),
            unknown => Err(Error::Unsupported { what: "format feature for writing", found: unknown }),
        }
    }
}

/// The page on disk. `checksum` covers everything before it.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct PageV1 {
    magic: [u8; 8],
    version: U32,
    block_bytes: U32,
    compat: U64,
    ro_compat: U64,
    incompat: U64,
    store: [u8; 16],
    generation: U64,
    manifest: U64,
    created_ms: U64,
    sequence: U64,
    reserved: [u8; PAGE_BYTES - 92],
    checksum: U32,
}

const _: () = assert!(size_of::<PageV1>() == PAGE_BYTES);

impl Superblock {
    fn encode(&self, copy: u64) -> PageV1 {
        let mut page = PageV1 {
            magic: MAGIC,
            version: VERSION.into(),
            block_bytes: (BLOCK_BYTES as u32).into(),
            compat: self.features.compat.into(),
            ro_compat: self.features.ro_compat.into(),
            incompat: INCOMPAT_KNOWN.into(),
            store: self.store.0,
            generation: self.generation.into(),
            manifest: self.manifest.into(),
            created_ms: self.created_ms.into(),
            sequence: self.sequence.into(),
            reserved: [0; PAGE_BYTES - 92],
            checksum: 0.into(),
        };
        page.checksum = page.expected_checksum(copy).into();
        page
    }

    /// Reads one copy; `Ok(None)` if the bytes are not a superblock, an error if a newer program wrote them.
    fn decode(bytes: &[u8; PAGE_BYTES], copy: u64) -> Result<Option<Self>> {
        let page = PageV1::ref_from_bytes(bytes).expect("a page has the size of a page");
        if page.magic != MAGIC || page.checksum.get() != page.expected_checksum(copy) {
            return Ok(None);
        }
        let unknown = page.incompat.get() & !INCOMPAT_KNOWN;
        if page.version.get() > VERSION {
            return Err(Error::Unsupported { what: "format version", found: page.version.get().into() });
        }
        if unknown != 0 {
            return Err(Error::Unsupported { what: "format feature", found: unknown });
        }
        if page.block_bytes.get() as usize != BLOCK_BYTES {
            return Err(Error::Unsupported { what: "block size", found: page.block_bytes.get().into() });
        }
        Ok(Some(Self {
            store: StoreId(page.store),
            generation: page.generation.get(),
            manifest: page.manifest.get(),
            sequence: page.sequence.get(),
            created_ms: page.created_ms.get(),
            features: Features { compat: page.compat.get(), ro_compat: page.ro_compat.get() },
        }))
    }
}

impl PageV1 {
    /// A version from the future may checksum its page otherwise, but it keeps magic, version and the checksum's
    /// place and rule, so that this program can tell "newer" from "damaged".
    fn expected_checksum(&self, copy: u64) -> u32 {
        let covered = &self.as_bytes()[..PAGE_BYTES - 4];
        Seal::new(StoreId(self.store), Kind(*b"SUPR"), 0).checksum(copy * PAGE_BYTES as u64, &[covered])
    }
}

/// Reads the superblock; [`Error::NoStore`] if there is none.
pub(crate) fn read(device: &dyn Device) -> Result<Superblock> {
    let file = match device.open(SUPERBLOCK_FILE, Access::Buffered) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::NoStore),
        Err(error) => return Err(Error::io("opening", SUPERBLOCK_FILE, error)),
    };
    let mut newest: Option<Superblock> = None;
    let mut unread = None;
    for copy in 0..COPIES {
        let mut page = [0; PAGE_BYTES];
        match file.read_at(&mut page, copy * PAGE_BYTES as u64) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            // One unreadable copy is what the others are for.
            Err(error) => {
                tracing::warn!(copy, %error, "a copy of the superblock cannot be read");
                unread = Some(Error::io("reading", SUPERBLOCK_FILE, error));
                continue;
            }
        }
        if let Some(found) = Superblock::decode(&page, copy)?
            && newest.is_none_or(|newest| newest.generation < found.generation)
        {
            newest = Some(found);
        }
    }
    // What the device does not give may be as good as ever.
    let missing = || Error::corrupt(SUPERBLOCK_FILE, 0, "no copy of the superblock is valid");
    newest.ok_or_else(|| unread.unwrap_or_else(missing))
}

/// Byte offsets of copies that are not whole and ought to be, for `check`. An update that was interrupted leaves two copies
/// in any state, while the other two agree.
pub(crate) fn damaged_copies(device: &dyn Device, expected: &Superblock) -> Result<Vec<u64>> {
    let file = open(device)?;
    let copy_of = |copy: u64| {
        let mut page = [0; PAGE_BYTES];
        file.read_at(&mut page, copy * PAGE_BYTES as u64).ok()?;
        let found = Superblock::decode(&page, copy).ok()??;
        (found.store == expected.store && found.generation <= expected.generation).then_some(found)
    };
    let copies: Vec<_> = (0..COPIES).map(copy_of).collect();
    let (first, second) = copies.split_at(COPIES as usize / 2);
    let agrees = |pair: &[Option<Superblock>]| pair[0].is_some() && pair[0] == pair[1];
    if agrees(first) || agrees(second) {
        return Ok(Vec::new());
    }
    let damaged = copies.iter().enumerate().filter(|(_, copy)| copy.is_none());
    Ok(damaged.map(|(copy, _)| (copy * PAGE_BYTES) as u64).collect())
}

/// Byte offsets of copies that are not `current` on the disk itself, past the page cache. No update may be under way.
pub(crate) fn rotten_copies(device: &dyn Device, current: &Superblock) -> Result<Vec<u64>> {
    let open = device.open(SUPERBLOCK_FILE, Access::Direct);
    let file = open.map_err(|error| Error::io("opening", SUPERBLOCK_FILE, error))?;
    let mut page = AlignedBuffer::zeroed(PAGE_BYTES);
    let mut is_rotten = |copy: &u64| {
        let read = file.read_at(&mut page, copy * PAGE_BYTES as u64);
        read.is_err() || page[..] != *current.encode(*copy).as_bytes()
    };
    Ok((0..COPIES).filter(|copy| is_rotten(copy)).map(|copy| copy * PAGE_BYTES as u64).collect())
}

/// Writes the first superblock of a store under a temporary name and gives it its name: with it the store exists.
pub(crate) fn create(device: &dyn Device, superblock: &Superblock) -> Result<()> {
    let fail = |error| Error::io("writing", SUPERBLOCK_FILE, error);
    match device.remove(SUPERBLOCK_NEW) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    let file = device.create(SUPERBLOCK_NEW, Access::Buffered).map_err(fail)?;
    write_copies(&file, superblock, 0..COPIES)?;
    device.rename(SUPERBLOCK_NEW, SUPERBLOCK_FILE).map_err(fail)?;
    device.sync_directory("").map_err(fail)
}

/// Ends an update that a process began before it died, or the machine: all copies then say what was read, durably, and
/// no other manifest is named by any.
pub(crate) fn settle(device: &dyn Device, superblock: &Superblock) -> Result<()> {
    // Whoever made the store may have died before the name of the file was durable.
    device.sync_directory("").map_err(|error| Error::io("syncing", "the data directory", error))?;
    let file = open(device)?;
    let agrees = |copy: u64| {
        let mut page = [0; PAGE_BYTES];
        file.read_at(&mut page, copy * PAGE_BYTES as u64).is_ok() && page == superblock.encode(copy).as_bytes()
    };
    if (0..COPIES).all(agrees) {
        return file.sync_data().map_err(|error| Error::io("syncing", SUPERBLOCK_FILE, error));
    }
    update(device, superblock)
}

/// Replaces the superblock in place, two copies at a time.
pub(crate) fn update(device: &dyn Device, superblock: &Superblock) -> Result<()> {
    let file = open(device)?;
    write_copies(&file, superblock, 0..COPIES / 2)?;
    write_copies(&file, superblock, COPIES / 2..COPIES)
}

fn open(device: &dyn Device) -> Result<Arc<dyn File>> {
    device.open(SUPERBLOCK_FILE, Access::Buffered).map_err(|error| Error::io("opening", SUPERBLOCK_FILE, error))
}

fn write_copies(file: &Arc<dyn File>, superblock: &Superblock, copies: std::ops::Range<u64>) -> Result<()> {
    for copy in copies {
        let page = superblock.encode(copy);
        file.write_at(&[IoSlice::new(page.as_bytes())], copy * PAGE_BYTES as u64)
            .map_err(|error| Error::io("writing", SUPERBLOCK_FILE, error))?;
    }
    file.sync_data().map_err(|error| Error::io("syncing", SUPERBLOCK_FILE, error))
}

#[cfg(test)]
mod tests;
