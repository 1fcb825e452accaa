//! What changes at a node by itself, as events: space, damage, scrubs, and a store that stops.

use std::collections::BTreeSet;

use lsm_store::store::ScrubDamage;

use super::Node;
use crate::events::{Events, kind};

/// Below this room the node counts as full: a long write may be refused.
const FULL_BYTES: u64 = 4 << 20;

/// From this room on it is full no longer.
const ROOM_BYTES: u64 = 4 * FULL_BYTES;

/// Damaged places that have an event each; of more only the number is told.
const PLACES_MAX: usize = 8;

/// What was so at the last look.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Seen {
    is_full: bool,
    stopped: Option<String>,
    damage_gone: u64,
    /// By file and place.
    damages: BTreeSet<(String, u64)>,
    /// When the last scrub ended.
    scrubbed_ms: u64,
}

impl Node {
    /// What happened at the node.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Notes what has changed since the last look.
    pub(super) fn note_changes(&self) {
        let mut seen = self.seen.lock();
        let (status, damages) = (self.store.status(), self.store.scrub_status().damages);
        let now = Seen {
            is_full: is_full(seen.as_ref().is_some_and(|before| before.is_full), status.room_bytes),
            stopped: status.stopped,
            damage_gone: status.damage_gone,
            damages: damages.iter().map(|damage| (damage.file.clone(), damage.offset)).collect(),
            scrubbed_ms: self.store.scrub_schedule().last_ms,
        };
        for (kind, text) in seen.iter().flat_map(|before| changes(before, &now, &damages)) {
            self.events.note(kind, "", &text);
        }
        *seen = Some(now);
    }
}

fn is_full(was_full: bool, room_bytes: u64) -> bool {
    room_bytes < if was_full { ROOM_BYTES } else { FULL_BYTES }
}

/// The events between two looks.
fn changes(before: &Seen, now: &Seen, damages: &[ScrubDamage]) -> Vec<(&'static str, String)> {
    let mut events = Vec::new();
    match (before.is_full, now.is_full) {
        (false, true) => events.push((kind::DISK_FULL, "there is no room for new data".to_owned())),
        (true, false) => events.push((kind::DISK_HAS_ROOM, "there is room for new data again".to_owned())),
        _ => {}
    }
    if let (None, Some(why)) = (&before.stopped, &now.stopped) {
        events.push((kind::STORE_STOPPED, format!("the store has stopped: {why}")));
    }
    let is_new = |damage: &&ScrubDamage| !before.damages.contains(&(damage.file.clone(), damage.offset));
    let new: Vec<_> = damages.iter().filter(is_new).collect();
    let place = |damage: &&ScrubDamage| format!("damage in {} at {}: {}", damage.file, damage.offset, damage.what);
    events.extend(new.iter().take(PLACES_MAX).map(|damage| (kind::DAMAGE_FOUND, place(damage))));
    if new.len() > PLACES_MAX {
        let more = new.len() - PLACES_MAX;
        events.push((kind::DAMAGE_FOUND, format!("damage in {more} more places: `silt scrub --status` lists them")));
    }
    let gone = now.damage_gone.saturating_sub(before.damage_gone);
    if gone > 0 {
        events.push((kind::DAMAGE_GONE, format!("damage that was known is not there any more: {gone}")));
    }
    if now.scrubbed_ms != before.scrubbed_ms {
        let found = match now.damages.len() {
            0 => "there is no damage".to_owned(),
            count => format!("damaged places that are known: {count}"),
        };
        events.push((kind::SCRUB_DONE, format!("a scrub went to its end: {found}")));
    }
    events
}

#[cfg(test)]
mod tests;
