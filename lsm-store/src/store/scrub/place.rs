//! Damaged places: what the store remembers of damage until it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::trace::Touched;
use crate::id::{BlockIndex, FamilyId, RunId, SegmentId};
use crate::manifest::MANIFEST_DIRECTORY;
use crate::map::{self, Key};
use crate::segment::{self, DamageKind};
use crate::superblock::SUPERBLOCK_FILE;

/// Places that are kept; further ones are counted.
pub(super) const PLACES_MAX: usize = 256;

/// A file that a scrub verifies, in the order in which it does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum ScrubFile {
    Superblock,
    /// The current one.
    Manifest,
    Run(RunId),
    Segment(SegmentId),
}

impl ScrubFile {
    /// The file at `path`, if scrubs verify it.
    pub(super) fn at(path: &str) -> Option<Self> {
        match path.split_once('/') {
            None => (path == SUPERBLOCK_FILE).then_some(Self::Superblock),
            Some((segment::SEGMENT_DIRECTORY, name)) => segment::parse_name(name).map(Self::Segment),
            Some((map::run::DIRECTORY, name)) => u64::from_str_radix(name, 16).ok().map(|id| Self::Run(RunId(id))),
            Some(_) => None,
        }
    }

    /// Its path, or the directory where that says enough.
    pub(super) fn path(self) -> String {
        match self {
            Self::Superblock => SUPERBLOCK_FILE.to_owned(),
            Self::Manifest => MANIFEST_DIRECTORY.to_owned(),
            Self::Run(id) => map::run::path(id),
            Self::Segment(id) => segment::path(id),
        }
    }

    /// As it is stored: a kind and an id.
    pub(super) fn to_stored(self) -> (u8, u64) {
        match self {
            Self::Superblock => (1, 0),
            Self::Manifest => (2, 0),
            Self::Run(id) => (3, id.0),
            Self::Segment(id) => (4, id.0.into()),
        }
    }

    pub(super) fn from_stored(kind: u8, id: u64) -> Option<Self> {
        match kind {
            1 => Some(Self::Superblock),
            2 => Some(Self::Manifest),
            3 => Some(Self::Run(RunId(id))),
            4 => u32::try_from(id).ok().map(|id| Self::Segment(SegmentId(id))),
            _ => None,
        }
    }
}

/// What does not hold. The numbers are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(in crate::store) enum PlaceKind {
    Header = 1,
    Footer = 2,
    SlotTable = 3,
    Fingerprints = 4,
    Directory = 5,
    Frame = 6,
    Content = 7,
    Unreadable = 8,
    Run = 9,
    Manifest = 10,
    Superblock = 11,
}

impl PlaceKind {
    const ALL: [Self; 11] = [
        Self::Header,
        Self::Footer,
        Self::SlotTable,
        Self::Fingerprints,
        Self::Directory,
        Self::Frame,
        Self::Content,
        Self::Unreadable,
        Self::Run,
        Self::Manifest,
        Self::Superblock,
    ];

    /// What it means, in words.
    pub(in crate::store) fn text(self) -> &'static str {
        match self {
            Self::Header => "the header is damaged; the footer repeats it, nothing is lost",
            Self::Footer => "the footer is damaged: nothing of the segment can be found",
            Self::SlotTable => "a page of the slot table is damaged: its blocks cannot be found",
            Self::Fingerprints => "a page of fingerprints is damaged; its blocks can still be read",
            Self::Directory => "the directory contradicts the footer",
            Self::Frame => "a frame is damaged: its blocks cannot be read",
            Self::Content => "a block is not the one its fingerprint names",
            Self::Unreadable => "the device does not give these bytes",
            Self::Run => "the map is damaged here: what it knows of these blocks cannot be read",
            Self::Manifest => "the manifest is damaged: the store may not open again",
            Self::Superblock => "this copy of the superblock is damaged; the others are used",
        }
    }
}

impl From<DamageKind> for PlaceKind {
    fn from(kind: DamageKind) -> Self {
        match kind {
            DamageKind::Header => Self::Header,
            DamageKind::Footer => Self::Footer,
            DamageKind::SlotTable => Self::SlotTable,
            DamageKind::Fingerprints => Self::Fingerprints,
            DamageKind::Directory => Self::Directory,
            DamageKind::Frame => Self::Frame,
            DamageKind::Content => Self::Content,
            DamageKind::Unreadable => Self::Unreadable,
        }
    }
}

/// A damaged place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) file: ScrubFile,
    /// First damaged byte of the file.
    pub(super) offset: u64,
    pub(super) kind: PlaceKind,
    /// Slots of a segment that cannot be read.
    pub(super) slots: Range<u32>,
    /// First and last block that a damaged part of a run is about.
    pub(super) span: Option<(Key, Key)>,
    /// When it was found, since the Unix epoch.
    pub(super) found_ms: u64,
    /// Who is touched; `None` if that was not found out yet.
    pub(super) touched: Option<Touched>,
}

impl Place {
    fn is_at(&self, other: &Self) -> bool {
        (self.offset, self.kind, &self.slots) == (other.offset, other.kind, &other.slots)
    }
}

/// How a new look at a file has changed what is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Change {
    pub(super) new: usize,
    pub(super) gone: usize,
    /// It is among the damaged files without a place now, or no longer.
    pub(super) crowding: bool,
}

/// The damaged places that are known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Places {
    by_file: BTreeMap<ScrubFile, Vec<Place>>,
    /// Damaged files of which there was no room for a place.
    crowded_out: BTreeSet<ScrubFile>,
    /// Places found by the pass at hand that there was no room for.
    pub(super) left_out: u64,
}

impl Places {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Place> {
        self.by_file.values().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Place> {
        self.by_file.values_mut().flatten()
    }

    /// True if this file is damaged.
    pub(super) fn has(&self, file: ScrubFile) -> bool {
        self.by_file.contains_key(&file) || self.crowded_out.contains(&file)
    }

    /// The damaged files, also those of which no place is kept.
    pub(super) fn files(&self) -> impl Iterator<Item = &ScrubFile> {
        self.by_file.keys().chain(&self.crowded_out)
    }

    /// True if there are files of which no place is kept.
    pub(super) fn is_crowded(&self) -> bool {
        !self.crowded_out.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.by_file.values().map(Vec::len).sum()
    }

    /// What a look at all of `file` has found takes the place of what was known of it. A place that was known keeps its
    /// date and whom it touches.
    pub(super) fn replace(&mut self, file: ScrubFile, mut found: Vec<Place>) -> Change {
        let old = self.by_file.remove(&file).unwrap_or_default();
        let room = PLACES_MAX - self.len();
        self.left_out += found.len().saturating_sub(room) as u64;
        let crowding = match !found.is_empty() && room == 0 {
            true => self.crowded_out.insert(file),
            false => self.crowded_out.remove(&file),
        };
        found.truncate(room);
        let gone = old.iter().filter(|old| !found.iter().any(|place| place.is_at(old))).count();
        let mut known = 0;
        for place in &mut found {
            if let Some(old) = old.iter().find(|old| old.is_at(place)) {
                (place.found_ms, place.touched) = (old.found_ms, old.touched.clone());
                known += 1;
            }
        }
        let new = found.len() - known;
        if !found.is_empty() {
            self.by_file.insert(file, found);
        }
        Change { new, gone, crowding }
    }

    /// Forgets the files that are no more; how many places that were.
    pub(super) fn retain(&mut self, exists: impl Fn(ScrubFile) -> bool) -> usize {
        let before = self.len();
        self.by_file.retain(|file, _| exists(*file));
        self.crowded_out.retain(|file| exists(*file));
        before - self.len()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(&self.left_out.to_le_bytes());
        self.iter().for_each(|place| bytes.extend_from_slice(PlaceV1::from(place).as_bytes()));
        self.crowded_out.iter().for_each(|file| bytes.extend_from_slice(PlaceV1::without_place(*file).as_bytes()));
        bytes
    }

    /// `None` if that is not what this program wrote.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[VERSION, 0, 0, 0, 0, 0, 0, 0], bytes) = bytes.split_first_chunk()? else { return None };
        let (left_out, bytes) = bytes.split_first_chunk()?;
        let mut places = Self { left_out: u64::from_le_bytes(*left_out), ..Self::default() };
        for stored in <[PlaceV1]>::ref_from_bytes(bytes).ok()? {
            if stored.kind == NO_PLACE {
                places.crowded_out.insert(stored.file()?);
                continue;
            }
            let place = stored.decode()?;
            places.by_file.entry(place.file).or_default().push(place);
        }
        Some(places).filter(|places| places.len() <= PLACES_MAX)
    }
}

const VERSION: u8 = 1;

/// In place of a [`PlaceKind`]: the file is damaged, and none of its places is kept.
const NO_PLACE: u8 = 0;

/// A place as it is stored (`docs/disk-format.md`, "Scrub").
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct PlaceV1 {
    file_kind: u8,
    kind: u8,
    has_span: u8,
    zeros: [u8; 5],
    file: U64,
    offset: U64,
    found_ms: U64,
    slots: [U32; 2],
    /// First family and block, last family and block.
    span: [U64; 4],
}

const _: () = assert!(size_of::<PlaceV1>() == 72);

impl From<&Place> for PlaceV1 {
    fn from(place: &Place) -> Self {
        let (file_kind, file) = place.file.to_stored();
        let span =
            place.span.map_or([0; 4], |(first, last)| [first.family.0, first.block.0, last.family.0, last.block.0]);
        Self {
            file_kind,
            kind: place.kind as u8,
            has_span: place.span.is_some().into(),
            zeros: [0; 5],
            file: file.into(),
            offset: place.offset.into(),
            found_ms: place.found_ms.into(),
            slots: [place.slots.start.into(), place.slots.end.into()],
            span: span.map(U64::new),
        }
    }
}

impl PlaceV1 {
    fn without_place(file: ScrubFile) -> Self {
        let (file_kind, file) = file.to_stored();
        Self { file_kind, file: file.into(), ..Self::new_zeroed() }
    }

    fn file(&self) -> Option<ScrubFile> {
        ScrubFile::from_stored(self.file_kind, self.file.get())
    }

    fn decode(&self) -> Option<Place> {
        let key = |at: usize| Key { family: FamilyId(self.span[at].get()), block: BlockIndex(self.span[at + 1].get()) };
        Some(Place {
            file: self.file()?,
            offset: self.offset.get(),
            kind: PlaceKind::ALL.into_iter().find(|kind| *kind as u8 == self.kind)?,
            slots: self.slots[0].get()..self.slots[1].get(),
            span: (self.has_span == 1).then(|| (key(0), key(2))),
            found_ms: self.found_ms.get(),
            touched: None,
        })
    }
}

#[cfg(test)]
mod tests;
