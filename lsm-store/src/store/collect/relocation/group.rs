//! What lives in a frame on its way into a new segment: as it is, compressed again, or together with others.

use super::{Relocation, Wanted, living};
use crate::codec::{Codec, Encoding, GROUP_BLOCKS_MAX, Stored, ZstdLevel};
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::id::{BLOCK_BYTES, Location};
use crate::segment::{Class, Readahead};

/// What lives in a frame, verified.
pub(super) struct Part<'w> {
    wanted: &'w Wanted,
    /// The whole frame.
    bytes: &'w [u8],
    stored: Stored<'w>,
    locations: Vec<Location>,
    fingerprints: Vec<Fingerprint>,
}

impl Part<'_> {
    fn is_whole(&self) -> bool {
        self.locations.len() == usize::from(self.wanted.place.blocks)
    }

    /// Takes the blocks from the `count`th on away. What is left of a frame is compressed again anyway, in whatever parts.
    fn split_off(&mut self, count: usize) -> Self {
        let locations = self.locations.split_off(count);
        let fingerprints = self.fingerprints.split_off(count);
        Self { locations, fingerprints, ..*self }
    }

    /// Bytes that what lives takes now, about.
    fn stored_bytes(&self) -> usize {
        self.stored.bytes.len() * self.locations.len() / usize::from(self.wanted.place.blocks)
    }
}

/// How many blocks like those of `part` can be compressed together with those of `group`. All belong to one family, so that
/// they may well live as long.
fn room(group: &[Part<'_>], part: &Part<'_>) -> usize {
    let blocks: usize = group.iter().map(|part| part.locations.len()).sum();
    let is_kin = group.first().is_none_or(|first| first.wanted.family == part.wanted.family);
    if is_kin { GROUP_BLOCKS_MAX - blocks } else { 0 }
}

impl Relocation<'_> {
    /// Verifies a frame.
    pub(super) fn part<'w>(&mut self, wanted: &'w Wanted, bytes: &'w [u8]) -> Result<Part<'w>> {
        let Wanted { segment, place, .. } = wanted;
        let slots = || living(self.mark, segment.id(), *place);
        let (frame, fingerprints) = self.reading.of(segment.id(), || {
            let fingerprints = slots().map(|slot| segment.fingerprint(slot, Readahead::Stream));
            Ok((segment.frame(place, bytes)?, fingerprints.collect::<Result<Vec<_>>>()?))
        })?;
        let locations = slots().map(|slot| Location { segment: segment.id(), slot }).collect();
        Ok(Part { wanted, bytes, stored: frame.stored, locations, fingerprints })
    }

    /// Appends what lives in a frame: as it is, or compressed again if some of it does not.
    pub(super) fn move_part(&mut self, part: &Part<'_>) -> Result<()> {
        let class = self.class_of(part.wanted.segment.id());
        if part.is_whole() {
            return self.survivors.append(class, &part.locations, &part.fingerprints, part.stored);
        }
        let (codec, together) = match (part.stored.encoding, self.codec_of(part.wanted.layer)) {
            (Encoding::Zstd, Codec::Zstd { level }) => (Codec::Zstd { level }, part.locations.len()),
            (Encoding::Zstd, _) => (Codec::Zstd { level: self.packing.level }, part.locations.len()),
            (Encoding::Lz4 | Encoding::Raw, _) => (Codec::Lz4, 1),
        };
        let mut blocks = Vec::new();
        self.decode(part, &mut blocks)?;
        let parts = part.locations.chunks(together).zip(part.fingerprints.chunks(together));
        for ((locations, fingerprints), blocks) in parts.zip(blocks.chunks(together * BLOCK_BYTES)) {
            let stored = self.compressor.compress(codec, blocks);
            if stored.encoding != Encoding::Raw {
                self.survivors.append(class, locations, fingerprints, stored)?;
                continue;
            }
            for (index, block) in blocks.chunks(BLOCK_BYTES).enumerate() {
                let stored = Stored { encoding: Encoding::Raw, bytes: block };
                self.survivors.append(class, &locations[index..=index], &fingerprints[index..=index], stored)?;
            }
        }
        Ok(())
    }

    /// Adds what lives in a cold frame to the group; when the group is full, it is appended and another begins.
    pub(super) fn pack<'w>(&mut self, group: &mut Vec<Part<'w>>, mut part: Part<'w>) -> Result<()> {
        loop {
            let room = room(group, &part);
            if part.locations.len() <= room {
                group.push(part);
                return Ok(());
            }
            if !part.is_whole() && room > 0 {
                let rest = part.split_off(room);
                group.push(part);
                part = rest;
            }
            self.move_group(group)?;
            group.clear();
        }
    }

    /// Appends cold frames, of no more blocks than a group has, compressed together. If they could stay as they are, that has
    /// to save a sixteenth of what they take now.
    pub(super) fn move_group(&mut self, parts: &[Part<'_>]) -> Result<()> {
        let Some(first) = parts.first() else { return Ok(()) };
        if matches!(parts, [part] if part.is_whole() && part.stored.encoding == Encoding::Zstd) {
            return self.move_part(first);
        }
        let mut blocks = Vec::with_capacity(GROUP_BLOCKS_MAX * BLOCK_BYTES);
        for part in parts {
            self.decode(part, &mut blocks)?;
        }
        let level = self.cold_level(first);
        let stored = self.compressor.compress(Codec::Zstd { level }, &blocks);
        let now: usize = parts.iter().map(Part::stored_bytes).sum();
        let is_worth = stored.bytes.len() <= now - now / 16 || !parts.iter().all(Part::is_whole);
        if stored.encoding == Encoding::Raw || !is_worth {
            return parts.iter().try_for_each(|part| self.move_part(part));
        }
        let locations: Vec<_> = parts.iter().flat_map(|part| &part.locations).copied().collect();
        let fingerprints: Vec<_> = parts.iter().flat_map(|part| &part.fingerprints).copied().collect();
        self.survivors.append(Class::Cold, &locations, &fingerprints, stored)
    }

    /// The level of cold data, or that of its volume if it is higher.
    fn cold_level(&mut self, part: &Part<'_>) -> ZstdLevel {
        match self.codec_of(part.wanted.layer) {
            Codec::Zstd { level } => level.max(self.packing.level),
            Codec::None | Codec::Lz4 => self.packing.level,
        }
    }

    /// Adds the living blocks of a frame to `blocks`.
    fn decode(&mut self, part: &Part<'_>, blocks: &mut Vec<u8>) -> Result<()> {
        let Wanted { segment, place, .. } = part.wanted;
        let mut decoded = vec![0; place.decoded_bytes()];
        let decompressor = &mut self.decompressor;
        self.reading.of(segment.id(), || segment.decode(place, part.bytes, decompressor, &mut decoded))?;
        for location in &part.locations {
            let at = place.index_of(location.slot) * BLOCK_BYTES;
            blocks.extend_from_slice(&decoded[at..at + BLOCK_BYTES]);
        }
        Ok(())
    }
}
