//! Who may open volumes over the network.

use std::collections::BTreeSet;

use super::super::id::VolumeId;
use super::super::name::Identity;
use super::{Configuration, IDENTITIES_MAX, Outcome, Rejection};

impl Configuration {
    /// The names of those who may open a volume and its snapshots over the network, sorted; none: everybody.
    #[must_use]
    pub fn allowed(&self, volume: VolumeId) -> &[Identity] {
        self.allowed.get(&volume).map_or(&[], Vec::as_slice)
    }

    pub(super) fn set_allowed(&mut self, id: VolumeId, names: &[Identity]) -> Result<Outcome, Rejection> {
        self.usable_volume(id)?;
        let names: BTreeSet<_> = names.iter().cloned().collect();
        if names.len() > IDENTITIES_MAX {
            return Err(Rejection::Identities);
        }
        if names.is_empty() {
            self.allowed.remove(&id);
        } else {
            self.allowed.insert(id, names.into_iter().collect());
        }
        Ok(Outcome::Done)
    }
}
