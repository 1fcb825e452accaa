//! The beginning of a file: its stored form, encoding and checked decoding. No I/O.
//!
//! It has the whole [`State`] of the log, so that older files can go. `docs/disk-format.md`, "Replica logs".

use lsm_store::checksum::Seal;
use net::id::{Epoch, Lsn};
use net::replication::{History, Standing};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::BootId;
use super::error::{LogError, Result};
use super::frame::Sequence;
use super::place::{FileNumber, Place};
use super::state::{LSN_END, State};

/// Where the first frame of a file starts.
pub(super) const HEADER_BYTES: usize = 8192;

/// Epochs that a header has room for: as many as a history remembers.
pub(super) const EPOCHS_MAX: usize = 256;

const KIND: [u8; 4] = *b"RLGH";
const MAGIC: [u8; 8] = *b"SILTRLOG";
const VERSION: u32 = 1;
const FEATURES_KNOWN: u64 = 0;
const CHECKSUM_OFFSET: usize = HEADER_BYTES - 4;

/// What the beginning of a file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Header {
    /// Sequence of its first frame.
    pub(super) first: Sequence,
    /// Every frame up to here was on stable storage when the file began.
    pub(super) synced: Sequence,
    /// Checksum of what comes before it in the chain; 0 in the first file.
    pub(super) previous: u32,
    /// During which start of the kernel it was written.
    pub(super) boot: BootId,
    /// The log begins anew: the state is not what the file before ends with.
    pub(super) is_install: bool,
    /// What the log says there.
    pub(super) state: State,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct LogHeaderV1 {
    magic: [u8; 8],
    version: U32,
    previous: U32,
    compat: U64,
    ro_compat: U64,
    incompat: U64,
    volume: U64,
    number: U64,
    boot: [u8; 16],
    first: U64,
    synced: U64,
    floor: U64,
    end: U64,
    standing_epoch: U64,
    standing: u8,
    is_torn: u8,
    is_doubted: u8,
    is_install: u8,
    epoch_count: U32,
    epochs: [LogEpochV1; EPOCHS_MAX],
    reserved: [u8; CHECKSUM_OFFSET - 4216],
    checksum: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct LogEpochV1 {
    epoch: U64,
    first: U64,
}

const _: () = assert!(size_of::<LogHeaderV1>() == HEADER_BYTES);

/// A standing as it is stored: a byte and an epoch.
pub(super) fn encode_standing(standing: Standing) -> (u8, Epoch) {
    match standing {
        Standing::Outside => (0, Epoch(0)),
        Standing::Doubtful(epoch) => (1, epoch),
        Standing::Sound(epoch) => (2, epoch),
    }
}

/// The standing that is stored so, if one is.
pub(super) fn decode_standing(standing: u8, epoch: Epoch) -> Option<Standing> {
    match standing {
        0 if epoch == Epoch(0) => Some(Standing::Outside),
        1 => Some(Standing::Doubtful(epoch)),
        2 => Some(Standing::Sound(epoch)),
        _ => None,
    }
}

/// The epochs of a history that are kept.
pub(super) fn remembered(history: &History) -> &[(Epoch, Lsn)] {
    let starts = history.starts();
    &starts[starts.len().saturating_sub(EPOCHS_MAX)..]
}

impl Header {
    /// The first bytes of the file, and their checksum, which its first frame names.
    pub(super) fn encode(&self, place: &Place, number: FileNumber) -> (Vec<u8>, u32) {
        let mut header = LogHeaderV1::new_zeroed();
        header.magic = MAGIC;
        header.version = VERSION.into();
        header.previous = self.previous.into();
        header.volume = place.volume.0.into();
        header.number = number.0.into();
        header.boot = self.boot.0;
        header.first = self.first.0.into();
        header.synced = self.synced.0.into();
        header.is_install = self.is_install.into();
        header.put_state(&self.state);
        header.checksum = checksum(place, number, header.as_bytes()).into();
        (header.as_bytes().to_vec(), header.checksum.get())
    }

    /// The header at the start of `bytes` with its checksum; `None` if it is not that of the file: damaged, or never
    /// written as a whole.
    ///
    /// # Errors
    /// [`LogError::Unsupported`]; [`LogError::Corrupt`] if it was written so and makes no sense.
    pub(super) fn decode(place: &Place, number: FileNumber, bytes: &[u8]) -> Result<Option<(Self, u32)>> {
        let Ok((stored, _)) = LogHeaderV1::ref_from_prefix(bytes) else { return Ok(None) };
        let is_whole = stored.magic == MAGIC && stored.checksum.get() == checksum(place, number, stored.as_bytes());
        if !is_whole {
            return Ok(None);
        }
        let unsupported = |what, found| LogError::Unsupported { file: place.path(number), what, found };
        if stored.version.get() > VERSION {
            return Err(unsupported("version", stored.version.get().into()));
        }
        let unknown = (stored.incompat.get() | stored.ro_compat.get()) & !FEATURES_KNOWN;
        if unknown != 0 {
            return Err(unsupported("features", unknown));
        }
        let header = stored.to_header(place, number);
        let header = header.ok_or_else(|| LogError::corrupt(&place.path(number), 0, "a header that makes no sense"))?;
        Ok(Some((header, stored.checksum.get())))
    }
}

impl LogHeaderV1 {
    fn put_state(&mut self, state: &State) {
        let (standing, epoch) = encode_standing(state.standing);
        let starts = remembered(&state.history);
        self.floor = state.floor.0.into();
        self.end = state.end().0.into();
        (self.standing, self.standing_epoch) = (standing, epoch.0.into());
        (self.is_torn, self.is_doubted) = (state.is_torn.into(), state.is_doubted.into());
        self.epoch_count = (starts.len() as u32).into();
        for (stored, (epoch, first)) in self.epochs.iter_mut().zip(starts) {
            *stored = LogEpochV1 { epoch: epoch.0.into(), first: first.0.into() };
        }
    }

    /// `None` if a field holds what no program writes.
    fn to_header(self, place: &Place, number: FileNumber) -> Option<Header> {
        let is_here = self.volume.get() == place.volume.0 && self.number.get() == number.0;
        let can_count = self.end.get() < LSN_END && (1..LSN_END).contains(&self.first.get());
        if !is_here || !can_count {
            return None;
        }
        Some(Header {
            first: Sequence(self.first.get()),
            synced: Sequence(self.synced.get()),
            previous: self.previous.get(),
            boot: BootId(self.boot),
            is_install: flag(self.is_install)?,
            state: self.to_state()?,
        })
    }

    fn to_state(self) -> Option<State> {
        let starts = self.epochs.get(..self.epoch_count.get() as usize)?;
        let starts = starts.iter().map(|start| (Epoch(start.epoch.get()), Lsn(start.first.get()))).collect();
        let state = State {
            history: History::new(starts, Lsn(self.end.get()))?,
            floor: Lsn(self.floor.get()),
            standing: decode_standing(self.standing, Epoch(self.standing_epoch.get()))?,
            is_torn: flag(self.is_torn)?,
            is_doubted: flag(self.is_doubted)?,
        };
        (state.floor <= state.end()).then_some(state)
    }
}

fn flag(byte: u8) -> Option<bool> {
    (byte < 2).then_some(byte == 1)
}

fn checksum(place: &Place, number: FileNumber, header: &[u8]) -> u32 {
    let seal: Seal = place.seal(KIND, number);
    seal.checksum(0, &[&header[..CHECKSUM_OFFSET]])
}

#[cfg(test)]
mod tests;
