//! Records of schedules: key `schedule/ID`, where ID is the volume's (`docs/disk-format.md`, "Catalog").

use lsm_store::id::VolumeId;
use lsm_store::store::Record;

use super::{InvalidRecord, decode_id};
use crate::schedule::{Rule, Schedule};
use crate::span::Span;

pub(super) const PREFIX: &[u8] = b"schedule/";
const VERSION: u8 = 1;

/// The record that gives volume `id` its schedule.
#[must_use]
pub fn schedule_record(id: VolumeId, schedule: &Schedule) -> Record {
    let mut value = vec![VERSION, 0, 0, 0, 0, 0, 0, 0];
    value.extend_from_slice(&schedule.every().seconds().to_le_bytes());
    for rule in schedule.keep() {
        value.extend_from_slice(&rule.step.seconds().to_le_bytes());
        value.extend_from_slice(&rule.reach.seconds().to_le_bytes());
    }
    Record { key: key(id), value: Some(value) }
}

/// The record that takes the schedule of volume `id` away.
#[must_use]
pub fn schedule_removal(id: VolumeId) -> Record {
    Record { key: key(id), value: None }
}

fn key(id: VolumeId) -> Vec<u8> {
    [PREFIX, format!("{:016x}", id.0).as_bytes()].concat()
}

/// Reads a record, whose key begins with [`PREFIX`] and goes on with `key`.
pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<(VolumeId, Schedule), InvalidRecord> {
    let id = decode_id(key).ok_or(InvalidRecord::Name)?;
    let invalid = InvalidRecord::OfVolume(id);
    let (words, rest) = value.as_chunks::<8>();
    match words.first() {
        Some([VERSION, 0, 0, 0, 0, 0, 0, 0]) => {}
        Some([version, ..]) if *version > VERSION => return Err(InvalidRecord::Version(*version)),
        _ => return Err(invalid),
    }
    let spans: Option<Vec<Span>> =
        words[1..].iter().map(|word| Span::from_seconds(u64::from_le_bytes(*word)).ok()).collect();
    let (Some([every, rules @ ..]), []) = (spans.as_deref(), rest) else { return Err(invalid) };
    let (rules, []) = rules.as_chunks::<2>() else { return Err(invalid) };
    let rules = rules.iter().map(|&[step, reach]| Rule { step, reach }).collect();
    Ok((id, Schedule::new(*every, rules).map_err(|_| invalid)?))
}

#[cfg(test)]
mod tests;
