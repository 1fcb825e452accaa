//! The manifest's file: commits appended, synced, replayed, and started anew by a checkpoint.

use std::io::IoSlice;
use std::sync::Arc;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::edit::{self, Edit};
use super::state::State;
use crate::checksum::{Kind, Seal};
use crate::device::{Access, AlignedBuffer, DIRECT_ALIGNMENT, Device, File};
use crate::error::{Error, Result};
use crate::id::StoreId;

/// The directory of manifest files.
pub(crate) const MANIFEST_DIRECTORY: &str = "manifest";

/// A manifest file longer than this (and twice its own checkpoint) is replaced by a checkpoint.
pub(crate) const CHECKPOINT_BYTES: u64 = 4 << 20;

/// Space is reserved this far ahead, so that a commit does not fail for want of it.
const ALLOCATE_BYTES: u64 = 1 << 20;

const MAGIC: u32 = u32::from_le_bytes(*b"SMAN");

/// What stands before each commit's body. The checksum covers the rest of the header and the body, seeded with the
/// file and the offset; `previous` is the checksum of the commit before, 0 for the first.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct CommitHeaderV1 {
    magic: U32,
    checksum: U32,
    previous: U32,
    body_bytes: U32,
    sequence: U64,
    version: U16,
    reserved: [u8; 6],
}

const HEADER_BYTES: usize = size_of::<CommitHeaderV1>();
const _: () = assert!(HEADER_BYTES == 32);

/// Commits start at multiples of this.
const COMMIT_ALIGNMENT: u64 = 32;

/// A file with the room it has.
struct Allocated {
    file: Arc<dyn File>,
    bytes: u64,
}

/// The manifest open for commits.
pub(crate) struct Manifest {
    device: Arc<dyn Device>,
    store: StoreId,
    id: u64,
    file: Allocated,
    /// The file before, as long as this one: room for the next checkpoint that nobody can take.
    spare: Option<Allocated>,
    end: u64,
    checkpoint_bytes: u64,
    previous: u32,
    sequence: u64,
}

/// What opening a manifest found.
pub(crate) struct Opened {
    pub(crate) state: State,
    /// Sequence of the last commit.
    pub(crate) sequence: u64,
    /// Length of the valid part.
    pub(crate) end: u64,
    checksum: u32,
}

fn path(id: u64) -> String {
    format!("{MANIFEST_DIRECTORY}/{id:016x}")
}

fn encode_commit(seal: &Seal, offset: u64, previous: u32, sequence: u64, edits: &[Edit]) -> (Vec<u8>, u32) {
    let body = edit::encode(edits);
    let mut header = CommitHeaderV1 {
        magic: MAGIC.into(),
        checksum: 0.into(),
        previous: previous.into(),
        body_bytes: (body.len() as u32).into(),
        sequence: sequence.into(),
        version: edit::version_of(edits).into(),
        reserved: [0; 6],
    };
    let checksum = seal.checksum(offset, &[&header.as_bytes()[8..], &body]);
    header.checksum = checksum.into();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(&body);
    bytes.resize(bytes.len().next_multiple_of(COMMIT_ALIGNMENT as usize), 0);
    (bytes, checksum)
}

/// Replays a manifest file up to its first invalid commit: what was being appended when the machine stopped.
///
/// A manifest that ends before commit `at_least` is damaged. Whether later commits are missing at the end (rot of the newest one looks like a torn append) is found out by the journal,
/// whose batches name the manifest sequence they were written after.
pub(crate) fn replay(device: &dyn Device, store: StoreId, id: u64, at_least: u64) -> Result<Opened> {
    let path = path(id);
    let file = device.open(&path, Access::Buffered).map_err(|error| Error::io("opening the manifest", &path, error))?;
    let len = file.len().map_err(|error| Error::io("reading", &path, error))?;
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| Error::corrupt(&path, 0, "absurdly long"))?];
    file.read_at(&mut bytes, 0).map_err(|error| Error::io("reading", &path, error))?;
    let seal = Seal::new(store, Kind(*b"MANI"), id);
    let mut opened = Opened { state: State::default(), sequence: 0, end: 0, checksum: 0 };
    while let Some((header, body)) = commit_at(&seal, &bytes, &opened) {
        let edits = edit::decode(header.version.get(), body)?
            .ok_or_else(|| Error::corrupt(&path, opened.end, "a commit with a valid checksum does not decode"))?;
        if !edits.iter().all(|edit| opened.state.apply(edit)) {
            return Err(Error::corrupt(&path, opened.end, "a commit contradicts those before it"));
        }
        opened.checksum = header.checksum.get();
        opened.sequence = header.sequence.get();
        opened.end += ((HEADER_BYTES + body.len()) as u64).next_multiple_of(COMMIT_ALIGNMENT);
    }
    if opened.end == 0 {
        return Err(Error::corrupt(&path, 0, "the checkpoint at its start is not valid"));
    }
    refuse_later_commits(&seal, &path, &bytes, &opened)?;
    if opened.sequence < at_least {
        return Err(Error::corrupt(&path, opened.end, "commits that the superblock knows of are missing"));
    }
    Ok(opened)
}

/// Verifies the first `end` bytes of manifest file `id` on the disk itself, past the page cache: its commits up to `sequence`
/// and their chain.
///
/// # Errors
/// [`Error::Corrupt`], and I/O errors.
pub(crate) fn verify(device: &dyn Device, store: StoreId, id: u64, (sequence, end): (u64, u64)) -> Result<()> {
    let path = path(id);
    let fail = |error| Error::io("reading", &path, error);
    let file = device.open(&path, Access::Direct).map_err(|error| Error::io("opening", &path, error))?;
    // The file has room beyond its end, but on a full disk perhaps not up to a whole page.
    let len = end.next_multiple_of(DIRECT_ALIGNMENT as u64);
    if file.len().map_err(fail)? < len {
        let file = device.open(&path, Access::Buffered).map_err(|error| Error::io("opening", &path, error))?;
        let mut bytes = vec![0; end as usize];
        file.read_at(&mut bytes, 0).map_err(fail)?;
        return verify_commits(&Seal::new(store, Kind(*b"MANI"), id), &path, &bytes, sequence);
    }
    let mut bytes = AlignedBuffer::zeroed(len as usize);
    file.read_at(&mut bytes, 0).map_err(fail)?;
    verify_commits(&Seal::new(store, Kind(*b"MANI"), id), &path, &bytes, sequence)
}

fn verify_commits(seal: &Seal, path: &str, bytes: &[u8], sequence: u64) -> Result<()> {
    let mut seen = Opened { state: State::default(), sequence: 0, end: 0, checksum: 0 };
    while seen.sequence < sequence {
        let (header, body) = commit_at(seal, bytes, &seen)
            .ok_or_else(|| Error::corrupt(path, seen.end, "a commit of the manifest is not valid"))?;
        seen.checksum = header.checksum.get();
        seen.sequence = header.sequence.get();
        seen.end += ((HEADER_BYTES + body.len()) as u64).next_multiple_of(COMMIT_ALIGNMENT);
    }
    Ok(())
}

/// The commit at the end of what was replayed, if a valid one is there.
fn commit_at<'a>(seal: &Seal, bytes: &'a [u8], opened: &Opened) -> Option<(CommitHeaderV1, &'a [u8])> {
    let (header, body) = valid_commit(seal, bytes, opened.end)?;
    let follows = opened.end == 0 || header.sequence.get() == opened.sequence + 1;
    (header.previous.get() == opened.checksum && follows).then_some((header, body))
}

fn valid_commit<'a>(seal: &Seal, bytes: &'a [u8], offset: u64) -> Option<(CommitHeaderV1, &'a [u8])> {
    let bytes = bytes.get(usize::try_from(offset).ok()?..)?;
    let (header, rest) = CommitHeaderV1::read_from_prefix(bytes).ok()?;
    // First, because it decides nearly always, and a length at random makes the checksum long.
    if header.magic.get() != MAGIC {
        return None;
    }
    let body = rest.get(..header.body_bytes.get() as usize)?;
    let checksum = seal.checksum(offset, &[&header.as_bytes()[8..], body]);
    (header.checksum.get() == checksum).then_some((header, body))
}

/// Commits are synced one by one, so a valid one behind the break means that the break is damage, not a torn append.
fn refuse_later_commits(seal: &Seal, path: &str, bytes: &[u8], opened: &Opened) -> Result<()> {
    let mut offset = opened.end + COMMIT_ALIGNMENT;
    while offset < bytes.len() as u64 {
        if valid_commit(seal, bytes, offset).is_some_and(|(header, _)| header.sequence.get() > opened.sequence) {
            return Err(Error::corrupt(path, opened.end, "a commit in the middle is not valid"));
        }
        offset += COMMIT_ALIGNMENT;
    }
    Ok(())
}

impl Manifest {
    /// Starts manifest file `id` with a checkpoint of `state`, synced, its name too. The superblock does not name it yet:
    /// it names `id - 1`. Another file that is there is renamed and written over, so that a full disk has room for it.
    pub(crate) fn create(
        device: &Arc<dyn Device>,
        store: StoreId,
        id: u64,
        sequence: u64,
        state: &State,
    ) -> Result<Self> {
        let path = path(id);
        let fail = |error| Error::io("writing", &path, error);
        let (bytes, checksum) = encode_commit(&Seal::new(store, Kind(*b"MANI"), id), 0, 0, sequence, &state.to_edits());
        let end = bytes.len() as u64;
        let file = match longest_leftover(&**device, &[id - 1])? {
            Some((leftover, file)) if leftover == id => file,
            Some((leftover, file)) => {
                device.rename(&self::path(leftover), &path).map_err(fail)?;
                file
            }
            None => {
                let created = device.create(&path, Access::Buffered);
                created.map_err(|error| Error::io("creating", &path, error))?
            }
        };
        let mut file = Allocated { bytes: file.len().map_err(fail)?, file };
        file.make_room(end, &path)?;
        file.file.write_at(&[IoSlice::new(&bytes)], 0).map_err(fail)?;
        file.file.sync_data().map_err(|error| Error::io("syncing", &path, error))?;
        device.sync_directory(MANIFEST_DIRECTORY).map_err(|error| Error::io("syncing", MANIFEST_DIRECTORY, error))?;
        let device = Arc::clone(device);
        Ok(Self { device, store, id, file, spare: None, end, checkpoint_bytes: end, previous: checksum, sequence })
    }

    /// The file's id, for the superblock.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Sequence of the last commit.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Length of the file's valid part in bytes.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.end
    }

    /// Bytes of this file and the spare one.
    pub(crate) fn allocated_bytes(&self) -> u64 {
        self.file.bytes + self.spare.as_ref().map_or(0, |spare| spare.bytes)
    }

    /// True if a checkpoint into a new file is due.
    pub(crate) fn is_long(&self) -> bool {
        self.end > CHECKPOINT_BYTES && self.end > 2 * self.checkpoint_bytes
    }

    /// Appends a commit and syncs it; durable on return. After an error the manifest must not be used again, except
    /// after [`Error::OutOfSpace`], which leaves it as it was.
    pub(crate) fn commit(&mut self, edits: &[Edit]) -> Result<()> {
        let path = path(self.id);
        let seal = Seal::new(self.store, Kind(*b"MANI"), self.id);
        let sequence = self.sequence + 1;
        let (bytes, checksum) = encode_commit(&seal, self.end, self.previous, sequence, edits);
        self.file.make_room(self.end + bytes.len() as u64, &path)?;
        if let Some(spare) = &mut self.spare {
            spare.follow(self.file.bytes);
        }
        let fail = |error| Error::io("writing", &path, error);
        self.file.file.write_at(&[IoSlice::new(&bytes)], self.end).map_err(fail)?;
        self.file.file.sync_data().map_err(|error| Error::io("syncing", &path, error))?;
        self.end += bytes.len() as u64;
        self.previous = checksum;
        self.sequence = sequence;
        Ok(())
    }

    /// Removes manifest files other than this one and the longest of the others, which is kept to spare.
    pub(crate) fn remove_others(&mut self) -> Result<()> {
        let fail = |error| Error::io("opening", MANIFEST_DIRECTORY, error);
        let spare = longest_leftover(&*self.device, &[self.id])?;
        let kept = [Some(self.id), spare.as_ref().map(|(id, _)| *id)];
        for name in list(&*self.device)? {
            if !kept.contains(&parse(&name)) {
                let path = format!("{MANIFEST_DIRECTORY}/{name}");
                self.device.remove(&path).map_err(|error| Error::io("removing", &path, error))?;
            }
        }
        if let Some((_, file)) = spare {
            let mut spare = Allocated { bytes: file.len().map_err(fail)?, file };
            spare.follow(self.file.bytes);
            self.spare = Some(spare);
        }
        Ok(())
    }
}

impl Allocated {
    /// Makes room up to `end`, and for what comes next. It is enough if there is room up to `end`.
    fn make_room(&mut self, end: u64, path: &str) -> Result<()> {
        let wanted = (end + ALLOCATE_BYTES).next_multiple_of(ALLOCATE_BYTES);
        if wanted <= self.bytes {
            return Ok(());
        }
        match self.file.allocate(self.bytes, wanted - self.bytes) {
            Ok(()) => self.bytes = wanted,
            Err(error) => match Error::io("extending", path, error) {
                Error::OutOfSpace if end <= self.bytes => {}
                error => return Err(error),
            },
        }
        Ok(())
    }

    /// Makes the spare file as long as the current one. That it cannot be is no reason to refuse a commit: the store
    /// opens as long as a checkpoint fits, which is shorter.
    fn follow(&mut self, bytes: u64) {
        if bytes > self.bytes && self.file.allocate(self.bytes, bytes - self.bytes).is_ok() {
            self.bytes = bytes;
        }
    }
}

fn list(device: &dyn Device) -> Result<Vec<String>> {
    device.list(MANIFEST_DIRECTORY).map_err(|error| Error::io("listing", MANIFEST_DIRECTORY, error))
}

fn parse(name: &str) -> Option<u64> {
    u64::from_str_radix(name, 16).ok().filter(|id| format!("{id:016x}") == name)
}

/// The longest manifest file that is not one of `except`: nothing names it, and it has room.
fn longest_leftover(device: &dyn Device, except: &[u64]) -> Result<Option<(u64, Arc<dyn File>)>> {
    let mut longest = None;
    let mut bytes_max = 0;
    for id in list(device)?.iter().filter_map(|name| parse(name)).filter(|id| !except.contains(id)) {
        let fail = |error| Error::io("opening", path(id), error);
        let file = device.open(&path(id), Access::Buffered).map_err(fail)?;
        let bytes = file.len().map_err(fail)?;
        if longest.is_none() || bytes > bytes_max {
            (longest, bytes_max) = (Some((id, file)), bytes);
        }
    }
    Ok(longest)
}

#[cfg(test)]
mod tests;
