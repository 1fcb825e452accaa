//! Keeps the last census for as long as it is true.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use lsm_store::Result;
use lsm_store::id::{LayerId, VolumeId};
use lsm_store::map::Version;
use lsm_store::store::Store;

use super::{Census, census_with_group};

/// The last census of one store.
#[derive(Default)]
pub struct CensusCache {
    last: Mutex<Option<Taken>>,
}

/// A census with what it was taken of.
struct Taken {
    /// Only its identity counts: its runs must not be kept.
    map: Weak<Version>,
    readers: Vec<(VolumeId, LayerId)>,
    group: HashSet<VolumeId>,
    census: Arc<Census>,
}

impl CensusCache {
    /// The census, taken again only if the map or those who read it have changed since the last.
    ///
    /// # Errors
    /// As [`super::census()`].
    pub fn census(&self, store: &Store) -> Result<Arc<Census>> {
        self.census_with_group(store, &HashSet::new())
    }

    /// The same, with a group of volumes that are also counted together.
    ///
    /// # Errors
    /// As [`super::census()`].
    pub fn census_with_group(&self, store: &Store, group: &HashSet<VolumeId>) -> Result<Arc<Census>> {
        // Who asks meanwhile waits, and most often finds the answer.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (map, readers) = (store.map(), store.readers().0);
        if let Some(taken) = last.as_ref().filter(|taken| taken.group == *group && taken.is_of(&map, &readers)) {
            return Ok(Arc::clone(&taken.census));
        }
        let census = Arc::new(census_with_group(store, group)?);
        // What changed while it was taken is in it or not; the next who asks takes another then.
        *last = Some(Taken { map: Arc::downgrade(&map), readers, group: group.clone(), census: Arc::clone(&census) });
        Ok(census)
    }

    /// The last census, if it is still true and nobody is taking another. Costs nothing that grows with the map.
    #[must_use]
    pub fn known(&self, store: &Store) -> Option<Arc<Census>> {
        let last = self.last.try_lock().ok()?;
        let taken = last.as_ref().filter(|taken| taken.is_of(&store.map(), &store.readers().0))?;
        Some(Arc::clone(&taken.census))
    }
}

impl Taken {
    fn is_of(&self, map: &Arc<Version>, readers: &[(VolumeId, LayerId)]) -> bool {
        Weak::ptr_eq(&self.map, &Arc::downgrade(map)) && self.readers == readers
    }
}
