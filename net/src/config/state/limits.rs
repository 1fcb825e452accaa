//! Reservations and quotas of volumes.

use super::super::id::VolumeId;
use super::{Configuration, Outcome, Rejection};

/// What a volume may take of every node that holds it, and what is kept for it there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct VolumeLimits {
    /// Room in bytes that other volumes leave alone, less what the volume maps; none: nothing is kept.
    pub reserve_bytes: Option<u64>,
    /// Bytes that the volume may map; none: as much as there is.
    pub quota_bytes: Option<u64>,
}

impl VolumeLimits {
    /// True if there are none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Configuration {
    /// Reservation and quota of a volume, in the trash or not.
    #[must_use]
    pub fn limits(&self, volume: VolumeId) -> VolumeLimits {
        self.limits.get(&volume).copied().unwrap_or_default()
    }

    pub(super) fn set_limits(&mut self, id: VolumeId, limits: VolumeLimits) -> Result<Outcome, Rejection> {
        let size_bytes = self.usable_volume(id)?.size_bytes;
        let reserve_bytes = limits.reserve_bytes.unwrap_or(0);
        if reserve_bytes > size_bytes || limits.quota_bytes.is_some_and(|quota| quota < reserve_bytes) {
            return Err(Rejection::Limits);
        }
        if limits.is_none() {
            self.limits.remove(&id);
        } else {
            self.limits.insert(id, limits);
        }
        Ok(Outcome::Done)
    }
}
