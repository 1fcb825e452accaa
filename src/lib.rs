//! Deduplicating, compressing, crash-safe block storage to embed.
//!
//! A [`Store`] is a directory that keeps [`Volume`]s: thin block devices of up to 1 PiB, cut into blocks of 4 KiB. Each distinct block is
//! stored once, whatever volumes hold it, compressed and checksummed. [`Snapshot`]s and clones copy nothing, and go from store to
//! store as streams. Beside volumes there are objects: streams of bytes with a name. The store runs in your process
//! ([`Store::open`]), or in the daemon `silt serve`, which also serves the volumes by NBD ([`Store::connect`]); code that uses a
//! `Store` cannot tell which.
//!
//! # A tour
//!
//! ```
//! use siltstone::{Content, ErrorKind, ObjectOptions, Options, ReceiveOptions, VolumeOptions, unwatched};
//!
//! # let dir = std::env::temp_dir().join(format!("siltstone-tour-{}", std::process::id()));
//! // A store in a directory of its own, with a quarter of the default memory.
//! let store = Options::new().memory_bytes(256 << 20).create(&dir)?;
//!
//! // A volume takes space only for what is written. A flush makes that survive a power cut.
//! let disk = store.create_volume("disk", &VolumeOptions::new(1 << 30))?;
//! disk.write_at(4096, b"the first version")?;
//! disk.flush()?;
//!
//! // A snapshot is what the volume held at one moment.
//! let monday = disk.snapshot("monday")?;
//! disk.write_at(1 << 20, &[7; 8192])?;
//! disk.trim(4096, 4096)?;
//! let tuesday = disk.snapshot("tuesday")?;
//!
//! let mut buf = [0; 17];
//! monday.read_at(4096, &mut buf)?;
//! assert_eq!(&buf, b"the first version");
//! tuesday.read_at(4096, &mut buf)?;
//! assert_eq!(buf, [0; 17]);
//!
//! // Where two snapshots differ, and what a range holds: neither reads any data.
//! let changed: Vec<_> = tuesday.changes_since(&monday)?.collect::<Result<_, _>>()?;
//! assert_eq!(changed, [4096..8192, 1 << 20..(1 << 20) + 8192]);
//! let data = tuesday.allocation(..)?.filter(|extent| extent.as_ref().is_ok_and(|one| one.content == Content::Data));
//! assert_eq!(data.count(), 1);
//!
//! // The BLAKE3 hash of each block, and again no data is read: what another side has already need not be sent.
//! let prints: Vec<_> = tuesday.fingerprints(1 << 20..(1 << 20) + 8192)?.collect::<Result<_, _>>()?;
//! assert_eq!((prints.len(), prints[0].fingerprint), (2, prints[1].fingerprint));
//!
//! // A clone is a volume that starts with what a snapshot holds.
//! let branch = store.clone_volume("disk@monday", "branch")?;
//! branch.read_at(4096, &mut buf)?;
//! assert_eq!(&buf, b"the first version");
//!
//! // A stream, such as a backup or a dump, is an object. It is cut by content, so that what objects share is stored once.
//! store.put_object("notes/1", &ObjectOptions::new(), &b"any reader"[..], &mut unwatched)?;
//! let text = std::io::read_to_string(store.get_object("notes/1", 4..)?).unwrap();
//! assert_eq!(text, "reader");
//!
//! // A snapshot travels as a stream, here what changed since another, and is proved at the other end.
//! let (mut all, mut rest) = (Vec::new(), Vec::new());
//! monday.send(None, &mut all, &mut unwatched)?;
//! let sent = tuesday.send(Some(&monday), &mut rest, &mut unwatched)?;
//! store.receive("copy", &ReceiveOptions::new(), &all[..], &mut unwatched)?;
//! let received = store.receive("copy", &ReceiveOptions::new(), &rest[..], &mut unwatched)?;
//! assert_eq!((received.name.as_str(), received.root), ("copy@tuesday", sent.root));
//!
//! // What is open is not removed. An error's kind says what to do about it.
//! let refused = store.remove_volume("branch").unwrap_err();
//! assert_eq!(refused.kind(), ErrorKind::Busy);
//! drop(branch);
//! store.remove_volume("branch")?;
//!
//! store.close()?;
//! # std::fs::remove_dir_all(&dir).unwrap();
//! # Ok::<(), siltstone::Error>(())
//! ```
//!
//! # What to know
//!
//! - Offsets and lengths are bytes of any alignment.
//! - All calls block. Nothing here needs a runtime, has global state, or starts a thread that outlives its store or, of
//!   [`Volume::copy_from`], the call.
//! - One process has a store open for writing: [`ErrorKind::Busy`] tells the next one, which may [`connect`](Store::connect) if the
//!   first is a daemon.
//! - Whatever comes from disk or a daemon is checked: damage is [`ErrorKind::Corrupt`], never wrong bytes and never a panic.
//! - Linux only, as the store is.
//!
//! # Features
//!
//! | Feature | |
//! |---|---|
//! | `daemon` (default) | all that the command `silt` is made of; no promise holds for it |
//! | `connect` | [`Store::connect`]; part of `daemon` |
//! | `async` | `aio`, the same for async code, on any runtime or none |
//!
//! To embed, say `default-features = false`, with `features = ["connect"]` if you want that. `docs/library.md` has the crates that
//! come along, the oldest Rust that works, and what may change between versions.

#[cfg(feature = "async")]
pub mod aio;
mod allocation;
mod backend;
mod byte_range;
mod changes;
mod copy;
mod error;
mod fingerprints;
mod image;
mod objects;
mod open_store;
mod options;
mod pages;
mod progress;
mod root_digest;
mod scrub;
mod snapshot;
mod space;
mod streams;
mod view;
mod volume;

pub use allocation::{Allocation, Content, Extent};
pub use blockdev::lsm_store::codec::{Codec, ZstdLevel};
pub use blockdev::lsm_store::fingerprint::Fingerprint;
pub use changes::Changes;
pub use copy::Copied;
pub use error::{Error, ErrorKind, Result};
pub use fingerprints::{FingerprintExtent, Fingerprints};
pub use objects::{ObjectInfo, ObjectOptions, ObjectReader, Objects, Upload, UploadInfo};
pub use open_store::Store;
pub use options::Options;
pub use progress::{Progress, Watch, unwatched};
pub use root_digest::Root;
pub use scrub::{Damage, ScrubStatus, Verified};
pub use snapshot::{Snapshot, SnapshotInfo};
pub use space::{Collected, Space, Usage, ViewUsage};
pub use streams::{ReceiveOptions, Received, ReceptionInfo, Sent};
pub use view::View;
pub use volume::{Shrink, Volume, VolumeInfo, VolumeOptions};

// Parts of the daemon, for `silt` alone: no promise.
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub use blockdev::attach;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub use blockdev::cluster;
#[doc(hidden)]
pub use blockdev::lsm_store as store;
#[cfg(feature = "connect")]
#[doc(hidden)]
pub use blockdev::net::control;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub use blockdev::net::join;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub use blockdev::tls;
#[doc(hidden)]
pub use blockdev::{access, catalog, events, export, frontend, name, node, object, root, schedule, span, transfer};
#[doc(hidden)]
pub use gc;
#[cfg(feature = "connect")]
#[doc(hidden)]
pub mod socket;
