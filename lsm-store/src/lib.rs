//! The per-node log-structured store of Siltstone: content-addressed, compressed, deduplicated 4 KiB extents in an
//! append-only log, with a journal in front and a map behind.

pub mod checksum;
pub mod clock;
pub mod codec;
pub mod dedupe;
pub mod device;
pub mod error;
pub mod fingerprint;
pub mod id;
pub mod index;
mod journal;
pub mod layers;
pub mod manifest;
pub mod map;
mod memtable;
pub mod packed;
pub mod page_cache;
pub mod read;
pub mod request;
pub mod rng;
pub mod segment;
#[cfg(test)]
mod specification;
pub mod store;
mod superblock;
#[cfg(test)]
mod test_device;

pub use error::{Error, ErrorKind, Result};
pub use store::{Environment, Options, Record, Settings, Store, Volume, VolumeSpec};
