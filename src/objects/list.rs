//! Objects by name.

use std::vec;

use blockdev::name::ObjectName;

use super::ObjectInfo;
use crate::Store;
use crate::error::Result;

/// Objects by name; see [`Store::objects`]. They come in pages of some hundred, each as of the moment it was asked for.
pub struct Objects {
    store: Store,
    prefix: String,
    ready: vec::IntoIter<ObjectInfo>,
    rest: Rest,
}

/// What is still to be asked for.
enum Rest {
    All,
    Behind(ObjectName),
    Nothing,
}

impl Objects {
    pub(crate) fn new(store: &Store, prefix: &str) -> Self {
        Self { store: store.clone(), prefix: prefix.to_owned(), ready: Vec::new().into_iter(), rest: Rest::All }
    }

    /// Gets the next page. After an error there is none.
    fn turn(&mut self, after: Option<&ObjectName>) -> Result<()> {
        let (page, next) = self.store.backend().objects(&self.prefix, after)?;
        self.ready = page.into_iter();
        self.rest = next.map_or(Rest::Nothing, Rest::Behind);
        Ok(())
    }
}

impl Iterator for Objects {
    type Item = Result<ObjectInfo>;

    fn next(&mut self) -> Option<Result<ObjectInfo>> {
        loop {
            if let Some(info) = self.ready.next() {
                return Some(Ok(info));
            }
            let turned = match std::mem::replace(&mut self.rest, Rest::Nothing) {
                Rest::All => self.turn(None),
                Rest::Behind(name) => self.turn(Some(&name)),
                Rest::Nothing => return None,
            };
            if let Err(error) = turned {
                return Some(Err(error));
            }
        }
    }
}
