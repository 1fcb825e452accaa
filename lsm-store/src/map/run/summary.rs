//! Which segments a run names, and with how many blocks: pairs of LEB128 numbers, in order of the segments.

use rustc_hash::FxHashMap;

use crate::id::SegmentId;
use crate::map::{Stretch, Target};

/// Counts the blocks of each segment while a run is written: 16 bytes a segment.
#[derive(Default)]
pub(super) struct SummaryBuilder {
    blocks: FxHashMap<u32, u64>,
}

impl SummaryBuilder {
    pub(super) fn add(&mut self, stretch: &Stretch) {
        if let Target::Data(location) = stretch.target {
            *self.blocks.entry(location.segment.0).or_default() += stretch.count;
        }
    }

    /// Each segment less the one before (the first less 0), then its blocks.
    pub(super) fn encode(self) -> Vec<u8> {
        let mut pairs: Vec<_> = self.blocks.into_iter().collect();
        pairs.sort_unstable();
        let mut out = Vec::with_capacity(pairs.len() * 3);
        let mut before = 0;
        for (segment, blocks) in pairs {
            put_number(&mut out, u64::from(segment - before));
            put_number(&mut out, blocks);
            before = segment;
        }
        out
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number of at most 9 bytes off the front.
fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// The pairs that `bytes` hold; `None` if they hold anything else.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Vec<(SegmentId, u64)>> {
    let mut pairs = Vec::with_capacity(bytes.len() / 3);
    let mut segment = 0u32;
    while !bytes.is_empty() {
        let step = u32::try_from(take_number(&mut bytes)?).ok()?;
        if step == 0 && !pairs.is_empty() {
            return None;
        }
        segment = segment.checked_add(step)?;
        pairs.push((SegmentId(segment), take_number(&mut bytes)?));
    }
    Some(pairs)
}
